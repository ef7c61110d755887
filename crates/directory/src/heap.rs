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

    /// Copies `run` in.
    pub fn insert(&mut self, run: &[u8]) -> Handle {
        let units = run.len().div_ceil(UNIT).max(1);
        self.bytes += units * UNIT;
        if units > RUN_UNITS_MAX {
            return self.insert_large(run);
        }
        let handle = self.take(units);
        let (page, unit) = handle.place();
        let page = &mut self.pages[page];
        page.used_units += units;
        page.bytes[unit * UNIT..unit * UNIT + run.len()].copy_from_slice(run);
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
            if self.emptied >= EMPTY_PAGES_MIN.max(self.pages.len() / 4) {
                self.purge();
            }
        }
    }

    fn insert_large(&mut self, run: &[u8]) -> Handle {
        let place = self.large_free.pop().unwrap_or_else(|| {
            self.large.push(Box::default());
            u32::try_from(self.large.len() - 1).expect("the quota bounds the number of runs")
        });
        self.large[place as usize] = run.into();
        Handle(place | LARGE)
    }

    /// A free run of exactly `units`.
    fn take(&mut self, units: usize) -> Handle {
        if let Some(exact) = self.free[units].pop() {
            return Handle(exact);
        }
        if self.open.1 + units > PAGE_UNITS {
            let longer = (units + 1..=RUN_UNITS_MAX).find(|len| !self.free[*len].is_empty());
            if let Some(len) = longer {
                let run = self.free[len].pop().expect("the list was found not empty");
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
            self.pages.push(Page { bytes, used_units: 0 });
            self.pages.len() - 1
        });
        self.open = (page, usize::from(page == 0));
    }

    /// Takes the runs of pages that hold nothing out of the free lists, so that the pages can be
    /// cut anew in other lengths.
    fn purge(&mut self) {
        let open = self.open.0;
        let pages = &self.pages;
        let used = |run: &u32| {
            let page = Handle(*run).place().0;
            page == open || pages[page].used_units > 0
        };
        for list in &mut self.free {
            list.retain(used);
        }
        self.empty = (0..self.pages.len())
            .filter(|page| *page != open && self.pages[*page].used_units == 0)
            .collect();
        self.emptied = 0;
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
            kept.insert(slot, (heap.insert(&run), run));
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
    fn emptied_pages_serve_other_lengths() {
        let mut heap = Heap::new();
        let small: Vec<Handle> = (0..600_000).map(|_| heap.insert(&[1; 64])).collect();
        let pages = heap.pages.len();
        small.into_iter().for_each(|handle| heap.remove(handle, 64));
        (0..40_000).for_each(|_| {
            heap.insert(&[2; 800]);
        });
        assert!(heap.pages.len() <= pages + 1, "{} pages, {pages} before", heap.pages.len());
    }
}
