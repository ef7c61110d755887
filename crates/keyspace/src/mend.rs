//! Taking a repair on a member whose part differs.

use crate::apply::{Error, Fault};
use crate::compare::{code, each_item, shape};
use crate::differ::Replaced;
use crate::effects::{Op, Reader};
use crate::keyspace::{At, Keyspace};
use crate::part::{Lens, Part, each_between, slots_between};
use crate::snapshot::{Portion, Touch};
use crate::table::Place;
use crate::value::hash::Hash;
use crate::value::list::{List, Side};
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use crate::value::stream::Stream;
use crate::value::{Type, Value};
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::mutant::{Mutant, broken};
use std::collections::BTreeMap;

/// No value is longer; a wild length must not take all memory.
const VALUE_BYTES_MAX: u64 = 1 << 31;
/// Nothing more is replaced as long as nobody has asked for so many findings.
const REPLACED_MAX: usize = 4096;

/// What a master's slot has in a part.
struct Theirs<'a> {
    digest: u64,
    records: &'a [u8],
    /// Type and expiry of large values.
    large: BTreeMap<&'a [u8], (u8, Option<u64>)>,
}

/// What a master's value is, and some of it.
struct Items<'a> {
    kind: u8,
    len: u64,
    expiry: Option<u64>,
    records: &'a [u8],
}

impl Keyspace {
    /// Compares a part with the master's at this place of the log.
    pub(crate) fn apply_check(
        &mut self,
        effects: &mut Reader<'_>,
        at: Offset,
    ) -> Result<(), Fault> {
        let (part, seed, digest) = head(effects).ok_or(Fault::Malformed)?;
        // Another seed is another order: only whoever reads an archive has one.
        if seed != self.seed || self.holds_some(&part, at) {
            return Ok(());
        }
        if let Part::Keys { to, .. } = part {
            self.checked = to;
        }
        self.found.fresh.checked += 1;
        let same = self.part_digest(&part, &self.lens(seed)) == digest;
        if same || broken(Mutant::ComparesNothing) {
            self.agrees(&part);
        } else {
            self.differs(&part, at);
        }
        Ok(())
    }

    /// Takes what the master has where it differs.
    pub(crate) fn apply_repair(
        &mut self,
        effects: &mut Reader<'_>,
        at: Offset,
    ) -> Result<(), Fault> {
        let (part, seed, digest) = head(effects).ok_or(Fault::Malformed)?;
        let mut content = Reader::new(effects.text().ok_or(Fault::Malformed)?);
        let lens = self.lens(seed);
        match &part {
            Part::Keys { from, to } => {
                let theirs = slots(&mut content).ok_or(Fault::Malformed)?;
                for (slot, from, to) in slots_between(*from, *to) {
                    if !self.holds(slot, at) {
                        let theirs = theirs.get(&slot.get());
                        self.take_keys(slot, &lens, (from, to), theirs, (&part, at))?;
                    }
                }
            }
            Part::Items { key, from, to } => {
                let items = items(&mut content).ok_or(Fault::Malformed)?;
                let slot = self.locate(key);
                let same = self.part_digest(&part, &lens) == digest;
                if !same && !self.holds(slot.slot, at) {
                    self.take_items(slot, key, &lens, (*from, *to), &items, (&part, at))?;
                }
            }
        }
        if lens.native && !self.holds_some(&part, at) && self.part_digest(&part, &lens) == digest {
            self.agrees(&part);
        }
        Ok(())
    }

    /// Whether a slot of the part was imported as it was after entry `at` or a later one.
    fn holds_some(&self, part: &Part, at: Offset) -> bool {
        let (first, last) = part.slots();
        let imported = !self.is_whole();
        imported
            && (first.get()..=last.get())
                .any(|number| Slot::try_from(number).is_ok_and(|slot| self.holds(slot, at)))
    }

    fn take_keys(
        &mut self,
        slot: Slot,
        lens: &Lens,
        range: (u64, u64),
        theirs: Option<&Theirs<'_>>,
        (part, at): (&Part, Offset),
    ) -> Result<(), Fault> {
        let (digest, records) = theirs.map_or((0, &[][..]), |one| (one.digest, one.records));
        if self.slot_part(slot, lens, range) == digest {
            return Ok(());
        }
        if self.may_not_take() {
            self.left(part, at);
            return Ok(());
        }
        let large = |key: &[u8]| theirs.and_then(|one| one.large.get(key)).copied();
        // A value that is large there, too, stays: its items are other parts.
        let spared = |entry: &crate::table::Entry<'_, Value>| {
            large(entry.key()).is_some_and(|(kind, _)| kind == code(shape(&entry.value()).0))
        };
        let Some((keys, own)) = self.own_keys(slot, lens, range, spared) else {
            self.left(part, at);
            return Ok(());
        };
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        each_between(self.table(slot), lens, range, |entry| match spared(&entry) {
            true => stay.push(entry.key().to_vec()),
            false => gone.push(entry.key().to_vec()),
        });
        for key in &gone {
            let of = self.locate(key);
            if let Some(place) = self.find(of, key) {
                self.remove(of, place);
            }
        }
        for key in &stay {
            let of = self.locate(key);
            let expiry = large(key).and_then(|(_, expiry)| expiry);
            self.expire_at(of, key, expiry);
        }
        let taken = if broken(Mutant::MendsWithOwn) { &own } else { records };
        self.take_records(slot, taken, at)?;
        self.replaced(slot, at, (keys, own), records);
        Ok(())
    }

    fn take_items(
        &mut self,
        of: At,
        key: &[u8],
        lens: &Lens,
        range: (u64, u64),
        items: &Items<'_>,
        (part, at): (&Part, Offset),
    ) -> Result<(), Fault> {
        if self.may_not_take() {
            self.left(part, at);
            return Ok(());
        }
        let place = self.find(of, key);
        let kind = place.map(|place| self.kind(of, place)).filter(|kind| code(*kind) == items.kind);
        // A value of another type goes as a whole.
        let own_range = if kind.is_some() { range } else { (0, u64::MAX) };
        let Some(own) = self.own_items(of, key, own_range, lens) else {
            self.left(part, at);
            return Ok(());
        };
        match (place, kind) {
            (Some(place), Some(kind)) => self.drop_items(of, place, kind, lens, range),
            (Some(place), None) => self.remove(of, place),
            (None, _) => {}
        }
        match items.kind {
            1 => self.take_piece(of, key, items, at)?,
            3 => self.take_list(of, key, range, items)?,
            6 => self.take_stream(of, key, range, items, at)?,
            _ => self.take_records(of.slot, items.records, at)?,
        }
        self.expire_at(of, key, items.expiry);
        self.replaced(of.slot, at, (u32::from(place.is_some()), own), items.records);
        Ok(())
    }

    /// Removes fields or members in a range; all else is written over.
    fn drop_items(&mut self, of: At, place: Place, kind: Type, lens: &Lens, range: (u64, u64)) {
        let mut names: Vec<Vec<u8>> = Vec::new();
        if let crate::table::View::Object(value) = self.table(of.slot).entry(place).value() {
            each_item(value, lens, range, &mut |name, _| names.push(name.to_vec()));
        }
        let names = &names;
        match kind {
            Type::Hash => self.update(of, place, |it: &mut Hash, touch| {
                for name in names {
                    it.remove(touch, name);
                }
            }),
            Type::Set => self.update(of, place, |it: &mut Set, touch| {
                for name in names {
                    it.remove(touch, name);
                }
            }),
            Type::Sorted => self.update(of, place, |it: &mut Sorted, touch| {
                for name in names {
                    it.remove(touch, name);
                }
            }),
            Type::String | Type::List | Type::Stream => {}
        }
    }

    fn take_piece(
        &mut self,
        of: At,
        key: &[u8],
        items: &Items<'_>,
        at: Offset,
    ) -> Result<(), Fault> {
        let len = usize::try_from(items.len.min(VALUE_BYTES_MAX)).map_err(|_| Fault::Malformed)?;
        let place = match self.find(of, key) {
            Some(place) => place,
            None => self.put_text(of, key, None, b"", None),
        };
        let end = len..len;
        self.resize_text(of, key, place, len, end);
        self.take_records(of.slot, items.records, at)
    }

    /// Puts items in the place of those in the range, and brings the list to the master's length.
    fn take_list(
        &mut self,
        of: At,
        key: &[u8],
        (from, to): (u64, u64),
        items: &Items<'_>,
    ) -> Result<(), Fault> {
        let place = self.find(of, key);
        let old = place.and_then(|place| self.collection::<List>(of, place));
        let mut list = List::default();
        let mut touch = Touch::nobody(self.hasher());
        let mut push = |item: &[u8]| {
            if (list.len() as u64) < items.len {
                list.push(&mut touch, Side::Back, item);
            }
        };
        let size = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        let mut before = 0;
        for item in old.iter().flat_map(|old| old.iter_from(0)).take(size(from)) {
            push(item);
            before += 1;
        }
        // What is missing before them comes with another repair.
        (before..from.min(VALUE_BYTES_MAX)).for_each(|_| push(b""));
        each_pushed(items.records, &mut push).ok_or(Fault::Malformed)?;
        let rest = old.iter().flat_map(|old| old.iter_from(0)).skip(size(to));
        rest.for_each(&mut push);
        let expiry = place.and_then(|place| self.expiry(of, place));
        if list.len() > 0 {
            self.put_object(of, key, place, Value::List(list), expiry);
        }
        Ok(())
    }

    /// Makes what is in the range what the master has there.
    fn take_stream(
        &mut self,
        of: At,
        key: &[u8],
        range: (u64, u64),
        items: &Items<'_>,
        at: Offset,
    ) -> Result<(), Fault> {
        let mut other = Self::new(self.seed);
        other.take_records(of.slot, items.records, at)?;
        let theirs = other.find(of, key);
        let theirs = theirs.and_then(|place| other.collection::<Stream>(of, place));
        let theirs = theirs.ok_or(Fault::Malformed)?;
        let place = match self.find(of, key) {
            Some(place) => place,
            None => self.put_collection::<Stream>(of, key),
        };
        self.update(of, place, |it: &mut Stream, touch| it.mend(touch, theirs, range));
        Ok(())
    }

    fn expire_at(&mut self, of: At, key: &[u8], expiry: Option<u64>) {
        if let Some(place) = self.find(of, key)
            && self.expiry(of, place) != expiry
        {
            self.put_expiry(of, place, expiry);
        }
    }

    fn take_records(&mut self, slot: Slot, records: &[u8], at: Offset) -> Result<(), Fault> {
        let slots = slot.get()..=slot.get();
        self.apply_records(records, at, &slots)
    }

    fn replaced(&mut self, slot: Slot, at: Offset, own: (u32, Vec<u8>), records: &[u8]) {
        self.mark_written(slot, at);
        let mut count = 0;
        crate::apply::keys_of(records, |_| count += 1).ok();
        let number = slot.get();
        let portion = |(keys, records)| Portion { first: number, last: number, keys, records };
        let masters = portion((count, records.to_vec()));
        if broken(Mutant::MendsUnkept) {
            return;
        }
        self.found.fresh.replaced.push(Replaced { at, own: portion(own), masters });
    }

    /// Whether what is replaced could not be shown to the caller, or kept by it.
    fn may_not_take(&self) -> bool {
        self.found.keep || self.found.fresh.replaced.len() >= REPLACED_MAX
    }
}

/// An entry about comparing, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The entry.
    pub at: Offset,
    /// The part.
    pub part: Part,
    /// What the master's copy has.
    pub digest: u64,
    /// Whether the entry has the part's content, for those that hold something else.
    pub repairs: bool,
}

/// The entries of a batch, whose first is `first`, that are checks or repairs.
///
/// # Errors
/// [`Error`]; those before it have been visited.
pub fn notes_of(body: &[u8], first: Offset, mut visit: impl FnMut(Note)) -> Result<(), Error> {
    let (mut reader, mut at) = (Reader::new(body), first);
    while !reader.is_empty() {
        let malformed = Error::Malformed { offset: at };
        let mut effects = Reader::new(reader.text().ok_or(malformed)?);
        let op = effects.byte().and_then(Op::from_code);
        if let Some(op @ (Op::Check | Op::Repair)) = op {
            let (part, _, digest) = head(&mut effects).ok_or(malformed)?;
            visit(Note { at, part, digest, repairs: op == Op::Repair });
        }
        at = at.next();
    }
    Ok(())
}

/// What both kinds of entries begin with: part, seed, digest.
pub(crate) fn head(effects: &mut Reader<'_>) -> Option<(Part, u64, u64)> {
    let part = Part::decode(effects.text()?)?;
    let mut number = || effects.text()?.try_into().ok().map(u64::from_le_bytes);
    Some((part, number()?, number()?))
}

fn slots<'a>(content: &mut Reader<'a>) -> Option<BTreeMap<u16, Theirs<'a>>> {
    let mut all = BTreeMap::new();
    while !content.is_empty() {
        let slot = u16::try_from(content.varint()?).ok()?;
        let (digest, records) = (content.number()?, content.text()?);
        let count = content.varint()?;
        let mut heads = Reader::new(content.text()?);
        let mut large = BTreeMap::new();
        for _ in 0..count {
            let (key, kind, expiry) = (heads.text()?, heads.byte()?, heads.varint()?);
            large.insert(key, (kind, (expiry > 0).then_some(expiry)));
        }
        all.insert(slot, Theirs { digest, records, large });
    }
    Some(all)
}

fn items<'a>(content: &mut Reader<'a>) -> Option<Items<'a>> {
    let (kind, len, expiry) = (content.byte()?, content.varint()?, content.varint()?);
    let expiry = (expiry > 0).then_some(expiry);
    Some(Items { kind, len, expiry, records: content.text()? })
}

/// Visits what records push to the back of a list.
fn each_pushed(records: &[u8], visit: &mut dyn FnMut(&[u8])) -> Option<()> {
    let mut reader = Reader::new(records);
    while !reader.is_empty() {
        let mut effects = Reader::new(reader.text()?);
        while !effects.is_empty() {
            if effects.byte().and_then(Op::from_code)? != Op::PushBack {
                return None;
            }
            effects.text()?;
            for _ in 0..effects.count()? {
                visit(effects.text()?);
            }
        }
    }
    Some(())
}
