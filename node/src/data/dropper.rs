//! Dropping what is large, in a thread of its own: clients do not wait for it.
//!
//! What waits there is bounded by itself: to make such a value takes longer than to drop it.

use cairn_keyspace::Trash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The way to the thread; without one, everything is dropped at once.
#[derive(Debug)]
pub struct Dropper {
    way: Option<Sender<Trash>>,
    /// Values that were given to the thread.
    given: u64,
    /// Those of them that it has dropped.
    dropped: Arc<AtomicU64>,
    /// Those of them that are not counted any more.
    forgotten: u64,
}

fn drop_all(trash: Receiver<Trash>, dropped: &AtomicU64) {
    for trash in trash {
        let count = trash.count();
        drop(trash);
        dropped.fetch_add(count, Ordering::Release);
    }
}

impl Dropper {
    /// Starts the thread; it ends with this.
    pub fn start() -> Self {
        let (sender, trash) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let body = move || drop_all(trash, &counted);
        let started = std::thread::Builder::new().name("drop".into()).spawn(body);
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start the thread that drops large values");
        }
        Self { way: started.ok().map(|_| sender), given: 0, dropped, forgotten: 0 }
    }

    /// Has it dropped.
    pub fn take(&mut self, trash: Trash) {
        if let Some(way) = self.way.as_ref().filter(|_| !trash.is_empty()) {
            let count = trash.count();
            // If the thread has gone, the trash comes back, and is dropped here.
            if way.send(trash).is_ok() {
                self.given += count;
            }
        }
    }

    /// How many values wait to be dropped, and how many were since [`Self::forget`].
    pub fn counts(&self) -> (u64, u64) {
        let dropped = self.dropped.load(Ordering::Acquire);
        (self.given.saturating_sub(dropped), dropped - self.forgotten)
    }

    /// Begins counting anew.
    pub fn forget(&mut self) {
        self.forgotten = self.dropped.load(Ordering::Acquire);
    }
}
