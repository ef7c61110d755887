//! Rows of integers and short texts as Redis keeps them ("listpacks"): what streams are kept in,
//! and what payloads of DUMP hold.
//!
//! An item is its encoding and then the encoding's length, written so that it can be read from
//! behind. A text that is an integer's is kept as the integer. Sizes are Redis's own, for how many
//! entries of a stream share a block follows from them. Nothing here trusts the bytes.

use cairn_resp::number::{I64_TEXT_MAX, format_i64, parse_i64};
use std::borrow::Cow;

/// The length in bytes and the number of items, before the items.
pub const HEAD_BYTES: usize = 6;
/// Behind the last item.
pub const END: u8 = 0xff;

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Int(i64),
    Text(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The item that keeps a text.
    pub fn of(text: &'a [u8]) -> Self {
        match parse_i64(text) {
            Some(number) => Item::Int(number),
            None => Item::Text(text),
        }
    }

    /// Its text.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            Item::Text(text) => Cow::Borrowed(text),
            Item::Int(number) => {
                let mut room = [0; I64_TEXT_MAX];
                Cow::Owned(format_i64(number, &mut room).to_vec())
            }
        }
    }

    /// How long its text is.
    pub fn text_len(self) -> usize {
        match self {
            Item::Text(text) => text.len(),
            Item::Int(number) => {
                let mut room = [0; I64_TEXT_MAX];
                format_i64(number, &mut room).len()
            }
        }
    }

    /// Appends it to a row.
    pub fn push(self, row: &mut Vec<u8>) {
        match self {
            Item::Int(number) => push_int(row, number),
            Item::Text(text) => push_text(row, text),
        }
    }
}

/// What an integer takes, in bytes.
pub fn int_bytes(number: i64) -> usize {
    match number {
        0..=127 => 2,
        -4096..=4095 => 3,
        -0x8000..=0x7fff => 4,
        -0x80_0000..=0x7f_ffff => 5,
        -0x8000_0000..=0x7fff_ffff => 6,
        _ => 10,
    }
}

/// Appends an integer.
pub fn push_int(row: &mut Vec<u8>, number: i64) {
    let bytes = number.to_le_bytes();
    let len = int_bytes(number) - 1;
    match len {
        1 => row.push(number as u8),
        2 => row.extend([(number >> 8) as u8 & 0x1f | 0xc0, number as u8]),
        _ => {
            row.push([0xf1, 0xf2, 0xf3, 0xf4][if len == 9 { 3 } else { len - 3 }]);
            row.extend(&bytes[..len - 1]);
        }
    }
    row.push(len as u8);
}

fn push_text(row: &mut Vec<u8>, text: &[u8]) {
    let (begin, len) = (row.len(), text.len());
    match len {
        ..64 => row.push(0x80 | len as u8),
        64..4096 => row.extend([0xe0 | (len >> 8) as u8, len as u8]),
        _ => {
            row.push(0xf0);
            row.extend((len as u32).to_le_bytes());
        }
    }
    row.extend_from_slice(text);
    push_back_length(row, row.len() - begin);
}

/// How many bytes say the length of an encoding from behind.
fn back_length_bytes(len: usize) -> usize {
    match len {
        ..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn push_back_length(row: &mut Vec<u8>, len: usize) {
    let count = back_length_bytes(len);
    for index in 0..count {
        let seven = (len >> (7 * (count - 1 - index))) as u8 & 127;
        row.push(if index == 0 { seven } else { seven | 128 });
    }
}

/// Reads items one behind the other; none where the bytes do not go on that way.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    row: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// From `at` on, which is where an item begins.
    pub fn from(row: &'a [u8], at: usize) -> Self {
        Self { row, at }
    }

    /// Where the next one begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether all were read.
    pub fn is_done(&self) -> bool {
        self.at >= self.row.len()
    }

    /// An item that is an integer.
    pub fn int(&mut self) -> Option<i64> {
        match self.next()? {
            Item::Int(number) => Some(number),
            Item::Text(_) => None,
        }
    }

    /// Passes over so many; none if there are fewer.
    pub fn skip_some(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let rest = self.row.get(self.at..)?;
        let first = *rest.first()?;
        let texts = |head: usize, len: usize| {
            Some((Item::Text(rest.get(head..head.checked_add(len)?)?), head + len))
        };
        let ints = |len: usize| {
            let bytes = rest.get(1..=len)?;
            let negative = bytes.last().is_some_and(|byte| *byte > 127);
            let mut all = [if negative { 0xff } else { 0 }; 8];
            all[..len].copy_from_slice(bytes);
            Some((Item::Int(i64::from_le_bytes(all)), len + 1))
        };
        let (item, len) = match first {
            ..0x80 => (Item::Int(i64::from(first)), 1),
            0x80..0xc0 => texts(1, usize::from(first & 0x3f))?,
            0xc0..0xe0 => {
                let number = i64::from(first & 0x1f) << 8 | i64::from(*rest.get(1)?);
                (Item::Int(if number > 4095 { number - 8192 } else { number }), 2)
            }
            0xe0..0xf0 => texts(2, usize::from(first & 0xf) << 8 | usize::from(*rest.get(1)?))?,
            0xf0 => {
                let len = rest.get(1..5)?.try_into().map(u32::from_le_bytes).ok()?;
                texts(5, len as usize)?
            }
            0xf1..=0xf3 => ints(usize::from(first - 0xf1) + 2)?,
            0xf4 => ints(8)?,
            _ => return None,
        };
        let end = len + back_length_bytes(len);
        rest.get(..end)?;
        self.at += end;
        Some(item)
    }
}

/// A whole one with its head and its end around the items.
pub fn whole(row: &[u8]) -> Vec<u8> {
    let count = Items::from(row, 0).count();
    let mut out = Vec::with_capacity(HEAD_BYTES + row.len() + 1);
    out.extend(((HEAD_BYTES + row.len() + 1) as u32).to_le_bytes());
    // More cannot be said: whoever reads it counts.
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(row);
    out.push(END);
    out
}

/// The items of a whole one; none if its head or its end is wrong. Whoever reads them finds out
/// whether they are well-formed.
pub fn row_of(whole: &[u8]) -> Option<&[u8]> {
    let (length, rest) = whole.split_first_chunk::<4>()?;
    let row = rest.get(2..)?.strip_suffix(&[END])?;
    (u32::from_le_bytes(*length) as usize == whole.len()).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_they_were_written() {
        let numbers = [0, 127, 128, -1, 4095, -4096, 4096, 32767, -32768, 32768, 1 << 23];
        let more = [-(1 << 23), (1 << 23) - 1, i64::from(i32::MIN), 1 << 31, i64::MAX, i64::MIN];
        let texts: Vec<Vec<u8>> =
            [0, 1, 63, 64, 4095, 4096, 16_380, 70_000].map(|len| vec![b'x'; len]).to_vec();
        let mut row = Vec::new();
        for number in numbers.into_iter().chain(more) {
            let begin = row.len();
            push_int(&mut row, number);
            assert_eq!(row.len() - begin, int_bytes(number));
        }
        texts.iter().for_each(|text| Item::of(text).push(&mut row));
        let mut items = Items::from(&row, 0);
        for number in numbers.into_iter().chain(more) {
            assert_eq!(items.next(), Some(Item::Int(number)));
        }
        for text in &texts {
            assert_eq!(items.next(), Some(Item::Text(text)));
        }
        assert!(items.is_done() && items.next().is_none());
        assert_eq!(row_of(&whole(&row)), Some(row.as_slice()));
        for len in 0..200 {
            assert!(Items::from(&row[..len], 0).count() <= 60);
        }
    }

    #[test]
    fn only_texts_that_come_back_are_numbers() {
        for text in ["1", "-5", "0", "9223372036854775807"] {
            assert!(matches!(Item::of(text.as_bytes()), Item::Int(_)), "{text}");
            assert_eq!(Item::of(text.as_bytes()).text(), text.as_bytes());
        }
        for text in ["", "01", "+1", "-0", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(Item::of(text.as_bytes()), Item::Text(text.as_bytes()));
        }
    }
}
