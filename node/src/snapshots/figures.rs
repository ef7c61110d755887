//! What is known of the snapshots of a log, for metrics and for people.

use super::progress::Fetched;
use cairn_files::{RealDisk, Snapshot};
use cairn_logic::ids::EntryId;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest snapshot of this node that is known to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Entries above it are needed beside the snapshot.
    pub from: EntryId,
    /// When it was begun, in milliseconds since 1970.
    pub made_ms: u64,
    /// Its length.
    pub bytes: u64,
}

impl From<&Snapshot<RealDisk>> for Newest {
    fn from(snapshot: &Snapshot<RealDisk>) -> Self {
        let (from, made_ms) = (snapshot.end().from, snapshot.head().made_ms);
        Self { from, made_ms, bytes: snapshot.bytes() }
    }
}

/// What there is to show of a log's snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The newest.
    pub newest: Option<Newest>,
    /// How long writing the last one took that this process wrote, in milliseconds.
    pub took_ms: Option<u64>,
    /// How many this process has set aside because they were broken or did not fit.
    pub set_aside: u64,
    /// How far a fetch is, while one is under way.
    pub fetching: Option<Fetched>,
}

impl Figures {
    /// What keeps the front of the log, in words.
    #[must_use]
    pub fn words(&self, now_ms: u64) -> String {
        match self.newest {
            None => "there is none yet".to_owned(),
            Some(newest) => {
                let age_s = now_ms.saturating_sub(newest.made_ms) / 1000;
                format!("that is of entry {} and {age_s} s old", newest.from)
            }
        }
    }
}

/// The shared place of [`Figures`].
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<Mutex<Figures>>);

impl Shown {
    /// As they are now, but for a fetch.
    #[must_use]
    pub fn now(&self) -> Figures {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A good snapshot is durable here.
    pub fn good(&self, newest: Newest) {
        self.change(|figures| {
            if figures.newest.is_none_or(|old| old.from.offset <= newest.from.offset) {
                figures.newest = Some(newest);
            }
        });
    }

    /// Writing one took so long.
    pub fn took(&self, took_ms: u64) {
        self.change(|figures| figures.took_ms = Some(took_ms));
    }

    /// One was set aside.
    pub fn set_aside(&self) {
        self.change(|figures| figures.set_aside += 1);
    }

    /// What was known before is not so any more: the log begins anew.
    pub fn forget(&self) {
        self.change(|figures| figures.newest = None);
    }

    fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
