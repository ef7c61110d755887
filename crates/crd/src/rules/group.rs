//! Rules of a Group.

use super::{Rule, is_name, name_cel};
use crate::group::Group;

/// All of them, in the order of the fields.
#[must_use]
pub fn group() -> Vec<Rule<Group>> {
    vec![
        Rule::name(
            // The plain `name == keyspace + '-' + string(index)` is refused by the API server: it
            // takes the text of a number to be of any length, and the rule to be too dear.
            "self.metadata.name.startsWith(self.spec.keyspace + '-') \
             && self.metadata.name.substring(size(self.spec.keyspace) + 1)\
             .matches('^(0|[1-9][0-9]{0,3})$') \
             && int(self.metadata.name.substring(size(self.spec.keyspace) + 1)) \
             == self.spec.index",
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
