//! Commands with arguments that nobody means well with: any bytes, the edges of numbers, stream IDs
//! and coordinates, while the clock jumps forward and back.

use cairn_keyspace::command::{COMMANDS, Kind, lookup};
use cairn_keyspace::{Ctx, EffectLog, Keyspace};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};
use proptest::prelude::*;

/// Keys of one slot, each of a type, and one that is not there.
const KEYS: [&str; 9] = [
    "{a}text",
    "{a}number",
    "{a}list",
    "{a}set",
    "{a}hash",
    "{a}zset",
    "{a}stream",
    "{a}geo",
    "{a}",
];

const SETUP: [&str; 12] = [
    "SET {a}text abc",
    "SET {a}number 9223372036854775807",
    "RPUSH {a}list 1 2 3",
    "SADD {a}set 1 b",
    "HSET {a}hash n -9223372036854775808 f 1.7e308",
    "ZADD {a}zset -inf a 0 b 1.7976931348623157e308 c +inf d",
    "XADD {a}stream 18446744073709551614-1 f v",
    "XGROUP CREATE {a}stream g 0",
    "XREADGROUP GROUP g ada STREAMS {a}stream >",
    "GEOADD {a}geo 13.361389 38.115556 Palermo -179.9999 85.05 edge",
    "PEXPIRE {a}set 500",
    "PEXPIREAT {a}hash 9223372036854775807",
];

const EDGES: [&str; 49] = [
    "0",
    "-0",
    "-1",
    "1",
    "00",
    "+1",
    " 1",
    "1 ",
    "0x10",
    "1e3",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "4294967295",
    "2147483647",
    "536870911",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "1e309",
    "4.9e-324",
    "nan",
    "inf",
    "-inf",
    "(inf",
    "[",
    "(",
    "-",
    "+",
    "$",
    ">",
    "*",
    "18446744073709551615-18446744073709551615",
    "0-0",
    "0-*",
    "1-",
    "-1-1",
    "1-1-1",
    "180.000001",
    "-85.05112879",
    "5e-5",
    "",
    "0.5",
    "2",
    "3",
    "10",
    "100",
];

const WORDS: [&str; 42] = [
    "GROUP",
    "g",
    "ada",
    "STREAMS",
    "COUNT",
    "BLOCK",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "NOMKSTREAM",
    "ID",
    "FORCE",
    "JUSTID",
    "IDLE",
    "TIME",
    "CREATE",
    "SETID",
    "FROMLONLAT",
    "FROMMEMBER",
    "BYRADIUS",
    "BYBOX",
    "m",
    "km",
    "WITHDIST",
    "WITHHASH",
    "STOREDIST",
    "Palermo",
    "LIMIT",
    "BYLEX",
    "BYSCORE",
    "WEIGHTS",
    "EX",
    "PXAT",
    "KEEPTTL",
    "GET",
    "SET",
    "INCRBY",
    "i64",
    "u63",
    "#9223372036854775807",
    "OVERFLOW",
];

fn word() -> impl Strategy<Value = Vec<u8>> {
    let of = |all: &'static [&'static str]| {
        prop::sample::select(all).prop_map(|word| word.as_bytes().to_vec())
    };
    prop_oneof![
        4 => of(&KEYS),
        5 => of(&EDGES),
        4 => of(&WORDS),
        2 => prop::collection::vec(any::<u8>(), 0..24),
    ]
}

/// Commands that are right but for the edges that come in the places of `%`.
const LINES: [&str; 36] = [
    "LRANGE {a}list % %",
    "LTRIM {a}list % %",
    "LSET {a}list % x",
    "LPOS {a}list 1 RANK % MAXLEN %",
    "LINSERT {a}list BEFORE 2 %",
    "GETRANGE {a}text % %",
    "SETRANGE {a}text % x",
    "SETBIT {a}text % 1",
    "BITCOUNT {a}text % %",
    "BITPOS {a}text 1 % %",
    "BITFIELD {a}text SET i64 % % OVERFLOW SAT INCRBY u8 1 %",
    "INCRBY {a}number %",
    "INCRBYFLOAT {a}number %",
    "HINCRBY {a}hash n %",
    "HINCRBYFLOAT {a}hash f %",
    "SET {a}text v PXAT %",
    "GETEX {a}text EX %",
    "EXPIRE {a}text %",
    "PEXPIREAT {a}list % GT",
    "ZINCRBY {a}zset % a",
    "ZADD {a}zset % a % e",
    "ZRANGE {a}zset % % BYSCORE LIMIT % %",
    "ZRANGE {a}zset % % REV",
    "ZRANGEBYLEX {a}zset % %",
    "ZREMRANGEBYSCORE {a}zset % %",
    "ZUNIONSTORE {a} 2 {a}zset {a}set WEIGHTS % %",
    "XADD {a}stream % f v",
    "XRANGE {a}stream % % COUNT %",
    "XTRIM {a}stream MINID %",
    "XSETID {a}stream % ENTRIESADDED % MAXDELETEDID %",
    "XCLAIM {a}stream g ada % % TIME % RETRYCOUNT % FORCE",
    "XAUTOCLAIM {a}stream g ada % %",
    "XGROUP SETID {a}stream g % ENTRIESREAD %",
    "GEOADD {a}geo % % there",
    "GEOSEARCH {a}geo FROMLONLAT % % BYBOX % % km COUNT %",
    "RESTORE {a} % %",
];

/// A command with its arguments.
fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any =
        (0..COMMANDS.len(), prop::collection::vec(word(), 0..9)).prop_map(|(at, mut args)| {
            let command = &COMMANDS[at];
            args.insert(0, command.name.as_bytes().to_vec());
            // Mostly as many as it takes, or nothing would ever be executed.
            let least = usize::from(command.arity.unsigned_abs());
            while args.len() < least {
                args.push(KEYS[args.len() % KEYS.len()].into());
            }
            if command.arity > 0 {
                args.truncate(least);
            }
            args
        });
    let edges = prop::collection::vec(prop::sample::select(&EDGES[..]), 6);
    let nearly_right = (prop::sample::select(&LINES[..]), edges).prop_map(|(line, edges)| {
        let mut edges = edges.into_iter();
        let filled = |word: &str| match word {
            "%" => edges.next().expect("as many as there are places").into(),
            word => word.into(),
        };
        line.split(' ').map(filled).collect()
    });
    prop_oneof![any, nearly_right]
}

/// A command, and when it comes.
fn call() -> impl Strategy<Value = (Vec<Vec<u8>>, u64)> {
    let at_ms = prop_oneof![
        6 => 1_700_000_000_000_u64..1_700_000_001_000,
        1 => Just(0),
        1 => Just(i64::MAX as u64),
    ];
    (words(), at_ms)
}

/// How many streams of commands are tried; `CAIRN_STREAMS` says it for a long run.
fn streams() -> u32 {
    let given = std::env::var("CAIRN_STREAMS").ok();
    given.map_or(200, |text| text.parse().expect("CAIRN_STREAMS is a number"))
}

struct World {
    keyspace: Keyspace,
    log: EffectLog,
}

impl World {
    fn execute(&mut self, words: &[&[u8]], now_ms: u64) {
        let command = lookup(words[0]).expect("a command");
        let Kind::Data(_) = command.kind else { return };
        let args: ArgsBuf = words.iter().copied().collect();
        let ctx = Ctx { now_ms, may_write: true, value_bytes_max: 10_000 };
        let mut reply = ReplyBuf::new(Version::Resp3);
        self.keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
        let (_, len) = Reply::parse(reply.as_bytes()).expect("well-formed").expect("whole");
        assert_eq!(len, reply.len(), "{} gives exactly one reply", command.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: streams(), ..ProptestConfig::default() })]

    #[test]
    fn any_arguments_get_one_reply_and_copies_agree(
        calls in prop::collection::vec(call(), 0..200),
    ) {
        let (keyspace, log) = (Keyspace::new(1), EffectLog::new(Offset(1)));
        let mut world = World { keyspace, log };
        for line in SETUP {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            world.execute(&words, 1_700_000_000_000);
        }
        for (words, now_ms) in &calls {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            world.execute(&words, *now_ms);
        }
        let mut copy = Keyspace::new(2);
        if let Some(entries) = world.log.take() {
            prop_assert_eq!(copy.apply(&entries.body, entries.first), Ok(entries.count));
        }
        prop_assert_eq!(world.keyspace.digest(), copy.digest());
    }
}
