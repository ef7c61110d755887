//! Keys and values as effects, as snapshots and repairs keep them.

mod streams;

pub(crate) use streams::Heads;

use crate::effects::{EffectLog, Many, Op};
use crate::hidden::{OnSlots, Verb};
use crate::table::{Entry, View};
use crate::value::Value;
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::moves::Mark;

/// A larger value is written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Effects that make keys with their values, one behind the other.
pub(crate) struct Records {
    log: EffectLog,
    keys: u32,
}

impl Records {
    pub fn new() -> Self {
        Self { log: EffectLog::new(Offset(1)), keys: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.log.body_bytes()
    }

    /// How many keys ended since this was last called, and what was written.
    pub fn take(&mut self) -> (u32, Vec<u8>) {
        self.log.command_done();
        let body = self.log.take().map_or_else(Vec::new, |entries| entries.body);
        (std::mem::take(&mut self.keys), body)
    }

    /// A key with all of its value.
    pub fn entry(&mut self, entry: &Entry<'_, Value>) {
        let key = entry.key();
        match (entry.value(), entry.expiry()) {
            (View::Bytes(text), Some(expiry)) => self.log.set_expiring(key, text, expiry),
            (View::Bytes(text), None) => self.log.texts(Op::Set, &[key, text]),
            (View::Object(value), expiry) => {
                self.value(key, value);
                if let Some(expiry) = expiry {
                    self.log.number(Op::ExpireAt, key, expiry);
                }
            }
        }
        self.keys += 1;
        self.log.command_done();
    }

    /// A library of functions.
    pub fn library(&mut self, name: &[u8], text: &[u8]) {
        self.log.texts(Op::Library, &[name, text]);
        self.log.command_done();
    }

    /// By which move a slot is hidden.
    pub fn mark(&mut self, slot: Slot, mark: Mark) {
        let verb = if mark.gone { Verb::Gone } else { Verb::Coming };
        self.log.on_slots(OnSlots { verb, id: mark.id, first: slot, last: slot });
        self.log.command_done();
    }

    /// The key that was written in pieces has nothing more than this expiry.
    pub fn end(&mut self, key: &[u8], expiry: Option<u64>) {
        if let Some(expiry) = expiry {
            self.log.number(Op::ExpireAt, key, expiry);
        }
        self.keys += 1;
        self.log.command_done();
    }

    /// What was written last is an entry.
    pub fn piece_done(&mut self) {
        self.log.command_done();
    }

    /// A piece of a string.
    pub fn piece(&mut self, key: &[u8], from: u64, piece: &[u8]) {
        self.log.set_range(key, from, piece);
        self.log.command_done();
    }

    fn value(&mut self, key: &[u8], value: &Value) {
        match value {
            Value::Text(text) => self.text(key, text),
            Value::Hash(hash) => {
                let mut pieces = Pieces::begin(self, Op::HashSet, key);
                hash.for_each(|field, value| pieces.item(&[field, value], None));
                pieces.end();
            }
            Value::List(list) => {
                let mut pieces = Pieces::begin(self, Op::PushBack, key);
                list.iter_from(0).for_each(|item| pieces.item(&[item], None));
                pieces.end();
            }
            Value::Set(set) => {
                let mut pieces = Pieces::begin(self, Op::SetAdd, key);
                set.for_each(|member| pieces.item(&[member], None));
                pieces.end();
            }
            Value::Sorted(sorted) => {
                let mut pieces = Pieces::begin(self, Op::SortedAdd, key);
                sorted.for_each(0, sorted.len(), |score, member| {
                    pieces.item(&[member], Some(score));
                });
                pieces.end();
            }
            Value::Stream(stream) => self.stream(key, stream, (0, u64::MAX)),
        }
    }

    fn text(&mut self, key: &[u8], text: &[u8]) {
        let (first, rest) = text.split_at(text.len().min(PIECE_BYTES));
        self.log.texts(Op::Set, &[key, first]);
        for piece in rest.chunks(PIECE_BYTES) {
            self.log.command_done();
            self.log.texts(Op::Append, &[key, piece]);
        }
    }
}

/// Items of one collection, an entry for each MiB of them.
pub(crate) struct Pieces<'a> {
    records: &'a mut Records,
    op: Op,
    key: &'a [u8],
    many: Many,
    /// Items of the entry that is being made, and their bytes.
    count: usize,
    bytes: usize,
    /// Items of the entries before it.
    before: usize,
}

impl<'a> Pieces<'a> {
    pub fn begin(records: &'a mut Records, op: Op, key: &'a [u8]) -> Self {
        let many = records.log.begin_many(op, key);
        Self { records, op, key, many, count: 0, bytes: 0, before: 0 }
    }

    pub fn item(&mut self, texts: &[&[u8]], score: Option<f64>) {
        if self.bytes >= PIECE_BYTES {
            self.records.log.end_many(self.many, self.count);
            self.records.log.command_done();
            self.many = self.records.log.begin_many(self.op, self.key);
            self.before += self.count;
            (self.count, self.bytes) = (0, 0);
        }
        if let Some(score) = score {
            self.records.log.score(score);
        }
        for text in texts {
            self.records.log.text(text);
            self.bytes += text.len() + 8;
        }
        self.count += 1;
    }

    /// An item as a table has it: a field with its value, a member, or one with its score.
    pub fn entry(&mut self, name: &[u8], bytes: &[u8]) {
        match self.op {
            Op::HashSet => self.item(&[name, bytes], None),
            Op::SortedAdd => {
                let score = bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
                self.item(&[name], Some(f64::from_bits(score)));
            }
            _ => self.item(&[name], None),
        }
    }

    /// The items so far are written; how many there were in all.
    pub fn end(self) -> usize {
        self.records.log.end_many(self.many, self.count);
        self.before + self.count
    }
}
