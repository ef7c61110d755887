//! Batches that are applied by lanes leave what they leave when they are applied one by one.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Checker, Ctx, EffectLog, Error, Keyspace, Lane, Mark, Verb};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset, SLOTS, Slot};
use cairn_logic::moves::MoveId;
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use proptest::prelude::*;

const SEED: u64 = 7;
const NOW_MS: u64 = 1_700_000_000_000;

/// A master and what it has logged.
struct Master {
    keyspace: Keyspace,
    log: EffectLog,
    batches: Vec<Batch>,
}

impl Master {
    fn new() -> Self {
        let (keyspace, log) = (Keyspace::new(SEED), EffectLog::new(Offset(1)));
        Self { keyspace, log, batches: Vec::new() }
    }

    fn run(&mut self, line: &str) {
        let args: ArgsBuf = line.split(' ').collect();
        let command = lookup(args.as_args().name()).expect("a command");
        let ctx = Ctx { now_ms: NOW_MS, may_write: true, value_bytes_max: 1 << 20 };
        let mut reply = ReplyBuf::new(Version::Resp2);
        self.keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
    }

    /// Compares all parts.
    fn check(&mut self) {
        let mut checker = Checker::new(&self.keyspace);
        while !checker.step(&mut self.keyspace, &mut self.log) {}
    }

    fn end_batch(&mut self) {
        let entries = self.log.take();
        self.batches.extend(entries.map(|entries| entries.into_batch(Epoch(1), NOW_MS)));
    }

    /// Says what becomes of some slots.
    fn slots(&mut self, verb: Verb, id: MoveId, first: u16, count: u16) {
        let slot = |number: u16| Slot::try_from(number.min(SLOTS - 1)).expect("a slot");
        let slots = (slot(first), slot(first.saturating_add(count)));
        self.keyspace.write_slots(verb, id, slots, &mut self.log);
    }

    /// Has a move bring a key.
    fn bring(&mut self, id: MoveId, key: u32) {
        let mut from = Master::new();
        from.run(&format!("SET key:{key} brought"));
        let entries = from.log.take().expect("it was logged");
        self.keyspace.take_brought(id, &entries.body, &mut self.log).expect("it fits");
    }

    /// What opens an epoch is nothing for a keyspace.
    fn open_epoch(&mut self) {
        self.end_batch();
        let first = self.log.next_offset();
        self.log.set_next(first.next());
        let head = BatchHead {
            epoch: Epoch(2),
            first,
            count: 1,
            time_ms: NOW_MS,
            authority: true,
            opens_epoch: true,
        };
        self.batches.push(Batch { head, body: vec![9; 40].into() });
    }
}

fn one_by_one(copy: &mut Keyspace, batches: &[Batch]) {
    for batch in batches.iter().filter(|batch| !batch.head.opens_epoch) {
        assert_eq!(copy.apply(&batch.body, batch.head.first), Ok(batch.head.count));
    }
}

/// All lanes, the last one first; all must end at the same place.
fn backwards(lanes: &mut [Lane], batches: &[Batch], from: Mark) -> Result<Mark, Error> {
    let reached: Result<Vec<Mark>, Error> =
        lanes.iter_mut().rev().map(|lane| lane.apply(batches, from, || {})).collect();
    let reached = reached?;
    assert!(reached.windows(2).all(|two| two[0] == two[1]), "{reached:?}");
    Ok(reached[0])
}

fn by_lanes(copy: &mut Keyspace, batches: &[Batch], lanes: usize) -> Result<(), Error> {
    copy.apply_together(batches, (lanes, 1), |lent, from| backwards(lent, batches, from))
}

#[test]
fn slots_are_lent_once_where_everything_concerns_all_of_them() {
    let mut master = Master::new();
    for number in 0..500 {
        master.run(&format!("SET key:{number} a"));
        master.run("FLUSHALL");
    }
    master.run("SET key b");
    master.end_batch();
    let (mut copy, lent) = (Keyspace::new(SEED), std::cell::Cell::new(0));
    let batches = &master.batches;
    let done = copy.apply_together(batches, (2, 2_000), |lanes, from| {
        lent.set(lent.get() + 1);
        backwards(lanes, batches, from)
    });
    assert_eq!((done, lent.get()), (Ok(()), 1));
    assert_eq!(copy.digest(), master.keyspace.digest());
}

fn facts(keyspace: &mut Keyspace) -> impl PartialEq + std::fmt::Debug {
    let found = keyspace.take_findings();
    let sums = (keyspace.len(), keyspace.used_bytes(), keyspace.expiring());
    (keyspace.digest(), sums, keyspace.differing().to_vec(), found, keyspace.marks().clone())
}

fn line() -> impl Strategy<Value = String> {
    (0_u32..24, 0_u32..1000, 0_u32..300).prop_map(|(which, key, other)| match which {
        0..6 => format!("SET key:{key} {other}"),
        6 => format!("SET key:{key} {} PX 90000", "x".repeat(other as usize)),
        7 => format!("PEXPIRE key:{key} 5000"),
        8 | 9 => format!("DEL key:{key} key:{other}"),
        10 | 11 => format!("RPUSH list:{} {other} b", key % 50),
        12 => format!("LPOP list:{}", key % 50),
        13 => format!("HSET hash:{} f{other} v", key % 50),
        14 => format!("SADD set:{} m{other}", key % 50),
        15 => format!("ZADD sorted:{} {other} m{key}", key % 50),
        16 => format!("XADD stream:{} * f {other}", key % 50),
        17 => format!("RENAME {{t}}:{} {{t}}:{}", key % 9, other % 9),
        18 => format!("SET {{t}}:{} {other}", key % 9),
        19 => format!("COPY {{t}}:{} {{t}}:{} REPLACE", key % 9, other % 9),
        20 => format!("APPEND key:{key} {other}"),
        21 => format!("INCR counter:{}", key % 9),
        22 if other < 40 => "FLUSHALL".to_owned(),
        _ => format!("PERSIST key:{key}"),
    })
}

/// What a history has beside commands.
#[derive(Clone, Debug)]
enum Step {
    Run(String),
    EndBatch,
    OpenEpoch,
    Check,
    Slots(Verb, MoveId, u16, u16),
    Bring(MoveId, u32),
}

fn verb() -> impl Strategy<Value = Verb> {
    let all = [Verb::Take, Verb::Show, Verb::DropImport, Verb::DropSource];
    prop::sample::select(all.to_vec())
}

fn move_id() -> impl Strategy<Value = MoveId> {
    (1_u64..3).prop_map(MoveId)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => line().prop_map(Step::Run),
        6 => Just(Step::EndBatch),
        1 => Just(Step::OpenEpoch),
        2 => Just(Step::Check),
        3 => (verb(), move_id(), 0..SLOTS, 0..SLOTS)
            .prop_map(|(verb, id, first, count)| Step::Slots(verb, id, first, count)),
        6 => (move_id(), 0_u32..1000).prop_map(|(id, key)| Step::Bring(id, key)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn lanes_leave_what_one_thread_leaves(
        steps in prop::collection::vec(step(), 1..300),
        lanes in 2_usize..7,
        split in 0_usize..20,
    ) {
        let mut master = Master::new();
        for step in steps {
            match step {
                Step::Run(line) => master.run(&line),
                Step::EndBatch => master.end_batch(),
                Step::OpenEpoch => master.open_epoch(),
                Step::Check => master.check(),
                Step::Slots(verb, id, first, count) => master.slots(verb, id, first, count),
                Step::Bring(id, key) => master.bring(id, key),
            }
        }
        master.end_batch();
        let (mut one, mut other) = (Keyspace::new(SEED), Keyspace::new(SEED));
        one_by_one(&mut one, &master.batches);
        let (front, back) = master.batches.split_at(split.min(master.batches.len()));
        by_lanes(&mut other, front, lanes).unwrap();
        by_lanes(&mut other, back, lanes).unwrap();
        prop_assert_eq!(other.digest(), master.keyspace.digest());
        prop_assert_eq!(facts(&mut one), facts(&mut other));
    }
}

/// A copy that differs is found and mended by lanes, too.
#[test]
fn what_differs_is_found_by_lanes() {
    let mut master = Master::new();
    (0..3000).for_each(|number| master.run(&format!("SET key:{number} {number}")));
    master.end_batch();
    let mut copy = Keyspace::new(SEED);
    by_lanes(&mut copy, &master.batches, 3).unwrap();
    let mut apart = EffectLog::new(Offset(1));
    let args: ArgsBuf = "SET key:5 other".split(' ').collect();
    let ctx = Ctx { now_ms: NOW_MS, may_write: true, value_bytes_max: 1 << 20 };
    let mut reply = ReplyBuf::new(Version::Resp2);
    copy.execute(&ctx, lookup(b"SET").unwrap(), args.as_args(), None, &mut reply, &mut apart);
    master.batches.clear();
    master.check();
    master.end_batch();
    by_lanes(&mut copy, &master.batches, 3).unwrap();
    let found = copy.take_findings();
    assert_eq!((found.differ.len(), copy.differing().len()), (1, 1));
    assert!(found.checked > 5, "{}", found.checked);
    master.batches.clear();
    let part = copy.differing()[0].clone();
    master.keyspace.repair(&part, &mut master.log);
    master.end_batch();
    by_lanes(&mut copy, &master.batches, 3).unwrap();
    assert!(copy.differing().is_empty() && copy.take_findings().healed);
    assert_eq!(copy.digest(), master.keyspace.digest());
}

#[test]
fn bytes_that_are_no_batch_are_refused_by_lanes() {
    let mut master = Master::new();
    (0..300).for_each(|number| master.run(&format!("SET key:{number} {number}")));
    master.end_batch();
    let whole = master.batches[0].clone();
    for end in (1..whole.body.len()).step_by(97) {
        let torn = Batch { body: whole.body.slice(..end), ..whole };
        assert!(by_lanes(&mut Keyspace::new(SEED), &[torn], 4).is_err());
    }
    let mut counts_more = whole;
    counts_more.head.count += 1;
    assert!(by_lanes(&mut Keyspace::new(SEED), &[counts_more], 4).is_err());
}
