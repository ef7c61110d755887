//! TLS with the doors of clients.

use crate::plane::Duplex;
use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Whom to trust, and what to show.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    /// Trusts whose certificates are in the file `authority`, shows a certificate and proves it by
    /// its key if there are files with them.
    pub fn read(authority: &Path, pair: Option<(&Path, &Path)>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            let added = roots.add(certificate);
            added
                .with_context(|| format!("{authority:?} holds a certificate of nobody to trust"))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("there is no version of TLS")?
            .with_root_certificates(roots);
        let config = match pair {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let shown = certificates(certificate)?;
                let key_file = key;
                let key = PrivateKeyDer::from_pem_file(key_file);
                let key = key.with_context(|| format!("{key_file:?} holds no usable key"))?;
                let used = config.with_client_auth_cert(shown, key);
                used.with_context(|| format!("the certificate {certificate:?} cannot be used"))?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Speaks TLS on a connection to `host`, which its certificate must name.
    pub async fn speak(&self, stream: Box<dyn Duplex>, host: &str) -> Result<Box<dyn Duplex>> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.with_context(|| format!("{host:?} is no name of a host"))?;
        let spoken = timeout(HANDSHAKE_MAX, self.0.connect(name, stream)).await;
        let spoken = spoken.context("it does not answer in TLS")?;
        Ok(Box::new(spoken.context("it does not speak TLS as we do")?))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path);
    let all = all.with_context(|| format!("cannot read the certificates in {path:?}"))?;
    let all: Vec<_> =
        all.collect::<Result<_, _>>().with_context(|| format!("{path:?} is no PEM"))?;
    ensure!(!all.is_empty(), "{path:?} holds no certificate");
    Ok(all)
}
