//! How far a fetch is: for the log every few seconds, for metrics at any time.

use crate::clock;
use cairn_logic::ids::EntryId;
use cairn_logic::time::{Duration, Instant};
use std::sync::{Arc, Mutex, PoisonError};

/// Between two lines that say how far it is.
const TELL: Duration = Duration::from_secs(5);

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The entry that the log needs next follows this one.
    pub from: EntryId,
    /// What is here.
    pub bytes: u64,
    /// What there is.
    pub total_bytes: u64,
}

/// Shared by a fetch and those who want to know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<Option<Fetched>>>);

impl Progress {
    pub fn now(&self) -> Option<Fetched> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, now: Option<Fetched>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Tells the log now and then.
pub(super) struct Teller {
    progress: Progress,
    began: (Instant, u64),
    told: Instant,
}

impl Teller {
    /// A fetch begins, or goes on, at `at`.
    pub fn new(progress: Progress, at: Fetched) -> Self {
        progress.set(Some(at));
        let now = clock::now();
        Self { progress, began: (now, at.bytes), told: now }
    }

    /// It is at `at` now.
    pub fn tell(&mut self, at: Fetched) {
        self.progress.set(Some(at));
        let now = clock::now();
        if now.since(self.told) < TELL {
            return;
        }
        self.told = now;
        let took_ms = now.since(self.began.0).as_millis();
        let came = u128::from(at.bytes.saturating_sub(self.began.1)).max(1);
        let left = u128::from(at.total_bytes.saturating_sub(at.bytes));
        let left_ms = u64::try_from(left * took_ms / came).unwrap_or(u64::MAX);
        let (bytes, of) = (at.bytes, at.total_bytes);
        tracing::info!(bytes, of, left_ms, from = %at.from, "fetching a snapshot");
    }
}
