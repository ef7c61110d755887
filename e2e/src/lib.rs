//! Tests on a real Kubernetes.
//!
//! Two tiers use this crate. `tests/` asks an API server alone (`cargo xtask test --api`); the
//! program tells stories on a cluster of containers (`cargo xtask e2e`). In reading order: commands
//! against a cluster ([`kubectl`]).

pub mod kubectl;
