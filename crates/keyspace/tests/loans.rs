//! A command that another thread executes on a slot that is lent to it does what it would have done
//! where the slot lies, whatever comes between.

#[path = "shared/lines.rs"]
mod lines;

use cairn_keyspace::command::{Command, lookup};
use cairn_keyspace::{Classes, Ctx, Done, EffectLog, Keyspace, Loan, slot_of};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use lines::{Dice, SHAPES, line};
use proptest::prelude::*;

const CTX: Ctx = Ctx { now_ms: 1_700_000_000_000, may_write: true, value_bytes_max: 10_000 };

/// Commands that read all of a value.
const READS: &[&str] = &[
    "COPY key key",
    "DUMP key",
    "GEOSEARCH geo FROMLONLAT place BYRADIUS 9000 KM ASC",
    "HGETALL hash",
    "LPOS list item COUNT 0",
    "LRANGE list 0 -1",
    "PFCOUNT hll hll",
    "SDIFF set set",
    "SINTER set set",
    "SMEMBERS set",
    "SORT key BY {a}text* GET {a}hash*->a GET # ALPHA",
    "SORT_RO list ALPHA DESC",
    "SUNION set set",
    "XPENDING stream group",
    "XRANGE stream - +",
    "XREAD STREAMS stream 0",
    "ZRANGE zset 0 -1 WITHSCORES",
    "ZUNION 2 zset set",
];

struct Master {
    keyspace: Keyspace,
    log: EffectLog,
}

/// A request.
struct Asked {
    args: ArgsBuf,
    command: &'static Command,
}

impl Asked {
    fn new<T: AsRef<[u8]>>(words: &[T]) -> Self {
        let args: ArgsBuf = words.iter().collect();
        let command = lookup(args.as_args().name()).expect("a command");
        Self { args, command }
    }

    fn slot(&self) -> cairn_logic::ids::Slot {
        slot_of(self.command.first_key(self.args.as_args()).expect("a key"))
    }
}

/// A reply, what it depends on, and what happened.
type Outcome = (Vec<u8>, Done, Vec<cairn_keyspace::Event>);

impl Master {
    fn new() -> Self {
        let mut keyspace = Keyspace::new(7);
        keyspace.want_events(Classes::parse(b"AKEmn").expect("classes"));
        Self { keyspace, log: EffectLog::new(Offset(1)) }
    }

    fn execute(&mut self, asked: &Asked) -> Outcome {
        let (args, mut reply) = (asked.args.as_args(), ReplyBuf::new(Version::Resp3));
        let log = &mut self.log;
        let done = self.keyspace.execute(&CTX, asked.command, args, None, &mut reply, log);
        (reply.take(), done, self.keyspace.take_events())
    }

    fn take(&mut self, loan: Loan, (reply, done): (Vec<u8>, Done)) -> Outcome {
        let depends_on = self.keyspace.take_slot(loan, &mut self.log);
        (reply, Done { depends_on, ..done }, self.keyspace.take_events())
    }
}

fn run(loan: &mut Loan, asked: &Asked) -> (Vec<u8>, Done) {
    let mut reply = ReplyBuf::new(Version::Resp3);
    let done = loan.execute(&CTX, asked.command, asked.args.as_args(), &mut reply);
    (reply.take(), done)
}

/// A command whose outcome is not left to chance, made by dice.
fn asked(seed: u64) -> Option<Asked> {
    let mut dice = Dice(seed);
    let all = SHAPES.len() + READS.len();
    let which = dice.below(all);
    let shape = SHAPES.get(which).or_else(|| READS.get(which - SHAPES.len())).expect("one of them");
    let left_out = ["SPOP", "FLUSH"].iter().any(|name| shape.starts_with(name));
    (!left_out).then(|| Asked::new(&line(shape, &mut dice)))
}

fn others() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(any::<u64>(), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_lent_slot_comes_back_as_it_would_have_become(
        seeds in prop::collection::vec((any::<u64>(), others()), 0..200),
    ) {
        let [mut here, mut there] = [(); 2].map(|()| Master::new());
        let mut copy = Keyspace::new(9);
        for (seed, others) in seeds {
            let Some(long) = asked(seed) else { continue };
            let slot = long.slot();
            let mut loan = there.keyspace.lend_slot(slot).expect("none is lent");
            prop_assert!(there.keyspace.lend_slot(slot).is_none(), "one is lent at a time");
            let done = run(&mut loan, &long);
            for other in others.into_iter().filter_map(asked).filter(|it| it.slot() != slot) {
                prop_assert_eq!(here.execute(&other), there.execute(&other));
            }
            prop_assert_eq!(here.keyspace.len(), there.keyspace.len(), "its keys are counted");
            let wanted = here.execute(&long);
            let got = there.take(loan, done);
            // What is read depends on the slot's last write, and not on one that it does not see.
            let (mut wanted, got) = (wanted, got);
            wanted.1.depends_on = wanted.1.depends_on.max(here.keyspace.slot_last_write(slot));
            prop_assert_eq!(wanted, got);
            let (one, other) = (here.log.take(), there.log.take());
            prop_assert_eq!(&one, &other);
            if let Some(entries) = one {
                prop_assert_eq!(copy.apply(&entries.body, entries.first), Ok(entries.count));
            }
            prop_assert_eq!(here.keyspace.used_bytes(), there.keyspace.used_bytes());
            prop_assert_eq!(here.keyspace.expiring(), there.keyspace.expiring());
        }
        let digest = here.keyspace.digest();
        prop_assert_eq!([there.keyspace.digest(), copy.digest()], [digest; 2]);
    }
}

#[test]
fn a_snapshot_waits_for_a_slot_that_is_lent_and_has_it_as_it_comes_back() {
    let mut master = Master::new();
    for number in 0..500 {
        master.execute(&Asked::new(&["SET", &format!("key{number}"), "value"]));
    }
    master.execute(&Asked::new(&["HSET", "bar", "before", "1"]));
    let long = Asked::new(&["HSET", "bar", "after", "2"]);
    let at = |master: &Master| EntryId::new(Epoch(1), Offset(master.log.next_offset().0 - 1));
    master.keyspace.begin_export(1 << 16);
    let mut loan = master.keyspace.lend_slot(long.slot()).expect("nothing is lent or written");
    while !master.keyspace.export_rests() {
        assert!(master.keyspace.export_some(at(&master), 16), "it does not end without the slot");
    }
    assert!(master.keyspace.export_some(at(&master), 16) && master.keyspace.export_rests());
    let done = run(&mut loan, &long);
    master.take(loan, done);
    while master.keyspace.export_some(at(&master), 16) {}
    let mut copy = Keyspace::new(3);
    for (at, portion) in master.keyspace.take_exported() {
        copy.import(&portion, at.offset).expect("it was written that way");
    }
    let entries = master.log.take().expect("all of it");
    assert_eq!(copy.apply(&entries.body, entries.first), Ok(entries.count));
    assert_eq!(copy.digest(), master.keyspace.digest());
}

#[test]
fn a_slot_that_is_being_written_into_a_snapshot_is_not_lent() {
    let mut master = Master::new();
    for number in 0..2000 {
        master.execute(&Asked::new(&["HSET", "bar", &format!("field{number}"), &"v".repeat(50)]));
    }
    let slot = slot_of(b"bar");
    master.keyspace.begin_export_of((slot, slot), 1 << 12);
    assert!(master.keyspace.export_some(EntryId::ZERO, 1));
    assert!(master.keyspace.lend_slot(slot).is_none());
    master.keyspace.end_export();
    assert!(master.keyspace.lend_slot(slot).is_some());
}
