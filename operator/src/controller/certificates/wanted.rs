//! Which certificates a cluster needs, for which names. Pure.

use super::{Certificates, Shown};
use crate::controller::desired::{Desired, WantedKeyspace, WantedPool};
use crate::controller::observed::{Identity, Observed};
use crate::names;
use cairn_crd::tls::ClientTls;
use cairn_settings::{NodeRole, NodeSettings, TlsFiles, TlsSettings};
use cairn_wire::peer::pb::StatusReply;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Where certificates that are made are mounted.
pub const MADE: &str = "/etc/cairn/tls";
/// Where the Secret that people named is mounted.
pub const THEIRS: &str = "/etc/cairn/client-tls";

/// How clients speak with a set of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientDoor {
    /// In plain text.
    #[default]
    Plain,
    /// By TLS, with the certificate that is made for the set.
    Made {
        /// Whether clients show one, too.
        verify: bool,
    },
    /// By TLS, with what people made.
    Theirs {
        /// Their Secret.
        secret: String,
        /// Whether clients show a certificate, too.
        verify: bool,
    },
}

impl ClientDoor {
    fn of(tls: Option<&ClientTls>) -> Self {
        let Some(tls) = tls else { return Self::Plain };
        let verify = tls.verify;
        match tls.secret_name.clone() {
            None => Self::Made { verify },
            Some(secret) => Self::Theirs { secret, verify },
        }
    }
}

/// What is wanted of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedTls {
    /// Whether peers speak it.
    pub peers: bool,
    /// Who is trusted, as PEM; empty before anybody is.
    pub trusted: String,
    /// Certificates that are made, by Secret.
    pub leaves: BTreeMap<String, WantedLeaf>,
    /// How clients of the directory speak.
    pub clients: ClientDoor,
    /// Secrets of people, with the digest of what is in them; none if they are not there.
    pub theirs: BTreeMap<String, Option<String>>,
}

/// A certificate that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLeaf {
    /// The headless Service whose pods show it.
    pub service: String,
    /// The keyspace it is for; none for the global plane.
    pub keyspace: Option<String>,
    /// The names in it.
    pub names: Vec<String>,
    /// What there is of it.
    pub shown: Option<Shown>,
}

/// What is wanted of `cluster`; settings of its nodes say so afterwards.
pub fn wanted(
    observed: &Observed,
    identity: &Identity,
    keyspaces: &mut [WantedKeyspace],
    pools: &[WantedPool],
    domain: &str,
) -> WantedTls {
    let spec = &observed.cluster.spec;
    let Certificates { trusted, shown, theirs, .. } = &observed.certificates;
    let clients = spec.tls.clients.as_ref();
    let mut wanted = WantedTls {
        peers: identity.tls,
        trusted: trusted.clone(),
        clients: ClientDoor::of(clients),
        ..WantedTls::default()
    };
    let name = observed.name();
    let site = Site { namespace: observed.namespace(), domain };
    let mut add = |set: Set<'_>| {
        let Set { service, keyspace, door, open } = set;
        let made = matches!(door, ClientDoor::Made { .. });
        if let ClientDoor::Theirs { secret, .. } = door {
            let digest = theirs.get(secret).map(|t| digest(&t.certificate, &t.authority));
            wanted.theirs.insert(secret.clone(), digest);
        }
        if !wanted.peers && !made {
            return;
        }
        let mut names = site.pods(&service);
        if let Some((open, tls)) = open.filter(|_| made) {
            names.extend(open.iter().flat_map(|service| site.service(service)));
            names.push("localhost".to_owned());
            names.extend(tls.alt_names.iter().cloned());
        }
        let secret = names::certificate(&service);
        let shown = shown.get(&secret).cloned();
        wanted.leaves.insert(secret, WantedLeaf { service, keyspace, names, shown });
    };
    let door = ClientDoor::of(clients);
    let open = clients.map(|tls| (vec![names::etcd(name)], tls));
    add(Set { service: names::global(name), keyspace: None, door: &door, open });
    let others = [
        (spec.acceptor, names::acceptor(name)),
        (spec.checkpoint.replicas > 0, names::checkpoint(name)),
    ];
    for (_, service) in others.into_iter().filter(|(is_there, _)| *is_there) {
        let door = &ClientDoor::Plain;
        add(Set { service, keyspace: None, door, open: None });
    }
    for keyspace in keyspaces.iter_mut() {
        let tls = keyspace.resource.spec.tls.as_ref().or(clients);
        keyspace.clients = ClientDoor::of(tls);
        let open = tls.map(|tls| (vec![keyspace.name.clone()], tls));
        let (service, of) = (names::nodes(&keyspace.name), Some(keyspace.name.clone()));
        add(Set { service, keyspace: of, door: &keyspace.clients, open });
    }
    // A spare serves keyspaces whose door is the Cluster's, behind their Services, too.
    let served = keyspaces.iter().filter(|keyspace| keyspace.resource.spec.tls.is_none());
    let served: Vec<String> = served.map(|keyspace| keyspace.name.clone()).collect();
    for pool in pools {
        let open = clients.map(|tls| (served.clone(), tls));
        add(Set { service: pool.set.clone(), keyspace: None, door: &door, open });
    }
    wanted
}

/// The pods behind one headless Service.
struct Set<'a> {
    service: String,
    keyspace: Option<String>,
    door: &'a ClientDoor,
    /// The Services that clients are told of, and what they are promised.
    open: Option<(Vec<String>, &'a ClientTls)>,
}

/// Where names of Services are.
struct Site<'a> {
    namespace: &'a str,
    domain: &'a str,
}

impl Site<'_> {
    /// Names of the pods behind a headless Service.
    fn pods(&self, service: &str) -> Vec<String> {
        let Self { namespace, domain } = self;
        [format!("*.{service}.{namespace}.svc.{domain}"), format!("*.{service}.{namespace}.svc")]
            .into()
    }

    /// Names of a Service that clients are told of.
    fn service(&self, service: &str) -> Vec<String> {
        let Self { namespace, domain } = self;
        let full = format!("{service}.{namespace}.svc.{domain}");
        let short =
            [service, &format!("{service}.{namespace}"), &format!("{service}.{namespace}.svc")]
                .map(str::to_owned);
        short.into_iter().chain([full]).collect()
    }
}

/// What nodes say of a certificate and its authorities when they have loaded them.
#[must_use]
pub fn digest(certificate: &str, authority: &str) -> String {
    let mut sum = Sha256::new();
    sum.update(certificate);
    sum.update(authority);
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl WantedTls {
    /// What a node is told; `clients` is the door of its set.
    #[must_use]
    pub fn settings(&self, role: NodeRole, clients: &ClientDoor) -> TlsSettings {
        let files = |folder: &str| {
            let file = |name: &str| Path::new(folder).join(name);
            let (certificate, key) = (file("tls.crt"), file("tls.key"));
            TlsFiles { certificate, key, authority: file("ca.crt") }
        };
        let (clients, verify) = match clients {
            _ if matches!(role, NodeRole::Acceptor | NodeRole::Checkpoint) => (None, false),
            ClientDoor::Plain => (None, false),
            ClientDoor::Made { verify } => (Some(files(MADE)), *verify),
            ClientDoor::Theirs { verify, .. } => (Some(files(THEIRS)), *verify),
        };
        let peers = self.peers.then(|| files(MADE));
        TlsSettings { peers, clients, verify_clients: verify }
    }

    /// The digest of what `secret`, which is made, shows now.
    #[must_use]
    pub fn digest(&self, secret: &str) -> Option<String> {
        let shown = self.leaves.get(secret)?.shown.as_ref()?;
        (!self.trusted.is_empty()).then(|| digest(&shown.pair.certificate, &self.trusted))
    }
}

/// Whether what a node says of itself is that it shows what `secret` holds, wherever it is to.
#[must_use]
pub fn loaded(desired: &Desired, settings: &NodeSettings, says: &StatusReply) -> bool {
    let tls = &desired.tls;
    let made = tls.digest(&names::certificate(&desired.service_of(settings)));
    let made = made.unwrap_or_default();
    let clients = match desired.clients_of(settings) {
        _ if settings.tls.clients.is_none() => String::new(),
        ClientDoor::Theirs { secret, .. } => {
            tls.theirs.get(secret).cloned().flatten().unwrap_or_default()
        }
        _ => made.clone(),
    };
    let peers = if tls.peers { made } else { String::new() };
    says.peer_tls_digest == peers && says.client_tls_digest == clients
}
