//! The parts of a node of a Cairn cluster; `main.rs` wires them into roles.

pub mod clock;
pub mod data;
pub mod etcd;
pub mod follow;
pub mod peer;
pub mod storage;
pub mod view;
pub mod boot;
pub mod group;
pub mod acceptor;
pub mod global;
pub mod status;
