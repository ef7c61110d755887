//! Log frames: messages between two members, with the bodies of their batches.

use super::{Malformed, malformed, pb};
use bytes::Bytes;
use cairn_logic::batch::{BODY_BYTES_MAX, Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Life, Offset};
use cairn_logic::message::{Ack, Append, Heartbeat, Message, Refuse};
use cairn_logic::time::Instant;
use pb::frame::Body;

/// A message of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which log.
    pub group: GroupId,
    /// What.
    pub message: Message,
    /// The bodies of an append's batches, one per head; else empty.
    pub bodies: Vec<Bytes>,
}

impl From<EntryId> for pb::EntryId {
    fn from(id: EntryId) -> Self {
        Self { epoch: id.epoch.0, offset: id.offset.0 }
    }
}

/// An absent id is "before the first entry": proto3 leaves out zero messages of some writers.
/// The entry of a message; none is [`EntryId::ZERO`].
#[must_use]
pub fn entry(id: Option<&pb::EntryId>) -> EntryId {
    id.map_or(EntryId::ZERO, |id| EntryId::new(Epoch(id.epoch), Offset(id.offset)))
}

impl From<Frame> for pb::Frame {
    fn from(frame: Frame) -> Self {
        let body = match frame.message {
            Message::Append(append) => Body::Append(append_out(append, frame.bodies)),
            Message::Heartbeat(beat) => Body::Beat(pb::Beat {
                epoch: beat.epoch.0,
                before: Some(beat.before.into()),
                last: Some(beat.last.into()),
                committed: beat.committed.0,
                progressing: beat.progressing,
                sent_at: beat.sent_at.as_nanos(),
            }),
            Message::Ack(ack) => Body::Ack(pb::Ack {
                epoch: ack.epoch.0,
                life: ack.life.0,
                written: ack.written.0,
                flushed: ack.flushed.0,
                last: Some(ack.last.into()),
                fetching: ack.fetching.0,
                intact: ack.intact,
                promise: ack.promise,
                sent_at: ack.sent_at.as_nanos(),
            }),
            Message::Refuse(refuse) => Body::Refuse(pb::Refuse {
                life: refuse.life.0,
                sealed: refuse.sealed.0,
                hint: Some(refuse.hint.into()),
                sent_at: refuse.sent_at.as_nanos(),
            }),
            Message::Healed { epoch, life } => {
                Body::Healed(pb::Healed { epoch: epoch.0, life: life.0 })
            }
        };
        Self { group: frame.group.as_str().to_owned(), body: Some(body) }
    }
}

fn append_out(append: Append, bodies: Vec<Bytes>) -> pb::Append {
    let batches = append.batches.iter().zip(bodies).map(|(head, body)| pb::Batch {
        epoch: head.epoch.0,
        first: head.first.0,
        count: head.count,
        time_ms: head.time_ms,
        authority: head.authority,
        opens_epoch: head.opens_epoch,
        body,
    });
    pb::Append {
        epoch: append.epoch.0,
        prev: Some(append.prev.into()),
        batches: batches.collect(),
        committed: append.committed.0,
        flush: append.flush,
        sent_at: append.sent_at.as_nanos(),
    }
}

impl TryFrom<pb::Frame> for Frame {
    type Error = Malformed;

    fn try_from(frame: pb::Frame) -> Result<Self, Malformed> {
        let mut bodies = Vec::new();
        let message = match frame.body.ok_or(malformed("frame without body"))? {
            Body::Append(append) => Message::Append(append_in(append, &mut bodies)?),
            Body::Beat(beat) => Message::Heartbeat(Heartbeat {
                epoch: Epoch(beat.epoch),
                before: entry(beat.before.as_ref()),
                last: entry(beat.last.as_ref()),
                committed: Offset(beat.committed),
                progressing: beat.progressing,
                sent_at: Instant::from_nanos(beat.sent_at),
            }),
            Body::Ack(ack) => Message::Ack(Ack {
                epoch: Epoch(ack.epoch),
                life: Life(ack.life),
                written: Offset(ack.written),
                flushed: Offset(ack.flushed),
                last: entry(ack.last.as_ref()),
                fetching: Offset(ack.fetching),
                intact: ack.intact,
                promise: ack.promise,
                sent_at: Instant::from_nanos(ack.sent_at),
            }),
            Body::Refuse(refuse) => Message::Refuse(Refuse {
                life: Life(refuse.life),
                sealed: Epoch(refuse.sealed),
                hint: entry(refuse.hint.as_ref()),
                sent_at: Instant::from_nanos(refuse.sent_at),
            }),
            Body::Healed(healed) => {
                Message::Healed { epoch: Epoch(healed.epoch), life: Life(healed.life) }
            }
        };
        if frame.group.is_empty() || frame.group.len() > 253 {
            return Err(malformed("frame's group has no usable name"));
        }
        Ok(Self { group: GroupId::new(frame.group), message, bodies })
    }
}

/// Checks that the batches follow `prev` without gaps and that epochs do not go down.
fn append_in(append: pb::Append, bodies: &mut Vec<Bytes>) -> Result<Append, Malformed> {
    let prev = entry(append.prev.as_ref());
    let mut last = prev;
    let mut heads = Vec::with_capacity(append.batches.len());
    for batch in append.batches {
        let head = head_in(&batch)?;
        let follows = last.offset.0.checked_add(1) == Some(head.first.0);
        if !follows || head.epoch < last.epoch || head.epoch.0 > append.epoch {
            return Err(malformed("batches that do not follow each other"));
        }
        last = head.last();
        heads.push(head);
        bodies.push(batch.body);
    }
    Ok(Append {
        epoch: Epoch(append.epoch),
        prev,
        batches: heads,
        committed: Offset(append.committed),
        flush: append.flush,
        sent_at: Instant::from_nanos(append.sent_at),
    })
}

impl From<Batch> for pb::Batch {
    fn from(Batch { head, body }: Batch) -> Self {
        Self {
            epoch: head.epoch.0,
            first: head.first.0,
            count: head.count,
            time_ms: head.time_ms,
            authority: head.authority,
            opens_epoch: head.opens_epoch,
            body,
        }
    }
}

impl TryFrom<pb::Batch> for Batch {
    type Error = Malformed;

    fn try_from(batch: pb::Batch) -> Result<Self, Malformed> {
        Ok(Self { head: head_in(&batch)?, body: batch.body })
    }
}

fn head_in(batch: &pb::Batch) -> Result<BatchHead, Malformed> {
    if batch.count == 0 || batch.first == 0 || batch.epoch == 0 {
        return Err(malformed("batch without entries, offset or epoch"));
    }
    if batch.first.checked_add(u64::from(batch.count)).is_none() {
        return Err(malformed("batch beyond the last offset"));
    }
    if batch.body.len() > BODY_BYTES_MAX {
        return Err(malformed("batch body larger than 64 MiB"));
    }
    Ok(BatchHead {
        epoch: Epoch(batch.epoch),
        first: Offset(batch.first),
        count: batch.count,
        time_ms: batch.time_ms,
        authority: batch.authority,
        opens_epoch: batch.opens_epoch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(firsts: &[(u64, u64, u32)]) -> Frame {
        let heads = firsts.iter().map(|&(epoch, first, count)| BatchHead {
            epoch: Epoch(epoch),
            first: Offset(first),
            count,
            time_ms: 9,
            authority: false,
            opens_epoch: false,
        });
        let batches: Vec<_> = heads.collect();
        let bodies = batches.iter().map(|_| Bytes::from_static(b"x")).collect();
        let message = Message::Append(Append {
            epoch: Epoch(7),
            prev: EntryId::new(Epoch(6), Offset(10)),
            batches,
            committed: Offset(9),
            flush: true,
            sent_at: Instant::from_nanos(5),
        });
        Frame { group: GroupId::new("tweets-0"), message, bodies }
    }

    #[test]
    fn a_frame_reads_back_what_was_sent() {
        let frame = append(&[(6, 11, 2), (7, 13, 1)]);
        assert_eq!(Frame::try_from(pb::Frame::from(frame.clone())), Ok(frame));
    }

    #[test]
    fn signs_of_life_read_back_with_where_logs_begin_and_end() {
        let id = |epoch, offset| EntryId::new(Epoch(epoch), Offset(offset));
        let beat = Heartbeat {
            epoch: Epoch(7),
            before: id(3, 40),
            last: id(7, 90),
            committed: Offset(80),
            progressing: true,
            sent_at: Instant::from_nanos(5),
        };
        let ack = Ack {
            epoch: Epoch(7),
            life: Life(2),
            written: Offset(60),
            flushed: Offset(50),
            last: id(6, 70),
            fetching: Offset(45),
            intact: true,
            promise: false,
            sent_at: Instant::from_nanos(5),
        };
        for message in [Message::Heartbeat(beat), Message::Ack(ack)] {
            let frame = Frame { group: GroupId::new("g"), message, bodies: Vec::new() };
            assert_eq!(Frame::try_from(pb::Frame::from(frame.clone())), Ok(frame));
        }
    }

    #[test]
    fn batches_with_gaps_or_sinking_epochs_are_refused() {
        for bad in [&[(6, 12, 1)][..], &[(7, 11, 1), (6, 12, 1)], &[(8, 11, 1)], &[(7, 11, 0)]] {
            assert!(Frame::try_from(pb::Frame::from(append(bad))).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_frame_without_body_is_refused() {
        let frame = pb::Frame { group: "g".to_owned(), body: None };
        assert!(Frame::try_from(frame).is_err());
    }
}
