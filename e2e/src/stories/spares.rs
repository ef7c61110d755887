//! Spares take the places of members whose machines are gone or drained, and go back to their pool.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::json;

use super::{MACHINE_MS_MAX, PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::machines::{self, WORKERS};
use crate::operator;
use crate::scene::{Roles, Scene, Specs, lay_over, selector};
use crate::traffic::now_us;

/// A machine is gone, and comes back.
pub const REPLACED: Story = Story {
    name: "spare-replaces-member",
    about: "a member's machine is gone, then the master's: a spare counts until it is back",
    tell: replaced,
};

/// The same while nothing of Kubernetes is there to notice.
pub const REPLACED_ALONE: Story = Story {
    name: "spare-replaces-member-alone",
    about: "the operator is scaled to zero, the API server stops, the master's machine is gone",
    tell: replaced_alone,
};

/// Every machine is drained.
pub const DRAINED: Story = Story {
    name: "machines-drained-in-turn",
    about: "cordon and drain of each machine in turn: spares elsewhere count until it is back",
    tell: drained,
};

/// A zone has no spare left.
pub const ZONE: Story = Story {
    name: "zone-without-spare",
    about: "minIdlePerZone: a machine, a zone, is gone, and the pool says which zone lacks one",
    tell: zone,
};

/// Members of the group.
const MEMBERS: usize = 3;
/// How long it may take until a spare counts: its member's lease, `replaceAfter`, the copy, three
/// seconds of keeping up, and an operator that may have gone with the machine.
const REPLACED_LIMIT: Duration = Duration::from_secs(90);
/// How long the API server is away: longer than a spare needs.
const AWAY: Duration = Duration::from_secs(40);

/// A group of three members, and so many spares, each of which is to be idle unless the pool's spec
/// says otherwise.
pub fn begin(stage: &Stage, name: &str, spares: usize, specs: Specs, ms_max: u64) -> Result<Act> {
    let mut pool = json!({ "size": spares, "idleMin": spares, "replaceAfter": "2s" });
    lay_over(&mut pool, &specs.pool);
    let scene = Scene::open(stage, name, &Specs { pool, ..specs })?;
    scene.wait_settled(SETTLED_LIMIT)?;
    scene.wait_exhausted(false, SETTLED_LIMIT)?;
    Act::take(scene, Bounds::keyspace(ms_max))
}

/// A member whose machine goes.
struct Victim {
    node: String,
    machine: String,
}

/// The master, or else another member, on a machine without a spare.
fn victim(scene: &Scene, master: bool) -> Result<Victim> {
    let roles = scene.roles()?;
    let pods = scene.pods()?;
    let spared: BTreeSet<&String> =
        pods.iter().filter(|(name, _)| scene.is_spare(name)).map(|(_, pod)| &pod.machine).collect();
    let of = |node: &String| {
        let machine = pods.get(node).map(|pod| pod.machine.clone());
        machine.with_context(|| format!("{node} is on no machine"))
    };
    let mut found = None;
    for node in roles.members.iter().filter(|node| **node != roles.master) {
        if !spared.contains(&of(node)?) {
            found = Some(Victim { node: node.clone(), machine: of(node)? });
        }
    }
    let other = found.context("each machine without a spare has the master")?;
    if !master {
        return Ok(other);
    }
    let machine = of(&roles.master)?;
    if !spared.contains(&machine) {
        return Ok(Victim { node: roles.master, machine });
    }
    let group = scene.group();
    super::plugin::cairn(scene, &["failover", &group, "--to", &other.node])?;
    let there = || scene.roles().is_ok_and(|now| now.master == other.node);
    scene.wait_for("the master is elsewhere", REPLACED_LIMIT, there)?;
    Ok(other)
}

/// Whether all members count, a spare among them, and none of `gone`.
fn is_replaced(scene: &Scene, roles: &Roles, gone: &[String]) -> bool {
    roles.members.len() == MEMBERS
        && roles.members.iter().any(|node| scene.is_spare(node))
        && !roles.members.iter().any(|node| gone.contains(node))
}

fn wait_replaced(scene: &Scene, gone: &[String]) -> Result<()> {
    let mut said = String::new();
    let came = scene.wait_for("a spare counts", REPLACED_LIMIT, || {
        let now = scene.roles();
        said = format!("{now:?}");
        now.is_ok_and(|now| is_replaced(scene, &now, gone))
    });
    ensure!(came.is_ok(), "no spare counts in the place of {gone:?}: {said}");
    Ok(())
}

/// Its pod says whom the spare serves, and the pool that none is idle.
fn wait_told(scene: &Scene) -> Result<()> {
    scene.wait_exhausted(true, REPLACED_LIMIT)?;
    let labelled = || {
        let serving = scene.serving().unwrap_or_default();
        serving.values().any(|group| *group == scene.group())
    };
    scene.wait_for("the spare's pod is labelled", REPLACED_LIMIT, labelled)
}

/// The members are back, and every spare is idle again.
fn wait_back(act: &mut Act) -> Result<()> {
    let began = Instant::now();
    act.scene.wait_home(&[act.scene.group()], MEMBERS, SETTLED_LIMIT)?;
    act.told.fact("back_s", began.elapsed().as_secs());
    act.scene.wait_settled(SETTLED_LIMIT).map(|_| ())
}

fn replaced(stage: &Stage) -> Result<Told> {
    let mut act = begin(stage, "spare", 1, Specs::default(), MACHINE_MS_MAX)?;
    replace_in_turn(&mut act, stage.rounds.max(2))?;
    act.end()
}

/// The machine of a member is gone and comes back, then that of the master, `rounds` times in all.
///
/// # Errors
/// If no spare takes the member's place, or it is not relieved.
pub fn replace_in_turn(act: &mut Act, rounds: u32) -> Result<()> {
    for round in 0..rounds {
        let victim = victim(&act.scene, round > 0)?;
        let began = Instant::now();
        let took = act.during(|scene| {
            machines::kill(&victim.machine)?;
            wait_replaced(scene, &[victim.node])?;
            let took = began.elapsed();
            wait_told(scene).map(|()| took)
        })?;
        act.told.fact("replaced_s", took.as_secs());
        let claims_us = act.scene.claims_us(began);
        act.told.pauses("claim", &claims_us);
        machines::revive(act.scene.kubectl(), &victim.machine)?;
        wait_back(act)?;
    }
    Ok(())
}

fn replaced_alone(stage: &Stage) -> Result<Told> {
    let mut act = begin(stage, "healed", 1, Specs::default(), MACHINE_MS_MAX)?;
    for _ in 0..stage.rounds {
        let Victim { node, machine } = victim(&act.scene, true)?;
        act.scene.start_notes()?;
        operator::scale(&stage.kubectl, 0)?;
        machines::stop_api_server()?;
        let (mut from_s, mut until_s) = (0, 0);
        let struck = act.during(|_| {
            from_s = now_us() / 1_000_000;
            machines::kill(&machine)?;
            wait(AWAY);
            until_s = now_us() / 1_000_000;
            Ok(())
        });
        machines::start_api_server()?;
        struck?;
        machines::revive(act.scene.kubectl(), &machine)?;
        operator::scale(&stage.kubectl, 2)?;
        let notes = act.scene.notes()?;
        let gone = [node];
        let first = notes.iter().find(|(_, roles)| is_replaced(&act.scene, roles, &gone));
        let at_s = first.map(|(second, _)| *second).filter(|second| *second < until_s);
        let last = notes.iter().rfind(|(second, _)| *second < until_s);
        let at_s = at_s.with_context(|| format!("nobody came in its place: {last:?}"))?;
        act.told.fact("replaced_s", at_s.saturating_sub(from_s));
        wait_back(&mut act)?;
    }
    act.end()
}

fn drained(stage: &Stage) -> Result<Told> {
    let mut act = begin(stage, "turns", 2, Specs::default(), PROCESS_MS_MAX)?;
    for (turn, machine) in WORKERS.iter().enumerate() {
        let pods = act.scene.pods()?.into_iter();
        let there: Vec<String> =
            pods.filter(|(_, pod)| pod.machine == *machine).map(|(name, _)| name).collect();
        let took = act.during(|scene| {
            let began = Instant::now();
            if turn == 0 {
                // As the manual advises: it is empty before a pod is asked to go.
                scene.kubectl().run(["cordon", machine])?;
                wait_drains(scene)?;
                wait_replaced(scene, &there)?;
            }
            let which = format!("--pod-selector={}", selector(&scene.cluster()));
            let drain = ["drain", machine, &which, "--ignore-daemonsets", "--timeout=120s"];
            scene.kubectl().run(drain)?;
            wait_replaced(scene, &there)?;
            let took = began.elapsed();
            wait_told(scene).map(|()| took)
        })?;
        act.told.fact("emptied_s", took.as_secs());
        act.scene.kubectl().run(["uncordon", machine])?;
        wait_back(&mut act)?;
    }
    act.end()
}

fn zone(stage: &Stage) -> Result<Told> {
    let pool = json!({ "idleMin": 1, "minIdlePerZone": 1 });
    let specs = Specs { pool, ..Specs::default() };
    let mut act = begin(stage, "zonal", WORKERS.len(), specs, MACHINE_MS_MAX)?;
    for _ in 0..stage.rounds {
        let Roles { master, members, .. } = act.scene.roles()?;
        let other = members.iter().find(|node| **node != master).context("no other member")?;
        let machine = act.scene.machine_of(other)?;
        let said = act.during(|scene| {
            machines::kill(&machine)?;
            wait_replaced(scene, std::slice::from_ref(other))?;
            let pool = scene.pool_object();
            let wanted = "True TooFewIdleInZone ";
            scene.wait_condition(&pool, "PoolExhausted", wanted, REPLACED_LIMIT)
        })?;
        ensure!(said.contains("fewer than 1 in zone "), "it names no zone: {said}");
        println!("with {machine} gone the pool says {said}");
        machines::revive(act.scene.kubectl(), &machine)?;
        wait_back(&mut act)?;
    }
    act.end()
}

/// The group says that it is being drained.
fn wait_drains(scene: &Scene) -> Result<()> {
    let group = format!("group/{}", scene.group());
    scene.wait_condition(&group, "Progressing", "True Draining", REPLACED_LIMIT).map(|_| ())
}
