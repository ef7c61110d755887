//! What was replaced is kept: two files for each repair, what was here and what the master has.
//!
//! A thread of its own writes them, as snapshots with a section for each slot. The data thread
//! writes no snapshot before they are durable, so what was replaced is never lost.

use crate::clock;
use crate::data::link::Feeder;
use cairn_files::{Disk, Error, RealDisk, Result, Snapshots};
use cairn_keyspace::{Portion, Replaced};
use cairn_logic::ids::{EntryId, Epoch, GroupId};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Repairs kept at most.
const FILES_MAX: usize = 256;
/// Bytes kept at most, of both kinds together.
const BYTES_MAX: u64 = 1 << 30;
/// Between two looks at what is there, and two tries to write.
const LOOK: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// What is said to have made the files.
const PROGRAM: &str = concat!("cairn-node ", env!("CARGO_PKG_VERSION"));

struct Job {
    epoch: Epoch,
    replaced: Vec<Replaced>,
}

/// The folder of what was replaced, and the thread that writes there.
pub struct Aside {
    jobs: Sender<Job>,
    full: Arc<AtomicBool>,
}

impl Aside {
    /// The folder `path`, which is made if need be; `feeder` hears of what is durable.
    ///
    /// # Errors
    /// The folders cannot be made or listed, or there can be no thread.
    pub fn open(path: &Path, uid: u128, group: &GroupId, feeder: Feeder) -> Result<Self> {
        let snapshots =
            |name: &str| Snapshots::open(&RealDisk, &path.join(name), uid, group.clone());
        RealDisk.create_dir(path).map_err(|source| io("make folder", path, source))?;
        let store = Store { own: snapshots("own")?, masters: snapshots("master")? };
        let full = Arc::new(AtomicBool::new(store.is_full()?));
        let (jobs, queue) = channel();
        let shown = full.clone();
        let body = move || store.run(&queue, &feeder, &shown);
        let thread = std::thread::Builder::new().name("aside".into()).spawn(body);
        thread.map_err(|source| io("start a thread for", path, source))?;
        Ok(Self { jobs, full })
    }

    /// Keeps what entries of `epoch` have replaced.
    pub fn keep(&self, epoch: Epoch, replaced: Vec<Replaced>) {
        // The thread ends with this process only.
        self.jobs.send(Job { epoch, replaced }).ok();
    }

    /// Whether there is as much as may be.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
}

fn io(what: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { what, path: path.to_owned(), source }
}

struct Store {
    own: Snapshots<RealDisk>,
    masters: Snapshots<RealDisk>,
}

impl Store {
    fn run(&self, queue: &Receiver<Job>, feeder: &Feeder, full: &AtomicBool) {
        loop {
            match queue.recv_timeout(LOOK) {
                Ok(job) => {
                    let mut said = false;
                    while let Err(error) = self.keep(&job) {
                        if !std::mem::replace(&mut said, true) {
                            tracing::error!(%error, "cannot keep aside what was replaced");
                        }
                        std::thread::park_timeout(RETRY);
                    }
                    feeder.kept_aside(1);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            match self.is_full() {
                Ok(is) => full.store(is, Ordering::Release),
                Err(error) => tracing::error!(%error, "cannot list what is kept aside"),
            }
        }
    }

    fn is_full(&self) -> Result<bool> {
        let (own, masters) = (self.own.list()?, self.masters.list()?);
        let bytes: u64 = own.iter().chain(&masters).map(|file| file.bytes).sum();
        Ok(own.len().max(masters.len()) >= FILES_MAX || bytes >= BYTES_MAX)
    }

    fn keep(&self, job: &Job) -> Result<()> {
        for of_entry in job.replaced.chunk_by(|one, next| one.at == next.at) {
            let at = EntryId::new(job.epoch, of_entry[0].at);
            write(&self.own, at, of_entry.iter().map(|one| &one.own))?;
            write(&self.masters, at, of_entry.iter().map(|one| &one.masters))?;
        }
        Ok(())
    }
}

/// Writes one file, unless it is there: a restart replays the entry.
fn write<'a>(
    folder: &Snapshots<RealDisk>,
    at: EntryId,
    portions: impl Iterator<Item = &'a Portion>,
) -> Result<()> {
    if folder.list()?.iter().any(|file| file.from == at) {
        return Ok(());
    }
    let mut draft = folder.begin(cairn_keyspace::CONTENT, clock::unix_ms(), PROGRAM)?;
    for portion in portions {
        draft.section(&portion.label(), at, portion.keys, &portion.records)?;
    }
    let (file, _) = folder.finish(draft, at, 0)?;
    tracing::info!(path = %file.path.display(), bytes = file.bytes, "kept aside");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::Offset;

    fn replaced(at: u64, slot: u16) -> Replaced {
        let portion = |records: &[u8]| Portion {
            first: slot,
            last: slot,
            keys: 1,
            records: records.to_vec(),
        };
        Replaced { at: Offset(at), own: portion(b"was here"), masters: portion(b"the master has") }
    }

    #[test]
    fn each_repair_is_kept_once_as_two_files_with_a_section_for_each_slot() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = folder.path().join(name);
            Snapshots::open(&RealDisk, &path, 7, GroupId::new("t-0")).unwrap()
        };
        let store = Store { own: open("own"), masters: open("master") };
        let of = |replaced| Job { epoch: Epoch(2), replaced };
        store.keep(&of(vec![replaced(5, 1), replaced(5, 3), replaced(6, 1)])).unwrap();
        // A restart replays them.
        store.keep(&of(vec![replaced(5, 1), replaced(5, 3)])).unwrap();
        for (files, bytes) in [(&store.own, &b"was here"[..]), (&store.masters, b"the master has")]
        {
            let listed = files.list().unwrap();
            let entries: Vec<_> = listed.iter().map(|file| file.from.offset.0).collect();
            assert_eq!(entries, [6, 5]);
            let read = files.read(&listed[1].path).unwrap();
            let sections: Vec<_> =
                read.sections().iter().map(|it| read.read(it).unwrap()).collect();
            assert_eq!(sections, [bytes, bytes]);
        }
        assert!(!store.is_full().unwrap());
        let many = (0..FILES_MAX as u64).map(|number| replaced(10 + number, 1)).collect();
        store.keep(&of(many)).unwrap();
        assert!(store.is_full().unwrap());
    }
}
