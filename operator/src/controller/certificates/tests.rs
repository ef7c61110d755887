//! Authorities and certificates in the course of time, and what nodes make of them.

use super::*;
use crate::testing::Seen;
use cairn_crd::tls::ClientTls;
use cairn_settings::{NodeRole, TlsSettings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use std::path::Path;

/// Everything there is, written and loaded.
fn whole() -> Seen {
    Seen::new().grouped().tls().whole().loaded()
}

/// The next look, so many days later, whose writes are made.
fn look(seen: Seen, days: i64) -> Seen {
    seen.days_later(days).certified().applied()
}

fn authorities(seen: &Seen) -> (bool, bool, usize) {
    let Authorities { signing, next, former } = &seen.observed.certificates.authorities;
    (signing.is_some(), next.is_some(), former.len())
}

fn shown(seen: &Seen) -> Vec<String> {
    seen.observed.certificates.shown.values().map(|s| s.pair.certificate.clone()).collect()
}

fn trusted(seen: &Seen) -> usize {
    x509::certificates(&seen.observed.certificates.trusted).len()
}

#[test]
fn the_first_look_makes_an_authority_and_a_certificate_for_each_service() {
    let seen = whole();
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 0), 1));
    let secrets: Vec<&String> = seen.observed.certificates.shown.keys().collect();
    assert_eq!(secrets, ["demo-acceptor-tls", "demo-global-tls", "tweets-nodes-tls"]);
    let later = look(seen.clone(), 1);
    assert_eq!(later.observed.certificates, seen.observed.certificates, "all of it is read back");
}

#[test]
fn certificates_are_renewed_before_they_end_and_not_earlier() {
    let seen = whole();
    let before = shown(&seen);
    let seen = look(seen, 59);
    assert_eq!(shown(&seen), before);
    let seen = look(seen, 2);
    assert!(shown(&seen).iter().all(|certificate| !before.contains(certificate)));
    assert_eq!(authorities(&seen), (true, false, 0));
}

#[test]
fn a_certificate_is_made_anew_for_other_names_and_when_its_secret_is_gone() {
    let seen = whole();
    let before = seen.observed.certificates.shown.clone();
    let named = seen.clone().cluster(|c| c.spec.tls.clients = Some(ClientTls::default()));
    let after = look(named, 0).observed.certificates.shown;
    assert_ne!(after["demo-global-tls"], before["demo-global-tls"]);
    assert_eq!(after["demo-acceptor-tls"], before["demo-acceptor-tls"]);
    let mut gone = seen;
    gone.observed.live.remove(&(Kind::Secret, "demo-acceptor-tls".to_owned()));
    let after = look(gone, 0).observed.certificates.shown;
    assert_ne!(after["demo-acceptor-tls"], before["demo-acceptor-tls"]);
    assert_eq!(after["demo-global-tls"], before["demo-global-tls"]);
}

#[test]
fn one_authority_follows_another_only_when_all_nodes_are_ready_for_it() {
    let mut seen = whole();
    for _ in 0..8 {
        seen = look(seen, 30).loaded();
    }
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 0), 1), "a third is left");
    let old = seen.observed.certificates.authorities.signing.clone().unwrap();
    let seen = look(seen, 6);
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, true, 0), 2), "made, not signing");
    let signing = |seen: &Seen| seen.observed.certificates.authorities.signing.clone().unwrap();
    assert_eq!(signing(&seen), old);
    let seen = look(seen, 31);
    assert_eq!(signing(&seen), old, "nobody has loaded it");
    let early = look(seen.clone().days_later(-25).loaded(), 0);
    assert_eq!(signing(&early), old, "clients outside have had no time");
    let before = shown(&seen);
    let seen = look(seen.loaded(), 0);
    assert_ne!(signing(&seen), old);
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 1), 2));
    assert!(shown(&seen).iter().all(|certificate| !before.contains(certificate)));
    let seen = look(seen, 1);
    assert_eq!(trusted(&seen), 2, "somebody still shows what the old one signed");
    let seen = look(seen.loaded(), 1);
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 0), 1));
}

#[test]
fn an_authority_that_ends_is_followed_whoever_is_not_ready() {
    let mut seen = whole();
    for _ in 0..17 {
        seen = look(seen, 20);
    }
    let (_, next, former) = authorities(&seen);
    assert_eq!((next, former), (false, 1), "340 days: the next one signs");
}

#[test]
fn an_authority_that_somebody_deletes_is_followed_without_a_gap() {
    let mut seen = whole();
    let before = shown(&seen);
    seen.observed.live.remove(&(Kind::Secret, "demo-ca".to_owned()));
    let seen = look(seen, 0);
    assert_eq!((authorities(&seen), trusted(&seen)), ((false, true, 1), 2));
    assert_eq!(shown(&seen), before, "what is shown stays until all trust the next one");
    let seen = look(seen, 0);
    assert_eq!(authorities(&seen), (false, true, 1));
    let seen = look(seen.loaded(), 0);
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 1), 2));
    assert!(shown(&seen).iter().all(|certificate| !before.contains(certificate)));
    let seen = look(seen.loaded(), 0);
    assert_eq!((authorities(&seen), trusted(&seen)), ((true, false, 0), 1));
}

#[test]
fn nodes_of_a_refused_keyspace_are_not_left_behind() {
    let mut seen = whole();
    seen.observed.live.remove(&(Kind::Secret, "demo-ca".to_owned()));
    let seen = look(look(seen, 0).loaded(), 0).loaded();
    assert_eq!(trusted(&seen), 2);
    let refused = look(seen.clone().keyspace(|k| k.spec.groups = 0), 1);
    assert_eq!(trusted(&refused), 2, "its nodes may still show what the former one signed");
    assert_eq!(trusted(&look(seen, 1)), 1);
}

#[test]
fn a_step_waits_until_the_one_before_is_written() {
    let mut seen = whole();
    seen.observed.live.remove(&(Kind::Secret, "demo-ca".to_owned()));
    let former = seen.observed.live[&(Kind::ConfigMap, "demo-ca".to_owned())].clone();
    let mut seen = look(seen, 0);
    seen.observed.live.insert((Kind::ConfigMap, "demo-ca".to_owned()), former);
    let seen = seen.days_later(0).loaded().certified();
    assert_eq!(authorities(&seen), (false, true, 1), "nodes have loaded what is older");
}

#[test]
fn a_cluster_that_began_in_plain_text_goes_on_so() {
    let seen = Seen::new().grouped();
    assert!(seen.observed.cluster.spec.tls.peers && !seen.observed.identity.as_ref().unwrap().tls);
    let desired = seen.desired();
    assert!(desired.tls.leaves.is_empty());
    assert!(desired.settings.values().all(|settings| settings.tls == TlsSettings::default()));
}

#[test]
fn nodes_are_told_where_their_certificates_are() {
    let clients = |tls| move |c: &mut Cluster| c.spec.tls.clients = Some(tls);
    let of = |seen: &Seen, node: &str| {
        let desired = seen.desired();
        desired.settings[&cairn_logic::ids::NodeId::new(node)].tls.clone()
    };
    let seen = whole().cluster(clients(ClientTls::default()));
    let made = Path::new(MADE);
    for node in ["demo-global-0", "tweets-0-2"] {
        let tls = of(&seen, node);
        assert_eq!(tls.peers, tls.clients);
        assert_eq!(tls.peers.unwrap().authority, made.join("ca.crt"));
    }
    assert_eq!(of(&seen, "demo-acceptor-0").clients, None);
    let theirs = ClientTls { secret_name: Some("web".into()), verify: true, alt_names: Vec::new() };
    let seen = seen.keyspace(|k| k.spec.tls = Some(theirs));
    let tls = of(&seen, "tweets-0-0");
    assert!(tls.verify_clients);
    assert_eq!(tls.clients.unwrap().key, Path::new("/etc/cairn/client-tls/tls.key"));
    assert!(!of(&seen, "demo-global-0").verify_clients);
    let tls = WantedTls::default();
    assert_eq!(tls.settings(NodeRole::Data, &ClientDoor::Plain), TlsSettings::default());
}

/// Whether `client` and `server`, each with what it shows and trusts, agree on `host`.
fn shake(client: (&Pair, &str), server: (&Pair, &str), host: &str) -> Result<(), rustls::Error> {
    let roots = |pem: &str| {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        Arc::new(roots)
    };
    let chain =
        |pair: &Pair| vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = |pair: &Pair| PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(server.1), provider.clone());
    let config = ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions()?;
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    let config = config.with_single_cert(chain(server.0), key(server.0))?;
    let mut server = ServerConnection::new(Arc::new(config))?;
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots(client.1));
    let config = config.with_client_auth_cert(chain(client.0), key(client.0))?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

#[test]
fn nodes_accept_each_other_by_name_and_nobody_else() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut seen = Seen::new().grouped();
    seen.observed.now_sec = i64::try_from(now.as_secs()).unwrap();
    let other = seen.clone().tls();
    let seen = seen.cluster(|c| c.spec.tls.clients = Some(ClientTls::default())).tls();
    let of = |seen: &Seen, secret: &str| {
        let Certificates { shown, trusted, .. } = &seen.observed.certificates;
        (shown[secret].pair.clone(), trusted.clone())
    };
    let (global, trusted) = of(&seen, "demo-global-tls");
    let (node, _) = of(&seen, "tweets-nodes-tls");
    let (stranger, theirs) = of(&other, "tweets-nodes-tls");
    let shake = |client: (&Pair, &str), host| shake(client, (&global, &trusted), host);
    for host in [
        "demo-global-1.demo-global.ns.svc.cluster.local",
        "demo-global-1.demo-global.ns.svc",
        "demo-etcd",
        "demo-etcd.ns.svc.cluster.local",
        "localhost",
    ] {
        shake((&node, &trusted), host).expect(host);
    }
    for host in ["tweets-0-0.tweets-nodes.ns.svc.cluster.local", "demo-etcd.other", "example.org"] {
        assert!(shake((&node, &trusted), host).is_err(), "{host}");
    }
    let host = "demo-global-1.demo-global.ns.svc";
    assert!(shake((&stranger, &trusted), host).is_err(), "signed by another authority");
    assert!(shake((&node, &theirs), host).is_err(), "trusts another authority");
}
