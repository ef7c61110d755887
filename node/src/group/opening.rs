//! Opens the files of a data node's group: log, vote, snapshots, what is kept aside.

use super::entropy::Entropy;
use super::snapshots::{GroupSnapshots, Whose};
use crate::boot::Boot;
use crate::data::link::Feeder;
use crate::storage::{Notify, Storage};
use anyhow::{Context, Result, anyhow};
use cairn_host::Event;
use cairn_logic::ids::GroupId;
use cairn_logic::replication::Recovered;
use std::sync::Arc;
use std::thread::{ScopedJoinHandle, scope};
use tokio::sync::mpsc;

/// The files of a group.
pub(super) struct Opened {
    pub(super) storage: Storage,
    pub(super) recovered: Recovered,
    pub(super) snapshots: GroupSnapshots,
    pub(super) entropy: Entropy,
}

/// Opens the files of `group`, or makes them: what does not rest on each other at the same time,
/// for a spare that is claimed is waited for, and each file that is made is flushed.
pub(super) fn open(
    boot: &Boot,
    group: &GroupId,
    events: &mpsc::UnboundedSender<Event>,
    feeder: Feeder,
) -> Result<Opened> {
    let Boot { settings, folder, uid, identity, .. } = boot;
    let (notify, every) = (|| notify(events), settings.log.snapshot_interval);
    let (of_log, of_snapshots) = (notify(), notify());
    let whose = Whose { identity: identity.clone(), uid: *uid, group: group.clone() };
    let (log, snapshots, entropy) = scope(|scope| {
        let snapshots = scope.spawn(|| GroupSnapshots::open(folder, whose, every, of_snapshots));
        let entropy = scope.spawn(|| Entropy::open(folder, *uid, group, identity, feeder));
        let log = Storage::open(folder, *uid, group, settings.log, of_log);
        (log, ended(snapshots), ended(entropy))
    });
    let (storage, recovered) =
        log.with_context(|| format!("cannot open the files of group {group}"))?;
    let snapshots =
        snapshots.with_context(|| format!("cannot open the snapshots of group {group}"))?;
    let entropy = entropy.with_context(|| format!("cannot open what group {group} keeps aside"))?;
    Ok(Opened { storage, recovered, snapshots, entropy })
}

fn notify(events: &mpsc::UnboundedSender<Event>) -> Notify {
    let events = events.clone();
    Arc::new(move |event| drop(events.send(event)))
}

/// What a thread has opened.
fn ended<T>(thread: ScopedJoinHandle<'_, cairn_files::Result<T>>) -> Result<T> {
    Ok(thread.join().map_err(|_| anyhow!("the thread that opens them broke off"))??)
}
