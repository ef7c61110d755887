//! TLS on every transport: who shows what, who is refused, and certificates that change.

#![allow(clippy::unwrap_used)]

#[path = "tls/cluster.rs"]
mod cluster;

use cairn_logic::ids::{Incarnation, NodeId};
use cairn_logic::message::Sender;
use cairn_node::clock;
use cairn_node::data::link::{Clock, Config};
use cairn_node::data::{Options, start};
use cairn_node::peer::{self, Identity, Inbound, client};
use cairn_node::snapshots::Shelf;
use cairn_node::tls::{Doors, Keys};
use cairn_settings::{TlsFiles, TlsSettings};
use cairn_wire::hello::Secret;
use cairn_wire::peer::pb;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes the files of a node on this machine, signed by this authority.
    fn sign(&self, dir: &Path) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        TlsFiles {
            certificate: write("tls.crt", &certificate),
            key: write("tls.key", &key.serialize_pem()),
            authority: write("ca.crt", &self.pem),
        }
    }
}

fn identity(files: Option<TlsFiles>) -> Identity {
    let me = Sender { id: NodeId::new("a"), incarnation: Incarnation(1) };
    let secret = Secret::new(&"ab".repeat(16), &[7; 32]).unwrap();
    let settings = TlsSettings { peers: files, ..TlsSettings::default() };
    Identity::new(me, secret, Doors::open(&settings).unwrap())
}

/// A peer port that tells everybody the same.
async fn serve(identity: &Identity) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (inbox, mut queue) = mpsc::channel(4);
    let routes = peer::peer_routes(identity, inbox.clone(), &Shelf::new(1));
    peer::spawn(identity, listener, inbox, routes);
    tokio::spawn(async move {
        while let Some(inbound) = queue.recv().await {
            if let Inbound::Where(reply) = inbound {
                let answer = pb::WhereReply { epoch: 9, ..pb::WhereReply::default() };
                reply.send(Ok(answer)).ok();
            }
        }
    });
    address
}

/// Asks the peer port at `address`; the epoch it tells, or why there is none.
async fn ask(identity: &Identity, address: &str) -> Result<u64, String> {
    let channel = client::channel(identity, address).await.map_err(|error| error.to_string())?;
    let mut client = client::client(identity, "", channel);
    let answer = client.r#where(pb::WhereRequest {}).await;
    answer.map(|answer| answer.into_inner().epoch).map_err(|status| status.to_string())
}

#[tokio::test]
async fn peers_need_a_certificate_of_the_authority_and_the_secret() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let node = identity(Some(ours.sign(dirs[0].path())));
    let address = serve(&node).await;
    let peer = identity(Some(ours.sign(dirs[1].path())));
    assert_eq!(ask(&peer, &address).await, Ok(9));
    let foreign = identity(Some(theirs.sign(dirs[2].path())));
    assert!(ask(&foreign, &address).await.is_err(), "signed by somebody else");
    assert!(ask(&identity(None), &address).await.is_err(), "plain text");
    // It trusts us, but shows a certificate that we have no reason to trust.
    let mut mixed = theirs.sign(dirs[2].path());
    mixed.authority = dirs[1].path().join("ca.crt");
    assert!(ask(&identity(Some(mixed)), &address).await.is_err(), "a certificate of another");
    assert_eq!(ask(&peer, &address).await, Ok(9));
}

#[tokio::test]
async fn certificates_change_without_breaking_what_is_established() {
    let (old, new) = (Authority::new(), Authority::new());
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let node = identity(Some(old.sign(dirs[0].path())));
    let peer = identity(Some(old.sign(dirs[1].path())));
    let address = serve(&node).await;
    let channel = client::channel(&peer, &address).await.unwrap();
    let mut established = client::client(&peer, "", channel);
    established.r#where(pb::WhereRequest {}).await.unwrap();

    let before = node.tls.digests().0;
    assert_eq!(before.len(), 64);
    new.sign(dirs[0].path());
    let keys = |identity: &Identity| identity.tls.peers.clone().unwrap();
    assert!(keys(&node).refresh().unwrap(), "it sees that the files are others");
    assert!(!keys(&node).refresh().unwrap(), "and says so once");
    assert_ne!(node.tls.digests().0, before);
    established.r#where(pb::WhereRequest {}).await.expect("it goes on with what it began with");
    assert!(ask(&peer, &address).await.is_err(), "the old authority is gone");
    new.sign(dirs[1].path());
    keys(&peer).refresh().unwrap();
    assert_eq!(ask(&peer, &address).await, Ok(9));

    std::fs::write(dirs[0].path().join("tls.crt"), "half written").unwrap();
    let error = keys(&node).refresh().unwrap_err().to_string();
    assert!(error.contains("tls.crt") && error.contains("certificate"), "{error}");
    assert_eq!(ask(&peer, &address).await, Ok(9), "the former ones stay in force");
}

/// A data thread whose clients speak TLS.
fn resp(files: &TlsFiles, verify: bool) -> SocketAddr {
    let running = start(Options {
        listen: vec![([127, 0, 0, 1], 0).into()],
        me: NodeId::new("a"),
        seed: 1,
        config: Config::default(),
        clock: Clock { now: clock::now, unix_ms: clock::unix_ms },
        tls: Some(Arc::new(Keys::load(files, verify).unwrap())),
    });
    let running = running.unwrap();
    // It runs until the test's process ends.
    std::mem::forget((running.link, running.from));
    running.addresses[0]
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn connect(address: SocketAddr, authority: &Path, shown: Option<&TlsFiles>) -> Tls {
    let mut roots = rustls::RootCertStore::empty();
    let pem = |path: &Path| rustls::pki_types::CertificateDer::from_pem_file(path).unwrap();
    roots.add(pem(authority)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&files.key).unwrap();
            builder.with_client_auth_cert(vec![pem(&files.certificate)], key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    rustls::StreamOwned::new(session, socket)
}

fn ping(stream: &mut Tls) -> std::io::Result<Vec<u8>> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut answer = vec![0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn redis_clients_speak_through_tls() {
    let (ours, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = ours.sign(dir.path());
    let address = resp(&files, false);
    let mut client = connect(address, &files.authority, None);
    assert_eq!(ping(&mut client).unwrap(), b"+PONG\r\n");
    // Large requests in one piece, whose answers fill every buffer on the way.
    let value = vec![b'x'; 1 << 20];
    let mut frame = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", value.len()).into_bytes();
    frame.extend_from_slice(&value);
    frame.extend_from_slice(b"\r\n");
    for _ in 0..8 {
        client.write_all(&frame).unwrap();
    }
    for _ in 0..8 {
        let mut answer = vec![0; value.len() + 12];
        client.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"$1048576\r\nx") && answer.ends_with(b"x\r\n"));
    }
    assert_eq!(ping(&mut client).unwrap(), b"+PONG\r\n");

    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.windows(4).any(|bytes| bytes == b"PONG"), "plain text is not answered");
    assert_eq!(ping(&mut client).unwrap(), b"+PONG\r\n");
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let files = ours.sign(dirs[0].path());
    let address = resp(&files, true);
    let known = ours.sign(dirs[1].path());
    let mut client = connect(address, &files.authority, Some(&known));
    assert_eq!(ping(&mut client).unwrap(), b"+PONG\r\n");
    assert!(ping(&mut connect(address, &files.authority, None)).is_err(), "none shown");
    let foreign = theirs.sign(dirs[2].path());
    let mut stranger = connect(address, &files.authority, Some(&foreign));
    assert!(ping(&mut stranger).is_err(), "one of somebody else");
}

/// Whether a log stream can be opened at `address`.
async fn opens(identity: &Identity, address: &str) -> bool {
    let opened = peer::stream::open(identity, "a", address, false).await;
    opened.is_ok_and(|(_, other)| other.id == NodeId::new("a"))
}

#[tokio::test]
async fn log_streams_need_a_certificate_of_the_authority_too() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let node = identity(Some(ours.sign(dirs[0].path())));
    let address = serve(&node).await;
    let peer = identity(Some(ours.sign(dirs[1].path())));
    assert!(opens(&peer, &address).await);
    assert_eq!(ask(&peer, &address).await, Ok(9), "on the same port as calls");
    assert!(!opens(&identity(Some(theirs.sign(dirs[2].path()))), &address).await);
    assert!(!opens(&identity(None), &address).await, "plain text");
    let plain = serve(&identity(None)).await;
    assert!(!opens(&peer, &plain).await, "nobody speaks TLS there");
    assert!(opens(&identity(None), &plain).await);
}
