//! Streams as commands.

use crate::effects::Reader;
use crate::value::stream::block::Block;
use crate::value::stream::group::UNKNOWN;
use crate::value::stream::id::Id;

type Visit<'a> = dyn FnMut(&[u8], &[&[u8]]) + 'a;

/// The entries that are not deleted.
pub(super) fn block(effects: &mut Reader<'_>, key: &[u8], visit: &mut Visit<'_>) -> Option<()> {
    let first = effects.id()?;
    let block = Block::of_row(first, effects.text()?)?;
    for entry in block.entries(first).filter(|entry| !entry.is_dead) {
        let id = entry.id.text();
        let texts: Vec<_> =
            entry.pairs().flat_map(|(name, value)| [name.text(), value.text()]).collect();
        let mut command: Vec<&[u8]> = vec![b"XADD", key, &id];
        command.extend(texts.iter().map(|text| &**text));
        visit(key, &command);
    }
    Some(())
}

/// A stream may have no entries: it is there as soon as it has had a group.
pub(super) fn head(effects: &mut Reader<'_>, key: &[u8], visit: &mut Visit<'_>) -> Option<()> {
    let head = effects.head()?;
    visit(key, &[b"XGROUP", b"CREATE", key, b"cairn", b"0", b"MKSTREAM"]);
    visit(key, &[b"XGROUP", b"DESTROY", key, b"cairn"]);
    let (last, deleted) = (head.last.text(), head.max_deleted.text());
    let either = head.last.max(head.max_deleted).text();
    let added = head.added.min(i64::MAX as u64).to_string();
    if head.max_deleted > Id::MIN {
        visit(key, &[b"XSETID", key, &either, b"MAXDELETEDID", &deleted]);
    }
    visit(key, &[b"XSETID", key, &last, b"ENTRIESADDED", added.as_bytes()]);
    Some(())
}

pub(super) fn group(effects: &mut Reader<'_>, key: &[u8], visit: &mut Visit<'_>) -> Option<()> {
    let name = effects.text()?;
    // A count that has run over is as good as none.
    let (last, read) = (effects.id()?.text(), effects.read_count()?.max(UNKNOWN).to_string());
    visit(key, &[b"XGROUP", b"CREATE", key, name, &last, b"ENTRIESREAD", read.as_bytes()]);
    Some(())
}

pub(super) fn consumer(effects: &mut Reader<'_>, key: &[u8], visit: &mut Visit<'_>) -> Option<()> {
    let (group, name) = (effects.text()?, effects.text()?);
    effects.varint()?;
    visit(key, &[b"XGROUP", b"CREATECONSUMER", key, group, name]);
    Some(())
}

pub(super) fn pending(effects: &mut Reader<'_>, key: &[u8], visit: &mut Visit<'_>) -> Option<()> {
    let (group, consumer) = (effects.text()?, effects.text()?);
    for _ in 0..effects.count()? {
        let (id, delivered_ms, deliveries) = effects.delivery()?;
        let numbers = [delivered_ms, deliveries].map(|number| number.to_string());
        let [time, count] = [numbers[0].as_bytes(), numbers[1].as_bytes()];
        let id = id.text();
        let claim: [&[u8]; 12] = [
            b"XCLAIM",
            key,
            group,
            consumer,
            b"0",
            &id,
            b"TIME",
            time,
            b"RETRYCOUNT",
            count,
            b"FORCE",
            b"JUSTID",
        ];
        visit(key, &claim);
    }
    Some(())
}
