//! A portion as commands that any client may send: how data move into another keyspace, whose
//! groups and slots may be others.

use crate::apply::Error;
mod streams;

use crate::effects::{Op, Reader};
use crate::hidden::OnSlots;
use cairn_logic::ids::Offset;

/// Fields, items or members in one command, at most.
const ITEMS_MAX: usize = 512;

/// Gives what [`crate::Export`] wrote as commands, each with the key it writes, in their order; a
/// library of functions comes with its name instead, and belongs to every master.
/// Executed one after the other where the keys are not yet, they make the same keys, values and
/// expiries; but what a group waits for and is no entry any more is left out, and consumers of
/// groups are seen when that happens.
///
/// # Errors
/// [`Error::Malformed`]: it was not written that way; commands before it have been visited.
pub fn commands_of(records: &[u8], mut visit: impl FnMut(&[u8], &[&[u8]])) -> Result<(), Error> {
    let malformed = || Error::Malformed { offset: Offset::ZERO };
    let mut reader = Reader::new(records);
    while !reader.is_empty() {
        let mut effects = Reader::new(reader.text().ok_or_else(malformed)?);
        while !effects.is_empty() {
            one(&mut effects, &mut visit).ok_or_else(malformed)?;
        }
    }
    Ok(())
}

fn one(effects: &mut Reader<'_>, visit: &mut impl FnMut(&[u8], &[&[u8]])) -> Option<()> {
    let op = effects.byte().and_then(Op::from_code)?;
    if op == Op::OnSlots {
        // Which slots of that group were hidden.
        return OnSlots::read(effects).map(drop);
    }
    let key = effects.text()?;
    match op {
        Op::Set => visit(key, &[b"SET", key, effects.text()?]),
        Op::SetExpiring => {
            let (text, expiry) = (effects.text()?, effects.varint()?.to_string());
            visit(key, &[b"SET", key, text, b"PXAT", expiry.as_bytes()]);
        }
        Op::SetRange => {
            let (from, text) = (effects.varint()?.to_string(), effects.text()?);
            visit(key, &[b"SETRANGE", key, from.as_bytes(), text]);
        }
        Op::Append => visit(key, &[b"APPEND", key, effects.text()?]),
        Op::ExpireAt => {
            let expiry = effects.varint()?.to_string();
            visit(key, &[b"PEXPIREAT", key, expiry.as_bytes()]);
        }
        Op::Library => visit(key, &[b"FUNCTION", b"LOAD", b"REPLACE", effects.text()?]),
        Op::HashSet => items(effects, b"HSET", key, 2, visit)?,
        Op::PushBack => items(effects, b"RPUSH", key, 1, visit)?,
        Op::SetAdd => items(effects, b"SADD", key, 1, visit)?,
        Op::SortedAdd => scored(effects, key, visit)?,
        Op::StreamBlock => streams::block(effects, key, visit)?,
        Op::StreamHead => streams::head(effects, key, visit)?,
        Op::StreamGroup => streams::group(effects, key, visit)?,
        Op::StreamConsumer => streams::consumer(effects, key, visit)?,
        Op::StreamPending => streams::pending(effects, key, visit)?,
        // A portion says only what is there, never what is to go.
        Op::SetKeeping
        | Op::Delete
        | Op::Persist
        | Op::Flush
        | Op::HashDelete
        | Op::PushFront
        | Op::PopFront
        | Op::PopBack
        | Op::SetRemove
        | Op::SortedRemove
        | Op::SortedRemoveRanks
        | Op::Check
        | Op::Repair
        | Op::ListSet
        | Op::ListInsert
        | Op::ListRemove
        | Op::StreamAdd
        | Op::StreamDelete
        | Op::StreamCut
        | Op::StreamGroupDrop
        | Op::StreamConsumerDrop
        | Op::StreamAcknowledge
        | Op::Restore
        | Op::LibraryDrop
        | Op::OnSlots
        | Op::Piece
        | Op::Rename
        | Op::Copy => return None,
    }
    Some(())
}

fn items(
    effects: &mut Reader<'_>,
    name: &[u8],
    key: &[u8],
    texts: usize,
    visit: &mut impl FnMut(&[u8], &[&[u8]]),
) -> Option<()> {
    let mut left = effects.count()?;
    while left > 0 {
        let count = left.min(ITEMS_MAX);
        let mut command = Vec::with_capacity(2 + count * texts);
        command.extend([name, key]);
        for _ in 0..count * texts {
            command.push(effects.text()?);
        }
        visit(key, &command);
        left -= count;
    }
    Some(())
}

fn scored(
    effects: &mut Reader<'_>,
    key: &[u8],
    visit: &mut impl FnMut(&[u8], &[&[u8]]),
) -> Option<()> {
    let mut left = effects.count()?;
    while left > 0 {
        let count = left.min(ITEMS_MAX);
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            // The shortest text that is read as the same number again.
            pairs.push((format!("{:?}", effects.score()?), effects.text()?));
        }
        let mut command: Vec<&[u8]> = Vec::with_capacity(2 + count * 2);
        command.extend([b"ZADD".as_slice(), key]);
        for (score, member) in &pairs {
            command.extend([score.as_bytes(), member]);
        }
        visit(key, &command);
        left -= count;
    }
    Some(())
}
