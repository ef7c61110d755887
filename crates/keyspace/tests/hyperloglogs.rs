//! What commands on HyperLogLogs reply, logged and replayed.

#[path = "shared/node.rs"]
mod node;

use cairn_keyspace::Ctx;
use cairn_keyspace::command::lookup;
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use node::{Node, check, check_on};

#[test]
fn distinct_elements_are_counted() {
    check(
        "PFADD h a b c => :1
        PFADD h a b => :0
        PFADD h => :0
        PFADD new => :1
        PFCOUNT h => :3
        PFCOUNT h => :3
        PFCOUNT none => :0
        PFADD h2 c d => :1
        PFCOUNT h h2 none => :4
        PFMERGE to h h2 none => OK
        PFCOUNT to => :4
        PFMERGE to => OK
        PFCOUNT to => :4
        STRLEN new => :18
        SET s v => OK
        PFADD s a => -WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s h => -WRONGTYPE Key is not a valid HyperLogLog string value.
        RPUSH l a => :1
        PFADD l a => -WRONGTYPE Operation against a key holding the wrong kind of value
        EXPIRE h 100 => :1
        PFADD h x => :1
        TTL h => :100",
    );
}

#[test]
fn many_elements_make_it_dense() {
    let mut node = Node::new();
    for number in 0..200 {
        let names: Vec<_> = (0..10).map(|name| format!("{number}:{name}")).collect();
        node.run(&format!("PFADD h {}", names.join(" ")));
    }
    check_on(
        &mut node,
        "STRLEN h => :12304
        PFADD small a => :1
        PFMERGE small h => OK
        STRLEN small => :12304",
    );
    let (count, _) = node.run("PFCOUNT h");
    let count: i32 = count[1..].parse().expect("a number");
    assert!((1940..=2060).contains(&count), "{count}");
}

#[test]
fn an_estimate_is_kept_by_whoever_may_write() {
    let mut node = Node::new();
    node.run("PFADD h a b c");
    let args: ArgsBuf = ["PFCOUNT", "h"].into_iter().collect();
    let ctx = Ctx { now_ms: node.now_ms, may_write: false, value_bytes_max: 1 << 20 };
    let mut reply = ReplyBuf::new(Version::Resp2);
    let mut log = cairn_keyspace::EffectLog::new(cairn_logic::ids::Offset(100));
    let command = lookup(b"pfcount").expect("a command");
    let done = node.master.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
    assert_eq!((reply.as_bytes(), done.wrote), (b":3\r\n".as_slice(), false));
    assert!(node.run("PFCOUNT h").1.wrote, "the master keeps it");
    assert!(!node.run("PFCOUNT h").1.wrote, "and then knows it");
}

#[test]
fn corrupt_ones_are_refused_whole() {
    let mut node = Node::new();
    check_on(&mut node, "SETRANGE h 0 HYLL => :4\nSETBIT h 39 1 => :0\nSETBIT h 127 1 => :0");
    check_on(
        &mut node,
        "SETBIT h 120 1 => :0
        PFCOUNT h => -INVALIDOBJ Corrupted HLL object detected
        PFADD h a => -INVALIDOBJ Corrupted HLL object detected
        PFMERGE h h => -INVALIDOBJ Corrupted HLL object detected
        STRLEN h => :16",
    );
}
