//! RESP2 as a client needs it: commands out, answers in.

use std::io::{self, BufRead, Error, ErrorKind, Read};

/// Longest string that an answer may hold.
pub const BULK_BYTES_MAX: usize = 64 << 20;
/// Most elements in one array of an answer.
const ELEMENTS_MAX: usize = 1 << 22;
/// Deepest nesting of arrays.
const DEPTH_MAX: usize = 8;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `+OK` and the like.
    Simple(String),
    /// An error, its word first.
    Error(String),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Vec<u8>),
    /// Nothing: no such key, or a transaction that was not executed.
    Null,
    /// Several answers.
    Array(Vec<Frame>),
}

impl Frame {
    /// The text of a simple or bulk string.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// If the connection ends or breaks, or what comes is not RESP2 within the bounds.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        Self::read_nested(from, DEPTH_MAX)
    }

    fn read_nested(from: &mut impl BufRead, depth_left: usize) -> io::Result<Self> {
        let line = read_line(from)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| bad("an empty line"))?;
        Ok(match kind {
            "+" => Self::Simple(rest.to_owned()),
            "-" => Self::Error(rest.to_owned()),
            ":" => Self::Integer(rest.parse().map_err(|_| bad("a number that is none"))?),
            "$" => match length(rest, BULK_BYTES_MAX)? {
                None => Self::Null,
                Some(length) => {
                    let mut bytes = vec![0; length + 2];
                    from.read_exact(&mut bytes)?;
                    if !bytes.ends_with(b"\r\n") {
                        return Err(bad("a string of another length"));
                    }
                    bytes.truncate(length);
                    Self::Bulk(bytes)
                }
            },
            "*" => match length(rest, ELEMENTS_MAX)? {
                None => Self::Null,
                Some(_) if depth_left == 0 => return Err(bad("arrays nested too deep")),
                Some(length) => {
                    let mut elements = Vec::with_capacity(length.min(1024));
                    for _ in 0..length {
                        elements.push(Self::read_nested(from, depth_left - 1)?);
                    }
                    Self::Array(elements)
                }
            },
            _ => return Err(bad("an unknown kind of answer")),
        })
    }
}

/// Appends a command to `out`.
pub fn encode(command: &[&[u8]], out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n", command.len()).as_bytes());
    for part in command {
        out.extend(format!("${}\r\n", part.len()).as_bytes());
        out.extend(*part);
        out.extend(b"\r\n");
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.by_ref().take(64 << 10).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(Error::new(ErrorKind::UnexpectedEof, "connection closed"));
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(|| bad("a line without its end"))?;
    String::from_utf8(line.to_vec()).map_err(|_| bad("a line that is not text"))
}

fn length(text: &str, most: usize) -> io::Result<Option<usize>> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(length) => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(bad("a length out of bounds")),
        },
        Err(_) => Err(bad("a length that is none")),
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_kind_are_read() {
        let bytes = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n".to_vec();
        let expected = Frame::Array(vec![
            Frame::Simple("OK".into()),
            Frame::Error("ERR no".into()),
            Frame::Integer(-7),
            Frame::Bulk(b"a\r\n".to_vec()),
            Frame::Null,
            Frame::Null,
        ]);
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), expected);
        for cut in 0..bytes.len() {
            assert!(Frame::read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn bounds_hold() {
        let deep = "*1\r\n".repeat(20) + ":1\r\n";
        for text in ["$99999999999\r\n", "*-2\r\n", "$1\r\nabc\r\n", "!x\r\n", ":x\r\n", &deep] {
            let read = Frame::read(&mut text.as_bytes());
            assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::InvalidData), "{text}");
        }
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = Vec::new();
        encode(&[b"GET", b"key"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}
