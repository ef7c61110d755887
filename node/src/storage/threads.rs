//! The three threads behind [`super::Storage`].

use super::room::Watch;
use super::vote::VoteFile;
use super::{Notify, OpenError};
use cairn_files::{Error, LogFlusher, LogReader, LogWriter, RealDisk};
use cairn_host::{Event, ReadFor};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::message::Relief;
use cairn_logic::replication::Vote;
use cairn_logic::time::Duration;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// How long the writer waits before it tries again what the disk had no room for.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// How often the room on the disk is looked at.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) enum Task {
    Vote(Vote),
    Write(Vec<Batch>),
    Cut(Offset),
    /// All entries up to here may go; the flusher gives them up, within [`SPACE_INTERVAL`].
    Truncate(Offset),
    /// Begin anew after this entry; entries above the offset go aside.
    Restart(EntryId, Offset),
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
    pub(super) room: Arc<Watch>,
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
    let later = VecDeque::new();
    let mut thread = WriterThread { writer, vote, shared, marked: true, later };
    spawn(format!("{name}-write"), move || thread.run(&tasks))
}

struct WriterThread {
    writer: LogWriter<RealDisk>,
    vote: VoteFile,
    shared: Shared,
    /// The clean mark of the former process may still be there.
    marked: bool,
    /// Tasks that came while something waited for room.
    later: VecDeque<Task>,
}

/// What came of something that may have to wait for room.
enum Done<T> {
    Yes(T),
    /// The process is to end; it was not done.
    Closing(Sender<()>),
}

impl WriterThread {
    fn run(&mut self, tasks: &Receiver<Task>) {
        while let Some(task) = self.later.pop_front().or_else(|| tasks.recv().ok()) {
            let done = match task {
                Task::Write(batches) => self.write_all(batches, tasks),
                Task::Vote(vote) => {
                    self.persist(&vote);
                    Done::Yes(())
                }
                Task::Cut(after) => self.cut(after, tasks),
                Task::Truncate(up_to) => {
                    self.writer.release_before(up_to.next());
                    Done::Yes(())
                }
                Task::Restart(after, above) => self.restart(after, above, tasks),
                Task::Close(done) => Done::Closing(done),
            };
            if let Done::Closing(done) = done {
                self.close();
                done.send(()).ok();
                return;
            }
        }
    }

    /// Writes these batches and all that wait behind them with one call.
    fn write_all(&mut self, mut batches: Vec<Batch>, tasks: &Receiver<Task>) -> Done<()> {
        while let Some(task) = self.later.pop_front().or_else(|| tasks.try_recv().ok()) {
            match task {
                Task::Write(more) => batches.extend(more),
                task => {
                    self.later.push_front(task);
                    break;
                }
            }
        }
        let last = match self.patiently("writing the log", tasks, |log| log.append(&batches)) {
            Done::Yes(last) => last,
            Done::Closing(done) => return Done::Closing(done),
        };
        self.shared.flush.written();
        (self.shared.notify)(Event::Written(last));
        Done::Yes(())
    }

    /// Does something to the log; as long as there is no room for it, says so and tries again.
    ///
    /// Everything else waits behind it, votes too: what is answered after a vote says where the log
    /// ends, so all that was handed over before must be in it.
    fn patiently<T>(
        &mut self,
        what: &'static str,
        tasks: &Receiver<Task>,
        mut attempt: impl FnMut(&mut LogWriter<RealDisk>) -> cairn_files::Result<T>,
    ) -> Done<T> {
        let mut waits = false;
        loop {
            let error = match attempt(&mut self.writer) {
                Ok(done) => {
                    if waits {
                        tracing::info!("{what} goes on, there is room again");
                        self.shared.room.waits(None);
                        (self.shared.notify)(Event::Relief(None));
                    }
                    return Done::Yes(done);
                }
                Err(error @ (Error::Full { .. } | Error::TailsFull { .. })) => error,
                Err(error) => untrusted(what, &error),
            };
            self.shared.room.waits(Some(&error));
            if !waits {
                tracing::error!(%error, "{what} waits for room");
                (self.shared.notify)(Event::Relief(Some(Relief::Disk)));
                waits = true;
            }
            match tasks.recv_timeout(FULL_RETRY) {
                Ok(Task::Close(done)) => return Done::Closing(done),
                Ok(task) => self.later.push_back(task),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::park_timeout(FULL_RETRY),
            }
        }
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

    fn cut(&mut self, after: Offset, tasks: &Receiver<Task>) -> Done<()> {
        match self.patiently("cutting the log", tasks, |log| log.cut(after)) {
            Done::Yes(Some(tail)) => {
                tracing::warn!(after = %after, ?tail, "cut an uncommitted tail");
            }
            Done::Yes(None) => {}
            Done::Closing(done) => return Done::Closing(done),
        }
        self.shared.flush.change(|state| state.cuts += 1);
        (self.shared.notify)(Event::CutDone);
        Done::Yes(())
    }

    fn restart(&mut self, after: EntryId, above: Offset, tasks: &Receiver<Task>) -> Done<()> {
        let begin = |log: &mut LogWriter<RealDisk>| log.restart_after(after, above);
        match self.patiently("beginning the log anew", tasks, begin) {
            Done::Yes(tail) => tracing::warn!(%after, ?tail, "the log begins anew"),
            Done::Closing(done) => return Done::Closing(done),
        }
        self.shared.flush.change(|state| state.cuts += 1);
        (self.shared.notify)(Event::RestartDone);
        Done::Yes(())
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
            give_up_front(&flusher, &shared.notify);
            let mut space = flusher.space().ok();
            if !something && space.as_ref().is_some_and(|space| !space.spare_ready) {
                flusher.reserve();
                space = flusher.space().ok();
            }
            shared.room.look(space);
        }
    })
}

/// What the disk makes of it, and how long it takes, is nothing that the writer waits for.
fn give_up_front(flusher: &LogFlusher<RealDisk>, notify: &Notify) {
    match flusher.give_up_front() {
        Ok(Some(given_up)) => {
            let before = given_up.before;
            tracing::info!(%before, "gave up the front of the log");
            notify(Event::Truncated(before));
            let remove = || {
                if let Err(error) = given_up.remove() {
                    tracing::warn!(%error, "cannot remove a part of the log that was given up");
                }
            };
            // Without a thread they go when the log is opened again.
            thread::Builder::new().name("remove".into()).spawn(remove).ok();
        }
        Ok(None) => {}
        Err(error) => untrusted("giving up the front of the log", &error),
    }
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
