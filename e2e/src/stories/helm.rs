//! The chart is upgraded and uninstalled under a running cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::clock::wait;

use super::{PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story, TAKEOVER_LIMIT};
use crate::act::{Act, Bounds, Told};
use crate::machines;
use crate::operator;
use crate::scene::{Pod, Specs};

/// Upgrade, uninstall, install.
pub const STORY: Story = Story {
    name: "helm-upgrade-and-uninstall",
    about: "helm upgrade and uninstall replace no node; without the release groups still fail over",
    tell: |stage| {
        let told = tell(stage);
        // Other stories need the operator, whatever came of this one.
        operator::install(&stage.kubectl, &[])?;
        told
    },
};

fn tell(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(PROCESS_MS_MAX);
    let mut act = Act::begin(stage, "helm", &Specs::default(), bounds)?;
    let before = act.scene.pods()?;
    let same = |now: &std::collections::BTreeMap<String, Pod>| {
        now.iter().all(|(name, pod)| before.get(name).is_some_and(|old| old.uid == pod.uid))
    };
    act.during(|scene| {
        // Another operator image and other arguments: what a new version brings.
        operator::install(
            &stage.kubectl,
            &["operator.podAnnotations.version=next", "operator.logLevel=debug"],
        )?;
        operator::figures(&stage.kubectl)?;
        wait(Duration::from_secs(15));
        scene.wait_settled(SETTLED_LIMIT)?;
        ensure!(same(&scene.pods()?), "an upgrade of the operator has replaced nodes");
        Ok(())
    })?;
    act.told.fact("pods_rolled_by_upgrade", 0);
    act.during(|scene| {
        operator::uninstall(&stage.kubectl)?;
        let kinds = ["get", "crd", "clusters.cairn.dev", "keyspaces.cairn.dev"];
        scene.kubectl().run(kinds)?;
        ensure!(same(&scene.pods()?), "helm uninstall has touched nodes");
        Ok(())
    })?;
    act.during(|scene| {
        let roles = scene.roles()?;
        machines::kill_process(&scene.machine_of(&roles.master)?, &roles.master)?;
        scene.wait_for("another master", TAKEOVER_LIMIT, || {
            scene.roles().is_ok_and(|now| now.epoch > roles.epoch)
        })?;
        wait(Duration::from_secs(1));
        Ok(())
    })?;
    operator::install(&stage.kubectl, &[])?;
    act.scene.wait_settled(SETTLED_LIMIT)?;
    ensure!(same(&act.scene.pods()?), "a new release has replaced nodes");
    act.end()
}
