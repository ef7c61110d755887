//! Every node is replaced, one at a time, while clients work.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::json;

use super::{PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::machines;
use crate::operator;
use crate::scene::{Scene, Specs};

/// Another image for all nodes.
pub const UPGRADE: Story = Story {
    name: "rolling-upgrade",
    about: "another image for all nodes; stock clients see no error",
    tell: |stage| {
        let bounds = Bounds { keyspace_ms: PROCESS_MS_MAX, directory_ms: Some(DIRECTORY_MS_MAX) };
        let mut act = Act::begin(stage, "roll", &Specs::default(), bounds)?;
        act.scene.start_stock(&act.scene.keyspace(), None)?;
        for round in 0..stage.rounds {
            let took = act.during(|scene| roll(scene, round, &|| Ok(())))?;
            act.told.fact("roll_s", took.as_secs());
        }
        let answered = act.scene.stop_stock()?;
        act.told.fact("stock_answers", answered);
        act.end()
    },
};

/// The operator is restarted in the middle of everything that it does.
pub const OPERATOR_RESTARTED: Story = Story {
    name: "operator-restarted",
    about: "the operator's pods are deleted again and again while it founds, replaces and scales",
    tell: |stage| {
        let restart = || {
            operator::restart(&stage.kubectl)?;
            wait(Duration::from_secs(4));
            Ok(())
        };
        let scene = Scene::open(stage, "restart", &Specs::default())?;
        (0..4).try_for_each(|_| restart())?;
        let bounds = Bounds::keyspace(PROCESS_MS_MAX);
        let mut act = Act::take(scene, bounds)?;
        act.during(|scene| roll(scene, 100, &restart))?;
        act.during(|scene| {
            for backups in [2, 1] {
                scene.change(
                    &scene.keyspace_object(),
                    &json!({ "backups": backups, "durability": {"ack": "quorum"} }),
                )?;
                (0..3).try_for_each(|_| restart())?;
                super::scaling::wait_members(scene, backups + 2)?;
            }
            Ok(())
        })?;
        act.end()
    },
};

/// An image that does not exist.
pub const BAD_IMAGE: Story = Story {
    name: "bad-image",
    about: "an image that cannot be had stops after one node, says so, and is taken back",
    tell: bad_image,
};

/// How long all nodes may take to be replaced.
const ROLL_LIMIT: Duration = Duration::from_secs(400);
/// How long the directory may pause when its master hands over, in milliseconds.
const DIRECTORY_MS_MAX: u64 = 3_000;

/// Gives every node another image, with `meanwhile` again and again; how long it took.
fn roll(scene: &Scene, round: u32, meanwhile: &dyn Fn() -> Result<()>) -> Result<Duration> {
    let before = scene.pods()?;
    let image = before.values().next().context("there are no pods")?.image.clone();
    let next = format!("ghcr.io/cairn-db/cairn:e2e-{round}");
    machines::name_image(&image, &next)?;
    let began = std::time::Instant::now();
    scene.change(&scene.cluster_object(), &json!({ "pods": { "image": next } }))?;
    for _ in 0..3 {
        meanwhile()?;
    }
    scene.wait_for("every pod has the new image", ROLL_LIMIT, || {
        scene.pods().is_ok_and(|pods| pods.values().all(|pod| pod.image == next))
    })?;
    scene.wait_settled(SETTLED_LIMIT)?;
    let took = began.elapsed();
    let after = scene.pods()?;
    ensure!(after.len() == before.len(), "{} pods became {}", before.len(), after.len());
    for (name, pod) in &after {
        let same = before.get(name).is_some_and(|before| before.uid == pod.uid);
        ensure!(!same, "{name} was not replaced");
    }
    Ok(took)
}

fn bad_image(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(PROCESS_MS_MAX);
    let mut act = Act::begin(stage, "badimg", &Specs::default(), bounds)?;
    let before = act.scene.pods()?;
    let good = before.values().next().context("there are no pods")?.image.clone();
    act.during(|scene| {
        let bad = json!({ "pods": { "image": "localhost/cairn/nothing:here" } });
        scene.change(&scene.keyspace_object(), &bad)?;
        let mut said = String::new();
        let group = format!("group/{}", scene.group());
        let found = scene.wait_for("the message", Duration::from_secs(120), || {
            let progressing = scene.condition(&group, "Progressing");
            said = progressing.map(|words| words.join(" ")).unwrap_or_default();
            said.contains("ImagePull") || said.contains("ErrImage")
        });
        ensure!(found.is_ok(), "the Group says {said:?} of a pod whose image is not there");
        // Long enough for an operator that goes on to touch the next one.
        wait(Duration::from_secs(10));
        let after = scene.pods()?;
        let touched = after.iter().filter(|(name, pod)| before[*name].uid != pod.uid).count();
        ensure!(touched == 1, "{touched} pods were touched");
        scene.change(&scene.keyspace_object(), &json!({ "pods": { "image": good } }))?;
        scene.wait_settled(SETTLED_LIMIT).map(|_| ())
    })?;
    act.end()
}
