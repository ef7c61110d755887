//! What is known of the snapshots of a log, for metrics and for people.

use super::progress::Fetched;
use cairn_files::{RealDisk, Snapshot};
use cairn_logic::ids::{EntryId, Offset};
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
    /// The hash that it says its state has.
    pub hash: u64,
}

impl From<&Snapshot<RealDisk>> for Newest {
    fn from(snapshot: &Snapshot<RealDisk>) -> Self {
        let (end, made_ms) = (snapshot.end(), snapshot.head().made_ms);
        Self { from: end.from, made_ms, bytes: snapshot.bytes(), hash: end.hash }
    }
}

/// What there is to show of a log's snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The newest.
    pub newest: Option<Newest>,
    /// Entries above it are needed beside the one before, if that was good, too.
    pub before_from: Option<EntryId>,
    /// How long writing the last one took that this process wrote, in milliseconds.
    pub took_ms: Option<u64>,
    /// How many this process has set aside because they were broken or did not fit.
    pub set_aside: u64,
    /// How far a fetch is, while one is under way.
    pub fetching: Option<Fetched>,
}

impl Figures {
    /// Up to where the front of the log may go, of what the replica allows: not above the older of
    /// the last two snapshots, for should the newest be found broken, the one before it is used.
    /// A log that is pressed is cut behind the newest.
    #[must_use]
    pub fn front(&self, allowed: Offset, pressed: bool) -> Offset {
        let newest = self.newest.map(|newest| newest.from);
        let from = if pressed { newest } else { self.before_from };
        allowed.min(from.map_or(Offset::ZERO, |from| from.offset))
    }

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
            let old = figures.newest.map(|old| old.from);
            if old.is_none_or(|old| old.offset <= newest.from.offset) {
                figures.newest = Some(newest);
                figures.before_from = old.filter(|old| *old != newest.from).or(figures.before_from);
            }
        });
    }

    /// Writing one took so long.
    pub fn took(&self, took_ms: u64) {
        self.change(|figures| figures.took_ms = Some(took_ms));
    }

    /// One was set aside, so what was known before may not be so any more: nothing is given up
    /// until another one is known to be good.
    pub fn set_aside(&self) {
        self.change(|figures| figures.set_aside += 1);
        self.forget();
    }

    /// What was known before is not so any more: the log begins anew.
    pub fn forget(&self) {
        self.change(|figures| (figures.newest, figures.before_from) = (None, None));
    }

    fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::Epoch;

    #[test]
    fn the_log_reaches_the_older_of_two_snapshots_until_it_is_pressed() {
        let shown = Shown::default();
        let good = |offset| {
            let from = EntryId::new(Epoch(1), Offset(offset));
            shown.good(Newest { from, made_ms: 0, bytes: 1, hash: 0 });
        };
        let front = |pressed| shown.now().front(Offset(25), pressed);
        good(10);
        assert_eq!((front(false), front(true)), (Offset::ZERO, Offset(10)), "there is one");
        good(20);
        good(20);
        assert_eq!((front(false), front(true)), (Offset(10), Offset(20)));
        good(30);
        assert_eq!(front(false), Offset(20));
        good(40);
        assert_eq!(
            (front(false), front(true)),
            (Offset(25), Offset(25)),
            "what the replica allows"
        );
        shown.set_aside();
        assert_eq!(
            (front(false), front(true)),
            (Offset::ZERO, Offset::ZERO),
            "it may be the newest"
        );
        good(20);
        assert_eq!((front(false), front(true)), (Offset::ZERO, Offset(20)), "an older one is used");
        shown.forget();
        assert_eq!(front(true), Offset::ZERO);
    }
}
