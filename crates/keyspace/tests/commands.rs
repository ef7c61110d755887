//! What commands reply, logged and replayed: every line is executed on a master whose log a copy
//! replays, and both must hold the same data after it.

#[path = "shared/node.rs"]
mod node;

use cairn_logic::ids::Offset;
use cairn_resp::Version;
use node::{Node, check, check_on};

const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn strings() {
    check(
        "PING => PONG
        ping hello => hello
        ping a b => -ERR wrong number of arguments for 'ping' command
        ECHO x => x
        GET k => nil
        SET k v => OK
        get k => v
        GET => -ERR wrong number of arguments for 'get' command
        STRLEN k => :1
        APPEND k xyz => :4
        APPEND new abc => :3
        GETRANGE k 1 -1 => xyz
        GETRANGE k -100 1 => vx
        GETRANGE k 3 1 =>
        GETRANGE k -9 -9 => v
        GETRANGE k -1 -2 =>
        SETRANGE k 6 end => :9
        SETRANGE k -1 end => -ERR offset is out of range
        SETRANGE k 9000000 end => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE none 0  => :0
        EXISTS none => :0
        MSET a 1 b 2 c 3 => OK
        MSET a 1 b => -ERR wrong number of arguments for 'mset' command
        MGET a none c => [1 nil 3]
        MSETNX d 4 a 5 => :0
        MSETNX d 4 e 5 => :1
        SETNX d 9 => :0
        GETSET d 6 => 4
        GETDEL d => 6
        GETDEL d => nil
        DEL a b none => :2
        UNLINK c => :1
        EXISTS k k none => :2
        TYPE k => string
        TYPE none => none
        FOO bar baz => -ERR unknown command 'FOO', with args beginning with: 'bar' 'baz' ",
    );
}

#[test]
fn numbers_in_strings() {
    check(
        "INCR n => :1
        INCRBY n 41 => :42
        DECR n => :41
        DECRBY n 50 => :-9
        GET n => -9
        INCRBY n x => -ERR value is not an integer or out of range
        SET n 9223372036854775807 => OK
        INCR n => -ERR increment or decrement would overflow
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        SET n 01 => OK
        INCR n => -ERR value is not an integer or out of range
        INCRBYFLOAT f 0.1 => 0.1
        INCRBYFLOAT f 0.2 => 0.3
        INCRBYFLOAT f x => -ERR value is not a valid float
        SET t 1 EX 100 => OK
        INCR t => :2
        TTL t => :100",
    );
}

#[test]
fn options_of_set() {
    check(
        "SET k 1 NX => OK
        SET k 2 NX => nil
        SET k 2 XX => OK
        SET none 2 XX => nil
        SET k 3 GET => 2
        SET k 4 NX GET => 3
        GET k => 3
        SET new 1 GET => nil
        SET k 5 NX XX => -ERR syntax error
        SET k 5 EX => -ERR syntax error
        SET k 5 EX x => -ERR value is not an integer or out of range
        SET k 5 EX 0 => -ERR invalid expire time in 'set' command
        SET k 5 EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k 5 EX 10 PX 10 => -ERR syntax error
        SET k 5 EX 10 KEEPTTL => -ERR syntax error
        SET k 5 ex 10 => OK
        PTTL k => :10000
        SET k 6 KEEPTTL => OK
        TTL k => :10
        SET k 6 => OK
        TTL k => :-1
        SET k 6 PXAT 1700000005000 => OK
        PTTL k => :5000
        SET k 6 EXAT 1700000009 => OK
        PTTL k => :9000
        SETEX k 7 v => OK
        TTL k => :7
        PSETEX k 0 v => -ERR invalid expire time in 'psetex' command
        GETEX k PERSIST => v
        TTL k => :-1
        GETEX k EX 5 => v
        TTL k => :5
        GETEX k => v
        GETEX k FOO => -ERR syntax error
        RPUSH l a => :1
        SET l v => OK",
    );
}

#[test]
fn expiry() {
    let mut node = Node::new();
    check_on(
        &mut node,
        "TTL k => :-2
        EXPIRE k 10 => :0
        SET k v => OK
        TTL k => :-1
        EXPIRE k 10 XX => :0
        EXPIRE k 10 NX => :1
        EXPIRE k 10 NX => :0
        EXPIRE k 5 GT => :0
        EXPIRE k 20 GT => :1
        EXPIRE k 30 LT => :0
        EXPIRE k 15 LT => :1
        PTTL k => :15000
        EXPIRETIME k => :1700000015
        PEXPIRETIME k => :1700000015000
        EXPIRE k 10 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 10 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 10 FOO => -ERR Unsupported option FOO
        EXPIRE k x => -ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
        PERSIST k => :1
        PERSIST k => :0
        PEXPIRE k 1500 => :1
        TTL k => :2
        EXPIREAT k 1700000003 => :1
        PTTL k => :3000
        PEXPIREAT k 1700000004000 => :1
        SADD s a => :1
        EXPIRE s 100 => :1
        SADD s b => :1
        TTL s => :100
        SET gone v => OK
        EXPIRE gone -1 => :1
        EXISTS gone => :0",
    );
    node.now_ms += 4000;
    check_on(
        &mut node,
        "GET k => nil
        DBSIZE => :1
        SET k v2 KEEPTTL => OK
        TTL k => :-1",
    );
}

#[test]
fn hashes() {
    check(
        "HSET h a 1 b 2 => :2
        HSET h a 3 c 4 => :1
        HSET h a => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
        HGET h a => 3
        HGET h none => nil
        HGET none a => nil
        HMGET h a none c => [3 nil 4]
        HGETALL h => [a 3 b 2 c 4]
        HKEYS h => [a b c]
        HVALS h => [3 2 4]
        HLEN h => :3
        HEXISTS h a => :1
        HSTRLEN h a => :1
        HSETNX h a 9 => :0
        HSETNX h d 9 => :1
        HINCRBY h a 10 => :13
        HINCRBY h e 10 => :10
        HSET h text abc => :1
        HINCRBY h text 1 => -ERR hash value is not an integer
        HINCRBYFLOAT h a 0.5 => 13.5
        HMSET h x y => OK
        HDEL h a b none => :2
        TYPE h => hash
        GET h => -WRONGTYPE Operation against a key holding the wrong kind of value
        HDEL h c d e text x => :5
        EXISTS h => :0
        SET s v => OK
        HSET s a b => -WRONGTYPE Operation against a key holding the wrong kind of value
        APPEND s w => :2",
    );
}

#[test]
fn lists() {
    check(
        "RPUSH l a b c => :3
        LPUSH l x y => :5
        LRANGE l 0 -1 => [y x a b c]
        LRANGE l -2 -1 => [b c]
        LRANGE l 5 9 => []
        LRANGE none 0 -1 => []
        LRANGE l x 1 => -ERR value is not an integer or out of range
        LLEN l => :5
        LINDEX l 0 => y
        LINDEX l -1 => c
        LINDEX l 9 => nil
        LINDEX l x => -ERR value is not an integer or out of range
        LINDEX none x => nil
        LPOP l => y
        RPOP l => c
        LPOP l 2 => [x a]
        LPOP l 0 => []
        LPOP l -1 => -ERR value is out of range, must be positive
        LPOP none => nil
        LPOP none 1 => nil
        TYPE l => list
        RPOP l 9 => [b]
        EXISTS l => :0
        LPUSHX l a => :0
        RPUSHX l a => :0
        SET s v => OK
        LPUSH s a => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn sets() {
    check(
        "SADD s a b a => :2
        SADD s a => :0
        SMEMBERS s => [a b]
        SCARD s => :2
        SISMEMBER s a => :1
        SMISMEMBER s a x => [:1 :0]
        SREM s x => :0
        SREM s a x => :1
        TYPE s => set
        SREM s b => :1
        EXISTS s => :0
        SMEMBERS s => []",
    );
}

#[test]
fn sorted_sets() {
    check(
        "ZADD z 1 a 2 b 3 c => :3
        ZADD z 1 a 5 b => :0
        ZADD z CH 1 a 6 b => :1
        ZADD z NX 9 a 4 d => :1
        ZADD z XX 7 b 9 none => :0
        ZADD z GT CH 1 b => :0
        ZADD z LT CH 1 b => :1
        ZADD z INCR 2 b => 3
        ZADD z NX INCR 2 b => nil
        ZADD z XX NX 1 a => -ERR XX and NX options at the same time are not compatible
        ZADD z GT LT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b => -ERR INCR option supports a single increment-element pair
        ZADD z x a => -ERR value is not a valid float
        ZADD z 1 => -ERR wrong number of arguments for 'zadd' command
        ZADD z 1 a 2 => -ERR syntax error
        ZADD z inf i => :1
        ZADD z INCR -inf i => -ERR resulting score is not a number (NaN)
        ZREM z i => :1
        ZRANGE z 0 -1 WITHSCORES => [a 1 b 3 c 3 d 4]
        ZRANGE z 0 1 REV => [d c]
        ZREVRANGE z 0 0 WITHSCORES => [d 4]
        ZRANGE z (1 3 BYSCORE => [b c]
        ZRANGE z +inf (1 BYSCORE REV LIMIT 1 2 => [c b]
        ZRANGE z -inf +inf BYSCORE LIMIT 1 -1 => [b c d]
        ZRANGE z 0 -1 LIMIT 1 2 => -ERR syntax error, LIMIT is only supported in combination with \
         either BYSCORE or BYLEX
        ZRANGE z - + BYLEX WITHSCORES => -ERR syntax error, WITHSCORES not supported in \
         combination with BYLEX
        ZRANGE z a b BYSCORE => -ERR min or max is not a float
        ZRANGE z a b BYLEX => -ERR min or max not valid string range item
        ZRANGEBYSCORE z 3 3 => [b c]
        ZREVRANGEBYSCORE z 3 3 => [c b]
        ZCOUNT z -inf (4 => :3
        ZSCORE z a => 1
        ZSCORE z none => nil
        ZMSCORE z a none => [1 nil]
        ZRANK z c => :2
        ZREVRANK z c => :1
        ZRANK z c WITHSCORE => [:2 3]
        ZRANK z none => nil
        ZRANK z c d e => -ERR wrong number of arguments for 'zrank' command
        ZINCRBY z 1.5 a => 2.5
        ZINCRBY z NX a => -ERR syntax error
        ZADD z 1e400 a => -ERR value is not a valid float
        ZCARD z => :4
        TYPE z => zset
        ZREM z a b c d => :4
        EXISTS z => :0
        ZADD l 0 a 0 b 0 c 0 d => :4
        ZRANGE l [b + BYLEX => [b c d]
        ZRANGE l (b (d BYLEX => [c]
        ZRANGE l + - BYLEX REV LIMIT 0 2 => [d c]
        ZRANGEBYLEX l - [b => [a b]
        ZREVRANGEBYLEX l [c - => [c b a]
        ZLEXCOUNT l [b + => :3",
    );
}

#[test]
fn a_wrong_type_is_refused_by_every_family() {
    let mut node = Node::new();
    check_on(&mut node, "SET s v => OK\nRPUSH l a => :1");
    for line in [
        "GET l",
        "INCR l",
        "APPEND l x",
        "STRLEN l",
        "GETRANGE l 0 1",
        "SETRANGE l 0 x",
        "GETDEL l",
        "GETSET l x",
        "GETEX l",
        "SET l x GET",
        "HGET s a",
        "HGETALL s",
        "HDEL s a",
        "HLEN s",
        "HINCRBY s a 1",
        "LPUSH s a",
        "LPOP s",
        "LRANGE s 0 1",
        "LLEN s",
        "SADD s a",
        "SREM s a",
        "SMEMBERS s",
        "SCARD s",
        "SISMEMBER s a",
        "ZADD s 1 a",
        "ZRANGE s 0 1",
        "ZSCORE s a",
        "ZREM s a",
        "ZCARD s",
        "ZRANK s a",
        "ZCOUNT s 0 1",
        "ZINCRBY s 1 a",
        "ZPOPMIN s",
        "ZPOPMAX s 0",
        "ZMPOP 1 s MIN",
        "ZREMRANGEBYRANK s 0 1",
        "ZREMRANGEBYSCORE s 0 1",
        "ZREMRANGEBYLEX s - +",
        "ZRANGESTORE a s 0 1",
        "ZUNION 1 s",
        "ZINTERSTORE a 1 s",
        "ZINTERCARD 1 s",
        "ZRANDMEMBER s",
        "ZSCAN s 0",
    ] {
        let (reply, done) = node.run(line);
        assert_eq!(reply, WRONGTYPE, "{line}");
        assert!(done.depends_on > Offset::ZERO, "{line} depends on the slot's last write");
    }
}

#[test]
fn resp3_has_its_own_types() {
    let mut node = Node::new();
    node.version = Version::Resp3;
    check_on(
        &mut node,
        "GET none => nil
        HSET h a 1 => :1
        HGETALL h => {a=1}
        HGETALL none => {}
        SADD s a => :1
        SMEMBERS s => ~[a]
        ZADD z 1.5 a => :1
        ZSCORE z a => ,1.5
        ZRANGE z 0 -1 WITHSCORES => [[a ,1.5]]
        ZADD z INCR 1 a => ,2.5
        LPOP none 2 => nil",
    );
}

#[test]
fn large_values_change_their_shape_and_keep_their_content() {
    let mut node = Node::new();
    let long = "x".repeat(9000);
    for index in 0..300 {
        node.run(&format!("HSET h f{index} v{index}"));
        node.run(&format!("SADD s m{index}"));
        node.run(&format!("ZADD z {} m{index}", index % 7));
        node.run(&format!("RPUSH l {}", "i".repeat(index)));
    }
    node.run(&format!("HSET h2 f {long}"));
    node.run(&format!("SADD s2 {long}"));
    node.run(&format!("ZADD z2 1 {long}"));
    check_on(
        &mut node,
        "HLEN h => :300
        HGET h f299 => v299
        SCARD s => :300
        SISMEMBER s m150 => :1
        ZCARD z => :300
        ZRANK z m105 => :1
        ZRANGE z 0 2 => [m0 m105 m112]
        ZRANGE z 0 2 REV => [m97 m90 m83]
        ZCOUNT z 2 3 => :86
        LLEN l => :300
        HSTRLEN h2 f => :9000
        SCARD s2 => :1",
    );
    assert_eq!(node.run(&format!("SET t {long}")).0, "OK");
    check_on(&mut node, "STRLEN t => :9000\nAPPEND t abc => :9003\nGETRANGE t 8999 -1 => xabc");
    check_on(&mut node, "SET t short => OK\nGET t => short\nEXPIRE t 100 => :1");
    assert_eq!(node.run(&format!("APPEND t {long}")).0, ":9005");
    check_on(&mut node, "TTL t => :100\nFLUSHALL => OK\nDBSIZE => :0");
    assert_eq!(node.master.used_bytes(), 0);
}

#[test]
fn walks_over_all_keys() {
    let mut node = Node::new();
    check_on(&mut node, "RANDOMKEY => nil\nSCAN 0 => [0 []]\nKEYS * => []");
    for index in 0..100 {
        node.run(&format!("SET key:{index} v"));
    }
    node.run("SADD set:1 a");
    let mut cursor = "0".to_owned();
    let mut seen = 0;
    loop {
        let (reply, _) = node.run(&format!("SCAN {cursor} COUNT 7 MATCH key:*"));
        let (next, keys) = reply[1..reply.len() - 1].split_once(' ').expect("cursor and keys");
        seen += keys.matches("key:").count();
        next.clone_into(&mut cursor);
        if next == "0" {
            break;
        }
    }
    assert_eq!(seen, 100);
    check_on(
        &mut node,
        "SCAN 0 TYPE set COUNT 1000 => [0 [set:1]]
        SCAN x => -ERR invalid cursor
        SCAN 0 COUNT 0 => -ERR syntax error
        SCAN 0 COUNT => -ERR syntax error
        KEYS key:99 => [key:99]
        DBSIZE => :101",
    );
    assert!(node.run("RANDOMKEY").0.contains(':'));
}
