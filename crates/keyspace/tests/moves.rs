//! Slots that move to another keyspace while commands go on, and what is shown of them meanwhile.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{
    Builder, Ctx, EffectLog, Evicted, Eviction, Export, Keyspace, Policy, Verb, entries_about,
    slot_of,
};
use cairn_logic::ids::{EntryId, Epoch, Offset, Slot};
use cairn_logic::moves::{Mark, MoveId};
use cairn_resp::{ArgsBuf, ReplyBuf};
use proptest::prelude::*;

const NOW_MS: u64 = 1_700_000_000_000;
const ONE: MoveId = MoveId(1);
const TWO: MoveId = MoveId(2);

/// A keyspace with its log.
struct Group {
    keyspace: Keyspace,
    log: EffectLog,
    /// Bodies with the offset of their first entry.
    batches: Vec<(Offset, Vec<u8>)>,
}

impl Group {
    fn new(seed: u64) -> Self {
        let log = EffectLog::new(Offset(1));
        Self { keyspace: Keyspace::new(seed), log, batches: Vec::new() }
    }

    /// The body that was appended last.
    fn appended(&mut self) -> Vec<u8> {
        let Some(entries) = self.log.take() else { return Vec::new() };
        self.batches.push((entries.first, entries.body.clone()));
        entries.body
    }

    fn run_at(&mut self, now_ms: u64, line: &str) -> String {
        let args: ArgsBuf = line.split(' ').collect();
        let ctx = Ctx { now_ms, may_write: true, value_bytes_max: 1 << 20 };
        let (mut reply, args) = (ReplyBuf::default(), args.as_args());
        let command = lookup(args.name()).expect("it is a command");
        self.keyspace.execute(&ctx, command, args, None, &mut reply, &mut self.log);
        String::from_utf8_lossy(reply.as_bytes()).into_owned()
    }

    fn run(&mut self, line: &str) -> String {
        self.run_at(NOW_MS, line)
    }

    fn slots(&mut self, verb: Verb, id: MoveId, slot: Slot) {
        self.keyspace.write_slots(verb, id, (slot, slot), &mut self.log);
        self.appended();
    }

    fn takes(&mut self, id: MoveId, records: &[u8]) {
        if !records.is_empty() {
            self.keyspace.take_brought(id, records, &mut self.log).expect("it fits");
            self.appended();
        }
    }

    fn last(&self) -> EntryId {
        EntryId::new(Epoch(1), Offset(self.log.next_offset().0 - 1))
    }

    /// Another member after the same log.
    fn member(&self) -> Keyspace {
        let mut member = Keyspace::new(9);
        for (first, body) in &self.batches {
            member.apply(body, *first).expect("what the master wrote is applied");
        }
        member
    }

    fn mark(&self, slot: Slot) -> Option<Mark> {
        self.keyspace.marks().get(&slot).copied()
    }
}

fn slot(tag: &str) -> Slot {
    slot_of(tag.as_bytes())
}

/// What a slot holds, for [`Keyspace::take_brought`].
fn held(keyspace: &Keyspace, slot: Slot) -> Vec<u8> {
    let mut export = Export::of((slot.get(), slot.get()), 1 << 20);
    export.advance(keyspace, EntryId::ZERO, usize::MAX);
    export.take().into_iter().flat_map(|(_, portion)| portion.records).collect()
}

/// A target in which keys of tag `a` are being brought by move 1.
fn bringing() -> Group {
    let (mut source, mut target) = (Group::new(1), Group::new(2));
    source.run("SET {a}1 x");
    source.run_at(NOW_MS, "SET {a}2 x PX 100");
    target.run("SET {b}1 y");
    target.appended();
    target.slots(Verb::Take, ONE, slot("a"));
    let records = held(&source.keyspace, slot("a"));
    target.takes(ONE, &records);
    target
}

#[test]
fn what_is_being_brought_is_shown_to_nobody() {
    let mut target = bringing();
    assert!(target.keyspace.is_hidden(slot("a")));
    assert_eq!(target.keyspace.slot_len(slot("a")), 2);
    assert_eq!(target.run("DBSIZE"), ":1\r\n");
    assert_eq!(target.run("KEYS *"), "*1\r\n$4\r\n{b}1\r\n");
    assert_eq!(target.run("SCAN 0 COUNT 100"), "*2\r\n$1\r\n0\r\n*1\r\n$4\r\n{b}1\r\n");
    assert_eq!(target.run("RANDOMKEY"), "$4\r\n{b}1\r\n");
    let later = NOW_MS + 1000;
    let expired = target.keyspace.expire_some(later, 1000, &mut target.log);
    assert_eq!((expired.deleted, expired.finished), (0, true), "its source decides that");
    target.run("FLUSHALL");
    target.appended();
    assert_eq!(target.keyspace.slot_len(slot("a")), 2, "its source decides that, too");
    target.keyspace.set_eviction(Eviction { policy: Policy::AllKeysLru, ..Eviction::default() });
    target.run("SET {b}2 y");
    while target.keyspace.evict_one(&mut target.log) != Evicted::Nothing {}
    target.appended();
    assert_eq!(target.keyspace.slot_len(slot("b")), 0, "others make room");
    assert_eq!(target.keyspace.slot_len(slot("a")), 2, "its source decides that as well");
    target.slots(Verb::Show, ONE, slot("a"));
    assert_eq!(target.run("DBSIZE"), ":2\r\n");
    assert_eq!(target.run("GET {a}1"), "$1\r\nx\r\n");
    assert_eq!(
        target.keyspace.slot_last_write(slot("a")),
        target.last().offset,
        "a read waits for that"
    );
    assert_eq!(target.member().digest(), target.keyspace.digest());
    assert!(target.member().marks().is_empty());
}

#[test]
fn what_is_meant_for_another_move_passes_over() {
    let mut target = bringing();
    let before = target.keyspace.digest();
    target.slots(Verb::DropImport, TWO, slot("a"));
    target.slots(Verb::Show, TWO, slot("a"));
    let mut other = Group::new(3);
    other.run("SET {a}1 other");
    let records = held(&other.keyspace, slot("a"));
    target.takes(TWO, &records);
    assert_eq!(target.keyspace.digest(), before);
    assert_eq!(target.mark(slot("a")), Some(Mark { id: ONE, gone: false }));
    target.slots(Verb::DropImport, ONE, slot("a"));
    assert_eq!(target.keyspace.slot_len(slot("a")), 0);
    assert_eq!(target.mark(slot("a")), Some(Mark { id: ONE, gone: true }));
    target.slots(Verb::Show, ONE, slot("a"));
    assert!(target.keyspace.is_hidden(slot("a")), "what is gone comes back by another move alone");
    target.slots(Verb::Take, TWO, slot("a"));
    target.slots(Verb::Show, TWO, slot("a"));
    assert!(!target.keyspace.is_hidden(slot("a")));
}

#[test]
fn a_snapshot_knows_which_slots_are_hidden() {
    let mut target = bringing();
    target.slots(Verb::DropSource, TWO, slot("c"));
    let mut export = Export::new(1 << 10);
    export.advance(&target.keyspace, target.last(), usize::MAX);
    let mut builder = Builder::new(2);
    let mut loaded = Keyspace::new(2);
    for (at, portion) in export.take() {
        builder.add(&portion, at.offset).expect("it was written so");
        cairn_keyspace::commands_of(&portion.records, |_, _| ()).expect("readable");
        cairn_keyspace::keys_of(&portion.records, |_| ()).expect("readable");
    }
    loaded.adopt(builder.take().expect("there were portions")).expect("it is empty");
    assert_eq!(loaded.marks(), target.keyspace.marks());
    assert_eq!(loaded.digest(), target.keyspace.digest());
    // What the snapshot holds already is passed over when the log is replayed.
    for (first, body) in &target.batches {
        loaded.apply(body, *first).expect("it follows");
    }
    assert_eq!(loaded.marks(), target.keyspace.marks());
    assert_eq!(loaded.digest(), target.keyspace.digest());
}

#[test]
fn what_is_held_rests_and_all_else_goes_on() {
    let mut source = Group::new(1);
    for key in ["{a}1", "{b}1"] {
        source.run(&format!("SET {key} x PX 100"));
        source.run(&format!("SET {key}2 x"));
    }
    source.keyspace.set_eviction(Eviction { policy: Policy::AllKeysLru, ..Eviction::default() });
    source.keyspace.keep_still(Some((slot("a"), slot("a"))));
    let later = NOW_MS + 1000;
    assert_eq!(source.keyspace.expire_some(later, 1000, &mut source.log).deleted, 1);
    while source.keyspace.evict_one(&mut source.log) != Evicted::Nothing {}
    assert_eq!(source.keyspace.slot_len(slot("a")), 2, "the end of the hold decides that");
    assert_eq!(source.keyspace.slot_len(slot("b")), 0);
    source.keyspace.keep_still(None);
    assert_eq!(source.keyspace.expire_some(later, 1000, &mut source.log).deleted, 1);
    assert_eq!(source.keyspace.evict_one(&mut source.log), Evicted::One);
    assert!(source.keyspace.is_empty());
}

#[test]
fn what_is_not_whole_is_not_carried_and_keys_that_are_shown_are_not_replaced() {
    let mut target = bringing();
    let of = |tag| (slot(tag), slot(tag));
    assert!(!target.keyspace.may_carry(of("a")), "half of it is here");
    assert!(target.keyspace.may_take(of("a")), "again, by a later try");
    assert!(target.keyspace.may_carry(of("b")) && !target.keyspace.may_take(of("b")));
    target.slots(Verb::Show, ONE, slot("a"));
    assert!(target.keyspace.may_carry(of("a")) && !target.keyspace.may_take(of("a")));
    target.slots(Verb::DropSource, TWO, slot("a"));
    assert!(!target.keyspace.may_carry(of("a")) && target.keyspace.may_take(of("a")));
}

#[test]
fn a_slot_that_was_given_away_takes_no_memory_whatever_was_in_it() {
    let (mut source, long) = (Group::new(1), "x".repeat(5000));
    for line in ["RPUSH {a}l", "SET {a}s", "SADD {a}t", "XADD {a}x 1-1 f", "HSET {a}h f"] {
        source.run(&format!("{line} {long}"));
    }
    source.run(&format!("APPEND {{a}}s {long}"));
    source.run(&format!("SET {{a}}e {long} PX 100"));
    source.run("RENAME {a}l {a}m");
    assert!(source.keyspace.used_bytes() > 30_000);
    source.slots(Verb::DropSource, ONE, slot("a"));
    assert_eq!((source.keyspace.used_bytes(), source.keyspace.len()), (0, 0));
}

#[test]
fn functions_stay_where_they_are() {
    let (mut source, mut target) = (Group::new(1), Group::new(2));
    source.keyspace.put_library(b"mine", b"#!lua name=mine", &mut source.log);
    let body = source.appended();
    assert!(entries_about(&body, &(0..=16383)).unwrap().is_empty());
    let first = Slot::try_from(0).unwrap();
    let records = held(&source.keyspace, first);
    assert!(!records.is_empty(), "a snapshot has them in front of slot 0");
    target.slots(Verb::Take, ONE, first);
    target.takes(ONE, &records);
    target.slots(Verb::Show, ONE, first);
    assert!(target.keyspace.libraries().is_empty());
    assert_eq!(target.member().digest(), target.keyspace.digest());
}

#[test]
fn what_does_not_fit_is_refused_and_dropped() {
    let (mut source, mut target) = (Group::new(1), bringing());
    source.run("LPUSH {a}1 x");
    source.appended();
    source.run("LPOP {a}1");
    let entries = source.appended();
    let entries = entries_about(&entries, &(slot("a").get()..=slot("a").get())).unwrap();
    assert!(target.keyspace.take_brought(ONE, &entries, &mut target.log).is_err());
    assert!(target.log.take().is_none(), "nothing is logged");
    target.slots(Verb::DropImport, ONE, slot("a"));
    assert_eq!(target.member().digest(), target.keyspace.digest());
}

/// Commands on keys of two slots.
fn commands() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0..12_u8, 0..6_u8, any::<u8>()), 0..60)
}

fn line((kind, key, value): (u8, u8, u8)) -> String {
    let key = format!("{{{}}}{key}", if key % 2 == 0 { "a" } else { "b" });
    match kind {
        0 | 1 => format!("RPUSH l{key} {value}"),
        2 => format!("LPOP l{key}"),
        3 => format!("SET s{key} {value}"),
        4 => format!("APPEND s{key} {value}"),
        5 => format!("HSET h{key} {value} {value}"),
        6 => format!("HDEL h{key} {value}"),
        7 => format!("ZADD z{key} {value} {value}"),
        8 => format!("SET e{key} {value} PXAT {}", NOW_MS + 5),
        9 => format!("PERSIST e{key}"),
        10 => format!("DEL l{key}"),
        _ if value < 20 => "FLUSHALL".to_owned(),
        _ => format!("RENAME s{key} r{key}"),
    }
}

proptest! {
    /// Whenever copying begins and however slow it is, the target ends with what the source has.
    #[test]
    fn a_slot_arrives_as_it_is_whatever_changes_meanwhile(
        before in commands(), during in commands(), steps in 0..4_usize,
    ) {
        let (mut source, mut target) = (Group::new(1), Group::new(2));
        let moved = slot("a");
        before.into_iter().for_each(|one| drop(source.run(&line(one))));
        source.appended();
        target.slots(Verb::Take, ONE, moved);
        source.keyspace.begin_export_of((moved, moved), 256);
        let (mut copied, mut tail, mut more) = (Vec::new(), Vec::new(), true);
        for one in during {
            for _ in 0..steps {
                let last = source.last();
                more = more && source.keyspace.export_some(last, 1);
            }
            copied.extend(source.keyspace.take_exported());
            let begun = source.keyspace.export_begun().unwrap_or(u16::MAX) > moved.get();
            source.run(&line(one));
            let body = source.appended();
            if begun {
                tail.push(entries_about(&body, &(moved.get()..=moved.get())).unwrap());
            }
        }
        while more {
            let last = source.last();
            more = source.keyspace.export_some(last, 1);
        }
        copied.extend(source.keyspace.take_exported());
        copied.iter().for_each(|(_, portion)| target.takes(ONE, &portion.records));
        tail.iter().for_each(|entries| target.takes(ONE, entries));
        prop_assert_eq!(target.keyspace.slot_digest(moved), source.keyspace.slot_digest(moved));
        prop_assert_eq!(target.keyspace.slot_len(slot("b")), 0);
        prop_assert_eq!(target.member().digest(), target.keyspace.digest());
        source.slots(Verb::DropSource, ONE, moved);
        prop_assert_eq!(source.keyspace.slot_len(moved), 0);
        prop_assert_eq!(source.member().digest(), source.keyspace.digest());
        source.run("FLUSHALL");
        prop_assert_eq!(source.keyspace.used_bytes(), 0);
    }

    /// Bytes that nobody has written are refused or applied, and no more.
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut target = bringing();
        let _ = target.keyspace.take_brought(ONE, &bytes, &mut target.log);
        let _ = entries_about(&bytes, &(0..=16383));
        let mut with_code = vec![bytes.len() as u8 + 1, 100];
        with_code.extend(&bytes);
        let _ = target.keyspace.apply(&with_code, Offset(100));
    }
}
