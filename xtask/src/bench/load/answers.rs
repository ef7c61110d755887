//! Answers of a server, counted as they come, without being kept.

use anyhow::{Result, bail, ensure};

/// Bytes of an error's text that are kept, and how many errors' texts are.
const TEXT_BYTES_MAX: usize = 160;
const TEXTS_MAX: usize = 8;

/// What the parser expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The first byte of an answer, or of an element of one.
    Kind,
    /// The rest of a line that means nothing.
    Line,
    /// The rest of the line with an error.
    Complaint,
    /// The rest of the line with an integer.
    Integer(u64),
    /// The rest of the line with the length of a string; none is no string.
    Length(Option<u64>),
    /// The rest of the line with how many elements follow.
    Count(Option<u64>),
    /// This many bytes of a string and its end.
    Bytes(usize),
}

/// What one connection still waits for, and what was wrong.
#[derive(Debug)]
pub(super) struct Answers {
    /// Answers still to come.
    pub waiting: u64,
    /// Answers, or parts of them, that were errors, and waits that no replica acknowledged.
    pub errors: u64,
    /// What the first of the errors say.
    pub complaints: Vec<String>,
    /// Whether a number answers `WAIT`; 0 is a write that was not kept then.
    waits: bool,
    expect: Expect,
    /// Elements still to come of the answer that has begun, itself among them.
    open: u64,
    text: Vec<u8>,
}

impl Answers {
    /// Waits for nothing yet.
    pub fn new(waits: bool) -> Self {
        Self {
            waiting: 0,
            errors: 0,
            complaints: Vec::new(),
            waits,
            expect: Expect::Kind,
            open: 0,
            text: Vec::new(),
        }
    }

    /// Waits for `answers` from now on.
    pub fn expect(&mut self, answers: u64) {
        self.waiting = answers;
        self.errors = 0;
        self.complaints.clear();
    }

    /// Takes what came.
    ///
    /// # Errors
    /// If it is no RESP2, or more than was asked for.
    pub fn parse(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(&first) = bytes.first() {
            match self.expect {
                Expect::Kind => {
                    self.expect = self.kind(first)?;
                    bytes = &bytes[1..];
                }
                Expect::Bytes(left) => {
                    let taken = left.min(bytes.len());
                    bytes = &bytes[taken..];
                    self.expect = Expect::Bytes(left - taken);
                    if left == taken {
                        self.complete()?;
                    }
                }
                expect => {
                    bytes = &bytes[1..];
                    self.expect = self.line(expect, first)?;
                }
            }
        }
        Ok(())
    }

    fn kind(&mut self, byte: u8) -> Result<Expect> {
        if self.open == 0 {
            self.open = 1;
        }
        Ok(match byte {
            b'+' | b'_' => Expect::Line,
            b'-' => {
                self.errors += 1;
                self.text.clear();
                Expect::Complaint
            }
            b':' => Expect::Integer(0),
            b'$' => Expect::Length(Some(0)),
            b'*' => Expect::Count(Some(0)),
            other => bail!("an answer of kind {:?}", char::from(other)),
        })
    }

    /// Takes one byte of a line.
    fn line(&mut self, expect: Expect, byte: u8) -> Result<Expect> {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        Ok(match (expect, byte) {
            (Expect::Length(Some(length)), b'\n') => Expect::Bytes(usize::try_from(length)? + 2),
            (Expect::Integer(number), b'\n') => {
                self.errors += u64::from(self.waits && number == 0);
                self.complete()?
            }
            (Expect::Count(count), b'\n') => {
                self.open += count.unwrap_or(0);
                self.complete()?
            }
            (Expect::Complaint, b'\n') => {
                if self.complaints.len() < TEXTS_MAX {
                    let text = String::from_utf8_lossy(&self.text);
                    self.complaints.push(text.trim_end().to_owned());
                }
                self.complete()?
            }
            (Expect::Length(None) | Expect::Line, b'\n') => self.complete()?,
            (Expect::Complaint, _) if self.text.len() < TEXT_BYTES_MAX => {
                self.text.push(byte);
                expect
            }
            (Expect::Length(_), b'-') => Expect::Length(None),
            (Expect::Count(_), b'-') => Expect::Count(None),
            (Expect::Length(Some(length)), b'0'..=b'9') => {
                Expect::Length(Some(length * 10 + digit))
            }
            (Expect::Count(Some(count)), b'0'..=b'9') => Expect::Count(Some(count * 10 + digit)),
            (Expect::Integer(number), b'0'..=b'9') => Expect::Integer(number * 10 + digit),
            (expect, _) => expect,
        })
    }

    /// An element is there.
    fn complete(&mut self) -> Result<Expect> {
        self.open -= 1;
        if self.open == 0 {
            ensure!(self.waiting > 0, "the server answers more than it was asked");
            self.waiting -= 1;
        }
        self.expect = Expect::Kind;
        Ok(Expect::Kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_one_answer_however_they_are_cut() {
        let text =
            "*3\r\n$3\r\na\n:\r\n*2\r\n:1\r\n*0\r\n-ERR no\r\n*-1\r\n$-1\r\n*0\r\n-OOM much\r\n";
        for piece in 1..text.len() {
            let mut answers = Answers::new(false);
            answers.expect(5);
            text.as_bytes().chunks(piece).for_each(|part| answers.parse(part).unwrap());
            assert_eq!((answers.waiting, answers.errors), (0, 2), "pieces of {piece}");
            assert_eq!(answers.complaints, ["ERR no", "OOM much"]);
            assert!(answers.parse(b":1\r\n").is_err(), "nothing was asked");
        }
    }

    #[test]
    fn texts_of_errors_are_bounded() {
        let mut answers = Answers::new(false);
        answers.expect(100);
        let error = format!("-{}\r\n", "e".repeat(1000));
        (0..100).for_each(|_| answers.parse(error.as_bytes()).unwrap());
        assert_eq!((answers.waiting, answers.errors), (0, 100));
        assert_eq!(answers.complaints.len(), TEXTS_MAX);
        assert!(answers.complaints.iter().all(|text| text.len() <= TEXT_BYTES_MAX));
        assert!(answers.parse(b"?").is_err());
    }
}
