//! What commands on sorted sets reply that change, combine or walk over them, logged and replayed.

#[path = "shared/node.rs"]
mod node;

use node::{Node, check, check_on};

#[test]
fn sorted_sets_lose_ranges_and_ends() {
    check(
        "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f => :6
        ZPOPMIN z => [a 1]
        ZPOPMAX z 2 => [f 6 e 5]
        ZPOPMIN z 0 => []
        ZPOPMIN z -1 => -ERR value is out of range, must be positive
        ZPOPMIN none => []
        ZPOPMIN z 1 2 => -ERR syntax error
        ZREMRANGEBYSCORE z (2 3 => :1
        ZRANGE z 0 -1 => [b d]
        ZREMRANGEBYRANK z 5 9 => :0
        ZREMRANGEBYRANK z -1 -1 => :1
        ZREMRANGEBYLEX z - [b => :1
        EXISTS z => :0
        ZREMRANGEBYSCORE none x 1 => -ERR min or max is not a float
        ZADD {z}2 1 a 2 b => :2
        ZMPOP 2 {z}1 {z}2 MAX => [{z}2 [[b 2]]]
        ZMPOP 1 {z}2 MIN COUNT 9 => [{z}2 [[a 1]]]
        ZMPOP 1 {z}2 MIN => nil
        ZMPOP 0 z MIN => -ERR numkeys should be greater than 0
        ZMPOP 1 z MIN COUNT 0 => -ERR count should be greater than 0
        ZMPOP 1 z BOTH => -ERR syntax error
        ZMPOP 9 z MIN => -ERR syntax error",
    );
}

#[test]
fn an_end_of_a_range_of_scores_is_read_as_redis_does() {
    let mut node = Node::new();
    check_on(&mut node, "ZADD z 0 a 1 b inf c => :3");
    for (end, count) in [("", 3), ("\0x", 3), ("(", 2), ("(0", 2), ("1e999", 1)] {
        assert_eq!(node.run(&format!("ZCOUNT z {end} inf")).0, format!(":{count}"), "{end:?}");
    }
    assert!(node.run("ZCOUNT z x 1").0.starts_with("-ERR min or max"));
}

#[test]
fn ranges_of_large_sorted_sets_are_removed_by_rank() {
    let mut node = Node::new();
    for index in 0..1000 {
        node.run(&format!("ZADD z {} m{index:04}", index / 10));
    }
    check_on(
        &mut node,
        "ZREMRANGEBYSCORE z 10 59 => :500
        ZREMRANGEBYRANK z 400 499 => :100
        ZRANGE z 98 101 => [m0098 m0099 m0600 m0601]
        ZREMRANGEBYLEX z [m0700 [m0702 => :3",
    );
    assert!(node.run("ZPOPMAX z 300").0.starts_with("[m0899 89 m0898 89 "));
    assert_eq!(node.run("ZCARD z").0, ":97");
}

#[test]
fn sorted_sets_are_combined() {
    check(
        "ZADD a 1 x 2 y => :2
        ZADD b 10 y 20 z => :2
        SADD s x z => :2
        ZUNION 2 a b WITHSCORES => [x 1 y 12 z 20]
        ZUNION 2 a b WEIGHTS 2 1 AGGREGATE MAX WITHSCORES => [x 2 y 10 z 20]
        ZUNION 2 a s WITHSCORES => [z 1 x 2 y 2]
        ZINTER 2 a b => [y]
        ZINTER 2 a b AGGREGATE MIN WITHSCORES => [y 2]
        ZDIFF 2 a b WITHSCORES => [x 1]
        ZINTERCARD 2 a a LIMIT 1 => :1
        ZINTERCARD 2 a b => :1
        ZINTERCARD 1 a LIMIT -1 => -ERR LIMIT can't be negative
        ZUNIONSTORE to 2 a b => :3
        ZRANGE to 0 -1 WITHSCORES => [x 1 y 12 z 20]
        ZINTERSTORE to 2 a s => :1
        ZDIFFSTORE to 2 a a => :0
        EXISTS to => :0
        ZRANGESTORE to b (10 +inf BYSCORE => :1
        ZRANGE to 0 -1 => [z]
        ZRANGESTORE to b 0 -1 WITHSCORES => -ERR syntax error
        ZRANGE b 0 -1 LIMIT 7 -1 => [y z]
        ZRANGESTORE to none 0 -1 => :0
        EXISTS to => :0
        ZADD i inf x => :1
        ZADD j -inf x => :1
        ZUNION 2 i j WITHSCORES => [x 0]
        ZUNION 1 i WEIGHTS 0 WITHSCORES => [x 0]
        ZUNION 0 a => -ERR at least 1 input key is needed for 'zunion' command
        ZUNION 3 a b => -ERR syntax error
        ZUNION x a => -ERR value is not an integer or out of range
        ZUNION 1 a WEIGHTS x => -ERR weight value is not a float
        ZDIFF 1 a WEIGHTS 1 => -ERR syntax error
        SET t v => OK
        ZUNION 1 t => -WRONGTYPE Operation against a key holding the wrong kind of value
        ZUNIONSTORE t 1 a => :2
        TYPE t => zset",
    );
}

#[test]
fn sorted_sets_are_walked_over() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "ZADD z 1.5 a => :1
        ZSCAN z 0 => [0 [a 1.5]]
        ZSCAN z 0 MATCH b* => [0 []]
        ZSCAN z x => -ERR invalid cursor
        ZSCAN z 0 COUNT 0 => -ERR syntax error
        ZSCAN none 0 COUNT 0 => [0 []]
        ZRANDMEMBER z => a
        ZRANDMEMBER z -3 WITHSCORES => [a 1.5 a 1.5 a 1.5]
        ZRANDMEMBER z 3 => [a]
        ZRANDMEMBER none => nil
        ZRANDMEMBER none 2 => []
        ZRANDMEMBER z -9223372036854775807 => -ERR value is out of range",
    );
    for index in 0..500 {
        node.run(&format!("ZADD large {index} m{index}"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), 0);
    loop {
        let (reply, _) = node.run(&format!("ZSCAN large {cursor} COUNT 30"));
        let (next, members) = reply[1..reply.len() - 1].split_once(' ').expect("two parts");
        seen += members.matches('m').count();
        next.clone_into(&mut cursor);
        if next == "0" {
            break;
        }
    }
    assert_eq!(seen, 500);
    let (drawn, _) = node.run("ZRANDMEMBER large 100");
    let drawn: std::collections::BTreeSet<_> = drawn.split([' ', '[', ']']).collect();
    assert_eq!(drawn.len(), 101, "a hundred different ones, and what is outside of the brackets");
}
