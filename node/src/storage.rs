//! The disk of one replica: its vote and its log, each request done by the thread that may wait.
//!
//! Three threads per log. The *writer* owns the log's end: it appends, cuts and keeps the vote, in
//! the order it is asked. The *flusher* makes what was written durable, every `flush_interval` or
//! at once when asked, and never holds up the writer. The *reader* serves what left memory.
//! A failed write or flush ends the process at once (docs/replication.md §8).

mod room;
mod threads;
pub mod vote;

use crate::clock;
use crate::snapshots::Figures;
use cairn_files::{Folder, GroupFile, LogOptions, LogReader, RealDisk};
use cairn_host::{Event, ReadFor};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::replication::{Recovered, Vote};
use cairn_settings::LogSettings;
use room::Watch;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use threads::{FlushSignal, Task};
use vote::VoteFile;

pub use room::Room;

/// Where completions go; called from the storage threads, must not block.
pub type Notify = Arc<dyn Fn(Event) + Send + Sync>;

/// Control's handle on the disk of one replica; none of its calls waits.
pub struct Storage {
    tasks: Sender<Task>,
    reads: Sender<(Offset, Offset, usize, ReadFor)>,
    flush: Arc<FlushSignal>,
    room: Arc<Watch>,
    reader: LogReader<RealDisk>,
    settings: LogSettings,
}

/// Why a replica's files could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is damaged, foreign or unreadable.
    #[error("cannot open the files of {group}")]
    Files {
        /// Whose files.
        group: GroupId,
        /// What is wrong.
        source: cairn_files::Error,
    },
    /// The vote cannot be understood.
    #[error("the vote of {group} is not of this format: {why}")]
    Vote {
        /// Whose vote.
        group: GroupId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A thread could not be started.
    #[error("cannot start a storage thread")]
    Thread(#[source] std::io::Error),
}

impl Storage {
    /// Opens (or makes) vote and log of `group` in `folder` and starts their threads.
    ///
    /// # Errors
    /// Damage, foreign files, a full disk; the node must stop and say so.
    pub fn open(
        folder: &Folder<RealDisk>,
        uid: u128,
        group: &GroupId,
        settings: LogSettings,
        notify: Notify,
    ) -> Result<(Self, Recovered), OpenError> {
        let files = |source| OpenError::Files { group: group.clone(), source };
        let boot = cairn_files::boot_id().map_err(files)?;
        let (vote_file, stored) = VoteFile::open(folder, group, &boot)?;
        let mut log = LogOptions::new(uid, folder.incarnation(), group.clone())
            .with_segment_bytes(settings.segment_bytes);
        log.tails_max = u64::from(settings.cut_tails_max);
        let (writer, flusher, reader, found) =
            GroupFile::open(&RealDisk, &folder.log(group), &log).map_err(files)?;
        let recovered = vote::recovered(stored, &boot, &found);
        let (tasks, task_queue) = channel();
        let (reads, read_queue) = channel();
        let flush = Arc::new(FlushSignal::default());
        let room = Arc::new(Watch::new(settings));
        room.look(flusher.space().ok());
        let shared = threads::Shared { notify, flush: flush.clone(), room: room.clone() };
        let name = group.as_str();
        threads::spawn_writer(name, writer, vote_file, task_queue, shared.clone())?;
        threads::spawn_flusher(name, flusher, settings.flush_interval, shared.clone())?;
        threads::spawn_reader(name, reader.clone(), read_queue, shared.notify)?;
        Ok((Self { tasks, reads, flush, room, reader, settings }, recovered))
    }

    /// Flushes the vote; answered with [`Event::VotePersisted`].
    pub fn persist_vote(&self, vote: &Vote) {
        self.submit(Task::Vote(vote.clone()));
    }

    /// Appends batches; answered with [`Event::Written`].
    pub fn write(&self, batches: Vec<Batch>) {
        self.submit(Task::Write(batches));
    }

    /// Cuts the log; answered with [`Event::CutDone`].
    pub fn cut(&self, after: Offset) {
        self.submit(Task::Cut(after));
    }

    /// Gives up the front of the log behind the snapshots of `figures`, of what `allowed` says that
    /// the replica allows; it is told whether the log is pressed.
    pub fn bound_front(&self, figures: &Figures, allowed: impl Fn(bool) -> Offset) {
        let pressed = self.is_pressed();
        self.truncate(figures.front(allowed(pressed), pressed));
        self.room.front(figures.words(clock::unix_ms()));
    }

    /// Gives up the front of the log up to `up_to`, as far as `log.bytesKept` allows and whole
    /// segments can go; if any can, answered with [`Event::Truncated`].
    fn truncate(&self, up_to: Offset) {
        let spare = self.reader.front_to_spare(up_to, self.settings.bytes_kept);
        if spare.offset > self.reader.before().offset {
            self.submit(Task::Truncate(spare.offset));
        }
    }

    /// Begins the log anew after `after`, once what is above `keep_above` is kept aside; answered
    /// with [`Event::RestartDone`].
    pub fn restart(&self, after: EntryId, keep_above: Offset) {
        self.submit(Task::Restart(after, keep_above));
    }

    /// Whether the log is so large that nobody else's needs hold back its front.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.room().log_bytes > self.settings.bytes_max / 2
    }

    /// Whether the entries after `offset` take so much of the log's bound that a snapshot should
    /// not wait for its time.
    #[must_use]
    pub fn is_long_after(&self, offset: Offset) -> bool {
        self.reader.bytes_after(offset) > self.settings.bytes_max / 4
    }

    /// Flushes soon; answered with [`Event::Flushed`].
    pub fn flush(&self) {
        self.flush.ask();
    }

    /// Reads whole batches; answered with [`Event::Read`].
    pub fn read(&self, from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor) {
        // The reader only ends with the process.
        self.reads.send((from, up_to, bytes_max, why)).ok();
    }

    /// The room that is left, as last seen.
    #[must_use]
    pub fn room(&self) -> Room {
        self.room.now()
    }

    /// For whoever wants to read the log beside the replica (status, tools).
    #[must_use]
    pub fn reader(&self) -> LogReader<RealDisk> {
        self.reader.clone()
    }

    /// Flushes everything and leaves the clean mark; returns when that is done. Nothing may be
    /// asked afterwards.
    pub fn close(self) {
        let (done, wait) = channel();
        self.submit(Task::Close(done));
        wait.recv().ok();
    }

    fn submit(&self, task: Task) {
        // The writer only ends with the process.
        self.tasks.send(task).ok();
    }
}

#[cfg(test)]
mod tests;
