//! Short rows of short items in one run of bytes: how small collections are kept.

/// Collections with at most so many items (pairs count once) are kept packed.
pub const ITEMS_MAX: usize = 128;
/// Items up to this many bytes may be packed.
pub const ITEM_BYTES_MAX: usize = 64;

/// Items of at most [`ITEM_BYTES_MAX`] bytes, each behind a byte with its length.
#[derive(Default)]
pub struct Packed {
    bytes: Vec<u8>,
    items: u16,
}

/// Where an item lies.
#[derive(Clone, Copy)]
pub struct Item {
    from: usize,
    to: usize,
}

impl Packed {
    /// How many items there are.
    pub fn len(&self) -> usize {
        usize::from(self.items)
    }

    /// The room they take.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places().map(|place| self.get(place))
    }

    /// The items' places in order.
    pub fn places(&self) -> impl Iterator<Item = Item> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let len = *self.bytes.get(at)?;
            let from = at + 1;
            at = from + usize::from(len);
            Some(Item { from, to: at })
        })
    }

    /// The item at a place.
    pub fn get(&self, place: Item) -> &[u8] {
        &self.bytes[place.from..place.to]
    }

    /// Finds an item among every `stride`th, beginning with the one at `offset`: its place and
    /// that of the one behind it.
    pub fn find(&self, wanted: &[u8], offset: usize, stride: usize) -> Option<(usize, Item)> {
        let mut places = self.places().enumerate().skip(offset).step_by(stride);
        places.find(|(_, place)| self.get(*place) == wanted)
    }

    /// The place of item `index`.
    pub fn place(&self, index: usize) -> Option<Item> {
        self.places().nth(index)
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: &[u8]) {
        let end = self.bytes.len();
        self.insert_at(end, item);
    }

    /// Adds an item before the one at `place`.
    pub fn insert_before(&mut self, place: Item, item: &[u8]) {
        self.insert_at(place.from - 1, item);
    }

    fn insert_at(&mut self, at: usize, item: &[u8]) {
        let len = u8::try_from(item.len()).expect("packed items are short");
        self.bytes.splice(at..at, std::iter::once(len).chain(item.iter().copied()));
        self.items += 1;
    }

    /// Replaces an item.
    pub fn replace(&mut self, place: Item, item: &[u8]) {
        let len = u8::try_from(item.len()).expect("packed items are short");
        self.bytes[place.from - 1] = len;
        if place.to - place.from == item.len() {
            self.bytes[place.from..place.to].copy_from_slice(item);
        } else {
            self.bytes.splice(place.from..place.to, item.iter().copied());
        }
    }

    /// Removes the items from `first` to `last`, both included, which are `count`.
    pub fn remove(&mut self, first: Item, last: Item, count: u16) {
        self.bytes.drain(first.from - 1..last.to);
        self.items -= count;
    }
}
