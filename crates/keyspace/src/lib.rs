//! The data of a group: per-slot tables, data types and commands.
//!
//! Pure: no clock, socket, thread or randomness; the time and a seed come in. In reading order:
//! * [`slot_of`] says which slot a key belongs to; `hash` hashes keys.
//! * `table` keeps entries of one slot; `value` what does not stand with its key.
//! * [`Keyspace`] holds the tables; [`command`] lists the commands; [`Keyspace::execute`] runs one.
//! * [`EffectLog`] collects what commands did, for the log; [`Keyspace::apply`] replays it.
//! * A snapshot is written by [`Keyspace::begin_export`], and loaded by [`Builder`]s.
//! * [`Keyspace::digest`] compares copies, a [`Checker`] compares them part by part in the log, and
//!   [`Keyspace::repair`] makes a part equal again.
//!
//! A turn of a caller: [`command::lookup`] and [`Keyspace::locate`] for every command that has
//! arrived; then [`Keyspace::prefetch`] for all of them; then [`Keyspace::execute`] one by one, and
//! [`EffectLog::take`] once.
//!
//! Allocator: entries are rounded to classes of 16 bytes up to 128, then of four per doubling. The
//! binary should use one that has the same classes and takes nothing more for an alignment of 8:
//! mimalloc 2 (the crate's feature `v2`; version 3 takes the next class for every aligned block
//! that is no power of two) or jemalloc. glibc adds 16 bytes to a 96-byte entry.
//! `examples/hot.rs` measures it.
//!
//! Large values, and all keys where they are deleted at once, are [`Trash`]: whoever owns the
//! keyspace takes it now and then ([`Keyspace::take_trash`]) and has another thread drop it.

pub mod command;

mod apply;
mod build;
mod check;
mod clear;
mod compare;
mod decimal;
mod dice;
mod differ;
mod digest;
mod effects;
mod events;
mod evict;
mod exec;
mod expire;
mod geohash;
mod glob;
mod hash;
mod hidden;
mod keyspace;
mod libraries;
mod mend;
mod order;
mod pace;
mod part;
mod payload;
mod records;
mod refusal;
mod repair;
mod rewrite;
mod run;
mod slot;
mod snapshot;
mod table;
mod trash;
mod usage;
mod value;

pub use apply::{Change, Error, Mark, changes_of, keys_of};
pub use build::{Builder, Built};
pub use check::{Checker, Checking};
pub use differ::{Findings, Replaced, Unkept};
pub use effects::{EffectLog, Entries};
pub use events::{Classes, Event};
pub use evict::{Evicted, Eviction, Policy};
pub use exec::{Ctx, Done, Wait};
pub use expire::Expired;
pub use glob::matches as fits;
pub use hidden::{Verb, entries_about};
pub use keyspace::{At, Keyspace, Lane, Loan, Member};
pub use libraries::LIBRARIES_BYTES_MAX;
pub use mend::{Note, notes_of};
pub use pace::Pace;
pub use part::{END, Part};
pub use payload::{dump_libraries, load_libraries};
pub use refusal::{unknown_command, wrong_arity};
pub use rewrite::commands_of;
pub use slot::{crc16, hash_tag, slot_of};
pub use snapshot::{CONTENT, Export, Portion};
pub use trash::Trash;
