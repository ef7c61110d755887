//! Replays a batch: on replicas, on learners and at a restart.

mod ahead;
mod changed;
mod changes;
mod streams;
mod together;

pub(crate) use changes::effects_about;
pub use changes::{Change, changes_of};
pub use together::Mark;

use crate::effects::{Op, Reader};
use crate::hidden::OnSlots;
use crate::keyspace::{At, Keyspace};
use crate::snapshot::{Portion, Touch};
use crate::table::Place;
use crate::value::Collection;
use crate::value::hash::Hash;
use crate::value::list::{List, Side};
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use cairn_logic::ids::{Offset, SLOTS};
use cairn_logic::moves::MoveId;
use std::ops::RangeInclusive;

/// A batch that cannot be applied. The keyspace is then of no use any more: the caller must stop,
/// loudly, and build it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes that no version of this program writes.
    #[error("malformed effects in entry {offset}")]
    Malformed {
        /// The entry.
        offset: Offset,
    },
    /// An effect of a newer program.
    #[error(
        "entry {offset} holds an effect of kind {code}, which a newer program wrote: this one is \
         too old for this log"
    )]
    Newer {
        /// The entry.
        offset: Offset,
        /// The effect's opcode.
        code: u8,
    },
    /// An effect that does not fit to the data here: the copies differ.
    #[error("effects of entry {offset} do not fit to the data")]
    Diverged {
        /// The entry.
        offset: Offset,
    },
}

pub(crate) enum Fault {
    Malformed,
    Newer(u8),
    Diverged,
}

/// Where an entry stands.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// In the log.
    Log,
    /// In a snapshot or a repair of these slots.
    Slots(&'a RangeInclusive<u16>),
    /// In what a move brings.
    Piece(MoveId),
}

impl Fault {
    pub(crate) fn at(self, offset: Offset) -> Error {
        match self {
            Fault::Malformed => Error::Malformed { offset },
            Fault::Newer(code) => Error::Newer { offset, code },
            Fault::Diverged => Error::Diverged { offset },
        }
    }
}

impl Keyspace {
    /// Applies the entries of a batch, whose first has the offset `first`; returns how many. A slot
    /// that was imported at a later entry passes over them.
    ///
    /// # Errors
    /// [`Error`]; entries before the one it names have been applied, that one perhaps in part.
    pub fn apply(&mut self, body: &[u8], first: Offset) -> Result<u32, Error> {
        let mut reader = Reader::new(body);
        let mut offset = first;
        let mut count = 0_u32;
        while !reader.is_empty() {
            if count.is_multiple_of(ahead::ENTRIES) {
                self.load_ahead(ahead::entries(reader.rest()), |_| true);
            }
            let applied = self.apply_entry(&mut reader, offset, Origin::Log);
            applied.map_err(|fault| fault.at(offset))?;
            count += 1;
            offset = offset.next();
        }
        self.forget_floors(offset);
        Ok(count)
    }

    /// Takes a portion that [`crate::Export`] wrote after entry `at`; its slots must be empty, or
    /// have been begun by the portion before it.
    ///
    /// # Errors
    /// [`Error`]: it was not written that way.
    pub fn import(&mut self, portion: &Portion, at: Offset) -> Result<(), Error> {
        let slots = portion.first..=portion.last;
        if portion.last >= SLOTS {
            return Err(Error::Malformed { offset: at });
        }
        let applied = self.apply_records(&portion.records, at, &slots);
        applied.map_err(|fault| fault.at(at))?;
        self.set_floors(slots, at);
        Ok(())
    }

    /// Applies what a snapshot or a repair has of some slots.
    pub(crate) fn apply_records(
        &mut self,
        records: &[u8],
        at: Offset,
        slots: &RangeInclusive<u16>,
    ) -> Result<(), Fault> {
        let mut reader = Reader::new(records);
        while !reader.is_empty() {
            self.apply_entry(&mut reader, at, Origin::Slots(slots))?;
        }
        Ok(())
    }

    pub(crate) fn apply_entry(
        &mut self,
        reader: &mut Reader<'_>,
        offset: Offset,
        origin: Origin<'_>,
    ) -> Result<(), Fault> {
        let entry = reader.text().filter(|entry| !entry.is_empty());
        let mut effects = Reader::new(entry.ok_or(Fault::Malformed)?);
        while !effects.is_empty() {
            self.apply_effect(&mut effects, offset, origin)?;
        }
        Ok(())
    }

    fn apply_effect(
        &mut self,
        effects: &mut Reader<'_>,
        offset: Offset,
        origin: Origin<'_>,
    ) -> Result<(), Fault> {
        let code = effects.byte().ok_or(Fault::Malformed)?;
        let op = Op::from_code(code).ok_or(Fault::Newer(code))?;
        if !op.is_on_key() {
            return self.apply_elsewhere(op, effects, offset, origin);
        }
        let key = effects.text().ok_or(Fault::Malformed)?;
        let at = self.locate(key);
        match origin {
            Origin::Slots(slots) if !slots.contains(&at.slot.get()) => {
                return Err(Fault::Malformed);
            }
            Origin::Log if self.holds(at.slot, offset) => return pass_over(op, effects),
            Origin::Piece(id) if self.holds(at.slot, offset) || !self.comes_by(at.slot, id) => {
                return pass_over(op, effects);
            }
            Origin::Slots(_) | Origin::Log | Origin::Piece(_) => {}
        }
        let place = self.find(at, key);
        let mut target = Target { ks: self, at, key, place };
        match op {
            Op::Set | Op::SetExpiring | Op::SetKeeping | Op::Append | Op::SetRange => {
                target.text(op, effects)
            }
            Op::Delete | Op::ExpireAt | Op::Persist => target.key(op, effects),
            Op::PopFront | Op::PopBack => target.pop(op, effects),
            Op::ListSet | Op::ListInsert => target.list_item(op, effects),
            Op::ListRemove => target.list_remove(effects),
            Op::Rename | Op::Copy => target.elsewhere(op, effects),
            Op::SortedRemoveRanks => target.remove_ranks(effects),
            Op::StreamAdd
            | Op::StreamDelete
            | Op::StreamCut
            | Op::StreamHead
            | Op::StreamBlock
            | Op::StreamGroup
            | Op::StreamGroupDrop
            | Op::StreamConsumer
            | Op::StreamConsumerDrop
            | Op::StreamPending
            | Op::StreamAcknowledge => target.stream(op, effects),
            Op::Restore => target.restore(effects),
            _ => target.items(op, effects),
        }?;
        self.mark_written(at.slot, offset);
        Ok(())
    }

    /// Applies an effect that is not on a key.
    fn apply_elsewhere(
        &mut self,
        op: Op,
        effects: &mut Reader<'_>,
        offset: Offset,
        origin: Origin<'_>,
    ) -> Result<(), Fault> {
        match (op, origin) {
            (Op::Library | Op::LibraryDrop, _) => self.apply_library(op, effects, offset, origin),
            (Op::OnSlots, _) => self.apply_on_slots(effects, offset, origin),
            (Op::Flush, Origin::Log) => {
                self.clear(offset);
                Ok(())
            }
            (Op::Check, Origin::Log) => self.apply_check(effects, offset),
            (Op::Repair, Origin::Log) => self.apply_repair(effects, offset),
            (Op::Piece, Origin::Log) => {
                let id = MoveId(effects.varint().ok_or(Fault::Malformed)?);
                self.apply_piece(id, effects.text().ok_or(Fault::Malformed)?, offset)
            }
            _ => Err(Fault::Malformed),
        }
    }
}

/// The keys of a portion in their order; one that is written in pieces may come several times.
///
/// # Errors
/// [`Error`]; keys before it have been visited.
pub fn keys_of(records: &[u8], mut visit: impl FnMut(&[u8])) -> Result<(), Error> {
    let malformed = || Error::Malformed { offset: Offset::ZERO };
    let mut reader = Reader::new(records);
    while !reader.is_empty() {
        let mut effects = Reader::new(reader.text().ok_or_else(malformed)?);
        let mut last: Option<&[u8]> = None;
        while !effects.is_empty() {
            let op = effects.byte().and_then(Op::from_code).ok_or_else(malformed)?;
            if op == Op::OnSlots {
                OnSlots::read(&mut effects).ok_or_else(malformed)?;
                continue;
            }
            let key = effects.text().ok_or_else(malformed)?;
            pass_over(op, &mut effects).map_err(|_| malformed())?;
            if !op.is_on_key() {
                continue;
            }
            if last.replace(key) != Some(key) {
                visit(key);
            }
        }
    }
    Ok(())
}

/// Reads the arguments of an effect on a key, without the key.
fn pass_over(op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
    let mut items = |texts: usize, score: bool| {
        (0..effects.count()?).try_for_each(|_| {
            if score {
                effects.score()?;
            }
            (0..texts).try_for_each(|_| effects.text().map(drop))
        })
    };
    let passed = match op {
        Op::HashSet => items(2, false),
        Op::SortedAdd => items(1, true),
        Op::HashDelete
        | Op::PushFront
        | Op::PushBack
        | Op::SetAdd
        | Op::SetRemove
        | Op::SortedRemove => items(1, false),
        Op::Set | Op::SetKeeping | Op::Append => effects.text().map(drop),
        Op::SetExpiring => effects.text().and_then(|_| effects.varint()).map(drop),
        Op::SetRange | Op::ListSet | Op::ListInsert | Op::Restore => {
            effects.varint().and_then(|_| effects.text()).map(drop)
        }
        Op::ListRemove => effects
            .count()
            .and_then(|count| (0..count).try_for_each(|_| effects.varint().map(drop))),
        Op::Rename | Op::Copy | Op::Library => effects.text().map(drop),
        Op::ExpireAt | Op::PopFront | Op::PopBack => effects.varint().map(drop),
        Op::SortedRemoveRanks => effects.varint().and_then(|_| effects.varint()).map(drop),
        Op::Delete | Op::Persist | Op::Flush | Op::LibraryDrop => Some(()),
        Op::Check | Op::Repair | Op::OnSlots | Op::Piece => None,
        Op::StreamAdd
        | Op::StreamDelete
        | Op::StreamCut
        | Op::StreamHead
        | Op::StreamBlock
        | Op::StreamGroup
        | Op::StreamGroupDrop
        | Op::StreamConsumer
        | Op::StreamConsumerDrop
        | Op::StreamPending
        | Op::StreamAcknowledge => effects.pass_over_stream(op),
    };
    passed.ok_or(Fault::Malformed)
}

struct Target<'a> {
    ks: &'a mut Keyspace,
    at: At,
    key: &'a [u8],
    place: Option<Place>,
}

impl Target<'_> {
    fn put_text(&mut self, text: &[u8], expiry: Option<u64>) {
        self.ks.put_text(self.at, self.key, self.place, text, expiry);
    }

    fn text(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let from = match op {
            Op::SetRange => Some(effects.varint().ok_or(Fault::Malformed)?),
            _ => None,
        };
        let text = effects.text().ok_or(Fault::Malformed)?;
        match op {
            Op::Set => self.put_text(text, None),
            Op::SetExpiring => {
                let expiry = effects.varint().ok_or(Fault::Malformed)?;
                self.put_text(text, Some(expiry));
            }
            Op::SetKeeping => {
                let expiry = self.place.and_then(|place| self.ks.expiry(self.at, place));
                self.put_text(text, expiry);
            }
            _ => return self.piece(from, text),
        }
        Ok(())
    }

    fn piece(&mut self, from: Option<u64>, piece: &[u8]) -> Result<(), Fault> {
        /// No value is larger; a wild position must not take all memory.
        const VALUE_BYTES_MAX: usize = 1 << 31;
        let old = match self.place {
            None => 0,
            Some(place) => self.ks.text(self.at, place).ok_or(Fault::Diverged)?.len(),
        };
        let from = match from {
            None => old,
            Some(from) => usize::try_from(from).map_err(|_| Fault::Malformed)?,
        };
        let end = from.checked_add(piece.len()).filter(|end| *end <= VALUE_BYTES_MAX);
        let end = end.ok_or(Fault::Malformed)?;
        if self.place.is_none() {
            self.put_text(b"", None);
            self.place = self.ks.find(self.at, self.key);
        }
        let place = self.place.ok_or(Fault::Diverged)?;
        let text = self.ks.resize_text(self.at, self.key, place, old.max(end), from..end);
        text.copy_from_slice(piece);
        Ok(())
    }

    fn key(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let expiry = match op {
            Op::ExpireAt => Some(effects.varint().ok_or(Fault::Malformed)?),
            _ => None,
        };
        let place = self.place.ok_or(Fault::Diverged)?;
        match op {
            Op::Delete => self.ks.remove(self.at, place),
            _ => self.ks.put_expiry(self.at, place, expiry),
        }
        Ok(())
    }

    /// The collection under the key; a new one if nothing is there and `op` adds.
    fn collection<C: Collection>(&mut self, adds: bool) -> Result<Place, Fault> {
        match self.place {
            Some(place) => match self.ks.collection::<C>(self.at, place) {
                Some(_) => Ok(place),
                None => Err(Fault::Diverged),
            },
            None if adds => Ok(self.ks.put_collection::<C>(self.at, self.key)),
            None => Err(Fault::Diverged),
        }
    }

    fn pop(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let count = effects.varint().ok_or(Fault::Malformed)?;
        let side = if op == Op::PopFront { Side::Front } else { Side::Back };
        let place = self.collection::<List>(false)?;
        self.ks.update(self.at, place, |list: &mut List, touch| {
            if count > list.len() as u64 {
                return Err(Fault::Diverged);
            }
            (0..count).for_each(|_| {
                list.pop(touch, side, |_| {});
            });
            Ok(())
        })
    }

    fn remove_ranks(&mut self, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let ranks = effects.varint().zip(effects.varint()).ok_or(Fault::Malformed)?;
        let place = self.collection::<Sorted>(false)?;
        self.ks.update(self.at, place, |sorted: &mut Sorted, touch| {
            let end = ranks.0.checked_add(ranks.1).filter(|end| *end <= sorted.len() as u64);
            end.ok_or(Fault::Diverged)?;
            sorted.remove_ranks(touch, ranks.0 as usize, ranks.1 as usize);
            Ok(())
        })
    }

    fn items(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let count = effects.count().filter(|count| *count > 0).ok_or(Fault::Malformed)?;
        let items = Items { op, count };
        match op {
            Op::HashSet | Op::HashDelete => {
                let place = self.collection::<Hash>(op == Op::HashSet)?;
                self.ks.update(self.at, place, |hash, touch| items.hash(hash, touch, effects))
            }
            Op::PushFront | Op::PushBack => {
                let place = self.collection::<List>(true)?;
                self.ks.update(self.at, place, |list, touch| items.list(list, touch, effects))
            }
            Op::SetAdd | Op::SetRemove => {
                let place = self.collection::<Set>(op == Op::SetAdd)?;
                self.ks.update(self.at, place, |set, touch| items.set(set, touch, effects))
            }
            Op::SortedAdd | Op::SortedRemove => {
                let place = self.collection::<Sorted>(op == Op::SortedAdd)?;
                self.ks.update(self.at, place, |it, touch| items.sorted(it, touch, effects))
            }
            _ => Err(Fault::Malformed),
        }
    }
}

/// An effect with items, about to be read.
struct Items {
    op: Op,
    count: usize,
}

impl Items {
    fn each(
        &self,
        effects: &mut Reader<'_>,
        mut apply: impl FnMut(&mut Reader<'_>) -> Option<bool>,
    ) -> Result<(), Fault> {
        for _ in 0..self.count {
            match apply(effects) {
                None => return Err(Fault::Malformed),
                Some(false) => return Err(Fault::Diverged),
                Some(true) => {}
            }
        }
        Ok(())
    }

    fn hash(
        &self,
        hash: &mut Hash,
        touch: &mut Touch<'_>,
        effects: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        self.each(effects, |effects| {
            let field = effects.text()?;
            if self.op == Op::HashDelete {
                return Some(hash.remove(touch, field));
            }
            hash.set(touch, field, effects.text()?);
            Some(true)
        })
    }

    fn list(
        &self,
        list: &mut List,
        touch: &mut Touch<'_>,
        effects: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        let side = if self.op == Op::PushFront { Side::Front } else { Side::Back };
        self.each(effects, |effects| {
            list.push(touch, side, effects.text()?);
            Some(true)
        })
    }

    fn set(
        &self,
        set: &mut Set,
        touch: &mut Touch<'_>,
        effects: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        self.each(effects, |effects| {
            let member = effects.text()?;
            Some(match self.op {
                Op::SetRemove => set.remove(touch, member),
                _ => set.add(touch, member),
            })
        })
    }

    fn sorted(
        &self,
        sorted: &mut Sorted,
        touch: &mut Touch<'_>,
        effects: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        self.each(effects, |effects| {
            if self.op == Op::SortedRemove {
                return Some(sorted.remove(touch, effects.text()?).is_some());
            }
            let score = effects.score()?;
            sorted.set(touch, effects.text()?, score);
            Some(true)
        })
    }
}
