//! The log's tail at a start: batches that wait together are applied by several threads, each of
//! which has some of the slots. Clients get LOADING meanwhile.

use crate::cores::workers;
use crate::data::leisure::SLICE_QUIET;
use crate::data::link::ToData;
use crate::data::server::Server;
use cairn_files::snapshot::rest;
use cairn_keyspace::{Error, Lane, Mark};
use cairn_logic::batch::Batch;
use cairn_logic::time::Instant;
use std::thread;

/// What is applied together, in bytes of batches, about: enough that lending slots, which takes the
/// same time for each lane, does not count.
const BYTES: usize = 16 << 20;
/// From an effect on that concerns all slots so many are applied by this thread alone: lending all
/// slots takes about as long as that, and where slots have moved there are many such effects.
const OWN: u32 = 2_000;
/// Less is not worth the threads.
const BYTES_MIN: usize = 256 << 10;

impl Server {
    /// Applies a batch, and those that wait behind it.
    pub(super) fn replay(&mut self, batch: Batch) {
        let (mut bytes, mut batches, mut then) = (batch.body.len(), vec![batch], None);
        while bytes < BYTES && then.is_none() {
            match self.inbox.try_recv() {
                Ok(ToData::Apply(batch)) => {
                    bytes += batch.body.len();
                    batches.push(batch);
                }
                Ok(other) => then = Some(other),
                // Whether control is gone shows the next time, too.
                Err(_) => break,
            }
        }
        if bytes >= BYTES_MIN && workers() > 1 && !self.is_attended() && self.follow(&batches) {
            self.apply_together(&batches);
        } else {
            batches.iter().for_each(|batch| self.apply(batch));
        }
        if let Some(message) = then {
            self.message(message);
        }
    }

    /// Whether the batches follow each other and the state.
    fn follow(&self, batches: &[Batch]) -> bool {
        let core = &self.core;
        let mut next = core.last.offset.next();
        let mut follows = |batch: &Batch| {
            let follows = batch.head.first == next;
            next = batch.head.last_offset().next();
            follows
        };
        !core.gap && core.mastership.is_none() && batches.iter().all(&mut follows)
    }

    fn apply_together(&mut self, batches: &[Batch]) {
        let core = &mut self.core;
        batches.iter().for_each(|batch| core.shared.applied(batch));
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return };
        let now = core.clock.now;
        let work = |lanes: &mut [Lane], from| side_by_side(lanes, batches, from, now);
        if let Err(error) = core.keyspace.apply_together(batches, (workers(), OWN), work) {
            tracing::error!(%error, first = %first.head.first, "cannot apply batches");
            return core.found_gap(first.head.first);
        }
        core.last = last.head.last();
        core.committed = core.last.offset;
        core.dirty_tail = false;
        core.tell_compared();
    }
}

/// Has each lane apply what concerns it; the first on this thread.
fn side_by_side(
    lanes: &mut [Lane],
    batches: &[Batch],
    from: Mark,
    now: fn() -> Instant,
) -> Result<Mark, Error> {
    let (own, others) = lanes.split_first_mut().expect("a keyspace lends some");
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter_mut()
            .map(|lane| scope.spawn(move || apply(lane, batches, from, now)))
            .collect();
        let reached = apply(own, batches, from, now);
        let mut others = others.into_iter().map(|lane| lane.join().expect("lanes do not panic"));
        others.try_fold(reached?, |_, reached| reached)
    })
}

/// Rests in between: whoever is awake on these cores comes first.
fn apply(
    lane: &mut Lane,
    batches: &[Batch],
    from: Mark,
    now: fn() -> Instant,
) -> Result<Mark, Error> {
    let mut began = now();
    lane.apply(batches, from, || {
        if now().since(began) >= SLICE_QUIET {
            rest();
            began = now();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::data::link::{Clock, Config, FromData, Query};
    use crate::data::{Options, Running};
    use cairn_keyspace::{Ctx, EffectLog, Keyspace, command};
    use cairn_logic::ids::{Epoch, NodeId, Offset};
    use cairn_resp::{ArgsBuf, ReplyBuf, Version};

    fn loading() -> Running {
        let clock = Clock { now: clock::now, unix_ms: clock::unix_ms };
        let (me, config) = (NodeId::new("a"), Config::default());
        let listen = vec![([127, 0, 0, 1], 0).into()];
        crate::data::start(Options { listen, me, seed: 5, config, clock, tls: None }).unwrap()
    }

    /// Large batches, so that each is worth lanes; all keys go in the middle of the second.
    fn tail() -> (Keyspace, Vec<Batch>) {
        let (mut keyspace, mut log) = (Keyspace::new(3), EffectLog::new(Offset(1)));
        let ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 20 };
        let mut batches = Vec::new();
        for number in 0..9000 {
            let line = match number {
                4500 => "FLUSHALL".to_owned(),
                _ => format!("APPEND key:{} {}", number % 2000, "x".repeat(100)),
            };
            let args: ArgsBuf = line.split(' ').collect();
            let command = command::lookup(args.as_args().name()).unwrap();
            let mut reply = ReplyBuf::new(Version::Resp2);
            keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
            if number % 3000 == 2999 {
                let entries = log.take().unwrap();
                assert!(entries.body.len() > BYTES_MIN);
                batches.push(entries.into_batch(Epoch(1), 1));
            }
        }
        (keyspace, batches)
    }

    #[test]
    fn a_tail_that_lanes_apply_leaves_what_was_written() {
        let (keyspace, batches) = tail();
        let node = loading();
        batches.iter().for_each(|batch| node.link.send(ToData::Apply(batch.clone())));
        let (sender, answer) = tokio::sync::oneshot::channel();
        node.link.send(ToData::Query(Query::Digest(sender)));
        let digest = answer.blocking_recv().unwrap();
        assert_eq!((digest.digest, digest.keys), (keyspace.digest(), keyspace.len() as u64));
        assert_eq!(digest.applied, batches[2].head.last_offset());
    }

    #[test]
    fn a_tail_that_is_torn_or_has_a_gap_is_told() {
        let (_, mut batches) = tail();
        let body = batches[1].body.clone();
        batches[1].body = body.slice(..body.len() - 5);
        let mut node = loading();
        batches[..2].iter().for_each(|batch| node.link.send(ToData::Apply(batch.clone())));
        assert!(matches!(node.from.blocking_recv(), Some(FromData::Gap { .. })));
        let mut node = loading();
        node.link.send(ToData::Apply(batches[0].clone()));
        node.link.send(ToData::Apply(batches[2].clone()));
        let Some(FromData::Gap { last, .. }) = node.from.blocking_recv() else {
            panic!("no gap was told")
        };
        assert_eq!(last, batches[0].head.last());
    }
}
