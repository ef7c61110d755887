//! The role `data`: a member of a group, or an idle node that waits to be claimed by one.
//!
//! One control thread runs everything here: the replica's host, the links to its peers, the line
//! to the global master. It tells the data thread what it may do, and never waits for it.

mod bounds;
mod cache;
mod claim;
mod courier;
mod entropy;
mod facts;
mod known;
mod moving;
mod opening;
mod role;
mod routes;
mod run;
mod snapshots;
mod users;
mod world;

pub use run::{End, run};
