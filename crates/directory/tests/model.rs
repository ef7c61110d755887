//! The directory against a naive one that keeps a whole map for every revision.

#![allow(clippy::unwrap_used)]

mod model {
    pub mod naive;
    pub mod strategy;
}

use cairn_directory::directory::{Checked, Portion};
use cairn_directory::op::{Op, RangeQuery};
use cairn_directory::watch::{Notice, Sink, StreamId, Watches, Wish};
use cairn_directory::{Directory, Event, KeyRange, body};
use cairn_logic::ids::Revision;
use model::naive::Naive;
use model::strategy;
use proptest::prelude::*;

/// A stream that takes `room` notices and then none until it is emptied.
#[derive(Default)]
struct Slow {
    room: usize,
    events: Vec<Event>,
    cancelled: bool,
}

impl Sink for Slow {
    fn is_ready(&self, _stream: StreamId) -> bool {
        self.room > 0
    }

    fn notify(&mut self, _stream: StreamId, notice: Notice) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        match notice {
            Notice::Events { events, .. } => self.events.extend(events.iter().cloned()),
            Notice::Cancelled { .. } => self.cancelled = true,
            Notice::Progress { .. } => {}
        }
        true
    }
}

fn everything() -> KeyRange {
    KeyRange::prefix("")
}

/// A range request at each revision that can be read gives what the naive map held then.
fn assert_same_history(directory: &Directory, naive: &Naive) {
    for at in naive.compacted.max(1)..=naive.revision() {
        let mut query = RangeQuery::all(everything());
        query.at = Some(Revision(at));
        let answer = directory.range(&query, directory.revision()).unwrap();
        let expected: Vec<_> = naive.at(at).values().cloned().collect();
        assert_eq!(answer.kvs, expected, "at revision {at}");
        assert_eq!(answer.count, expected.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A state is written while changes, compactions and sweeps go on; what is read back is the
    /// state of the beginning with its history, and goes on as any copy.
    #[test]
    fn a_snapshot_and_the_log_behind_it_give_the_same_directory(
        before in proptest::collection::vec(strategy::op(), 1..60),
        during in proptest::collection::vec(strategy::op(), 1..40),
        bytes in 1_usize..200,
        joined_bytes in 1_usize..400,
    ) {
        let (mut directory, mut naive) = (Directory::new(), Naive::new());
        let run = |directory: &mut Directory, naive: &mut Naive, op| {
            let op = naive.resolve(op);
            let done = op.validate().is_ok() && directory.apply(&op).is_ok();
            if done {
                naive.apply(&op).unwrap();
            }
            done.then_some(op)
        };
        for op in &before {
            run(&mut directory, &mut naive, op);
            directory.sweep(2);
        }
        let mut export = directory.export();
        let (mut copy, mut log) = (Directory::new(), Vec::new());
        let (mut ops, mut joined) = (during.iter(), Vec::<Portion>::new());
        while let Some(portion) = directory.export_more(&mut export, bytes) {
            copy.import(portion.bytes.clone().into()).unwrap();
            let more = match joined.last_mut() {
                Some(last) => last.join(portion, joined_bytes),
                None => Err(portion),
            };
            joined.extend(more.err());
            for op in ops.by_ref().take(1) {
                log.extend(run(&mut directory, &mut naive, op));
            }
            directory.sweep_behind(3, export.reader());
        }
        prop_assert_eq!(copy.state_hash().hash, export.hash());
        prop_assert_eq!(copy.revision(), export.revision());
        let mut other = Directory::new();
        for portion in joined {
            let checked = Checked::new(portion.bytes.into()).unwrap();
            prop_assert_eq!(checked.records(), portion.records as usize);
            other.take(&checked).unwrap();
        }
        prop_assert_eq!(other.state_hash(), copy.state_hash());
        for op in &log {
            copy.replay(op).unwrap();
        }
        for op in ops {
            if let Some(op) = run(&mut directory, &mut naive, op) {
                copy.replay(&op).unwrap();
            }
        }
        while !copy.sweep(5) {}
        prop_assert_eq!(copy.state_hash(), directory.state_hash());
        assert_same_history(&copy, &naive);
        let leases = |directory: &Directory| {
            let keys = |id| directory.lease(id).unwrap().1.map(<[u8]>::to_vec).collect::<Vec<_>>();
            directory.leases().map(|(id, ttl)| (id, ttl, keys(id))).collect::<Vec<_>>()
        };
        prop_assert_eq!(leases(&copy), leases(&directory));
    }

    #[test]
    fn any_portion_is_taken_or_refused(
        portions in proptest::collection::vec(proptest::collection::vec(0_u8..9, 0..40), 1..6),
    ) {
        let mut directory = Directory::new();
        for portion in portions {
            if directory.import(portion.into()).is_err() {
                break;
            }
        }
        let _ = directory.state_hash();
    }

    #[test]
    fn does_what_the_naive_one_does(
        ops in proptest::collection::vec(strategy::op(), 1..60),
        sweeps in proptest::collection::vec(0_usize..5, 60),
    ) {
        let (mut directory, mut naive) = (Directory::new(), Naive::new());
        let mut replica = Directory::new();
        for (op, sweep) in ops.iter().zip(sweeps) {
            let op = naive.resolve(op);
            if op.validate().is_err() {
                continue;
            }
            let ours = directory.apply(&op);
            let theirs = naive.apply(&op);
            prop_assert_eq!(&ours, &theirs, "{:?}", op);
            if ours.is_ok() {
                replica.replay(&op).unwrap();
            }
            directory.sweep(sweep);
        }
        assert_same_history(&directory, &naive);
        while !directory.sweep(3) {}
        assert_same_history(&directory, &naive);
        assert_same_history(&replica, &naive);
        prop_assert_eq!(directory.state_hash(), replica.state_hash());
        let (now, all) = (directory.revision(), directory.leases().collect::<Vec<_>>());
        prop_assert_eq!(directory.hash_keys(now, now), replica.hash_keys(now, now));
        prop_assert_eq!(all, replica.leases().collect::<Vec<_>>());
        for (id, keys) in naive.leases() {
            let ours: Vec<Vec<u8>> =
                directory.lease(id).unwrap().1.map(<[u8]>::to_vec).collect();
            prop_assert_eq!(ours, keys);
        }
    }

    #[test]
    fn ranges_obey_all_options(
        ops in proptest::collection::vec(strategy::op(), 1..40),
        queries in proptest::collection::vec(strategy::query(), 20),
    ) {
        let (mut directory, mut naive) = (Directory::new(), Naive::new());
        for op in &ops {
            let op = naive.resolve(op);
            if op.validate().is_ok() {
                prop_assert_eq!(directory.apply(&op), naive.apply(&op));
            }
        }
        for query in queries {
            let ours = directory.range(&query, directory.revision());
            let theirs = naive.range(&query, naive.revision());
            prop_assert_eq!(&ours, &theirs, "{:?}", query);
            let mut scan = match directory.begin_scan(&query, directory.revision()) {
                Ok(scan) => scan,
                Err(error) => {
                    prop_assert_eq!(Err(error), theirs);
                    continue;
                }
            };
            while !directory.scan(&mut scan, 1).unwrap() {}
            prop_assert_eq!(directory.finish_scan(scan), theirs, "one by one");
        }
    }

    #[test]
    fn watches_are_told_every_change_in_order(
        ops in proptest::collection::vec(strategy::op(), 1..60),
        rooms in proptest::collection::vec(0_usize..4, 60),
        range in strategy::range(),
        start in 0_u64..20,
    ) {
        let (mut directory, mut naive) = (Directory::new(), Naive::new());
        let (mut watches, mut slow) = (Watches::new(), Slow::default());
        watches.advance(&directory, Revision(1), &mut slow);
        let wish = Wish { range: range.clone(), no_put: false, no_delete: false, prev_kv: false };
        let start = start.max(2);
        let key = (StreamId(1), 7);
        watches.create(&directory, key, wish, Some(Revision(start)), false).unwrap();
        for (op, room) in ops.iter().zip(rooms) {
            let op = naive.resolve(op);
            // A compaction may overtake a slow watch; that has a test of its own.
            if op.validate().is_err() || matches!(op, Op::Compact { .. } | Op::Jump { .. }) {
                continue;
            }
            prop_assert_eq!(directory.apply(&op), naive.apply(&op));
            slow.room = room;
            watches.advance(&directory, directory.revision(), &mut slow);
            watches.catch_up(&directory, &mut slow);
        }
        slow.room = usize::MAX;
        while watches.catch_up(&directory, &mut slow) {}
        prop_assert!(!watches.is_lagging() && !slow.cancelled);
        let told: Vec<_> =
            slow.events.iter().map(|e| (e.kind, e.kv.key.clone(), e.kv.modified.0)).collect();
        prop_assert_eq!(told, naive.events(&range, start));
    }

    #[test]
    fn operations_survive_the_log(ops in proptest::collection::vec(strategy::op(), 0..20)) {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| body::push(op, &mut bytes));
        let read: Result<Vec<Op>, _> = body::ops(bytes.into()).collect();
        prop_assert_eq!(read.unwrap(), ops);
    }

    #[test]
    fn damaged_bodies_are_refused_or_read_but_never_panic(
        ops in proptest::collection::vec(strategy::op(), 1..5),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in any::<usize>(),
    ) {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| body::push(op, &mut bytes));
        for (place, byte) in flips {
            let len = bytes.len();
            bytes[place % len] = byte;
        }
        bytes.truncate(cut % (bytes.len() + 1));
        let mut directory = Directory::new();
        for op in body::ops(bytes.into()).map_while(Result::ok) {
            if op.validate().is_ok() {
                let _applied = directory.apply(&op);
            }
        }
    }
}

#[test]
fn every_cut_of_a_body_is_noticed() {
    let put = Op::Put(cairn_directory::op::Put::new("key", "value"));
    let mut bytes = Vec::new();
    body::push(&put, &mut bytes);
    for len in 1..bytes.len() {
        let cut = bytes[..len].to_vec();
        assert!(body::ops(cut.into()).any(|op| op.is_err()), "cut at {len}");
    }
}
