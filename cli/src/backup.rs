//! `cairn backup`: keyspaces go to an archive, which is looked at, checked and pruned.

mod create;
mod follow;
mod serve;
mod source;

use crate::args::BackupCommand;
use crate::place::Place;
use crate::print;
use crate::status::table;
use anyhow::{Context, Result, ensure};
use cairn_archive::{Archive, Backup, Keep, Key, Names, Patience, Store, moment};
use clap::Args;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use create::CreateArgs;

/// Where an archive is.
#[derive(Args, Clone, Debug)]
pub struct ArchiveArgs {
    /// Where the archive is: a folder, file:///folder, or s3://bucket/prefix with credentials in
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION.
    #[arg(long = "archive", visible_aliases = ["to", "from"], value_name = "PLACE")]
    pub place: String,
    /// The address of S3-compatible storage that is not Amazon's, as https://minio:9000.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// A file of exactly 32 random bytes: everything is encrypted with it before it leaves this
    /// machine. Without it nothing can be read again.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl ArchiveArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Store> {
        let key = self.key_file.as_deref().map(Key::read).transpose()?;
        let place = cairn_archive::Place::read(&self.place, self.endpoint.as_deref())?;
        Ok(Store::open(&place, key, &Patience::default())?)
    }
}

/// Which keyspaces of an archive.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    /// The keyspace; absent: all that are in the archive.
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
    /// The uid of the cluster, if several have such a keyspace.
    #[arg(long, value_name = "UID")]
    pub of: Option<String>,
}

impl WhichArgs {
    async fn open(&self, store: &Store) -> Result<Vec<Archive>> {
        if let Some(keyspace) = &self.keyspace {
            let of = self.of.as_deref();
            return Ok(vec![Archive::find(store.clone(), keyspace, of).await?]);
        }
        let mut archives = Vec::new();
        for (uid, keyspace) in Archive::keyspaces(store).await? {
            if self.of.as_ref().is_none_or(|of| *of == uid) {
                archives.push(Archive::new(store.clone(), Names::new(&uid, &keyspace)?));
            }
        }
        Ok(archives)
    }
}

/// Does what the command says; `place` is only asked for if it is about a cluster.
pub async fn backup(place: &Place, command: BackupCommand) -> Result<()> {
    match command {
        BackupCommand::Create(args) => create::create(place, &args).await,
        BackupCommand::List { archive, which } => {
            let archives = which.open(&archive.open()?).await?;
            print::text(&list(&archives).await?);
            Ok(())
        }
        BackupCommand::Verify { archive, which, backup } => {
            let archives = which.open(&archive.open()?).await?;
            verify(&archives, backup.as_deref()).await
        }
        BackupCommand::Prune { archive, which, keep_last, keep_days, dry_run } => {
            ensure!(
                keep_last.is_some() || keep_days.is_some(),
                "say what to keep: --keep-last or --keep-days"
            );
            let archives = which.open(&archive.open()?).await?;
            let keep = keep(keep_last, keep_days);
            for archive in &archives {
                prune(archive, &keep, dry_run).await?;
            }
            Ok(())
        }
    }
}

/// What is kept.
fn keep(last: Option<usize>, days: Option<u32>) -> Keep {
    Keep { last, for_ms: days.map(|days| u64::from(days) * 24 * 60 * 60 * 1000) }
}

/// The wall clock, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn list(archives: &[Archive]) -> Result<String> {
    let mut rows = Vec::new();
    for archive in archives {
        let names = archive.names();
        for backup in archive.backups().await? {
            rows.push([
                names.keyspace().to_owned(),
                names.uid().to_owned(),
                backup.id.clone(),
                backup.since_ms().map_or_else(|| "-".to_owned(), moment::show),
                moment::show(backup.until_ms()),
                backup.groups.len().to_string(),
                mib(bytes_of(&backup)),
            ]);
        }
    }
    let heads = ["KEYSPACE", "CLUSTER", "BACKUP", "SINCE", "UNTIL", "GROUPS", "MIB"];
    Ok(table(&heads, &rows))
}

/// Bytes of snapshots and log; what is in the archive is compressed.
fn bytes_of(backup: &Backup) -> u64 {
    let parts = backup.groups.iter();
    let of = |part: &cairn_archive::Part| {
        let snapshot = part.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
        snapshot + part.log.iter().map(|run| run.bytes).sum::<u64>()
    };
    parts.map(of).sum()
}

/// Bytes as MiB with one digit behind the point.
pub fn mib(bytes: u64) -> String {
    format!("{}.{}", bytes >> 20, ((bytes & ((1 << 20) - 1)) * 10) >> 20)
}

async fn verify(archives: &[Archive], id: Option<&str>) -> Result<()> {
    let work = work()?;
    let (mut looked, mut problems) = (0, 0);
    for archive in archives {
        for backup in archive.backups().await? {
            if id.is_some_and(|id| id != backup.id) {
                continue;
            }
            let verified = archive.verify(&backup, work.path(), |_| ()).await?;
            looked += 1;
            problems += verified.problems.len();
            let (name, id) = (archive.names().keyspace(), &backup.id);
            let (objects, size) = (verified.objects, mib(verified.bytes));
            print::line(format_args!("{name} {id}: {objects} objects, {size} MiB read"));
            for problem in &verified.problems {
                print::line(format_args!("  {problem}"));
            }
        }
    }
    ensure!(looked > 0, "there is no such backup here");
    ensure!(problems == 0, "{problems} objects are not as they were written");
    Ok(())
}

/// A folder for snapshots on their way; it goes with the process.
pub fn work() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("cairn-").tempdir().context("no folder for temporary files")
}

async fn prune(archive: &Archive, keep: &Keep, dry_run: bool) -> Result<()> {
    let pruned = archive.prunable(keep, now_ms()).await?;
    let name = archive.names().keyspace();
    for id in &pruned.backups {
        print::line(format_args!("{name}: backup {id} goes"));
    }
    let (backups, objects) = (pruned.backups.len(), pruned.objects.len());
    if dry_run {
        print::line(format_args!("{name}: {backups} backups and {objects} objects would go"));
        return Ok(());
    }
    archive.remove(&pruned).await?;
    print::line(format_args!("{name}: {backups} backups and {objects} objects are gone"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_mib() {
        assert_eq!([0, 1 << 19, 1 << 20, (5 << 20) / 2].map(mib), ["0.0", "0.5", "1.0", "2.5"]);
    }
}
