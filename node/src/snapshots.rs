//! Snapshots between nodes: the [`Shelf`] offers what this node has, a [`Fetcher`] gets what
//! another one has.
//!
//! Both are the same for every log, a group's or the global plane's: what a snapshot holds is not
//! looked at here, only whether it is whole, whose it is, and which entry it needs next.

mod fetcher;
mod figures;
mod holder;
mod progress;
mod shelf;
mod stock;

pub use fetcher::{Fetcher, Purpose};
pub use figures::{Figures, Newest, Shown};
pub use holder::Holder;
pub use progress::Fetched;
pub use shelf::{Chunks, CommittedLog, LogChunks, Shelf};
pub use stock::Stock;

/// How many a node keeps of each log: should the newest be found broken, the one before it is used.
pub const KEPT: usize = 2;

#[cfg(test)]
mod tests;
