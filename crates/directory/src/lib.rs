//! The multi-version map of the global plane: keys, transactions, watches and leases as etcd v3
//! defines them.
//!
//! Pure: no clock, socket, file or thread. The same operations in the same order make the same
//! state everywhere, so the master applies an operation when it appends it and every other member
//! when it is committed. Read `range`, `op` and `answer` for the nouns, then `directory`; `core`
//! joins it to a replicated log.

pub mod answer;
pub mod body;
pub mod codec;
pub mod core;
pub mod directory;
pub mod error;
mod heap;
mod index;
mod item;
pub mod leases;
pub mod lessor;
pub mod op;
pub mod range;
mod row;
mod store;
pub mod watch;

pub use answer::{Answer, Applied, Event, EventKind, KeyValue, RangeAnswer};
pub use core::Core;
pub use directory::Directory;
pub use error::Error;
pub use leases::LeaseId;
pub use op::Op;
pub use range::KeyRange;
