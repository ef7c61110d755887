//! Rules of a Cluster's checkpoint nodes.

use super::{FIXED_MESSAGE, Rule, SIZE_MESSAGE, pods, span};
use crate::cluster::Cluster;
use crate::quantity::{SIZE_PATTERN, size_bytes};

/// The most checkpoint nodes a cluster has.
const REPLICAS_MAX: i32 = 3;
/// Between two snapshots: a second to a week.
const INTERVAL_MS: (u64, u64) = (1000, 168 * 3_600_000);

/// All of them, in the order of the fields.
pub fn of_cluster() -> Vec<Rule<Cluster>> {
    let mut rules = replicas();
    rules.extend(span("checkpoint.interval", "30s or 5m", INTERVAL_MS, |c: &Cluster| {
        c.spec.checkpoint.interval.as_deref()
    }));
    rules.extend(storage());
    rules.extend(pods("checkpoint.pods", |c: &Cluster| &c.spec.checkpoint.pods));
    rules
}

fn replicas() -> Vec<Rule<Cluster>> {
    let has = |c: &Cluster| c.spec.checkpoint.replicas >= 1;
    vec![
        Rule::range("checkpoint.replicas", 0, REPLICAS_MAX, |c: &Cluster| {
            c.spec.checkpoint.replicas
        }),
        Rule::change(
            "checkpoint.replicas",
            "self.acceptor || \
             (self.checkpoint.replicas >= 1) == (oldSelf.checkpoint.replicas >= 1)",
            "cannot become 0, nor more than 0, with acceptor: false, for the first checkpoint node \
             keeps the arbiter's value: write 0 if it was 0, else 1 to 3",
            move |new: &Cluster, old| new.spec.acceptor || has(new) == has(old),
        ),
    ]
}

/// `self.storage` of whichever of the two is in force.
fn in_force(whose: &str, field: &str) -> String {
    let own = format!("{whose}.checkpoint.storage");
    format!("(has({own}) ? {own}.{field} : {whose}.storage.{field})")
}

fn storage() -> Vec<Rule<Cluster>> {
    let own = "self.checkpoint.storage";
    let size = |c: &Cluster| size_bytes(&c.spec.checkpoint_storage().size);
    let written = |c: &Cluster| c.spec.checkpoint.storage.as_ref().map(|s| s.size.clone());
    let class = |c: &Cluster| c.spec.checkpoint_storage().class_name.clone().unwrap_or_default();
    let class_cel = |whose: &str| {
        let of = |storage: String| format!("(has({storage}.className) ? {storage}.className : '')");
        let own = format!("{whose}.checkpoint.storage");
        format!("(has({own}) ? {} : {})", of(own.clone()), of(format!("{whose}.storage")))
    };
    let none_before = |old: &Cluster| old.spec.checkpoint.replicas == 0;
    let none_cel = "oldSelf.checkpoint.replicas == 0";
    vec![
        Rule::spec(
            "checkpoint.storage.size",
            format!("!has({own}) || {own}.size.matches('{SIZE_PATTERN}')"),
            SIZE_MESSAGE,
            move |c| written(c).is_none_or(|text| size_bytes(&text).is_some()),
        ),
        Rule::spec(
            "checkpoint.storage.size",
            format!("!has({own}) || quantity({own}.size).compareTo(quantity('1Gi')) >= 0"),
            "must be at least 1Gi",
            move |c| written(c).and_then(|text| size_bytes(&text)).is_none_or(|b| b >= 1 << 30),
        ),
        Rule::change(
            "checkpoint.storage.size",
            format!(
                "{none_cel} || quantity({}).compareTo(quantity({})) >= 0",
                in_force("self", "size"),
                in_force("oldSelf", "size"),
            ),
            "cannot shrink; write the old size or a greater one (storage.size if it was absent)",
            move |new, old| none_before(old) || size(new).is_none_or(|n| Some(n) >= size(old)),
        ),
        Rule::change(
            "checkpoint.storage.className",
            format!("{none_cel} || {} == {}", class_cel("self"), class_cel("oldSelf")),
            FIXED_MESSAGE,
            move |new, old| none_before(old) || class(new) == class(old),
        ),
    ]
}
