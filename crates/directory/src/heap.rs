//! Where items lie: pages cut into runs of 8-byte units, so that a key costs its bytes and little
//! more. A handle is 4 bytes; there is no header per run, callers know each run's length.

/// Bytes of one unit.
const UNIT: usize = 8;
/// Units of one page (1 MiB).
const PAGE_UNITS: usize = 1 << 17;
/// Longest run kept in pages, in units; longer ones are allocations of their own.
const RUN_UNITS_MAX: usize = 1 << 12;
/// Marks handles of runs that are allocations of their own.
const LARGE: u32 = 1 << 31;
/// So many pages must have become empty before their runs are taken out of the free lists.
const EMPTY_PAGES_MIN: usize = 16;
/// Free runs that a purge looks at whenever a run is taken or given back.
const PURGE_STEP: usize = 16;

/// Names a run; [`Handle::NONE`] names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(u32);

impl Handle {
    /// Names nothing.
    pub const NONE: Self = Self(0);

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    fn place(self) -> (usize, usize) {
        let units = self.0 as usize;
        (units / PAGE_UNITS, units % PAGE_UNITS)
    }
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8]>,
    used_units: usize,
    /// It holds nothing, and its free runs are being taken out of the lists.
    purged: bool,
}

/// The pages and what is free in them. At most 16 GiB in pages; the quota lies below that.
#[derive(Debug)]
pub(crate) struct Heap {
    pages: Vec<Page>,
    /// The page that new runs are cut from, and the first free unit of it.
    open: (usize, usize),
    /// Pages without a run, ready to be opened.
    empty: Vec<usize>,
    /// Closed pages that lost their last run since the last purge; their runs are still listed.
    emptied: usize,
    /// Where a purge goes on, while there is one: in the runs of so many units, at this one.
    purging: Option<(usize, usize)>,
    /// Free runs by length in units.
    free: Vec<Vec<u32>>,
    large: Vec<Box<[u8]>>,
    large_free: Vec<u32>,
    bytes: usize,
}

impl Heap {
    pub fn new() -> Self {
        let mut heap = Self {
            pages: Vec::new(),
            open: (0, 0),
            empty: Vec::new(),
            emptied: 0,
            purging: None,
            free: vec![Vec::new(); RUN_UNITS_MAX + 1],
            large: Vec::new(),
            large_free: Vec::new(),
            bytes: 0,
        };
        heap.open_page();
        heap.open.1 = 1; // unit 0 of page 0 stays unused: its handle means "none"
        heap
    }

    /// Bytes in use, rounded up to units.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies a run in, which is `head` and then `rest`.
    pub fn insert(&mut self, head: &[u8], rest: &[u8]) -> Handle {
        let len = head.len() + rest.len();
        let units = len.div_ceil(UNIT).max(1);
        self.bytes += units * UNIT;
        if units > RUN_UNITS_MAX {
            return self.insert_large([head, rest].concat().into());
        }
        self.purge(PURGE_STEP);
        let handle = self.take(units);
        let (page, unit) = handle.place();
        let page = &mut self.pages[page];
        page.used_units += units;
        let (first, second) = page.bytes[unit * UNIT..][..len].split_at_mut(head.len());
        first.copy_from_slice(head);
        second.copy_from_slice(rest);
        handle
    }

    /// The bytes from the start of the run on; at least as long as the run.
    pub fn get(&self, handle: Handle) -> &[u8] {
        debug_assert!(!handle.is_none(), "no run to read");
        if handle.0 & LARGE != 0 {
            return &self.large[(handle.0 & !LARGE) as usize];
        }
        let (page, unit) = handle.place();
        &self.pages[page].bytes[unit * UNIT..]
    }

    /// The same, to write.
    pub fn get_mut(&mut self, handle: Handle) -> &mut [u8] {
        if handle.0 & LARGE != 0 {
            return &mut self.large[(handle.0 & !LARGE) as usize];
        }
        let (page, unit) = handle.place();
        &mut self.pages[page].bytes[unit * UNIT..]
    }

    /// Gives a run of `len` bytes back; nothing may refer to it any more.
    pub fn remove(&mut self, handle: Handle, len: usize) {
        let units = len.div_ceil(UNIT).max(1);
        self.bytes -= units * UNIT;
        if handle.0 & LARGE != 0 {
            let place = handle.0 & !LARGE;
            self.large[place as usize] = Box::default();
            self.large_free.push(place);
            return;
        }
        let page = handle.place().0;
        self.pages[page].used_units -= units;
        self.free[units].push(handle.0);
        if self.pages[page].used_units == 0 && page != self.open.0 {
            self.emptied += 1;
            if self.purging.is_none() && self.emptied >= EMPTY_PAGES_MIN.max(self.pages.len() / 4) {
                self.begin_purge();
            }
        }
        self.purge(PURGE_STEP);
    }

    fn insert_large(&mut self, run: Box<[u8]>) -> Handle {
        let place = self.large_free.pop().unwrap_or_else(|| {
            self.large.push(Box::default());
            u32::try_from(self.large.len() - 1).expect("the quota bounds the number of runs")
        });
        self.large[place as usize] = run;
        Handle(place | LARGE)
    }

    /// A free run of exactly `units`.
    fn take(&mut self, units: usize) -> Handle {
        if let Some(exact) = self.pop(units) {
            return Handle(exact);
        }
        if self.open.1 + units > PAGE_UNITS {
            let longer = (units + 1..=RUN_UNITS_MAX).find_map(|len| Some((len, self.pop(len)?)));
            if let Some((len, run)) = longer {
                self.free[len - units].push(run + to_u32(units));
                return Handle(run);
            }
            self.close_page();
            self.open_page();
        }
        let (page, unit) = self.open;
        self.open.1 += units;
        Handle(to_u32(page * PAGE_UNITS + unit))
    }

    /// A free run of this length, if one is found soon whose page is not being purged.
    fn pop(&mut self, units: usize) -> Option<u32> {
        for _ in 0..PURGE_STEP {
            let run = self.free[units].pop()?;
            if !self.pages[Handle(run).place().0].purged {
                return Some(run);
            }
        }
        None
    }

    /// Lists what is left of the open page as free.
    fn close_page(&mut self) {
        let (page, mut unit) = self.open;
        while unit < PAGE_UNITS {
            let units = (PAGE_UNITS - unit).min(RUN_UNITS_MAX);
            self.free[units].push(to_u32(page * PAGE_UNITS + unit));
            unit += units;
        }
    }

    fn open_page(&mut self) {
        let page = self.empty.pop().unwrap_or_else(|| {
            let bytes = vec![0; PAGE_UNITS * UNIT].into_boxed_slice();
            self.pages.push(Page { bytes, used_units: 0, purged: false });
            self.pages.len() - 1
        });
        self.open = (page, usize::from(page == 0));
    }

    /// Begins to take the runs of pages that hold nothing out of the free lists, so that the pages
    /// can be cut anew in other lengths. They hold nothing until that is done.
    fn begin_purge(&mut self) {
        let open = self.open.0;
        for (number, page) in self.pages.iter_mut().enumerate() {
            page.purged = number != open && page.used_units == 0;
        }
        for ready in &self.empty {
            self.pages[*ready].purged = false;
        }
        (self.purging, self.emptied) = (Some((0, 0)), 0);
    }

    /// Looks at so many free runs more.
    fn purge(&mut self, looks: usize) {
        let Some((mut units, mut at)) = self.purging else { return };
        for _ in 0..looks {
            let Some(list) = self.free.get_mut(units) else { return self.end_purge() };
            match list.get(at) {
                Some(run) if self.pages[Handle(*run).place().0].purged => {
                    list.swap_remove(at);
                }
                Some(_) => at += 1,
                None => (units, at) = (units + 1, 0),
            }
        }
        self.purging = Some((units, at));
    }

    /// No list names a run of the purged pages any more.
    fn end_purge(&mut self) {
        self.purging = None;
        for (number, page) in self.pages.iter_mut().enumerate() {
            if std::mem::take(&mut page.purged) {
                self.empty.push(number);
            }
        }
    }
}

fn to_u32(units: usize) -> u32 {
    u32::try_from(units).expect("the quota keeps pages below 16 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A small generator; tests must replay.
    fn next(state: &mut u64) -> usize {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(*state >> 33).unwrap()
    }

    #[test]
    fn runs_keep_their_bytes_whatever_else_comes_and_goes() {
        let mut heap = Heap::new();
        let mut kept: BTreeMap<usize, (Handle, Vec<u8>)> = BTreeMap::new();
        let mut random = 7;
        for round in 0..60_000 {
            let slot = next(&mut random) % 3000;
            if let Some((handle, run)) = kept.remove(&slot) {
                assert_eq!(heap.get(handle)[..run.len()], run[..]);
                heap.remove(handle, run.len());
            }
            let longest = if next(&mut random).is_multiple_of(500) { 70_000 } else { 900 };
            let run = vec![u8::try_from(round % 251).unwrap(); next(&mut random) % longest];
            kept.insert(slot, (heap.insert(&run[..run.len() / 2], &run[run.len() / 2..]), run));
        }
        for (handle, run) in kept.values() {
            assert_eq!(heap.get(*handle)[..run.len()], run[..]);
        }
        for (handle, run) in kept.into_values() {
            heap.remove(handle, run.len());
        }
        assert_eq!(heap.bytes(), 0);
    }

    #[test]
    fn runs_keep_their_bytes_while_emptied_pages_are_purged() {
        let mut heap = Heap::new();
        let mut kept: Vec<(Handle, Vec<u8>)> = Vec::new();
        let mut random = 7;
        for round in 0_u8..8 {
            // Each time another length, and all but a few of the last time's go meanwhile.
            let mut old = std::mem::take(&mut kept);
            for number in 0..60_000_usize {
                let run = vec![round ^ number.to_le_bytes()[0]; 300 + usize::from(round) * 100];
                kept.push((heap.insert(&[], &run), run));
                if !old.is_empty() && number % 5000 > 0 {
                    let place = next(&mut random) % 50;
                    let place = old.len() - 1 - place.min(old.len() - 1);
                    let (handle, run) = old.swap_remove(place);
                    assert_eq!(heap.get(handle)[..run.len()], run[..]);
                    heap.remove(handle, run.len());
                }
            }
            kept.extend(old);
        }
        for (handle, run) in &kept {
            assert_eq!(heap.get(*handle)[..run.len()], run[..]);
        }
        let longest = 60_000 * (1000 + 900);
        assert!(heap.pages.len() < 2 * longest / (PAGE_UNITS * UNIT), "{}", heap.pages.len());
        for (handle, run) in kept {
            heap.remove(handle, run.len());
        }
        assert_eq!(heap.bytes(), 0);
    }

    #[test]
    fn emptied_pages_serve_other_lengths() {
        let mut heap = Heap::new();
        let small: Vec<Handle> = (0..600_000).map(|_| heap.insert(&[], &[1; 64])).collect();
        let pages = heap.pages.len();
        small.into_iter().for_each(|handle| heap.remove(handle, 64));
        (0..40_000).for_each(|_| {
            heap.insert(&[], &[2; 800]);
        });
        assert!(heap.pages.len() <= pages + 1, "{} pages, {pages} before", heap.pages.len());
    }
}
