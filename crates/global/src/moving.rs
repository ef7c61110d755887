//! Changes of the directory that moves of slots consist of.
//!
//! Pure. Each compares the version of every key that it rests on, so whoever has read something
//! old changes nothing (docs/replication.md §10). Data nodes propose them, and the global master
//! where people ask.

use crate::View;
use crate::planning::{put, version_is};
use cairn_directory::Op;
use cairn_directory::op::Txn;
use cairn_logic::ids::{Epoch, GroupId, Slot};
use cairn_logic::masters::Pin;
use cairn_logic::moves::{Move, MoveId, Moves, Refused, SLOTS_MAX};
use cairn_logic::mutant::{Mutant, broken};
use cairn_settings::directory_keys as keys;
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// A transaction in plain words: what must be as it was read, and what is written then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Keys and their versions; 0: absent.
    pub compare: Vec<(String, u64)>,
    /// Keys and their new values.
    pub put: Vec<(String, Vec<u8>)>,
}

impl Swap {
    /// The same with another change of the keyspace's moves.
    fn also(mut self, keyspace: &str, change: impl FnOnce(&mut Moves)) -> Self {
        let key = keys::moves_key(keyspace);
        if let Some((_, value)) = self.put.iter_mut().find(|(put, _)| *put == key) {
            let mut moves = keys::decode_moves(value).expect("it was encoded just now");
            change(&mut moves);
            *value = keys::encode_moves(&moves);
        }
        self
    }

    /// The same for the directory.
    #[must_use]
    pub fn op(&self) -> Op {
        let compare = self.compare.iter().map(|(key, version)| version_is(key, *version));
        let success = self.put.iter().map(|(key, value)| put(key, value.clone()));
        Op::Txn(Txn { compare: compare.collect(), success: success.collect(), failure: Vec::new() })
    }
}

/// Why moves are not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such keyspace, or it has no slots yet.
    #[error("keyspace {keyspace} has no slots")]
    NoKeyspace {
        /// Its name.
        keyspace: String,
    },
    /// No such group.
    #[error("there is no group {group}")]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// Of another keyspace.
    #[error("group {group} is of another keyspace")]
    Foreign {
        /// Its name.
        group: String,
    },
    /// Nobody has it.
    #[error("slot {slot} has no owner")]
    NoOwner {
        /// Which.
        slot: u16,
    },
    /// No move of that number can be ended that way.
    #[error("there is no move {id} in keyspace {keyspace} that could be cancelled")]
    NoMove {
        /// Its number.
        id: MoveId,
        /// The keyspace.
        keyspace: String,
    },
    /// Its nodes do not all understand the same.
    #[error("{group} runs version {other}, others {one}: move slots after the upgrade")]
    Mixed {
        /// The group with the first node that differs.
        group: String,
        /// A version.
        one: String,
        /// Another one.
        other: String,
    },
    /// The moves themselves.
    #[error("slots {first}-{last}: {why}")]
    Refused {
        /// The first slot of the part that was refused.
        first: u16,
        /// The last one.
        last: u16,
        /// Why.
        why: Refused,
    },
}

fn moves_of(view: &View, keyspace: &str) -> Moves {
    view.moves.get(keyspace).cloned().unwrap_or_default()
}

/// What replaces the moves of a keyspace.
fn swap(view: &View, keyspace: &str, moves: &Moves) -> Swap {
    let key = keys::moves_key(keyspace);
    let compare = vec![(key.clone(), view.version(&key))];
    Swap { compare, put: vec![(key, keys::encode_moves(moves))] }
}

/// Whether all members of these groups that are known run one version: what a newer one writes into
/// its log an older one cannot read.
fn one_version<'a>(view: &View, groups: impl Iterator<Item = &'a GroupId>) -> Result<(), Error> {
    let mut known: Option<&str> = None;
    for group in groups {
        let members = view.groups.get(group).into_iter().flat_map(|record| &record.members);
        for node in members.filter_map(|member| view.nodes.get(&member.id)) {
            let (version, group) = (node.make.version.as_str(), group.as_str().to_owned());
            let one = *known.get_or_insert(version);
            if one != version {
                let (one, other) = (one.to_owned(), version.to_owned());
                return Err(Error::Mixed { group, one, other });
            }
        }
    }
    Ok(())
}

/// Moves the slots from `first` to `last` to `target`: one move for each owner, and for each
/// [`SLOTS_MAX`] slots. Slots that `target` owns already stay as they are.
///
/// # Errors
/// [`Error`]: nothing is begun.
pub fn begin(
    view: &View,
    keyspace: &str,
    (first, last): (Slot, Slot),
    target: &GroupId,
) -> Result<(Swap, Vec<MoveId>), Error> {
    let owners = view.slots.get(keyspace);
    let owners = owners.ok_or_else(|| Error::NoKeyspace { keyspace: keyspace.to_owned() })?;
    if !view.groups.contains_key(target) {
        return Err(Error::NoGroup { group: target.as_str().to_owned() });
    }
    if keys::keyspace_of(target) != Some(keyspace) {
        return Err(Error::Foreign { group: target.as_str().to_owned() });
    }
    let refused = |(first, last): (Slot, Slot), why| {
        let (first, last) = (first.get(), last.get());
        Error::Refused { first, last, why }
    };
    if last < first {
        let (a, b) = (first.get(), last.get());
        return Err(refused((first, last), Refused::Range { first: a, last: b }));
    }
    let (mut moves, mut begun) = (moves_of(view, keyspace), Vec::new());
    let mut parties = BTreeSet::from([target]);
    let mut at = first;
    loop {
        let owner = owners.owner(at).ok_or(Error::NoOwner { slot: at.get() })?;
        let mut end = at;
        let more = |end: Slot| end < last && end.get() - at.get() + 1 < SLOTS_MAX;
        while more(end) && owners.owner(after(end)) == Some(owner) {
            end = after(end);
        }
        if owner != target {
            parties.insert(owner);
            let added = moves.begin((at, end), owner, target);
            begun.push(added.map_err(|why| refused((at, end), why))?);
        }
        if end == last {
            break;
        }
        at = after(end);
    }
    if begun.is_empty() {
        return Err(refused((first, last), Refused::Same));
    }
    one_version(view, parties.into_iter())?;
    let mut swap = swap(view, keyspace, &moves);
    // Whoever owns them now is the source.
    let slots = keys::slots_key(keyspace);
    swap.compare.push((slots.clone(), view.version(&slots)));
    Ok((swap, begun))
}

/// The same asked for by a person, at `unix_ms`: the planner leaves these slots alone for a while.
///
/// # Errors
/// [`Error`]: nothing is begun.
pub fn begin_by_hand(
    view: &View,
    keyspace: &str,
    slots: (Slot, Slot),
    target: &GroupId,
    unix_ms: u64,
) -> Result<(Swap, Vec<MoveId>), Error> {
    let (swap, begun) = begin(view, keyspace, slots, target)?;
    let swap = swap.also(keyspace, |moves| moves.touched(slots, unix_ms, false));
    Ok((swap, begun))
}

fn after(slot: Slot) -> Slot {
    Slot::try_from(slot.get() + 1).expect("another one follows")
}

/// The slots' owner changes: only while both groups' records have these epochs. `None` if that is
/// not so in what was read.
#[must_use]
pub fn switch(view: &View, it: &Move, source: Epoch, target: Epoch) -> Option<Swap> {
    let keyspace = keys::keyspace_of(&it.source)?;
    let (mut moves, owners) = (view.moves.get(keyspace)?.clone(), view.slots.get(keyspace)?);
    let slots = keys::slots_key(keyspace);
    let from_source = it.slots().all(|slot| owners.owner(slot) == Some(&it.source));
    if !from_source && !broken(Mutant::MovesTwice) || !moves.switch(it.id) {
        return None;
    }
    let mut swap = swap(view, keyspace, &moves);
    swap.compare.push((slots.clone(), view.version(&slots)));
    for (group, epoch) in [(&it.source, source), (&it.target, target)] {
        if broken(Mutant::MovesWithoutEpoch) {
            continue;
        }
        view.groups.get(group).filter(|record| record.epoch == epoch)?;
        let key = keys::group_key(group);
        swap.compare.push((key.clone(), view.version(&key)));
    }
    swap.put.push((slots, owners.with((it.first, it.last), &it.target).encode()));
    Some(swap)
}

/// The move begins anew under another number.
#[must_use]
pub fn renew(view: &View, keyspace: &str, id: MoveId) -> Option<Swap> {
    let mut moves = moves_of(view, keyspace);
    moves.renew(id).then(|| swap(view, keyspace, &moves))
}

/// Nothing is left of a move that has ended.
#[must_use]
pub fn forget(view: &View, keyspace: &str, id: MoveId) -> Option<Swap> {
    let mut moves = moves_of(view, keyspace);
    moves.forget(id).then(|| swap(view, keyspace, &moves))
}

/// The sources go on to own the slots of these moves.
///
/// # Errors
/// [`Error::NoMove`] if one of them has ended.
pub fn cancel(view: &View, keyspace: &str, ids: &[MoveId]) -> Result<Swap, Error> {
    let mut moves = moves_of(view, keyspace);
    for id in ids {
        if !moves.abort(*id) {
            return Err(Error::NoMove { id: *id, keyspace: keyspace.to_owned() });
        }
    }
    Ok(swap(view, keyspace, &moves))
}

/// The same asked for by a person, at `unix_ms`: the planner leaves their slots alone for a while.
///
/// # Errors
/// [`Error::NoMove`] if one of them has ended.
pub fn cancel_by_hand(
    view: &View,
    keyspace: &str,
    ids: &[MoveId],
    unix_ms: u64,
) -> Result<Swap, Error> {
    let swap = cancel(view, keyspace, ids)?;
    Ok(swap.also(keyspace, |moves| ids.iter().for_each(|id| moves.cancelled(*id, unix_ms))))
}

/// The planner begins nothing in this keyspace until it is told to go on, which forgets what people
/// have done, with masters, too.
#[must_use]
pub fn pause(view: &View, keyspace: &str, paused: bool) -> Swap {
    let mut moves = moves_of(view, keyspace);
    moves.pause(paused);
    let mut swap = swap(view, keyspace, &moves);
    let pins = view.pins.keys().filter(|group| keys::keyspace_of(group) == Some(keyspace));
    for group in pins.filter(|_| !paused) {
        swap.put.push((keys::pin_key(group), keys::encode_pin(&Pin::default())));
    }
    swap
}
