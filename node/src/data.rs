//! The data thread of a group's node: sockets, sessions, routing, and replies held until committed.
//!
//! One OS thread owns the keyspace; nothing else touches it. Control (replication, directory) talks
//! to it through [`link`] alone. Read `link` and `routes` for the interface, then `thread`,
//! `server` and `dispatch`.

mod blocked;
mod broken;
mod changing;
mod channels;
mod checks;
mod chores;
mod commands;
mod config;
mod conn;
mod control;
mod core;
mod denials;
mod digests;
mod dispatch;
mod doors;
mod dropper;
mod evict;
mod export;
mod figures;
pub mod gauges;
mod leisure;
pub mod link;
mod loans;
mod moving;
mod net;
mod outgoing;
pub mod post;
pub mod rates;
mod replay;
mod replies;
pub mod routes;
mod routing;
mod server;
mod session;
mod slow;
mod stream;
mod thread;
mod tracking;
pub mod turns;
mod watchers;
mod weighing;

pub use thread::{Error, Options, Running, start};

#[cfg(test)]
mod tests;
