//! The product's programs, built, and scratch clusters made with them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::cluster::Cluster;

use crate::run::{check, command};

/// Where cargo puts what it builds.
pub fn target_folder() -> PathBuf {
    let root = crate::root();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |at| root.join(at))
}

/// Builds `cairn` and `cairn-node` with the `fast` profile; the folder they are in.
///
/// `CAIRN_PROGRAMS` names a folder with programs that are built already.
///
/// # Errors
/// If they do not compile.
pub fn build() -> Result<PathBuf> {
    build_with("fast")
}

/// Builds `cairn` and `cairn-node` as they are released; the folder they are in.
///
/// # Errors
/// If they do not compile.
pub fn build_for_bench() -> Result<PathBuf> {
    build_with("release")
}

/// Builds programs whose nodes can break rules on purpose; the folder they are in, which is none
/// that products are taken from.
///
/// # Errors
/// If they do not compile.
pub fn build_mutants() -> Result<PathBuf> {
    let folder = target_folder().join("mutants");
    let packages = ["-p", "cairn-node", "-p", "cairn-cli", "--features", "cairn-node/mutants"];
    let mut cargo = command("cargo", ["build", "--quiet", "--profile", "fast"]);
    check(cargo.args(packages).env("CARGO_TARGET_DIR", &folder))?;
    Ok(folder.join("fast"))
}

/// Builds programs whose nodes have a fault layer below their files; the folder they are in, which
/// is none that products are taken from.
///
/// `CAIRN_FAULT_PROGRAMS` names a folder with such programs that are built already.
///
/// # Errors
/// If they do not compile.
pub fn build_fault_disk() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CAIRN_FAULT_PROGRAMS") {
        return Ok(PathBuf::from(folder));
    }
    let folder = target_folder().join("fault-disk");
    let packages = ["-p", "cairn-node", "-p", "cairn-cli", "--features", "cairn-node/fault-disk"];
    let mut cargo = command("cargo", ["build", "--quiet", "--profile", "fast"]);
    check(cargo.args(packages).env("CARGO_TARGET_DIR", &folder))?;
    Ok(folder.join("fast"))
}

fn build_with(profile: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CAIRN_PROGRAMS") {
        return Ok(PathBuf::from(folder));
    }
    let packages = ["-p", "cairn-node", "-p", "cairn-cli"];
    check(command("cargo", ["build", "--quiet", "--profile", profile]).args(packages))?;
    let folder = target_folder().join(profile);
    for program in ["cairn", "cairn-node"] {
        ensure!(folder.join(program).is_file(), "{program} was built, but is not in {folder:?}");
    }
    Ok(folder)
}

/// A fresh cluster from a file below the root, in a folder below `target/` that is emptied first.
///
/// # Errors
/// If it does not start; a cluster left over from an earlier run is taken down first.
pub fn cluster(programs: &Path, name: &str, resources: &str) -> Result<Cluster> {
    cluster_with(programs, name, resources, None)
}

/// The same, with a variable in the environment of all its processes.
///
/// # Errors
/// As [`cluster`].
pub fn cluster_with(
    programs: &Path,
    name: &str,
    resources: &str,
    variable: Option<(&str, &str)>,
) -> Result<Cluster> {
    cluster_of(programs, name, resources, &[], variable)
}

/// The same, with more arguments of `cairn up`.
///
/// # Errors
/// As [`cluster`].
pub fn cluster_of(
    programs: &Path,
    name: &str,
    resources: &str,
    more: &[&OsStr],
    variable: Option<(&str, &str)>,
) -> Result<Cluster> {
    let folder = target_folder().join("clusters").join(name);
    let program = programs.join("cairn");
    if folder.exists() {
        // What an earlier run left must not run on; whether there is anything is not known.
        let mut down = command(&program.to_string_lossy(), ["down", "--purge", "--yes", "--dir"]);
        let _ = down.arg(&folder).output();
        std::fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error).with_context(|| format!("cannot remove {folder:?}")),
        })?;
    }
    let resources = crate::root().join(resources);
    println!("starting a cluster from {} in {}", resources.display(), folder.display());
    let cluster = Cluster::up_with(&program, &folder, &resources, more, variable)?;
    println!("{} nodes are up", cluster.nodes().len());
    // `up` returns when every slot is served; members that still learn are waited for here.
    let faults = cluster.wait_whole(Duration::from_secs(60));
    ensure!(faults.is_empty(), "the cluster is not whole: {}", faults.join("; "));
    Ok(cluster)
}
