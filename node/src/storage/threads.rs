//! The three threads behind [`super::Storage`].

use super::vote::VoteFile;
use super::{Notify, OpenError};
use cairn_files::{Error, LogFlusher, LogReader, LogSpace, LogWriter, RealDisk};
use cairn_host::{Event, ReadFor};
use cairn_logic::batch::Batch;
use cairn_logic::ids::Offset;
use cairn_logic::message::Relief;
use cairn_logic::replication::Vote;
use cairn_logic::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// How long the writer waits before it tries again to write to a full disk.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How often the room on the disk is looked at.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) enum Task {
    Vote(Vote),
    Write(Vec<Batch>),
    Cut(Offset),
    Close(Sender<()>),
}

/// Wakes the flusher.
#[derive(Default)]
pub(super) struct FlushSignal {
    state: Mutex<FlushState>,
    changed: Condvar,
}

#[derive(Default)]
struct FlushState {
    dirty: bool,
    asked: bool,
    /// Raised by every cut: a flush that began before one says nothing of what came after.
    cuts: u64,
}

impl FlushSignal {
    /// Flush at once, even if nothing new was written: the asker waits for an answer.
    pub(super) fn ask(&self) {
        self.change(|state| state.asked = true);
    }

    fn written(&self) {
        self.change(|state| state.dirty = true);
    }

    fn change(&self, change: impl FnOnce(&mut FlushState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn cuts(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cuts
    }

    /// Waits until there is something to flush (but not for long); returns whether there is, and
    /// how many cuts there were.
    fn wait(&self, interval: Duration) -> (bool, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.dirty && !state.asked {
            let waited = self.changed.wait_timeout(state, SPACE_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.dirty && !state.asked {
            let asked = |state: &mut FlushState| !state.asked;
            let waited = self.changed.wait_timeout_while(state, interval, asked);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let something = state.dirty || state.asked;
        (state.dirty, state.asked) = (false, false);
        (something, state.cuts)
    }
}

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) notify: Notify,
    pub(super) flush: Arc<FlushSignal>,
    pub(super) space: Arc<Mutex<Option<LogSpace>>>,
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
    let thread = thread::Builder::new().name(name).spawn(body);
    thread.map(drop).map_err(OpenError::Thread)
}

/// A disk that cannot be trusted any more: end at once, without flushing or answering anything.
fn untrusted(what: &str, error: &Error) -> ! {
    tracing::error!(%error, source = ?std::error::Error::source(error), "{what} failed");
    eprintln!("cairn-node: {what} failed, the process ends: {error}");
    std::process::abort()
}

pub(super) fn spawn_writer(
    name: &str,
    writer: LogWriter<RealDisk>,
    vote: VoteFile,
    tasks: Receiver<Task>,
    shared: Shared,
) -> Result<(), OpenError> {
    let mut thread = WriterThread { writer, vote, shared, marked: true };
    spawn(format!("{name}-write"), move || thread.run(&tasks))
}

struct WriterThread {
    writer: LogWriter<RealDisk>,
    vote: VoteFile,
    shared: Shared,
    /// The clean mark of the former process may still be there.
    marked: bool,
}

impl WriterThread {
    fn run(&mut self, tasks: &Receiver<Task>) {
        let mut next = tasks.recv().ok();
        while let Some(task) = next.take() {
            match task {
                Task::Write(batches) => next = self.write_all(batches, tasks),
                Task::Vote(vote) => self.persist(&vote),
                Task::Cut(after) => self.cut(after),
                Task::Close(done) => {
                    self.close();
                    done.send(()).ok();
                    return;
                }
            }
            next = next.or_else(|| tasks.recv().ok());
        }
    }

    /// Writes these batches and all that wait behind them with one call; returns the first task
    /// that is no write.
    fn write_all(&mut self, mut batches: Vec<Batch>, tasks: &Receiver<Task>) -> Option<Task> {
        let mut other = None;
        while let Ok(task) = tasks.try_recv() {
            match task {
                Task::Write(more) => batches.extend(more),
                task => {
                    other = Some(task);
                    break;
                }
            }
        }
        let mut full = false;
        let last = loop {
            match self.writer.append(&batches) {
                Ok(last) => break last,
                Err(error @ Error::Full { .. }) => {
                    if !full {
                        tracing::error!(%error, "disk is full, writes wait");
                        (self.shared.notify)(Event::Relief(Some(Relief::Disk)));
                        full = true;
                    }
                    thread::park_timeout(FULL_RETRY);
                }
                Err(error) => untrusted("writing the log", &error),
            }
        };
        if full {
            tracing::info!("disk has room again");
            (self.shared.notify)(Event::Relief(None));
        }
        self.shared.flush.written();
        (self.shared.notify)(Event::Written(last));
        other
    }

    fn persist(&mut self, vote: &Vote) {
        if let Err(error) = self.vote.write(vote) {
            untrusted("flushing the vote", &error);
        }
        if self.marked {
            self.marked = false;
            if let Err(error) = self.writer.remove_clean_mark() {
                untrusted("removing the clean mark", &error);
            }
        }
        (self.shared.notify)(Event::VotePersisted);
    }

    fn cut(&mut self, after: Offset) {
        match self.writer.cut(after) {
            Ok(Some(tail)) => tracing::warn!(after = %after, ?tail, "cut an uncommitted tail"),
            Ok(None) => {}
            Err(error) => untrusted("cutting the log", &error),
        }
        self.shared.flush.change(|state| state.cuts += 1);
        (self.shared.notify)(Event::CutDone);
    }

    fn close(&mut self) {
        let last = self.writer.last();
        if let Err(error) = self.writer.write_clean_mark(last) {
            tracing::error!(%error, "the log is not marked clean");
        }
    }
}

pub(super) fn spawn_flusher(
    name: &str,
    flusher: LogFlusher<RealDisk>,
    interval: Duration,
    shared: Shared,
) -> Result<(), OpenError> {
    spawn(format!("{name}-flush"), move || {
        loop {
            let (something, cuts) = shared.flush.wait(interval);
            if something {
                match flusher.flush() {
                    Ok(last) if shared.flush.cuts() == cuts => {
                        (shared.notify)(Event::Flushed(last));
                    }
                    Ok(_) => shared.flush.ask(),
                    Err(error) => untrusted("flushing the log", &error),
                }
            } else if Arc::strong_count(&shared.flush) == 1 {
                return;
            }
            if let Ok(mut space) = shared.space.lock() {
                *space = flusher.space().ok();
            }
        }
    })
}

pub(super) fn spawn_reader(
    name: &str,
    reader: LogReader<RealDisk>,
    reads: Receiver<(Offset, Offset, usize, ReadFor)>,
    notify: Notify,
) -> Result<(), OpenError> {
    spawn(format!("{name}-read"), move || {
        loop {
            let (from, up_to, bytes_max, why) = match reads.recv_timeout(SPACE_INTERVAL) {
                Ok(read) => read,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batches = match reader.read(from, bytes_max) {
                Ok(batches) => batches,
                Err(error @ Error::Damaged { .. }) => untrusted("reading the log", &error),
                Err(error) => {
                    tracing::warn!(%error, %from, "cannot read the log");
                    Vec::new()
                }
            };
            batches.retain(|b| b.head.first >= from && b.head.last_offset() <= up_to);
            notify(Event::Read { why, batches });
        }
    })
}
