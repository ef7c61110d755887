//! `cairn down`: stops a cluster; its data stays unless a person says otherwise.

use crate::folder::Folder;
use crate::print;
use crate::process::Identity;
use crate::supervise::control::{self, Reply, Request};
use crate::supervise::{GRACE, Processes};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Stops everything; with `purge`, deletes the folder after asking (`yes` answers).
pub async fn down(folder: &Folder, purge: bool, yes: bool) -> Result<()> {
    let state = folder.state()?;
    if purge && !yes {
        let name = &state.name;
        print::confirm(
            &format!("--purge deletes all data of {name}"),
            &format!(
                "This deletes all data of cluster {name} in {:?}. Type its name: ",
                folder.path()
            ),
            name,
            "not deleted",
        )?;
    }
    match control::ask(folder, &Request::Down).await? {
        Some(Reply::Down { killed }) => {
            for line in &killed {
                eprintln!("{line}");
            }
            print::line(format_args!("cluster {} is stopped", state.name));
        }
        Some(other) => bail!("the supervisor gave an unexpected answer: {other:?}"),
        None => without_supervisor(folder, &state.name).await?,
    }
    wait_for_lock(folder).await?;
    if purge {
        let path = folder.path();
        std::fs::remove_dir_all(path).with_context(|| format!("cannot remove {path:?}"))?;
        print::line(format_args!("{path:?} is deleted"));
    } else {
        print::line(format_args!(
            "the data stays in {:?}; `cairn up` starts it again",
            folder.path()
        ));
    }
    Ok(())
}

/// Stops nodes that an earlier supervisor left behind, if any.
async fn without_supervisor(folder: &Folder, name: &str) -> Result<()> {
    let Some(processes) = Processes::load(folder)? else {
        print::line(format_args!("cluster {name} was not up"));
        return Ok(());
    };
    if processes.supervisor.is_alive() {
        bail!(
            "the supervisor (process {}) runs but does not answer; see `cairn logs supervisor`",
            processes.supervisor.pid
        );
    }
    let left: Vec<Identity> = processes.alive().map(|(_, identity)| identity.clone()).collect();
    if left.is_empty() {
        print::line(format_args!("cluster {name} was not up"));
        return Ok(());
    }
    for node in &left {
        node.signal(Signal::TERM)?;
        node.signal(Signal::CONT)?;
    }
    let until = Instant::now() + GRACE;
    while left.iter().any(Identity::is_alive) && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
    }
    for node in left.iter().filter(|n| n.is_alive()) {
        eprintln!("process {} did not stop and is killed", node.pid);
        node.signal(Signal::KILL)?;
    }
    print::line(format_args!("{} nodes that had no supervisor are stopped", left.len()));
    Ok(())
}

/// The supervisor answers just before it ends; its folder is free when it has.
async fn wait_for_lock(folder: &Folder) -> Result<()> {
    let path = folder.lock();
    if !path.exists() {
        return Ok(());
    }
    let lock = std::fs::File::open(&path).with_context(|| format!("cannot open {path:?}"))?;
    let until = Instant::now() + Duration::from_secs(5);
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    while rustix::fs::flock(&lock, operation).is_err() {
        if Instant::now() >= until {
            bail!("{:?} is still in use", folder.path());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
