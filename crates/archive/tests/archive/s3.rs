//! Archives in S3-compatible storage: a server that is not ours, and everything that goes wrong on
//! the way to it.

use crate::proxy::{Fault, Proxy};
use crate::support::{BEGIN_MS, Group, SHORT, backup, digest_at, names};
use cairn_archive::{Archive, Credentials, Error, Key, Place, Store};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const SECRET: &str = "a secret that the server knows";
const MIB: usize = 1 << 20;

struct Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bucket")).expect("writable");
        let mut service =
            S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("a folder"));
        service.set_auth(SimpleAuth::from_single("cairn", SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    http.serve_connection(TokioIo::new(socket), service).await.ok();
                });
            }
        });
        Self { folder, address }
    }

    fn store(&self, through: SocketAddr, secret: &str, key: Option<Key>) -> Store {
        let place = Place::S3 {
            bucket: "bucket".into(),
            prefix: "some/where".into(),
            endpoint: Some(format!("http://{through}")),
            credentials: Some(Credentials {
                access_key_id: "cairn".into(),
                secret_access_key: secret.into(),
            }),
        };
        Store::open(&place, key, &SHORT).expect("it is opened")
    }

    /// A file of so many MiB that no compression or encryption makes alike.
    fn file(&self, mibs: usize) -> (PathBuf, Vec<u8>) {
        let mut seed = 7_u64;
        let mut number = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        let content: Vec<u8> = (0..mibs * MIB + 17).map(|_| number()).collect();
        let path = self.folder.path().join("a-file");
        std::fs::write(&path, &content).expect("writable");
        (path, content)
    }
}

#[tokio::test]
async fn every_moment_comes_back_from_a_real_server() {
    let server = Server::start().await;
    for (at, key) in [None, Some(Key::new([5; 32]))].into_iter().enumerate() {
        let store = server.store(server.address, SECRET, key);
        let uid = format!("uid{at}");
        let names = cairn_archive::Names::new(&uid, "t").unwrap();
        let archive = Archive::new(store.clone(), names);
        let mut group = Group::new("t-0");
        backup(&archive, &mut group).await;
        for turn in 5..10 {
            let at = BEGIN_MS + turn as u64 * 1000;
            assert_eq!(digest_at(&archive, Some(at)).await, group.digests[turn], "turn {turn}");
        }
        let found = Archive::find(store, "t", Some(&uid)).await.unwrap();
        let backups = found.backups().await.unwrap();
        let work = tempfile::tempdir().unwrap();
        let verified = found.verify(&backups[0], work.path(), |_| ()).await.unwrap();
        assert_eq!((verified.objects, verified.problems.len()), (4, 0));
    }
    let several = Archive::find(server.store(server.address, SECRET, None), "t", None).await;
    assert!(matches!(several, Err(Error::WhichCluster { .. })));
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_comes_back() {
    let server = Server::start().await;
    let (path, content) = server.file(21);
    for key in [None, Some(Key::new([5; 32]))] {
        let store = server.store(server.address, SECRET, key);
        let mut told = Vec::new();
        store.put_file("a/large", &path, |bytes| told.push(bytes)).await.unwrap();
        assert!(told.len() >= 3 && told.is_sorted(), "{told:?}");
        assert!(store.has("a/large", content.len() as u64).await.unwrap());
        assert_eq!(store.get("a/large").await.unwrap(), content);
        let to = server.folder.path().join("copy");
        store.get_file("a/large", &to, |_| ()).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content);
        std::fs::remove_file(to).unwrap();
    }
}

#[tokio::test]
async fn an_upload_that_is_broken_off_is_sent_again() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address).await;
    let store = server.store(proxy.address, SECRET, Some(Key::new([5; 32])));
    let (path, content) = server.file(21);
    proxy.set(Fault::CutUpload(3 * MIB as u64), 2);
    store.put_file("a/large", &path, |_| ()).await.unwrap();
    assert_eq!(proxy.cuts_left(), 0, "both cuts happened");
    assert_eq!(store.get("a/large").await.unwrap(), content);
}

#[tokio::test]
async fn a_download_that_is_broken_off_goes_on_where_it_was() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address).await;
    let store = server.store(proxy.address, SECRET, Some(Key::new([5; 32])));
    let (path, content) = server.file(21);
    store.put_file("a/large", &path, |_| ()).await.unwrap();
    proxy.set(Fault::CutDownload(9 * MIB as u64), 1);
    assert_eq!(store.get("a/large").await.unwrap(), content);
    assert_eq!(proxy.cuts_left(), 0, "the cut happened");
}

#[tokio::test]
async fn half_an_upload_is_no_object_and_the_next_one_is() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address).await;
    let store = server.store(proxy.address, SECRET, None);
    let (path, content) = server.file(21);
    proxy.set(Fault::CutUpload(3 * MIB as u64), usize::MAX);
    let began = Instant::now();
    let failed = store.put_file("a/large", &path, |_| ()).await;
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    proxy.set(Fault::None, 0);
    assert!(!store.has("a/large", content.len() as u64).await.unwrap());
    assert_eq!(store.list("a").await.unwrap(), []);
    store.put_file("a/large", &path, |_| ()).await.unwrap();
    assert_eq!(store.get("a/large").await.unwrap(), content);
}

#[tokio::test]
async fn a_server_that_refuses_or_is_silent_is_given_up_within_the_bound() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address).await;
    let store = server.store(proxy.address, SECRET, None);
    for fault in [Fault::Refuse, Fault::Silence] {
        proxy.set(fault, 0);
        let began = Instant::now();
        let put = store.put("a/b", b"text").await;
        assert!(matches!(put, Err(Error::Store { what: "write", .. })), "{fault:?}: {put:?}");
        let get = store.get("a/b").await;
        assert!(matches!(get, Err(Error::Store { what: "read", .. })), "{fault:?}: {get:?}");
        assert!(began.elapsed() < Duration::from_secs(25), "{fault:?}: {:?}", began.elapsed());
    }
    let tries = proxy.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!((6..=24).contains(&tries), "{tries} tries");
    proxy.set(Fault::None, 0);
    store.put("a/b", b"text").await.unwrap();
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.address).await;
    let archive = Archive::new(server.store(proxy.address, SECRET, None), names());
    proxy.set(Fault::Slow(Duration::from_millis(200)), 0);
    let mut group = Group::new("t-0");
    backup(&archive, &mut group).await;
    assert_eq!(digest_at(&archive, None).await, group.digests[9]);
}

#[tokio::test]
async fn wrong_credentials_are_told() {
    let server = Server::start().await;
    let store = server.store(server.address, "another secret", None);
    let error = store.put("a/b", b"text").await.unwrap_err();
    let source = std::error::Error::source(&error).expect("what the storage said").to_string();
    assert!(source.contains("SignatureDoesNotMatch"), "{source}");
}
