//! For tests: process clusters, faults, traffic, histories, the checker.
//!
//! Nothing of the product uses this crate; the simulator uses the histories and the checker. In
//! reading order: what clients saw ([`history`]), whether it could be so ([`checker`]), a client
//! that knows what it does not know ([`client`]), many of them at work ([`traffic`]), how long
//! their writes paused ([`pauses`]); clients of the directory and their own judge ([`directory`]).
//! Then whole clusters as processes ([`cluster`], [`status`], [`slots`]) and what is done to them
//! ([`fault`], [`moves`]), and what must be true of them whatever is done ([`watch`]).

pub mod checker;
pub mod claims;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod dice;
pub mod directory;
pub mod fault;
pub mod history;
pub mod moves;
pub mod pauses;
pub mod slots;
pub mod status;
pub mod traffic;
pub mod watch;
