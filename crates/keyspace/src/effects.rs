//! What a command did, as the log keeps it: few, absolute, and the same on every member.
//!
//! A batch body is a row of entries: `varint length, effects`. An entry is one atomic unit: a
//! command, or a whole MULTI. An effect is an opcode and its arguments; texts are `varint length,
//! bytes`. Times are absolute, in milliseconds since 1970; relative or conditional commands have
//! been decided by whoever wrote the entry.

mod streams;

pub(crate) use streams::Delivery;

use crate::hidden::OnSlots;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset};
use cairn_logic::moves::MoveId;

/// What an effect does. The numbers are on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// key, value: a string without expiry.
    Set = 1,
    /// key, value, expiry: a string with one.
    SetExpiring = 2,
    /// key, value: a string that keeps the key's expiry.
    SetKeeping = 3,
    /// key, value: appended to a string.
    Append = 4,
    /// key, position, value: written over a string, zeros before it if needed.
    SetRange = 5,
    /// key: gone.
    Delete = 6,
    /// key, expiry.
    ExpireAt = 7,
    /// key: no expiry any more.
    Persist = 8,
    /// nothing: all keys gone.
    Flush = 9,
    /// key, count, then as many pairs of field and value.
    HashSet = 10,
    /// key, count, then as many fields.
    HashDelete = 11,
    /// key, count, then as many values, each pushed at the front.
    PushFront = 12,
    /// key, count, then as many values, each pushed at the back.
    PushBack = 13,
    /// key, count: taken from the front.
    PopFront = 14,
    /// key, count: taken from the back.
    PopBack = 15,
    /// key, count, then as many members.
    SetAdd = 16,
    /// key, count, then as many members.
    SetRemove = 17,
    /// key, count, then as many pairs of score (8 bytes, the bits of a double) and member.
    SortedAdd = 18,
    /// key, count, then as many members.
    SortedRemove = 19,
    /// part, seed of hashes (8 bytes), digest (8 bytes): what a part holds at this place.
    Check = 20,
    /// part, seed, digest, content: what a part holds, for those that hold something else.
    Repair = 21,
    /// key, index, item: another item in a place of a list.
    ListSet = 22,
    /// key, index, item: put before the one that is there.
    ListInsert = 23,
    /// key, count, then as many distances, each from behind the one before: gone from a list.
    ListRemove = 24,
    /// key, new key of the same slot: value and expiry are there now, in place of what was.
    Rename = 25,
    /// key, new key of the same slot: they are there, too, in place of what was.
    Copy = 26,
    /// key, rank, count: members of a sorted set, from this rank on.
    SortedRemoveRanks = 40,
    /// key, ID, count, then as many pairs of field and value: an entry behind the last one. An ID
    /// is two numbers.
    StreamAdd = 70,
    /// key, count, then as many IDs: gone, each by itself.
    StreamDelete = 71,
    /// key, ID, count: so many entries up to this one, which goes, too, are gone.
    StreamCut = 72,
    /// key, last ID, largest deleted ID, number of entries ever added; a stream if there is none.
    StreamHead = 73,
    /// key, ID, content: entries that lie in one piece (`value/stream/block.rs`).
    StreamBlock = 74,
    /// key, group, last ID, number of entries read and one (0: unknown).
    StreamGroup = 75,
    /// key, group: gone.
    StreamGroupDrop = 76,
    /// key, group, consumer, time: seen then.
    StreamConsumer = 77,
    /// key, group, consumer: gone, with what it has not acknowledged.
    StreamConsumerDrop = 78,
    /// key, group, consumer, count, then as many of ID, time and number of deliveries.
    StreamPending = 79,
    /// key, group, count, then as many IDs: not waited for any more.
    StreamAcknowledge = 80,
    /// key, expiry (0: none), content: a value in Redis's form (`payload.rs`) in place of what was.
    Restore = 81,
    /// name, text: a library of functions, in place of the one of that name. No key.
    Library = 82,
    /// name: gone. No key.
    LibraryDrop = 83,
    /// verb (1 byte), number of a move, first slot, last slot (`hidden.rs`).
    OnSlots = 100,
    /// number of a move, entries: what it brings.
    Piece = 101,
}

impl Op {
    /// Whether it begins with a key and concerns that key's slot alone.
    pub fn is_on_key(self) -> bool {
        use Op::{Check, Flush, Library, LibraryDrop, OnSlots, Piece, Repair};
        !matches!(self, Flush | Check | Repair | OnSlots | Piece | Library | LibraryDrop)
    }

    /// The effect with this opcode.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Op::Set,
            2 => Op::SetExpiring,
            3 => Op::SetKeeping,
            4 => Op::Append,
            5 => Op::SetRange,
            6 => Op::Delete,
            7 => Op::ExpireAt,
            8 => Op::Persist,
            9 => Op::Flush,
            10 => Op::HashSet,
            11 => Op::HashDelete,
            12 => Op::PushFront,
            13 => Op::PushBack,
            14 => Op::PopFront,
            15 => Op::PopBack,
            16 => Op::SetAdd,
            17 => Op::SetRemove,
            18 => Op::SortedAdd,
            19 => Op::SortedRemove,
            20 => Op::Check,
            21 => Op::Repair,
            22 => Op::ListSet,
            23 => Op::ListInsert,
            24 => Op::ListRemove,
            25 => Op::Rename,
            26 => Op::Copy,
            40 => Op::SortedRemoveRanks,
            70 => Op::StreamAdd,
            71 => Op::StreamDelete,
            72 => Op::StreamCut,
            73 => Op::StreamHead,
            74 => Op::StreamBlock,
            75 => Op::StreamGroup,
            76 => Op::StreamGroupDrop,
            77 => Op::StreamConsumer,
            78 => Op::StreamConsumerDrop,
            79 => Op::StreamPending,
            80 => Op::StreamAcknowledge,
            81 => Op::Restore,
            82 => Op::Library,
            83 => Op::LibraryDrop,
            100 => Op::OnSlots,
            101 => Op::Piece,
            _ => return None,
        })
    }
}

/// A body up to this size is copied out of a buffer that stays: it is allocated once, as large as
/// it is. One that grows with its entries is moved from class to class of the allocator, each with
/// memory of its own that the kernel has to clear while clients wait.
const COPIED_MAX: usize = 1 << 16;

/// What the length of a text takes at most, for texts that a command may have.
pub(crate) const LENGTH_BYTES: usize = 5;
/// What a score takes.
pub(crate) const SCORE_BYTES: usize = 8;

/// The entries of one turn, on their way to become a batch.
#[derive(Debug)]
pub struct EffectLog {
    body: Vec<u8>,
    entries: u32,
    next: Offset,
    open: Option<usize>,
    in_unit: bool,
}

/// An effect whose items are being written.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct Many {
    start: usize,
    opened: bool,
    count_at: usize,
}

/// What [`EffectLog::take`] gives: the parts of a batch that depend on its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The offset of the first.
    pub first: Offset,
    /// How many; at least 1.
    pub count: u32,
    /// Their bytes, for [`crate::Keyspace::apply`].
    pub body: Vec<u8>,
}

impl Entries {
    /// The batch of a master of this epoch, made at `time_ms` (milliseconds since 1970).
    #[must_use]
    pub fn into_batch(self, epoch: Epoch, time_ms: u64) -> Batch {
        let head = BatchHead {
            epoch,
            first: self.first,
            count: self.count,
            time_ms,
            authority: false,
            opens_epoch: false,
        };
        Batch { head, body: self.body.into() }
    }
}

impl EffectLog {
    /// An empty log whose first entry will have the offset `next`.
    #[must_use]
    pub fn new(next: Offset) -> Self {
        Self { body: Vec::new(), entries: 0, next, open: None, in_unit: false }
    }

    /// The offset the next entry will have.
    #[must_use]
    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// How many bytes the finished entries take.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The bytes of the finished entries behind the first `bytes`, which end one.
    #[must_use]
    pub fn entries_since(&self, bytes: usize) -> &[u8] {
        self.body.get(bytes..).unwrap_or_default()
    }

    /// Whether there is no finished entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Starts over at another offset (a new epoch, or others' entries came between).
    ///
    /// # Panics
    /// If entries wait to be taken, or a unit is open.
    pub fn set_next(&mut self, next: Offset) {
        assert!(self.entries == 0 && self.open.is_none() && !self.in_unit, "entries wait");
        self.next = next;
    }

    /// Everything until [`EffectLog::end_unit`] is one entry.
    pub fn begin_unit(&mut self) {
        debug_assert!(!self.in_unit, "units are not nested");
        self.in_unit = true;
    }

    /// Ends the unit; whether it wrote anything.
    pub fn end_unit(&mut self) -> bool {
        self.in_unit = false;
        self.close()
    }

    /// The entries so far; none if nothing was written. The next ones go on behind them.
    ///
    /// # Panics
    /// If a unit is open.
    #[must_use]
    pub fn take(&mut self) -> Option<Entries> {
        assert!(self.open.is_none() && !self.in_unit, "a unit is open");
        if self.entries == 0 {
            return None;
        }
        let count = std::mem::take(&mut self.entries);
        let first = Offset(self.next.0 - u64::from(count));
        let body = if self.body.len() <= COPIED_MAX {
            let copy = self.body.to_vec();
            self.body.clear();
            copy
        } else {
            std::mem::take(&mut self.body)
        };
        Some(Entries { first, count, body })
    }

    /// Adds entries that were written elsewhere, behind those there are; the offset of the last.
    pub(crate) fn graft(&mut self, entries: Entries) -> Offset {
        debug_assert!(self.open.is_none() && !self.in_unit, "nothing is being written");
        match self.body.is_empty() {
            true => self.body = entries.body,
            false => self.body.extend_from_slice(&entries.body),
        }
        self.entries += entries.count;
        self.next = Offset(self.next.0 + u64::from(entries.count));
        self.last()
    }

    /// Whether the entry being written has effects already.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How many bytes the entry being written has.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.map_or(0, |start| self.body.len() - start)
    }

    /// The last offset that anything executed so far can have written.
    pub(crate) fn last(&self) -> Offset {
        if self.is_open() { self.next } else { Offset(self.next.0.saturating_sub(1)) }
    }

    /// Closes the entry unless a unit goes on; whether there was one.
    #[inline]
    pub(crate) fn command_done(&mut self) -> bool {
        if self.in_unit { self.is_open() } else { self.close() }
    }

    fn close(&mut self) -> bool {
        let Some(start) = self.open.take() else { return false };
        let len = self.body.len() - start - 1;
        if len < 128 {
            self.body[start] = len as u8;
        } else {
            let mut head = [0_u8; 10];
            let used = encode_varint(len as u64, &mut head);
            self.body.splice(start..=start, head[..used].iter().copied());
        }
        self.entries += 1;
        self.next = self.next.next();
        true
    }

    #[inline]
    fn begin(&mut self, op: Op) {
        if self.open.is_none() {
            self.open = Some(self.body.len());
            self.body.push(0);
        }
        self.body.push(op as u8);
    }

    /// An effect on a key with further texts.
    #[inline]
    pub(crate) fn texts(&mut self, op: Op, texts: &[&[u8]]) {
        self.begin(op);
        for text in texts {
            self.text(text);
        }
    }

    /// An effect on a key with a number behind it.
    pub(crate) fn number(&mut self, op: Op, key: &[u8], number: u64) {
        self.begin(op);
        self.text(key);
        self.varint(number);
    }

    /// Members of a sorted set by their ranks.
    pub(crate) fn remove_ranks(&mut self, key: &[u8], first: usize, count: usize) {
        self.number(Op::SortedRemoveRanks, key, first as u64);
        self.varint(count as u64);
    }

    /// A string with an expiry.
    pub(crate) fn set_expiring(&mut self, key: &[u8], value: &[u8], expiry: u64) {
        self.texts(Op::SetExpiring, &[key, value]);
        self.varint(expiry);
    }

    /// A value in Redis's form.
    pub(crate) fn restore(&mut self, key: &[u8], expiry: u64, body: &[u8]) {
        self.number(Op::Restore, key, expiry);
        self.text(body);
    }

    /// What becomes of slots.
    pub(crate) fn on_slots(&mut self, on: OnSlots) {
        self.begin(Op::OnSlots);
        self.body.push(on.verb.code());
        self.varint(on.id.0);
        self.varint(u64::from(on.first.get()));
        self.varint(u64::from(on.last.get()));
    }

    /// What a move brings.
    pub(crate) fn piece(&mut self, id: MoveId, entries: &[u8]) {
        self.begin(Op::Piece);
        self.varint(id.0);
        self.text(entries);
    }

    /// An effect as it stands elsewhere.
    pub(crate) fn copy_effect(&mut self, op: Op, arguments: &[u8]) {
        self.begin(op);
        self.body.extend_from_slice(arguments);
    }

    /// A piece of a string.
    pub(crate) fn set_range(&mut self, key: &[u8], at: u64, value: &[u8]) {
        self.number(Op::SetRange, key, at);
        self.text(value);
    }

    /// Begins an effect with items; they follow by [`EffectLog::text`] and [`EffectLog::score`].
    pub(crate) fn begin_many(&mut self, op: Op, key: &[u8]) -> Many {
        let (opened, start) = (self.open.is_none(), self.body.len());
        self.begin(op);
        self.text(key);
        self.body.push(0);
        Many { start, opened, count_at: self.body.len() - 1 }
    }

    /// Ends it; without items it never was. Whether there were any.
    pub(crate) fn end_many(&mut self, many: Many, count: usize) -> bool {
        if count == 0 {
            self.body.truncate(many.start);
            if many.opened {
                self.open = None;
            }
            return false;
        }
        if count < 128 {
            self.body[many.count_at] = count as u8;
        } else {
            let mut room = [0; 10];
            let used = encode_varint(count as u64, &mut room);
            self.body.splice(many.count_at..=many.count_at, room[..used].iter().copied());
        }
        true
    }

    /// One text.
    #[inline]
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.varint(text.len() as u64);
        self.body.extend_from_slice(text);
    }

    /// An item of a list and its place.
    pub(crate) fn list_item(&mut self, op: Op, key: &[u8], index: usize, item: &[u8]) {
        self.number(op, key, index as u64);
        self.text(item);
    }

    /// Places in a list, which ascend.
    pub(crate) fn list_remove(&mut self, key: &[u8], indexes: &[usize]) {
        let many = self.begin_many(Op::ListRemove, key);
        let mut next = 0;
        for index in indexes {
            self.varint((index - next) as u64);
            next = index + 1;
        }
        self.end_many(many, indexes.len());
    }

    /// One score.
    pub(crate) fn score(&mut self, score: f64) {
        self.body.extend_from_slice(&score.to_bits().to_le_bytes());
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        if value < 128 {
            return self.body.push(value as u8);
        }
        let mut room = [0; 10];
        let used = encode_varint(value, &mut room);
        self.body.extend_from_slice(&room[..used]);
    }
}

/// Bytes in the same encoding, outside of a log.
#[derive(Default)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn varint(&mut self, value: u64) {
        let mut room = [0; 10];
        let used = encode_varint(value, &mut room);
        self.0.extend_from_slice(&room[..used]);
    }

    pub fn text(&mut self, text: &[u8]) {
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text);
    }

    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

fn encode_varint(mut value: u64, room: &mut [u8; 10]) -> usize {
    let mut at = 0;
    while value >= 128 {
        room[at] = value as u8 | 128;
        value >>= 7;
        at += 1;
    }
    room[at] = value as u8;
    at + 1
}

/// Reads what [`EffectLog`] wrote. Every method returns none if the bytes do not go on that way.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(text)
    }

    pub(crate) fn score(&mut self) -> Option<f64> {
        let (bits, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        let score = f64::from_bits(u64::from_le_bytes(*bits));
        (!score.is_nan()).then_some(score)
    }

    /// Eight bytes.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// A count of items that take at least a byte each.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }
}
