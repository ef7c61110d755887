//! Streams as Redis writes them: blocks, what is known of the stream, and its groups with what they
//! wait for, first of the group and then by consumer.

use super::kind;
use super::read::{Bad, Reader};
use super::write::Writer;
use crate::snapshot::Touch;
use crate::value::listpack::{row_of, whole};
use crate::value::stream::block::Block;
use crate::value::stream::id::Id;
use crate::value::stream::{Head, Stream};
use std::collections::BTreeMap;

fn raw(id: Id) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn of_raw(bytes: [u8; 16]) -> Id {
    let both = u128::from_be_bytes(bytes);
    Id::new((both >> 64) as u64, both as u64)
}

fn write_id(id: Id, out: &mut Writer) {
    out.length(id.ms);
    out.length(id.seq);
}

fn read_id(reader: &mut Reader<'_>) -> Result<Id, Bad> {
    Ok(Id::new(reader.length()?, reader.length()?))
}

/// Writes a stream behind its type.
pub fn write(stream: &Stream, out: &mut Writer) {
    out.length(stream.blocks().len() as u64);
    for (first, block) in stream.blocks() {
        out.text(&raw(*first));
        out.text(&whole(&block.row()));
    }
    out.length(stream.len() as u64);
    write_id(stream.head.last, out);
    write_id(stream.first().unwrap_or_default(), out);
    write_id(stream.head.max_deleted, out);
    out.length(stream.head.added);
    out.length(stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        out.text(name);
        write_id(group.last, out);
        out.length(group.read as u64);
        out.length(group.pending().len() as u64);
        for (id, pending) in group.pending() {
            out.bytes(&raw(*id));
            out.bytes(&pending.delivered_ms.to_le_bytes());
            out.length(pending.deliveries);
        }
        out.length(group.consumers().len() as u64);
        for (name, consumer) in group.consumers() {
            out.text(name);
            out.bytes(&consumer.seen_ms.to_le_bytes());
            out.length(consumer.pending().len() as u64);
            consumer.pending().iter().for_each(|id| out.bytes(&raw(*id)));
        }
    }
}

/// Reads a stream behind its type.
pub fn read(reader: &mut Reader<'_>, kind: u8, touch: &mut Touch<'_>) -> Result<Stream, Bad> {
    let mut stream = Stream::default();
    for _ in 0..reader.length()? {
        let first = reader.text()?;
        let first = of_raw((&*first).try_into().map_err(|_| Bad::Malformed)?);
        let text = reader.text()?;
        let block = row_of(&text)
            .and_then(|row| Block::of_row(first, row).or_else(|| Block::of_live(first, row)));
        let behind = block.filter(|_| stream.blocks().range(first..).next().is_none());
        if !stream.put_block(touch, first, behind.ok_or(Bad::Malformed)?) {
            return Err(Bad::Malformed);
        }
    }
    let (len, last) = (reader.length()?, read_id(reader)?);
    if len != stream.len() as u64 || stream.top().is_some_and(|top| last < top) {
        return Err(Bad::Malformed);
    }
    stream.head = if kind == kind::STREAM {
        Head { last, max_deleted: Id::MIN, added: len }
    } else {
        read_id(reader)?;
        Head { last, max_deleted: read_id(reader)?, added: reader.length()? }
    };
    for _ in 0..reader.length()? {
        read_group(reader, kind, &mut stream, touch)?;
    }
    Ok(stream)
}

fn read_group(
    reader: &mut Reader<'_>,
    kind: u8,
    stream: &mut Stream,
    touch: &mut Touch<'_>,
) -> Result<(), Bad> {
    let (name, last) = (reader.text()?, read_id(reader)?);
    let read = match kind {
        kind::STREAM => stream.read_to(last),
        _ => reader.length()? as i64,
    };
    if stream.groups().contains_key(&*name) {
        return Err(Bad::Malformed);
    }
    stream.put_group(&name, last, read);
    let mut pending = BTreeMap::new();
    for _ in 0..reader.length()? {
        let id = of_raw(reader.array()?);
        let delivery = (u64::from_le_bytes(reader.array()?), reader.length()?);
        if pending.insert(id, delivery).is_some() {
            return Err(Bad::Malformed);
        }
    }
    let group = stream.group_mut(&name).ok_or(Bad::Malformed)?;
    for _ in 0..reader.length()? {
        let consumer = reader.text()?;
        if group.consumers().contains_key(&*consumer) {
            return Err(Bad::Malformed);
        }
        group.see(&consumer, u64::from_le_bytes(reader.array()?));
        if kind == kind::STREAM_3 {
            // When it last got something.
            reader.array::<8>()?;
        }
        for _ in 0..reader.length()? {
            let id = of_raw(reader.array()?);
            let (delivered_ms, deliveries) = pending.remove(&id).ok_or(Bad::Malformed)?;
            group.deliver(touch, &name, id, (&consumer, delivered_ms, deliveries));
        }
    }
    // Each belongs to someone.
    if pending.is_empty() { Ok(()) } else { Err(Bad::Malformed) }
}
