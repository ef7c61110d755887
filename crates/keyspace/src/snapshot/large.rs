//! A large value on its way into a snapshot, a part at a time, as it was at its slot's moment.
//!
//! Whoever is about to change it says so first ([`Touch`]), and what would be lost is written
//! before: the part of a hash, set or sorted set that has the item, the piece of a string that has
//! the bytes, the item that leaves a list. A value that is replaced or deleted is kept until it is
//! written.

use super::Out;
use super::parts::Parts;
use super::streams::StreamRest;
use crate::compare::table_of;
use crate::effects::Op;
use crate::hash::Hasher;
use crate::records::Pieces;
use crate::table::{Entry, Never, Table, View};
use crate::value::Value;
use crate::value::list::{List, Side};
use std::ops::Range;

/// A piece of a string, in bytes.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// Items of a list in one step, at most.
const ITEMS_MAX: usize = 256;

/// A value that is being written.
pub(crate) struct Large {
    pub key: Vec<u8>,
    /// Which value of the keyspace it is: its address, which no other has while it lives.
    pub address: usize,
    /// The value, if the keyspace has it no more.
    pub kept: Option<Box<Value>>,
    /// The key under which the keyspace has it, if it was renamed.
    pub renamed: Option<Vec<u8>>,
    expiry: Option<u64>,
    pub(super) rest: Rest,
}

/// What is not written yet.
pub(super) enum Rest {
    Table(Op, Parts),
    /// Pieces of a string of this length.
    Text(usize, Parts),
    /// `count` items from the one at `start` on, and then those that left at the back, the last
    /// one first to be written.
    List {
        start: usize,
        count: usize,
        back: Vec<Vec<u8>>,
    },
    Stream(Box<StreamRest>),
}

impl Large {
    /// Begins with the value of `entry`; none if it is written as a whole.
    pub fn begin(entry: &Entry<'_, Value>) -> Option<Self> {
        let View::Object(value) = entry.value() else { return None };
        let rest = match (table_of(value), value) {
            (Some(table), _) => {
                let op = match value {
                    Value::Hash(_) => Op::HashSet,
                    Value::Sorted(_) => Op::SortedAdd,
                    _ => Op::SetAdd,
                };
                Rest::Table(op, Parts::of_table(table.len()))
            }
            (None, Value::Text(text)) => {
                Rest::Text(text.len(), Parts::of_count(text.len().div_ceil(PIECE_BYTES)))
            }
            (None, Value::List(list)) => {
                Rest::List { start: 0, count: list.len(), back: Vec::new() }
            }
            (None, Value::Stream(stream)) => Rest::Stream(Box::new(StreamRest::begin(stream))),
            (None, _) => return None,
        };
        let (key, address) = (entry.key().to_vec(), address_of(value));
        Some(Self { key, address, kept: None, renamed: None, expiry: entry.expiry(), rest })
    }

    /// The key under which the keyspace has it.
    pub fn live_key(&self) -> &[u8] {
        self.renamed.as_deref().unwrap_or(&self.key)
    }

    /// Writes some of it, as `live` has it unless it is kept here: the number of items, or none if
    /// that was all.
    pub fn step(&mut self, live: Option<&Value>, out: &mut Out) -> Option<usize> {
        let kept = self.kept.take();
        let wrote = kept.as_deref().or(live).and_then(|value| self.write(value, out));
        self.kept = kept;
        if wrote.is_none() {
            out.records.end(&self.key, self.expiry);
        }
        wrote
    }

    fn write(&mut self, value: &Value, out: &mut Out) -> Option<usize> {
        match (&mut self.rest, value) {
            (Rest::Table(op, parts), _) => {
                let part = parts.take_next()?;
                Some(write_items(&self.key, *op, table_of(value)?, parts.positions(part), out))
            }
            (Rest::Text(len, pieces), Value::Text(text)) => {
                let from = pieces.take_next()? * PIECE_BYTES;
                write_piece(&self.key, from, text, *len, out);
                Some(PIECE_BYTES / 512)
            }
            (Rest::List { start, count, back }, Value::List(list)) => {
                let key = &self.key;
                let items = list.iter_from(*start).take((*count).min(ITEMS_MAX));
                let wrote = push_back(key, items, out);
                (*start, *count) = (*start + wrote, *count - wrote);
                if wrote > 0 {
                    return Some(wrote);
                }
                let left = back.iter().rev().take(ITEMS_MAX).map(Vec::as_slice);
                let wrote = push_back(key, left, out);
                back.truncate(back.len() - wrote);
                Some(wrote).filter(|wrote| *wrote > 0)
            }
            (Rest::Stream(rest), Value::Stream(stream)) => rest.write(&self.key, stream, out),
            _ => None,
        }
    }

    /// Bytes of a string are about to change.
    pub fn before_bytes(&mut self, text: &[u8], changed: Range<usize>, out: &mut Out) {
        let Rest::Text(len, pieces) = &mut self.rest else { return };
        let end = changed.end.min(*len);
        for piece in changed.start / PIECE_BYTES..end.div_ceil(PIECE_BYTES) {
            if pieces.take(piece) {
                write_piece(&self.key, piece * PIECE_BYTES, text, *len, out);
            }
        }
    }
}

/// Writes the piece at `from` of a string that had `len` bytes.
fn write_piece(key: &[u8], from: usize, text: &[u8], len: usize, out: &mut Out) {
    out.records.piece(key, from as u64, &text[from..len.min(from + PIECE_BYTES)]);
    out.piece_done();
}

/// Writes items of a list, about as many bytes as a piece of a string has; how many they were.
fn push_back<'a>(key: &[u8], items: impl Iterator<Item = &'a [u8]>, out: &mut Out) -> usize {
    let mut pieces = Pieces::begin(&mut out.records, Op::PushBack, key);
    let mut bytes = 0;
    for item in items {
        pieces.item(&[item], None);
        bytes += item.len();
        if bytes >= PIECE_BYTES {
            break;
        }
    }
    let wrote = pieces.end();
    out.piece_done();
    wrote
}

fn write_items(
    key: &[u8],
    op: Op,
    table: &Table<Never>,
    positions: (u64, u64),
    out: &mut Out,
) -> usize {
    let mut pieces = Pieces::begin(&mut out.records, op, key);
    let mut cost = 0;
    table.scan_between(positions, |item| {
        cost += super::cost(item.key().len() + item.bytes().len());
        pieces.entry(item.key(), item.bytes());
    });
    pieces.end();
    out.piece_done();
    cost.max(1)
}

/// A number that no other living value has.
pub(crate) fn address_of(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// What whoever changes a collection needs: the hash of items, and a place to say what is about to
/// change.
pub(crate) struct Touch<'a> {
    hasher: &'a Hasher,
    writing: Option<(&'a mut Large, &'a mut Out)>,
}

impl<'a> Touch<'a> {
    pub fn new(hasher: &'a Hasher, writing: Option<(&'a mut Large, &'a mut Out)>) -> Self {
        Self { hasher, writing }
    }

    /// For a collection that is in no keyspace.
    pub fn nobody(hasher: &'a Hasher) -> Self {
        Self { hasher, writing: None }
    }

    /// What is being written of the collection.
    pub(super) fn writing(&mut self) -> Option<(&mut Large, &mut Out)> {
        self.writing.as_mut().map(|(large, out)| (&mut **large, &mut **out))
    }

    pub fn hasher(&self) -> &'a Hasher {
        self.hasher
    }

    /// The item with this hash is about to be added, changed or removed.
    #[inline]
    pub fn item(&mut self, table: &Table<Never>, hash: u64) {
        if let Some((large, out)) = &mut self.writing {
            let Rest::Table(op, parts) = &mut large.rest else { return };
            let part = parts.of_hash(hash);
            if parts.take(part) {
                write_items(&large.key, *op, table, parts.positions(part), out);
            }
        }
    }

    /// An item is about to be pushed on this side of a list.
    #[inline]
    pub fn push(&mut self, side: Side) {
        if let Some((Large { rest: Rest::List { start, .. }, .. }, _)) = &mut self.writing
            && side == Side::Front
        {
            *start += 1;
        }
    }

    /// An item is about to leave a list of `len` items on this side.
    #[inline]
    pub fn pop(&mut self, side: Side, len: usize, item: &[u8]) {
        let Some((large, out)) = &mut self.writing else { return };
        let Rest::List { start, count, back } = &mut large.rest else { return };
        match side {
            Side::Front if *start > 0 => *start -= 1,
            Side::Front if *count > 0 => {
                push_back(&large.key, std::iter::once(item), out);
                *count -= 1;
            }
            Side::Front => {}
            // It came after the moment.
            Side::Back if len > *start + *count => {}
            Side::Back if *count > 0 => {
                back.push(item.to_vec());
                *count -= 1;
            }
            // It was written, or came after the moment.
            Side::Back => *start -= 1,
        }
    }

    /// In a list `old` items from `index` on, none or one, are about to become `new` ones.
    ///
    /// What stands before them is written first, so that what is left stays in one piece: no more
    /// than whoever looked for that place has passed.
    #[inline]
    pub fn middle(&mut self, list: &List, index: usize, old: usize, new: usize) {
        let Some((large, out)) = &mut self.writing else { return };
        let Rest::List { start, count, .. } = &mut large.rest else { return };
        if index + old <= *start {
            *start = *start - old + new;
            return;
        }
        if index >= *start + *count {
            return;
        }
        let end = index + old;
        while *start < end {
            let wrote = push_back(&large.key, list.iter_from(*start).take(end - *start), out);
            (*start, *count) = (*start + wrote, *count - wrote);
        }
        *start = index + new;
    }
}
