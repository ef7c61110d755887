//! Commands that write, of every kind, made by dice: mostly they find what they are about.

/// What commands look like. A word in small letters stands for an argument (see [`word`]), `A|B`
/// for one of both; all keys of a line are of one slot.
pub const SHAPES: &[&str] = &[
    "APPEND text item",
    "BITFIELD text SET u8|i60|u1 small number INCRBY i5|u63 small number OVERFLOW FAIL",
    "BITFIELD text OVERFLOW SAT|WRAP INCRBY u4 small number",
    "BITOP AND|OR|XOR text text text",
    "BITOP NOT text text",
    "DECR text",
    "DECRBY text number",
    "GETDEL text",
    "GETEX text PX ttl",
    "GETEX text PERSIST",
    "GETSET text item",
    "INCR text",
    "INCRBY text number",
    "INCRBYFLOAT text float",
    "MSET text item key item",
    "MSETNX text item text item",
    "PFADD hll item item",
    "PFADD hll many",
    "PFMERGE hll hll hll",
    "PSETEX text ttl item",
    "SET text item",
    "SET key item",
    "SET text number XX|NX|KEEPTTL|GET",
    "SET text item PX ttl",
    "SET text item EXAT moment",
    "SETBIT text small 0|1",
    "SETEX text 1|3 item",
    "SETNX text item",
    "SETRANGE text small item",
    "COPY key key REPLACE",
    "COPY key key",
    "DEL key key",
    "EXPIRE key 0|1|2|-1 NX|XX|GT|LT",
    "EXPIREAT key moment",
    "PERSIST key",
    "PEXPIRE key ttl",
    "PEXPIREAT key 1|1700000001000|99999999999999",
    "RENAME key key",
    "RENAMENX key key",
    "UNLINK key",
    "SORT list|set ALPHA STORE list",
    "SORT zset BY NOSORT LIMIT 0 small STORE key",
    "SORT key BY nothing GET # STORE list",
    "FLUSHALL SYNC|ASYNC",
    "FLUSHDB",
    "HDEL hash field field",
    "HINCRBY hash field number",
    "HINCRBYFLOAT hash field float",
    "HMSET hash field item field item",
    "HSET hash field item",
    "HSET hash pairs",
    "HSETNX hash field item",
    "BLMOVE list list LEFT|RIGHT LEFT|RIGHT 0",
    "BLMPOP 0 2 list list LEFT|RIGHT COUNT small",
    "BLPOP list list 0",
    "BRPOP list 0",
    "BRPOPLPUSH list list 0",
    "LINSERT list BEFORE|AFTER item item",
    "LMOVE list list LEFT|RIGHT LEFT|RIGHT",
    "LMPOP 2 list list LEFT|RIGHT COUNT small",
    "LPOP list small",
    "LPOP list",
    "LPUSH list item item item",
    "LPUSHX list item",
    "LREM list number item",
    "LSET list number item",
    "LTRIM list small number",
    "RPOP list small",
    "RPOPLPUSH list list",
    "RPUSH list item",
    "RPUSH list many",
    "RPUSHX list item",
    "SADD set item item item",
    "SADD set many",
    "SADD set number number",
    "SDIFFSTORE key set set",
    "SINTERSTORE set set set",
    "SMOVE set set item",
    "SPOP set",
    "SPOP set small",
    "SREM set item item",
    "SUNIONSTORE set set key",
    "BZMPOP 0 2 zset zset MIN|MAX COUNT small",
    "BZPOPMAX zset zset 0",
    "BZPOPMIN zset 0",
    "ZADD zset float item number item",
    "ZADD zset NX|XX|CH|GT|LT float item",
    "ZADD zset INCR float item",
    "ZADD zset pairs",
    "ZDIFFSTORE key 2 zset zset",
    "ZINCRBY zset float item",
    "ZINTERSTORE zset 2 zset set WEIGHTS float number AGGREGATE SUM|MIN|MAX",
    "ZMPOP 2 zset zset MIN|MAX COUNT small",
    "ZPOPMAX zset small",
    "ZPOPMIN zset",
    "ZRANGESTORE key zset 0 small",
    "ZRANGESTORE zset zset float inf BYSCORE LIMIT 0 small",
    "ZREM zset item item",
    "ZREMRANGEBYLEX zset [a|- [m1|+",
    "ZREMRANGEBYRANK zset small small",
    "ZREMRANGEBYSCORE zset number number",
    "ZUNIONSTORE zset 2 zset key AGGREGATE SUM|MIN|MAX",
    "GEOADD geo place item place item",
    "GEOADD geo XX|CH place item",
    "GEORADIUS geo place 900 KM STORE key",
    "GEORADIUSBYMEMBER geo item 900 KM STOREDIST geo",
    "GEOSEARCHSTORE geo geo FROMLONLAT place BYBOX 900 900 KM ASC COUNT small STOREDIST",
    "XACK stream group id id id",
    "XADD stream * field item",
    "XADD stream * field item",
    "XADD stream * field item pairs",
    "XADD stream NOMKSTREAM MAXLEN ~|= small * field item",
    "XADD stream id field item",
    "XAUTOCLAIM stream group consumer 0|50 - COUNT small",
    "XAUTOCLAIM stream group consumer 0 0 COUNT small JUSTID",
    "XCLAIM stream group consumer 0 id id FORCE",
    "XCLAIM stream group consumer 0 id id id IDLE ttl RETRYCOUNT small JUSTID",
    "XDEL stream id id",
    "XGROUP CREATE stream group 0|$ MKSTREAM",
    "XGROUP CREATECONSUMER stream group consumer",
    "XGROUP DELCONSUMER stream group consumer",
    "XGROUP DESTROY stream group",
    "XGROUP SETID stream group id ENTRIESREAD small",
    "XREADGROUP GROUP group consumer COUNT small STREAMS stream >",
    "XREADGROUP GROUP group consumer COUNT 3 STREAMS stream >",
    "XREADGROUP GROUP group consumer NOACK STREAMS stream stream > >",
    "XREADGROUP GROUP group consumer STREAMS stream 0",
    "XSETID stream id ENTRIESADDED small MAXDELETEDID 0-1",
    "XTRIM stream MAXLEN|MINID ~|= small",
];

/// Numbers that are always the same for a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9);
        ((self.0 ^ self.0 >> 29) >> 20) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A line of this shape.
pub fn line(shape: &str, dice: &mut Dice) -> Vec<String> {
    let tag = dice.one(&["{a}", "{b}"]);
    let mut words = Vec::new();
    for part in shape.split(' ') {
        let options: Vec<&str> = part.split('|').collect();
        word(dice.one(&options), tag, dice, &mut words);
    }
    words
}

/// A key whose value is mostly of a kind, now and then of another one.
pub fn key(kind: &str, tag: &str, dice: &mut Dice) -> String {
    const KINDS: [&str; 8] = ["text", "hash", "list", "set", "zset", "stream", "geo", "hll"];
    let other = kind == "key" || dice.below(12) == 0;
    let kind = if other { dice.one(&KINDS) } else { kind };
    // What a group of consumers does needs some commands before on the same stream.
    let number = if kind == "stream" { dice.below(9) / 8 } else { dice.below(3) };
    format!("{tag}{kind}{number}")
}

fn word(name: &str, tag: &str, dice: &mut Dice, words: &mut Vec<String>) {
    words.push(match name {
        "text" | "hash" | "list" | "set" | "zset" | "stream" | "geo" | "hll" | "key" => {
            key(name, tag, dice)
        }
        "many" => return words.extend((0..150).map(|number| format!("m{number}"))),
        "pairs" => {
            let pairs = (0..150).flat_map(|number| [number.to_string(), format!("m{number}")]);
            return words.extend(pairs);
        }
        "place" => return words.extend([dice.below(9), dice.below(9)].map(|it| it.to_string())),
        "item" if dice.below(20) == 0 => "x".repeat(1 + dice.below(300)),
        "item" => dice.one(&["a", "b", "c", "d", "m1", "m149", "7", "12", "-3", ""]).to_owned(),
        "field" => dice.one(&["a", "b", "m2", "3", "m148"]).to_owned(),
        "number" => (dice.below(14) as i64 - 4).to_string(),
        "small" => dice.one(&["0", "1", "2", "3", "9", "40", "200"]).to_owned(),
        "float" => dice.one(&["1", "-2", "0.5", "1e3", "-inf", "3.25"]).to_owned(),
        "ttl" => (1 + dice.below(3000)).to_string(),
        "moment" => (1_700_000_000 + dice.below(5)).to_string(),
        "group" => dice.one(&["g", "g", "g", "h"]).to_owned(),
        "consumer" => dice.one(&["ada", "bob"]).to_owned(),
        // Near those that XADD makes of the time.
        "id" => match dice.below(4) {
            0 => dice.below(5).to_string(),
            _ => format!("170000000{}000-{}", dice.below(3), dice.below(5)),
        },
        literal => literal.to_owned(),
    });
}
