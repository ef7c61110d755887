//! Keyspaces, as for the bounds on their nodes.

use super::{Case, case};
use serde_json::{Value, json};

/// Cases of `spec.limits`.
pub(super) fn cases() -> Vec<Case> {
    let k = |set: &[(&'static str, Value)], refused| case("keyspaces", set, refused);
    let samples = |n: i32| ("/spec/limits/maxmemorySamples", json!(n));
    let per_second = |whose: &str, n: i32| match whose {
        "user" => ("/spec/limits/userCommandsPerSecond", json!(n)),
        _ => ("/spec/limits/clientCommandsPerSecond", json!(n)),
    };
    vec![
        k(&[("/spec/limits/maxclients", json!(0))], Some(("spec.limits.maxclients", "1 to"))),
        k(&[("/spec/limits/maxmemory", json!("1Gi"))], None),
        k(&[("/spec/limits/maxmemory", json!("1GB"))], Some(("spec.limits.maxmemory", "64Mi"))),
        k(&[("/spec/limits/maxmemory", json!("1Ki"))], Some(("spec.limits.maxmemory", "1Mi to"))),
        k(&[samples(65)], Some(("spec.limits.maxmemorySamples", "1 to 64"))),
        k(&[per_second("client", 10_000_000), per_second("user", 1)], None),
        k(
            &[per_second("client", 0)],
            Some(("spec.limits.clientCommandsPerSecond", "1 to 10000000")),
        ),
        k(
            &[per_second("user", 10_000_001)],
            Some(("spec.limits.userCommandsPerSecond", "1 to 10000000")),
        ),
        k(&[("/spec/limits/maxValue", json!("33Mi"))], Some(("spec.limits.maxValue", "1Ki to"))),
        k(
            &[("/spec/limits/queryBuffer", json!("32Mi"))],
            Some(("spec.limits.queryBuffer", "more than limits.maxValue")),
        ),
        k(
            &[("/spec/limits/outputBuffer", json!("1Mi"))],
            Some(("spec.limits.outputBuffer", "more than limits.maxValue")),
        ),
        k(
            &[("/spec/limits/outputBuffer", json!("2Mi")), ("/spec/limits/maxValue", json!("1Mi"))],
            None,
        ),
    ]
}
