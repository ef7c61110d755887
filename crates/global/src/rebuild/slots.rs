//! The owners of slots: the newest that anybody has read; every slot of a keyspace has one.

use super::{Contradiction, Decided, Keys, Source, is_trusted};
use crate::View;
use cairn_logic::ids::SLOTS;
use cairn_settings::directory_keys as keys;
use keys::SlotOwners;

/// Puts the slots of every keyspace of `base` into `all`.
pub(super) fn resolve(
    base: &View,
    decided: &Decided,
    sources: &[Source<'_>],
    all: &mut Keys,
    wrong: &mut Vec<Contradiction>,
) {
    let mut keyspaces: Vec<&str> = base.slots.keys().map(String::as_str).collect();
    keyspaces.extend(base.groups.keys().filter_map(keys::keyspace_of));
    keyspaces.sort_unstable();
    keyspaces.dedup();
    for keyspace in keyspaces {
        match newest(keyspace, decided, sources) {
            Err(problem) => wrong.push(problem),
            Ok(owners) => {
                if let Some((owners, version)) = owners {
                    let key = keys::slots_key(keyspace).into_bytes();
                    all.insert(key, (owners.encode(), version));
                }
                if !decided.unowned.contains(keyspace) {
                    wrong.extend(unowned(keyspace, base, owners.map(|(owners, _)| owners)));
                }
            }
        }
    }
}

fn newest<'a>(
    keyspace: &str,
    decided: &Decided,
    sources: &[Source<'a>],
) -> Result<Option<(&'a SlotOwners, u64)>, Contradiction> {
    let key = keys::slots_key(keyspace);
    let said = |source: &Source<'a>| {
        let owners = source.view.slots.get(keyspace)?;
        Some((source.view.version(&key), owners, source.name))
    };
    let all: Vec<_> = sources.iter().filter_map(said).collect();
    let Some(version) = all.iter().map(|(version, ..)| *version).max() else { return Ok(None) };
    let newest: Vec<_> = all.iter().filter(|(its, ..)| *its == version).collect();
    let (_, owners, name) = newest[0];
    let Some((_, _, other)) = newest.iter().find(|(_, its, _)| its != owners) else {
        return Ok(Some((owners, version)));
    };
    let trusted = newest.iter().find(|(_, _, name)| is_trusted(name, decided));
    trusted.map(|(_, owners, _)| Some((*owners, version))).ok_or_else(|| Contradiction::Slots {
        keyspace: keyspace.to_owned(),
        one: (*name).to_owned(),
        other: (*other).to_owned(),
    })
}

/// Slots without an owner that is a group.
fn unowned(keyspace: &str, base: &View, owners: Option<&SlotOwners>) -> Option<Contradiction> {
    let ranges = owners.map_or(&[][..], SlotOwners::ranges).iter();
    let owned: usize = ranges
        .filter(|range| base.groups.contains_key(&range.group))
        .map(|range| range.len())
        .sum();
    let count = usize::from(SLOTS) - owned;
    let keyspace = keyspace.to_owned();
    (count > 0).then_some(Contradiction::Unowned { keyspace, count })
}
