//! The parts of a node of a Cairn cluster; `main.rs` wires them into roles.

pub mod acceptor;
pub mod aside;
pub mod boot;
pub mod clock;
mod cores;
pub mod data;
pub mod etcd;
pub mod follow;
pub mod global;
pub mod group;
pub mod memory;
pub mod metrics;
pub mod peer;
pub mod snapshots;
pub mod status;
pub mod storage;
pub mod tls;
pub mod zone;
