//! What a cluster's doors show and trust: an authority, what it signs, and their renewal.
//!
//! One authority per cluster, in a Secret that only the operator reads; one certificate per
//! headless Service.
//!
//! One authority replaces another in steps, and each step waits until running nodes have
//! loaded what the one before gave them: the new one is trusted beside the old, then it signs, then
//! the old one goes. Nodes read files anew and keep their connections; no pod is replaced.

mod keep;
mod order;
mod wanted;

pub use keep::keep;
#[cfg(test)]
pub(crate) use keep::{changed, renew, secret};
pub use order::{order, orders};
pub use wanted::{ClientDoor, MADE, THEIRS, WantedLeaf, WantedTls, loaded, wanted};

use crate::names;
use crate::object::{Id, Kind, is_owned_by};
use crate::x509::{self, Pair, validity};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_crd::Cluster;
use kube::ResourceExt;
use kube::core::DynamicObject;
use std::collections::BTreeMap;
use std::sync::Arc;

const DAY_SEC: i64 = 86_400;
/// How long an authority lasts.
const AUTHORITY_SEC: i64 = 365 * DAY_SEC;
/// The next one is made when this much is left of it.
const PREPARE_SEC: i64 = 120 * DAY_SEC;
/// So long both are trusted, for clients that read them seldom, before the next one signs.
const OVERLAP_SEC: i64 = 30 * DAY_SEC;
/// With so little left the next one signs, whoever has not loaded it.
const LAST_SEC: i64 = 45 * DAY_SEC;
/// How long a certificate lasts.
pub(super) const LEAF_SEC: i64 = 90 * DAY_SEC;
/// It is made anew when this much is left of it.
pub(super) const RENEW_SEC: i64 = 30 * DAY_SEC;

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The operator's own authority, if it is the one that signs.
    pub authorities: Authorities,
    /// Who is trusted, as PEM; empty before anybody is.
    pub trusted: String,
    /// What is shown, by Secret.
    pub shown: BTreeMap<String, Shown>,
    /// Secrets that people named, as far as they could be read.
    pub theirs: BTreeMap<String, Theirs>,
    /// Why an issuer could not be asked.
    pub refused: Option<String>,
    /// An object that should be made and belongs to somebody else.
    pub taken: Option<String>,
}

/// A certificate with its key, and what it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Both.
    pub pair: Pair,
    /// A digest of its names and of who signed; empty if the operator did not make it.
    pub mark: String,
}

/// Of a Secret that people named: what is public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// `tls.crt`.
    pub certificate: String,
    /// `ca.crt`.
    pub authority: String,
}

/// The authorities of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    /// Who signs.
    pub signing: Option<Pair>,
    /// Who is to sign, once all trust it.
    pub next: Option<Pair>,
    /// Certificates of those that signed before, trusted until all show something newer.
    pub former: Vec<String>,
}

/// What is to be done about authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// There is none: make the first.
    Found,
    /// Make the next one, trusted and not signing.
    Prepare,
    /// The next one signs from now on.
    Promote,
    /// Former ones are trusted no longer.
    Retire,
}

impl Authorities {
    /// Everybody to be trusted, as PEM.
    #[must_use]
    pub fn trusted(&self) -> String {
        let pairs = self.signing.iter().chain(&self.next);
        let own: Vec<&str> = pairs.map(|pair| pair.certificate.as_str()).collect();
        own.into_iter().chain(self.former.iter().map(String::as_str)).collect()
    }

    /// What is due; `loaded` says whether all running nodes have loaded what there is.
    #[must_use]
    pub fn step(&self, now_sec: i64, loaded: bool) -> Step {
        let of = |pair: &Pair| validity(&pair.certificate);
        let age = |pair| of(pair).map_or(i64::MAX, |v| now_sec - v.from_sec);
        let left = |pair| of(pair).map_or(0, |v| v.to_sec - now_sec);
        match (&self.signing, &self.next) {
            (None, None) if self.former.is_empty() => Step::Found,
            // Its Secret is gone, and nodes still trust it: another one comes in between.
            (None, None) => Step::Prepare,
            (None, Some(next)) if loaded || age(next) >= OVERLAP_SEC => Step::Promote,
            (Some(_), Some(next)) if loaded && age(next) >= OVERLAP_SEC => Step::Promote,
            (Some(signing), Some(_)) if left(signing) < LAST_SEC => Step::Promote,
            (Some(signing), None) if left(signing) < PREPARE_SEC => Step::Prepare,
            (Some(_), None) if loaded && !self.former.is_empty() => Step::Retire,
            _ => Step::Rest,
        }
    }

    /// The authorities after `step`.
    ///
    /// # Errors
    /// None can be made.
    pub fn after(mut self, step: Step, cluster: &str, now: i64) -> Result<Self, x509::Error> {
        let make = || {
            let name = format!("cairn {cluster} {:08x}", rand::random::<u32>());
            x509::authority(&name, now, now + AUTHORITY_SEC)
        };
        match step {
            Step::Rest => {}
            Step::Found => self.signing = Some(make()?),
            Step::Prepare => self.next = Some(make()?),
            Step::Promote => {
                let old = std::mem::replace(&mut self.signing, self.next.take());
                self.former.extend(old.map(|pair| pair.certificate));
            }
            Step::Retire => self.former.clear(),
        }
        Ok(self)
    }

    /// As the Secret keeps them.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, String> {
        let mut data = BTreeMap::new();
        for (stem, pair) in [("tls", &self.signing), ("next", &self.next)] {
            if let Some(pair) = pair {
                data.insert(format!("{stem}.crt"), STANDARD.encode(&pair.certificate));
                data.insert(format!("{stem}.key"), STANDARD.encode(&pair.key));
            }
        }
        if !self.former.is_empty() {
            data.insert("former.crt".to_owned(), STANDARD.encode(self.former.concat()));
        }
        data
    }

    fn of(secret: &DynamicObject) -> Self {
        let pair = |stem: &str| {
            let (certificate, key) = (format!("{stem}.crt"), format!("{stem}.key"));
            Some(Pair { certificate: text(secret, &certificate)?, key: text(secret, &key)? })
        };
        let former = text(secret, "former.crt").unwrap_or_default();
        Self { signing: pair("tls"), next: pair("next"), former: x509::certificates(&former) }
    }
}

impl Certificates {
    /// What is among the objects that were made for `cluster`.
    #[must_use]
    pub fn of(cluster: &Cluster, live: &BTreeMap<Id, Arc<DynamicObject>>) -> Self {
        let owner = cluster.metadata.uid.clone().unwrap_or_default();
        let name = names::authority(&cluster.name_any());
        let own = |kind| {
            let object = live.get(&(kind, name.clone()))?;
            is_owned_by(object, std::slice::from_ref(&owner)).then_some(object)
        };
        let trusted = own(Kind::ConfigMap).and_then(|map| {
            map.data.pointer("/data/ca.crt").and_then(|text| text.as_str()).map(str::to_owned)
        });
        let trusted = trusted.unwrap_or_default();
        let authorities = match own(Kind::Secret) {
            Some(secret) => Authorities::of(secret),
            // It was deleted: those that are trusted are not forgotten at once.
            None => Authorities { former: x509::certificates(&trusted), ..Authorities::default() },
        };
        let secrets = live.iter().filter(|((kind, _), _)| *kind == Kind::Secret);
        let shown = secrets.filter(|((_, secret), _)| *secret != name);
        let shown = shown.filter_map(|((_, name), secret)| Some((name.clone(), shown_by(secret)?)));
        Self { authorities, trusted, shown: shown.collect(), ..Self::default() }
    }
}

fn shown_by(secret: &DynamicObject) -> Option<Shown> {
    let pair = Pair { certificate: text(secret, "tls.crt")?, key: text(secret, "tls.key")? };
    let mark = secret.annotations().get(names::CERTIFICATE).cloned().unwrap_or_default();
    Some(Shown { pair, mark })
}

/// A value of a Secret; `None` if it is missing, empty or no text.
pub(super) fn text(secret: &DynamicObject, key: &str) -> Option<String> {
    let encoded = secret.data.get("data")?.get(key)?.as_str()?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
