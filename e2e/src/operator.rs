//! The operator as people run it: installed by Helm, scaled, restarted, taken away.

use std::time::Duration;

use anyhow::Result;
use cairn_harness::clock::wait_until;

use crate::kubectl::{Kubectl, succeed};

/// Where it is installed.
pub const NAMESPACE: &str = "cairn-system";
const DEPLOYMENT: &str = "deployment/cairn-operator";
const SELECTOR: &str = "--selector=app.kubernetes.io/name=cairn-operator";

/// Installs or upgrades the chart, with more values (`key=value`).
///
/// # Errors
/// If it does not come up.
pub fn install(kubectl: &Kubectl, values: &[&str]) -> Result<()> {
    let install = ["upgrade", "--install", "cairn", "charts/cairn", "--create-namespace"];
    let wait = ["--wait", "--timeout", "180s"];
    let values = values.iter().flat_map(|value| ["--set-string", *value]);
    let arguments = install.into_iter().chain(wait).chain(values);
    succeed(&mut kubectl.within(NAMESPACE).program("helm", arguments), "").map(|_| ())
}

/// Takes the release away.
///
/// # Errors
/// If helm refuses.
pub fn uninstall(kubectl: &Kubectl) -> Result<()> {
    let uninstall = ["uninstall", "cairn", "--wait", "--timeout", "120s"];
    succeed(&mut kubectl.within(NAMESPACE).program("helm", uninstall), "").map(|_| ())
}

/// Runs so many replicas, and waits until they run, or none does.
///
/// # Errors
/// If they do not.
pub fn scale(kubectl: &Kubectl, replicas: u32) -> Result<()> {
    let kubectl = kubectl.within(NAMESPACE);
    kubectl.run(["scale", DEPLOYMENT, &format!("--replicas={replicas}")])?;
    kubectl.run(["rollout", "status", DEPLOYMENT, "--timeout=300s"])?;
    if replicas == 0 {
        let gone = ["wait", "--for=delete", "pod", SELECTOR, "--timeout=60s"];
        kubectl.run(gone)?;
    }
    Ok(())
}

/// Takes every replica away at once; others are made.
///
/// # Errors
/// If the API server refuses.
pub fn restart(kubectl: &Kubectl) -> Result<()> {
    let kubectl = kubectl.within(NAMESPACE);
    kubectl.run(["delete", "pods", SELECTOR, "--wait=false", "--grace-period=1"]).map(|_| ())
}

/// The metrics of the replica that leads, which is waited for.
///
/// # Errors
/// If none leads.
pub fn figures(kubectl: &Kubectl) -> Result<String> {
    let kubectl = kubectl.within(NAMESPACE);
    let mut page = String::new();
    let found = wait_until(Duration::from_secs(60), Duration::from_secs(1), || {
        page = leader_page(&kubectl).unwrap_or_default();
        !page.is_empty()
    });
    anyhow::ensure!(found, "no replica leads");
    Ok(page)
}

fn leader_page(kubectl: &Kubectl) -> Result<String> {
    let names = kubectl.run(["get", "pods", SELECTOR, "--output=name"])?;
    for name in names.lines() {
        let pod = name.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9400/proxy/metrics");
        let page = kubectl.run(["get", "--raw", &path])?;
        if page.lines().any(|line| line == "cairn_operator_leading 1") {
            return Ok(page);
        }
    }
    Ok(String::new())
}
