//! Commands on streams and their groups.

#[path = "shared/node.rs"]
mod node;

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Export, Keyspace, slot_of};
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::time::Duration;
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use node::{Node, check, check_on};

#[test]
fn entries_are_added_read_and_deleted() {
    check(
        "XADD s 1-1 a 1 b 2 => 1-1
        XADD s 1-1 a 1 => -ERR The ID specified in XADD is equal or smaller than the target \
         stream top item
        XADD s 0-0 a 1 => -ERR The ID specified in XADD must be greater than 0-0
        XADD s 1-* a 3 b 4 => 1-2
        XADD s 5 other x => 5-0
        XADD s * a => -ERR wrong number of arguments for 'xadd' command
        XADD s * a 1 => 1700000000000-0
        XADD s * a 1 => 1700000000000-1
        XADD none NOMKSTREAM * a 1 => nil
        XADD s x a 1 => -ERR Invalid stream ID specified as stream command argument
        XLEN s => :5
        XLEN none => :0
        TYPE s => stream
        OBJECT ENCODING s => stream
        XRANGE s - + COUNT 2 => [[1-1 [a 1 b 2]] [1-2 [a 3 b 4]]]
        XRANGE s (1-1 5 => [[1-2 [a 3 b 4]] [5-0 [other x]]]
        XRANGE s 1 1 => [[1-1 [a 1 b 2]] [1-2 [a 3 b 4]]]
        XRANGE s 9 1 => []
        XRANGE s - + COUNT 0 => nil
        XRANGE none - + => []
        XRANGE s (+ + => -ERR Invalid stream ID specified as stream command argument
        XREVRANGE s + - COUNT 1 => [[1700000000000-1 [a 1]]]
        XREVRANGE s 5 (1-1 => [[5-0 [other x]] [1-2 [a 3 b 4]]]
        XDEL s 1-2 1-2 7-7 => :1
        XDEL s 1-x => -ERR Invalid stream ID specified as stream command argument
        XREAD COUNT 1 STREAMS s none 1-1 0 => [[s [[5-0 [other x]]]]]
        XREAD STREAMS s $ => nil
        XREAD STREAMS s => -ERR wrong number of arguments for 'xread' command
        XREAD STREAMS s t 0 => -ERR Unbalanced XREAD list of streams: for each stream key an ID \
         or '$' must be specified.
        XDEL s 1-1 5 1700000000000-0 1700000000000-1 => :4
        XLEN s => :0
        EXISTS s => :1
        XADD s 5-1 a 1 => -ERR The ID specified in XADD is equal or smaller than the target \
         stream top item
        XSETID s 4-0 => OK
        XADD s 5-1 a 1 => 5-1
        XSETID s 5-0 => -ERR The ID specified in XSETID is smaller than the target stream top item
        SET text v => OK
        XADD text * a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        XRANGE text - + => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn streams_are_trimmed_whole_block_by_block_or_exactly() {
    let mut node = Node::new();
    for number in 1..=250 {
        node.run(&format!("XADD s {number} field value"));
    }
    check_on(
        &mut node,
        "XTRIM s MAXLEN ~ 200 => :0
        XTRIM s MAXLEN ~ 150 => :100
        XTRIM s MAXLEN = 149 => :1
        XTRIM s MINID ~ 150 => :0
        XTRIM s MINID 150 => :48
        XTRIM s MINID ~ 240 LIMIT 10 => :0
        XTRIM s MAXLEN 5 LIMIT 10 => -ERR syntax error, LIMIT cannot be used without the special \
         ~ option
        XTRIM s LIMIT 10 => -ERR syntax error, LIMIT cannot be used without specifying a trimming \
         strategy
        XTRIM s MAXLEN 5 MINID 3 => -ERR syntax error, MAXLEN and MINID options at the same time \
         are not compatible
        XTRIM s MAXLEN -1 => -ERR The MAXLEN argument must be >= 0.
        XRANGE s - + COUNT 1 => [[150-0 [field value]]]
        XADD s MAXLEN 2 251 field value => 251-0
        XLEN s => :2
        XTRIM none MAXLEN 0 => :0
        XTRIM s MAXLEN 0 => :2
        EXISTS s => :1",
    );
}

#[test]
fn groups_share_a_stream() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "XGROUP CREATE s g $ => -ERR The XGROUP subcommand requires the key to exist. Note that \
         for CREATE you may want to use the MKSTREAM option to create an empty stream \
         automatically.
        XGROUP CREATE s g 0 MKSTREAM => OK
        XGROUP CREATE s g 0 => -BUSYGROUP Consumer Group name already exists
        XLEN s => :0
        XADD s 1 a 1 => 1-0
        XADD s 2 a 2 => 2-0
        XADD s 3 a 3 => 3-0
        XREADGROUP GROUP none ada STREAMS s > => -NOGROUP No such key 's' or consumer group \
         'none' in XREADGROUP with GROUP option
        XREADGROUP GROUP g ada COUNT 2 STREAMS s > => [[s [[1-0 [a 1]] [2-0 [a 2]]]]]
        XREADGROUP GROUP g bob STREAMS s > => [[s [[3-0 [a 3]]]]]
        XREADGROUP GROUP g bob STREAMS s > => nil
        XREADGROUP GROUP g bob STREAMS s $ => -ERR The $ ID is meaningless in the context of \
         XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or \
         use the > ID to get new messages. The $ ID would just return an empty result set.
        XPENDING s g => [:3 1-0 3-0 [[ada 2] [bob 1]]]
        XDEL s 1 => :1
        XREADGROUP GROUP g ada STREAMS s 0 => [[s [[1-0 nil] [2-0 [a 2]]]]]
        XPENDING s g - + 9 ada => [[1-0 ada :0 :1] [2-0 ada :0 :2]]
        XACK s g 2 9-9 => :1
        XACK s none 2 => :0
        XINFO GROUPS s => [[name g consumers :2 pending :2 last-delivered-id 3-0 entries-read :3 \
         lag :0]]",
    );
    node.now_ms += 5000;
    check_on(
        &mut node,
        "XPENDING s g IDLE 6000 - + 9 => []
        XPENDING s g IDLE 4000 - + 1 => [[1-0 ada :5000 :1]]
        XCLAIM s g cy 6000 3 => []
        XCLAIM s g cy 4000 3 JUSTID => [3-0]
        XCLAIM s g cy 4000 3 => []
        XCLAIM s g cy 0 1 3 RETRYCOUNT 7 => [[3-0 [a 3]]]
        XPENDING s g - + 9 => [[3-0 cy :0 :7]]
        XCLAIM s g cy 0 2 => []
        XCLAIM s g cy 0 2 FORCE IDLE 4000 => [[2-0 [a 2]]]
        XCLAIM s g cy 0 2 FOO => -ERR Unrecognized XCLAIM option 'FOO'
        XAUTOCLAIM s g ada 4000 0 => [0-0 [[2-0 [a 2]]] []]
        XDEL s 2 => :1
        XAUTOCLAIM s g ada 0 - COUNT 1 => [3-0 [] [2-0]]
        XAUTOCLAIM s g ada 0 - COUNT 1 JUSTID => [0-0 [3-0] []]
        XAUTOCLAIM s g ada 0 - COUNT 0 => -ERR COUNT must be > 0
        XGROUP CREATECONSUMER s g dan => :1
        XGROUP CREATECONSUMER s g dan => :0
        XINFO CONSUMERS s g => [[name ada pending :1 idle :0] [name bob pending :0 idle :5000] \
         [name cy pending :0 idle :0] [name dan pending :0 idle :0]]
        XGROUP DELCONSUMER s g ada => :1
        XGROUP DELCONSUMER s g ada => :0
        XPENDING s g => [:0 nil nil nil]
        XGROUP SETID s g 0 => OK
        XREADGROUP GROUP g dan NOACK STREAMS s > => [[s [[3-0 [a 3]]]]]
        XPENDING s g => [:0 nil nil nil]
        XGROUP DESTROY s g => :1
        XGROUP DESTROY s g => :0
        XGROUP SETID s g 0 => -NOGROUP No such consumer group 'g' for key name 's'
        XGROUP FOO => -ERR unknown subcommand 'FOO'. Try XGROUP HELP.
        XGROUP DESTROY s => -ERR wrong number of arguments for 'xgroup|destroy' command
        XINFO STREAM s => [length :1 radix-tree-keys :1 radix-tree-nodes :2 last-generated-id 3-0 \
         max-deleted-entry-id 2-0 entries-added :3 recorded-first-entry-id 3-0 groups :0 \
         first-entry [3-0 [a 3]] last-entry [3-0 [a 3]]]
        DEL s => :1",
    );
    assert_eq!(node.master.used_bytes(), 0);
}

#[test]
fn resp3_has_maps() {
    let mut node = Node::new();
    node.version = Version::Resp3;
    check_on(
        &mut node,
        "XADD {t}s 1 a 1 => 1-0
        XADD {t}u 2 a 1 => 2-0
        XREAD STREAMS {t}s none {t}u 0 0 0 => {{t}s=[[1-0 [a 1]]] {t}u=[[2-0 [a 1]]]}
        XREAD STREAMS {t}s 1 => nil
        XGROUP CREATE {t}s g 0 => OK
        XREADGROUP GROUP g ada STREAMS {t}s > => {{t}s=[[1-0 [a 1]]]}
        XINFO CONSUMERS {t}s g => [{name=ada pending=:1 idle=:0}]
        XINFO STREAM {t}s FULL => {length=:1 radix-tree-keys=:1 radix-tree-nodes=:2 \
         last-generated-id=1-0 max-deleted-entry-id=0-0 entries-added=:1 \
         recorded-first-entry-id=1-0 entries=[[1-0 [a 1]]] groups=[{name=g last-delivered-id=1-0 \
         entries-read=:1 lag=:0 pel-count=:1 pending=[[1-0 ada :1700000000000 :1]] \
         consumers=[{name=ada seen-time=:1700000000000 pel-count=:1 \
         pending=[[1-0 :1700000000000 :1]]}]}]}",
    );
}

#[test]
fn an_expired_stream_is_gone_and_ids_never_go_back() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "XADD s 1800000000000-5 a 1 => 1800000000000-5
        XADD s * a 1 => 1800000000000-6
        XADD s 18446744073709551615-18446744073709551614 a 1 => \
         18446744073709551615-18446744073709551614
        XADD s * a 1 => 18446744073709551615-18446744073709551615
        XADD s * a 1 => -ERR The stream has exhausted the last possible ID, unable to add more \
         items
        XREAD STREAMS s 18446744073709551615-18446744073709551615 => nil
        PEXPIRE s 100 => :1",
    );
    node.now_ms += 200;
    check_on(&mut node, "XLEN s => :0\nXADD s * a 1 => 1700000000200-0");
}

#[test]
fn a_read_without_entries_may_wait_for_them() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "XADD s 5 a 1 => 5-0
        XGROUP CREATE s g $ => OK
        XREAD BLOCK x STREAMS s 0 => -ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS s 0 => -ERR timeout is negative
        XREAD BLOCK 9223372036854775807 STREAMS s 0 => -ERR timeout is out of range
        XREAD BLOCK 0 STREAMS s 0 => [[s [[5-0 [a 1]]]]]",
    );
    let mut waits = |line: &str| {
        let (reply, done) = node.run(line);
        assert_eq!(reply, "nil");
        let wait = done.waits.expect("it may wait");
        let again = wait.again.expect("other words");
        let words: Vec<_> = again.as_args().iter().map(String::from_utf8_lossy).collect();
        (wait.timeout, words.join(" "))
    };
    let (timeout, again) = waits("XREAD BLOCK 70 STREAMS s none $ $");
    assert_eq!(timeout, Some(Duration::from_millis(70)));
    assert_eq!(again, "XREAD BLOCK 70 COUNT 1000 STREAMS s none 5-0 0-0");
    let (timeout, again) = waits("XREADGROUP GROUP g ada BLOCK 0 COUNT 3 STREAMS s >");
    assert_eq!(timeout, None);
    assert_eq!(again, "XREADGROUP GROUP g ada BLOCK 0 COUNT 3 STREAMS s >");
    assert!(node.run("XREAD STREAMS s 5").1.waits.is_none());
}

/// A keyspace that writes.
struct Writer {
    keyspace: Keyspace,
    log: EffectLog,
}

impl Writer {
    /// With a large stream, and groups that wait for some of it.
    fn new(key: &str) -> Self {
        let (keyspace, log) = (Keyspace::new(1), EffectLog::new(Offset(1)));
        let mut writer = Self { keyspace, log };
        for number in 1..=400 {
            writer.run(&format!("XADD {key} {number} name {number} text {}", "x".repeat(300)));
        }
        for group in ["g", "h"] {
            writer.run(&format!("XGROUP CREATE {key} {group} 0"));
            writer.run(&format!("XREADGROUP GROUP {group} ada COUNT 200 STREAMS {key} >"));
            writer.run(&format!("XREADGROUP GROUP {group} bob COUNT 150 STREAMS {key} >"));
        }
        writer
    }

    fn run(&mut self, line: &str) {
        let args: ArgsBuf = line.split(' ').collect();
        let command = lookup(args.as_args().name()).expect("a command");
        let ctx = Ctx { now_ms: 1_700_000_000_000, may_write: true, value_bytes_max: 1 << 20 };
        let (mut reply, log) = (ReplyBuf::new(Version::Resp2), &mut self.log);
        self.keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, log);
        assert!(!reply.as_bytes().starts_with(b"-"), "{line}");
    }
}

/// In each row one change and what follows it.
const CHANGES: &[&str] = &[
    "XADD s 401 name more",
    "XDEL s 350 399|XADD s 401 name more",
    "XTRIM s MAXLEN 5|XADD s * name more",
    "XTRIM s MAXLEN 0|XSETID s 3|XADD s 4 name again|XADD s 400 name again",
    "XDEL s 399 400|XSETID s 398|XADD s 399 name again",
    "XACK s g 1 340 350|XACK s h 1 340",
    "XCLAIM s h cy 0 300 349 400 FORCE JUSTID",
    "XGROUP DELCONSUMER s h ada",
    "XGROUP DESTROY s g|XGROUP DESTROY s h",
    "XGROUP DESTROY s h|XGROUP CREATE s h 0|XREADGROUP GROUP h cy COUNT 9 STREAMS s >",
    "XGROUP DESTROY s g|XGROUP CREATE s g 0|XGROUP DESTROY s g",
    "RENAME s s2|XGROUP DESTROY s2 g|XDEL s2 200",
    "DEL s",
];

#[test]
fn whenever_a_stream_changes_a_snapshot_has_what_it_was() {
    /// More than the stream takes.
    const STEPS: usize = 12;
    let early = |tag: &String| slot_of(format!("{{{tag}}}").as_bytes()).get() < 9;
    let tag = (0..).map(|number: u32| number.to_string()).find(early).expect("slots have tags");
    let slot = slot_of(format!("{{{tag}}}").as_bytes());
    let filled = Writer::new(&format!("{{{tag}}}s"));
    let before = filled.keyspace.slot_digest(slot);
    let mut export = Export::new(1 << 20);
    while export.advance(&filled.keyspace, EntryId::ZERO, 1 << 20) {}
    let portions = export.take();
    for change in CHANGES {
        let change = change.replace(" s", &format!(" {{{tag}}}s"));
        for steps in 1..STEPS {
            let mut writer = Writer { keyspace: Keyspace::new(1), log: EffectLog::new(Offset(10)) };
            for (_, portion) in &portions {
                writer.keyspace.import(portion, Offset(9)).expect("it was written that way");
            }
            writer.keyspace.begin_export(1 << 12);
            // A step for each slot that is empty, and then for each piece.
            for _ in 0..usize::from(slot.get()) + steps {
                assert!(writer.keyspace.export_some(EntryId::ZERO, 1));
            }
            change.split('|').for_each(|line| writer.run(line));
            while writer.keyspace.export_some(EntryId::ZERO, 1 << 20) {}
            let mut copy = Keyspace::new(9);
            for (_, portion) in writer.keyspace.take_exported() {
                copy.import(&portion, Offset(9)).expect("it was written that way");
            }
            assert_eq!(copy.slot_digest(slot), before, "{change} after {steps} steps");
        }
    }
}
