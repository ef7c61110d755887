//! Turns Clusters, Keyspaces and Groups into StatefulSets, and looks after them.
//!
//! The folder `controller` is the algorithm: observe, validate, build, apply, status. Everything in
//! between is pure; [`writer`] alone writes to the Kubernetes API, [`plane`] alone speaks with the
//! cluster's nodes. The operator decides nothing about data: it supplies pods, wishes and hints.

pub mod context;
pub mod controller;
pub mod events;
pub mod hints;
pub mod http;
pub mod known;
pub mod leader;
pub mod metrics;
pub mod names;
pub mod object;
pub mod plane;
pub mod queue;
pub mod run;
pub mod store;
#[cfg(test)]
mod testing;
pub mod worker;
pub mod writer;
pub mod x509;
