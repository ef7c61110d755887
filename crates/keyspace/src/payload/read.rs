//! Reads values.

use super::{kind, lzf, stream};
use crate::hash::Hasher;
use crate::snapshot::Touch;
use crate::value::hash::Hash;
use crate::value::list::{List, Side};
use crate::value::listpack::{Items, row_of};
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use crate::value::{Collection, Value};
use cairn_resp::number::{I64_TEXT_MAX, format_i64, parse_f64};
use std::borrow::Cow;

/// Why a payload makes no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Nobody writes it that way.
    Malformed,
    /// What is compressed in it is longer than it may be.
    Large,
}

/// What a payload makes.
pub(crate) enum Loaded {
    Text(Vec<u8>),
    Object(Value),
}

/// Reads a payload's bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// So many bytes may yet come out of compressed texts.
    room: usize,
}

/// A length as it is written, or how the text is encoded.
enum Length {
    Bytes(u64),
    Encoded(u8),
}

impl<'a> Reader<'a> {
    /// `room`: so many bytes may come out of compressed texts.
    pub fn new(rest: &'a [u8], room: usize) -> Self {
        Self { rest, room }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Bad::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Bad::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn any_length(&mut self) -> Result<Length, Bad> {
        let [first] = self.array()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Bytes(u64::from(first)),
            (1, _) => {
                let [second] = self.array()?;
                Length::Bytes(u64::from(first & 63) << 8 | u64::from(second))
            }
            (_, 0x80) => Length::Bytes(u64::from(u32::from_be_bytes(self.array()?))),
            (_, 0x81) => Length::Bytes(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Encoded(first & 63),
            _ => return Err(Bad::Malformed),
        })
    }

    /// A length, or any number.
    pub fn length(&mut self) -> Result<u64, Bad> {
        match self.any_length()? {
            Length::Bytes(length) => Ok(length),
            Length::Encoded(_) => Err(Bad::Malformed),
        }
    }

    pub fn size(&mut self) -> Result<usize, Bad> {
        usize::try_from(self.length()?).map_err(|_| Bad::Malformed)
    }

    pub fn text(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        let number = match self.any_length()? {
            Length::Bytes(length) => {
                let length = usize::try_from(length).map_err(|_| Bad::Malformed)?;
                return self.bytes(length).map(Cow::Borrowed);
            }
            Length::Encoded(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(3) => return self.compressed().map(Cow::Owned),
            Length::Encoded(_) => return Err(Bad::Malformed),
        };
        Ok(Cow::Owned(text_of(number)))
    }

    fn compressed(&mut self) -> Result<Vec<u8>, Bad> {
        let (compressed, len) = (self.size()?, self.size()?);
        let bytes = self.bytes(compressed)?;
        self.room = self.room.checked_sub(len).ok_or(Bad::Large)?;
        lzf::decompress(bytes, len).ok_or(Bad::Malformed)
    }

    /// A score in text, with a byte for its length or for what is no number.
    fn score_text(&mut self) -> Result<f64, Bad> {
        match self.array()? {
            [255] => Ok(f64::NEG_INFINITY),
            [254] => Ok(f64::INFINITY),
            [253] => Err(Bad::Malformed),
            [len] => score(self.bytes(usize::from(len))?),
        }
    }

    /// So many times.
    fn each(&mut self, mut one: impl FnMut(&mut Self) -> Result<bool, Bad>) -> Result<(), Bad> {
        for _ in 0..self.length()? {
            is(one(self)?)?;
        }
        Ok(())
    }

    /// The items of a listpack that is a text.
    fn listpack(&mut self, mut one: impl FnMut(&mut Items<'_>) -> Option<bool>) -> Result<(), Bad> {
        let text = self.text()?;
        let mut items = Items::from(row_of(&text).ok_or(Bad::Malformed)?, 0);
        while !items.is_done() {
            is(one(&mut items).unwrap_or(false))?;
        }
        Ok(())
    }
}

/// Whether something is so.
fn is(so: bool) -> Result<(), Bad> {
    so.then_some(()).ok_or(Bad::Malformed)
}

fn text_of(number: i64) -> Vec<u8> {
    let mut room = [0; I64_TEXT_MAX];
    format_i64(number, &mut room).to_vec()
}

fn score(text: &[u8]) -> Result<f64, Bad> {
    parse_f64(text).filter(|score| !score.is_nan()).ok_or(Bad::Malformed)
}

/// Reads what stands before the foot of a payload; compressed texts in it make at most `room`
/// bytes.
pub(crate) fn load(body: &[u8], room: usize, hasher: &Hasher) -> Result<Loaded, Bad> {
    let mut reader = Reader { rest: body, room };
    let [kind] = reader.array()?;
    let touch = &mut Touch::nobody(hasher);
    let value = match kind {
        kind::STRING => {
            let text = reader.text()?.into_owned();
            is(reader.rest.is_empty())?;
            return Ok(Loaded::Text(text));
        }
        kind::LIST | kind::LIST_NODES => filled(list(&mut reader, kind, touch)?),
        kind::SET | kind::SET_INTS | kind::SET_LISTPACK => filled(set(&mut reader, kind, touch)?),
        kind::HASH | kind::HASH_LISTPACK => filled(hash(&mut reader, kind, touch)?),
        kind::SORTED | kind::SORTED_TEXT | kind::SORTED_LISTPACK => {
            filled(sorted(&mut reader, kind, touch)?)
        }
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => {
            Ok(Value::Stream(stream::read(&mut reader, kind, touch)?))
        }
        _ => Err(Bad::Malformed),
    }?;
    is(reader.rest.is_empty())?;
    Ok(Loaded::Object(value))
}

/// A collection with items.
fn filled<C: Collection>(collection: C) -> Result<Value, Bad> {
    is(collection.len() > 0)?;
    Ok(collection.into_value())
}

fn list(reader: &mut Reader<'_>, kind: u8, touch: &mut Touch<'_>) -> Result<List, Bad> {
    let mut list = List::default();
    reader.each(|reader| {
        let container = if kind == kind::LIST_NODES { reader.length()? } else { 1 };
        match container {
            1 => list.push(touch, Side::Back, &reader.text()?),
            2 => reader.listpack(|items| {
                list.push(touch, Side::Back, &items.next()?.text());
                Some(true)
            })?,
            _ => return Err(Bad::Malformed),
        }
        Ok(true)
    })?;
    Ok(list)
}

fn set(reader: &mut Reader<'_>, kind: u8, touch: &mut Touch<'_>) -> Result<Set, Bad> {
    let mut set = Set::default();
    match kind {
        kind::SET => reader.each(|reader| Ok(set.add(touch, &reader.text()?)))?,
        kind::SET_LISTPACK => {
            reader.listpack(|items| Some(set.add(touch, &items.next()?.text())))?
        }
        _ => {
            let text = reader.text()?;
            let (width, rest) = text.split_first_chunk::<4>().ok_or(Bad::Malformed)?;
            let (count, ints) = rest.split_first_chunk::<4>().ok_or(Bad::Malformed)?;
            let width = u32::from_le_bytes(*width) as usize;
            let count = u32::from_le_bytes(*count) as usize;
            is(matches!(width, 2 | 4 | 8) && count.checked_mul(width) == Some(ints.len()))?;
            for int in ints.chunks_exact(width) {
                let negative = int.last().is_some_and(|byte| *byte > 127);
                let mut all = [if negative { 0xff } else { 0 }; 8];
                all[..width].copy_from_slice(int);
                is(set.add(touch, &text_of(i64::from_le_bytes(all))))?;
            }
        }
    }
    Ok(set)
}

fn hash(reader: &mut Reader<'_>, kind: u8, touch: &mut Touch<'_>) -> Result<Hash, Bad> {
    let mut hash = Hash::default();
    match kind {
        kind::HASH => reader.each(|reader| {
            let (field, value) = (reader.text()?, reader.text()?);
            Ok(hash.set(touch, &field, &value))
        })?,
        _ => reader.listpack(|items| {
            let (field, value) = (items.next()?, items.next()?);
            Some(hash.set(touch, &field.text(), &value.text()))
        })?,
    }
    Ok(hash)
}

fn sorted(reader: &mut Reader<'_>, kind: u8, touch: &mut Touch<'_>) -> Result<Sorted, Bad> {
    let mut sorted = Sorted::default();
    match kind {
        kind::SORTED_LISTPACK => reader.listpack(|items| {
            let (member, text) = (items.next()?, items.next()?);
            let score = score(&text.text()).ok()?;
            Some(sorted.set(touch, &member.text(), score).is_none())
        })?,
        _ => reader.each(|reader| {
            let member = reader.text()?;
            let score = match kind {
                kind::SORTED => f64::from_le_bytes(reader.array()?),
                _ => reader.score_text()?,
            };
            is(!score.is_nan())?;
            Ok(sorted.set(touch, &member, score).is_none())
        })?,
    }
    Ok(sorted)
}
