//! Reads replies, for clients and tests.

use crate::number::{parse_f64, parse_i64};

/// How deep replies may be nested.
const DEPTH_MAX: usize = 32;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+`
    Simple(String),
    /// `-`, and `!` of RESP3
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*`
    Array(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(String),
    /// `=`: format and text
    Verbatim(String, Vec<u8>),
}

/// The bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply at byte {at}")]
pub struct MalformedReply {
    /// Where reading failed.
    pub at: usize,
}

impl Reply {
    /// Reads one reply from the front of `input`: the reply and its length in bytes, or none if it
    /// has not arrived in full.
    ///
    /// # Errors
    /// [`MalformedReply`] if no continuation of `input` is a reply, or it is nested too deep.
    pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, MalformedReply> {
        let mut reader = Reader { input, at: 0 };
        match reader.reply(0) {
            Ok(reply) => Ok(Some((reply, reader.at))),
            Err(Stop::More) => Ok(None),
            Err(Stop::Malformed) => Err(MalformedReply { at: reader.at }),
        }
    }

    /// The text of a simple, bulk, verbatim or error reply.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(text) | Reply::Error(text) | Reply::BigNumber(text) => {
                Some(text.as_bytes())
            }
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => Some(bytes),
            Reply::Integer(_)
            | Reply::Null
            | Reply::Array(_)
            | Reply::Map(_)
            | Reply::Set(_)
            | Reply::Push(_)
            | Reply::Double(_)
            | Reply::Boolean(_) => None,
        }
    }
}

enum Stop {
    More,
    Malformed,
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.input[self.at..];
        let Some(end) = rest.iter().position(|b| *b == b'\r') else { return Err(Stop::More) };
        match rest.get(end + 1) {
            None => Err(Stop::More),
            Some(b'\n') => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            Some(_) => Err(Stop::Malformed),
        }
    }

    fn text(&mut self) -> Result<String, Stop> {
        Ok(String::from_utf8_lossy(self.line()?).into_owned())
    }

    fn number(&mut self) -> Result<i64, Stop> {
        parse_i64(self.line()?).ok_or(Stop::Malformed)
    }

    /// A length; none stands for -1.
    fn length(&mut self) -> Result<Option<usize>, Stop> {
        match self.number()? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| Stop::Malformed),
        }
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let rest = &self.input[self.at..];
        if rest.len() < len || rest.len() - len < 2 {
            return Err(Stop::More);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return Err(Stop::Malformed);
        }
        self.at += len + 2;
        Ok(&rest[..len])
    }

    fn many(&mut self, len: usize, depth: usize) -> Result<Vec<Reply>, Stop> {
        // Every reply takes at least three bytes: a lying length allocates nothing.
        let room = len.min((self.input.len() - self.at) / 3);
        let mut replies = Vec::with_capacity(room);
        for _ in 0..len {
            replies.push(self.reply(depth + 1)?);
        }
        Ok(replies)
    }

    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Malformed);
        }
        let kind = *self.input.get(self.at).ok_or(Stop::More)?;
        self.at += 1;
        Ok(match kind {
            b'+' => Reply::Simple(self.text()?),
            b'-' => Reply::Error(self.text()?),
            b'(' => Reply::BigNumber(self.text()?),
            b':' => Reply::Integer(self.number()?),
            b',' => Reply::Double(match self.line()? {
                b"nan" => f64::NAN,
                text => parse_f64(text).ok_or(Stop::Malformed)?,
            }),
            b'#' => Reply::Boolean(match self.line()? {
                b"t" => true,
                b"f" => false,
                _ => return Err(Stop::Malformed),
            }),
            b'_' => {
                self.line()?;
                Reply::Null
            }
            b'$' => match self.length()? {
                None => Reply::Null,
                Some(len) => Reply::Bulk(self.bytes(len)?.to_vec()),
            },
            b'!' => {
                let len = self.length()?.ok_or(Stop::Malformed)?;
                Reply::Error(String::from_utf8_lossy(self.bytes(len)?).into_owned())
            }
            b'=' => {
                let len = self.length()?.ok_or(Stop::Malformed)?;
                let bytes = self.bytes(len)?;
                let (format, text) = bytes.split_at_checked(4).ok_or(Stop::Malformed)?;
                let format = String::from_utf8_lossy(&format[..3]).into_owned();
                Reply::Verbatim(format, text.to_vec())
            }
            b'*' | b'~' | b'>' | b'%' => return self.aggregate(kind, depth),
            // Attributes are of the reply behind them, which can be read without them.
            b'|' => {
                let len = self.length()?.and_then(|len| len.checked_mul(2));
                self.many(len.ok_or(Stop::Malformed)?, depth)?;
                return self.reply(depth + 1);
            }
            _ => return Err(Stop::Malformed),
        })
    }

    fn aggregate(&mut self, kind: u8, depth: usize) -> Result<Reply, Stop> {
        let Some(len) = self.length()? else { return Ok(Reply::Null) };
        Ok(match kind {
            b'~' => Reply::Set(self.many(len, depth)?),
            b'>' => Reply::Push(self.many(len, depth)?),
            b'%' => {
                let double = len.checked_mul(2).ok_or(Stop::Malformed)?;
                let flat = self.many(double, depth)?;
                let mut flat = flat.into_iter();
                let mut pairs = Vec::with_capacity(flat.len() / 2);
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }
            _ => Reply::Array(self.many(len, depth)?),
        })
    }
}
