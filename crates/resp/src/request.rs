//! Reads requests, as many as the buffer holds, and goes on where it stopped.

use crate::args::{Args, Span};
use crate::inline;
use crate::number::parse_i64;

/// How large a header line or an inline command may be, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one command, the name included.
    pub args_max: u32,
    /// Bytes of one argument.
    pub bulk_bytes_max: u32,
    /// Bytes of all arguments of one command together.
    pub request_bytes_max: u64,
    /// Whether the client has still to authenticate: then at most 10 arguments of 16 KiB.
    pub unauthenticated: bool,
}

impl Default for Limits {
    /// 1,048,576 arguments, 512 MiB each and 1 GiB together, authenticated.
    fn default() -> Self {
        Self {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 << 20,
            request_bytes_max: 1 << 30,
            unauthenticated: false,
        }
    }
}

/// What is wrong with a request; the connection cannot go on after it. Its text follows
/// `-ERR ` in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number of arguments is no number, or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// More arguments than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    /// The length of an argument is no number, or above the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// The line with an argument's length does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// A longer argument than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
    /// An argument does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", (*.0 as char).escape_default())]
    ExpectedBulk(u8),
    /// An inline command does not end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// An inline command has a quote too many or too few.
    #[error("Protocol error: unbalanced quotes in request")]
    InlineQuotes,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    first_span: u32,
    spans: u32,
}

/// An incremental request parser: feed it the same growing buffer, take the complete requests,
/// then drop the consumed bytes.
///
/// Between two calls of [`Parser::parse`] the buffer may only grow at its end, except that exactly
/// the bytes that [`Parser::consume`] returned are removed from its front. State per idle
/// connection is a few words; no allocation per command.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    requests: Vec<Request>,
    spans: Vec<Span>,
    /// First byte that is not read yet.
    at: usize,
    /// First byte after the last complete request.
    complete: usize,
    /// Where the request being read has its first span.
    first_span: usize,
    /// Arguments still to read of that request.
    args_left: u32,
    /// Bytes its arguments may still have.
    bytes_left: u64,
    /// The length of the argument being read, once known.
    bulk: Option<u32>,
    failed: Option<ProtocolError>,
}

enum Step {
    Done,
    More,
}

impl Parser {
    /// A parser with `limits`.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits from the next header on (a client has authenticated).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Reads what has arrived; returns how many complete requests wait.
    ///
    /// `input` is mutable because quotes of inline commands are undone in place.
    ///
    /// # Errors
    /// A [`ProtocolError`]: the requests before it are still there and may be answered first, the
    /// connection must then be told and closed. Further calls return it again.
    pub fn parse(&mut self, input: &mut [u8]) -> Result<usize, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        // Spans hold 32 bits; what lies beyond is read when the front has been consumed.
        let readable = input.len().min(u32::MAX as usize);
        match self.run(&mut input[..readable]) {
            Ok(()) => Ok(self.requests.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// How many complete requests wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether no complete request waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Request `index` of those that wait; `input` is the buffer given to [`Parser::parse`].
    ///
    /// # Panics
    /// If `index` is not below [`Parser::len`].
    #[must_use]
    #[inline]
    pub fn args<'a>(&'a self, index: usize, input: &'a [u8]) -> Args<'a> {
        let request = self.requests[index];
        let first = request.first_span as usize;
        Args::new(input, &self.spans[first..first + request.spans as usize])
    }

    /// Forgets the complete requests; returns how many bytes the caller must now remove from the
    /// front of the buffer.
    pub fn consume(&mut self) -> usize {
        let consumed = self.complete;
        self.spans.drain(..self.first_span);
        for span in &mut self.spans {
            span.start -= consumed as u32;
        }
        self.requests.clear();
        self.first_span = 0;
        self.at -= consumed;
        self.complete = 0;
        consumed
    }

    /// Gives back room that a large pipeline took; for connections that fall idle.
    pub fn shrink(&mut self) {
        self.spans.shrink_to(16);
        self.requests.shrink_to(16);
    }

    /// At least how many bytes are missing until the request being read is complete; 0 if none is
    /// being read. A hint for the size of the next read.
    #[must_use]
    pub fn bytes_wanted(&self, buffered: usize) -> usize {
        match self.bulk {
            Some(len) => (self.at + len as usize + 2).saturating_sub(buffered),
            None => usize::from(self.args_left > 0),
        }
    }

    fn run(&mut self, input: &mut [u8]) -> Result<(), ProtocolError> {
        loop {
            if self.args_left == 0 {
                match input.get(self.at) {
                    None => return Ok(()),
                    Some(b'*') => {
                        if let Step::More = self.header(input)? {
                            return Ok(());
                        }
                        continue;
                    }
                    Some(_) => {
                        if let Step::More = self.inline(input)? {
                            return Ok(());
                        }
                        continue;
                    }
                }
            }
            if let Step::More = self.bulks(input)? {
                return Ok(());
            }
            self.finish();
        }
    }

    fn finish(&mut self) {
        let spans = self.spans.len() - self.first_span;
        if spans > 0 {
            self.requests.push(Request { first_span: self.first_span as u32, spans: spans as u32 });
        }
        self.first_span = self.spans.len();
        self.complete = self.at;
    }

    fn header(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let Some((text, next)) = line(input, self.at + 1, ProtocolError::MultibulkLine)? else {
            return Ok(Step::More);
        };
        let count = parse_i64(text)
            .filter(|count| *count <= i64::from(self.limits.args_max))
            .ok_or(ProtocolError::MultibulkLength)?;
        if count > 10 && self.limits.unauthenticated {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        self.at = next;
        if count <= 0 {
            self.finish();
            return Ok(Step::Done);
        }
        self.args_left = count as u32;
        self.bytes_left = self.limits.request_bytes_max;
        Ok(Step::Done)
    }

    fn bulks(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        while self.args_left > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => match self.bulk_header(input)? {
                    Some(len) => len,
                    None => return Ok(Step::More),
                },
            };
            let end = self.at + len as usize + 2;
            if end > input.len() {
                self.bulk = Some(len);
                return Ok(Step::More);
            }
            self.spans.push(Span { start: self.at as u32, len });
            self.at = end;
            self.bulk = None;
            self.args_left -= 1;
        }
        Ok(Step::Done)
    }

    #[inline]
    fn bulk_header(&mut self, input: &[u8]) -> Result<Option<u32>, ProtocolError> {
        let rest = &input[self.at..];
        // Nearly every argument has a length of one or two digits.
        let (len, next) = match rest {
            [b'$', a @ b'0'..=b'9', b'\r', _, ..] => (u32::from(a - b'0'), self.at + 4),
            [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
                (u32::from(a - b'0') * 10 + u32::from(b - b'0'), self.at + 5)
            }
            _ => match self.long_bulk_header(input)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if u64::from(len) > self.bytes_left || len > self.limits.bulk_bytes_max {
            return Err(ProtocolError::BulkLength);
        }
        self.bytes_left -= u64::from(len);
        self.at = next;
        Ok(Some(len))
    }

    fn long_bulk_header(&self, input: &[u8]) -> Result<Option<(u32, usize)>, ProtocolError> {
        match input.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
        }
        let Some((text, next)) = line(input, self.at + 1, ProtocolError::BulkLine)? else {
            return Ok(None);
        };
        let len = parse_i64(text)
            .and_then(|len| u32::try_from(len).ok())
            .ok_or(ProtocolError::BulkLength)?;
        if len > 16384 && self.limits.unauthenticated {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        Ok(Some((len, next)))
    }

    fn inline(&mut self, input: &mut [u8]) -> Result<Step, ProtocolError> {
        let rest = &input[self.at..];
        let Some(newline) = rest.iter().position(|b| *b == b'\n') else {
            if rest.len() > LINE_BYTES_MAX {
                return Err(ProtocolError::InlineLine);
            }
            return Ok(Step::More);
        };
        if newline > LINE_BYTES_MAX {
            return Err(ProtocolError::InlineLine);
        }
        let end = self.at + newline;
        let to = if newline > 0 && input[end - 1] == b'\r' { end - 1 } else { end };
        if !inline::split(input, self.at, to, &mut self.spans) {
            self.spans.truncate(self.first_span);
            return Err(ProtocolError::InlineQuotes);
        }
        self.at = end + 1;
        self.finish();
        Ok(Step::Done)
    }
}

/// The text from `from` up to a `\r`, and where the next line starts; none if it has not arrived.
fn line(
    input: &[u8],
    from: usize,
    too_long: ProtocolError,
) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = input.get(from..).unwrap_or(&[]);
    let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
    match window.iter().position(|b| *b == b'\r') {
        Some(end) if end + 1 < rest.len() => Ok(Some((&rest[..end], from + end + 2))),
        Some(_) => Ok(None),
        None if rest.len() >= LINE_BYTES_MAX => Err(too_long),
        None => Ok(None),
    }
}
