//! What is in a file: as the process sees it, and as a crash would leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const PAGE_BYTES: u64 = 4096;
const SECTOR_BYTES: usize = 512;

type Page = Arc<[u8; PAGE_BYTES as usize]>;

/// Bytes in pages; an absent page is zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub bytes: u64,
    pages: BTreeMap<u64, Page>,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub now: Content,
    stable: Content,
    dirty: BTreeSet<u64>,
    /// The shortest it was made since the last flush.
    shrunk: Option<u64>,
    pub handles: u64,
}

/// What a flush will make stable: the state when it began.
pub(super) struct Begun {
    content: Content,
    dirty: BTreeSet<u64>,
    shrunk: Option<u64>,
}

fn blank() -> Page {
    Arc::new([0; PAGE_BYTES as usize])
}

/// The pieces of `length` bytes at `position`: page, place in the page, place in the bytes, size.
fn pieces(position: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= length {
            return None;
        }
        let at = position + done as u64;
        let within = (at % PAGE_BYTES) as usize;
        let size = (PAGE_BYTES as usize - within).min(length - done);
        let piece = (at / PAGE_BYTES, within, done, size);
        done += size;
        Some(piece)
    })
}

impl Content {
    pub fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let left = usize::try_from(self.bytes.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        for (page, within, at, size) in pieces(position, length) {
            match self.pages.get(&page) {
                Some(page) => buffer[at..at + size].copy_from_slice(&page[within..within + size]),
                None => buffer[at..at + size].fill(0),
            }
        }
        length
    }

    fn write(&mut self, bytes: &[u8], position: u64) {
        for (page, within, at, size) in pieces(position, bytes.len()) {
            let page = Arc::make_mut(self.pages.entry(page).or_insert_with(blank));
            page[within..within + size].copy_from_slice(&bytes[at..at + size]);
        }
        self.bytes = self.bytes.max(position + bytes.len() as u64);
    }

    fn truncate(&mut self, bytes: u64) {
        if bytes >= self.bytes {
            self.bytes = bytes;
            return;
        }
        self.bytes = bytes;
        self.blank_end();
    }

    /// Makes everything behind the end zero.
    fn blank_end(&mut self) {
        self.pages.split_off(&self.bytes.div_ceil(PAGE_BYTES));
        if let Some(last) = self.pages.get_mut(&(self.bytes / PAGE_BYTES)) {
            Arc::make_mut(last)[(self.bytes % PAGE_BYTES) as usize..].fill(0);
        }
    }

    fn take_page(&mut self, number: u64, from: &Self, sectors: usize) {
        let new = from.pages.get(&number).cloned().unwrap_or_else(blank);
        let page = Arc::make_mut(self.pages.entry(number).or_insert_with(blank));
        let size = sectors * SECTOR_BYTES;
        page[..size].copy_from_slice(&new[..size]);
    }
}

impl Inode {
    pub fn opened() -> Self {
        Self { handles: 1, ..Self::default() }
    }

    pub fn write(&mut self, bytes: &[u8], position: u64) {
        self.now.write(bytes, position);
        self.dirty.extend(pieces(position, bytes.len()).map(|(page, ..)| page));
    }

    pub fn grow(&mut self, bytes: u64) {
        self.now.bytes = self.now.bytes.max(bytes);
    }

    pub fn truncate(&mut self, bytes: u64) {
        if bytes < self.now.bytes {
            self.shrunk = Some(self.shrunk.map_or(bytes, |least| least.min(bytes)));
            self.dirty.split_off(&bytes.div_ceil(PAGE_BYTES));
        }
        self.now.truncate(bytes);
    }

    pub fn begin_sync(&mut self) -> Begun {
        let (dirty, shrunk) = (std::mem::take(&mut self.dirty), self.shrunk.take());
        Begun { content: self.now.clone(), dirty, shrunk }
    }

    pub fn end_sync(&mut self, begun: Begun, failed: bool) {
        let least = begun.shrunk.unwrap_or(u64::MAX).min(begun.content.bytes);
        self.stable.truncate(self.stable.bytes.min(least));
        self.stable.bytes = begun.content.bytes;
        if failed {
            // Only the size got there; the pages stay in the cache and look clean.
            return;
        }
        for page in &begun.dirty {
            let whole = PAGE_BYTES as usize / SECTOR_BYTES;
            self.stable.take_page(*page, &begun.content, whole);
        }
    }

    /// What a crash leaves.
    pub fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        if let Some(shrunk) = self.shrunk.take()
            && choose(2) == 1
        {
            self.stable.truncate(self.stable.bytes.min(shrunk));
        }
        if self.now.bytes > self.stable.bytes && choose(2) == 1 {
            self.stable.bytes = self.now.bytes;
        }
        let sectors = PAGE_BYTES / SECTOR_BYTES as u64;
        let manner = choose(4);
        let last = self.dirty.last().copied();
        for page in std::mem::take(&mut self.dirty) {
            if page * PAGE_BYTES >= self.stable.bytes {
                continue;
            }
            let kept = match manner {
                0 => 0,
                1 if Some(page) != last => sectors,
                1 => choose(sectors + 1),
                _ => match choose(4) {
                    0 | 1 => 0,
                    2 => sectors,
                    _ => choose(sectors + 1),
                },
            };
            self.stable.take_page(page, &self.now, kept as usize);
        }
        // No file system shows what stands behind a file's end, also when it grows later.
        self.stable.blank_end();
        self.now = self.stable.clone();
        self.handles = 0;
    }

    pub fn flip(&mut self, position: u64, mask: u8) {
        for content in [&mut self.now, &mut self.stable] {
            let mut byte = [0];
            if content.read(&mut byte, position) == 1 {
                content.write(&[byte[0] ^ mask], position);
            }
        }
    }

    pub fn shorten(&mut self, bytes: u64) {
        for content in [&mut self.now, &mut self.stable] {
            content.truncate(bytes.min(content.bytes));
        }
    }
}
