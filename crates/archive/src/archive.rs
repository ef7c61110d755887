//! One keyspace's part of a store.

use crate::backup::{Backup, FORMAT, LogRun, Part, SnapshotObject};
use crate::error::{Error, Result};
use crate::names::{self, Names};
use crate::plan::GroupPlan;
use crate::prune::{Keep, Pruned, prune};
use crate::run;
use crate::state::State;
use crate::store::Store;
use cairn_files::{RealDisk, Snapshot};
use cairn_logic::batch::Batch;
use cairn_logic::ids::GroupId;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeSet;
use std::path::Path;

/// Which keyspaces a store has: pairs of cluster uid and name.
pub type Keyspaces = Vec<(String, String)>;

/// One keyspace's part of a store.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Store,
    names: Names,
}

/// What a look at everything that a backup rests on found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Objects that were read.
    pub objects: usize,
    /// Bytes of their content.
    pub bytes: u64,
    /// What is wrong, object by object.
    pub problems: Vec<String>,
}

impl Archive {
    /// The part of `names` in `store`.
    #[must_use]
    pub fn new(store: Store, names: Names) -> Self {
        Self { store, names }
    }

    /// The part of the only keyspace called `keyspace` in `store`; `uid` says which if several
    /// clusters have one.
    ///
    /// # Errors
    /// [`Error::NoBackup`], [`Error::WhichCluster`], [`Error::Store`].
    pub async fn find(store: Store, keyspace: &str, uid: Option<&str>) -> Result<Self> {
        let mut uids = Vec::new();
        for (found, name) in Self::keyspaces(&store).await? {
            if name == keyspace && uid.is_none_or(|uid| uid == found) {
                uids.push(found);
            }
        }
        match uids.as_slice() {
            [] => Err(Error::NoBackup { keyspace: keyspace.to_owned() }),
            [uid] => Ok(Self::new(store, Names::new(uid, keyspace)?)),
            several => {
                let (keyspace, uids) = (keyspace.to_owned(), several.join(", "));
                Err(Error::WhichCluster { keyspace, uids })
            }
        }
    }

    /// The keyspaces that have objects in `store`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keyspaces(store: &Store) -> Result<Keyspaces> {
        let mut found = Vec::new();
        for uid in store.folders("").await? {
            for keyspace in store.folders(&uid).await? {
                found.push((uid.clone(), keyspace));
            }
        }
        Ok(found)
    }

    /// Whose part it is.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// All backups, the one begun first in front.
    ///
    /// # Errors
    /// [`Error::OtherKey`] and its kin, [`Error::Broken`], [`Error::Format`], [`Error::Store`].
    pub async fn backups(&self) -> Result<Vec<Backup>> {
        let mut backups = Vec::new();
        for stored in self.store.list(&self.names.backups()).await? {
            if names::backup_id(&stored.name).is_some() {
                let content = self.store.get(&stored.name).await?;
                backups.push(Backup::decode(&content, &stored.name)?);
            }
        }
        backups.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(backups)
    }

    /// A backup that is not written yet.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn begin(&self, program: &str, groups: Vec<Part>, now_ms: u64) -> Result<Backup> {
        let mut random = [0; 4];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Random)?;
        Ok(Backup {
            format: FORMAT,
            id: format!("{now_ms:013}-{:08x}", u32::from_le_bytes(random)),
            uid: self.names.uid().to_owned(),
            keyspace: self.names.keyspace().to_owned(),
            program: program.to_owned(),
            begun_ms: now_ms,
            changed_ms: now_ms,
            groups,
        })
    }

    /// Writes a backup, for the first time or because its log has grown. Everything that it names
    /// must be there: this looks.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Invalid`] for a log with a hole, [`Error::Store`]; what was
    /// there before stays.
    pub async fn put_backup(&self, backup: &Backup) -> Result<()> {
        for part in &backup.groups {
            let invalid = |what| Error::Invalid { what: format!("{}: {what}", part.group) };
            part.check().map_err(invalid)?;
        }
        let there = self.store.list(&self.names.groups()).await?;
        let there: BTreeSet<&str> = there.iter().map(|stored| stored.name.as_str()).collect();
        if let Some(name) = backup.objects().find(|name| !there.contains(name)) {
            return Err(Error::Missing { name: name.to_owned() });
        }
        self.store.put(&self.names.backup(&backup.id), &backup.encode()).await
    }

    /// Writes a run of a group's log, unless it is there already.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Store`].
    pub async fn put_run(&self, group: &GroupId, batches: &[Batch]) -> Result<LogRun> {
        let content = run::encode(batches)?;
        let times = || batches.iter().map(|batch| batch.head.time_ms);
        let (one, last) = (batches[0].head, batches[batches.len() - 1].head.last());
        let name = self.names.run(group, one.first.0, last);
        if !self.store.has(&name, content.len() as u64).await? {
            self.store.put(&name, &content).await?;
        }
        Ok(LogRun {
            name,
            first: cairn_logic::ids::EntryId::new(one.epoch, one.first),
            last,
            earliest_ms: times().min().expect("a run has a batch"),
            latest_ms: times().max().expect("a run has a batch"),
            bytes: batches.iter().map(|batch| run::bytes_of(batch) as u64).sum(),
        })
    }

    /// Writes a snapshot file that has been verified, unless it is there already.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Store`].
    pub async fn put_snapshot(
        &self,
        group: &GroupId,
        path: &Path,
        told: impl FnMut(u64),
    ) -> Result<SnapshotObject> {
        let snapshot = Snapshot::open(&RealDisk, path)?;
        let (end, made_ms, bytes) = (*snapshot.end(), snapshot.head().made_ms, snapshot.bytes());
        let object = self.snapshot_object(group, (end.from, end.upto), made_ms, bytes);
        if !self.store.has(&object.name, bytes).await? {
            self.store.put_file(&object.name, path, told).await?;
        }
        Ok(object)
    }

    /// What a snapshot with these properties is called.
    #[must_use]
    pub fn snapshot_object(
        &self,
        group: &GroupId,
        (from, upto): (cairn_logic::ids::EntryId, cairn_logic::ids::EntryId),
        made_ms: u64,
        bytes: u64,
    ) -> SnapshotObject {
        let name = self.names.snapshot(group, from, made_ms, bytes);
        SnapshotObject { name, from, upto, made_ms, bytes }
    }

    /// Whether a snapshot is there already.
    ///
    /// # Errors
    /// As [`Store::has`].
    pub async fn has_snapshot(&self, snapshot: &SnapshotObject) -> Result<bool> {
        self.store.has(&snapshot.name, snapshot.bytes).await
    }

    /// The batches of a run.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Broken`], [`Error::Store`], and their kin.
    pub async fn run(&self, of: &LogRun) -> Result<Vec<Batch>> {
        let content = self.store.get(&of.name).await?;
        let batches = run::decode(&content, &of.name)?;
        let ends = (batches[0].head.first, batches[batches.len() - 1].head.last());
        if ends != (of.first.offset, of.last) {
            let (name, found) = (of.name.clone(), "it has other entries than its backup says");
            return Err(Error::Broken { name, found });
        }
        Ok(batches)
    }

    /// Writes a snapshot to a file that must not be there yet, and reads all of it.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Broken`], [`Error::Snapshot`], [`Error::Store`],
    /// [`Error::File`].
    pub async fn snapshot(
        &self,
        of: &SnapshotObject,
        path: &Path,
        told: impl FnMut(u64),
    ) -> Result<Snapshot<RealDisk>> {
        self.store.get_file(&of.name, path, told).await?;
        let snapshot = Snapshot::open(&RealDisk, path)?;
        if (snapshot.end().from, snapshot.end().upto) != (of.from, of.upto) {
            let (name, found) = (of.name.clone(), "it is of other entries than its backup says");
            return Err(Error::Broken { name, found });
        }
        Ok(snapshot)
    }

    /// Builds a group's data as `plan` says, with room for a snapshot in the folder `work`. `told`
    /// hears how many bytes have been read.
    ///
    /// # Errors
    /// Whatever is wrong with an object; [`Error::Apply`]. [`Error::Invalid`] if the plan does
    /// not lead to the state of one moment.
    pub async fn build(
        &self,
        plan: &GroupPlan,
        at_ms: Option<u64>,
        work: &Path,
        mut told: impl FnMut(u64),
    ) -> Result<State> {
        let mut read = 0;
        let mut state = match &plan.snapshot {
            None => State::empty(plan.group.clone()),
            Some(snapshot) => {
                let path = work.join(format!("{}.snap", plan.group));
                self.snapshot(snapshot, &path, &mut told).await?;
                let state = State::load(plan.group.clone(), &path);
                std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
                read += snapshot.bytes;
                state?
            }
        };
        for (at, run) in plan.log.iter().enumerate() {
            let mut batches = self.run(run).await?;
            if let Some(moment) = at_ms.filter(|_| at + 1 == plan.log.len()) {
                let last = batches.iter().rposition(|batch| batch.head.time_ms <= moment);
                batches.truncate(last.map_or(0, |last| last + 1));
            }
            state.apply(&batches)?;
            read += run.bytes;
            told(read);
        }
        if !state.is_whole() {
            let what = format!("{}: the log ends before its snapshot is whole", plan.group);
            return Err(Error::Invalid { what });
        }
        Ok(state)
    }

    /// Reads everything that a backup rests on, with room for a snapshot in the folder `work`.
    /// `told` hears the name of each object before it is read.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::File`]: it could not look. What it saw is in [`Verified`].
    pub async fn verify(
        &self,
        backup: &Backup,
        work: &Path,
        mut told: impl FnMut(&str),
    ) -> Result<Verified> {
        let mut verified = Verified::default();
        for part in &backup.groups {
            if let Some(snapshot) = &part.snapshot {
                told(&snapshot.name);
                let path = work.join("verify.snap");
                let read = match self.snapshot(snapshot, &path, |_| ()).await {
                    Ok(file) => file.verify().map_err(|_| Error::Broken {
                        name: snapshot.name.clone(),
                        found: "a section of the snapshot was changed",
                    }),
                    Err(error) => Err(error),
                };
                std::fs::remove_file(&path).ok();
                verified.note(snapshot.bytes, read)?;
            }
            for run in &part.log {
                told(&run.name);
                let read = self.run(run).await.map(drop);
                verified.note(run.bytes, read)?;
            }
        }
        Ok(verified)
    }

    /// What [`prune()`] says may go, now.
    ///
    /// # Errors
    /// As [`Archive::backups`]: what cannot be read cannot be kept safe, so nothing goes.
    pub async fn prunable(&self, keep: &Keep, now_ms: u64) -> Result<Pruned> {
        // First the objects: what is written meanwhile is then too new to be in the list.
        let objects = self.store.list(&self.names.groups()).await?;
        let backups = self.backups().await?;
        Ok(prune(&backups, &objects, keep, now_ms))
    }

    /// Removes what may go, backups first: a crash in the middle leaves objects that nobody
    /// names, for the next time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn remove(&self, pruned: &Pruned) -> Result<()> {
        for id in &pruned.backups {
            self.store.remove(&self.names.backup(id)).await?;
        }
        for name in &pruned.objects {
            self.store.remove(name).await?;
        }
        Ok(())
    }
}

impl Verified {
    fn note(&mut self, bytes: u64, read: Result<()>) -> Result<()> {
        self.objects += 1;
        match read {
            Ok(()) => self.bytes += bytes,
            Err(error @ (Error::Store { .. } | Error::File { .. } | Error::Random)) => {
                return Err(error);
            }
            Err(error) => self.problems.push(error.to_string()),
        }
        Ok(())
    }
}
