//! DUMP and RESTORE: payloads that redis-server 7.0.15 has made, our own, and any bytes.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Keyspace};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};
use proptest::prelude::*;

const NOW_MS: u64 = 1_700_000_000_000;

/// A value of each encoding, and the payload that redis-server 7.0.15 made of it.
const REDIS: &[(&str, &str, &str)] = &[
    ("GET k", "-5", "00c0fb0a0049c4c6f4d7263f68"),
    ("GET k", "3000", "00c1b80b0a00a113c6f3de2b8403"),
    ("GET k", "-70000", "00c290eefeff0a002875de7b13eb2800"),
    ("GET k", "12345678901", "000b31323334353637383930310a00304e52d727176510"),
    ("GET k", "hello", "000568656c6c6f0a006372df766534200a"),
    (
        "GET k",
        "aaaaaaaaaaaaaaaaaaaabcabcabcabcabcabcaaaaaaaaaa",
        "00c3112f016161e00900016263e00702a0000161610a004174c51c2495002e",
    ),
    (
        "LRANGE k 0 5",
        "[a 1 -300 70000 5000000000 ]",
        "120102c3294069186900000007008161020101ded402f270110104f400f2052a01201705098001e04678e03c00\
         0148ff0a0004805e71f198b8ea",
    ),
    (
        "LRANGE k 0 -1",
        "[short a-long-item-here]",
        "1202020e0e00000001008573686f727406ff0110612d6c6f6e672d6974656d2d686572650a001edef95d8176bb\
         eb",
    ),
    ("SMEMBERS k", "[-2 1 300]", "0b0e0200000003000000feff01002c010a005b0aa862f794600a"),
    ("SMEMBERS k", "[1 70000]", "0b10040000000200000001000000701101000a002735436efd6656c4"),
    (
        "SMEMBERS k",
        "[1 5000000000]",
        "0b180800000002000000010000000000000000f2052a010000000a0054f5a26ae707b5fc",
    ),
    ("SMEMBERS k", "[a b]", "0202016201610a0075d99d835ef85f65"),
    (
        "HGETALL k",
        "[f 1 g text]",
        "10151500000004008166020101816702847465787405ff0a00a5f21a6e9bea923b",
    ),
    ("HGETALL k", "[f 1 g text]", "04020166c001016704746578740a00ed789343c09fd5ea"),
    (
        "ZRANGE k 0 -1 WITHSCORES",
        "[b -inf a 1.5 c 3]",
        "111d1d0000000600816202842d696e660581610283312e35048163020301ff0a002970c58fcde6fc31",
    ),
    (
        "ZRANGE k 0 -1 WITHSCORES",
        "[a 1.5 b inf]",
        "05020162000000000000f07f0161000000000000f83f0a001343ce1a14f007a4",
    ),
    // The last entry has the ID of one that was deleted.
    (
        "XRANGE k - +",
        "[[1-0 [a 1]] [2-0 [a 2]] [3-0 [a 4]]]",
        "130110000000000000000100000000000000003a3a0000001900030101010101816102000102010001000101\
         010401020101010001020104010301020100010301040102010201000104010401ff0303000100030004000a\
         0014710543932023ca",
    ),
    ("XRANGE k - +", "[[1-1 [a 1 b 2]] [5-0 [other x]] [6-0 [a 9 b 9]]]", STREAM),
    ("XPENDING k g", "[:2 1-1 5-0 [[ada 1] [bob 1]]]", STREAM),
    (
        "XINFO GROUPS k",
        "[[name empty consumers :0 pending :0 last-delivered-id 6-0 entries-read nil lag :0] \
         [name g consumers :3 pending :2 last-delivered-id 5-0 entries-read nil lag nil]]",
        STREAM,
    ),
];

const STREAM: &str = "\
    13011000000000000000010000000000000001404f4f0000001f00030101010201816102816202000102010001000\
    101010201050103010001010103010401050100010401dfff020101856f7468657206817802060102010501dfff02\
    090109010501ff03060001010102040205656d707479060081ffffffffffffffff00000167050081fffffffffffff\
    fff02000000000000000100000000000000017a06a327a201000001000000000000000500000000000000007d06a3\
    27a20100000103036164617a06a327a2010000010000000000000001000000000000000103626f627d06a327a2010\
    00001000000000000000500000000000000000469646c658006a327a2010000000a00b46f4f34002da802";

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// A master, and a copy of it.
struct Pair {
    master: Keyspace,
    copy: Keyspace,
    log: EffectLog,
}

impl Pair {
    fn new() -> Self {
        let (master, copy) = (Keyspace::new(1), Keyspace::new(2));
        Self { master, copy, log: EffectLog::new(Offset(1)) }
    }

    fn run(&mut self, words: &[&[u8]]) -> Reply {
        let args: ArgsBuf = words.iter().copied().collect();
        let command = lookup(words[0]).expect("a command");
        let ctx = Ctx { now_ms: NOW_MS, may_write: true, value_bytes_max: 1 << 20 };
        let mut reply = ReplyBuf::new(Version::Resp2);
        self.master.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
        if let Some(entries) = self.log.take() {
            assert_eq!(self.copy.apply(&entries.body, entries.first), Ok(entries.count));
        }
        Reply::parse(reply.as_bytes()).expect("a reply").expect("a whole one").0
    }

    fn line(&mut self, line: &str) -> Reply {
        self.run(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    fn restore(&mut self, payload: &[u8], options: &str) -> String {
        let mut words: Vec<&[u8]> = vec![b"RESTORE", b"k", b"0", payload];
        words.extend(options.split(' ').filter(|it| !it.is_empty()).map(str::as_bytes));
        text(&self.run(&words))
    }

    fn dump(&mut self, key: &str) -> Vec<u8> {
        match self.run(&[b"DUMP", key.as_bytes()]) {
            Reply::Bulk(payload) => payload,
            other => panic!("{other:?}"),
        }
    }
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Integer(number) => format!(":{number}"),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        _ => "nil".to_owned(),
    }
}

/// The same with members in an order of their own.
fn sorted(reply: &Reply) -> String {
    let mut items = match reply {
        Reply::Array(items) => items.iter().map(text).collect::<Vec<_>>(),
        other => return text(other),
    };
    items.sort();
    format!("[{}]", items.join(" "))
}

#[test]
fn what_redis_has_written_is_read() {
    for (line, want, payload) in REDIS {
        let mut pair = Pair::new();
        assert_eq!(pair.restore(&bytes(payload), ""), "OK", "{want}");
        let reply = pair.line(line);
        let got = if line.starts_with("SMEMBERS") { sorted(&reply) } else { text(&reply) };
        assert_eq!(got, *want);
        assert_eq!(pair.master.digest(), pair.copy.digest());
    }
}

#[test]
fn a_payload_with_a_bit_turned_is_refused() {
    for (_, _, payload) in REDIS {
        let (mut pair, mut payload) = (Pair::new(), bytes(payload));
        for at in 0..payload.len() {
            payload[at] ^= 4;
            let reply = pair.restore(&payload, "");
            assert_eq!(reply, "-ERR DUMP payload version or checksum are wrong");
            payload[at] ^= 4;
        }
    }
}

#[test]
fn options_of_restore() {
    let payload = bytes(REDIS[4].2);
    let mut pair = Pair::new();
    assert_eq!(text(&pair.line("DUMP k")), "nil");
    assert_eq!(pair.restore(&payload, "IDLETIME 5"), "OK");
    assert_eq!(pair.restore(&payload, ""), "-BUSYKEY Target key name already exists.");
    assert_eq!(pair.restore(&payload, "REPLACE FREQ 255"), "OK");
    assert_eq!(pair.restore(&payload, "REPLACE FREQ 5 IDLETIME 5"), "-ERR syntax error");
    let wrong = "-ERR Invalid FREQ value, must be >= 0 and <= 255";
    assert_eq!(pair.restore(&payload, "REPLACE FREQ 256"), wrong);
    let wrong = "-ERR Invalid IDLETIME value, must be >= 0";
    assert_eq!(pair.restore(&payload, "REPLACE IDLETIME -1"), wrong);
    assert_eq!(pair.restore(&payload, "FOO"), "-ERR syntax error");
    let mut restore = |ttl: &[u8], option: &[u8]| {
        text(&pair.run(&[b"RESTORE", b"k", ttl, &payload, b"REPLACE", option]))
    };
    assert_eq!(restore(b"-1", b"REPLACE"), "-ERR Invalid TTL value, must be >= 0");
    assert_eq!(restore(b"5000", b"REPLACE"), "OK");
    assert_eq!(text(&pair.line("PTTL k")), ":5000");
    let mut restore = |ttl: &[u8], option: &[u8]| {
        text(&pair.run(&[b"RESTORE", b"k", ttl, &payload, b"REPLACE", option]))
    };
    assert_eq!(restore(b"1700000007000", b"ABSTTL"), "OK");
    assert_eq!(text(&pair.line("PTTL k")), ":7000");
    let past: [&[u8]; 6] = [b"RESTORE", b"k", b"1", &payload, b"REPLACE", b"ABSTTL"];
    assert_eq!(text(&pair.run(&past)), "OK");
    assert_eq!(text(&pair.line("EXISTS k")), ":0");
    assert_eq!(pair.copy.len(), 0);
}

#[test]
fn every_type_comes_back_as_it_was() {
    let mut pair = Pair::new();
    let long = "x".repeat(9000);
    for number in 0..300 {
        pair.line(&format!("HSET {{k}}hash f{number} {number}"));
        pair.line(&format!("RPUSH {{k}}list {number} item{number}"));
        pair.line(&format!("SADD {{k}}set m{number}"));
        pair.line(&format!("ZADD {{k}}sorted {number}.5 m{number}"));
        pair.line(&format!("XADD {{k}}stream {number}-1 name {number} f{} v", number % 3));
    }
    pair.line(&format!("SET {{k}}text {long}"));
    pair.line("XGROUP CREATE {k}stream g 0");
    pair.line("XREADGROUP GROUP g ada COUNT 150 STREAMS {k}stream >");
    pair.line("XDEL {k}stream 7-1 299-1");
    for name in ["hash", "list", "set", "sorted", "stream", "text"] {
        let key = format!("{{k}}{name}");
        let payload = pair.dump(&key);
        let before = pair.master.digest();
        let restore: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", &payload, b"REPLACE"];
        assert_eq!(text(&pair.run(&restore)), "OK", "{name}");
        assert_eq!(pair.master.digest(), before, "{name}");
        assert_eq!(pair.copy.digest(), before, "{name}");
        assert_eq!(pair.dump(&key), payload, "{name}");
    }
}

/// Redis's checksum, bit by bit.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    body.extend([10, 0]);
    let sum = body.iter().fold(0_u64, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0x95ac_9329_ac4b_c9b5 } else { 0 }
        })
    });
    body.extend(sum.to_le_bytes());
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken_or_refused(
        kind in 0_u8..23,
        body in prop::collection::vec(prop_oneof![0_u8..8, any::<u8>()], 0..80),
    ) {
        let mut pair = Pair::new();
        let reply = pair.restore(&sealed([vec![kind], body].concat()), "");
        prop_assert!(reply == "OK" || reply.starts_with("-ERR"), "{}", reply);
        if reply == "OK" {
            pair.dump("k");
        }
        prop_assert_eq!(pair.master.digest(), pair.copy.digest());
    }

    /// A little of a good payload is another: what comes of it is read in every way.
    #[test]
    fn a_changed_payload_is_taken_or_refused(
        which in 0..REDIS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = bytes(REDIS[which].2);
        body.truncate(body.len() - 10);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let mut pair = Pair::new();
        if pair.restore(&sealed(body), "") == "OK" {
            for line in ["LRANGE k 0 -1", "XINFO STREAM k FULL", "XREVRANGE k + -"] {
                pair.line(line);
            }
            pair.line("XADD k * a b");
            pair.line("XTRIM k MAXLEN 1");
            pair.dump("k");
        }
        prop_assert_eq!(pair.master.digest(), pair.copy.digest());
    }
}
