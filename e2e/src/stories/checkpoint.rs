//! Checkpoint nodes: killed while another node fetches from them, and gone with their machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::json;

use super::{MACHINE_MS_MAX, NOISE_MS_MAX, SETTLED_LIMIT, Stage, Story, TAKEOVER_LIMIT};
use crate::act::{Act, Bounds, Told};
use crate::kubectl::succeed;
use crate::machines;
use crate::scene::{Scene, Specs};

/// It is killed while a global node without a folder fetches a snapshot from it.
pub const KILLED_WHILE_SENDING: Story = Story {
    name: "checkpoint-killed-while-sending",
    about: "a global node loses its volume; the checkpoint node it fetches from is killed",
    tell: killed_while_sending,
};

/// Its machine is gone.
pub const MACHINE_GONE: Story = Story {
    name: "checkpoint-machine-gone",
    about: "docker kill of the machine with the checkpoint node, which is the third acceptor",
    tell: machine_gone,
};

/// How long the directory may refuse a write, in milliseconds, when it goes on.
const DIRECTORY_MS_MAX: u64 = 2_000;
/// How long a snapshot may take to be written and seen.
const WRITTEN_LIMIT: Duration = Duration::from_secs(60);
/// Values that the directory is filled with, and their length: more than its log keeps.
const VALUES: usize = 80;
const VALUE_BYTES: usize = 64 << 10;

/// Two global nodes and a checkpoint node that is the third acceptor; the log is short, and a
/// snapshot takes long on its way.
fn specs() -> Specs {
    let cluster = json!({
        "acceptor": false,
        "checkpoint": { "replicas": 1, "interval": "1s" },
        "log": { "bytesKept": "1Mi", "bytesMax": "16Mi", "fetchBytesPerSecond": "128Ki" },
    });
    Specs { cluster, ..Specs::default() }
}

fn checkpoint(scene: &Scene) -> String {
    format!("{}-checkpoint-0", scene.cluster())
}

fn killed_while_sending(stage: &Stage) -> Result<Told> {
    let bounds = Bounds { keyspace_ms: NOISE_MS_MAX, directory_ms: Some(DIRECTORY_MS_MAX) };
    let mut act = Act::begin(stage, "ckill", &specs(), bounds)?;
    fill(&act.scene)?;
    for _ in 0..stage.rounds {
        let scene = &act.scene;
        let (master, _) = scene.global_master()?;
        let globals = (0..2).map(|ordinal| format!("{}-global-{ordinal}", scene.cluster()));
        let replica = globals.into_iter().find(|name| *name != master).context("two nodes")?;
        let holder = checkpoint(scene);
        let machine = scene.machine_of(&holder)?;
        act.during(|scene| {
            let claim = format!("pvc/data-{replica}");
            scene.kubectl().run(["delete", &claim, "--wait=false"])?;
            scene.kubectl().run(["delete", &format!("pod/{replica}")])?;
            scene.wait_for("a fetch begins", TAKEOVER_LIMIT, || fetches(scene, &replica))?;
            machines::kill_process(&machine, &holder)?;
            wait(Duration::from_secs(2));
            Ok(())
        })?;
        act.scene.wait_settled(SETTLED_LIMIT)?;
    }
    verify(&act.scene)?;
    act.end()
}

fn machine_gone(stage: &Stage) -> Result<Told> {
    let bounds = Bounds { keyspace_ms: MACHINE_MS_MAX, directory_ms: Some(DIRECTORY_MS_MAX) };
    let mut act = Act::begin(stage, "cpower", &specs(), bounds)?;
    for round in 0..stage.rounds {
        let machine = act.scene.machine_of(&checkpoint(&act.scene))?;
        act.during(|scene| {
            machines::kill(&machine)?;
            let seen = || scene.condition(&scene.cluster_object(), "Degraded");
            let degraded =
                || seen().is_ok_and(|[is, reason, _]| is == "True" && !reason.is_empty());
            scene.wait_for("the Cluster is degraded", TAKEOVER_LIMIT, degraded)?;
            scene.etcdctl(&["put", "/a", &round.to_string()])?;
            Ok(())
        })?;
        let [_, reason, message] =
            act.scene.condition(&act.scene.cluster_object(), "WritesRefused")?;
        ensure!(reason == "AllServing", "writes are refused: {reason}: {message}");
        machines::revive(act.scene.kubectl(), &machine)?;
        act.scene.wait_settled(SETTLED_LIMIT)?;
    }
    let scene = &act.scene;
    scene.wait_for("the checkpoint node has a snapshot", WRITTEN_LIMIT, || {
        cairn(scene, &["checkpoint", "list"])
            .is_ok_and(|list| list.lines().any(|line| line.starts_with(&checkpoint(scene))))
    })?;
    verify(scene)?;
    act.end()
}

/// Writes more than the log keeps, of what no compression makes small.
fn fill(scene: &Scene) -> Result<()> {
    let mut state = 1_u64;
    for at in 0..VALUES {
        let mut value = String::with_capacity(VALUE_BYTES);
        while value.len() < VALUE_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value += &format!("{:08x}", state >> 32);
        }
        scene.etcdctl(&["put", &format!("/fill/{at}"), &value])?;
    }
    Ok(())
}

/// Whether a node says that it fetches a snapshot.
fn fetches(scene: &Scene, node: &str) -> bool {
    let log = scene.kubectl().run(["logs", node, "--tail=200"]);
    log.is_ok_and(|log| log.contains("fetching a snapshot"))
}

/// Every node's newest snapshot of the directory is whole.
fn verify(scene: &Scene) -> Result<()> {
    let said = cairn(scene, &["checkpoint", "verify", "--log", "global"])?;
    ensure!(said.contains("whole"), "nothing was verified:\n{said}");
    Ok(())
}

fn cairn(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let mut command = scene.kubectl().plugin("cairn");
    succeed(command.args(arguments), "").context("kubectl cairn")
}
