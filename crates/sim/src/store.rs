//! What a simulated member of a group holds: a real keyspace, written, compared and mended by the
//! product's own code, of so few keys that all of it can be looked at after every check.
//!
//! Clients write texts and fields of two hashes, one of which grows large now and then. Names that
//! clients delete differ in value alone when a copy goes wrong: an effect that does not fit would
//! stop the copy at once, which is no silent difference.

use crate::folder::{Digest, unique_body};
use crate::rng::Rng;
use cairn_keyspace::command::lookup;
use cairn_keyspace::{
    Checking, Ctx, EffectLog, Entries, Export, Findings, Keyspace, Note, Part, Portion, Unkept,
    notes_of, slot_of,
};
use cairn_logic::ids::{EntryId, Epoch, Offset, Slot};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;

/// Names of each kind; clients never delete those below `KEPT`.
const TEXTS: usize = 16;
const HASHES: usize = 2;
const FIELDS: usize = 40;
const KEPT: [usize; 2] = [10, 32];
/// A cell for each text; for each hash one of its length and expiry, and one for each field.
pub(crate) const CELLS: usize = TEXTS + HASHES * (1 + FIELDS);
/// Parts end behind so many keys or items, and so many bytes.
const PART_MAX: (usize, usize) = (5, 4096);
/// How long a walk over all parts takes.
const INTERVAL: Duration = Duration::from_millis(1200);
/// What all of a snapshot counts for, about: each slot, key and item for one.
pub(crate) const WHOLE: u64 = 17_000;

/// Some slots and the entry after which they were so.
pub(crate) type Portions = Rc<Vec<(Portion, Offset)>>;
/// A digest for each cell; 0 if nothing is there.
pub(crate) type Content = Vec<u64>;

/// A check or a repair that this copy has applied.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The chain of the batch, which names it.
    pub chain: u64,
    pub note: Note,
    /// Of a repair.
    pub before: Content,
    pub after: Content,
    pub findings: Findings,
}

/// One copy of a group's data.
pub(crate) struct Store {
    seed: u64,
    keyspace: Keyspace,
    /// Nothing has happened to it.
    fresh: bool,
    checking: Option<Checking>,
    /// What a broken rule holds back.
    late: Option<Entries>,
    pub unkept: Unkept,
    /// Entries whose repair has replaced something of this state.
    pub mended: Vec<Offset>,
    /// From this entry on all slots are of one moment.
    pub whole_from: Offset,
    /// Where the snapshot begins that is being written.
    exporting: Option<EntryId>,
    /// What the world has to judge still.
    pub seen: Vec<Seen>,
    /// For each cell that differs and was not said to: how far the walk went since that was so.
    pub silent: BTreeMap<usize, u64>,
    /// The epoch in which that was.
    pub walked_in: Epoch,
    /// When all was last the same as the master's.
    pub same_at: u64,
}

/// What is where.
struct Cell {
    key: String,
    /// None: a text, or of a hash its length and expiry.
    field: Option<String>,
    slot: Slot,
}

fn cell(at: usize) -> &'static Cell {
    static ALL: LazyLock<Vec<Cell>> = LazyLock::new(|| (0..CELLS).map(named).collect());
    &ALL[at]
}

fn named(at: usize) -> Cell {
    let (key, field) = match at.checked_sub(TEXTS) {
        None => (format!("{{{}}}{at}", at / 2), None),
        Some(at) => {
            let (hash, field) = (at / (1 + FIELDS), at % (1 + FIELDS));
            (format!("h{hash}"), field.checked_sub(1).map(|field| format!("f{field}")))
        }
    };
    let slot = slot_of(key.as_bytes());
    Cell { key, field, slot }
}

pub(crate) fn slot(at: usize) -> Slot {
    cell(at).slot
}

/// Whether a cell is a hash's length and expiry, which a part of its fields makes only in part.
pub(crate) fn is_sum(cell: usize) -> bool {
    cell.checked_sub(TEXTS).is_some_and(|at| at.is_multiple_of(1 + FIELDS))
}

/// Whether a part has all of a cell, and every byte of it counts there.
pub(crate) fn has_all_of(part: &Part, at: usize) -> bool {
    match part {
        Part::Keys { .. } => names(part, at) && at < TEXTS,
        Part::Items { from: 0, to: u64::MAX, .. } => names(part, at),
        Part::Items { .. } => false,
    }
}

/// Whether a part may have something of a cell. In this keyspace parts end where slots end.
pub(crate) fn names(part: &Part, at: usize) -> bool {
    match part {
        Part::Keys { .. } => {
            let (first, last) = part.slots();
            (first..=last).contains(&slot(at))
        }
        Part::Items { key, .. } => cell(at).key.as_bytes() == key.as_slice(),
    }
}

/// A client at a keyspace.
struct Client<'a> {
    keyspace: &'a mut Keyspace,
    log: EffectLog,
    may_write: bool,
    args: ArgsBuf,
    reply: ReplyBuf,
}

impl<'a> Client<'a> {
    fn new(keyspace: &'a mut Keyspace, next: Offset, may_write: bool) -> Self {
        let (args, reply) = (ArgsBuf::new(), ReplyBuf::new(Version::Resp2));
        Self { keyspace, log: EffectLog::new(next), may_write, args, reply }
    }

    fn ask<const N: usize>(&mut self, words: [&[u8]; N]) -> &[u8] {
        self.args.clear();
        self.reply.clear();
        words.iter().for_each(|word| self.args.push(word));
        let command = lookup(words[0]).expect("a command");
        // The time stands: nothing expires here.
        let ctx = Ctx { now_ms: 1, may_write: self.may_write, value_bytes_max: 1 << 20 };
        let args = self.args.as_args();
        self.keyspace.execute(&ctx, command, args, None, &mut self.reply, &mut self.log);
        self.reply.as_bytes()
    }
}

fn content(keyspace: &mut Keyspace) -> Content {
    let mut client = Client::new(keyspace, Offset(1), false);
    let mut cells = Vec::with_capacity(CELLS);
    for at in 0..CELLS {
        let Cell { key, field, .. } = cell(at);
        let key = key.as_bytes();
        let value = match field {
            Some(field) => client.ask([b"HGET", key, field.as_bytes()]),
            None if at < TEXTS => client.ask([b"GET", key]),
            None => client.ask([b"HLEN", key]),
        };
        let none = matches!(value, b"$-1\r\n" | b":0\r\n");
        let mut digest = Digest::new(1);
        digest.add_bytes(value);
        if field.is_none() {
            digest.add_bytes(client.ask([b"PEXPIRETIME", key]));
        }
        cells.push(if none { 0 } else { digest.0 });
    }
    cells
}

/// A number that looks like chance.
fn mix(number: u64) -> u64 {
    let mut digest = Digest::new(7);
    digest.add(number);
    digest.0 ^ digest.0 >> 29
}

impl Store {
    /// An empty copy; `seed` is the group's.
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, Self::empty(seed))
    }

    fn of(seed: u64, keyspace: Keyspace) -> Self {
        Self {
            seed,
            keyspace,
            fresh: true,
            checking: None,
            late: None,
            unkept: Unkept::default(),
            mended: Vec::new(),
            whole_from: Offset::ZERO,
            exporting: None,
            seen: Vec::new(),
            silent: BTreeMap::new(),
            walked_in: Epoch::ZERO,
            same_at: 0,
        }
    }

    fn empty(seed: u64) -> Keyspace {
        let mut keyspace = Keyspace::new(seed);
        keyspace.bound_parts(PART_MAX.0, PART_MAX.1);
        keyspace
    }

    /// The state is dropped; it begins with a snapshot, or with nothing. Whether it could be taken.
    pub(crate) fn rebuilt(self, portions: &[(Portion, Offset)]) -> (Self, bool) {
        let keyspace = if self.fresh { self.keyspace } else { Self::empty(self.seed) };
        let mut new = Self { unkept: self.unkept, fresh: false, ..Self::of(self.seed, keyspace) };
        new.whole_from = portions.iter().map(|(_, at)| *at).max().unwrap_or(Offset::ZERO);
        let taken = |(portion, at): &(Portion, Offset)| new.keyspace.import(portion, *at).is_ok();
        let whole = portions.iter().all(taken);
        (new, whole)
    }

    /// Mastership begins or ends: the walk and a snapshot end.
    pub(crate) fn turns(&mut self) {
        (self.checking, self.late, self.exporting) = (None, None, None);
        self.keyspace.end_export();
    }

    /// Applies a batch; false if it does not fit.
    pub(crate) fn apply(&mut self, body: &[u8], first: Offset, count: u32, chain: u64) -> bool {
        let mut note: Option<Note> = None;
        let noted = notes_of(body, first, |one| note = Some(one)).is_ok();
        let repairs = note.as_ref().is_some_and(|note| note.repairs);
        let before = if repairs { content(&mut self.keyspace) } else { Content::new() };
        self.fresh = false;
        if !noted || self.keyspace.apply(body, first) != Ok(count) {
            return false;
        }
        drop(self.keyspace.take_trash());
        let Some(note) = note else { return true };
        let findings = self.keyspace.take_findings();
        self.unkept.took(&findings);
        let after = content(&mut self.keyspace);
        if note.repairs && before != after {
            self.mended.push(note.at);
        }
        self.seen.push(Seen { chain, note, before, after, findings });
        true
    }

    /// Executes a client's write as master: the entries of its batch.
    pub(crate) fn write(&mut self, next: Offset, serial: u64, revision: u64) -> Entries {
        self.fresh = false;
        let mut client = Client::new(&mut self.keyspace, next, true);
        // It says which write it is, and which revision it has.
        client.ask([b"SET", b"~", &unique_body(serial, revision)]);
        let dice = mix(serial);
        let (kind, of) = (dice % 100, usize::try_from(dice >> 8 & 0xffff).expect("two bytes"));
        let (hash, field) = (of % HASHES, of / HASHES);
        let (text, deleted) = (cell(of % TEXTS), cell(KEPT[0] + of % (TEXTS - KEPT[0])));
        let in_hash = |field: usize| {
            let at = cell(TEXTS + hash * (1 + FIELDS) + 1 + field);
            (at.key.as_bytes(), at.field.as_deref().unwrap_or_default().as_bytes())
        };
        let (hash, name) = in_hash(field % FIELDS);
        let (_, gone) = in_hash(KEPT[1] + field % (FIELDS - KEPT[1]));
        let (value, expiry) = (serial.to_string(), (1 << 50 | serial).to_string());
        let large = value.repeat(512 / value.len());
        let (value, text) = (value.as_bytes(), text.key.as_bytes());
        match kind {
            0..50 => client.ask([b"SET", text, value]),
            50..60 => client.ask([b"SET", text, value, b"PXAT", expiry.as_bytes()]),
            60..68 => client.ask([b"DEL", deleted.key.as_bytes()]),
            68..80 => client.ask([b"HSET", hash, name, value]),
            80..93 => client.ask([b"HSET", b"h0", name, large.as_bytes()]),
            _ => client.ask([b"HDEL", hash, gone]),
        };
        let entries = client.log.take().expect("it wrote something");
        drop(self.keyspace.take_trash());
        match self.late.take() {
            Some(late) => behind(entries, &late),
            None => entries,
        }
    }

    /// Writes the check that is due, as master.
    pub(crate) fn check(&mut self, now: Instant, open: bool, next: Offset) -> Option<Entries> {
        let begin = || Checking::new(&self.keyspace, now, INTERVAL);
        let checking = self.checking.get_or_insert_with(begin);
        if now < checking.due() {
            return None;
        }
        let mut log = EffectLog::new(next);
        checking.step(now, open, &mut self.keyspace, &mut log);
        let entries = log.take();
        if broken(Mutant::ChecksOutOfPlace) && self.late.is_none() {
            self.late = entries;
            return None;
        }
        entries
    }

    /// Writes a part anew, as master, for a copy that differs.
    pub(crate) fn repair(&mut self, part: &Part, next: Offset) -> Option<Entries> {
        let mut log = EffectLog::new(next);
        self.keyspace.repair(part, &mut log)?;
        log.take()
    }

    /// Parts that are known to differ.
    pub(crate) fn differing(&self) -> &[Part] {
        self.keyspace.differing()
    }

    /// What the copy holds.
    pub(crate) fn content(&mut self) -> Content {
        content(&mut self.keyspace)
    }

    /// Begins a snapshot, as all is after `last`, and writes what counts for `some`.
    pub(crate) fn begin_export(&mut self, last: EntryId, some: usize) -> bool {
        if !self.unkept.may_export() || last.offset < self.whole_from {
            return false;
        }
        self.keyspace.begin_export(usize::MAX);
        self.keyspace.export_some(last, some);
        self.exporting = Some(last);
        true
    }

    /// The rest, if what began at `from` goes on still.
    pub(crate) fn end_export(&mut self, from: EntryId, last: EntryId) -> Option<Portions> {
        self.exporting.take_if(|it| *it == from && self.unkept.may_export())?;
        self.keyspace.export_some(last, usize::MAX);
        let portions = self.keyspace.take_exported().into_iter();
        self.keyspace.end_export();
        Some(Rc::new(portions.map(|(at, portion)| (portion, at.offset)).collect()))
    }

    /// Something in memory is not what it was; which cell.
    pub(crate) fn goes_wrong(&mut self, rng: &mut Rng) -> Option<usize> {
        self.fresh = false;
        spoil(&mut self.keyspace, rng, |_| true)
    }
}

/// One batch of both, the second behind the first.
fn behind(mut entries: Entries, late: &Entries) -> Entries {
    entries.body.extend_from_slice(&late.body);
    entries.count += late.count;
    entries
}

/// A portion of a snapshot with something else in it; none if there is nothing to change.
pub(crate) fn forged(portions: &Portions, seed: u64, rng: &mut Rng) -> Option<(Portions, usize)> {
    let mut forged = portions.to_vec();
    let at = rng.index(forged.len());
    let (portion, offset) = forged.get_mut(at)?;
    let mut keyspace = Store::empty(seed);
    keyspace.import(portion, *offset).ok()?;
    let slots = portion.first..=portion.last;
    let cell = spoil(&mut keyspace, rng, |cell| slots.contains(&slot(cell).get()))?;
    let mut export = Export::new(usize::MAX);
    export.advance(&keyspace, EntryId::ZERO, usize::MAX);
    let (_, other) = export.take().into_iter().next()?;
    (portion.keys, portion.records) = (other.keys, other.records);
    Some((Rc::new(forged), cell))
}

/// What portions hold together.
pub(crate) fn content_of(portions: &[Portion], seed: u64) -> Content {
    let mut keyspace = Store::empty(seed);
    for portion in portions {
        // One that cannot be read shows as one that is empty.
        keyspace.import(portion, Offset(1)).ok();
    }
    content(&mut keyspace)
}

/// Changes a cell that `may` be changed; which.
fn spoil(keyspace: &mut Keyspace, rng: &mut Rng, may: impl Fn(usize) -> bool) -> Option<usize> {
    let before = content(keyspace);
    let cells: Vec<usize> = (0..CELLS).filter(|at| may(*at)).collect();
    let at = *rng.pick(&cells)?;
    let there = before[at] != 0;
    let value = format!("wrong{}", rng.below(1 << 40));
    let (value, later) = (value.as_bytes(), b"1125899906842625");
    let gone = there && rng.chance(300);
    let of = cell(at);
    let key = of.key.as_bytes();
    let mut client = Client::new(keyspace, Offset(1), true);
    match (at.checked_sub(TEXTS), &of.field) {
        (None, _) if at >= KEPT[0] && !there => return None,
        (None, _) if at < KEPT[0] && gone => client.ask([b"DEL", key]),
        (None, _) if there && rng.chance(300) => client.ask([b"PEXPIREAT", key, later]),
        (None, _) => client.ask([b"SET", key, value, b"KEEPTTL"]),
        (Some(_), None) if there => client.ask([b"PEXPIREAT", key, later]),
        (Some(_), None) => return None,
        (Some(within), Some(field)) => {
            let kept = within % (1 + FIELDS) <= KEPT[1];
            match (kept, there) {
                (false, false) => return None,
                (true, true) if gone => client.ask([b"HDEL", key, field.as_bytes()]),
                _ => client.ask([b"HSET", key, field.as_bytes(), value]),
            }
        }
    };
    (content(keyspace) != before).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_is_seen_in_its_cell_and_no_other() {
        let (mut store, mut rng, mut next) = (Store::new(3), Rng::new(5), Offset(1));
        for serial in 0..500 {
            let entries = store.write(next, serial, serial);
            next = Offset(next.0 + u64::from(entries.count));
        }
        for _ in 0..200 {
            let before = store.content();
            let Some(cell) = store.goes_wrong(&mut rng) else { continue };
            let after = store.content();
            let differ = |at: &usize| before[*at] != after[*at];
            let cells: Vec<usize> = (0..CELLS).filter(differ).collect();
            assert!(cells.contains(&cell) && cells.len() <= 2, "{cell}: {cells:?}");
        }
    }

    #[test]
    fn a_forged_snapshot_holds_something_else_in_one_cell() {
        let (mut store, mut rng) = (Store::new(3), Rng::new(5));
        let mut last = EntryId::ZERO;
        for serial in 0..500 {
            let entries = store.write(last.offset.next(), serial, serial);
            last.offset = Offset(last.offset.0 + u64::from(entries.count));
        }
        assert!(store.begin_export(last, 100));
        let portions = store.end_export(last, last).unwrap();
        let all = |portions: &Portions| {
            content_of(&portions.iter().map(|(one, _)| one.clone()).collect::<Vec<_>>(), 3)
        };
        assert_eq!(all(&portions), store.content());
        let (forged, cell) = (0..20).find_map(|_| forged(&portions, 3, &mut rng)).unwrap();
        assert_ne!(all(&forged)[cell], store.content()[cell]);
    }
}
