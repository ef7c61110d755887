//! Keyspaces, as for how many groups they have.

use super::{Case, case};
use serde_json::{Value, json};

/// Cases of `spec.groups` and `spec.autoscale`.
pub(super) fn cases() -> Vec<Case> {
    let k = |set: &[(&'static str, Value)], refused| case("keyspaces", set, refused);
    let scale = |value: Value| ("/spec/autoscale", value);
    vec![
        k(&[("/spec/groups", json!(0))], Some(("spec.groups", "1 to 1024"))),
        k(&[("/spec/groups", json!(1025))], Some(("spec.groups", "1 to 1024"))),
        k(&[scale(json!({"max": 4, "memory": "2Gi"}))], None),
        k(&[scale(json!({"min": 2, "max": 2, "operationsPerSecond": 50_000}))], None),
        k(
            &[scale(json!({"min": 3, "max": 2, "memory": "2Gi"}))],
            Some(("spec.autoscale.min", "1 to autoscale.max")),
        ),
        k(
            &[scale(json!({"max": 1025, "memory": "2Gi"}))],
            Some(("spec.autoscale.max", "at most 1024")),
        ),
        k(&[scale(json!({"max": 2}))], Some(("spec.autoscale", "operationsPerSecond, memory"))),
        k(
            &[scale(json!({"max": 2, "operationsPerSecond": 0}))],
            Some(("spec.autoscale.operationsPerSecond", "1 to 100000000")),
        ),
        k(&[scale(json!({"max": 2, "memory": "2GB"}))], Some(("spec.autoscale.memory", "64Mi"))),
        k(&[scale(json!({"max": 2, "memory": "1Ki"}))], Some(("spec.autoscale.memory", "1Mi to"))),
        k(
            &[scale(json!({"max": 2, "memory": "1Gi", "stabilization": "10ms"}))],
            Some(("spec.autoscale.stabilization", "1s to")),
        ),
    ]
}
