//! What a node is told at its start, and what all of them read in the directory.
//!
//! [`NodeSettings`] is one JSON file, written by the operator or by `cairn up`, read by
//! `cairn-node`; [`Roster`] is another one, read by the command line. [`directory_keys`] holds the
//! values under `/cairn/` that nodes, the command line and the operator share, [`report`] what pods
//! that archive and restore tell the operator. Nothing here waits or decides.

mod condition;
pub mod directory_keys;
pub mod duration_text;
mod limits;
mod node;
mod problem;
pub mod report;
mod roster;
mod timing;
mod tls;
mod validate;

pub use condition::NodeCondition;
pub use limits::{COMMANDS_PER_SEC_MAX, EvictionPolicy, LagBounds, Limits, LogSettings};
pub use node::{
    ACCEPTORS, Addresses, ListenAddresses, LoadError, NodeRole, NodeSettings, Port, Reads, Seed,
    plain_durability,
};
pub use problem::{Problem, Problems};
pub use roster::{Roster, RosterError, RosterNode};
pub use timing::Timing;
pub use tls::{TlsFiles, TlsSettings};

/// The format of the folders and of the directory's values; a node refuses any other.
pub const FORMAT: u32 = 1;
