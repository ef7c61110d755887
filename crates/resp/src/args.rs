//! One command's arguments: ranges into a buffer that someone else owns.

/// A range of bytes in a buffer of at most 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start: u32,
    /// How many bytes it has.
    pub len: u32,
}

/// A command as it was read: its name first, then its arguments. Never empty when it comes from a
/// parser.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// The ranges `spans` of `bytes`.
    ///
    /// # Panics
    /// [`Args::get`] panics later if a span lies outside of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// How many there are, the command's name included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index`; 0 is the command's name.
    ///
    /// # Panics
    /// If `index` is not below [`Args::len`].
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.bytes[span.start as usize..][..span.len as usize]
    }

    /// The command's name as the client wrote it; empty if there are no arguments.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        if self.spans.is_empty() { b"" } else { self.get(0) }
    }

    /// All of them in order, the name first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| &bytes[span.start as usize..][..span.len as usize])
    }

    /// Those from `index` on; none if `index` is past the end.
    #[must_use]
    pub fn from(&self, index: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(index..).unwrap_or(&[]) }
    }

    /// The first `count` of them, or all if there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: &self.spans[..count.min(self.spans.len())] }
    }

    /// How many bytes all arguments have together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.spans.iter().map(|span| span.len as usize).sum()
    }
}

/// Arguments that own their bytes: a queued command, or one made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgsBuf {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl ArgsBuf {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    ///
    /// # Panics
    /// If all together exceed 4 GiB; a parser's limits keep them far below.
    pub fn push(&mut self, arg: &[u8]) {
        let start = u32::try_from(self.bytes.len()).expect("arguments stay below 4 GiB");
        let len = u32::try_from(arg.len()).expect("an argument stays below 4 GiB");
        self.bytes.extend_from_slice(arg);
        self.spans.push(Span { start, len });
    }

    /// Looks at them.
    #[must_use]
    pub fn as_args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, spans: &self.spans }
    }

    /// Forgets them and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// The room they take, in bytes, for a limit on queued commands.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl From<Args<'_>> for ArgsBuf {
    fn from(args: Args<'_>) -> Self {
        let mut owned = Self {
            bytes: Vec::with_capacity(args.total_bytes()),
            spans: Vec::with_capacity(args.len()),
        };
        args.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for ArgsBuf {
    fn from_iter<I: IntoIterator<Item = T>>(parts: I) -> Self {
        let mut owned = Self::new();
        parts.into_iter().for_each(|part| owned.push(part.as_ref()));
        owned
    }
}
