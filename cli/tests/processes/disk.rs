//! Disks that fill up: writes are refused before, reads go on, and all goes on when there is room.

use crate::support::{GROUP, LONG, Prepared, World, connect, say, show};
use cairn_harness::client::Connection;
use cairn_wire::etcd::etcdserverpb as pb;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system of its own; the log takes 128 MiB of it at once (a segment and the next),
/// and a fifth of it, 64 MiB, is to be kept free.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a place to mount on");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=320m", "cairn-test"]).arg(&at);
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its processes have ended; a lazy unmount would hide that they have not.
        let done = Command::new("umount").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {:?}", self.0);
        }
    }
}

/// A cluster in which one data node and one global node, both masters, have small disks.
fn world() -> Option<World> {
    let mut permitted = true;
    let world = World::prepared(None, |folder| {
        let disks = ["t-0-0", "global-0"].map(|id| SmallDisk::mount(folder.join("data").join(id)));
        permitted = disks.iter().all(Option::is_some);
        let disks = disks.into_iter().flatten();
        disks.map(|disk| Box::new(disk) as Box<dyn std::any::Any>).collect::<Prepared>()
    });
    if !permitted {
        eprintln!("SKIPPED: this test needs the right to mount a file system");
        return None;
    }
    for (group, node) in [(GROUP, "t-0-0"), ("global", "global-0")] {
        world.cluster.cairn(["failover", group, "--to", node]).expect("it becomes master");
    }
    world.whole();
    Some(world)
}

/// Takes `mib` of a node's disk away; removing the file gives it back.
fn ballast(world: &World, node: &str, mib: usize) -> PathBuf {
    let path = data(&world.folder(), node).join("ballast");
    std::fs::write(&path, vec![1_u8; mib << 20]).expect("room for it");
    path
}

fn data(folder: &Path, node: &str) -> PathBuf {
    folder.join("data").join(node)
}

#[test]
fn a_data_node_refuses_writes_before_its_disk_is_full() {
    let Some(world) = world() else { return };
    let node = world.node("t-0-0");
    let mut client = connect(&node);
    let (epochs, taken) = (world.epochs(), ballast(&world, "t-0-0", 100));
    let value = vec![b'x'; 256 << 10];
    let mut acked = Vec::new();
    let refusal = loop {
        let key = format!("key:{}", acked.len());
        match show(&client.call(&[b"SET", key.as_bytes(), &value]).expect("an answer")).as_str() {
            "OK" => acked.push(key),
            refusal => break refusal.to_owned(),
        }
        assert!(acked.len() < 2000, "the disk never became full");
    };
    assert!(refusal.starts_with("-MISCONF "), "{refusal}");
    assert!(acked.len() > 100, "{} writes only", acked.len());
    let room = rustix::fs::statvfs(data(&world.folder(), "t-0-0")).expect("a disk");
    assert!(room.f_bavail * room.f_frsize > 8 << 20, "it was not refused before the disk was full");
    for write in ["DEL key:0", "INCR n", "EXPIRE key:0 100", "FLUSHALL"] {
        assert!(say(&mut client, write).starts_with("-MISCONF "), "{write}");
    }
    assert_eq!(say(&mut client, "STRLEN key:0"), value.len().to_string());
    world.eventually("DiskLow", |w| w.conditions().contains(&"DiskLow t-0-0".to_owned()));
    let table = world.cluster.cairn(["status"]).expect("status");
    assert!(table.contains("DiskLow node t-0-0 group t-0"), "{table}");
    assert_eq!(world.epochs(), epochs, "a low disk is no reason for a takeover");

    killed_on_a_full_disk(&world, &acked);
    if let Err(error) = world.cluster.cairn(["failover", GROUP, "--to", "t-0-0"]) {
        let why = world.cluster.cairn(["why", GROUP]);
        panic!("{error}: {why:?}\n{}\n{}", world.log("t-0-0"), world.log("t-0-1"));
    }
    let mut client = connect(&node);
    world.eventually("refused again", |_| say(&mut client, "INCR n").starts_with("-MISCONF"));

    std::fs::remove_file(taken).expect("it is there");
    let freed = Instant::now();
    world.eventually("writes are admitted again", |_| say(&mut client, "INCR n") == "1");
    eprintln!("{} writes acknowledged; admitted again after {:?}", acked.len(), freed.elapsed());
    nothing_is_lost(&mut client, &acked, value.len());
    world.eventually("no DiskLow", |w| w.conditions().is_empty());
    world.whole();
}

/// A node that is killed on a low disk comes back and follows.
fn killed_on_a_full_disk(world: &World, acked: &[String]) {
    world.cluster.kill("t-0-0", false).expect("it runs");
    world.whole();
    let mut other = connect(&world.master());
    nothing_is_lost(&mut other, acked, 256 << 10);
}

fn nothing_is_lost(client: &mut Connection, acked: &[String], bytes: usize) {
    for key in acked {
        assert_eq!(say(client, &format!("STRLEN {key}")), bytes.to_string(), "{key}");
    }
}

#[test]
fn a_global_node_refuses_clients_before_its_disk_is_full() {
    let Some(world) = world() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut kv = Etcd::connect(&world.node("global-0").etcd()).await;
        kv.put("a").await.expect("there is room");
        let taken = ballast(&world, "global-0", 140);
        let end = Instant::now() + LONG;
        let refused = loop {
            assert!(Instant::now() < end, "never refused");
            match kv.put("b").await {
                Ok(()) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(status) => break status,
            }
        };
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
        assert_eq!(kv.count("a").await, 1, "reads go on");
        let conditions = world.conditions();
        assert!(conditions.contains(&"DiskLow global-0".to_owned()), "{conditions:?}");
        // The system itself goes on: a group still gets another master.
        world.cluster.cairn(["failover", GROUP]).expect("another master");
        std::fs::remove_file(taken).expect("it is there");
        while kv.put("c").await.is_err() {
            assert!(Instant::now() < end, "never admitted again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((kv.count("a").await, kv.count("c").await), (1, 1));
    });
    world.eventually("no DiskLow", |w| w.conditions().is_empty());
}

struct Etcd(pb::kv_client::KvClient<tonic::transport::Channel>);

impl Etcd {
    async fn connect(address: &str) -> Self {
        let client = pb::kv_client::KvClient::connect(format!("http://{address}")).await;
        Self(client.expect("it listens"))
    }

    async fn put(&mut self, key: &str) -> Result<(), tonic::Status> {
        let key = key.as_bytes().to_vec().into();
        self.0.put(pb::PutRequest { key, ..pb::PutRequest::default() }).await.map(drop)
    }

    async fn count(&mut self, key: &str) -> i64 {
        let key = key.as_bytes().to_vec().into();
        let range = pb::RangeRequest { key, ..pb::RangeRequest::default() };
        self.0.range(range).await.expect("reads go on").into_inner().count
    }
}
