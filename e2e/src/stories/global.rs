//! The global master goes away: another one follows, and no client of a keyspace notices.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Stage, Story, Told};
use crate::machines;
use crate::scene::Scene;
use crate::traffic::now_us;

/// Its process ends at once.
pub const PROCESS_KILLED: Story = Story {
    name: "global-master-killed",
    about: "kill -9 of the global master; the directory is written again, groups go on",
    tell: |stage| tell(stage, "gcrash", false),
};

/// Its machine is gone.
pub const MACHINE_GONE: Story = Story {
    name: "global-machine-gone",
    about: "docker kill of the machine with the global master, and whatever else is on it",
    tell: |stage| tell(stage, "gpower", true),
};

/// How long the directory may refuse a write, in milliseconds. The clock here is kubectl's, which
/// needs a second by itself to ask once.
const DIRECTORY_MS_MAX: u128 = 6_000;
/// How long a group's writes may pause: not at all, but for the noise of the machine; when a
/// machine goes, the group may lose its master, too.
const GROUP_MS_MAX: u64 = 1_000;
const GROUP_WITH_MACHINE_MS_MAX: u64 = 3_000;
const WHOLE_LIMIT: Duration = Duration::from_secs(180);

fn tell(stage: &Stage, name: &str, whole_machine: bool) -> Result<Told> {
    let mut told = Told::default();
    let scene = Scene::open(&stage.kubectl, name, stage.keep)?;
    scene.wait_ready()?;
    scene.wait_tools()?;
    scene.start_clients(1)?;
    let mut faults = Vec::new();
    let mut directory_ms = Vec::new();
    for round in 0..stage.rounds {
        let (master, epoch) = scene.global_master()?;
        let machines = scene.machines()?;
        let machine = machines.get(&master).context("the global master has no machine")?;
        let from_us = now_us();
        let began = Instant::now();
        match whole_machine {
            true => machines::kill(machine)?,
            false => machines::kill_process(machine, &master)?,
        }
        let value = round.to_string();
        scene.wait_for("the directory takes a write", Duration::from_secs(60), || {
            let etcd = scene.etcd();
            let put = ["etcdctl", "--endpoints", &etcd, "--command-timeout=1s", "put", "/a"];
            scene.tool(&[&put[..], &[value.as_str()]].concat()).is_ok()
        })?;
        directory_ms.push(began.elapsed().as_millis());
        faults.push((from_us, now_us() + 2_000_000));
        if whole_machine {
            machines::start(machine)?;
            let node = format!("node/{machine}");
            let ready = ["wait", "--for=condition=Ready", &node, "--timeout=180s"];
            scene.kubectl().run(ready)?;
        }
        scene.wait_for("the next epoch in the status", WHOLE_LIMIT, || {
            scene.global_master().is_ok_and(|(_, now)| now > epoch)
        })?;
        scene.wait_ready()?;
    }
    let report = scene.judge()?;
    told.fact("acked", report.acked);
    told.fact("lost", report.lost);
    let longest_ms = directory_ms.into_iter().max().unwrap_or(0);
    told.fact("directory_ms_max", longest_ms);
    for (from_us, until_us) in faults {
        told.pause_us(report.pause_us(from_us, until_us));
    }
    scene.close()?;
    ensure!(longest_ms <= DIRECTORY_MS_MAX, "the directory was away too long: {}", told.line());
    let pause_ms = told.pauses_us.iter().max().copied().unwrap_or(0) / 1000;
    let most = if whole_machine { GROUP_WITH_MACHINE_MS_MAX } else { GROUP_MS_MAX };
    ensure!(pause_ms <= most, "a group's writes paused, too: {}", told.line());
    Ok(told)
}
