//! A whole cluster of real processes whose doors all speak TLS: two global nodes, two data nodes.

use crate::{Authority, connect};
use cairn_logic::record::{Durability, Rule};
use cairn_settings::directory_keys::{KeyspaceConfig, KeyspaceLimits, keyspace_key};
use cairn_settings::{Reads, TlsFiles};
use cairn_wire::etcd::etcdserverpb as etcd;
use cairn_wire::peer::pb;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const UID: &str = "abababababababababababababababab";
const LONG: Duration = Duration::from_secs(60);

/// Processes that end with the test.
struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Ports that are free now; below the range that systems take outgoing ones from.
fn ports(count: usize) -> Vec<u16> {
    let first = 20_000 + (std::process::id() % 9_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).filter(free).take(count).collect()
}

fn address(port: u16) -> String {
    format!("localhost:{port}")
}

/// The settings of a node with these five ports.
fn settings(dir: &Path, role: &str, node: &str, five: &[u16], seeds: &Value) -> Value {
    let names = ["client", "etcd", "peer", "heartbeat", "metrics"];
    let listen = names.iter().zip(five).map(|(name, port)| (*name, format!("127.0.0.1:{port}")));
    let advertise = names.iter().zip(five).map(|(name, port)| (*name, address(*port)));
    let certificates = dir.join(node).join("tls");
    let files = json!({
        "certificate": certificates.join("tls.crt"),
        "key": certificates.join("tls.key"),
        "authority": certificates.join("ca.crt"),
    });
    json!({
        "role": role, "clusterUid": UID, "node": node,
        "folder": dir.join(node).join("data"), "secretFile": dir.join("secret"),
        "seeds": seeds,
        "listen": listen.collect::<std::collections::BTreeMap<_, _>>(),
        "advertise": advertise.collect::<std::collections::BTreeMap<_, _>>(),
        "log": {"segmentBytes": 1 << 20},
        "timing": {"heartbeat": "300ms", "readLease": "1500ms", "silenceMax": "1800ms",
                   "sealWait": "600ms", "stuckMax": "45s", "ackTimeout": "3s",
                   "nodeLease": "15s"},
        "tls": {"peers": files, "clients": files},
    })
}

fn spawn(dir: &Path, role: &str, node: &str, settings: &Value) -> Child {
    let path = dir.join(node).join("settings.json");
    std::fs::write(&path, settings.to_string()).unwrap();
    let log = std::fs::File::create(dir.join(node).join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn-node"));
    command.arg(role).arg("--settings").arg(path).stdin(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// Connects as a holder of `files` would.
async fn channel(address: &str, files: &TlsFiles) -> Channel {
    let read = |path: &PathBuf| std::fs::read(path).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&files.authority)))
        .identity(Identity::from_pem(read(&files.certificate), read(&files.key)));
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy()
}

/// A call with the secret's proof.
fn hello<T>(message: T) -> tonic::Request<T> {
    let secret = cairn_wire::hello::Secret::new(UID, &[b's'; 32]).unwrap();
    let me = cairn_logic::message::Sender {
        id: cairn_logic::ids::NodeId::new("test"),
        incarnation: cairn_logic::ids::Incarnation(0),
    };
    let mut request = tonic::Request::new(message);
    let proof = secret.metadata(&me, cairn_logic::ids::Life::ZERO, "");
    request.metadata_mut().insert_bin(cairn_wire::hello::HELLO_KEY, proof);
    request.set_timeout(Duration::from_secs(5));
    request
}

async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + LONG;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < end, "never: {what}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn keyspace() -> etcd::PutRequest {
    let config = KeyspaceConfig {
        groups: 1,
        replicas: 1,
        backups: 0,
        ack: Rule::One,
        durability: Durability { flushed: false, zones: 1 },
        reads: Reads::Lease,
        limits: KeyspaceLimits::default(),
        notify_keyspace_events: String::new(),
        password_sha256: None,
        users: Default::default(),
        masters_interval_ms: 60_000,
        autoscale: None,
    };
    let value = config.encode().into();
    etcd::PutRequest { key: keyspace_key("k").into_bytes().into(), value, ..Default::default() }
}

#[tokio::test]
async fn a_whole_cluster_works_with_every_door_behind_tls() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    std::fs::write(dir.join("secret"), [b's'; 32]).unwrap();
    let names = ["global-0", "global-1", "k-0-0", "k-0-1"];
    let ports = ports(20);
    let five = |at: usize| &ports[at * 5..at * 5 + 5];
    let mut files = Vec::new();
    for name in names {
        let folder = dir.join(name).join("tls");
        std::fs::create_dir_all(&folder).unwrap();
        files.push(authority.sign(&folder));
    }
    let seed = |at: usize| {
        let [_, etcd, peer, heartbeat, _] = five(at) else { panic!("five ports") };
        json!({"role": "global", "etcd": address(*etcd), "peer": address(*peer),
               "heartbeat": address(*heartbeat)})
    };
    let seeds = json!({"global-0": seed(0), "global-1": seed(1)});
    let start = |at: usize| {
        let role = if at < 2 { "global" } else { "data" };
        spawn(dir, role, names[at], &settings(dir, role, names[at], five(at), &seeds))
    };
    let _nodes = Nodes((0..4).map(start).collect());

    let peer_port = channel(&address(five(0)[2]), &files[2]).await;
    let request = pb::FoundRequest {
        members: vec!["global-0".to_owned(), "global-1".to_owned()],
        acceptors: vec!["global-0".to_owned()],
        wanted: 2,
    };
    let mut peer = pb::peer_client::PeerClient::new(peer_port.clone());
    eventually("founded", || {
        let (mut peer, request) = (peer.clone(), request.clone());
        async move { peer.found(hello(request)).await.map_err(|status| status.to_string()) }
    })
    .await;
    let ports = [0, 1].map(|at| address(five(at)[2]));
    eventually("the keyspace is asked for", || {
        let (ports, files) = (ports.clone(), files[2].clone());
        async move {
            let mut why = String::new();
            for port in ports {
                let mut kv = etcd::kv_client::KvClient::new(channel(&port, &files).await);
                match kv.put(hello(keyspace())).await {
                    Ok(_) => return Ok(()),
                    Err(status) => why = status.to_string(),
                }
            }
            Err(why)
        }
    })
    .await;
    redis(five(2)[0], five(3)[0], &files[0]).await;
    clients_of_etcd(&[address(five(0)[1]), address(five(1)[1])], &files[3]).await;
    let status = peer.status(hello(pb::StatusRequest::default())).await.unwrap().into_inner();
    assert_eq!(status.peer_tls_digest.len(), 64);
    assert_eq!(status.client_tls_digest.len(), 64);
}

/// A write through the group's master, which needs the other one's copy, and its read.
async fn redis(first: u16, second: u16, files: &TlsFiles) {
    let ask = |port: u16, frame: &'static [u8]| {
        let authority = files.authority.clone();
        tokio::task::spawn_blocking(move || {
            let mut client = connect(([127, 0, 0, 1], port).into(), &authority, None);
            client.write_all(frame).map_err(|error| error.to_string())?;
            let mut answer = vec![0; 64];
            let count = client.read(&mut answer).map_err(|error| error.to_string())?;
            Ok::<_, String>(String::from_utf8_lossy(&answer[..count]).into_owned())
        })
    };
    let master = eventually("a write is acknowledged", || async {
        let mut told = String::new();
        for port in [first, second] {
            match ask(port, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n7\r\n").await.unwrap() {
                Ok(answer) if answer == "+OK\r\n" => return Ok(port),
                Ok(answer) | Err(answer) => told = answer,
            }
        }
        Err(told)
    })
    .await;
    let answer = ask(master, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n").await.unwrap();
    assert_eq!(answer.unwrap(), "$1\r\n7\r\n");
}

/// Each etcd port takes writes: the one that is not master passes them on.
async fn clients_of_etcd(addresses: &[String], files: &TlsFiles) {
    for address in addresses {
        let mut kv = etcd::kv_client::KvClient::new(channel(address, files).await);
        let key: bytes::Bytes = address.clone().into_bytes().into();
        let put = etcd::PutRequest { key: key.clone(), ..Default::default() };
        kv.put(put).await.unwrap();
        let range = etcd::RangeRequest { key, ..Default::default() };
        assert_eq!(kv.range(range).await.unwrap().into_inner().count, 1);
        let plain = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut plain = etcd::kv_client::KvClient::new(plain.connect_lazy());
        assert!(plain.range(etcd::RangeRequest::default()).await.is_err(), "plain text");
    }
}
