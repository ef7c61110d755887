//! The master of a group goes away in every way there is.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::clock::wait;
use serde_json::json;

use super::{MACHINE_MS_MAX, PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story, TAKEOVER_LIMIT};
use crate::act::{Act, Bounds, Told};
use crate::machines::{self, WORKERS};
use crate::operator;
use crate::scene::{Roles, Scene, Specs};

/// Its pod is deleted: it hands over before it leaves.
pub const POD_DELETED: Story = Story {
    name: "master-pod-deleted",
    about: "kubectl delete pod of a group's master; it hands over before it leaves",
    tell: |stage| {
        let delete = |scene: &Scene, roles: &Roles, _: &str| {
            let pod = format!("pod/{}", roles.master);
            scene.kubectl().run(["delete", &pod, "--wait=false"]).map(|_| ())
        };
        tell(stage, "gone", &Specs::default(), PROCESS_MS_MAX, &delete, &|_, _| Ok(()))
    },
};

/// Its process ends at once.
pub const PROCESS_KILLED: Story = Story {
    name: "master-killed",
    about: "kill -9 of a group master's process, as a crash would",
    tell: |stage| {
        let kill = |_: &Scene, roles: &Roles, machine: &str| {
            machines::kill_process(machine, &roles.master)
        };
        tell(stage, "crash", &Specs::default(), PROCESS_MS_MAX, &kill, &|_, _| Ok(()))
    },
};

/// Its machine is drained.
pub const DRAINED: Story = Story {
    name: "machine-drained",
    about: "kubectl drain of the machine with a group's master, which hands over, and uncordon",
    tell: |stage| {
        let drain = |scene: &Scene, _: &Roles, machine: &str| {
            let which = format!("--pod-selector={}", crate::scene::selector(&scene.cluster()));
            let drain = ["drain", machine, &which, "--ignore-daemonsets", "--timeout=120s"];
            scene.kubectl().run(drain).map(|_| ())
        };
        let heal =
            |scene: &Scene, machine: &str| scene.kubectl().run(["uncordon", machine]).map(|_| ());
        tell(stage, "drain", &Specs::default(), PROCESS_MS_MAX, &drain, &heal)
    },
};

/// Its machine is gone, kubelet and all.
pub const MACHINE_GONE: Story = Story {
    name: "machine-gone",
    about: "docker kill of the machine with a group's master, and the machine comes back",
    tell: |stage| {
        let kill = |_: &Scene, _: &Roles, machine: &str| machines::kill(machine);
        let heal = |scene: &Scene, machine: &str| machines::revive(scene.kubectl(), machine);
        tell(stage, "power", &Specs::default(), MACHINE_MS_MAX, &kill, &heal)
    },
};

/// Its machine is a zone.
pub const ZONE_GONE: Story = Story {
    name: "zone-gone",
    about: "five members in three zones, quorum in two: the master's zone is gone and comes back",
    tell: |stage| {
        let durability = json!({ "ack": "quorum", "zones": 2 });
        let keyspace = json!({ "replicas": 3, "backups": 1, "durability": durability });
        let kill = |scene: &Scene, _: &Roles, machine: &str| {
            let known = || scene.roles().is_ok_and(|roles| roles.zones.len() == WORKERS.len());
            scene.wait_for("members in every zone", SETTLED_LIMIT, known)?;
            machines::kill(machine)
        };
        let heal = |scene: &Scene, machine: &str| machines::revive(scene.kubectl(), machine);
        let specs = Specs { keyspace, ..Specs::default() };
        tell(stage, "zone", &specs, MACHINE_MS_MAX, &kill, &heal)
    },
};

/// The same while nobody runs the operator.
pub const WITHOUT_OPERATOR: Story = Story {
    name: "machine-gone-without-operator",
    about: "the same with the operator scaled to zero",
    tell: |stage| {
        let strike = |_: &Scene, _: &Roles, machine: &str| {
            operator::scale(&stage.kubectl, 0)?;
            machines::kill(machine)
        };
        let heal = |scene: &Scene, machine: &str| {
            machines::revive(scene.kubectl(), machine)?;
            operator::scale(&stage.kubectl, 2)
        };
        tell(stage, "alone", &Specs::default(), MACHINE_MS_MAX, &strike, &heal)
    },
};

/// The same while the API server is down.
pub const WITHOUT_API_SERVER: Story = Story {
    name: "master-killed-without-api-server",
    about: "the API server stops, a group's master is killed, the API server comes back",
    tell: |stage| without_api_server(stage, "noapi", Gone::Process),
};

/// The machine is gone, and nothing of Kubernetes is there to notice.
pub const ALONE: Story = Story {
    name: "machine-gone-alone",
    about: "the operator is scaled to zero, the API server stops, the master's machine is gone",
    tell: |stage| without_api_server(stage, "lone", Gone::MachineAndOperator),
};

/// What is not there besides the API server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Process,
    MachineAndOperator,
}

/// Long enough for Leases and grace periods of Kubernetes to run out.
const AWAY: Duration = Duration::from_secs(60);
/// Long enough for another failover, once the first was seen to be the only one.
const AWAY_AGAIN: Duration = Duration::from_secs(15);

type Strike<'a> = &'a dyn Fn(&Scene, &Roles, &str) -> Result<()>;
type Heal<'a> = &'a dyn Fn(&Scene, &str) -> Result<()>;

fn tell(
    stage: &Stage,
    name: &str,
    specs: &Specs,
    pause_ms_max: u64,
    strike: Strike<'_>,
    heal: Heal<'_>,
) -> Result<Told> {
    let mut act = Act::begin(stage, name, specs, Bounds::keyspace(pause_ms_max))?;
    let members = act.scene.roles()?.members.len();
    for _ in 0..stage.rounds {
        let before = act.scene.roles()?;
        let machine = act.scene.machine_of(&before.master)?;
        act.during(|scene| {
            strike(scene, &before, &machine)?;
            wait_takeover(scene, &before)?;
            wait(Duration::from_secs(1));
            Ok(())
        })?;
        heal(&act.scene, &machine)?;
        wait_whole(&act.scene, members)?;
    }
    act.end()
}

/// Another member is master of a later epoch.
fn wait_takeover(scene: &Scene, before: &Roles) -> Result<()> {
    scene.wait_for("another master", TAKEOVER_LIMIT, || {
        let now = scene.roles();
        now.is_ok_and(|now| now.epoch > before.epoch && now.master != before.master)
    })
}

/// Every member counts again, and the resources say so.
fn wait_whole(scene: &Scene, members: usize) -> Result<()> {
    let whole = || scene.roles().is_ok_and(|roles| roles.members.len() == members);
    scene.wait_for("all members", SETTLED_LIMIT, whole)?;
    scene.wait_settled(SETTLED_LIMIT).map(|_| ())
}

fn without_api_server(stage: &Stage, name: &str, gone: Gone) -> Result<Told> {
    let alone = gone == Gone::MachineAndOperator;
    let bounds = Bounds::keyspace(if alone { MACHINE_MS_MAX } else { PROCESS_MS_MAX });
    let mut act = Act::begin(stage, name, &Specs::default(), bounds)?;
    let mut epochs = 0;
    for round in 0..stage.rounds {
        let before = roles_again(&act.scene)?;
        let machine = act.scene.machine_of(&before.master)?;
        if alone {
            operator::scale(&stage.kubectl, 0)?;
        }
        machines::stop_api_server()?;
        let struck = act.during(|_| {
            match gone {
                Gone::Process => machines::kill_process(&machine, &before.master)?,
                Gone::MachineAndOperator => machines::kill(&machine)?,
            }
            wait(if round == 0 { AWAY } else { AWAY_AGAIN });
            Ok(())
        });
        machines::start_api_server()?;
        struck?;
        if alone {
            machines::revive(act.scene.kubectl(), &machine)?;
            operator::scale(&stage.kubectl, 2)?;
        }
        // More than one takeover may have gone by unseen, the last one back to the first master.
        let later = || act.scene.roles().is_ok_and(|now| now.epoch > before.epoch);
        act.scene.wait_for("a later epoch", TAKEOVER_LIMIT, later)?;
        wait_whole(&act.scene, before.members.len())?;
        epochs += roles_again(&act.scene)?.epoch - before.epoch;
    }
    act.told.fact("away_s", AWAY.as_secs());
    act.told.fact("epochs", epochs);
    act.end()
}

/// The roles, as soon as names lead to the pods that moved while nobody kept the names.
fn roles_again(scene: &Scene) -> Result<Roles> {
    let mut found = None;
    scene.wait_for("the directory answers", TAKEOVER_LIMIT, || {
        found = scene.roles().ok();
        found.is_some()
    })?;
    found.context("it answered")
}
