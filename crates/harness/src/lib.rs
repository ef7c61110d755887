//! For tests: process clusters, faults, traffic, histories, the checker.
//!
//! Nothing of the product uses this crate; the simulator uses the histories and the checker. In
//! reading order: what clients saw ([`history`]), and whether it could be so ([`checker`]).

pub mod checker;
pub mod history;
