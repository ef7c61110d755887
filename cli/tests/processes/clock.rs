//! Wall clocks that jump: keys expire by them, nothing else follows them.
//!
//! The programs are the real ones and know nothing of this: a preloaded library shifts what the
//! system tells them.

use crate::support::{World, connect, say};
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// The wall clock of a cluster.
struct WallClock {
    dir: tempfile::TempDir,
}

impl WallClock {
    fn new() -> Self {
        let clock = Self { dir: tempfile::tempdir().expect("a folder") };
        clock.shift(0);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/clock_shim.c");
        let define = format!("-DOFFSET_FILE=\"{}\"", clock.file().display());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", &define, "-o"]);
        let built = cc.arg(clock.library()).arg(source).status();
        assert!(built.is_ok_and(|status| status.success()), "Rust links with cc, so it is here");
        clock
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("shim.so")
    }

    /// From now on the clock is so many milliseconds off.
    fn shift(&self, ms: i64) {
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(self.file());
        file.and_then(|file| file.write_all_at(&ms.to_ne_bytes(), 0)).expect("writable");
    }
}

#[test]
fn a_wall_clock_that_jumps_expires_what_is_due_and_does_nothing_else() {
    let clock = WallClock::new();
    let library = clock.library();
    let variable = ("LD_PRELOAD", library.to_str().expect("a plain path"));
    let world = World::prepared(Some(variable), |_| Vec::new());
    let epochs = world.epochs();
    let mut traffic = Traffic::start(Plan::new(&world.cluster.seeds(), 1), Recorder::in_memory());
    let mut client = connect(&world.master());
    for set in ["SET plain 1", "SET soon 1 EX 1800", "SET later 1 EX 10800"] {
        assert_eq!(say(&mut client, set), "OK");
    }

    clock.shift(HOUR_MS);
    assert_eq!(say(&mut client, "GET soon"), "(nil)", "it is due, an hour later");
    assert_eq!((say(&mut client, "GET plain"), say(&mut client, "GET later")), one_each());
    let left: i64 = say(&mut client, "TTL later").parse().expect("a number");
    assert!((7100..=7200).contains(&left), "{left} s left");
    goes_on(&traffic);

    clock.shift(-HOUR_MS);
    assert_eq!((say(&mut client, "GET plain"), say(&mut client, "GET later")), one_each());
    assert_eq!(say(&mut client, "GET soon"), "(nil)", "what expired stays away");
    assert_eq!(say(&mut client, "SET past 1 PX 1000"), "OK");
    goes_on(&traffic);

    clock.shift(0);
    assert_eq!(say(&mut client, "GET past"), "(nil)", "it was made an hour ago");
    goes_on(&traffic);

    assert_eq!(world.epochs(), epochs, "a takeover");
    world.whole();
    let status = world.status();
    let restarts = status["nodes"].as_array().expect("nodes").iter().map(|n| &n["restarts"]);
    assert!(restarts.clone().all(|count| count == 0), "a process ended");
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = cairn_harness::checker::check(&history);
    eprintln!("{} writes acknowledged, {} reads", report.acknowledged, report.reads);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);
    for node in world.cluster.nodes() {
        assert!(!world.log(&node.id).contains("panicked"), "{}", node.id);
    }
}

fn one_each() -> (String, String) {
    ("1".to_owned(), "1".to_owned())
}

/// Clients' writes are acknowledged, for longer than any lease lasts.
fn goes_on(traffic: &Traffic) {
    for _ in 0..4 {
        let before = traffic.acknowledged();
        cairn_harness::clock::wait(Duration::from_millis(700));
        let done = traffic.acknowledged() - before;
        assert!(done > 10, "{done} writes in 700 ms");
    }
}
