//! `kubectl cairn`, as a person uses it: through port forwarding, with TLS.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;

use super::{PROCESS_MS_MAX, Stage, Story, TAKEOVER_LIMIT};
use crate::act::{Act, Bounds, Told};
use crate::kubectl::succeed;
use crate::scene::{Scene, Specs};

/// Every sub-command, on a cluster at work.
pub const STORY: Story = Story {
    name: "kubectl-cairn",
    about: "status, why, top, tails, logs, events, failover and a report without secrets",
    tell,
};

fn tell(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(PROCESS_MS_MAX);
    let mut act = Act::begin(stage, "plugin", &Specs::default(), bounds)?;
    let before = act.scene.roles()?;
    let (group, master) = (act.scene.group(), before.master.clone());
    let tree = cairn(&act.scene, &["status"])?;
    for word in [&act.scene.cluster(), &group, &master, "master", "replica", "acceptor"] {
        ensure!(tree.contains(word), "status does not name {word}:\n{tree}");
    }
    act.during(|scene| {
        cairn(scene, &["failover", &group])?;
        scene.wait_for("another master", TAKEOVER_LIMIT, || {
            scene.roles().is_ok_and(|now| now.epoch > before.epoch && now.master != master)
        })?;
        wait(Duration::from_secs(1));
        Ok(())
    })?;
    let scene = &act.scene;
    let epoch = scene.roles()?.epoch;
    let why = cairn(scene, &["why", &group])?;
    ensure!(why.contains(&epoch.to_string()), "why does not tell of epoch {epoch}:\n{why}");
    let top = cairn(scene, &["top"])?;
    ensure!(top.contains(&master), "top does not name {master}:\n{top}");
    cairn(scene, &["tails"])?;
    ensure!(!cairn(scene, &["logs", &master])?.is_empty(), "the log of {master} is empty");
    let events = cairn(scene, &["events"])?;
    ensure!(events.contains(&group), "events do not name {group}:\n{events}");
    let files = report(stage, scene)?;
    act.told.fact("report_files", files);
    act.end()
}

/// Has a report made; how many files it has, none of which holds a secret.
fn report(stage: &Stage, scene: &Scene) -> Result<usize> {
    std::fs::create_dir_all(&stage.logs)?;
    let place = stage.logs.join("report.tar.gz");
    // The command never writes over a file.
    let _ = std::fs::remove_file(&place);
    let place = place.to_str().context("the path is no text")?;
    cairn(scene, &["report", "--output", place])?;
    let tar = |what: &str| succeed(Command::new("tar").args([what, "--file", place]), "");
    let names = tar("--list")?;
    for name in ["status.json", "why/global.txt", "logs/"] {
        ensure!(names.contains(name), "the report has no {name}:\n{names}");
    }
    let text =
        succeed(Command::new("tar").args(["--extract", "--to-stdout", "--file", place]), "")?;
    for secret in secrets(scene)? {
        ensure!(!text.contains(&secret), "the report holds what a Secret does");
    }
    ensure!(!text.contains("PRIVATE KEY"), "the report holds a private key");
    Ok(names.lines().count())
}

/// Every value of the namespace's Secrets, as Kubernetes writes them.
fn secrets(scene: &Scene) -> Result<Vec<String>> {
    let list = scene.kubectl().get(&["secrets"])?;
    let items = list["items"].as_array().context("a list has items")?;
    let values = items.iter().filter_map(|item| item["data"].as_object()).flat_map(|d| d.values());
    let keys = values.filter_map(|value| value.as_str()).map(str::to_owned);
    Ok(keys.filter(|value| !value.is_empty()).collect())
}

/// `kubectl cairn` with these arguments; its output.
///
/// # Errors
/// If it fails.
pub fn cairn(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let mut command = scene.kubectl().plugin("cairn");
    succeed(command.args(arguments), "").context("kubectl cairn")
}
