//! Writes values.

use super::{VERSION, checksum, kind, stream};
use crate::table::View;
use crate::value::Value;

/// What a payload grows by.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A length, or any number.
    pub fn length(&mut self, length: u64) {
        match length {
            ..64 => self.0.push(length as u8),
            64..16_384 => self.bytes(&[0x40 | (length >> 8) as u8, length as u8]),
            _ => match u32::try_from(length) {
                Ok(length) => {
                    self.0.push(0x80);
                    self.bytes(&length.to_be_bytes());
                }
                Err(_) => {
                    self.0.push(0x81);
                    self.bytes(&length.to_be_bytes());
                }
            },
        }
    }

    pub fn text(&mut self, text: &[u8]) {
        self.length(text.len() as u64);
        self.bytes(text);
    }

    /// What stands behind is written.
    pub fn done(mut self) -> Vec<u8> {
        self.bytes(&VERSION.to_le_bytes());
        let sum = checksum::of(&self.0);
        self.bytes(&sum.to_le_bytes());
        self.0
    }

    fn begin(&mut self, kind: u8, len: usize) {
        self.0.push(kind);
        self.length(len as u64);
    }
}

/// The payload of a value.
pub(crate) fn dump(value: &View<'_, Value>) -> Vec<u8> {
    let mut out = Writer::default();
    match value {
        View::Bytes(text) => string(text, &mut out),
        View::Object(Value::Text(text)) => string(text, &mut out),
        View::Object(Value::List(list)) => {
            out.begin(kind::LIST, list.len());
            list.iter_from(0).for_each(|item| out.text(item));
        }
        View::Object(Value::Set(set)) => {
            out.begin(kind::SET, set.len());
            set.for_each(|member| out.text(member));
        }
        View::Object(Value::Hash(hash)) => {
            out.begin(kind::HASH, hash.len());
            hash.for_each(|field, value| {
                out.text(field);
                out.text(value);
            });
        }
        View::Object(Value::Sorted(sorted)) => {
            out.begin(kind::SORTED, sorted.len());
            // The largest first, as Redis does it: so a list grows at its front.
            sorted.for_each_back(0, sorted.len(), |score, member| {
                out.text(member);
                out.bytes(&score.to_le_bytes());
            });
        }
        View::Object(Value::Stream(stream)) => {
            out.0.push(kind::STREAM_2);
            stream::write(stream, &mut out);
        }
    }
    out.done()
}

fn string(text: &[u8], out: &mut Writer) {
    out.0.push(kind::STRING);
    out.text(text);
}
