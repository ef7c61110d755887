//! Clients of the directory at work: registers, leases and locks, all recorded, and their judge.
//!
//! The directory numbers everything that is written, so no search is needed: the judge holds these
//! numbers against the clocks of the clients. All clients are tasks of one thread.

mod client;
mod history;
mod judge;
pub mod load;
mod worker;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use history::{Deed, History, Holding, Life, Operation, Outcome, Sign, State, Told};
pub use judge::{Kind, Report, Violation, judge};

use worker::Worker;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where they reach the directory, `host:port`.
    pub endpoints: Vec<String>,
    /// How many read and write registers.
    pub registers: usize,
    /// How many registers there are.
    pub keys: u64,
    /// How many keep leases alive, one after the other.
    pub leases: usize,
    /// How many compete for locks.
    pub lockers: usize,
    /// How many locks there are.
    pub locks: u64,
    /// How long each rests after each operation.
    pub rest: Duration,
    /// Begins every key, so that rounds do not meet.
    pub prefix: String,
    /// What the choices follow from.
    pub seed: u64,
}

impl Plan {
    /// Two clients of registers, three of leases, three of two locks.
    pub fn new(endpoints: &[String], seed: u64) -> Self {
        Self {
            endpoints: endpoints.to_vec(),
            registers: 2,
            keys: 6,
            leases: 3,
            lockers: 3,
            locks: 2,
            rest: Duration::from_millis(20),
            prefix: format!("d{seed}"),
            seed,
        }
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Directory {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    began: Instant,
    history: Mutex<History>,
    stop: AtomicBool,
    /// From when on nothing disturbs; `u64::MAX` if that never was.
    calm_us: AtomicU64,
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, note: impl FnOnce(&mut History)) {
        note(&mut self.history.lock().expect("nobody panics while holding the lock"));
    }
}

impl Directory {
    /// Starts the clients.
    pub fn start(plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            plan,
            began: Instant::now(),
            history: Mutex::default(),
            stop: AtomicBool::new(false),
            calm_us: AtomicU64::new(u64::MAX),
        });
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || work(&all));
        Self { shared, thread: Some(thread) }
    }

    /// Tells all clients to come to their end, which takes some seconds; `calm` says that the
    /// cluster is whole and that nothing will disturb it.
    pub fn stop(&self, calm: bool) {
        if calm {
            self.shared.calm_us.store(self.shared.now_us(), Ordering::Relaxed);
        }
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the end of all clients; what they saw. To be called after [`Directory::stop`].
    pub fn finish(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A client that panicked has shown a defect of the harness; do not hide it.
            thread.join().expect("no client panics");
        }
        let mut history = History::default();
        self.shared.note(|kept| history = std::mem::take(kept));
        let calm_us = self.shared.calm_us.load(Ordering::Relaxed);
        history.calm_us = (calm_us != u64::MAX).then_some(calm_us);
        history
    }

    /// Ends, judges, and keeps the history in the file `path` if something is wrong with it.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn judged(self, path: &Path) -> std::io::Result<Report> {
        let history = self.finish();
        let report = judge(&history);
        if !report.violations.is_empty() || report.unread > 0 {
            history.write(path)?;
        }
        Ok(report)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn work(shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without a runtime there are no clients, and a test without clients proves nothing.
    let runtime = runtime.expect("this machine can make a runtime");
    let plan = &shared.plan;
    let mut tasks = Vec::new();
    runtime.block_on(async {
        for number in 0..plan.registers + plan.leases + plan.lockers {
            let worker = Worker::new(number, shared);
            tasks.push(match number {
                n if n < plan.registers => tokio::spawn(worker.registers()),
                n if n < plan.registers + plan.leases => tokio::spawn(worker.leases()),
                _ => tokio::spawn(worker.locks()),
            });
        }
        for task in tasks {
            task.await.expect("no client panics");
        }
        Worker::new(usize::MAX, shared).read_back().await;
    });
}
