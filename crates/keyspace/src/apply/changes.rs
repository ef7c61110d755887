//! Which keys the entries of a batch have changed, without applying them.

use super::{Error, pass_over};
use crate::effects::{EffectLog, Op, Reader};
use crate::hidden::{OnSlots, Verb};
use crate::slot::slot_of;
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::moves::MoveId;
use std::ops::RangeInclusive;

/// What an effect has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// This key.
    Key(&'a [u8]),
    /// Perhaps every key.
    All,
}

/// What the entries in `body` have changed, in their order; a key may come several times.
///
/// # Errors
/// [`Error::Malformed`]; changes before it have been visited.
pub fn changes_of(body: &[u8], mut visit: impl FnMut(Change<'_>)) -> Result<(), Error> {
    let malformed = || Error::Malformed { offset: Offset::ZERO };
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let effects = Reader::new(reader.text().ok_or_else(malformed)?);
        entry(effects, &mut visit).ok_or_else(malformed)?;
    }
    Ok(())
}

fn entry(mut effects: Reader<'_>, visit: &mut impl FnMut(Change<'_>)) -> Option<()> {
    while !effects.is_empty() {
        match Op::from_code(effects.byte()?)? {
            // It changes nothing where copies are the same, and stands alone.
            Op::Check => return Some(()),
            Op::Repair => {
                visit(Change::All);
                return Some(());
            }
            Op::Flush => visit(Change::All),
            Op::OnSlots => {
                OnSlots::read(&mut effects)?;
                visit(Change::All);
            }
            // Nobody sees what is being brought.
            Op::Piece => {
                effects.varint()?;
                effects.text()?;
            }
            Op::Rename | Op::Copy => {
                visit(Change::Key(effects.text()?));
                visit(Change::Key(effects.text()?));
            }
            op @ (Op::Library | Op::LibraryDrop) => {
                effects.text()?;
                pass_over(op, &mut effects).ok()?;
            }
            op => {
                visit(Change::Key(effects.text()?));
                pass_over(op, &mut effects).ok()?;
            }
        }
    }
    Some(())
}

/// Adds the effects of an entry that are about keys of these slots to the one being written.
pub(crate) fn effects_about(
    entry: &[u8],
    slots: &RangeInclusive<u16>,
    about: &mut EffectLog,
) -> Option<()> {
    let mut effects = Reader::new(entry);
    while !effects.is_empty() {
        let op = Op::from_code(effects.byte()?)?;
        let begin = effects.rest();
        match op {
            // They change nothing at a master, and stand alone.
            Op::Check | Op::Repair => return Some(()),
            Op::Flush => {
                let slot = |number: &u16| Slot::try_from(*number).ok();
                let (first, last) = (slot(slots.start())?, slot(slots.end())?);
                about.on_slots(OnSlots { verb: Verb::Empty, id: MoveId(0), first, last });
            }
            // Of other slots: none is in two moves.
            Op::OnSlots => {
                OnSlots::read(&mut effects)?;
            }
            Op::Piece => {
                effects.varint()?;
                effects.text()?;
            }
            // Each group has its own.
            Op::Library | Op::LibraryDrop => {
                effects.text()?;
                pass_over(op, &mut effects).ok()?;
            }
            op => {
                let slot = slot_of(effects.text()?).get();
                pass_over(op, &mut effects).ok()?;
                if slots.contains(&slot) {
                    let len = begin.len() - effects.rest().len();
                    about.copy_effect(op, &begin[..len]);
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::{Ctx, EffectLog, Keyspace};
    use cairn_resp::{ArgsBuf, ReplyBuf};

    /// What commands, one a line, log.
    fn body(lines: &str) -> Vec<u8> {
        let (mut keyspace, mut log) = (Keyspace::new(1), EffectLog::new(Offset(1)));
        let (ctx, mut reply) =
            (Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 20 }, ReplyBuf::default());
        for line in lines.lines() {
            let args: ArgsBuf = line.split_whitespace().collect();
            let command = lookup(args.as_args().name()).unwrap();
            keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
        }
        log.take().unwrap().body
    }

    fn changes(body: &[u8]) -> Result<String, Error> {
        let mut text = String::new();
        changes_of(body, |change| match change {
            Change::Key(key) => text.push_str(&format!("{} ", String::from_utf8_lossy(key))),
            Change::All => text.push_str("* "),
        })?;
        Ok(text)
    }

    const LINES: &str = "SET {a}1 x\nRPUSH {a}2 x y\nLPOP {a}3\nRENAME {a}2 {a}4\n\
        SUNIONSTORE {a}5 {a}1x\nDEL {a}1 {a}9\nFLUSHALL\nZADD z 1 m 2 n";

    #[test]
    fn what_was_changed_is_told_in_order_and_what_was_only_named_is_not() {
        assert_eq!(changes(&body(LINES)), Ok("{a}1 {a}2 {a}2 {a}4 {a}1 * z ".into()));
    }

    #[test]
    fn bytes_that_end_too_early_are_refused() {
        let body = body(LINES);
        let whole = changes(&body).unwrap();
        for end in 0..body.len() {
            match changes(&body[..end]) {
                Ok(some) => assert!(whole.starts_with(&some) && some.len() < whole.len()),
                Err(error) => assert!(matches!(error, Error::Malformed { .. })),
            }
        }
    }
}
