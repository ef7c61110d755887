//! A slot's data as effects: what a snapshot keeps, and how it comes back.
//!
//! A slot is written at one moment, and different slots at different ones, while the keyspace goes
//! on. So whoever loads them replays the log from the oldest of these moments, and each slot passes
//! over the entries that it holds already ([`Keyspace::apply`] does so by itself).

use crate::effects::{EffectLog, Many, Op};
use crate::keyspace::Keyspace;
use crate::table::{Entry, View};
use crate::value::Value;
use cairn_logic::ids::{EntryId, Offset, SLOTS, Slot};

/// How records of snapshots are written; another number for each way.
pub const CONTENT: u32 = 1;
/// A larger value is written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Some slots as they were at one moment. A slot of many bytes takes several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The first slot.
    pub first: u16,
    /// The last slot; what lies between is in it, too, be it empty.
    pub last: u16,
    /// How many keys end in it.
    pub keys: u32,
    /// For [`Keyspace::import`].
    pub records: Vec<u8>,
}

/// Writes a keyspace slot by slot, with as much time between two steps as the caller likes.
#[derive(Debug)]
pub struct Export {
    pub(crate) log: EffectLog,
    keys: u32,
    /// The first slot of the portion.
    first: u16,
    /// The slot that comes next, or is being written.
    next: u16,
    portion_bytes: usize,
    /// The entry after which the portion's slots are as they are in it.
    at: EntryId,
    ready: Vec<(EntryId, Portion)>,
}

impl Export {
    /// Begins with the first slot; portions have about `portion_bytes` (and a MiB more at most
    /// beyond what one item takes).
    #[must_use]
    pub fn new(portion_bytes: usize) -> Self {
        let log = EffectLog::new(Offset(1));
        Self {
            log,
            keys: 0,
            first: 0,
            next: 0,
            portion_bytes,
            at: EntryId::ZERO,
            ready: Vec::new(),
        }
    }

    /// The slot that comes next; all are done at [`SLOTS`].
    #[must_use]
    pub fn next_slot(&self) -> u16 {
        self.next
    }

    /// Writes whole slots, which are as they are after entry `at`, until `keys_max` keys have been
    /// visited; whether there are more slots.
    pub fn advance(&mut self, keyspace: &Keyspace, at: EntryId, keys_max: usize) -> bool {
        if self.next > self.first && self.at != at {
            self.close(self.next - 1);
            self.first = self.next;
        }
        self.at = at;
        let mut visited = 0;
        while self.next < SLOTS && visited < keys_max {
            let slot = Slot::try_from(self.next).expect("it is below 16384");
            keyspace.table(slot).scan(0, usize::MAX, |entry| {
                self.entry(&entry);
                visited += 1;
            });
            self.next += 1;
        }
        if self.next == SLOTS && self.first < SLOTS {
            self.close(SLOTS - 1);
            self.first = SLOTS;
        }
        self.next < SLOTS
    }

    /// The portions that are whole since the last call, each with the entry after which its slots
    /// were so; all of them, once there are no more slots.
    pub fn take(&mut self) -> Vec<(EntryId, Portion)> {
        std::mem::take(&mut self.ready)
    }

    /// The records so far, with what was written last.
    pub(crate) fn records(&mut self) -> Vec<u8> {
        self.log.command_done();
        self.log.take().map_or_else(Vec::new, |entries| entries.body)
    }

    fn close(&mut self, last: u16) {
        let records = self.records();
        let keys = std::mem::take(&mut self.keys);
        self.ready.push((self.at, Portion { first: self.first, last, keys, records }));
    }

    /// Ends a portion in the middle of a slot once it is large enough.
    fn close_if_large(&mut self) {
        if self.log.body_bytes() >= self.portion_bytes {
            self.close(self.next);
            self.first = self.next;
        }
    }

    pub(crate) fn entry(&mut self, entry: &Entry<'_, Value>) {
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
        self.close_if_large();
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
        }
    }

    fn text(&mut self, key: &[u8], text: &[u8]) {
        let (first, rest) = text.split_at(text.len().min(PIECE_BYTES));
        self.log.texts(Op::Set, &[key, first]);
        for piece in rest.chunks(PIECE_BYTES) {
            self.piece_done();
            self.log.texts(Op::Append, &[key, piece]);
        }
    }

    /// Ends an entry in the middle of a key.
    fn piece_done(&mut self) {
        self.log.command_done();
        self.close_if_large();
    }
}

/// The items of one collection, an entry for each MiB of them.
pub(crate) struct Pieces<'a> {
    export: &'a mut Export,
    op: Op,
    key: &'a [u8],
    many: Many,
    count: usize,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    pub fn begin(export: &'a mut Export, op: Op, key: &'a [u8]) -> Self {
        let many = export.log.begin_many(op, key);
        Self { export, op, key, many, count: 0, bytes: 0 }
    }

    pub fn item(&mut self, texts: &[&[u8]], score: Option<f64>) {
        if self.bytes >= PIECE_BYTES {
            self.export.log.end_many(self.many, self.count);
            self.export.piece_done();
            self.many = self.export.log.begin_many(self.op, self.key);
            (self.count, self.bytes) = (0, 0);
        }
        if let Some(score) = score {
            self.export.log.score(score);
        }
        for text in texts {
            self.export.log.text(text);
            self.bytes += text.len() + 8;
        }
        self.count += 1;
    }

    pub fn end(self) {
        self.export.log.end_many(self.many, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::At;
    use crate::value::hash::Hash;
    use crate::value::list::{List, Side};

    fn put<C: crate::value::Collection>(
        keyspace: &mut Keyspace,
        key: &[u8],
    ) -> (At, crate::table::Place) {
        let at = keyspace.locate(key);
        (at, keyspace.put_collection::<C>(at, key))
    }

    #[test]
    fn large_values_are_written_in_pieces_that_belong_together() {
        let mut keyspace = Keyspace::new(1);
        let at = keyspace.locate(b"text");
        let text: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        keyspace.put_text(at, b"text", None, &text, Some(77));
        let (at, place) = put::<Hash>(&mut keyspace, b"hash");
        keyspace.update(at, place, |hash: &mut Hash, hasher| {
            (0..90_000_u32).for_each(|n| {
                hash.set(hasher, &n.to_le_bytes(), &[7; 40]);
            });
        });
        let (at, place) = put::<List>(&mut keyspace, b"list");
        keyspace.update(at, place, |list: &mut List, _| {
            (0..90_000_u32).for_each(|n| list.push(Side::Back, &n.to_le_bytes().repeat(8)));
        });
        let mut export = Export::new(1 << 20);
        assert!(!export.advance(&keyspace, EntryId::ZERO, usize::MAX));
        let portions: Vec<_> = export.take().into_iter().map(|(_, portion)| portion).collect();
        assert!(portions.len() > 8, "{}", portions.len());
        assert!(portions.iter().all(|portion| portion.records.len() < 3 << 20));
        assert_eq!(portions.iter().map(|portion| portion.keys).sum::<u32>(), 3);
        assert_eq!((portions[0].first, portions.last().map(|p| p.last)), (0, Some(SLOTS - 1)));
        let mut copy = Keyspace::new(2);
        for portion in &portions {
            copy.import(portion, Offset(9)).expect("what was written is taken");
        }
        assert_eq!(copy.digest(), keyspace.digest());
        assert!(export.take().is_empty());
    }
}
