//! Archives in S3-compatible storage, a follower that is watched over HTTP, a restore while masters
//! go, and one by a roster behind TLS: as pods do it on Kubernetes.

use crate::archive::rfc3339;
use crate::support::{LONG, World, connect, program, say};
use cairn_harness::client::Connection;
use cairn_harness::clock::wait_until;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::TlsAcceptor;

const SECRET: &str = "a secret that the server knows";
/// Where it is restored.
const SECOND: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata: {name: u}\n\
    spec: {cluster: demo, groups: 2, replicas: 1, backups: 0}\n";

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("soon enough")
}

/// A server that is not ours, with a bucket, behind a certificate of its own authority.
struct Storage {
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Storage {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bucket")).expect("writable");
        let tls = acceptor(&certificates(folder.path()));
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a folder");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single("cairn", SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket can");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("bound");
                while let Ok((socket, _)) = listener.accept().await {
                    let (service, tls) = (service.clone(), tls.clone());
                    tokio::spawn(async move {
                        let Ok(socket) = tls.accept(socket).await else { return };
                        let http = Builder::new(TokioExecutor::new());
                        http.serve_connection(TokioIo::new(socket), service).await.ok();
                    });
                }
            });
        });
        Self { address, folder }
    }

    /// `cairn` with what it needs to get at the storage.
    fn cairn(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).args(["--archive", "s3://bucket/some/where"]);
        command.arg("--endpoint").arg(format!("https://{}", self.address));
        command.env("AWS_ACCESS_KEY_ID", "cairn").env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("SSL_CERT_FILE", self.folder.path().join("ca.crt"));
        command
    }
}

/// Speaks TLS with the files of [`certificates`].
fn acceptor(files: &Value) -> TlsAcceptor {
    let path = |name: &str| files[name].as_str().expect("a path").to_owned();
    let chain = CertificateDer::pem_file_iter(path("certificate")).expect("a file");
    let chain = chain.map(|one| one.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_file(path("key")).expect("a key");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("they fit")))
}

/// A process that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// The body of a page.
fn page(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said.split_once("\r\n\r\n")?.1.to_owned())
}

fn report(port: u16) -> Value {
    let page = page(port, "/status").unwrap_or_default();
    serde_json::from_str(&page).unwrap_or_default()
}

fn folder(world: &World) -> String {
    world.folder().to_str().expect("plain").to_owned()
}

/// Keys of every kind; a list and a text that do not fit into one message.
fn fill(world: &World, large: usize) {
    let mut client = connect(&world.master());
    let text = "x".repeat(20_000);
    for number in 0..large {
        assert_eq!(say(&mut client, &format!("SET text:{number} {number}:{text}")), "OK");
        say(&mut client, &format!("RPUSH long {number}:{text}"));
        say(&mut client, &format!("RPUSH list:{} {number}", number % 7));
        say(&mut client, &format!("HSET hash:{} field{number} {number}", number % 5));
        say(&mut client, &format!("ZADD sorted {number}.5 member:{number}"));
    }
    for _ in 0..large / 8 {
        say(&mut client, &format!("APPEND wide {text}"));
    }
}

/// The masters of keyspace `u`, by group.
fn masters(world: &World) -> Vec<String> {
    let groups = world.cluster.status().expect("status").groups;
    groups.into_iter().filter(|g| g.id.starts_with("u-")).filter_map(|g| g.master).collect()
}

/// A connection to a node, and its process.
fn victim(world: &World, id: &str) -> (Connection, Pid) {
    let pid = world.cluster.pid(id).expect("a supervisor").and_then(Pid::from_raw);
    (connect(&world.node(id)), pid.expect("it runs"))
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
fn what_a_watched_follower_keeps_in_s3_is_restored_although_masters_are_killed() {
    let world = World::with_resources("snapshotInterval: 1s", SECOND);
    let (storage, port) = (Storage::start(), free_port());
    let dir = folder(&world);
    fill(&world, 400);
    let words = ["--dir", &dir, "backup", "create", "--keyspace", "t", "--follow", "--every", "1"];
    let mut follow = storage.cairn(&words);
    follow.args(["--snapshot-every", "2", "--keep-last", "2", "--serve"]);
    follow.arg(format!("127.0.0.1:{port}")).stdout(Stdio::null());
    let following = Running(follow.spawn().expect("it starts"));
    let written_ms = now_ms();
    let reached = || report(port)["untilMs"].as_u64().is_some_and(|until| until > written_ms);
    assert!(wait_until(LONG, Duration::from_millis(200), reached), "{}", report(port));
    let covered = || report(port)["sinceMs"].as_u64().is_some();
    assert!(wait_until(LONG, Duration::from_millis(200), covered), "{}", report(port));
    assert_eq!(report(port)["error"], Value::Null);
    assert_eq!(page(port, "/readyz").as_deref(), Some("ok\n"));
    let metrics = page(port, "/metrics").unwrap_or_default();
    assert!(metrics.contains("\ncairn_backup_failures_total 0\n"), "{metrics}");
    drop(following);
    let listed = storage.cairn(&["backup", "list"]).output().expect("it runs");
    assert!(listed.status.success(), "{}", text(&listed));
    let mut stranger = storage.cairn(&["backup", "list"]);
    let untrusted = stranger.env_remove("SSL_CERT_FILE").output().expect("it runs");
    assert!(!untrusted.status.success() && text(&untrusted).contains("ertificate"));

    let result = world.folder().join("result.json");
    let path = result.to_str().expect("plain");
    let words = ["--dir", &dir, "restore", "--keyspace", "t", "--into", "u", "--result", path];
    let mut restore = storage.cairn(&words);
    restore.stdout(Stdio::piped()).stderr(Stdio::piped());
    let victims: Vec<_> = masters(&world).iter().map(|id| victim(&world, id)).collect();
    assert_eq!(victims.len(), 2);
    let restore = restore.spawn().expect("it starts");
    // As soon as something is in one of the groups, its master is killed, then the other's.
    for (mut client, process) in victims {
        let begun = || say(&mut client, "DBSIZE") != "0";
        assert!(wait_until(LONG, Duration::from_millis(1), begun), "nothing is written");
        kill_process(process, Signal::KILL).expect("it runs");
    }
    let output = restore.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("trying again"), "no master was missed: {said}");
    let report: Value =
        serde_json::from_slice(&std::fs::read(&result).expect("a result")).expect("JSON");
    // Texts, seven lists and the long one, hashes, the sorted set, the wide text.
    assert_eq!(report["keys"], 400 + 7 + 1 + 5 + 1 + 1, "{report}");
    let digest = report["digest"].as_str().expect("a digest");
    assert!(said.contains(&format!("digest {digest} here and there")), "{said}");
    let refused = storage.cairn(&words).output().expect("it runs");
    assert!(!refused.status.success() && text(&refused).contains("is not empty"));
    let report: Value =
        serde_json::from_slice(&std::fs::read(&result).expect("a result")).expect("JSON");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("is not empty")));
}

/// Certificates for this machine: the files of a node, and whom to trust.
fn certificates(folder: &Path) -> Value {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("signed").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).expect("names");
    let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("writable");
        folder.join(name)
    };
    json!({
        "certificate": write("tls.crt", &certificate),
        "key": write("tls.key", &key.serialize_pem()),
        "authority": write("ca.crt", &authority),
    })
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// The cluster's processes started anew, with TLS at every door; and a roster of them.
fn with_tls(world: &World, folder: &Path) -> Vec<Running> {
    let files = certificates(folder);
    let state = json_of(&world.folder().join("cluster.json"));
    world.cluster.cairn(["down"]).expect("it is stopped");
    let mut nodes = state["nodes"].clone();
    let mut running = Vec::new();
    for node in nodes.as_array_mut().expect("nodes") {
        let id = node["id"].as_str().expect("an id").to_owned();
        let role = node["role"].as_str().expect("a role").to_owned();
        node["host"] = json!("localhost");
        let path = world.folder().join("settings").join(format!("{id}.json"));
        let mut settings = json_of(&path);
        settings["tls"] = json!({ "peers": files });
        if role == "data" || role == "global" {
            settings["tls"]["clients"] = files.clone();
        }
        let path = folder.join(format!("{id}.json"));
        std::fs::write(&path, settings.to_string()).expect("writable");
        let mut start = Command::new(program().with_file_name("cairn-node"));
        start.arg(role).arg("--settings").arg(path);
        let start = start.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        running.push(Running(start.expect("it starts")));
    }
    let roster = json!({
        "format": state["format"], "uid": state["uid"], "name": state["name"],
        "nodes": nodes, "keyspaces": state["keyspaces"],
        "secretFile": world.folder().join("secret"), "tls": files,
    });
    std::fs::write(folder.join("roster.json"), roster.to_string()).expect("writable");
    running
}

#[test]
fn a_roster_is_enough_to_archive_and_restore_where_every_door_speaks_tls() {
    let world = World::with_resources("snapshotInterval: 1s", SECOND);
    let folder = tempfile::tempdir().expect("a folder");
    fill(&world, 20);
    let written = rfc3339(now_ms());
    let _nodes = with_tls(&world, folder.path());
    let at = |name: &str| folder.path().join(name).to_str().expect("plain").to_owned();
    let cairn = |words: &[&str]| {
        let mut command = Command::new(program());
        command.args(["--roster", &at("roster.json")]).args(words);
        command.output().expect("it runs")
    };
    let mut output = None;
    let create = ["backup", "create", "--keyspace", "t", "--to", &at("archive")];
    let created = wait_until(LONG, Duration::from_secs(1), || {
        let said = text(output.insert(cairn(&create)));
        // A member that was started again learns late what was committed before.
        let until = said.split("committed by ").nth(1).and_then(|rest| rest.split(' ').next());
        until.is_some_and(|until| until > written.as_str())
    });
    assert!(created, "{:?}", output.as_ref().map(text));
    let restore = ["restore", "--from", &at("archive"), "--keyspace", "t", "--into", "u"];
    let plain = cairn(&restore);
    assert!(!plain.status.success() && text(&plain).contains("--tls-ca"), "{}", text(&plain));
    let (ca, result) = (at("ca.crt"), at("result.json"));
    let tls = [&restore[..], &["--tls-ca", &ca, "--result", &result]].concat();
    let restored =
        wait_until(LONG, Duration::from_secs(1), || output.insert(cairn(&tls)).status.success());
    assert!(restored, "{:?}", output.as_ref().map(text));
    let report = json_of(Path::new(&result));
    assert_eq!(report["keys"], 20 + 7 + 1 + 5 + 1 + 1, "{report}");
    let status = cairn(&["status"]);
    assert!(status.status.success() && text(&status).contains("u-0"), "{}", text(&status));
}
