//! Whole clusters of real processes that meet full disks, many clients, wrong clocks and signals.
//!
//! Every test starts a cluster with `cairn up` and takes it down; one at a time, because they share
//! the machine and look at spans of time.

#[path = "processes/archive.rs"]
mod archive;
#[path = "processes/bounded.rs"]
mod bounded;
#[path = "processes/checkpoint.rs"]
mod checkpoint;
#[path = "processes/clients.rs"]
mod clients;
#[path = "processes/clock.rs"]
mod clock;
#[path = "processes/disk.rs"]
mod disk;
#[path = "processes/entropy.rs"]
mod entropy;
#[path = "processes/etcd.rs"]
mod etcd;
#[path = "processes/history.rs"]
mod history;
#[path = "processes/masters.rs"]
mod masters;
#[path = "processes/messages.rs"]
mod messages;
#[path = "processes/moves.rs"]
mod moves;
#[path = "processes/plane.rs"]
mod plane;
#[path = "processes/probes.rs"]
mod probes;
#[path = "processes/rebuild.rs"]
mod rebuild;
#[path = "processes/recover.rs"]
mod recover;
#[path = "processes/s3.rs"]
mod s3;
#[path = "processes/shrunk.rs"]
mod shrunk;
#[path = "processes/signals.rs"]
mod signals;
#[path = "processes/snapshots.rs"]
mod snapshots;
#[path = "processes/spares.rs"]
mod spares;
#[path = "processes/support.rs"]
mod support;
#[path = "processes/wait.rs"]
mod wait;
#[path = "processes/zones.rs"]
mod zones;
