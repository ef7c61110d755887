//! The supervisor with real processes: small programs stand where nodes will, for what is proved
//! here is starting, watching, signalling and stopping processes, whatever they are.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A folder with a prepared cluster of two nodes that run `program`.
struct Local {
    dir: tempfile::TempDir,
    supervisor: Option<Child>,
}

impl Local {
    fn new(program: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the test");
        for part in ["settings", "data", "logs"] {
            fs::create_dir(dir.path().join(part)).expect("an empty folder");
        }
        let binary = dir.path().join("node.sh");
        fs::write(&binary, format!("#!/bin/sh\n{program}\n")).expect("writable");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("ours");
        let ports = [1, 2, 3, 4, 5];
        let node =
            |id: &str, role: &str| serde_json::json!({"id": id, "role": role, "ports": ports});
        let state = serde_json::json!({
            "format": 1, "uid": "ab".repeat(16), "name": "demo", "founded": false,
            "nodeBinary": binary, "keyspaces": [],
            "nodes": [node("global-0", "global"), node("t-0-0", "data")],
        });
        fs::write(dir.path().join("cluster.json"), state.to_string()).expect("writable");
        fs::write(dir.path().join("secret"), "f".repeat(64)).expect("writable");
        Self { dir, supervisor: None }
    }

    fn cairn(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cairn"))
            .args(arguments)
            .arg("--dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("cairn can be run")
    }

    /// What a command that must succeed prints.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.cairn(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a command that must fail complains of.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.cairn(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn supervise(&mut self) {
        let log = fs::File::create(self.dir.path().join("logs/supervisor.log")).expect("writable");
        let child = Command::new(env!("CARGO_BIN_EXE_cairn"))
            .arg("supervise")
            .arg("--dir")
            .arg(self.dir.path())
            .stderr(log)
            .spawn()
            .expect("cairn can be run");
        self.supervisor = Some(child);
        eventually("both nodes run", || {
            self.pid("global-0").is_some() && self.pid("t-0-0").is_some()
        });
    }

    fn process(&self, node: &str) -> Value {
        let path = self.dir.path().join("processes.json");
        let text = fs::read_to_string(path).unwrap_or_default();
        let all: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        all["nodes"][node].clone()
    }

    fn pid(&self, node: &str) -> Option<i64> {
        let process = self.process(node);
        (process["run"] == "running").then(|| process["identity"]["pid"].as_i64())?
    }

    fn log(&self, node: &str) -> PathBuf {
        self.dir.path().join(format!("logs/{node}.log"))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // Nodes are told by the kernel when their supervisor is gone.
            let _ = supervisor.kill();
            let _ = supervisor.wait();
        }
    }
}

fn pause(span: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(span);
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "not within 20 s: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Whether a process runs; a zombie whose parent is gone soon does not.
fn runs(pid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

const SLEEPER: &str = "echo started $1; exec sleep 600";

#[test]
fn a_killed_node_comes_back_and_a_stopped_one_does_not() {
    let mut local = Local::new(SLEEPER);
    local.supervise();
    let log = || fs::read_to_string(local.log("t-0-0")).unwrap_or_default();
    let ran = |times: usize| {
        let what = format!("it ran {times} times");
        eventually(&what, || log() == "started data\n".repeat(times));
    };
    ran(1);
    let first = local.pid("t-0-0").unwrap();
    assert!(local.done(&["kill", "t-0-0"]).contains("started again"));
    ran(2);
    assert!(!runs(first) && local.pid("t-0-0").unwrap() != first);
    assert!(local.done(&["stop", "t-0-0"]).contains("stopped"));
    pause(Duration::from_millis(600));
    assert_eq!(local.process("t-0-0")["run"], "stopped");
    assert!(local.done(&["start", "t-0-0"]).contains("started"));
    ran(3);
    local.done(&["kill", "t-0-0", "--stay-down"]);
    pause(Duration::from_millis(600));
    assert_eq!(local.process("t-0-0")["run"], "stopped");
    ran(3);
}

#[test]
fn down_stops_all_and_keeps_the_data_until_purged() {
    let mut local = Local::new(SLEEPER);
    local.supervise();
    let pids = [local.pid("global-0").unwrap(), local.pid("t-0-0").unwrap()];
    assert!(local.done(&["down"]).contains("the data stays"));
    assert!(pids.iter().all(|pid| !runs(*pid)));
    assert!(local.supervisor.take().unwrap().wait().unwrap().success());
    assert!(local.done(&["down"]).contains("was not up"));
    assert!(local.refused(&["stop", "t-0-0"]).contains("is not up"));
    assert!(local.refused(&["down", "--purge"]).contains("--yes"));
    local.done(&["down", "--purge", "--yes"]);
    assert!(!local.dir.path().exists());
}

#[test]
fn no_node_outlives_its_supervisor() {
    let mut local = Local::new(SLEEPER);
    local.supervise();
    let pids = [local.pid("global-0").unwrap(), local.pid("t-0-0").unwrap()];
    let mut supervisor = local.supervisor.take().unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    eventually("both are gone", || pids.iter().all(|pid| !runs(*pid)));
}

#[test]
fn a_node_that_does_not_hear_is_continued_or_killed_in_the_end() {
    let mut local = Local::new(SLEEPER);
    local.supervise();
    let pid = local.pid("t-0-0").unwrap();
    let stopped = Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    assert!(stopped.success());
    assert!(local.done(&["stop", "t-0-0"]).contains("stopped"));
    assert!(!runs(pid));
}

#[test]
fn a_node_left_behind_is_found_and_stopped_and_a_reused_pid_is_not() {
    let local = Local::new(SLEEPER);
    let mut orphan = Command::new("sleep").arg("600").spawn().unwrap();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let process = |pid: u32, shift: u64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest = stat.rsplit(')').next().unwrap();
        let ticks: u64 = rest.split_whitespace().nth(19).unwrap().parse().unwrap();
        let identity =
            serde_json::json!({"pid": pid, "startTicks": ticks + shift, "bootId": boot.trim()});
        serde_json::json!({"run": "running", "identity": identity, "restarts": 0, "lastExit": null})
    };
    let supervisor = serde_json::json!({"pid": 1, "startTicks": 1, "bootId": "before a reboot"});
    let nodes = serde_json::json!({
        "global-0": process(stranger.id(), 1), "t-0-0": process(orphan.id(), 0),
    });
    let all = serde_json::json!({"supervisor": supervisor, "nodes": nodes});
    fs::write(local.dir.path().join("processes.json"), all.to_string()).unwrap();
    let reaper = std::thread::spawn(move || orphan.wait().unwrap());
    assert!(local.done(&["down"]).contains("1 nodes that had no supervisor"));
    assert!(!reaper.join().unwrap().success());
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_program_that_ends_at_once_is_started_ever_later() {
    let mut local = Local::new("echo no; exit 3");
    let log = fs::File::create(local.dir.path().join("logs/supervisor.log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_cairn"))
        .arg("supervise")
        .arg("--dir")
        .arg(local.dir.path())
        .stderr(log)
        .spawn()
        .unwrap();
    local.supervisor = Some(child);
    eventually("it was started again", || local.process("t-0-0")["restarts"].as_u64() >= Some(3));
    eventually("how it ended is told", || {
        local.process("t-0-0")["lastExit"].as_str().is_some_and(|how| how.contains("status: 3"))
    });
    let starts = fs::read_to_string(local.log("t-0-0")).unwrap().lines().count();
    assert!((3..=5).contains(&starts), "{starts} starts");
}

#[test]
fn a_second_supervisor_is_refused() {
    let mut local = Local::new(SLEEPER);
    local.supervise();
    let log = local.refused(&["supervise"]);
    assert!(log.contains("already up"), "{log}");
}
