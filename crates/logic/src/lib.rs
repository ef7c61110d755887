//! What decides in Cairn: who is master, what is committed, who is sealed, what comes next.
//!
//! Pure: no clock, socket, file, thread or randomness; ordered maps only. Facts and the time come
//! in, effects go out; `cairn-host` performs them. Read `ids`, `time`, `batch` and `record` for the
//! nouns, `message` for what travels, `counting` for the arithmetic, then `replication`.

pub mod arbiter;
pub mod autoscale;
pub mod balance;
pub mod batch;
pub mod counting;
pub mod ids;
pub mod invariants;
pub mod judge;
pub mod masters;
pub mod message;
pub mod moves;
pub mod mutant;
pub mod planner;
pub mod record;
pub mod replication;
pub mod slots;
pub mod time;
pub mod timing;
