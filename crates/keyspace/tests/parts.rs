//! Comparing members part by part, and making them equal again.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Checker, Ctx, EffectLog, Export, Keyspace};
use cairn_logic::ids::{EntryId, Offset};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use proptest::prelude::*;

const SEED: u64 = 7;
const LIST: usize = 3000;
const STREAM: usize = 800;

/// A keyspace that writes.
struct Member {
    keyspace: Keyspace,
    log: EffectLog,
}

impl Member {
    fn new(seed: u64) -> Self {
        Member { keyspace: Keyspace::new(seed), log: EffectLog::new(Offset(1)) }
    }

    fn run(&mut self, words: &[&str]) {
        let args: ArgsBuf = words.iter().map(|word| word.as_bytes()).collect();
        let command = lookup(words[0].as_bytes()).expect("a command");
        let ctx = Ctx { now_ms: 1_700_000_000_000, may_write: true, value_bytes_max: 32 << 20 };
        let mut reply = ReplyBuf::new(Version::Resp3);
        self.keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
    }

    /// Small values of all types in many slots and in one, and large ones of all types.
    fn filled(seed: u64) -> Self {
        let mut member = Member::new(seed);
        for number in 0..1500 {
            member.run(&["SET", &format!("text:{number}"), &number.to_string()]);
            member.run(&["SET", &format!("{{one}}:{number}"), &"y".repeat(number % 90)]);
        }
        for number in 0..60 {
            member.run(&["SET", &format!("soon:{number}"), "x", "PXAT", "1700000009000"]);
            member.run(&["HSET", &format!("hash:{number}"), "a", "1", "b", &number.to_string()]);
            member.run(&["RPUSH", &format!("list:{number}"), "1", "2", "3"]);
            member.run(&["SADD", &format!("set:{number}"), "1", "2", "3"]);
            member.run(&["ZADD", &format!("sorted:{number}"), "1", "a", "2", "b"]);
        }
        for number in 0..LIST {
            let name = format!("{number:08}");
            member.run(&["HSET", "large:hash", &name, &name]);
            member.run(&["RPUSH", "large:list", &name]);
            member.run(&["SADD", "large:set", &name]);
            member.run(&["ZADD", "large:sorted", &number.to_string(), &name]);
        }
        member.run(&["SET", "large:text", &"0123456789".repeat(20_000)]);
        for number in 0..12 {
            let names: Vec<_> = (0..100).map(|name| format!("{number}:{name}")).collect();
            let names = names.iter().map(String::as_str);
            member.run(&["PFADD", "large:counter"].into_iter().chain(names).collect::<Vec<_>>());
        }
        member.stream("large:stream", STREAM);
        for number in 0..60 {
            member.stream(&format!("stream:{number}"), 3);
        }
        member.run(&["EXPIRE", "large:set", "1000"]);
        assert!(member.log.take().is_some());
        member
    }

    /// A stream, half of which a group has got and not acknowledged.
    fn stream(&mut self, key: &str, len: usize) {
        for number in 0..len {
            let id = format!("{}-1", number + 1);
            self.run(&["XADD", key, &id, "name", &format!("{number:08}"), "more", "x"]);
        }
        self.run(&["XGROUP", "CREATE", key, "group", "0"]);
        for (consumer, count) in [("ada", len / 3), ("bob", len / 6)] {
            let count = count.to_string();
            self.run(&[
                "XREADGROUP",
                "GROUP",
                "group",
                consumer,
                "COUNT",
                &count,
                "STREAMS",
                key,
                ">",
            ]);
        }
    }

    /// A member with the same data that came to it in another way: its tables have other sizes.
    fn copy(&self, seed: u64) -> Keyspace {
        let mut copy = Member::new(seed);
        let mut export = Export::new(1 << 20);
        while export.advance(&self.keyspace, EntryId::ZERO, 1 << 20) {}
        for (_, portion) in export.take().iter().rev() {
            copy.keyspace.import(portion, Offset(1)).expect("it was written that way");
        }
        for number in 0..3000 {
            copy.run(&["SET", &format!("{{one}}:more{number}"), "1"]);
            copy.run(&["HSET", "large:hash", &format!("more{number}"), "1"]);
        }
        for number in 0..3000 {
            copy.run(&["DEL", &format!("{{one}}:more{number}")]);
            copy.run(&["HDEL", "large:hash", &format!("more{number}")]);
        }
        copy.keyspace
    }

    /// Checks everything; how many parts that took.
    fn walk(&mut self, copy: &mut Keyspace) -> u64 {
        let mut checker = Checker::new(&self.keyspace);
        while !checker.step(&mut self.keyspace, &mut self.log) {}
        self.send(copy);
        copy.take_findings().checked
    }

    fn send(&mut self, copy: &mut Keyspace) {
        // What was imported is of entry 1.
        if self.log.next_offset() < Offset(10) {
            self.log.set_next(Offset(10));
        }
        if let Some(entries) = self.log.take() {
            assert!(entries.body.len() / entries.count as usize <= 400 << 10);
            assert_eq!(copy.apply(&entries.body, entries.first), Ok(entries.count));
        }
    }

    /// Repairs what is known to differ; false if there is nothing.
    fn repair(&mut self, copy: &mut Keyspace) -> bool {
        let parts = copy.differing().to_vec();
        for part in &parts {
            self.keyspace.repair(part, &mut self.log);
        }
        self.send(copy);
        !parts.is_empty()
    }
}

/// One change that the log does not have.
fn change() -> impl Strategy<Value = Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let small = (0_usize..60).prop_flat_map(move |n| {
        prop::sample::select(vec![
            vec!["SET".to_owned(), format!("text:{n}"), "other".to_owned()],
            vec!["DEL".to_owned(), format!("{{one}}:{n}")],
            vec!["RENAME".to_owned(), format!("{{one}}:{n}"), format!("{{one}}:{}", n + 1)],
            vec!["COPY".to_owned(), format!("{{one}}:{n}"), format!("{{one}}:new{n}")],
            vec!["SET".to_owned(), format!("{{one}}:new{n}"), "1".to_owned()],
            vec!["PEXPIREAT".to_owned(), format!("soon:{n}"), "1700000009001".to_owned()],
            vec!["PERSIST".to_owned(), format!("soon:{n}")],
            vec!["HSET".to_owned(), format!("hash:{n}"), "a".to_owned(), "2".to_owned()],
            vec!["HDEL".to_owned(), format!("hash:{n}"), "a".to_owned()],
            vec!["LPUSH".to_owned(), format!("list:{n}"), "0".to_owned()],
            vec!["LPOP".to_owned(), format!("list:{n}")],
            vec!["SREM".to_owned(), format!("set:{n}"), "3".to_owned()],
            vec!["ZADD".to_owned(), format!("sorted:{n}"), "1.5".to_owned(), "a".to_owned()],
        ])
    });
    let large = (0_usize..LIST).prop_flat_map(move |n| {
        let name = format!("{n:08}");
        prop::sample::select(vec![
            vec!["HSET".to_owned(), "large:hash".to_owned(), name.clone(), "other".to_owned()],
            vec!["HDEL".to_owned(), "large:hash".to_owned(), name.clone()],
            vec!["SREM".to_owned(), "large:set".to_owned(), name.clone()],
            vec!["ZADD".to_owned(), "large:sorted".to_owned(), "0.5".to_owned(), name],
            words(&["SADD", "large:set", "new"]),
            words(&["ZPOPMAX", "large:sorted", "200"]),
            words(&["ZREMRANGEBYRANK", "large:sorted", "0", &n.to_string()]),
            words(&["ZUNIONSTORE", "large:sorted", "2", "large:sorted", "large:set"]),
            words(&["LPOP", "large:list"]),
            words(&["RPOP", "large:list"]),
            words(&["LSET", "large:list", &n.to_string(), "other"]),
            words(&["LINSERT", "large:list", "AFTER", &format!("{n:08}"), "new"]),
            words(&["LREM", "large:list", "1", &format!("{n:08}")]),
            words(&["LTRIM", "large:list", "2", &n.to_string()]),
            words(&["LPUSH", "large:list", "new"]),
            words(&["APPEND", "large:text", "x"]),
            words(&["SETRANGE", "large:text", &(n * 60).to_string(), "x"]),
            words(&["SETBIT", "large:text", &(n * 500).to_string(), "1"]),
            words(&["BITOP", "NOT", "large:text", "large:text"]),
            words(&["PFADD", "large:counter", &format!("new {n}")]),
            words(&["SET", "large:text", "small"]),
            words(&["EXPIRE", "large:hash", "100"]),
            words(&["PERSIST", "large:set"]),
            words(&["DEL", "large:set"]),
            words(&["DEL", "large:list"]),
            words(&["SET", "large:sorted", "another type"]),
        ])
    });
    prop_oneof![small, large, stream_change()]
}

/// One change of a stream.
fn stream_change() -> impl Strategy<Value = Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    (0_usize..STREAM, prop::bool::ANY).prop_flat_map(move |(n, is_large)| {
        let key = if is_large { "large:stream".to_owned() } else { format!("stream:{}", n % 60) };
        let n = if is_large { n } else { n % 3 };
        let (key, id, many) = (key.as_str(), format!("{}-1", n + 1), (n / 2).to_string());
        prop::sample::select(vec![
            words(&["XADD", key, "*", "name", "new"]),
            words(&["XADD", key, "5000-1", "name", "new"]),
            words(&["XDEL", key, &id]),
            words(&["XTRIM", key, "MAXLEN", &many]),
            words(&["XTRIM", key, "MINID", &id]),
            words(&["XSETID", key, "9000-1", "ENTRIESADDED", "9999"]),
            words(&["XGROUP", "CREATE", key, "more", &id]),
            words(&["XGROUP", "SETID", key, "group", &id]),
            words(&["XGROUP", "DESTROY", key, "group"]),
            words(&["XGROUP", "CREATECONSUMER", key, "group", "cy"]),
            words(&["XGROUP", "DELCONSUMER", key, "group", "ada"]),
            words(&["XACK", key, "group", &id]),
            words(&["XCLAIM", key, "group", "cy", "0", &id, "FORCE"]),
            words(&["XREADGROUP", "GROUP", "group", "ada", "COUNT", &many, "STREAMS", key, ">"]),
            words(&["DEL", key]),
            words(&["SET", key, "another type"]),
        ])
    })
}

#[test]
fn equal_states_agree_whatever_their_tables_sizes_and_history() {
    let mut master = Member::filled(SEED);
    let mut copy = master.copy(SEED);
    assert_eq!(copy.digest(), master.keyspace.digest());
    let parts = master.walk(&mut copy);
    assert!(parts > 20, "{parts}");
    assert_eq!(copy.differing(), []);
    // Another seed is another order: nothing can be compared, nothing is found.
    let mut foreign = master.copy(SEED + 1);
    assert_eq!(master.walk(&mut foreign), 0);
    assert_eq!(foreign.differing(), []);
}

#[test]
fn a_walk_goes_on_where_another_master_left_it() {
    let mut master = Member::filled(SEED);
    let mut copy = master.copy(SEED);
    let mut checker = Checker::new(&master.keyspace);
    for _ in 0..3 {
        assert!(!checker.step(&mut master.keyspace, &mut master.log));
    }
    master.send(&mut copy);
    let reached = checker.millionths();
    assert!(reached > 0);
    assert_eq!(Checker::new(&copy).millionths(), reached);
}

#[test]
fn a_repair_changes_nothing_where_nothing_differs() {
    let mut master = Member::filled(SEED);
    let mut copy = master.copy(SEED);
    let all = cairn_keyspace::Part::Keys { from: 0, to: cairn_keyspace::END };
    let part = master.keyspace.repair(&all, &mut master.log).expect("keys are always written");
    assert_ne!(part, all, "a part that is too large becomes smaller");
    master.send(&mut copy);
    assert_eq!(copy.take_findings().replaced, []);
    assert_eq!(copy.digest(), master.keyspace.digest());
}

#[test]
fn a_repair_is_understood_by_whoever_has_another_seed() {
    let mut master = Member::filled(SEED);
    let mut copy = master.copy(SEED);
    let mut foreign = master.copy(SEED + 1);
    let mut wrong = Member { keyspace: foreign, log: EffectLog::new(Offset(1)) };
    wrong.run(&["SET", "text:7", "other"]);
    wrong.run(&["HSET", "large:hash", "00000009", "other"]);
    foreign = wrong.keyspace;
    let mut wrong = Member { keyspace: copy, log: EffectLog::new(Offset(1)) };
    wrong.run(&["SET", "text:7", "other"]);
    wrong.run(&["HSET", "large:hash", "00000009", "other"]);
    copy = wrong.keyspace;
    master.walk(&mut copy);
    for part in copy.differing().to_vec() {
        master.keyspace.repair(&part, &mut master.log);
    }
    master.send(&mut foreign);
    assert_eq!(foreign.digest(), master.keyspace.digest());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_change_is_found_and_mended(changes in prop::collection::vec(change(), 1..4)) {
        let mut master = Member::filled(SEED);
        let mut copy = Member { keyspace: master.copy(SEED), log: EffectLog::new(Offset(1)) };
        for change in &changes {
            let words: Vec<&str> = change.iter().map(String::as_str).collect();
            copy.run(&words);
        }
        let mut copy = copy.keyspace;
        let differs = copy.digest() != master.keyspace.digest();
        master.walk(&mut copy);
        prop_assert_eq!(!copy.differing().is_empty(), differs, "{:?}", changes);
        let mut rounds = 0;
        while master.repair(&mut copy) {
            rounds += 1;
            prop_assert!(rounds < 4, "{:?} are left of {:?}", copy.differing(), changes);
        }
        prop_assert_eq!(copy.digest(), master.keyspace.digest(), "{:?}", changes);
        prop_assert_eq!(copy.len(), master.keyspace.len());
        prop_assert_eq!(copy.expiring(), master.keyspace.expiring());
        prop_assert_eq!(!copy.take_findings().replaced.is_empty(), differs);
        master.walk(&mut copy);
        prop_assert_eq!(copy.differing(), []);
    }
}
