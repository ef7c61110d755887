//! Tests on a real Kubernetes.
//!
//! Two tiers use this crate. `tests/` asks an API server alone (`cargo xtask test --api`); the
//! program tells stories on a cluster of containers (`cargo xtask e2e`). In reading order: commands
//! against a cluster ([`kubectl`]), its machines and what is done to them ([`machines`]), clients
//! at work inside it ([`traffic`]), one of our clusters in a namespace of its own ([`scene`]), and
//! what is told with all of these ([`stories`]).

pub mod kubectl;
pub mod machines;
pub mod scene;
pub mod stories;
pub mod traffic;
