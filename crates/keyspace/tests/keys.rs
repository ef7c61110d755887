//! Commands that give a value another key, tell how it is kept, sort it or compare it.

#[path = "shared/node.rs"]
mod node;

use cairn_keyspace::command::lookup;
use cairn_resp::{ArgsBuf, Version};
use node::{Node, check, check_on};

#[test]
fn all_keys_of_a_command_are_known_before_it_is_executed() {
    for (line, want) in [
        ("LMPOP 2 a b LEFT", "a b"),
        ("LMPOP 3 a b", ""),
        ("LMPOP x a b", ""),
        ("SINTERCARD 1 a LIMIT 1", "a"),
        ("SORT a BY b GET c STORE d STORE e", "a e"),
        ("SORT a STORE", "a"),
        ("SORT_RO a BY b", "a"),
        ("OBJECT ENCODING a", "a"),
        ("OBJECT HELP", ""),
        ("LMOVE a b LEFT LEFT", "a b"),
        ("XREAD COUNT STREAMS STREAMS a b 0 0", "a b"),
        ("XREAD COUNT 1 streams a b 0", "a"),
        ("XREADGROUP GROUP streams c NOACK BLOCK 0 STREAMS a >", "a"),
        ("XREADGROUP GROUP g c FOO STREAMS a >", ""),
        ("XGROUP CREATE a g 0", "a"),
    ] {
        let args: ArgsBuf = line.split(' ').collect();
        let command = lookup(args.as_args().name()).expect("a command");
        let keys: Vec<_> = command.keys_of(args.as_args()).map(String::from_utf8_lossy).collect();
        assert_eq!(keys.join(" "), want, "{line}");
        let first = command.first_key(args.as_args()).map(String::from_utf8_lossy);
        assert_eq!(first.as_ref(), keys.first(), "{line}");
    }
}

#[test]
fn a_value_gets_another_key_with_its_expiry() {
    check(
        "SET {t}a 1 EX 100 => OK
        RENAME {t}a {t}b => OK
        EXISTS {t}a => :0
        GET {t}b => 1
        TTL {t}b => :100
        RENAME none {t}b => -ERR no such key
        RENAME {t}b {t}b => OK
        RPUSH {t}l 1 2 3 => :3
        RENAMENX {t}l {t}b => :0
        RENAMENX {t}l {t}l => :0
        RENAMENX none {t}b => -ERR no such key
        RENAME {t}l {t}b => OK
        LRANGE {t}b 0 -1 => [1 2 3]
        TTL {t}b => :-1
        RENAMENX {t}b {t}c => :1
        DBSIZE => :1
        RENAME {t}c {u}c => -CROSSSLOT Keys in request don't hash to the same slot",
    );
}

#[test]
fn a_copy_goes_its_own_way() {
    check(
        "HSET {t}h f 1 g 2 => :2
        EXPIRE {t}h 100 => :1
        COPY {t}h {t}i => :1
        HSET {t}i f 9 => :0
        HGET {t}h f => 1
        TTL {t}i => :100
        SET {t}s text => OK
        COPY {t}s {t}h => :0
        COPY {t}s {t}h REPLACE => :1
        GET {t}h => text
        TTL {t}h => :-1
        COPY {t}s {t}s => -ERR source and destination objects are the same
        COPY none {t}s => :0
        COPY {t}s {t}t DB 0 => :1
        COPY {t}s {t}u DB 1 => -ERR DB index is out of range
        COPY {t}s {t}u DB x => -ERR value is not an integer or out of range
        COPY {t}s {t}u FOO => -ERR syntax error",
    );
}

#[test]
fn large_values_of_all_types_are_copied_and_renamed() {
    let mut node = Node::new();
    for number in 0..400 {
        node.run(&format!("HSET {{t}}hash {number} {number}"));
        node.run(&format!("RPUSH {{t}}list {number}"));
        node.run(&format!("SADD {{t}}set {number}"));
        node.run(&format!("ZADD {{t}}sorted {number} {number}"));
    }
    node.run(&format!("SET {{t}}text {}", "x".repeat(20_000)));
    for name in ["hash", "list", "set", "sorted", "text"] {
        let before = node.master.digest();
        assert_eq!(node.run(&format!("COPY {{t}}{name} {{t}}copy")).0, ":1");
        assert_ne!(node.master.digest(), before);
        node.run(&format!("RENAME {{t}}copy {{t}}{name}"));
        assert_eq!(node.master.digest(), before, "{name}");
    }
    node.run("FLUSHALL");
    assert_eq!(node.master.used_bytes(), 0);
}

#[test]
fn how_a_value_is_kept() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "SET i 12 => OK
        OBJECT ENCODING i => int
        SET i 012 => OK
        OBJECT encoding i => embstr
        OBJECT REFCOUNT i => :1
        OBJECT IDLETIME i => :0
        OBJECT ENCODING none => nil
        OBJECT ENCODING => -ERR wrong number of arguments for 'object|encoding' command
        OBJECT FOO x => -ERR unknown subcommand 'FOO'. Try OBJECT HELP.
        HSET h f v => :1
        OBJECT ENCODING h => listpack
        MEMORY USAGE none => nil
        MEMORY USAGE i SAMPLES => -ERR syntax error
        MEMORY USAGE i SAMPLES -1 => -ERR syntax error
        MEMORY USAGE => -ERR wrong number of arguments for 'memory|usage' command
        MEMORY PURGE => OK
        MEMORY FOO => -ERR unknown subcommand 'FOO'. Try MEMORY HELP.",
    );
    node.run(&format!("SET long {}", "x".repeat(100)));
    assert_eq!(node.run("OBJECT ENCODING long").0, "raw");
    let usage = |node: &mut Node, key: &str| {
        node.run(&format!("MEMORY USAGE {key} SAMPLES 5")).0[1..].parse::<usize>().unwrap()
    };
    assert!((100..200).contains(&usage(&mut node, "long")));
    for number in 0..300 {
        node.run(&format!("HSET h {number} {number}"));
    }
    assert_eq!(node.run("OBJECT ENCODING h").0, "hashtable");
    assert!(usage(&mut node, "h") > 300 * 16);
}

#[test]
fn items_are_sorted() {
    check(
        "RPUSH {t}l 3 1 10 2 => :4
        SORT {t}l => [1 2 3 10]
        SORT {t}l DESC => [10 3 2 1]
        SORT {t}l ALPHA => [1 10 2 3]
        SORT {t}l LIMIT 1 2 => [2 3]
        SORT {t}l LIMIT -5 2 => [1 2]
        SORT {t}l LIMIT 1 -1 => [2 3 10]
        SORT {t}l LIMIT 9 2 => []
        SORT {t}l LIMIT 1 => -ERR syntax error
        SORT {t}l LIMIT a b => -ERR value is not an integer or out of range
        SORT {t}l BY nosort => [3 1 10 2]
        SORT {t}l BY nosort DESC => [2 10 1 3]
        SORT none => []
        MSET {t}w1 9 {t}w2 8 {t}w3 7 => OK
        SORT {t}l BY {t}w* => [10 3 2 1]
        SORT {t}l BY {t}w* GET # GET {t}w* => [10 nil 3 7 2 8 1 9]
        HSET {t}h3 f x => :1
        SORT {t}l GET {t}h*->f => [nil nil x nil]
        SORT {t}l GET {t}h*-> => [nil nil nil nil]
        SORT {t}l BY {t}w* ALPHA => [10 3 2 1]
        SORT {t}l BY w* => -ERR BY option of SORT denied in cluster mode when keys formed by the \
            pattern may be in different slots.
        SORT {t}l GET *{t} => -ERR GET option of SORT denied in cluster mode when keys formed by \
            the pattern may be in different slots.
        SORT {t}l STORE {t}sorted => :4
        LRANGE {t}sorted 0 -1 => [1 2 3 10]
        SORT {t}l GET {t}none* STORE {t}sorted => :4
        LRANGE {t}sorted 0 -1 => [   ]
        SORT none STORE {t}sorted => :0
        EXISTS {t}sorted => :0
        SORT_RO {t}l DESC => [10 3 2 1]
        SORT_RO {t}l STORE {t}x => -ERR syntax error
        RPUSH {t}l x => :5
        SORT {t}l => -ERR One or more scores can't be converted into double
        SADD {t}s b a c => :3
        SORT {t}s BY nosort STORE {t}x => :3
        LRANGE {t}x 0 -1 => [a b c]
        ZADD {t}z 1 c 2 b 3 a => :3
        SORT {t}z BY nosort DESC => [a b c]
        SORT {t}z ALPHA => [a b c]",
    );
}

#[test]
fn what_two_strings_have_in_common() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "MSET {t}a ohmytext {t}b mynewtext => OK
        LCS {t}a {t}b => mytext
        LCS {t}a {t}b LEN => :6
        LCS {t}a {t}b IDX => [matches [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] len :6]
        LCS {t}a {t}b IDX MINMATCHLEN 4 WITHMATCHLEN => [matches [[[:4 :7] [:5 :8] :4]] len :6]
        LCS {t}a none =>
        LCS {t}a none LEN => :0
        LCS {t}a {t}b LEN IDX => -ERR If you want both the length and indexes, please just use IDX.
        LCS {t}a {t}b FOO => -ERR syntax error
        RPUSH {t}l x => :1
        LCS {t}a {t}l => -ERR The specified keys must contain string values",
    );
    node.version = Version::Resp3;
    check_on(&mut node, "LCS {t}a {t}b IDX MINMATCHLEN 9 => {matches=[] len=:6}");
    node.run(&format!("SET {{t}}a {}", "x".repeat(1000)));
    node.run(&format!("SET {{t}}b {}", "x".repeat(1000)));
    let refused = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    assert_eq!(node.run("LCS {t}a {t}b").0, refused);
}
