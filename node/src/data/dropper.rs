//! Dropping what is large, in a thread of its own: clients do not wait for it.
//!
//! What waits there is bounded by itself: to make such a value takes longer than to drop it.

use cairn_keyspace::Trash;
use std::sync::mpsc::{Sender, channel};

/// The way to the thread; without one, everything is dropped at once.
#[derive(Debug)]
pub struct Dropper(Option<Sender<Trash>>);

impl Dropper {
    /// Starts the thread; it ends with this.
    pub fn start() -> Self {
        let (sender, trash) = channel();
        let body = move || trash.into_iter().for_each(drop::<Trash>);
        let started = std::thread::Builder::new().name("drop".into()).spawn(body);
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start the thread that drops large values");
        }
        Self(started.ok().map(|_| sender))
    }

    /// Has it dropped.
    pub fn take(&self, trash: Trash) {
        if let Some(sender) = self.0.as_ref().filter(|_| !trash.is_empty()) {
            // If the thread has gone, the trash comes back, and is dropped here.
            sender.send(trash).ok();
        }
    }
}
