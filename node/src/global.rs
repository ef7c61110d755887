//! The role `global`: the directory, kept by a replica of the global log; judge and planner. And
//! the role `checkpoint`: a replica that only follows, and writes snapshots.
//!
//! One control thread runs the replica's host, the directory, this plane's own judge, and, while
//! this node is global master, the judges of all groups and the planner. The latter two are
//! clients of the directory: they read committed revisions and change it by transactions.

mod arbiter;
mod arrivals;
mod believe;
mod exports;
mod history;
mod lines;
mod moves;
mod own;
mod rebuild;
mod recover;
mod role;
mod run;
mod snapshots;
mod wishes;
mod world;

pub use run::run;
