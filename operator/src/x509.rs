//! Certificates: making an authority and what it signs, and reading how long they last.
//!
//! All keys are ECDSA on P-256. Nothing is stored here.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use x509_parser::pem::Pem;

/// Clocks of machines may differ by this much, in seconds.
const SKEW_SEC: i64 = 3600;
const LINE: &str = "-----END CERTIFICATE-----";

/// A certificate cannot be made or used to sign.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for {name}")]
pub struct Error {
    /// Whose.
    pub name: String,
    /// Why.
    pub source: rcgen::Error,
}

/// A certificate and its private key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pair ({} bytes of certificate)", self.certificate.len())
    }
}

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub from_sec: i64,
    /// To.
    pub to_sec: i64,
}

fn params(name: &str, names: &[String], now_sec: i64, to_sec: i64) -> Result<Params, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let mut whose = DistinguishedName::new();
    whose.push(DnType::CommonName, name);
    params.distinguished_name = whose;
    let time = |sec| OffsetDateTime::from_unix_timestamp(sec).map_err(|_| rcgen::Error::Time);
    params.not_before = time(now_sec - SKEW_SEC)?;
    params.not_after = time(to_sec)?;
    Ok(params)
}

type Params = CertificateParams;

/// A new authority that signs itself.
///
/// # Errors
/// A name that is none.
pub fn authority(name: &str, now_sec: i64, to_sec: i64) -> Result<Pair, Error> {
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = params(name, &[], now_sec, to_sec)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    };
    make().map_err(|source| Error { name: name.to_owned(), source })
}

/// A new key and a certificate for `names`, to be shown as server and as client.
///
/// # Errors
/// An authority that is damaged, or a name that is none.
pub fn sign(
    authority: &Pair,
    name: &str,
    names: &[String],
    now_sec: i64,
    to_sec: i64,
) -> Result<Pair, Error> {
    let make = || {
        let signing = KeyPair::from_pem(&authority.key)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signing)?;
        let key = KeyPair::generate()?;
        let mut params = params(name, names, now_sec, to_sec)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    };
    make().map_err(|source| Error { name: name.to_owned(), source })
}

/// From when to when the first certificate of `pem` is good; `None` if it is none.
#[must_use]
pub fn validity(pem: &str) -> Option<Validity> {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let validity = &pem.parse_x509().ok()?.validity;
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Some(Validity { from_sec: from, to_sec: to })
}

/// A moment as people and Kubernetes write it, in UTC.
#[must_use]
pub fn moment(sec: i64) -> Option<String> {
    let at = k8s_openapi::jiff::Timestamp::from_second(sec).ok()?;
    Some(at.to_string())
}

/// The certificates of `pem`, one text each, without what stands between them.
#[must_use]
pub fn certificates(pem: &str) -> Vec<String> {
    let blocks = pem.split_inclusive(LINE).filter_map(|block| {
        let at = block.find("-----BEGIN CERTIFICATE-----")?;
        block.ends_with(LINE).then(|| format!("{}\n", &block[at..]))
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: i64 = 1_900_000_000;

    #[test]
    fn what_is_signed_names_its_hosts_and_its_authority() {
        let ca = authority("cairn demo 1", NOW, NOW + 100 * DAY).unwrap();
        let names = ["*.a.ns.svc", "localhost"].map(str::to_owned);
        let leaf = sign(&ca, "demo-global", &names, NOW, NOW + 9 * DAY).unwrap();
        let validity = validity(&leaf.certificate).unwrap();
        assert_eq!((validity.from_sec, validity.to_sec), (NOW - SKEW_SEC, NOW + 9 * DAY));
        let of = |pem: &str| Pem::iter_from_buffer(pem.as_bytes()).next().unwrap().unwrap();
        let (ca_pem, leaf_pem) = (of(&ca.certificate), of(&leaf.certificate));
        let (ca, leaf) = (ca_pem.parse_x509().unwrap(), leaf_pem.parse_x509().unwrap());
        assert_eq!(leaf.issuer(), ca.subject());
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 2);
        assert!(ca.is_ca() && !leaf.is_ca());
    }

    #[test]
    fn two_keys_are_never_the_same() {
        let make = || authority("a", NOW, NOW + DAY).unwrap();
        assert_ne!(make().key, make().key);
    }

    #[test]
    fn a_bundle_is_taken_apart() {
        let make = || authority("a", NOW, NOW + DAY).unwrap().certificate;
        let (one, two) = (make(), make());
        let parts = certificates(&format!("# ours\n{one}\n\n{two}"));
        assert_eq!(parts.len(), 2);
        assert!(parts[0].starts_with("-----BEGIN") && parts[1].ends_with("-----\n"));
        assert_eq!(certificates("nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_moment_is_written_as_kubernetes_does() {
        assert_eq!(moment(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(validity("nothing"), None);
    }
}
