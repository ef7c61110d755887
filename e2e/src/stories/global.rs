//! The global master goes away: another one follows, and no client of a keyspace notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::clock::wait;

use super::{MACHINE_MS_MAX, SETTLED_LIMIT, Stage, Story, TAKEOVER_LIMIT};
use crate::act::{Act, Bounds, Told};
use crate::machines;
use crate::operator;
use crate::scene::{Scene, Specs};

/// Its pod is deleted.
pub const POD_DELETED: Story = Story {
    name: "global-master-pod-deleted",
    about: "kubectl delete pod of the global master; it hands over before it leaves",
    tell: |stage| {
        let delete = |scene: &Scene, master: &str, _: &str| {
            let pod = format!("pod/{master}");
            scene.kubectl().run(["delete", &pod, "--wait=false"]).map(|_| ())
        };
        tell(stage, "ggone", GROUP_MS_MAX, &delete, &|_, _| Ok(()))
    },
};

/// Its process ends at once.
pub const PROCESS_KILLED: Story = Story {
    name: "global-master-killed",
    about: "kill -9 of the global master; the directory is written again, groups go on",
    tell: |stage| {
        let kill = |_: &Scene, master: &str, machine: &str| machines::kill_process(machine, master);
        tell(stage, "gcrash", GROUP_MS_MAX, &kill, &|_, _| Ok(()))
    },
};

/// Its machine is gone, and a group's master with it.
pub const MACHINE_GONE: Story = Story {
    name: "global-machine-gone",
    about: "docker kill of the machine with the global master and a group's master",
    tell: |stage| {
        let kill = |_: &Scene, _: &str, machine: &str| machines::kill(machine);
        let heal = |scene: &Scene, machine: &str| machines::revive(scene.kubectl(), machine);
        tell(stage, "gpower", MACHINE_MS_MAX, &kill, &heal)
    },
};

/// The same while nobody runs the operator.
pub const WITHOUT_OPERATOR: Story = Story {
    name: "global-machine-gone-without-operator",
    about: "the same with the operator scaled to zero",
    tell: |stage| {
        let strike = |_: &Scene, _: &str, machine: &str| {
            operator::scale(&stage.kubectl, 0)?;
            machines::kill(machine)
        };
        let heal = |scene: &Scene, machine: &str| {
            machines::revive(scene.kubectl(), machine)?;
            operator::scale(&stage.kubectl, 2)
        };
        tell(stage, "galone", MACHINE_MS_MAX, &strike, &heal)
    },
};

/// The same while the API server is down.
pub const WITHOUT_API_SERVER: Story = Story {
    name: "global-master-killed-without-api-server",
    about: "the API server stops, the global master is killed, the API server comes back",
    tell: |stage| {
        let strike = |_: &Scene, master: &str, machine: &str| {
            machines::stop_api_server()?;
            let killed = machines::kill_process(machine, master);
            wait(AWAY);
            machines::start_api_server()?;
            killed
        };
        tell(stage, "gnoapi", GROUP_WITH_START_MS_MAX, &strike, &|_, _| Ok(()))
    },
};

/// How long the directory may refuse a write, in milliseconds: its client needs up to a second to
/// give up an attempt.
const DIRECTORY_MS_MAX: u64 = 5_000;
/// How long a group's writes may pause: not at all, but for the noise of the machine.
const GROUP_MS_MAX: u64 = 1_000;
/// The same while an API server starts, which takes all of a small machine's processors.
const GROUP_WITH_START_MS_MAX: u64 = 2_000;
/// How long the API server stays away.
const AWAY: Duration = Duration::from_secs(20);

type Strike<'a> = &'a dyn Fn(&Scene, &str, &str) -> Result<()>;
type Heal<'a> = &'a dyn Fn(&Scene, &str) -> Result<()>;

fn tell(
    stage: &Stage,
    name: &str,
    keyspace_ms: u64,
    strike: Strike<'_>,
    heal: Heal<'_>,
) -> Result<Told> {
    let bounds = Bounds { keyspace_ms, directory_ms: Some(DIRECTORY_MS_MAX) };
    let mut act = Act::begin(stage, name, &Specs::default(), bounds)?;
    for round in 0..stage.rounds {
        if keyspace_ms == MACHINE_MS_MAX {
            meet(&act.scene)?;
        }
        let (master, epoch) = act.scene.global_master()?;
        let machine = act.scene.machine_of(&master)?;
        act.during(|scene| {
            strike(scene, &master, &machine)?;
            let value = round.to_string();
            scene.wait_for("the directory takes a write", TAKEOVER_LIMIT, || {
                scene.etcdctl(&["put", "/a", &value]).is_ok()
            })?;
            wait(Duration::from_secs(2));
            Ok(())
        })?;
        heal(&act.scene, &machine)?;
        act.scene.wait_for("the next epoch in the status", SETTLED_LIMIT, || {
            act.scene.global_master().is_ok_and(|(_, now)| now > epoch)
        })?;
        act.scene.wait_settled(SETTLED_LIMIT)?;
    }
    act.end()
}

/// Sees to it that the global master and the group's master share a machine.
fn meet(scene: &Scene) -> Result<()> {
    for _ in 0..6 {
        let (global, group) = (scene.global_master()?.0, scene.roles()?.master);
        let pods = scene.pods()?;
        let place = |name: &str| pods.get(name).map(|pod| pod.machine.clone());
        let there = place(&group);
        if place(&global) == there {
            return Ok(());
        }
        let globals = format!("{}-global-", scene.cluster());
        let other = pods
            .iter()
            .any(|(name, pod)| name.starts_with(&globals) && Some(&pod.machine) == there.as_ref());
        // Whoever is deleted hands over first: the global master if that helps, else the group's.
        let leaver = if other { global } else { group };
        scene.kubectl().run(["delete", &format!("pod/{leaver}")])?;
        scene.wait_settled(SETTLED_LIMIT)?;
    }
    let (global, group) = (scene.global_master()?.0, scene.roles()?.master);
    ensure!(scene.machine_of(&global)? == scene.machine_of(&group)?, "the two never met");
    Ok(())
}
