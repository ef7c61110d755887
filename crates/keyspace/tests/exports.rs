//! A snapshot that is written while commands go on, with large values that change under it.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Builder, Ctx, EffectLog, Keyspace, Portion, slot_of};
use cairn_logic::ids::{EntryId, Epoch, Offset, Slot};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Items of a large value.
const ITEMS: usize = 800;
const NOW_MS: u64 = 1_700_000_000_000;

/// A hash tag of one of the first slots, so that a snapshot is there soon.
fn tag() -> String {
    let early = |tag: &String| slot_of(format!("{{{tag}}}").as_bytes()).get() < 30;
    (0..).map(|number: u32| number.to_string()).find(early).expect("every slot has tags")
}

fn key(name: &str) -> String {
    format!("{{{}}}{name}", tag())
}

/// Where a snapshot is written, and what came of it.
struct Writer {
    keyspace: Keyspace,
    portions: Vec<(EntryId, Portion)>,
    more: bool,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { keyspace: Keyspace::new(seed), portions: Vec::new(), more: true }
    }

    fn write(&mut self, at: Offset, calls: usize) {
        for _ in 0..calls {
            self.more = self.more && self.keyspace.export_some(EntryId::new(Epoch(1), at), 1);
        }
        self.portions.extend(self.keyspace.take_exported());
    }
}

struct World {
    master: Writer,
    follower: Writer,
    log: EffectLog,
    /// What followed the beginning.
    batches: Vec<(Offset, Vec<u8>)>,
    slot: Slot,
    /// What the slot was after each entry.
    digests: BTreeMap<Offset, u64>,
}

impl World {
    fn filled() -> Self {
        let mut world = World {
            master: Writer::new(1),
            follower: Writer::new(2),
            log: EffectLog::new(Offset(1)),
            batches: Vec::new(),
            slot: slot_of(key("").as_bytes()),
            digests: BTreeMap::new(),
        };
        for number in 0..400 {
            world.run(&["SET", &key(&format!("small{number}")), &number.to_string()]);
            world.run(&["SET", &format!("other{number}"), &number.to_string()]);
        }
        for number in 0..ITEMS {
            let name = format!("{number:08}");
            world.run(&["HSET", &key("hash"), &name, &name]);
            world.run(&["RPUSH", &key("list"), &name]);
            world.run(&["SADD", &key("set"), &name]);
            world.run(&["ZADD", &key("sorted"), &number.to_string(), &name]);
        }
        world.run(&["SET", &key("text"), &"0123456789".repeat(20_000)]);
        for number in 0..12 {
            let hll = key("hll");
            let names: Vec<_> = (0..100).map(|name| format!("{number}:{name}")).collect();
            let names = names.iter().map(String::as_str);
            world.run(&["PFADD", &hll].into_iter().chain(names).collect::<Vec<_>>());
        }
        for number in 0..ITEMS / 2 {
            let (stream, id) = (key("stream"), format!("{}-1", number + 1));
            world.run(&["XADD", &stream, &id, "name", &id, "more", &"x".repeat(20)]);
        }
        for group in ["g", "h"] {
            let stream = key("stream");
            world.run(&["XGROUP", "CREATE", &stream, group, "0"]);
            world.run(&[
                "XREADGROUP",
                "GROUP",
                group,
                "ada",
                "COUNT",
                "500",
                "STREAMS",
                &stream,
                ">",
            ]);
        }
        world.run(&["EXPIRE", &key("set"), "1000"]);
        world.send();
        world.batches.clear();
        for writer in [&mut world.master, &mut world.follower] {
            writer.keyspace.begin_export(40_000);
        }
        world
    }

    fn run(&mut self, words: &[&str]) {
        let args: ArgsBuf = words.iter().map(|word| word.as_bytes()).collect();
        let command = lookup(words[0].as_bytes()).expect("a command");
        let ctx = Ctx { now_ms: NOW_MS, may_write: true, value_bytes_max: 32 << 20 };
        let mut reply = ReplyBuf::new(Version::Resp3);
        let keyspace = &mut self.master.keyspace;
        keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
    }

    /// The follower gets what is new.
    fn send(&mut self) -> Offset {
        if let Some(entries) = self.log.take() {
            let applied = self.follower.keyspace.apply(&entries.body, entries.first);
            assert_eq!(applied, Ok(entries.count));
            self.batches.push((entries.first, entries.body));
        }
        let last = Offset(self.log.next_offset().0 - 1);
        self.digests.insert(last, self.master.keyspace.slot_digest(self.slot));
        last
    }

    /// Whoever takes the portions, and then the log, has the same.
    fn check(&self, portions: &[(EntryId, Portion)]) {
        let mut copy = Keyspace::new(9);
        let mut at = Offset::ZERO;
        for (entry, portion) in portions {
            copy.import(portion, entry.offset).expect("it was written that way");
            if (portion.first..=portion.last).contains(&self.slot.get()) {
                assert!(at == Offset::ZERO || at == entry.offset, "a slot is of one moment");
                at = entry.offset;
            }
        }
        assert_eq!(copy.slot_digest(self.slot), self.digests[&at], "as it was after {at}");
        assert_eq!(built(portions).digest(), copy.digest());
        for (first, body) in &self.batches {
            copy.apply(body, *first).expect("it follows");
        }
        assert_eq!(copy.digest(), self.master.keyspace.digest());
        assert_eq!(copy.len(), self.master.keyspace.len());
        assert_eq!(copy.expiring(), self.master.keyspace.expiring());
        let counted: u32 = portions.iter().map(|(_, portion)| portion.keys).sum();
        let mut named = std::collections::BTreeSet::new();
        for (_, portion) in portions {
            cairn_keyspace::keys_of(&portion.records, |key| {
                named.insert(key.to_vec());
            })
            .expect("it was written that way");
        }
        assert_eq!(counted as usize, named.len(), "each key ends once");
    }
}

/// The same by builders that have other parts of it.
fn built(portions: &[(EntryId, Portion)]) -> Keyspace {
    let (mut keyspace, mut builders) = (Keyspace::new(9), [Builder::new(9), Builder::new(9)]);
    let mut behind = 0;
    for (entry, portion) in portions {
        if portion.first >= behind {
            builders.swap(0, 1);
            if let Some(built) = builders[0].take() {
                keyspace.adopt(built).expect("its slots are empty");
            }
        }
        behind = portion.last + 1;
        builders[0].add(portion, entry.offset).expect("it follows");
    }
    for mut builder in builders {
        if let Some(built) = builder.take() {
            keyspace.adopt(built).expect("its slots are empty");
        }
    }
    keyspace
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Changes in the middle of large strings.
fn text_changes(n: usize) -> Vec<Vec<String>> {
    let (text, at, hll, name) = (key("text"), (n * 130).to_string(), key("hll"), n.to_string());
    vec![
        words(&["APPEND", &text, "more"]),
        words(&["SETRANGE", &text, &at, "written over"]),
        words(&["SETBIT", &text, &at, "1"]),
        words(&["BITFIELD", &text, "SET", "u60", &at, "77"]),
        words(&["PFADD", &hll, &name]),
        words(&["PFCOUNT", &hll]),
    ]
}

/// Changes of a large stream and its groups.
fn stream_changes(n: usize, count: usize) -> Vec<Vec<String>> {
    let (stream, copy) = (key("stream"), key("stream2"));
    let (stream, group) = (stream.as_str(), if n.is_multiple_of(2) { "g" } else { "h" });
    let n = n / 2;
    let (id, next, count) = (format!("{}-1", n + 1), format!("{}-1", n + 2), count.to_string());
    vec![
        words(&["XADD", stream, "*", "name", "new", "more", "y"]),
        words(&["XADD", stream, "MAXLEN", "~", "250", "*", "name", "new"]),
        words(&["XADD", stream, &next, "name", "again"]),
        words(&["XDEL", stream, &id, &next]),
        words(&["XTRIM", stream, "MAXLEN", &count]),
        words(&["XTRIM", stream, "MINID", &id]),
        words(&["XSETID", stream, &id, "ENTRIESADDED", "9999"]),
        words(&["XREADGROUP", "GROUP", group, "bob", "COUNT", &count, "STREAMS", stream, ">"]),
        words(&["XREADGROUP", "GROUP", group, "ada", "COUNT", &count, "STREAMS", stream, &id]),
        words(&["XACK", stream, group, &id, &next]),
        words(&["XCLAIM", stream, group, "cy", "0", &id, &next, "FORCE"]),
        words(&["XAUTOCLAIM", stream, group, "dan", "0", &id, "COUNT", &count]),
        words(&["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]),
        words(&["XGROUP", "SETID", stream, group, &id]),
        words(&["XGROUP", "DELCONSUMER", stream, group, "ada"]),
        words(&["XGROUP", "DESTROY", stream, group]),
        words(&["RENAME", stream, &copy]),
        words(&["COPY", &copy, stream, "REPLACE"]),
        words(&["DEL", stream]),
    ]
}

fn change() -> impl Strategy<Value = Vec<String>> {
    let one = words;
    (0_usize..ITEMS, 1_usize..400).prop_flat_map(move |(n, count)| {
        let count_of = count;
        let (name, count) = (format!("{n:08}"), count.to_string());
        let small = key(&format!("small{}", n % 420));
        let (hash, list, set) = (key("hash"), key("list"), key("set"));
        let (sorted, text) = (key("sorted"), key("text"));
        let index = n.to_string();
        prop_oneof![
            7 => prop::sample::select(text_changes(n)),
            14 => prop::sample::select(stream_changes(n, count_of)),
            30 => prop::sample::select(vec![
                one(&["HSET", &hash, &name, "other"]),
                one(&["HDEL", &hash, &name]),
                one(&["HSET", &hash, &format!("new{name}"), "x"]),
                one(&["HINCRBY", &hash, &format!("number{}", n % 9), "3"]),
                one(&["SADD", &set, &format!("new{name}")]),
                one(&["SREM", &set, &name]),
                one(&["ZADD", &sorted, "0.5", &name]),
                one(&["ZADD", &sorted, "7", &format!("new{name}")]),
                one(&["ZREM", &sorted, &name]),
                one(&["ZPOPMIN", &sorted, &count]),
                one(&["ZREMRANGEBYRANK", &sorted, &count, "-200"]),
                one(&["LPUSH", &list, "a", "b", "c"]),
                one(&["RPUSH", &list, "d", "e"]),
                one(&["LPOP", &list, &count]),
                one(&["RPOP", &list, &count]),
                one(&["LSET", &list, &index, "other"]),
                one(&["LINSERT", &list, "BEFORE", &name, "before"]),
                one(&["LINSERT", &list, "AFTER", "before", "after"]),
                one(&["LREM", &list, "0", &name]),
                one(&["LREM", &list, "-2", "before"]),
                one(&["LTRIM", &list, "3", "-3"]),
                one(&["LMOVE", &list, &list, "LEFT", "RIGHT"]),
                one(&["SPOP", &set, "9"]),
                one(&["SMOVE", &set, &key("set2"), &name]),
                one(&["SET", &small, "x"]),
                one(&["DEL", &small]),
                one(&["APPEND", &small, "x"]),
                one(&["EXPIRE", &small, "100"]),
                one(&["HSET", &small, "a", "b"]),
            ]),
            6 => prop::sample::select(vec![
                one(&["EXPIRE", &hash, "100"]),
                one(&["PERSIST", &set]),
                one(&["DEL", &hash]),
                one(&["DEL", &list]),
                one(&["RENAME", &list, &key("list2")]),
                one(&["RENAME", &key("list2"), &list]),
                one(&["RENAME", &hash, &key("hash2")]),
                one(&["COPY", &key("hash2"), &hash, "REPLACE"]),
                one(&["RENAME", &text, &small]),
                one(&["COPY", &list, &small]),
                one(&["SUNIONSTORE", &set, &set, &key("set2")]),
                one(&["DEL", &sorted]),
                one(&["ZUNIONSTORE", &sorted, "2", &sorted, &set]),
                one(&["ZRANGESTORE", &sorted, &sorted, "0", &count]),
                one(&["SET", &set, "another type"]),
                one(&["SET", &text, "short"]),
                one(&["BITOP", "NOT", &text, &text]),
                one(&["SET", &text, &"y".repeat(90_000)]),
            ]),
            1 => Just(one(&["FLUSHALL"])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_is_written_as_it_was_however_large_values_change_meanwhile(
        start in 0_usize..60,
        steps in prop::collection::vec((0_usize..6, prop::collection::vec(change(), 0..4)), 0..60),
    ) {
        let mut world = World::filled();
        let mut last = world.send();
        world.master.write(last, start);
        world.follower.write(last, start);
        for (calls, changes) in &steps {
            for change in changes {
                let words: Vec<&str> = change.iter().map(String::as_str).collect();
                world.run(&words);
            }
            last = world.send();
            world.master.write(last, *calls);
            world.follower.write(last, *calls);
        }
        while world.master.more || world.follower.more {
            world.master.write(last, 100);
            world.follower.write(last, 100);
        }
        world.check(&world.master.portions);
        world.check(&world.follower.portions);
    }
}
