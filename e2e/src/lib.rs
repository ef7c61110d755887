//! Tests on a real Kubernetes.
//!
//! Two tiers use this crate. `tests/` asks an API server alone (`cargo xtask test --api`); the
//! program tells stories on a cluster of containers (`cargo xtask e2e`). In reading order: commands
//! against a cluster ([`kubectl`]), its machines and what is done to them ([`machines`]), the
//! operator ([`operator`]), clients at work inside the cluster ([`traffic`], [`directory`]), one of
//! our clusters in a namespace of its own ([`scene`]), what is done to it and how long writes
//! paused ([`act`]), what is told with all of these ([`stories`]), and what is kept of a story that
//! failed ([`aftermath`]).

pub mod act;
pub mod aftermath;
pub mod directory;
pub mod kubectl;
pub mod machines;
pub mod operator;
pub mod scene;
pub mod stories;
pub mod traffic;
