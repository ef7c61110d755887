//! Bodies of batches: operations one after the other, each with its length before it.

use crate::codec::{self, Malformed, Reader};
use crate::item::push_varint;
use crate::op::Op;
use bytes::Bytes;

/// Appends one operation to a body under construction.
pub fn push(op: &Op, body: &mut Vec<u8>) {
    let mut encoded = Vec::with_capacity(64);
    codec::encode(op, &mut encoded);
    push_varint(body, encoded.len() as u64);
    body.extend_from_slice(&encoded);
}

/// The operations of a body, in order. After an error comes nothing more.
pub fn ops(body: Bytes) -> impl Iterator<Item = Result<Op, Malformed>> {
    let mut reader = Reader(body);
    std::iter::from_fn(move || {
        if reader.0.is_empty() {
            return None;
        }
        let op = reader.bytes().and_then(codec::decode);
        if op.is_err() {
            reader.0 = Bytes::new();
        }
        Some(op)
    })
}
