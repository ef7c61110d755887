//! A group that writes, its snapshots and its log: what a node would give to an archive.

use cairn_archive::{Archive, Backup, LogRun, Names, Part, Patience, SnapshotObject};
use cairn_files::{RealDisk, Snapshots};
use cairn_keyspace::{CONTENT, Ctx, EffectLog, Export, Keyspace, command};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use cairn_resp::{Args, ReplyBuf, Span};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The clock of the first batch.
pub const BEGIN_MS: u64 = 1_700_000_000_000;

/// For tests of what fails: a storage that is away is away at once.
pub const SHORT: Patience = Patience {
    connect: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    retries: 2,
    total: Duration::from_secs(5),
};

/// One group of a keyspace.
pub struct Group {
    pub id: GroupId,
    pub keyspace: Keyspace,
    pub batches: Vec<Batch>,
    /// The digest after each batch.
    pub digests: Vec<u64>,
    log: EffectLog,
    now_ms: u64,
    folder: tempfile::TempDir,
}

impl Group {
    pub fn new(id: &str) -> Self {
        Self {
            id: GroupId::new(id),
            keyspace: Keyspace::new(11),
            batches: Vec::new(),
            digests: Vec::new(),
            log: EffectLog::new(Offset(1)),
            now_ms: BEGIN_MS,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Executes commands as one batch, a second after the last one.
    pub fn turn(&mut self, commands: &[String]) {
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 1 << 29 };
        for line in commands {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            for word in line.split(' ') {
                spans.push(Span { start: bytes.len() as u32, len: word.len() as u32 });
                bytes.extend_from_slice(word.as_bytes());
            }
            let name = line.split(' ').next().expect("a name").to_uppercase();
            let command = command::lookup(name.as_bytes()).expect("a command");
            let args = Args::new(&bytes, &spans);
            let mut reply = ReplyBuf::default();
            self.keyspace.execute(&ctx, command, args, None, &mut reply, &mut self.log);
        }
        let Some(entries) = self.log.take() else { return };
        let head = BatchHead {
            epoch: Epoch(3),
            first: entries.first,
            count: entries.count,
            time_ms: self.now_ms,
            authority: false,
            opens_epoch: false,
        };
        self.batches.push(Batch { head, body: entries.body.into() });
        self.digests.push(self.keyspace.digest());
        self.now_ms += 1000;
    }

    /// A turn of many kinds of writes.
    pub fn write(&mut self, round: usize) {
        let commands: Vec<String> = (0..20)
            .flat_map(|n| {
                [
                    format!("SET text:{n} {round}"),
                    format!("HSET hash:{n} field{round} {n}"),
                    format!("RPUSH list:{} {round}:{n}", n % 3),
                    format!("SADD set:{} {round}:{n}", n % 3),
                    format!("ZADD sorted:{} {round}.5 member:{n}", n % 3),
                    format!("SET mortal:{round}:{n} x PXAT {}", BEGIN_MS + 1_000_000_000),
                    format!("DEL text:{}", n / 2),
                ]
            })
            .collect();
        self.turn(&commands);
    }

    pub fn last(&self) -> EntryId {
        self.batches.last().map_or(EntryId::ZERO, |batch| batch.head.last())
    }

    /// A snapshot file of the present state.
    pub fn snapshot(&self) -> PathBuf {
        let snapshots = Snapshots::open(&RealDisk, self.folder.path(), 7, self.id.clone());
        let snapshots = snapshots.expect("a folder");
        let mut draft = snapshots.begin(CONTENT, self.now_ms, "test").expect("a draft");
        let mut export = Export::new(1 << 12);
        while export.advance(&self.keyspace, EntryId::ZERO, 50) {}
        for (_, portion) in export.take() {
            let done = draft.section(&portion.label(), self.last(), portion.keys, &portion.records);
            done.expect("a section");
        }
        let (file, _) = snapshots.finish(draft, self.last(), 0).expect("a snapshot");
        file.path
    }

    /// Puts the log from batch `from` on into the archive, a few batches an object.
    pub async fn put_log(&self, archive: &Archive, from: usize) -> Vec<LogRun> {
        let mut log = Vec::new();
        for batches in self.batches[from..].chunks(3) {
            log.push(archive.put_run(&self.id, batches).await.expect("a run is written"));
        }
        log
    }

    pub async fn put_snapshot(&self, archive: &Archive) -> SnapshotObject {
        archive.put_snapshot(&self.id, &self.snapshot(), |_| ()).await.expect("it is written")
    }

    pub fn part(&self, snapshot: Option<SnapshotObject>, log: Vec<LogRun>) -> Part {
        Part { group: self.id.clone(), snapshot, log, until_ms: self.now_ms }
    }
}

pub fn names() -> Names {
    Names::new("uid", "t").expect("plain names")
}

/// A backup of 10 turns: a snapshot after four of them, and the log from the third on.
pub async fn backup(archive: &Archive, group: &mut Group) -> Backup {
    (0..4).for_each(|round| group.write(round));
    let snapshot = group.put_snapshot(archive).await;
    (4..10).for_each(|round| group.write(round));
    let log = group.put_log(archive, 3).await;
    let part = group.part(Some(snapshot), log);
    let backup = archive.begin("test", vec![part], BEGIN_MS).expect("randomness");
    archive.put_backup(&backup).await.expect("it is written");
    backup
}

/// The digest that a restore of the moment leads to.
pub async fn digest_at(archive: &Archive, at_ms: Option<u64>) -> u64 {
    let backups = archive.backups().await.expect("they are read");
    let plan = cairn_archive::plan(&backups, at_ms).expect("the moment is covered");
    let work = tempfile::tempdir().expect("a folder");
    let state = archive.build(&plan.groups[0], plan.at_ms, work.path(), |_| ()).await;
    state.expect("it is built").keyspace().digest()
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}
