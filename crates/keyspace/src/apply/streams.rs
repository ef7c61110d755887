//! Applies what changes a stream.

use super::{Fault, Target};
use crate::effects::{Op, Reader};
use crate::snapshot::Touch;
use crate::value::stream::Stream;
use crate::value::stream::block::Block;

type Applied = Option<Result<(), Fault>>;

/// Whether it fits to the data.
fn fits(fits: bool) -> Applied {
    Some(if fits { Ok(()) } else { Err(Fault::Diverged) })
}

impl Target<'_> {
    pub(super) fn stream(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let makes = matches!(op, Op::StreamAdd | Op::StreamHead | Op::StreamBlock);
        let place = self.collection::<Stream>(makes)?;
        let mut left = None;
        let applied = self.ks.update(self.at, place, |stream: &mut Stream, touch| match op {
            Op::StreamAdd | Op::StreamDelete | Op::StreamCut | Op::StreamHead | Op::StreamBlock => {
                entries(stream, touch, op, effects)
            }
            Op::StreamGroupDrop => {
                let dropped = stream.drop_group(touch, effects.text()?);
                let was_there = dropped.is_some();
                left = dropped.flatten();
                fits(was_there)
            }
            _ => groups(stream, touch, op, effects),
        });
        if let Some(group) = left {
            self.ks.trash.value(crate::value::Value::Stream(group));
        }
        applied.unwrap_or(Err(Fault::Malformed))
    }
}

fn entries(
    stream: &mut Stream,
    touch: &mut Touch<'_>,
    op: Op,
    effects: &mut Reader<'_>,
) -> Applied {
    match op {
        Op::StreamAdd => {
            let (id, pairs) = (effects.id()?, effects.pairs()?);
            if !stream.takes(id) {
                return fits(false);
            }
            stream.push(touch, id, &pairs);
            fits(true)
        }
        Op::StreamDelete => {
            for id in effects.ids()? {
                if !stream.delete(touch, id) {
                    return fits(false);
                }
                stream.head.max_deleted = stream.head.max_deleted.max(id);
            }
            fits(true)
        }
        Op::StreamCut => {
            let (to, count) = (effects.id()?, effects.varint()?);
            fits(stream.cut(touch, to) as u64 == count)
        }
        Op::StreamHead => {
            stream.head = effects.head()?;
            fits(true)
        }
        Op::StreamBlock => {
            let first = effects.id()?;
            let block = Block::of_row(first, effects.text()?)?;
            fits(stream.put_block(touch, first, block))
        }
        _ => None,
    }
}

fn groups(stream: &mut Stream, touch: &mut Touch<'_>, op: Op, effects: &mut Reader<'_>) -> Applied {
    let name = effects.text()?;
    if op == Op::StreamGroup {
        stream.put_group(name, effects.id()?, effects.read_count()?);
        return fits(true);
    }
    let Some(group) = stream.group_mut(name) else { return fits(false) };
    match op {
        Op::StreamConsumer => {
            group.see(effects.text()?, effects.varint()?);
            fits(true)
        }
        Op::StreamConsumerDrop => fits(group.drop_consumer(touch, name, effects.text()?).is_some()),
        Op::StreamPending => {
            let consumer = effects.text()?;
            for _ in 0..effects.count()? {
                let (id, delivered_ms, deliveries) = effects.delivery()?;
                group.deliver(touch, name, id, (consumer, delivered_ms, deliveries));
            }
            fits(true)
        }
        Op::StreamAcknowledge => {
            for id in effects.ids()? {
                if !group.acknowledge(touch, name, id) {
                    return fits(false);
                }
            }
            fits(true)
        }
        _ => None,
    }
}
