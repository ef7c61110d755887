//! A keyspace gets a second group, first of spares, and gives it up again, while clients work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::{Value, json};

use super::{PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Told};
use crate::scene::{Scene, Specs};

/// By hand.
pub const SCALED: Story = Story {
    name: "scale-groups",
    about: "kubectl scale from one group to two, first of spares, and back, by moves of slots",
    tell: scaled,
};

/// By load.
pub const AUTOSCALED: Story = Story {
    name: "autoscale",
    about: "more load than one group should serve brings a second one by itself",
    tell: autoscaled,
};

/// Members of each group.
const MEMBERS: usize = 3;
/// What the first group holds when it is scaled by hand.
const KEYS: u64 = 1_000_000;
const VALUE_BYTES: usize = 64;
/// How long it may take until a new group serves, or the last slot has left one.
const MOVES_LIMIT: Duration = Duration::from_secs(180);

/// How many slots the second group has; none if that is not known.
fn moved(scene: &Scene) -> u64 {
    let slots = scene.slots().unwrap_or_default();
    slots.get(&scene.groups()[1]).copied().unwrap_or(0)
}

fn scale(scene: &Scene, groups: u32) -> Result<()> {
    let replicas = format!("--replicas={groups}");
    scene.kubectl().run(["scale", &scene.keyspace_object(), &replicas]).map(|_| ())
}

/// The groups asked for and those there are, as an autoscaler reads them.
fn scale_subresource(scene: &Scene) -> Result<(Value, Value)> {
    let (namespace, name) = (scene.kubectl().namespace(), scene.keyspace());
    let kind = format!("/apis/cairn.dev/v1alpha1/namespaces/{namespace}/keyspaces/{name}/scale");
    let text = scene.kubectl().run(["get", "--raw", &kind])?;
    let scale: Value = serde_json::from_str(&text).context("the subresource is no JSON")?;
    Ok((scale["spec"]["replicas"].clone(), scale["status"]["replicas"].clone()))
}

/// Waits until the subresource says that so many groups are asked for and there.
fn wait_groups(scene: &Scene, groups: u32) -> Result<()> {
    let mut said = String::new();
    let came = scene.wait_for("groups", MOVES_LIMIT, || {
        let scale = scale_subresource(scene);
        said = format!("{scale:?}");
        scale.is_ok_and(|scale| scale == (json!(groups), json!(groups)))
    });
    ensure!(came.is_ok(), "not {groups} groups: {said}");
    Ok(())
}

/// Waits until the second group has its first slot; who its members are then.
fn wait_serves(scene: &Scene) -> Result<Vec<String>> {
    let second = &scene.groups()[1];
    let mut members = Vec::new();
    scene.wait_for("the second group has a slot", MOVES_LIMIT, || {
        let roles = scene.roles_of(second);
        members = roles.map(|roles| roles.members).unwrap_or_default();
        !members.is_empty() && moved(scene) > 0
    })?;
    Ok(members)
}

/// Waits until the planner would move nothing more.
fn wait_balanced(scene: &Scene) -> Result<()> {
    let mut said = String::new();
    let came = scene.wait_for("balance", MOVES_LIMIT, || {
        let plan = super::plugin::cairn(scene, &["rebalance", &scene.keyspace(), "--plan"]);
        said = plan.unwrap_or_else(|error| format!("{error:#}"));
        let rests = ["now: balanced:", "nothing that may be moved"];
        let rests = said.lines().next().is_some_and(|now| rests.iter().any(|it| now.contains(it)));
        rests && moved(scene) > 0
    });
    ensure!(came.is_ok(), "not balanced: {said}");
    Ok(())
}

fn begin(stage: &Stage, name: &str, keyspace: Value) -> Result<Act> {
    let specs = Specs { keyspace, ..Specs::default() };
    super::spares::begin(stage, name, MEMBERS, specs, PROCESS_MS_MAX)
}

/// A second group comes: until it serves, until nothing moves, until its own pods are its members.
/// The first time these come too late, so it is formed of spares; where their volumes are there
/// already, it may be formed of them.
fn grow(act: &mut Act, is_first: bool, ask: impl FnOnce(&Scene) -> Result<()>) -> Result<()> {
    let facts = act.during(|scene| {
        let began = Instant::now();
        ask(scene)?;
        let first = wait_serves(scene)?;
        let serves = began.elapsed().as_millis();
        let spared = first.iter().any(|node| scene.is_spare(node));
        ensure!(spared || !is_first, "no spare among {first:?}");
        wait_balanced(scene)?;
        let even = began.elapsed().as_millis();
        scene.wait_home(&scene.groups(), MEMBERS, SETTLED_LIMIT)?;
        let home = began.elapsed().as_millis();
        scene.wait_settled(SETTLED_LIMIT)?;
        wait_groups(scene, 2)?;
        let slots = u128::from(moved(scene));
        Ok([("serves_ms", serves), ("even_ms", even), ("home_ms", home), ("moved", slots)])
    })?;
    facts.into_iter().for_each(|(key, value)| act.told.fact(key, value));
    tell_held(act)
}

/// For how long commands on the slots of each move had to wait, as their source says.
///
/// # Errors
/// If it does not say.
pub fn tell_held(act: &mut Act) -> Result<()> {
    let group = &act.scene.groups()[0];
    let mut held_us = Vec::new();
    act.scene.wait_for("the logs of a move's source", MOVES_LIMIT, || {
        held_us = act.scene.held_us(group).unwrap_or_default();
        !held_us.is_empty()
    })?;
    act.told.pauses("held", &held_us);
    Ok(())
}

fn scaled(stage: &Stage) -> Result<Told> {
    let mut act = begin(stage, "groups", Value::Null)?;
    act.scene.fill(KEYS, VALUE_BYTES)?;
    for round in 0..stage.rounds {
        grow(&mut act, round == 0, |scene| scale(scene, 2))?;
        let took = act.during(|scene| {
            let began = Instant::now();
            scale(scene, 1)?;
            wait_groups(scene, 1)?;
            let second = format!("{}-", scene.groups()[1]);
            scene.wait_for("the second group's pods are gone", SETTLED_LIMIT, || {
                scene.pods().is_ok_and(|pods| !pods.keys().any(|name| name.starts_with(&second)))
            })?;
            ensure!(moved(scene) == 0, "a group that is gone has slots: {:?}", scene.slots());
            scene.wait_home(&scene.groups()[..1], MEMBERS, SETTLED_LIMIT)?;
            scene.wait_settled(SETTLED_LIMIT)?;
            Ok(began.elapsed())
        })?;
        act.told.fact("retired_s", took.as_secs());
    }
    act.end()
}

fn autoscaled(stage: &Stage) -> Result<Told> {
    // The clients ask for many times as much.
    let policy = json!({ "max": 2, "operationsPerSecond": 40, "stabilization": "20s" });
    let mut act = begin(stage, "load", json!({ "autoscale": policy }))?;
    grow(&mut act, true, |_| Ok(()))?;
    act.during(|scene| {
        let object = scene.keyspace_object();
        let said = scene.condition(&object, "AutoscaleLimited")?;
        ensure!(said[0] == "True", "AutoscaleLimited says {said:?} of a load that needs more");
        let events = scene.kubectl().run(["get", "events", "--output=custom-columns=:.reason"])?;
        ensure!(events.lines().any(|reason| reason == "Autoscaled"), "no Event: {events}");
        // It stays as it is under a load that does.
        wait(Duration::from_secs(5));
        wait_groups(scene, 2)
    })?;
    act.end()
}
