//! Rules of a Group.

use super::{Rule, is_name, name_cel};
use crate::group::Group;

/// All of them, in the order of the fields.
#[must_use]
pub fn group() -> Vec<Rule<Group>> {
    vec![
        Rule::name(
            "self.metadata.name == self.spec.keyspace + '-' + string(self.spec.index)",
            "must be <spec.keyspace>-<spec.index>",
            |g: &Group| {
                let name = format!("{}-{}", g.spec.keyspace, g.spec.index);
                g.metadata.name.as_ref() == Some(&name)
            },
        ),
        Rule::spec(
            "keyspace",
            name_cel("self.keyspace"),
            "must be the name of a Keyspace in the same namespace",
            |g: &Group| is_name(&g.spec.keyspace),
        ),
        Rule::fixed("keyspace", |g: &Group| g.spec.keyspace.clone()),
        Rule::range("index", 0, 1023, |g: &Group| g.spec.index),
        Rule::fixed("index", |g: &Group| g.spec.index),
        Rule::range("members", 1, 7, |g: &Group| g.spec.members),
    ]
}
