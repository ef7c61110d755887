//! Members come and go while clients work.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::scene::{Scene, Specs};

/// Two members, three, two, with `one`.
pub const ONE: Story = Story {
    name: "scale-one",
    about: "a group of two members gets a third one and gives it up again, with ack: one",
    tell: |stage| {
        let keyspace = json!({ "replicas": 1, "backups": 0, "durability": { "ack": "one" } });
        members(stage, "one", keyspace, &[("backups", 1, 3), ("backups", 0, 2)])
    },
};

/// Three members, five, three, with `quorum`.
pub const QUORUM: Story = Story {
    name: "scale-quorum",
    about: "a group of three members gets two more and gives them up again, with ack: quorum",
    tell: |stage| {
        let keyspace = json!({ "replicas": 2, "backups": 0, "durability": { "ack": "quorum" } });
        members(stage, "quorum", keyspace, &[("replicas", 4, 5), ("replicas", 2, 3)])
    },
};

/// Two global nodes, three, two.
pub const GLOBAL: Story = Story {
    name: "scale-global",
    about: "the global plane gets a replica and gives it up again",
    tell: |stage| {
        // Three global nodes and an acceptor need four machines, or may share one.
        let specs = Specs {
            cluster: json!({ "globalReplicas": 1, "pods": { "spread": "relaxed" } }),
            ..Specs::default()
        };
        let bounds = Bounds { keyspace_ms: GROUP_MS_MAX, directory_ms: Some(DIRECTORY_MS_MAX) };
        let mut act = Act::begin(stage, "globals", &specs, bounds)?;
        for (replicas, nodes) in [(2, 3), (1, 2)] {
            act.during(|scene| {
                let spec = json!({ "globalReplicas": replicas });
                scene.change(&scene.cluster_object(), &spec)?;
                wait_pods(scene, &format!("{}-global-", scene.cluster()), nodes)?;
                scene.wait_settled(SETTLED_LIMIT)?;
                let cluster = scene.kubectl().get(&[&scene.cluster_object()])?;
                let ready = &cluster["status"]["readyNodes"];
                ensure!(*ready == json!(nodes), "{ready} of {nodes} global nodes are ready");
                Ok(())
            })?;
        }
        act.end()
    },
};

/// How long a keyspace's writes may pause when the global plane scales, in milliseconds.
const GROUP_MS_MAX: u64 = 1_000;
/// How long the directory may pause, in milliseconds.
const DIRECTORY_MS_MAX: u64 = 3_000;

fn members(
    stage: &Stage,
    name: &str,
    keyspace: Value,
    steps: &[(&str, usize, usize)],
) -> Result<Told> {
    let specs = Specs { keyspace, ..Specs::default() };
    let mut act = Act::begin(stage, name, &specs, Bounds::keyspace(PROCESS_MS_MAX))?;
    for (field, value, count) in steps {
        let began = std::time::Instant::now();
        act.during(|scene| {
            scene.change(&scene.keyspace_object(), &json!({ *field: value }))?;
            wait_members(scene, *count)
        })?;
        act.told.fact(&format!("to_{count}_s"), began.elapsed().as_secs());
    }
    act.end()
}

/// Waits until the group has so many members, and no pod more.
pub fn wait_members(scene: &Scene, count: usize) -> Result<()> {
    let there = || scene.roles().is_ok_and(|roles| roles.members.len() == count);
    scene.wait_for(&format!("{count} members"), SETTLED_LIMIT, there)?;
    wait_pods(scene, &format!("{}-", scene.group()), count)?;
    scene.wait_settled(SETTLED_LIMIT)?;
    let members = scene.roles()?.members;
    ensure!(members.len() == count, "{count} members became {members:?}");
    Ok(())
}

fn wait_pods(scene: &Scene, prefix: &str, count: usize) -> Result<()> {
    let there = || {
        let pods = scene.pods();
        pods.is_ok_and(|pods| pods.keys().filter(|name| name.starts_with(prefix)).count() == count)
    };
    scene.wait_for(&format!("{count} pods {prefix}*"), Duration::from_secs(180), there)
}
