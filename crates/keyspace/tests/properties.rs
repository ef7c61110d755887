//! What holds for any stream of commands and any bytes.

use cairn_keyspace::command::{COMMANDS, Kind};
use cairn_keyspace::{Ctx, EffectLog, Export, Keyspace, Portion, commands_of};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};
use proptest::prelude::*;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A command by its place in the table, and its arguments.
    Command(usize, Vec<String>),
    /// The clock goes on by so many milliseconds, and the cycle of expiry does a piece.
    Wait(u64),
    /// The next commands up to this many are one unit.
    Unit(usize),
    /// A command with its words.
    Words(Vec<String>),
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => prop::sample::select(vec!["a", "b", "{a}1", "{a}2", "c"]).prop_map(str::to_owned),
        3 => (-3_i64..9).prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec![
            "NX", "XX", "GT", "LT", "CH", "INCR", "EX", "PX", "PXAT", "KEEPTTL", "GET", "BYSCORE",
            "STORE", "LEFT", "RIGHT", "BEFORE", "AFTER", "BY", "ALPHA", "DESC", "REPLACE", "DB",
            "BYLEX", "REV", "LIMIT", "WITHSCORES", "-", "+", "[a", "(1", "inf", "1.5", "PERSIST",
            "FROMMEMBER", "BYRADIUS", "BYBOX", "m", "STORE", "ASC",
            "BIT", "SET", "INCRBY", "u8", "i60", "OVERFLOW", "FAIL", "AND", "NOT",
            "WEIGHTS", "AGGREGATE", "MIN", "MAX", "COUNT", "MATCH",
        ]).prop_map(str::to_owned),
        1 => (0_usize..200).prop_map(|len| "x".repeat(len)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..COMMANDS.len(), prop::collection::vec(argument(), 0..6))
            .prop_map(|(command, args)| Step::Command(command, args)),
        1 => (0_u64..4000).prop_map(Step::Wait),
        1 => (1_usize..6).prop_map(Step::Unit),
        10 => on_streams().prop_map(|line| {
            Step::Words(line.split(' ').map(str::to_owned).collect())
        }),
    ]
}

/// A command on a stream that mostly does something.
fn on_streams() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["{a}s", "{a}t"]);
    let group = prop::sample::select(vec!["g", "h"]);
    (key, group, 0_u64..40, 0_usize..30).prop_map(|(key, group, id, which)| {
        let consumer = if id % 3 == 0 { "ada" } else { "bob" };
        match which {
            0..8 => format!("XADD {key} * field {id} other x"),
            8 => format!("XADD {key} MAXLEN ~ {id} * f{id} v"),
            9 => format!("XADD {key} {id}-* a b"),
            10 => format!("XADD {key} MAXLEN {id} * field 1"),
            11 => format!("XTRIM {key} MINID {id}"),
            12 => format!("XTRIM {key} MAXLEN {id}"),
            13 => format!("XDEL {key} {id} {id}-1 1700000000000 1700000000000-{id}"),
            14 => format!("XSETID {key} 1700000004000-{id} ENTRIESADDED 99 MAXDELETEDID {id}"),
            15 | 16 => format!("XGROUP CREATE {key} {group} 0 MKSTREAM"),
            17 => format!("XGROUP CREATE {key} {group} $"),
            18 => format!("XGROUP SETID {key} {group} {id} ENTRIESREAD {id}"),
            19 => format!("XGROUP DESTROY {key} {group}"),
            20 => format!("XGROUP CREATECONSUMER {key} {group} {consumer}"),
            21 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            22..25 => format!("XREADGROUP GROUP {group} {consumer} COUNT {id} STREAMS {key} >"),
            25 => format!("XREADGROUP GROUP {group} {consumer} STREAMS {key} {id}"),
            26 => format!("XACK {key} {group} {id} 1700000000000 1700000000000-{id}"),
            27 => format!("XCLAIM {key} {group} {consumer} 0 1700000000000-{id} FORCE"),
            28 => format!("XAUTOCLAIM {key} {group} {consumer} 0 - COUNT {}", id + 1),
            _ => format!("COPY {key} {{a}}t REPLACE"),
        }
    })
}

struct World {
    master: Keyspace,
    copy: Keyspace,
    log: EffectLog,
    now_ms: u64,
    unit_left: usize,
}

impl World {
    fn new() -> Self {
        World {
            master: Keyspace::new(1),
            copy: Keyspace::new(2),
            log: EffectLog::new(Offset(1)),
            now_ms: 1_700_000_000_000,
            unit_left: 0,
        }
    }

    fn end_unit(&mut self) {
        if self.unit_left > 0 {
            self.unit_left = 0;
            self.log.end_unit();
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(ms) => {
                self.now_ms += ms;
                if self.unit_left == 0 {
                    self.master.expire_some(self.now_ms, 10, &mut self.log);
                }
            }
            Step::Unit(commands) if self.unit_left == 0 => {
                self.log.begin_unit();
                self.unit_left = *commands;
            }
            Step::Unit(_) => {}
            Step::Command(number, args) => self.command(*number, args),
            Step::Words(words) => {
                let found = COMMANDS.iter().position(|it| it.name.eq_ignore_ascii_case(&words[0]));
                self.command(found.expect("a command"), &words[1..]);
            }
        }
    }

    fn command(&mut self, number: usize, args: &[String]) {
        let command = &COMMANDS[number];
        let wanted = usize::from(command.arity.unsigned_abs()) - 1;
        let filler = ["a".to_owned(), "1".to_owned()];
        let mut args: Vec<&String> = args.iter().collect();
        // Mostly the right number of arguments, or nothing would ever be executed.
        while args.len() < wanted {
            args.push(&filler[args.len() % 2]);
        }
        if command.arity > 0 {
            args.truncate(wanted);
        }
        let owned: ArgsBuf = [command.name.as_bytes()]
            .into_iter()
            .chain(args.iter().map(|a| a.as_bytes()))
            .collect();
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 10_000 };
        let mut reply = ReplyBuf::new(Version::Resp3);
        if !matches!(command.kind, Kind::Data(_)) {
            return;
        }
        let before = self.log.next_offset();
        let done =
            self.master.execute(&ctx, command, owned.as_args(), None, &mut reply, &mut self.log);
        let whole = Reply::parse(reply.as_bytes()).expect("well-formed").expect("whole");
        assert_eq!(whole.1, reply.len(), "{} gives exactly one reply", command.name);
        assert!(done.depends_on <= before, "nothing depends on what is not written");
        if self.unit_left > 0 {
            self.unit_left -= 1;
            if self.unit_left == 0 {
                self.log.end_unit();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_log_gives_the_same_data(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new();
        let mut next = 1;
        for (number, step) in steps.iter().enumerate() {
            world.step(step);
            if world.unit_left > 0 || number % 20 != 0 {
                continue;
            }
            if let Some(entries) = world.log.take() {
                prop_assert_eq!(entries.first, Offset(next));
                next += u64::from(entries.count);
                prop_assert_eq!(world.copy.apply(&entries.body, entries.first), Ok(entries.count));
            }
        }
        world.end_unit();
        if let Some(entries) = world.log.take() {
            prop_assert_eq!(world.copy.apply(&entries.body, entries.first), Ok(entries.count));
        }
        prop_assert_eq!(world.master.digest(), world.copy.digest());
        prop_assert_eq!(world.master.len(), world.copy.len());
        prop_assert_eq!(world.master.used_bytes() == 0, world.master.is_empty());
    }

    /// Slots are written one after the other while commands go on; a third keyspace takes them and
    /// replays the log from the oldest moment.
    #[test]
    fn a_snapshot_and_the_log_behind_it_give_the_same_data(
        before in prop::collection::vec(step(), 0..150),
        during in prop::collection::vec(step(), 0..150),
        pace in 200_u16..6000,
        portion_bytes in 1_usize..300,
    ) {
        let mut world = World::new();
        before.iter().for_each(|step| world.step(step));
        world.end_unit();
        let mut last = world.log.take().map_or(0, |entries| u64::from(entries.count));
        let mut log: Vec<(Offset, Vec<u8>)> = Vec::new();
        world.master.begin_export(portion_bytes);
        let mut portions: Vec<(Offset, Portion)> = Vec::new();
        let mut steps = during.iter();
        let mut more = true;
        while more {
            let at = EntryId::new(Epoch(1), Offset(last));
            more = world.master.export_some(at, usize::from(pace));
            let ready = world.master.take_exported().into_iter();
            portions.extend(ready.map(|(at, one)| (at.offset, one)));
            steps.by_ref().take(12).for_each(|step| world.step(step));
            world.end_unit();
            if let Some(entries) = world.log.take() {
                last += u64::from(entries.count);
                log.push((entries.first, entries.body));
            }
        }
        let mut copy = Keyspace::new(9);
        for (at, portion) in &portions {
            prop_assert_eq!(copy.import(portion, *at), Ok(()));
        }
        for (first, body) in &log {
            prop_assert!(copy.apply(body, *first).is_ok());
        }
        prop_assert_eq!(world.master.digest(), copy.digest());
        prop_assert_eq!(world.master.len(), copy.len());
    }

    /// What a snapshot holds can be sent to another keyspace as ordinary commands.
    #[test]
    fn a_portion_as_commands_makes_the_same_data(
        steps in prop::collection::vec(step(), 0..300),
        portion_bytes in 1_usize..300,
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.end_unit();
        // What has expired would be gone at once elsewhere.
        while !world.master.expire_some(world.now_ms, 1000, &mut world.log).finished {}
        // And what groups wait for and is no entry any more cannot be said to others.
        for (key, group) in ["{a}s g", "{a}s h", "{a}t g", "{a}t h"].map(|it| it.split_at(4)) {
            let line = format!("XAUTOCLAIM {key}{group} ada 9223372036854775807 - COUNT 1000");
            world.step(&Step::Words(line.split(' ').map(str::to_owned).collect()));
        }
        let mut export = Export::new(portion_bytes);
        while export.advance(&world.master, EntryId::ZERO, 10) {}
        let (mut copy, mut log) = (Keyspace::new(9), EffectLog::new(Offset(1)));
        let ctx = Ctx { now_ms: world.now_ms, may_write: true, value_bytes_max: 10_000 };
        for (_, portion) in export.take() {
            let read = commands_of(&portion.records, |key, words| {
                assert!(words[1] == key || words[2] == key);
                let args: ArgsBuf = words.iter().copied().collect();
                let command = cairn_keyspace::command::lookup(words[0]).expect("a command");
                let mut reply = ReplyBuf::new(Version::Resp2);
                copy.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
                assert!(!reply.as_bytes().starts_with(b"-"), "{words:?}");
            });
            prop_assert_eq!(read, Ok(()));
        }
        prop_assert_eq!(world.master.digest(), copy.digest());
    }

    #[test]
    fn any_portion_is_taken_or_refused(
        records in prop::collection::vec(0_u8..85, 0..60),
        first in 0_u16..17000,
        last in 0_u16..17000,
    ) {
        let mut keyspace = Keyspace::new(1);
        let _ = commands_of(&records, |_, words| assert!(words.len() >= 2));
        let _ = keyspace.import(&Portion { first, last, keys: 1, records }, Offset(5));
        let _ = keyspace.digest();
    }

    #[test]
    fn any_bytes_are_applied_or_refused(
        bodies in prop::collection::vec(prop::collection::vec(0_u8..85, 0..60), 0..20),
    ) {
        let mut keyspace = Keyspace::new(1);
        for body in &bodies {
            let _ = keyspace.apply(body, Offset(1));
        }
        let _ = keyspace.digest();
    }

    #[test]
    fn a_damaged_batch_is_applied_or_refused(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut body = sample_body();
        let at = at.index(body.len());
        body[at] ^= flip;
        let _ = Keyspace::new(1).apply(&body, Offset(1));
    }

    #[test]
    fn a_cut_batch_is_refused(at in any::<prop::sample::Index>()) {
        let body = sample_body();
        let at = at.index(body.len());
        let whole = Keyspace::new(1).apply(&body, Offset(1)).expect("a good body");
        let cut = Keyspace::new(1).apply(&body[..at], Offset(1));
        prop_assert!(cut.is_err() || cut.is_ok_and(|count| count < whole));
    }
}

fn sample_body() -> Vec<u8> {
    let mut keyspace = Keyspace::new(1);
    let mut log = EffectLog::new(Offset(1));
    let ctx = Ctx { now_ms: 5, may_write: true, value_bytes_max: 1000 };
    // More than are logged by name.
    let many: String = (0..200).map(|number| format!(" {number} {number}")).collect();
    for line in [
        &format!("ZADD many{many}"),
        "ZREMRANGEBYRANK many 0 149",
        "SET a 1",
        "SET b 2 PX 100",
        "APPEND a xyz",
        "SETRANGE a 8 q",
        "SETBIT a 0 1",
        "HSET h f v g w",
        "HDEL h f",
        "RPUSH l 1 2 3",
        "LPOP l",
        "LSET l 1 4",
        "LINSERT l BEFORE 4 5",
        "LREM l 1 5",
        "SADD s a b",
        "SREM s a",
        "ZADD z 1 a 2 b",
        "ZREM z a",
        "ZUNIONSTORE z2 2 z z",
        "XADD x 1-1 a b c d",
        "XADD x MAXLEN 5 1-* a b c d",
        "XADD x 2-1 other 1",
        "XGROUP CREATE x g 0",
        "XGROUP CREATE x gone $",
        "XREADGROUP GROUP g ada COUNT 2 STREAMS x >",
        "XACK x g 1-1",
        "XDEL x 1-1",
        "XTRIM x MAXLEN 1",
        "XAUTOCLAIM x g bob 0 -",
        "XGROUP DELCONSUMER x g ada",
        "XGROUP DESTROY x gone",
        "XSETID x 9-9",
        "DEL a",
        "EXPIRE h 100",
        "PERSIST h",
        "COPY h {h}2",
        "RENAME h {h}3",
        "FLUSHALL",
    ] {
        let args: ArgsBuf = line.split(' ').collect();
        let args = args.as_args();
        let command = cairn_keyspace::command::lookup(args.name()).expect("a command");
        let mut reply = ReplyBuf::new(Version::Resp2);
        let done = keyspace.execute(&ctx, command, args, None, &mut reply, &mut log);
        assert!(done.wrote, "{line}");
    }
    log.take().expect("entries").body
}
