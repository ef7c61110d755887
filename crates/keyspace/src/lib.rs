//! The data of a group: per-slot tables, data types and commands.
//!
//! Pure: no clock, socket, thread or randomness; the time and a seed come in. In reading order:
//! * [`slot_of`] says which slot a key belongs to; `hash` hashes keys.
//! * `table` keeps entries of one slot; `value` what does not stand with its key.
//! * [`Keyspace`] holds the tables; [`command`] lists the commands; [`Keyspace::execute`] runs one.
//! * [`EffectLog`] collects what commands did, for the log; [`Keyspace::apply`] replays it.
//! * [`Keyspace::digest`] compares copies.
//!
//! A turn of a caller: [`command::lookup`] and [`Keyspace::locate`] for every command that has
//! arrived, [`Keyspace::prefetch_line`] for all, [`Keyspace::prefetch_entry`] for all,
//! [`Keyspace::execute`] one by one, then [`EffectLog::take`] once.
//!
//! Allocator: the node binary should set mimalloc; see `examples/hot.rs` for the figures.

pub mod command;

mod apply;
mod digest;
mod effects;
mod exec;
mod expire;
mod glob;
mod hash;
mod keyspace;
mod order;
mod refusal;
mod run;
mod slot;
mod table;
mod value;

pub use apply::Error;
pub use effects::{EffectLog, Entries};
pub use exec::{Ctx, Done};
pub use expire::Expired;
pub use keyspace::{At, Keyspace};
pub use refusal::{unknown_command, wrong_arity};
pub use slot::{crc16, hash_tag, slot_of};
