//! Inline commands: one line of words, as a person types it into a terminal.

use crate::args::Span;

/// Splits the line `input[from..to]` (without its line end) into words, undoing quotes in place.
///
/// Quoted text is never longer than what it stands for, so the words stay inside of the line.
/// Returns false if a quote is not closed or is followed by something other than a space.
pub fn split(input: &mut [u8], from: usize, to: usize, words: &mut Vec<Span>) -> bool {
    let mut line = Line { bytes: &mut input[..to], read: from, write: from };
    loop {
        while line.peek().is_some_and(is_space) {
            line.read += 1;
        }
        if line.peek().is_none() {
            return true;
        }
        line.write = line.read;
        let start = line.read;
        if !line.word() {
            return false;
        }
        words.push(Span { start: start as u32, len: (line.write - start) as u32 });
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

struct Line<'a> {
    bytes: &'a mut [u8],
    read: usize,
    write: usize,
}

impl Line<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.read).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.read += 1;
        Some(byte)
    }

    fn put(&mut self, byte: u8) {
        debug_assert!(self.write < self.read);
        self.bytes[self.write] = byte;
        self.write += 1;
    }

    fn word(&mut self) -> bool {
        while let Some(byte) = self.take() {
            let closed = match byte {
                b'"' => self.double_quoted(),
                b'\'' => self.single_quoted(),
                byte if is_space(byte) || byte == 0 => return true,
                byte => {
                    self.put(byte);
                    continue;
                }
            };
            if !closed {
                return false;
            }
            return self.peek().is_none_or(is_space);
        }
        true
    }

    fn double_quoted(&mut self) -> bool {
        while let Some(byte) = self.take() {
            match byte {
                b'"' => return true,
                b'\\' => {
                    let Some(byte) = self.escape() else { return false };
                    self.put(byte);
                }
                byte => self.put(byte),
            }
        }
        false
    }

    fn escape(&mut self) -> Option<u8> {
        let byte = self.take()?;
        if byte == b'x' {
            let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16));
            let (high, low) = (hex(self.bytes.get(self.read)), hex(self.bytes.get(self.read + 1)));
            if let (Some(high), Some(low)) = (high, low) {
                self.read += 2;
                return Some((high * 16 + low) as u8);
            }
        }
        Some(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'a' => 7,
            other => other,
        })
    }

    fn single_quoted(&mut self) -> bool {
        while let Some(byte) = self.take() {
            match byte {
                b'\'' => return true,
                b'\\' if self.peek() == Some(b'\'') => {
                    self.read += 1;
                    self.put(b'\'');
                }
                byte => self.put(byte),
            }
        }
        false
    }
}
