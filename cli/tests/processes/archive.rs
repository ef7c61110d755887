//! A keyspace goes to an archive while it is written to, and comes back as it was at a moment.

use crate::support::{GROUP, LONG, World, connect, program, say};
use cairn_harness::client::Connection;
use cairn_harness::clock::wait_until;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where it is restored; with other groups than the first one.
const SECOND: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata: {name: u}\n\
    spec: {cluster: demo, groups: 2, replicas: 1, backups: 0}\n";

fn write(client: &mut Connection, round: usize) {
    let lives_ms = now_ms() + 3_600_000;
    for number in 0..300 {
        for words in [
            format!("SET text:{number} {round}"),
            format!("SET mortal:{number} {round} PXAT {lives_ms}"),
            format!("HSET hash:{number} field{round} {number}"),
            format!("RPUSH list:{} {round}:{number}", number % 7),
            format!("SADD set:{} {round}:{number}", number % 7),
            format!("ZADD sorted:{} {round}.5 member:{number}", number % 7),
            format!("DEL text:{}", number / 2),
        ] {
            assert!(!say(client, &words).starts_with('-'), "{words}");
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("soon enough")
}

/// The sum of the digests of a keyspace's masters.
fn digest(world: &World, keyspace: &str) -> u64 {
    let status = world.status_with_digests();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().flat_map(|node| node["logs"].as_array().cloned().unwrap_or_default());
    let ours = |log: &Value| {
        let group = log["group"].as_str().and_then(|group| group.rsplit_once('-'));
        group.is_some_and(|(name, _)| name == keyspace) && log["position"] == "master"
    };
    let digests = logs.filter(ours).map(|log| log["digest"].as_u64().expect("a digest"));
    digests.fold(0, u64::wrapping_add)
}

/// `cairn backup create --follow`; killed if it is forgotten.
struct Following(Child);

impl Following {
    fn start(world: &World, archive: &Path, key: &Path) -> Self {
        let child = Command::new(program())
            .arg("--dir")
            .arg(world.folder())
            .args(["backup", "create", "--keyspace", "t", "--follow"])
            .args(["--every", "1", "--snapshot-every", "3", "--to"])
            .arg(archive)
            .arg("--key-file")
            .arg(key)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    /// Asks it to stop; it must do so well.
    fn stop(mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.expect("it runs"), rustix::process::Signal::TERM)
            .expect("it runs");
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, byte) in [("key", 5), ("other", 6)] {
            std::fs::write(folder.path().join(name), [byte; 32]).expect("writable");
        }
        Self { folder }
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `cairn` on the archive; its words, or its complaint.
    fn cairn(&self, world: &World, words: &[&str], key: &str) -> Result<String, String> {
        let (archive, key) = (self.archive(), self.key(key));
        let mut all: Vec<&str> = words.to_vec();
        all.extend(["--archive", archive.to_str().expect("plain")]);
        all.extend(["--key-file", key.to_str().expect("plain")]);
        world.cluster.cairn(all).map_err(|error| format!("{error:#}"))
    }

    /// Waits until all backups together reach `moment`.
    fn reaches(&self, world: &World, moment: &str) -> bool {
        wait_until(LONG, Duration::from_millis(500), || {
            let listed = self.cairn(world, &["backup", "list"], "key").unwrap_or_default();
            let until = |line: &str| line.split_whitespace().nth(4).map(ToOwned::to_owned);
            let reached = listed.lines().skip(1).filter_map(until);
            reached.max().is_some_and(|until| until.as_str() > moment)
        })
    }
}

/// As `date` writes a moment, in UTC.
pub fn rfc3339(ms: u64) -> String {
    let seconds = ms / 1000;
    let output = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S"])
        .output()
        .expect("date is everywhere");
    let text = String::from_utf8(output.stdout).expect("text");
    format!("{}.{:03}Z", text.trim(), ms % 1000)
}

#[test]
fn a_moment_in_the_middle_of_a_load_comes_back_in_another_keyspace() {
    let world = World::with_resources("snapshotInterval: 1s", SECOND);
    let place = Place::new();
    let mut client = connect(&world.master());
    write(&mut client, 1);
    let following = Following::start(&world, &place.archive(), &place.key("key"));
    write(&mut client, 2);
    write(&mut client, 3);
    let (wanted, at) = (digest(&world, "t"), rfc3339(now_ms()));
    std::thread::park_timeout(Duration::from_millis(20));
    write(&mut client, 4);
    assert_eq!(say(&mut client, "FLUSHALL"), "OK");
    write(&mut client, 5);
    assert_ne!(digest(&world, "t"), wanted);
    assert!(place.reaches(&world, &rfc3339(now_ms())), "the archive never gets so far");
    following.stop();

    let restore = ["restore", "--keyspace", "t", "--into", "u", "--at", &at];
    let said = place.cairn(&world, &restore, "key").expect("it is restored");
    assert!(said.contains(&format!("digest {wanted:016x} here and there")), "{said}");
    assert_eq!(digest(&world, "u"), wanted);
    let refused = place.cairn(&world, &restore, "key").expect_err("it is not empty any more");
    assert!(refused.contains("is not empty"), "{refused}");
    let refused = place.cairn(&world, &["backup", "list"], "other").expect_err("a wrong key");
    assert!(refused.contains("another key"), "{refused}");
    agree_with_the_log(&world, &place);
}

/// What came while nobody followed is sent by another run; what is damaged is named.
fn agree_with_the_log(world: &World, place: &Place) {
    let mut client = connect(&world.master());
    write(&mut client, 6);
    let create = ["backup", "create", "--keyspace", "t"];
    place.cairn(world, &create, "key").expect("it goes on");
    let words = ["backup", "verify", "--keyspace", "t"];
    let said = place.cairn(world, &words, "key").expect("all is well");
    assert!(said.contains("objects"), "{said}");
    let pruned = ["backup", "prune", "--keep-last", "1"];
    place.cairn(world, &pruned, "key").expect("older ones go");
    let listed = place.cairn(world, &["backup", "list"], "key").expect("the newest is there");
    assert_eq!(listed.lines().count(), 2, "{listed}");

    let mut runs = files(&place.archive().join(uid(place)).join("t/groups").join(GROUP));
    let run = runs.pop().expect("a run or a snapshot");
    let mut bytes = std::fs::read(&run).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&run, bytes).expect("writable");
    let name = run.file_name().expect("it has a name").to_string_lossy().into_owned();
    let output = Command::new(program())
        .args(["backup", "verify", "--from"])
        .arg(place.archive())
        .arg("--key-file")
        .arg(place.key("key"))
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&name) && said.contains("damaged"), "{said}");
}

fn uid(place: &Place) -> String {
    let mut names = std::fs::read_dir(place.archive()).expect("an archive").flatten();
    names.next().expect("a cluster").file_name().into_string().expect("plain")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}
