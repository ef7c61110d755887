//! The data thread of a group's node: sockets, sessions, routing, and replies held until committed.
//!
//! One OS thread owns the keyspace; nothing else touches it. Control (replication, directory) talks
//! to it through [`link`] alone. Read `link` and `routes` for the interface, then `turn`.

pub mod link;
pub mod routes;
