//! `cargo xtask test --api`: what only a real API server can say, without a single pod.
//!
//! etcd and kube-apiserver run from the cache for as long as the tests do. Tests find the API
//! server by `CAIRN_KUBE_APISERVER`, a kubeconfig; they are marked `ignore`, so that without one
//! they do not run at all.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::kube::api_server::ApiServer;
use crate::kube::{manifests, programs};
use crate::run::{command, watch};
use crate::test::Tally;

/// Packages and test binaries whose ignored tests are about an API server. The chart comes last: it
/// takes our kinds away, to install them itself.
const TESTS: [(&str, &str); 3] =
    [("cairn-e2e", "api"), ("cairn-operator", "api"), ("cairn-e2e", "chart")];

/// Runs the tier and prints its verdict; whether all of it passed.
///
/// # Errors
/// If the API server cannot be built or started.
pub fn run() -> Result<bool> {
    let server = ApiServer::start()?;
    println!("api: the API server was ready after {} ms", server.started().as_millis());
    // helm renders the chart and validates it against the API server.
    programs::need(&["helm"])?;
    let mut total = Tally::default();
    for (package, binary) in TESTS {
        let mut tally = Tally::default();
        let mut cargo = command("cargo", ["test", "--no-fail-fast", "-p", package]);
        cargo.args(["--test", binary, "--", "--include-ignored"]);
        within(&mut cargo, server.kubeconfig())?;
        let succeeded = watch(&mut cargo, |text| tally.count(text))?;
        tally.settle(succeeded);
        total.add(&tally);
    }
    let fresh = manifests::run(true)?;
    total.add(&Tally { passed: u64::from(fresh), failed: u64::from(!fresh), ignored: 0 });
    println!("api: passed={} failed={}", total.passed, total.failed);
    Ok(total.failed == 0 && total.passed > 0)
}

/// Lets a command find the API server and cert-manager, and the kubectl and helm of the cache
/// before any other.
fn within(command: &mut Command, kubeconfig: &Path) -> Result<()> {
    command.env("CAIRN_KUBE_APISERVER", kubeconfig).env("PATH", path_with_programs()?);
    command.env("CAIRN_CERT_MANAGER", programs::path("cert-manager")?);
    Ok(())
}

/// The search path with kubectl and helm of the cache in front.
///
/// # Errors
/// If there is no cache.
pub fn path_with_programs() -> Result<std::ffi::OsString> {
    let mut folders = Vec::new();
    for name in ["kubectl", "helm"] {
        let place = programs::path(name)?;
        folders.push(place.parent().context("the path has a folder")?.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
