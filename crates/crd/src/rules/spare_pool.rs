//! Rules of a SparePool, and of the size class that Keyspaces have, too.

use super::{NAME_MESSAGE, Rule, is_name, name_cel, pods, span, storage};
use crate::spare_pool::SparePool;

/// All of them, in the order of the fields.
#[must_use]
pub fn spare_pool() -> Vec<Rule<SparePool>> {
    let name = |p: &SparePool| p.metadata.name.clone().unwrap_or_default();
    let mut rules = vec![
        Rule::name(name_cel("self.metadata.name"), NAME_MESSAGE, move |p| is_name(&name(p))),
        Rule::spec(
            "cluster",
            name_cel("self.cluster"),
            "must be the name of a Cluster in the same namespace",
            |p: &SparePool| is_name(&p.spec.cluster),
        ),
        Rule::fixed("cluster", |p: &SparePool| p.spec.cluster.clone()),
        Rule::range("size", 1, 64, |p: &SparePool| p.spec.size),
        Rule::spec(
            "idleMin",
            "self.idleMin >= 0 && self.idleMin <= self.size",
            "must be 0 to size: write at most as many as the pool has nodes",
            |p: &SparePool| (0..=p.spec.size).contains(&p.spec.idle_min),
        ),
        Rule::spec(
            "minIdlePerZone",
            "self.minIdlePerZone >= 0 && self.minIdlePerZone <= self.size",
            "must be 0 to size: write at most as many as the pool has nodes",
            |p: &SparePool| (0..=p.spec.size).contains(&p.spec.min_idle_per_zone),
        ),
    ];
    rules.extend(size_class(|p: &SparePool| p.spec.size_class.as_deref()));
    rules.extend(span("replaceAfter", "10s or 1m", (2_000, 3_600_000), |p: &SparePool| {
        p.spec.replace_after.as_deref()
    }));
    rules.extend(storage(|p: &SparePool| &p.spec.storage));
    rules.extend(pods("pods", |p: &SparePool| &p.spec.pods));
    rules
}

/// A size class that may be absent, and stays as it was.
pub(super) fn size_class<T: 'static>(
    written: impl Fn(&T) -> Option<&str> + Copy + 'static,
) -> [Rule<T>; 2] {
    [
        Rule::spec(
            "sizeClass",
            format!("!has(self.sizeClass) || ({})", name_cel("self.sizeClass")),
            NAME_MESSAGE_OF_CLASS,
            move |t| written(t).is_none_or(is_name),
        ),
        Rule::change(
            "sizeClass",
            "has(self.sizeClass) == has(oldSelf.sizeClass) && \
             (!has(self.sizeClass) || self.sizeClass == oldSelf.sizeClass)",
            super::FIXED_MESSAGE,
            move |new, old| written(new) == written(old),
        ),
    ]
}

const NAME_MESSAGE_OF_CLASS: &str = "must be 1 to 40 of a-z, 0-9 and -, beginning with a letter \
                                     and ending with a letter or digit";
