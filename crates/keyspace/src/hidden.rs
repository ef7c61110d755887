//! Slots that are shown to nobody: what a move is bringing here, and what one has taken away.
//!
//! What is brought lies in the slot's own table, so that snapshots, checks and digests have it as
//! they have everything. Each hidden slot is marked with the number of its move: what is meant for
//! another one passes over it, however late it comes (docs/replication.md §10).

use crate::apply::{Error, Fault, Origin};
use crate::effects::{EffectLog, Reader};
use crate::keyspace::Keyspace;
use cairn_logic::ids::{Offset, SLOTS, Slot};
use cairn_logic::moves::{Mark, Marks, MoveId};
use cairn_logic::mutant::{Mutant, broken};
use std::ops::RangeInclusive;

/// What an entry says of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// They are emptied and hidden: a move brings them.
    Take,
    /// What that move has brought is whole: they are shown.
    Show,
    /// It never will be: what it has brought is deleted.
    DropImport,
    /// A move has taken them away: they are emptied and hidden.
    DropSource,
    /// All their keys are deleted. Only in what a move brings.
    Empty,
    /// They are being brought. Only in snapshots.
    Coming,
    /// They were taken away. Only in snapshots.
    Gone,
}

impl Verb {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Take => 1,
            Self::Show => 2,
            Self::DropImport => 3,
            Self::DropSource => 4,
            Self::Empty => 5,
            Self::Coming => 6,
            Self::Gone => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let all = [
            Self::Take,
            Self::Show,
            Self::DropImport,
            Self::DropSource,
            Self::Empty,
            Self::Coming,
            Self::Gone,
        ];
        all.into_iter().find(|verb| verb.code() == code)
    }
}

/// An effect on slots, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnSlots {
    pub verb: Verb,
    pub id: MoveId,
    pub first: Slot,
    pub last: Slot,
}

impl OnSlots {
    /// Reads it, behind its opcode.
    pub fn read(effects: &mut Reader<'_>) -> Option<Self> {
        let verb = Verb::from_code(effects.byte()?)?;
        let id = MoveId(effects.varint()?);
        let mut slot =
            || u16::try_from(effects.varint()?).ok().and_then(|number| Slot::try_from(number).ok());
        let (first, last) = (slot()?, slot()?);
        (first <= last).then_some(Self { verb, id, first, last })
    }
}

/// Which slots are hidden.
#[derive(Default)]
pub(crate) struct Hidden {
    marks: Marks,
    /// The same, found at once; empty while nothing is hidden.
    bits: Vec<u64>,
    /// How many of them are being brought.
    coming: usize,
    /// Slots of which nobody is to take anything away.
    still: Option<(Slot, Slot)>,
}

impl Hidden {
    #[inline]
    fn has(&self, slot: Slot) -> bool {
        let word = self.bits.get(usize::from(slot.get() / 64));
        word.is_some_and(|word| word >> (slot.get() % 64) & 1 == 1)
    }

    pub fn into_marks(self) -> Marks {
        self.marks
    }

    fn set(&mut self, slot: Slot, mark: Option<Mark>) {
        self.bits.resize(usize::from(SLOTS / 64), 0);
        let (word, bit) = (usize::from(slot.get() / 64), 1_u64 << (slot.get() % 64));
        let before = match mark {
            Some(mark) => {
                self.bits[word] |= bit;
                self.coming += usize::from(!mark.gone);
                self.marks.insert(slot, mark)
            }
            None => {
                self.bits[word] &= !bit;
                self.marks.remove(&slot)
            }
        };
        self.coming -= usize::from(before.is_some_and(|mark| !mark.gone));
        if self.marks.is_empty() {
            self.bits = Vec::new();
        }
    }
}

impl Keyspace {
    /// Whether a slot is shown to nobody.
    #[must_use]
    #[inline]
    pub fn is_hidden(&self, slot: Slot) -> bool {
        self.hidden.has(slot) && !broken(Mutant::ShowsHalf)
    }

    /// All slots that are, and by which moves.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.hidden.marks
    }

    /// Whether some slots are being brought.
    #[must_use]
    pub fn is_bringing(&self) -> bool {
        self.hidden.coming > 0
    }

    /// The keys in slots that are shown.
    #[must_use]
    pub fn shown_len(&self) -> usize {
        if !self.is_bringing() {
            // What was taken away is empty.
            return self.len();
        }
        let hidden = self.hidden.marks.keys().map(|slot| self.slot_len(*slot)).sum::<usize>();
        self.len() - hidden
    }

    /// Whether slots may be brought, which empties them: they have nothing that is this group's,
    /// whatever the directory says.
    #[must_use]
    pub fn may_take(&self, (first, last): (Slot, Slot)) -> bool {
        let has = |slot: Slot| self.slot_len(slot) > 0 && !self.marks().contains_key(&slot);
        !first.through(last).any(has)
    }

    /// Whether slots may be carried away: each of them is this group's and whole.
    #[must_use]
    pub fn may_carry(&self, (first, last): (Slot, Slot)) -> bool {
        self.marks().range(first..=last).next().is_none()
    }

    /// From now on nothing in these slots expires or makes room by itself; `None`: in all of them
    /// again.
    pub fn keep_still(&mut self, slots: Option<(Slot, Slot)>) {
        self.hidden.still = slots;
    }

    /// Whether nothing in a slot expires or makes room by itself.
    #[inline]
    pub(crate) fn rests(&self, slot: Slot) -> bool {
        let still = self.hidden.still;
        self.is_hidden(slot)
            || self.lent() == Some(slot)
            || still.is_some_and(|(first, last)| first <= slot && slot <= last)
    }

    /// Writes what becomes of slots into the log, as a master.
    pub fn write_slots(
        &mut self,
        verb: Verb,
        id: MoveId,
        (first, last): (Slot, Slot),
        log: &mut EffectLog,
    ) {
        let on = OnSlots { verb, id, first, last };
        let offset = log.next_offset();
        log.on_slots(on);
        self.on_slots(on, offset);
        log.command_done();
    }

    /// Takes what a move has brought, as the target's master, and writes it into the log.
    ///
    /// # Errors
    /// [`Error`]: it does not fit to what came before. Nothing is logged, and what this move has
    /// brought is of no use any more: drop it.
    pub fn take_brought(
        &mut self,
        id: MoveId,
        records: &[u8],
        log: &mut EffectLog,
    ) -> Result<(), Error> {
        let offset = log.next_offset();
        self.apply_piece(id, records, offset).map_err(|fault| fault.at(offset))?;
        log.piece(id, records);
        log.command_done();
        Ok(())
    }

    pub(crate) fn apply_piece(
        &mut self,
        id: MoveId,
        records: &[u8],
        offset: Offset,
    ) -> Result<(), Fault> {
        let mut reader = Reader::new(records);
        while !reader.is_empty() {
            self.apply_entry(&mut reader, offset, Origin::Piece(id))?;
        }
        Ok(())
    }

    pub(crate) fn apply_on_slots(
        &mut self,
        effects: &mut Reader<'_>,
        offset: Offset,
        origin: Origin<'_>,
    ) -> Result<(), Fault> {
        let on = OnSlots::read(effects).ok_or(Fault::Malformed)?;
        match origin {
            Origin::Log => self.on_slots(on, offset),
            Origin::Slots(slots) => self.import_mark(on, slots)?,
            Origin::Piece(id) if on.verb == Verb::Empty => {
                self.on_slots(OnSlots { id, ..on }, offset);
            }
            // What a move brings hides and shows nothing.
            Origin::Piece(_) if matches!(on.verb, Verb::Coming | Verb::Gone) => {}
            Origin::Piece(_) => return Err(Fault::Malformed),
        }
        Ok(())
    }

    /// Whether a slot is being brought by this move.
    pub(crate) fn comes_by(&self, slot: Slot, id: MoveId) -> bool {
        self.hidden.marks.get(&slot) == Some(&Mark { id, gone: false })
    }

    /// Applies an effect on slots that stands in the log, or in what a move brings.
    pub(crate) fn on_slots(&mut self, on: OnSlots, offset: Offset) {
        for slot in on.first.through(on.last) {
            if self.holds(slot, offset) {
                continue;
            }
            let comes = self.comes_by(slot, on.id);
            let mark = |gone| Some(Mark { id: on.id, gone });
            match on.verb {
                Verb::Take => {
                    self.clear_slot(slot);
                    self.hidden.set(slot, mark(false));
                }
                Verb::DropSource => {
                    self.clear_slot(slot);
                    self.hidden.set(slot, mark(true));
                }
                Verb::DropImport if comes => {
                    self.clear_slot(slot);
                    self.hidden.set(slot, mark(true));
                }
                Verb::Show if comes => self.hidden.set(slot, None),
                Verb::Empty if comes => self.clear_slot(slot),
                _ => continue,
            }
            self.mark_written(slot, offset);
        }
    }

    /// Takes the mark that a snapshot has of a slot.
    pub(crate) fn import_mark(
        &mut self,
        on: OnSlots,
        slots: &RangeInclusive<u16>,
    ) -> Result<(), Fault> {
        let gone = match on.verb {
            Verb::Coming => false,
            Verb::Gone => true,
            _ => return Err(Fault::Malformed),
        };
        if on.first != on.last || !slots.contains(&on.first.get()) {
            return Err(Fault::Malformed);
        }
        self.set_mark(on.first, Mark { id: on.id, gone });
        Ok(())
    }

    pub(crate) fn set_mark(&mut self, slot: Slot, mark: Mark) {
        self.hidden.set(slot, Some(mark));
    }

    /// Deletes what moves are bringing, for whoever wants only what is shown.
    pub fn forget_hidden(&mut self) {
        let slots: Vec<Slot> = self.hidden.marks.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.clear_slot(slot));
    }
}

/// The entries of a batch as far as they are about keys of these slots, for the target of a move;
/// empty if none is.
///
/// # Errors
/// [`Error::Malformed`]: no version of this program writes that.
pub fn entries_about(body: &[u8], slots: &RangeInclusive<u16>) -> Result<Vec<u8>, Error> {
    let mut about = EffectLog::new(Offset(1));
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let entry = reader.text().ok_or(Error::Malformed { offset: Offset::ZERO })?;
        let kept = crate::apply::effects_about(entry, slots, &mut about);
        kept.ok_or(Error::Malformed { offset: Offset::ZERO })?;
        about.command_done();
    }
    Ok(about.take().map_or_else(Vec::new, |entries| entries.body))
}
