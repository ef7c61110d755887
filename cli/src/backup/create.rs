//! `cairn backup create`: round by round, what a keyspace's log has got since the last one, and
//! snapshots now and then.
//!
//! The log in the archive has no hole: each round goes on after the last entry that is there, and
//! looks that it is the same entry. Where that cannot be (the members' logs begin later, or the
//! group has another history since a loss was accepted) a new backup begins with a snapshot. The
//! backup that was going on still gets the round's log before a newer one with newer snapshots
//! begins, so no moment lies between them.

use super::follow;
use super::source::{Facts, Source};
use super::{ArchiveArgs, mib, now_ms, work};
use crate::folder::LocalNode;
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::view::{Topology, masters};
use anyhow::{Context, Result, bail, ensure};
use cairn_archive::run::{RUN_BYTES, bytes_of};
use cairn_archive::{Archive, Backup, LogRun, Names, Part, moment};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, GroupId, NodeId, Offset};
use cairn_logic::record::{Record, Role};
use cairn_wire::peer::frame;
use clap::Args;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const PROGRAM: &str = concat!("cairn ", env!("CARGO_PKG_VERSION"));
/// Clocks of this machine and of masters may differ by this; and what a master has made by now is
/// committed within this, or its clients wait.
const MARGIN_MS: u64 = 1000;
/// How often a member that follows is given time to learn what is committed, and how long.
const BEHIND: (usize, Duration) = (5, Duration::from_millis(200));

/// Options of `cairn backup create`.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// The keyspace.
    #[arg(long, value_name = "NAME")]
    pub keyspace: String,
    /// Where it goes.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// Go on until stopped, so that any moment since now can be restored.
    #[arg(long)]
    pub follow: bool,
    /// With --follow: how often the log is sent, in seconds; as much is lost with the cluster.
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub every: NonZeroU32,
    /// With --follow: how often a newer snapshot is sent, in seconds; the more often, the less log
    /// a restore has to apply.
    #[arg(long, value_name = "SECONDS", default_value = "3600")]
    pub snapshot_every: NonZeroU32,
    /// With --follow: after each newer snapshot, remove what `cairn backup prune --keep-last`
    /// would.
    #[arg(long, value_name = "COUNT", requires = "follow")]
    pub keep_last: Option<usize>,
    /// With --follow: the same for `cairn backup prune --keep-days`.
    #[arg(long, value_name = "DAYS", requires = "follow")]
    pub keep_days: Option<u32>,
    /// With --follow: serve /metrics, /status, /livez and /readyz here, as 0.0.0.0:9400, and go on
    /// trying if the cluster or the archive cannot be reached at the start.
    #[arg(long, value_name = "ADDRESS", requires = "follow")]
    pub serve: Option<SocketAddr>,
}

/// Once, or until stopped.
pub async fn create(place: &Place, args: &CreateArgs) -> Result<()> {
    if args.follow {
        return follow::follow(place, args).await;
    }
    let said = Session::open(place, args).await?.round(true).await?.said;
    print::line(said);
    Ok(())
}

/// Backups of one keyspace.
pub(super) struct Session {
    plane: Arc<Plane>,
    archive: Archive,
    /// The backup that is going on.
    current: Option<Backup>,
    seen: Option<Arc<Topology>>,
}

/// What a round came to.
pub(super) struct Round {
    /// In a line.
    pub said: String,
    /// Bytes that were sent, before compression.
    pub bytes: u64,
    /// Everything that was committed by then is in the archive.
    pub until_ms: u64,
}

/// A group's part of a round.
struct Gathered {
    part: Part,
    /// Whether it goes on from the part before it.
    goes_on: bool,
    /// With a newer snapshot, if there is one.
    newer: Option<Part>,
    bytes: u64,
}

impl Session {
    /// Looks at the cluster and at what is in the archive.
    pub async fn open(place: &Place, args: &CreateArgs) -> Result<Self> {
        let (roster, plane) = place.open().await?;
        let names = Names::new(&roster.uid, &args.keyspace)?;
        let archive = Archive::new(args.archive.open()?, names);
        let newest = archive.backups().await?.into_iter().max_by_key(Backup::until_ms);
        Ok(Self { plane, archive, current: newest, seen: None })
    }

    /// Looks at who belongs to the cluster anew; what was known stays if that cannot be told.
    pub async fn look(&mut self, place: &Place) {
        if let Ok((_, plane)) = place.open().await {
            self.plane = plane;
        }
    }

    /// The keyspace's part of the archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// What has been committed since the last round goes to the archive; with `snapshots`, newer
    /// snapshots too.
    pub async fn round(&mut self, snapshots: bool) -> Result<Round> {
        let topology = self.topology().await?;
        let groups = groups_of(&topology, self.archive.names().keyspace())?;
        let mut gathered = Vec::new();
        for group in &groups {
            let one = self.gather(&topology, group, snapshots).await;
            gathered.push(one.with_context(|| format!("group {group}"))?);
        }
        let known = |part: &Part| groups.contains(&part.group);
        let same = self.current.as_ref().is_some_and(|current| current.groups.iter().all(known));
        let goes_on = same && gathered.iter().all(|one| one.goes_on);
        let newer = gathered.iter().any(|one| one.newer.is_some());
        let parts = || gathered.iter().map(|one| one.part.clone()).collect::<Vec<_>>();
        if let Some(current) = self.current.as_mut().filter(|_| goes_on) {
            current.groups = parts();
            current.changed_ms = now_ms();
            let put = self.archive.put_backup(current).await;
            if let Err(error) = put {
                // Somebody has removed what it rests on: the next round begins anew.
                if matches!(error, cairn_archive::Error::Missing { .. }) {
                    self.current = None;
                }
                return Err(error.into());
            }
        }
        if !goes_on || newer {
            let newest = gathered.iter().map(|one| one.newer.as_ref().unwrap_or(&one.part));
            let backup = self.archive.begin(PROGRAM, newest.cloned().collect(), now_ms())?;
            self.archive.put_backup(&backup).await?;
            self.current = Some(backup);
        }
        let backup = self.current.as_ref().expect("it goes on or was just begun");
        let bytes: u64 = gathered.iter().map(|one| one.bytes).sum();
        let until_ms = backup.until_ms();
        let (id, size, until) = (&backup.id, mib(bytes), moment::show(until_ms));
        let said =
            format!("backup {id}: {size} MiB sent, all that was committed by {until} is in it");
        Ok(Round { said, bytes, until_ms })
    }

    /// The topology; as it was last seen while the global plane is away.
    async fn topology(&mut self) -> Result<Arc<Topology>> {
        match Topology::read(&self.plane).await {
            Ok(topology) => {
                let topology = Arc::new(topology);
                self.seen = Some(topology.clone());
                Ok(topology)
            }
            Err(error) => self.seen.clone().ok_or(error),
        }
    }

    /// A group's part, from the first of its members that can give it; the master is asked last.
    async fn gather(
        &self,
        topology: &Topology,
        group: &GroupId,
        snapshots: bool,
    ) -> Result<Gathered> {
        let record = topology.group(group)?;
        let asked_ms = now_ms();
        let goal = self.committed(record, group).await;
        let mut failed = None;
        for id in order(record) {
            let Some(node) = self.node(&id) else { continue };
            let source = Source::new(&self.plane, node, group);
            match self.gather_from(&source, group, goal, snapshots).await {
                Ok(gathered) if goal.is_none() && gathered.part.end() == EntryId::ZERO => {
                    // Started just now, a member does not know yet what was committed before.
                    failed = Some(anyhow::anyhow!("no master says how far its log is"));
                }
                Ok(mut gathered) => {
                    let end = gathered.part.end().offset;
                    let all = goal.is_some_and(|goal| end >= goal);
                    let last = gathered.part.log.last().map_or(0, |run| run.latest_ms);
                    let until = if all { asked_ms.saturating_sub(MARGIN_MS) } else { 0 };
                    let until = until.max(last.saturating_sub(1)).max(gathered.part.until_ms);
                    gathered.part.until_ms = until;
                    if let Some(newer) = &mut gathered.newer {
                        newer.until_ms = until;
                    }
                    return Ok(gathered);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| anyhow::anyhow!("it has no member that is known here")))
    }

    fn node(&self, id: &NodeId) -> Option<&LocalNode> {
        self.plane.nodes().iter().find(|node| node.id == *id)
    }

    /// What the master knows to be committed, if it answers and masters the group. One that was
    /// started again masters nothing, and knows nothing yet of what it acknowledged before.
    async fn committed(&self, record: &Record, group: &GroupId) -> Option<Offset> {
        let node = self.node(record.master.as_ref()?)?;
        let status = self.plane.status(node).await.ok()?;
        let log = status.logs.iter().find(|log| log.group == group.as_str())?;
        (masters(log)? == record.epoch.0).then_some(Offset(log.committed))
    }

    /// A group's part from one member, up to `goal` if that can be had.
    async fn gather_from(
        &self,
        source: &Source<'_>,
        group: &GroupId,
        goal: Option<Offset>,
        snapshots: bool,
    ) -> Result<Gathered> {
        let parts = self.current.iter().flat_map(|backup| &backup.groups);
        let old = parts.into_iter().find(|part| part.group == *group).cloned();
        let mut runs = Runs::new(&self.archive, group);
        let part = match old {
            Some(part) => self.extend(source, part, &mut runs).await?,
            None => None,
        };
        let goes_on = part.is_some();
        let mut part = match part {
            Some(part) => part,
            None => self.fresh(source, group, &mut runs).await?,
        };
        for _ in 0..BEHIND.0 {
            if goal.is_none_or(|goal| part.end().offset >= goal) {
                break;
            }
            tokio::time::sleep(BEHIND.1).await;
            let extended = self.extend(source, part, &mut runs).await?;
            part = extended.context("the log was cut at its front meanwhile")?;
        }
        let newer = match snapshots && goes_on {
            true => self.newer(source, &part, &mut runs).await?,
            false => None,
        };
        let bytes = runs.bytes;
        Ok(Gathered { part, goes_on, newer, bytes })
    }

    /// The part with what was committed since; `None` if the member's log does not go on from it.
    async fn extend(
        &self,
        source: &Source<'_>,
        mut part: Part,
        runs: &mut Runs<'_>,
    ) -> Result<Option<Part>> {
        let end = part.end();
        let mut follows = (end == EntryId::ZERO).then_some(true);
        let take = async |batches: Vec<Batch>| {
            for batch in batches {
                match follows {
                    // The batch that the archive ends with must be the same one.
                    None => follows = Some(batch.head.last() == end),
                    Some(true) => runs.push(batch).await?,
                    Some(false) => {}
                }
            }
            Ok(())
        };
        if !source.log(end.offset, take).await? || follows == Some(false) {
            runs.forget();
            return Ok(None);
        }
        ensure!(follows.is_some(), "a member has not got as far as the archive yet");
        part.log.extend(runs.end().await?);
        Ok(Some(part))
    }

    /// A part that begins with the newest snapshot, or with the first entry if there is none.
    async fn fresh(
        &self,
        source: &Source<'_>,
        group: &GroupId,
        runs: &mut Runs<'_>,
    ) -> Result<Part> {
        let newest = source.snapshots().await?.into_iter().next();
        let snapshot = match &newest {
            Some(facts) => Some(self.send_snapshot(source, group, facts, runs).await?),
            None => None,
        };
        let from = snapshot.as_ref().map_or(EntryId::ZERO, |snapshot| snapshot.from);
        let upto = snapshot.as_ref().map_or(Offset::ZERO, |snapshot| snapshot.upto.offset);
        let mut whole = upto == Offset::ZERO;
        let mut part = Part { group: group.clone(), snapshot, log: Vec::new(), until_ms: 0 };
        // With the batch that the snapshot ends with: it says when that was.
        for first in [from.offset, from.offset.next()] {
            let take = async |batches: Vec<Batch>| {
                for batch in batches {
                    if batch.head.last_offset() == from.offset && batch.head.epoch != from.epoch {
                        bail!("a member's snapshot and its log do not fit");
                    }
                    let last = batch.head.last_offset();
                    runs.push(batch).await?;
                    // From the end of this run on any moment can be restored.
                    if !whole && last >= upto {
                        whole = true;
                        runs.cut().await?;
                    }
                }
                Ok(())
            };
            if source.log(first, take).await? {
                part.log.extend(runs.end().await?);
                part.check().map_err(|what| anyhow::anyhow!("{what}: try again in a while"))?;
                return Ok(part);
            }
        }
        bail!("a member has neither a snapshot nor the whole log yet: try again in a while")
    }

    async fn send_snapshot(
        &self,
        source: &Source<'_>,
        group: &GroupId,
        facts: &Facts,
        runs: &mut Runs<'_>,
    ) -> Result<cairn_archive::SnapshotObject> {
        let ends = (frame::entry(facts.from.as_ref()), frame::entry(facts.upto.as_ref()));
        let object = self.archive.snapshot_object(group, ends, facts.made_ms, facts.bytes);
        if self.archive.has_snapshot(&object).await? {
            return Ok(object);
        }
        let work = work()?;
        let path = source.snapshot(facts, work.path()).await?;
        let object = self.archive.put_snapshot(group, &path, |_| ()).await?;
        runs.bytes += object.bytes;
        Ok(object)
    }

    /// The same part after a newer snapshot, if the member has one.
    async fn newer(
        &self,
        source: &Source<'_>,
        part: &Part,
        runs: &mut Runs<'_>,
    ) -> Result<Option<Part>> {
        let held = part.snapshot.as_ref().map_or(Offset::ZERO, |snapshot| snapshot.from.offset);
        let end = part.end().offset;
        let fits = |facts: &Facts| {
            let from = frame::entry(facts.from.as_ref()).offset;
            from > held && frame::entry(facts.upto.as_ref()).offset <= end
        };
        let Some(facts) = source.snapshots().await?.into_iter().find(fits) else {
            return Ok(None);
        };
        let snapshot = self.send_snapshot(source, &part.group, &facts, runs).await?;
        Ok(part.rebased(snapshot))
    }
}

/// Batches on their way into runs.
struct Runs<'a> {
    archive: &'a Archive,
    group: &'a GroupId,
    batches: Vec<Batch>,
    pending: usize,
    done: Vec<LogRun>,
    /// All that was sent, before compression.
    bytes: u64,
}

impl<'a> Runs<'a> {
    fn new(archive: &'a Archive, group: &'a GroupId) -> Self {
        Self { archive, group, batches: Vec::new(), pending: 0, done: Vec::new(), bytes: 0 }
    }

    async fn push(&mut self, batch: Batch) -> Result<()> {
        self.pending += bytes_of(&batch);
        self.batches.push(batch);
        if self.pending >= RUN_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let run = self.archive.put_run(self.group, &self.batches).await?;
        self.bytes += run.bytes;
        self.done.push(run);
        self.batches.clear();
        self.pending = 0;
        Ok(())
    }

    /// Ends the run.
    async fn cut(&mut self) -> Result<()> {
        if self.batches.is_empty() { Ok(()) } else { self.write().await }
    }

    /// All runs since the last call.
    async fn end(&mut self) -> Result<Vec<LogRun>> {
        self.cut().await?;
        Ok(std::mem::take(&mut self.done))
    }

    /// What was pushed is not wanted.
    fn forget(&mut self) {
        self.batches.clear();
        self.done.clear();
        self.pending = 0;
    }
}

/// The groups that own a keyspace's slots.
fn groups_of(topology: &Topology, keyspace: &str) -> Result<BTreeSet<GroupId>> {
    let owners = topology.slots.get(keyspace).with_context(|| {
        let names: Vec<_> = topology.slots.keys().map(String::as_str).collect();
        format!("there is no keyspace {keyspace:?}; there are {}", names.join(", "))
    })?;
    Ok(owners.ranges().iter().map(|range| range.group.clone()).collect())
}

/// Members in the order in which they are asked: the backup, replicas, then the master.
fn order(record: &Record) -> Vec<NodeId> {
    let mut members: Vec<_> = record.members.iter().collect();
    members.sort_by_key(|member| {
        (record.master.as_ref() == Some(&member.id), member.role != Role::Backup)
    });
    members.into_iter().map(|member| member.id.clone()).collect()
}
