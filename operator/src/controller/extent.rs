//! How many nodes run: what is asked for, and those that cannot go yet.
//!
//! A StatefulSet is scaled in only when its highest ordinals are in no configuration. While the
//! truth is not known, nothing goes.

use super::observed::Observed;
use crate::names;
use cairn_logic::ids::GroupId;
use cairn_logic::record::Record;

/// One more than the highest ordinal that `record` names among the pods of `set`.
fn counted(record: &Record, set: &str) -> i32 {
    let ordinals = record.members.iter().filter_map(|member| {
        let (stem, _) = member.id.as_str().rsplit_once('-')?;
        (stem == set).then(|| names::ordinal(member.id.as_str()))?
    });
    ordinals.max().map_or(0, |highest| highest + 1)
}

/// How many pods the StatefulSet of a group is to have, `members` being asked for.
#[must_use]
pub fn group_nodes(observed: &Observed, name: &str, members: i32) -> i32 {
    let live = observed.replicas(name).unwrap_or(0);
    if live <= members {
        return members;
    }
    match &observed.plane.directory {
        None => live,
        Some(directory) => match directory.groups.get(&GroupId::new(name)) {
            Some(record) => members.max(counted(record, name)).min(live),
            None => members,
        },
    }
}

/// How many nodes a pool of spares is to have, `size` being asked for: those that a group holds
/// stay, and with them all of a lower ordinal.
#[must_use]
pub fn spares(observed: &Observed, set: &str, size: i32) -> i32 {
    let live = observed.replicas(set).unwrap_or(0);
    if live <= size {
        return size;
    }
    let Some(directory) = &observed.plane.directory else { return live };
    let held = |ordinal: &i32| directory.holder(&format!("{set}-{ordinal}")).is_some();
    (size..live).rev().find(held).map_or(size, |highest| highest + 1)
}

/// How many groups a keyspace is to have, `asked` being asked for: those that the directory knows
/// stay: the planner empties and retires them first.
#[must_use]
pub fn groups(observed: &Observed, keyspace: &str, asked: i32) -> i32 {
    let known = |name: &str| match &observed.plane.directory {
        None => true,
        Some(directory) => directory.groups.contains_key(&GroupId::new(name)),
    };
    let stay = observed.groups.values().filter(|group| {
        group.spec.keyspace == keyspace && known(group.metadata.name.as_deref().unwrap_or_default())
    });
    stay.map(|group| group.spec.index + 1).max().unwrap_or(0).max(asked)
}

/// How many global nodes are to run, `asked` being asked for.
///
/// One goes at a time, and only while the plane is whole and another node is master: its set
/// shrinks by itself when a member falls silent.
#[must_use]
pub fn globals(observed: &Observed, asked: i32) -> i32 {
    let set = names::global(observed.name());
    let live = observed.replicas(&set).unwrap_or(0);
    if live <= asked {
        return asked;
    }
    let group = GroupId::global();
    let plane = &observed.plane;
    let Some(record) = plane.record(&group) else { return live };
    let last = format!("{set}-{}", live - 1);
    let masters = record.master.as_ref().is_some_and(|master| master.as_str() == last);
    let whole = record.members.iter().all(|member| {
        let progress = plane.progress(&group, &record, &member.id);
        member.id.as_str() == last || progress.is_some_and(|p| super::observed::in_sync(&p))
    });
    if masters || !whole || !plane.serves(&group, &record) { live } else { live - 1 }
}
