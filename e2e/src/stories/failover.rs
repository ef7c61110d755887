//! The master of a group goes away in every way there is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;

use super::{Stage, Story, Told};
use crate::machines;
use crate::scene::{Roles, Scene};
use crate::traffic::now_us;

/// Its pod is deleted: it hands over before it leaves.
pub const POD_DELETED: Story = Story {
    name: "master-pod-deleted",
    about: "kubectl delete pod of a group's master; it hands over before it leaves",
    tell: |stage| {
        let delete = |scene: &Scene, roles: &Roles, _: &str| {
            let pod = format!("pod/{}", roles.master);
            scene.kubectl().run(["delete", &pod, "--wait=false"]).map(|_| ())
        };
        tell(stage, "gone", PROCESS_MS_MAX, &delete, &|_, _| Ok(()))
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
        tell(stage, "crash", PROCESS_MS_MAX, &kill, &|_, _| Ok(()))
    },
};

/// Its machine is gone, kubelet and all.
pub const MACHINE_GONE: Story = Story {
    name: "machine-gone",
    about: "docker kill of the machine with a group's master, and the machine comes back",
    tell: |stage| {
        let kill = |_: &Scene, _: &Roles, machine: &str| machines::kill(machine);
        tell(stage, "power", MACHINE_MS_MAX, &kill, &heal)
    },
};

/// The same while nobody runs the operator.
pub const WITHOUT_OPERATOR: Story = Story {
    name: "machine-gone-without-operator",
    about: "the same with the operator scaled to zero",
    tell: |stage| {
        scale_operator(stage, 2, false)?;
        let kill = |_: &Scene, _: &Roles, machine: &str| machines::kill(machine);
        let strike = |scene: &Scene, roles: &Roles, machine: &str| {
            scale_operator(stage, 0, true)?;
            kill(scene, roles, machine)
        };
        let back = |scene: &Scene, machine: &str| {
            heal(scene, machine)?;
            scale_operator(stage, 2, true)
        };
        tell(stage, "alone", MACHINE_MS_MAX, &strike, &back)
    },
};

/// The same while the API server is down.
pub const WITHOUT_API_SERVER: Story = Story {
    name: "master-killed-without-api-server",
    about: "the API server stops, a group's master is killed, the API server comes back",
    tell: without_api_server,
};

/// The longest that writes may pause when a process goes, in milliseconds.
const PROCESS_MS_MAX: u64 = 2_000;
/// The longest that writes may pause when a machine goes, in milliseconds.
const MACHINE_MS_MAX: u64 = 3_000;
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);
const WHOLE_LIMIT: Duration = Duration::from_secs(180);
/// Where the operator is installed.
const OPERATOR: &str = "cairn-system";

type Strike<'a> = &'a dyn Fn(&Scene, &Roles, &str) -> Result<()>;
type Heal<'a> = &'a dyn Fn(&Scene, &str) -> Result<()>;

fn tell(
    stage: &Stage,
    name: &str,
    pause_ms_max: u64,
    strike: Strike<'_>,
    heal: Heal<'_>,
) -> Result<Told> {
    let mut told = Told::default();
    let scene = Scene::open(&stage.kubectl, name, stage.keep)?;
    scene.wait_ready()?;
    scene.wait_tools()?;
    wait_whole(&scene)?;
    scene.start_clients(1)?;
    let mut faults = Vec::new();
    for _ in 0..stage.rounds {
        let before = scene.roles()?;
        let machines = scene.machines()?;
        let machine = machines.get(&before.master).context("the master has no machine")?;
        let from_us = now_us();
        strike(&scene, &before, machine)?;
        wait_takeover(&scene, &before)?;
        wait(Duration::from_secs(1));
        faults.push((from_us, now_us()));
        heal(&scene, machine)?;
        wait_whole(&scene)?;
    }
    let report = scene.judge()?;
    told.fact("acked", report.acked);
    told.fact("unknown", report.unknown);
    told.fact("lost", report.lost);
    for (from_us, until_us) in faults {
        told.pause_us(report.pause_us(from_us, until_us));
    }
    let longest_ms = told.pauses_us.iter().max().copied().unwrap_or(0) / 1000;
    scene.close()?;
    ensure!(
        longest_ms <= pause_ms_max,
        "writes paused for {longest_ms} ms, {pause_ms_max} ms at most are allowed ({})",
        told.line()
    );
    Ok(told)
}

/// Another member is master of a later epoch.
fn wait_takeover(scene: &Scene, before: &Roles) -> Result<()> {
    scene.wait_for("another master", TAKEOVER_LIMIT, || {
        let now = scene.roles();
        now.is_ok_and(|now| now.epoch > before.epoch && now.master != before.master)
    })
}

/// Every member counts again, and the resources say so.
fn wait_whole(scene: &Scene) -> Result<()> {
    let whole = || scene.roles().is_ok_and(|roles| roles.members.len() == 3);
    scene.wait_for("all three members", WHOLE_LIMIT, whole)?;
    scene.wait_ready().map(|_| ())
}

/// The machine comes back.
fn heal(scene: &Scene, machine: &str) -> Result<()> {
    machines::start(machine)?;
    let node = format!("node/{machine}");
    scene.kubectl().run(["wait", "--for=condition=Ready", &node, "--timeout=180s"])?;
    Ok(())
}

fn scale_operator(stage: &Stage, replicas: u32, wait: bool) -> Result<()> {
    let operator = stage.kubectl.within(OPERATOR);
    let replicas = format!("--replicas={replicas}");
    operator.run(["scale", "deployment/cairn-operator", &replicas])?;
    if wait {
        let limit = "--timeout=120s";
        operator.run(["rollout", "status", "deployment/cairn-operator", limit])?;
    }
    Ok(())
}

fn without_api_server(stage: &Stage) -> Result<Told> {
    let mut told = Told::default();
    let scene = Scene::open(&stage.kubectl, "noapi", stage.keep)?;
    scene.wait_ready()?;
    scene.wait_tools()?;
    wait_whole(&scene)?;
    scene.start_clients(1)?;
    let before = scene.roles()?;
    let machines = scene.machines()?;
    let machine = machines.get(&before.master).context("the master has no machine")?;
    machines::stop_api_server()?;
    let away_us = now_us();
    let struck = machines::kill_process(machine, &before.master);
    // Long enough for Leases and grace periods of Kubernetes to run out.
    wait(Duration::from_secs(60));
    let back_us = now_us();
    machines::start_api_server()?;
    struck?;
    // More than one takeover may have gone by unseen, and the last one back to the first master.
    let later = || scene.roles().is_ok_and(|now| now.epoch > before.epoch);
    scene.wait_for("a later epoch", TAKEOVER_LIMIT, later)?;
    wait_whole(&scene)?;
    let after = scene.roles()?;
    let report = scene.judge()?;
    told.fact("acked", report.acked);
    told.fact("lost", report.lost);
    told.fact("away_s", (back_us - away_us) / 1_000_000);
    told.fact("epochs", after.epoch - before.epoch);
    told.pause_us(report.pause_us(away_us, back_us));
    let longest_ms = told.pauses_us.iter().max().copied().unwrap_or(0) / 1000;
    scene.close()?;
    ensure!(longest_ms <= PROCESS_MS_MAX, "writes paused for {longest_ms} ms ({})", told.line());
    Ok(told)
}
