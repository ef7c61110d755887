//! Entries of a stream that lie in one piece, as Redis keeps them: IDs as distances from the first
//! one, and no names of fields where they are those of the first entry.
//!
//! A block is full by Redis's rule (100 entries, or 4096 bytes of what Redis keeps), for trimming
//! with `~` drops whole blocks. A deleted entry stays in its block and is passed over. An item is
//! `flags, ms, seq, [fields, names …,] values …, items of this entry`; before the first one stand
//! `fields, names …, 0`.

use super::id::Id;
use crate::value::listpack::{HEAD_BYTES, Item, Items, int_bytes, push_int};

/// A block takes no more entries beyond so many, deleted ones included.
const ENTRIES_MAX: u32 = 100;
/// Nor if it then had so many bytes.
const BYTES_MAX: usize = 4096;

/// Flags of an entry.
const DEAD: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Fields and their values.
pub type Pairs<'a> = [(Item<'a>, Item<'a>)];

/// Entries in the order of their IDs, each behind the block's ID, which is the first one's.
#[derive(Clone)]
pub struct Block {
    row: Vec<u8>,
    /// Where the first entry begins.
    begin: u32,
    /// How many fields the first one has.
    fields: u32,
    live: u32,
    dead: u32,
    /// The last entry's ID, be it deleted.
    last: Id,
}

/// An entry, deleted or not.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: Id,
    pub is_dead: bool,
    /// How many fields it has.
    pub fields: usize,
    names: Option<Items<'a>>,
    own: Items<'a>,
    flags_at: usize,
}

impl<'a> Entry<'a> {
    /// Fields and values.
    pub fn pairs(&self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> + use<'a> {
        let (mut names, mut own) = (self.names, self.own);
        (0..self.fields).map_while(move |_| {
            let name = match &mut names {
                Some(names) => names.next(),
                None => own.next(),
            };
            Some((name?, own.next()?))
        })
    }
}

impl Block {
    /// An empty one for entries like the one with these pairs, which is the first.
    pub fn new(id: Id, pairs: &Pairs<'_>) -> Self {
        let mut row = Vec::new();
        push_int(&mut row, pairs.len() as i64);
        pairs.iter().for_each(|(name, _)| name.push(&mut row));
        push_int(&mut row, 0);
        let (begin, fields) = (row.len() as u32, pairs.len() as u32);
        Self { row, begin, fields, live: 0, dead: 0, last: id }
    }

    /// How many entries are not deleted.
    pub fn live(&self) -> usize {
        self.live as usize
    }

    /// The last entry's ID, be it deleted.
    pub fn last(&self) -> Id {
        self.last
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        self.row.capacity()
    }

    /// Whether an entry may be added whose texts have so many bytes.
    pub fn has_room(&self, bytes: usize) -> bool {
        let counts = int_bytes(self.live.into()) + int_bytes(self.dead.into());
        let size = HEAD_BYTES + 1 + counts + self.row.len();
        size + bytes < BYTES_MAX && self.live + self.dead < ENTRIES_MAX
    }

    /// Nothing will be added any more.
    pub fn close(&mut self) {
        self.row.shrink_to_fit();
    }

    /// Adds an entry behind the last one.
    pub fn push(&mut self, first: Id, id: Id, pairs: &Pairs<'_>) {
        let mut own = self.names();
        let same = pairs.len() == self.fields as usize
            && pairs.iter().all(|(name, _)| own.next() == Some(*name));
        let (ms, seq) = id.minus(first);
        let row = &mut self.row;
        push_int(row, if same { SAME_FIELDS } else { 0 });
        push_int(row, ms);
        push_int(row, seq);
        let count = pairs.len() as i64;
        if !same {
            push_int(row, count);
        }
        for (name, value) in pairs {
            if !same {
                name.push(row);
            }
            value.push(row);
        }
        push_int(row, if same { count + 3 } else { count * 2 + 4 });
        self.live += 1;
        self.last = id;
    }

    fn names(&self) -> Items<'_> {
        let mut names = Items::from(&self.row, 0);
        names.next();
        names
    }

    /// Its entries, deleted ones included, in order. `first` is the block's ID.
    pub fn entries(&self, first: Id) -> impl Iterator<Item = Entry<'_>> {
        let mut items = Items::from(&self.row, self.begin as usize);
        std::iter::from_fn(move || self.entry(first, &mut items))
    }

    fn entry<'a>(&'a self, first: Id, items: &mut Items<'a>) -> Option<Entry<'a>> {
        let flags_at = items.at();
        let flags = items.int()?;
        let id = first.plus((items.int()?, items.int()?));
        let same = flags & SAME_FIELDS != 0;
        let fields =
            if same { self.fields as usize } else { usize::try_from(items.int()?).ok()? };
        let own = *items;
        items.skip_some(if same { fields } else { fields.checked_mul(2)? })?;
        items.int()?;
        let names = same.then(|| self.names());
        Some(Entry { id, is_dead: flags & DEAD != 0, fields, names, own, flags_at })
    }

    /// The entry with this ID, if it is there and not deleted.
    pub fn find(&self, first: Id, id: Id) -> Option<Entry<'_>> {
        let mut entries = self.entries(first).skip_while(|entry| entry.id < id);
        entries.next().filter(|entry| entry.id == id && !entry.is_dead)
    }

    /// Marks an entry as deleted; whether it was there.
    pub fn delete(&mut self, first: Id, id: Id) -> bool {
        let Some(at) = self.find(first, id).map(|entry| entry.flags_at) else { return false };
        self.mark_dead(at);
        true
    }

    /// Marks all entries up to and with this ID; how many they were.
    pub fn delete_to(&mut self, first: Id, to: Id) -> usize {
        let up_to = self.entries(first).take_while(|entry| entry.id <= to);
        let all: Vec<_> = up_to.filter(|e| !e.is_dead).map(|entry| entry.flags_at).collect();
        all.iter().for_each(|at| self.mark_dead(*at));
        all.len()
    }

    /// Flags are one byte.
    fn mark_dead(&mut self, flags_at: usize) {
        self.row[flags_at] |= DEAD as u8;
        self.live -= 1;
        self.dead += 1;
    }

    /// The same with no entries behind `end`: of a block whose first one is not.
    pub fn up_to(&self, first: Id, end: Id) -> Self {
        let mut copy = Self { live: 0, dead: 0, last: first, ..self.clone() };
        let mut items = Items::from(&self.row, self.begin as usize);
        let mut len = items.at();
        while let Some(entry) = self.entry(first, &mut items).filter(|entry| entry.id <= end) {
            (copy.live, copy.dead) = match entry.is_dead {
                true => (copy.live, copy.dead + 1),
                false => (copy.live + 1, copy.dead),
            };
            (copy.last, len) = (entry.id, items.at());
        }
        copy.row.truncate(len);
        copy
    }

    /// Its items as a row of Redis's: the counts of entries and of deleted ones, then the others.
    pub fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.row.len() + 12);
        push_int(&mut row, self.live.into());
        push_int(&mut row, self.dead.into());
        row.extend_from_slice(&self.row);
        row
    }

    /// Reads what [`Block::row`] gives, or what Redis has written; none if it is not well-formed or
    /// its IDs do not ascend. `first` is the block's ID.
    pub fn of_row(first: Id, row: &[u8]) -> Option<Self> {
        let (mut block, counts) = Self::uncounted(first, row)?;
        block.count(first)?;
        let counted = (i64::from(block.live), i64::from(block.dead));
        (counted == counts && block.live + block.dead > 0).then_some(block)
    }

    /// Reads the entries of a row that are not deleted, and these alone: Redis leaves deleted ones
    /// behind whose IDs it gives once more after XSETID. None as in [`Block::of_row`], and if there
    /// are none.
    pub fn of_live(first: Id, row: &[u8]) -> Option<Self> {
        let (all, counts) = Self::uncounted(first, row)?;
        let mut items = Items::from(&all.row, all.begin as usize);
        let mut block: Option<Self> = None;
        while !items.is_done() {
            let entry = all.entry(first, &mut items)?;
            if entry.is_dead {
                continue;
            }
            let pairs: Vec<_> = entry.pairs().collect();
            let block = block.get_or_insert_with(|| Self::new(first, &pairs));
            let ascends = if block.live == 0 { entry.id >= first } else { entry.id > block.last };
            ascends.then(|| block.push(first, entry.id, &pairs))?;
        }
        block.filter(|block| i64::from(block.live) == counts.0)
    }

    /// The block of a row, and the counts that stand at its beginning: nothing of its entries is
    /// read.
    fn uncounted(first: Id, row: &[u8]) -> Option<(Self, (i64, i64))> {
        let mut items = Items::from(row, 0);
        let counts = (items.int()?, items.int()?);
        let rest = items.at();
        let fields = u32::try_from(items.int()?).ok()?;
        items.skip_some(fields as usize)?;
        if items.int()? != 0 {
            return None;
        }
        let begin = u32::try_from(items.at() - rest).ok()?;
        let row = row.get(rest..)?.to_vec();
        Some((Self { row, begin, fields, live: 0, dead: 0, last: first }, counts))
    }

    /// Counts the entries; none if they are not well-formed.
    fn count(&mut self, first: Id) -> Option<()> {
        let mut items = Items::from(&self.row, self.begin as usize);
        let (mut live, mut dead, mut last) = (0, 0, None);
        while !items.is_done() {
            let begin = items.at();
            let entry = self.entry(first, &mut items)?;
            // Flags that take one byte are changed in place.
            let flags = self.row.get(begin).filter(|flags| **flags < 4);
            flags.filter(|_| entry.id >= first && last.is_none_or(|last| last < entry.id))?;
            last = Some(entry.id);
            (live, dead) = if entry.is_dead { (live, dead + 1) } else { (live + 1, dead) };
        }
        (self.live, self.dead, self.last) = (live, dead, last?);
        Some(())
    }
}
