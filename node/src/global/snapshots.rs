//! The global plane's snapshots on this node: the newest good one is loaded at a start, and another
//! is written now and then, or fetched where this node does not write any.

mod load;
mod write;

use crate::boot::Boot;
use crate::clock;
use crate::snapshots::{Fetcher, Figures, Holder, Newest, Purpose, Shown, Stock};
use crate::storage::Notify;
use cairn_directory::Directory;
use cairn_directory::directory::CONTENT;
use cairn_files::{RealDisk, Result, Snapshots};
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::time::{Duration, Instant};
use load::Load;
use std::path::PathBuf;

pub use load::load_now;
pub use write::{Piece, Sections, Writer, Written};

/// The snapshots in this node's folder, the one the state began with, and the way to others.
pub struct PlaneSnapshots {
    stock: Stock,
    notify: Notify,
    fetcher: Fetcher,
    loading: Option<Load>,
    /// What the state began with.
    used: Option<PathBuf>,
    /// The newest that is known to be good, and since when.
    best: Option<Newest>,
    since: Instant,
    /// Fetched ones up to here were not believed.
    refused: Offset,
}

impl PlaneSnapshots {
    /// Those in the folder of `boot`. `notify` hears when one is loaded, or could not be.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(boot: &Boot, notify: Notify) -> Result<Self> {
        let group = GroupId::global();
        let path = boot.folder.snapshots(&group);
        let folder = Snapshots::open(&RealDisk, &path, boot.uid, group.clone())?;
        let folder = folder.with_content(CONTENT);
        folder.tidy()?;
        let (content, shown) = (CONTENT, Shown::default());
        let stock = Stock { group, folder, content, one_moment: true, shown };
        let fetcher = Fetcher::new(boot.identity.clone(), stock.clone(), notify.clone());
        Ok(Self {
            stock,
            notify,
            fetcher,
            loading: None,
            used: None,
            best: None,
            since: clock::now(),
            refused: Offset::ZERO,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Snapshots<RealDisk> {
        &self.stock.folder
    }

    /// What there is to show of them.
    pub fn figures(&self) -> Figures {
        Figures { fetching: self.fetcher.progress(), ..self.stock.shown.now() }
    }

    /// The last entry of the newest one that is known to be good.
    pub fn newest(&self) -> EntryId {
        self.best.map_or(EntryId::ZERO, |newest| newest.from)
    }

    /// For how long that has been the newest.
    pub fn age(&self) -> Duration {
        clock::now().since(self.since)
    }

    /// This one is durable and known to be good; older ones than the last two go.
    pub fn made(&mut self, newest: Newest) {
        self.stock.shown.good(newest);
        (self.best, self.since) = (Some(newest), clock::now());
        self.stock.prune();
    }

    /// The name of the snapshot of `at`.
    pub fn name(&self, at: EntryId) -> String {
        let path = self.stock.folder.path(at);
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The one of `at` that was fetched, while no newer one was.
    pub fn fetched(&self, at: EntryId) -> Option<Newest> {
        self.stock.shown.now().newest.filter(|newest| newest.from == at)
    }

    /// Writing one took so long.
    pub fn took(&self, took_ms: u64) {
        self.stock.shown.took(took_ms);
    }

    /// A fetched one is not believed; with `aside` its file is kept out of the way.
    pub fn refuse(&mut self, at: EntryId, aside: bool) {
        self.refused = self.refused.max(at.offset);
        self.stock.shown.forget();
        if let Some(best) = self.best {
            self.stock.shown.good(best);
        }
        if aside {
            self.stock.set_aside(&self.stock.folder.path(at));
        }
    }

    /// Gets a snapshot without which the log cannot go on, from one of `holders`.
    pub fn fetch(&mut self, at_least: Offset, holders: Vec<Holder>) {
        self.fetcher.fetch(Purpose::CatchUp, at_least, holders);
    }

    /// Gets a newer one than there is here, if one of `holders` has it.
    pub fn fetch_newer(&mut self, holders: Vec<Holder>) {
        let at_least = self.newest().offset.max(self.refused).next();
        self.fetcher.fetch(Purpose::Keep, at_least, holders);
    }

    /// Whether one is being fetched.
    pub fn is_fetching(&self) -> bool {
        self.fetcher.is_at_work()
    }

    /// Begins to load the newest snapshot from which the log goes on, beside everything else;
    /// batches go on after the offset that is returned. The log begins after the first of `log` and
    /// ends with the second.
    pub fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool, log: (EntryId, EntryId)) -> Offset {
        (self.loading, self.used, self.best) = (None, None, None);
        self.stock.shown.forget();
        let Some(snapshot) = self.stock.newest_good(holds, log.0, log.1) else {
            return Offset::ZERO;
        };
        let at = snapshot.end().from;
        self.used = Some(snapshot.path().to_owned());
        let stock = self.stock.clone();
        self.loading = Some(Load::spawn(snapshot, stock, self.notify.clone()));
        at.offset
    }

    /// The state that the last load made does not fit the log: that snapshot is not used again.
    /// Whether there was one.
    pub fn distrust(&mut self) -> bool {
        let used = self.used.take();
        if let Some(path) = &used {
            self.stock.set_aside(path);
        }
        used.is_some()
    }

    /// Whether a state is being loaded: nothing may be applied meanwhile.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// How much of what is being loaded there is, in percent.
    pub fn loaded_percent(&self) -> Option<u32> {
        self.loading.as_ref().map(Load::percent)
    }

    /// How far a load is, in words.
    pub fn progress(&self) -> Option<String> {
        self.loading.as_ref().map(Load::progress)
    }

    /// Takes what was loaded, and the entry after which the state was so; each state once.
    pub fn loaded(&mut self) -> Option<(Directory, EntryId)> {
        let load = self.loading.as_ref()?;
        let (directory, newest) = (load.take()?, load.newest());
        self.loading = None;
        self.made(newest);
        Some((directory, newest.from))
    }
}

#[cfg(test)]
mod tests;
