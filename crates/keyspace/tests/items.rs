//! Commands on lists, sets and hashes that change their middle, combine them or draw from them.

#[path = "shared/node.rs"]
mod node;

use cairn_resp::Version;
use node::{Node, check, check_on};
use std::collections::BTreeSet;

const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn the_middle_of_a_list_changes() {
    check(
        "RPUSH l a b c b d b => :6
        LINSERT l BEFORE b x => :7
        LINSERT l after d y => :8
        LINSERT l AFTER none y => :-1
        LINSERT none AFTER a y => :0
        LINSERT l AROUND a y => -ERR syntax error
        LRANGE l 0 -1 => [a x b c b d y b]
        LINSERT l AFTER b z => :9
        LSET l 0 first => OK
        LSET l -1 last => OK
        LSET l 9 x => -ERR index out of range
        LSET l -10 x => -ERR index out of range
        LSET l x y => -ERR value is not an integer or out of range
        LSET none x y => -ERR no such key
        LRANGE l 0 -1 => [first x b z c b d y last]
        LREM l 1 b => :1
        LREM l -1 b => :1
        LREM l 0 none => :0
        LREM l x b => -ERR value is not an integer or out of range
        LRANGE l 0 -1 => [first x z c d y last]
        RPUSH m 1 2 1 3 1 4 1 => :7
        LREM m -2 1 => :2
        LRANGE m 0 -1 => [1 2 1 3 4]
        LREM m 0 1 => :2
        LTRIM m 1 -1 => OK
        LRANGE m 0 -1 => [3 4]
        LTRIM m 5 9 => OK
        EXISTS m => :0
        LTRIM l -3 -2 => OK
        LRANGE l 0 -1 => [d y]
        LREM l 0 d => :1
        LREM l 0 y => :1
        EXISTS l => :0",
    );
}

#[test]
fn places_of_an_item_in_a_list() {
    check(
        "RPUSH l a b c a b c a => :7
        LPOS l b => :1
        LPOS l b RANK 2 => :4
        LPOS l b RANK -1 => :4
        LPOS l a COUNT 0 => [:0 :3 :6]
        LPOS l a RANK -1 COUNT 2 => [:6 :3]
        LPOS l a COUNT 0 MAXLEN 4 => [:0 :3]
        LPOS l a RANK -1 COUNT 0 MAXLEN 1 => [:6]
        LPOS l none => nil
        LPOS l none COUNT 1 => []
        LPOS none a => nil
        LPOS none a COUNT 1 => []
        LPOS l a COUNT -1 => -ERR COUNT can't be negative
        LPOS l a MAXLEN -1 => -ERR MAXLEN can't be negative
        LPOS l a RANK => -ERR syntax error
        LPOS l a FOO 1 => -ERR syntax error",
    );
}

#[test]
fn items_move_between_lists() {
    check(
        "RPUSH {t}a 1 2 3 => :3
        LMOVE {t}a {t}b LEFT RIGHT => 1
        RPOPLPUSH {t}a {t}b => 3
        LRANGE {t}b 0 -1 => [3 1]
        LMOVE {t}b {t}b LEFT RIGHT => 3
        LRANGE {t}b 0 -1 => [1 3]
        LMOVE {t}b {t}b LEFT LEFT => 1
        LMOVE none {t}b LEFT LEFT => nil
        LMOVE {t}a {t}b UP LEFT => -ERR syntax error
        EXPIRE {t}a 100 => :1
        LMOVE {t}a {t}a RIGHT LEFT => 2
        TTL {t}a => :100
        RPOPLPUSH {t}a {t}b => 2
        EXISTS {t}a => :0
        LMPOP 2 none {t}b LEFT COUNT 2 => [{t}b [2 1]]
        LMPOP 1 {t}b RIGHT => [{t}b [3]]
        LMPOP 1 {t}b RIGHT => nil
        LMPOP 0 {t}b RIGHT => -ERR numkeys should be greater than 0
        LMPOP 1 {t}b RIGHT COUNT 0 => -ERR count should be greater than 0
        LMPOP 3 {t}b RIGHT => -ERR syntax error
        LMPOP 1 {t}b LEFT COUNT 1 COUNT 1 => -ERR syntax error",
    );
}

#[test]
fn sets_are_combined() {
    check(
        "SADD {t}a 1 2 3 4 => :4
        SADD {t}b 3 4 5 => :3
        SADD {t}c 4 9 => :2
        SINTER {t}a {t}b {t}c => [4]
        SINTER {t}a none => []
        SDIFF {t}a {t}b => [1 2]
        SDIFF none {t}a => []
        SUNION {t}b {t}c => [3 4 5 9]
        SINTERCARD 2 {t}a {t}b => :2
        SINTERCARD 2 {t}a {t}b LIMIT 1 => :1
        SINTERCARD 2 {t}a {t}b LIMIT 0 => :2
        SINTERCARD 2 {t}a {t}b LIMIT -1 => -ERR LIMIT can't be negative
        SINTERCARD 3 {t}a {t}b => -ERR Number of keys can't be greater than number of args
        SINTERCARD 0 {t}a => -ERR numkeys should be greater than 0
        SINTERCARD 1 {t}a FOO 1 => -ERR syntax error
        SINTERSTORE {t}d {t}a {t}b => :2
        SMISMEMBER {t}d 3 4 1 => [:1 :1 :0]
        EXPIRE {t}d 100 => :1
        SUNIONSTORE {t}d {t}d {t}c => :3
        TTL {t}d => :-1
        SDIFFSTORE {t}d {t}a {t}a => :0
        EXISTS {t}d => :0
        SET {t}s x => OK
        SUNIONSTORE {t}s {t}c => :2
        TYPE {t}s => set
        SMOVE {t}a {t}b 1 => :1
        SMOVE {t}a {t}b 1 => :0
        SMOVE {t}a {t}a 2 => :1
        SMOVE none {t}b 1 => :0
        SCARD {t}b => :4",
    );
}

#[test]
fn other_types_are_refused_before_anything_changes() {
    let node = &mut Node::new();
    check_on(
        node,
        "SET {t}s x => OK
        RPUSH {t}l a b => :2
        SADD {t}z a b => :2",
    );
    for line in [
        "LINSERT {t}s BEFORE a b",
        "LSET {t}s 0 a",
        "LREM {t}s 0 a",
        "LTRIM {t}s 0 1",
        "LPOS {t}s a",
        "LMOVE {t}l {t}s LEFT LEFT",
        "LMPOP 2 {t}s {t}l LEFT",
        "SINTER none {t}s",
        "SUNIONSTORE {t}z {t}z {t}s",
        "SMOVE {t}z {t}s a",
        "SPOP {t}s",
        "HRANDFIELD {t}s",
        "HSCAN {t}s 0",
        "SORT {t}s",
    ] {
        assert_eq!(node.run(line).0, WRONGTYPE, "{line}");
    }
    check_on(
        node,
        "LLEN {t}l => :2
        SCARD {t}z => :2",
    );
}

#[test]
fn what_is_drawn_from_a_set_was_in_it_and_leaves_it() {
    let mut node = Node::new();
    let members: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
    node.run(&format!("SADD s {}", members.join(" ")));
    let mut left: BTreeSet<String> = members.iter().cloned().collect();
    for count in [1, 3, 100, 500] {
        let (popped, done) = node.run(&format!("SPOP s {count}"));
        assert!(done.wrote);
        let popped: Vec<&str> = popped.trim_matches(['[', ']']).split(' ').collect();
        assert_eq!(popped.len(), count);
        assert!(popped.iter().all(|member| left.remove(*member)));
        let (kept, _) = node.run("SMEMBERS s");
        let kept: BTreeSet<_> =
            kept.trim_matches(['[', ']']).split(' ').map(str::to_owned).collect();
        assert_eq!(kept, left);
    }
    check_on(
        &mut node,
        "SRANDMEMBER none => nil
        SRANDMEMBER none 3 => []
        SRANDMEMBER s 0 => []
        SRANDMEMBER s x => -ERR value is not an integer or out of range
        SRANDMEMBER s 1 2 => -ERR syntax error
        SPOP s -1 => -ERR value is out of range, must be positive
        SPOP s 0 => []
        SPOP none => nil
        SPOP none 2 => []",
    );
    let (drawn, done) = node.run("SRANDMEMBER s 50");
    assert!(!done.wrote);
    let drawn: Vec<&str> = drawn.trim_matches(['[', ']']).split(' ').collect();
    assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 50);
    assert!(drawn.iter().all(|member| left.contains(*member)));
    node.run("SPOP s 100000");
    assert_eq!(node.run("EXISTS s").0, ":0");
}

#[test]
fn every_member_is_drawn_about_as_often() {
    for members in [20, 100, 2000_usize] {
        let mut node = Node::new();
        let names: Vec<String> = (0..members).map(|number| number.to_string()).collect();
        node.run(&format!("SADD s {}", names.join(" ")));
        let (drawn, _) = node.run(&format!("SRANDMEMBER s -{}", members * 100));
        let mut times = vec![0_f64; members];
        for member in drawn.trim_matches(['[', ']']).split(' ') {
            times[member.parse::<usize>().unwrap()] += 1.0;
        }
        // Chi square by degrees of freedom: 1 where all have the same chance.
        let chi: f64 = times.iter().map(|times| (times - 100.0).powi(2) / 100.0).sum();
        let chi = chi / (members - 1) as f64;
        assert!((0.3..1.8).contains(&chi), "{members} members: {chi}");
    }
}

#[test]
fn fields_are_drawn_with_their_values() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "HSET h f v => :1
        HRANDFIELD h => f
        HRANDFIELD h 5 => [f]
        HRANDFIELD h -2 => [f f]
        HRANDFIELD h 1 WITHVALUES => [f v]
        HRANDFIELD h 0 => []
        HRANDFIELD none => nil
        HRANDFIELD none 1 => []
        HRANDFIELD h 1 FOO => -ERR syntax error
        HRANDFIELD h x => -ERR value is not an integer or out of range",
    );
    node.version = Version::Resp3;
    check_on(&mut node, "HRANDFIELD h -2 WITHVALUES => [[f v] [f v]]");
}

#[test]
fn a_collection_is_walked_over() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "SADD s a b c => :3
        SSCAN s 0 => [0 [a b c]]
        SSCAN s 0 MATCH [ab] => [0 [a b]]
        SSCAN none 0 => [0 []]
        SSCAN s x => -ERR invalid cursor
        SSCAN s 0 COUNT 0 => -ERR syntax error
        SSCAN s 0 TYPE set => -ERR syntax error
        HSET h a 1 b 2 => :2
        HSCAN h 0 => [0 [a 1 b 2]]
        HSCAN h 0 MATCH b => [0 [b 2]]
        HSCAN h 0 NOVALUES COUNT 9 => [0 [a b]]
        HSCAN h 0 NOSCORES => -ERR syntax error",
    );
    let members: BTreeSet<String> = (0..1000).map(|number| number.to_string()).collect();
    for member in &members {
        node.run(&format!("SADD large {member}"));
        node.run(&format!("HSET pairs {member} v"));
    }
    for (command, step) in [("SSCAN large", 1), ("HSCAN pairs", 2)] {
        let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let (reply, _) = node.run(&format!("{command} {cursor} COUNT 50"));
            let (next, found) = reply[1..].split_once(' ').unwrap();
            let found = found.trim_matches(['[', ']']);
            seen.extend(found.split(' ').step_by(step).map(str::to_owned));
            (cursor, calls) = (next.to_owned(), calls + 1);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen, members);
        assert!((15..30).contains(&calls), "{calls}");
    }
}

#[test]
fn a_result_larger_than_a_command_may_store_is_refused() {
    let mut node = Node::new();
    let large = "x".repeat(600 << 10);
    for key in ["a", "b"] {
        assert_eq!(node.run(&format!("SADD {key} {key}{large}")).0, ":1");
        assert_eq!(node.run(&format!("ZADD z 1 {key}{large}")).0, ":1");
    }
    check_on(
        &mut node,
        "SADD kept one => :1
        SUNIONSTORE kept a b => -ERR the result is larger than one command may store
        SORT z ALPHA STORE kept => -ERR the result is larger than one command may store
        ZRANGESTORE kept z 0 -1 => -ERR the result is larger than one command may store
        SMEMBERS kept => [one]
        SUNIONSTORE kept a a => :1",
    );
}
