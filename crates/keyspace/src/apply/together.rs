//! Batches that wait together are applied by several threads: each reads all of them and applies
//! what concerns its slots. Effects on several slots that do not concern each other may be applied
//! in any order, since nobody looks meanwhile; what concerns all slots is applied by the owner of
//! the keyspace, when all lanes have come there.

use super::ahead::{self, entries};
use super::{Error, Fault, Origin, pass_over};
use crate::effects::{Op, Reader};
use crate::keyspace::{Keyspace, Lane};
use crate::mend::head;
use crate::slot::slot_of;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Offset, Slot};

/// After so many effects who applies them may pause: at most some hundred microseconds of work.
const PAUSE_EVERY: u32 = 256;

/// How far batches have been applied: up to an effect of an entry of one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    batch: usize,
    /// Entries of the batch before it.
    entries: u32,
    /// Where the entry begins in the batch, and the effect in the entry.
    entry: usize,
    effect: usize,
}

/// Whether it goes on behind what was read.
#[derive(Clone, Copy)]
enum Step {
    Next,
    Stop,
}

impl Keyspace {
    /// Applies batches that follow each other and what was applied before. `work` has each of
    /// `lanes` lanes do [`Lane::apply`] from the mark, and gives back what one of them said, or
    /// the first error. From an effect on that all lanes have stopped at, `own` effects (1 at
    /// least) are applied here before slots are lent again.
    ///
    /// # Errors
    /// As [`Keyspace::apply`]; what has been applied is not known then.
    pub fn apply_together(
        &mut self,
        batches: &[Batch],
        (lanes, own): (usize, u32),
        work: impl Fn(&mut [Lane], Mark) -> Result<Mark, Error>,
    ) -> Result<(), Error> {
        let mut mark = Mark::default();
        while mark.batch < batches.len() {
            mark = match self.lend(lanes) {
                Some(mut lent) => {
                    let reached = work(&mut lent, mark);
                    self.take_back(lent);
                    self.apply_from(batches, reached?, own.max(1))?
                }
                None => self.apply_from(batches, mark, u32::MAX)?,
            };
        }
        if let Some(last) = batches.last() {
            self.forget_floors(last.head.last_offset().next());
        }
        Ok(())
    }

    /// So many effects from the mark on, if there are as many.
    fn apply_from(&mut self, batches: &[Batch], from: Mark, left: u32) -> Result<Mark, Error> {
        walk(batches, from, || {}, &mut Owner { keyspace: self, left })
    }
}

/// Who applies effects.
trait Applier {
    /// The keyspace that they go to.
    fn keyspace(&self) -> &Keyspace;

    /// Whether what happens in the slot is its concern.
    fn takes(&self, slot: Slot) -> bool;

    /// Reads an effect, or stops there.
    fn effect(&mut self, effects: &mut Reader<'_>, offset: Offset) -> Result<Step, Fault>;
}

/// The owner of all slots, for so many effects.
struct Owner<'a> {
    keyspace: &'a mut Keyspace,
    left: u32,
}

impl Applier for Owner<'_> {
    fn keyspace(&self) -> &Keyspace {
        self.keyspace
    }

    fn takes(&self, _: Slot) -> bool {
        true
    }

    fn effect(&mut self, effects: &mut Reader<'_>, offset: Offset) -> Result<Step, Fault> {
        self.keyspace.apply_effect(effects, offset, Origin::Log)?;
        self.left -= 1;
        Ok(if self.left == 0 { Step::Stop } else { Step::Next })
    }
}

impl Lane {
    /// Applies what concerns its slots from `from` on, up to the end or to an effect that concerns
    /// slots of several lanes; all lanes end there. Calls `pause` now and then.
    ///
    /// # Errors
    /// As [`Keyspace::apply`].
    pub fn apply(
        &mut self,
        batches: &[Batch],
        from: Mark,
        pause: impl FnMut(),
    ) -> Result<Mark, Error> {
        walk(batches, from, pause, self)
    }
}

impl Applier for Lane {
    fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    fn takes(&self, slot: Slot) -> bool {
        self.has(slot.get())
    }

    fn effect(&mut self, effects: &mut Reader<'_>, offset: Offset) -> Result<Step, Fault> {
        let mut ahead = *effects;
        let code = ahead.byte().ok_or(Fault::Malformed)?;
        let op = Op::from_code(code).ok_or(Fault::Newer(code))?;
        let (first, last) = match op {
            Op::Check | Op::Repair => {
                let (first, last) = head(&mut ahead).ok_or(Fault::Malformed)?.0.slots();
                (first.get(), last.get())
            }
            op if op.is_on_key() => {
                let slot = slot_of(ahead.text().ok_or(Fault::Malformed)?).get();
                (slot, slot)
            }
            // Marks of slots, too, are the owner's.
            _ => return Ok(Step::Stop),
        };
        if !self.some_has(first, last) {
            return Ok(Step::Stop);
        }
        if self.has(first) {
            self.keyspace.apply_effect(effects, offset, Origin::Log)?;
            if op == Op::Check {
                self.checked_at = offset;
            }
            return Ok(Step::Next);
        }
        match op {
            Op::Check => {}
            Op::Repair => drop(ahead.text().ok_or(Fault::Malformed)?),
            op => pass_over(op, &mut ahead)?,
        }
        *effects = ahead;
        Ok(Step::Next)
    }
}

/// Has `applier` read each effect from `from` on, with the offset of its entry, until it stops.
fn walk(
    batches: &[Batch],
    from: Mark,
    mut pause: impl FnMut(),
    applier: &mut impl Applier,
) -> Result<Mark, Error> {
    let (mut mark, mut begun, mut visited) = (from, 0_u32, 0_u32);
    while let Some(Batch { head, body }) = batches.get(mark.batch) {
        // The record of an epoch is nothing for a keyspace.
        let body: &[u8] = if head.opens_epoch { &[] } else { body };
        while mark.entry < body.len() {
            let offset = Offset(head.first.0 + u64::from(mark.entries));
            let malformed = Error::Malformed { offset };
            if begun.is_multiple_of(ahead::ENTRIES) {
                let coming = coming(batches, mark);
                applier.keyspace().load_ahead(coming, |slot| applier.takes(slot));
            }
            begun += 1;
            let mut entries = Reader::new(&body[mark.entry..]);
            let entry = entries.text().filter(|entry| !entry.is_empty()).ok_or(malformed)?;
            let mut effects = Reader::new(&entry[mark.effect..]);
            while !effects.is_empty() {
                let step =
                    applier.effect(&mut effects, offset).map_err(|fault| fault.at(offset))?;
                mark.effect = entry.len() - effects.len();
                if let Step::Stop = step {
                    return Ok(mark);
                }
                visited += 1;
                if visited.is_multiple_of(PAUSE_EVERY) {
                    pause();
                }
            }
            mark.entry = body.len() - entries.len();
            (mark.effect, mark.entries) = (0, mark.entries + 1);
        }
        if !head.opens_epoch && mark.entries != head.count {
            return Err(Error::Malformed { offset: head.first });
        }
        mark = Mark { batch: mark.batch + 1, ..Mark::default() };
    }
    Ok(mark)
}

/// The entries from the one that the mark is in on.
fn coming(batches: &[Batch], from: Mark) -> impl Iterator<Item = &[u8]> {
    let of_log = batches[from.batch..].iter().enumerate().filter(|(_, it)| !it.head.opens_epoch);
    of_log.flat_map(move |(nth, it)| entries(&it.body[if nth == 0 { from.entry } else { 0 }..]))
}
