//! Writes replies.

use crate::number::{push_f64, push_i64, push_u64};

/// Which protocol version a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What every client starts with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Where an array of yet unknown length began; see [`ReplyBuf::begin_array`].
#[must_use]
#[derive(Debug)]
pub struct ArrayMark(usize);

/// A buffer of replies to one client.
#[derive(Debug, Default)]
pub struct ReplyBuf {
    out: Vec<u8>,
    version: Version,
}

impl ReplyBuf {
    /// An empty buffer that writes `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { out: Vec::new(), version }
    }

    /// The version that is written.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes `version` from here on.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// What has been written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// How many bytes have been written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Forgets what was written and keeps the room.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    /// Forgets everything after the first `len` bytes (a reply is replaced by an error).
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Takes what was written.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The buffer itself, to drain it or to swap its storage.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that are a reply already.
    pub fn raw(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// An error; `text` begins with its code (`ERR …`, `WRONGTYPE …`). Line ends become spaces, but
    /// for those at its end, which are left out.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.trim_end_matches(['\r', '\n']));
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        let clean = |b: u8| if matches!(b, b'\r' | b'\n') { b' ' } else { b };
        self.out.extend(text.bytes().map(clean));
        self.out.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, kind: u8, count: usize) {
        self.out.push(kind);
        push_u64(&mut self.out, count as u64);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if (0..10).contains(&value) {
            return self.out.extend_from_slice(&[b':', b'0' + value as u8, b'\r', b'\n']);
        }
        self.out.push(b':');
        push_i64(&mut self.out, value);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A count as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut room = [0; crate::number::I64_TEXT_MAX];
        let text = crate::number::format_i64(value, &mut room);
        self.bulk(text);
    }

    /// Nothing: `$-1`, or `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// Nothing where an array was possible: `*-1`, or `_` in RESP3.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `count` replies.
    pub fn array(&mut self, count: usize) {
        self.head(b'*', count);
    }

    /// The head of a map of `count` pairs (an array of twice as many in RESP2).
    pub fn map(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', count * 2),
            Version::Resp3 => self.head(b'%', count),
        }
    }

    /// The head of a set of `count` replies (an array in RESP2).
    pub fn set(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', count),
            Version::Resp3 => self.head(b'~', count),
        }
    }

    /// The head of an out-of-band message of `count` replies (an array in RESP2).
    pub fn push(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', count),
            Version::Resp3 => self.head(b'>', count),
        }
    }

    /// The head of `count` attributes of the reply that follows, of RESP3 alone.
    pub fn attribute(&mut self, count: usize) {
        self.head(b'|', count);
    }

    /// A boolean (`:1` or `:0` in RESP2).
    pub fn boolean(&mut self, value: bool) {
        match (self.version, value) {
            (Version::Resp2, _) => self.integer(i64::from(value)),
            (Version::Resp3, true) => self.out.extend_from_slice(b"#t\r\n"),
            (Version::Resp3, false) => self.out.extend_from_slice(b"#f\r\n"),
        }
    }

    /// A double (a bulk string in RESP2).
    pub fn double(&mut self, value: f64) {
        match self.version {
            Version::Resp2 => {
                let mut text = Vec::with_capacity(24);
                push_f64(&mut text, value);
                self.bulk(&text);
            }
            Version::Resp3 => {
                self.out.push(b',');
                push_f64(&mut self.out, value);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// An integer of any size, given as its decimal text (a bulk string in RESP2).
    pub fn big_number(&mut self, decimal: &str) {
        match self.version {
            Version::Resp2 => self.bulk(decimal.as_bytes()),
            Version::Resp3 => self.line(b'(', decimal),
        }
    }

    /// Text with a format of three letters, `txt` or `mkd` (a bulk string in RESP2).
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.head(b'=', text.len() + 4);
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Begins an array whose length is known only at its end.
    pub fn begin_array(&mut self) -> ArrayMark {
        ArrayMark(self.out.len())
    }

    /// Ends it: puts the head of an array of `count` replies in front of what was written since.
    pub fn end_array(&mut self, mark: ArrayMark, count: usize) {
        self.end(mark, b'*', count);
    }

    /// Ends it as a map of `count` pairs (an array of twice as many in RESP2).
    pub fn end_map(&mut self, mark: ArrayMark, count: usize) {
        match self.version {
            Version::Resp2 => self.end(mark, b'*', count * 2),
            Version::Resp3 => self.end(mark, b'%', count),
        }
    }

    fn end(&mut self, mark: ArrayMark, kind: u8, count: usize) {
        let mut head = Vec::with_capacity(24);
        head.push(kind);
        push_u64(&mut head, count as u64);
        head.extend_from_slice(b"\r\n");
        self.out.splice(mark.0..mark.0, head);
    }
}
