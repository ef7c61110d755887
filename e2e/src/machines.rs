//! The cluster's machines, which are containers, and what is done to them.
//!
//! Everything here goes past the API server, so that it also works while that is away.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::clock::wait_until;

use crate::kubectl::{Kubectl, answer, succeed};

/// Where the control plane runs; clients of stories are put there, for nobody kills it.
pub const CONTROL_PLANE: &str = "cairn-control-plane";
/// Where pods of clusters run, each in a zone of its own.
pub const WORKERS: [&str; 3] = ["cairn-worker", "cairn-worker2", "cairn-worker3"];
/// What is away together: the others would only crash without the API server, and stay away for
/// minutes after it has come back, because the kubelet backs off.
const CONTROL: [&str; 3] =
    ["kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"];

/// Runs a command on a machine; its output.
///
/// # Errors
/// If it fails.
pub fn on(machine: &str, arguments: &[&str]) -> Result<String> {
    let mut docker = Command::new("docker");
    succeed(docker.args(["exec", machine]).args(arguments), "")
}

/// Ends the process of a pod with SIGKILL, by the name of its settings file.
///
/// # Errors
/// If there is no such process.
pub fn kill_process(machine: &str, pod: &str) -> Result<()> {
    // The brackets keep the pattern from matching pkill's own command line.
    let pattern = format!("^cairn-node .*[/]{pod}.json");
    on(machine, &["pkill", "-KILL", "--full", &pattern]).map(|_| ())
}

/// Takes a machine away at once, as a loss of power would.
///
/// # Errors
/// If docker refuses.
pub fn kill(machine: &str) -> Result<()> {
    succeed(Command::new("docker").args(["kill", machine]), "").map(|_| ())
}

/// Brings a machine back.
///
/// # Errors
/// If docker refuses.
pub fn start(machine: &str) -> Result<()> {
    succeed(Command::new("docker").args(["start", machine]), "").map(|_| ())
}

/// Brings a machine back and waits until Kubernetes takes it as ready.
///
/// # Errors
/// If it does not come back.
pub fn revive(kubectl: &Kubectl, machine: &str) -> Result<()> {
    start(machine)?;
    let node = format!("node/{machine}");
    kubectl.run(["wait", "--for=condition=Ready", &node, "--timeout=180s"]).map(|_| ())
}

/// Gives an image that every machine has a second name, as a newer version would have.
///
/// # Errors
/// If a machine does not have it.
pub fn name_image(from: &str, to: &str) -> Result<()> {
    WORKERS.iter().try_for_each(|machine| {
        let tag = ["ctr", "--namespace=k8s.io", "images", "tag", "--force", from, to];
        on(machine, &tag).map(|_| ())
    })
}

/// Puts everything back as stories expect it, whatever one that failed has left.
///
/// # Errors
/// If that cannot be done.
pub fn restore(kubectl: &Kubectl) -> Result<()> {
    for machine in WORKERS.iter().chain(&[CONTROL_PLANE]) {
        start(machine)?;
    }
    start_api_server()?;
    for machine in WORKERS {
        revive(kubectl, machine)?;
        kubectl.run(["uncordon", machine])?;
    }
    Ok(())
}

/// Stops the API server and waits until nobody answers at its port.
///
/// # Errors
/// If it goes on.
pub fn stop_api_server() -> Result<()> {
    move_manifests("/etc/kubernetes/manifests", "/etc/kubernetes")?;
    let gone = wait_until(Duration::from_secs(60), Duration::from_millis(250), || !api_answers());
    ensure!(gone, "the API server goes on");
    Ok(())
}

/// Starts the API server again and waits until it answers.
///
/// # Errors
/// If it does not come back.
pub fn start_api_server() -> Result<()> {
    move_manifests("/etc/kubernetes", "/etc/kubernetes/manifests")?;
    let back = wait_until(Duration::from_secs(120), Duration::from_millis(500), api_answers);
    ensure!(back, "the API server does not come back");
    Ok(())
}

/// The kubelet runs what is in one folder; outside it manifests wait. Those that are where they
/// should be already stay.
fn move_manifests(from: &str, to: &str) -> Result<()> {
    for name in CONTROL {
        let script = format!("test ! -e {from}/{name} || mv {from}/{name} {to}/{name}");
        on(CONTROL_PLANE, &["sh", "-c", &script])?;
    }
    Ok(())
}

fn api_answers() -> bool {
    let ask = ["curl", "--insecure", "--silent", "--max-time", "2", "https://127.0.0.1:6443/livez"];
    let mut docker = Command::new("docker");
    let docker = docker.args(["exec", CONTROL_PLANE]).args(ask);
    answer(docker, "").is_ok_and(|answer| answer.output.trim() == "ok")
}
