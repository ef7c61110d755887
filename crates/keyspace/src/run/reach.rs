//! How far a command reaches: about how many items it passes, told without executing it, so that
//! what takes long is executed where nobody waits for it ([`Keyspace::lend_slot`]).
//!
//! One that is told wrongly is executed all the same, in the wrong place.

use super::sorted_ranges::{score_end, score_ranks, text_end, text_ranks};
use super::streams::reads::behind;
use crate::command::{COMMANDS, Command};
use crate::keyspace::{At, Keyspace};
use crate::table::View;
use crate::value::Value;
use crate::value::sorted::Sorted;
use cairn_resp::Args;
use cairn_resp::number::parse_i64;
use std::sync::LazyLock;

/// So many bytes take as long as an item.
const ITEM_BYTES: usize = 256;
/// The same of strings, which are read without being taken apart.
const TEXT_BYTES: usize = 1024;
/// The same of what is taken apart into items.
const PAYLOAD_BYTES: usize = 32;
/// A sorted set of so few members is passed quickly, whatever part of it is asked for.
const FEW: usize = 1000;

/// What of its keys' values a command passes.
#[derive(Clone, Copy)]
enum Reach {
    /// A few items, or what its arguments name.
    Little,
    /// All of them, so many times.
    All(usize),
    /// Those of the smallest, once for each of the others.
    Least,
    /// Those from one place to another, which stand from this argument on.
    Places(usize),
    /// What is not between two places.
    NotPlaces,
    /// A part of a sorted set, whose ends stand from this argument on, behind its key.
    Part(usize),
    /// As many as this argument says.
    Number(usize),
    /// As many as stand behind the word COUNT.
    Count,
    /// Those of streams behind an ID, or as many as stand behind the word COUNT.
    Behind,
    /// Places on the earth: a part that nobody knows before, but small mostly.
    Earth,
    /// What a payload makes.
    Payload,
    /// The product of both.
    Product,
}

impl Reach {
    fn of(command: &Command) -> Self {
        match command.name {
            "copy" | "dump" | "hgetall" | "hkeys" | "hvals" | "smembers" | "sunion" | "sdiff"
            | "linsert" | "lpos" | "lrem" | "bitcount" | "bitpos" | "bitop" | "pfcount"
            | "pfmerge" => Self::All(1),
            "sunionstore" | "sdiffstore" | "zdiff" | "zunion" => Self::All(2),
            "sort" | "sort_ro" | "zunionstore" | "zdiffstore" => Self::All(4),
            "sinter" | "sintercard" | "sinterstore" | "zinter" | "zintercard" | "zinterstore" => {
                Self::Least
            }
            "lrange" => Self::Places(2),
            "ltrim" => Self::NotPlaces,
            "zrange" | "zrangebylex" | "zrangebyscore" | "zremrangebylex" | "zremrangebyrank"
            | "zremrangebyscore" | "zrevrange" | "zrevrangebylex" | "zrevrangebyscore" => {
                Self::Part(2)
            }
            "zrangestore" => Self::Part(3),
            "hrandfield" | "srandmember" | "zrandmember" | "spop" | "lpop" | "rpop" | "zpopmin"
            | "zpopmax" => Self::Number(2),
            "hscan" | "sscan" | "zscan" | "lmpop" | "zmpop" | "xrange" | "xrevrange"
            | "xautoclaim" | "xtrim" => Self::Count,
            "xread" | "xreadgroup" => Self::Behind,
            "geosearch"
            | "geosearchstore"
            | "georadius"
            | "georadius_ro"
            | "georadiusbymember"
            | "georadiusbymember_ro" => Self::Earth,
            "restore" | "restore-asking" => Self::Payload,
            "lcs" => Self::Product,
            _ => Self::Little,
        }
    }
}

/// By the numbers of commands.
static REACHES: LazyLock<Vec<Reach>> = LazyLock::new(|| COMMANDS.iter().map(Reach::of).collect());

/// Where a word stands among the arguments from `from` on.
fn place_of(args: Args<'_>, from: usize, word: &str) -> Option<usize> {
    (from..args.len()).find(|at| args.get(*at).eq_ignore_ascii_case(word.as_bytes()))
}

/// The number of an argument, 1 if it is not there, and 0 if it is none.
fn number(args: Args<'_>, index: usize) -> usize {
    if index >= args.len() {
        return 1;
    }
    let number = parse_i64(args.get(index)).map_or(0, i64::unsigned_abs);
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The number behind the word COUNT.
fn count(args: Args<'_>) -> Option<usize> {
    place_of(args, 2, "COUNT").map(|at| number(args, at + 1)).filter(|count| *count > 0)
}

/// How many items are from one argument to the next, of so many.
fn between(args: Args<'_>, at: usize, len: usize) -> usize {
    let ends = (at + 1 < args.len()).then(|| (args.get(at), args.get(at + 1)));
    let ends = ends.and_then(|(from, to)| Some((parse_i64(from)?, parse_i64(to)?)));
    let (from, to) = ends.map_or((0, 0), |(from, to)| super::range(from, to, len));
    to - from
}

/// How many members a command on a part of a sorted set passes.
fn part_of(sorted: &Sorted, command: &Command, args: Args<'_>, at: usize) -> usize {
    let word = |word| place_of(args, at + 2, word).is_some();
    let (name, len) = (command.name, sorted.len());
    let by_score = name.ends_with("byscore") || word("BYSCORE");
    let by_text = name.ends_with("bylex") || word("BYLEX");
    if (!by_score && !by_text) || at + 1 >= args.len() {
        return between(args, at, len);
    }
    let (mut min, mut max) = (args.get(at), args.get(at + 1));
    if name.starts_with("zrev") || word("REV") {
        (min, max) = (max, min);
    }
    let ranks = match by_score {
        true => score_end(min).and_then(|min| Ok(score_ranks(sorted, &min, &score_end(max)?))),
        false => text_end(min).and_then(|min| Ok(text_ranks(sorted, &min, &text_end(max)?))),
    };
    let passed = ranks.map_or(0, |(first, end)| end - first);
    match place_of(args, at + 2, "LIMIT") {
        Some(at) if at + 2 < args.len() && !args.get(at + 2).starts_with(b"-") => {
            passed.min(number(args, at + 1).saturating_add(number(args, at + 2)))
        }
        _ => passed,
    }
}

impl Keyspace {
    /// About how many items a data command on these keys passes; 256 bytes take as long as one.
    ///
    /// `at` is where the first of them belongs. Costs little beside the command.
    #[must_use]
    pub fn reach(&self, command: &Command, args: Args<'_>, at: At) -> usize {
        let reach = REACHES[usize::from(command.number)];
        let key = || command.first_key(args).unwrap_or_default();
        let one = || self.value(at, key());
        let given = args.len();
        given.saturating_add(match reach {
            Reach::Little => args.total_bytes() / ITEM_BYTES,
            Reach::Payload => args.total_bytes() / PAYLOAD_BYTES,
            Reach::All(times) => self.sizes(command, args).sum::<usize>().saturating_mul(times),
            Reach::Least => {
                // Where it is stored is a key, too, and there no more than once.
                let stored = usize::from(command.name.ends_with("store"));
                let sizes = || self.sizes(command, args).skip(stored);
                sizes().min().unwrap_or(0).saturating_mul(sizes().count())
            }
            Reach::Places(from) => match one() {
                Some(Value::List(list)) => between(args, from, list.len()),
                _ => 0,
            },
            Reach::NotPlaces => match one() {
                Some(Value::List(list)) => list.len() - between(args, 2, list.len()),
                _ => 0,
            },
            Reach::Part(from) => {
                let key = args.get(from - 1);
                let at = if from > 2 { self.locate(key) } else { at };
                match self.value(at, key) {
                    Some(Value::Sorted(it)) if it.len() > FEW => part_of(it, command, args, from),
                    _ => 0,
                }
            }
            Reach::Number(index) => {
                // A negative one says that items may come again.
                let again = index < args.len() && args.get(index).starts_with(b"-");
                let there = if again { usize::MAX } else { one().map_or(0, items) };
                number(args, index).min(there)
            }
            Reach::Count => match count(args) {
                Some(count) => count.min(one().map_or(0, items)),
                // Those that are not said to give all give a few.
                None if command.name.starts_with("xr") => one().map_or(0, items),
                None => 0,
            },
            Reach::Behind => behind(self, command, args),
            Reach::Earth => {
                // Where it is stored may be the first key.
                let keys = command.keys_of(args).map(|key| self.value(self.locate(key), key));
                keys.flatten().map(items).max().unwrap_or(0) / 4
            }
            Reach::Product => {
                let lens = command.keys_of(args).map(|key| self.text_len(key));
                lens.fold(1, usize::saturating_mul) / ITEM_BYTES
            }
        })
    }

    /// The value of a key, unless it is a short string.
    fn value(&self, at: At, key: &[u8]) -> Option<&Value> {
        match self.table(at.slot).entry(self.find(at, key)?).value() {
            View::Object(value) => Some(value),
            View::Bytes(_) => None,
        }
    }

    fn text_len(&self, key: &[u8]) -> usize {
        let at = self.locate(key);
        self.find(at, key).and_then(|place| self.text(at, place)).map_or(0, <[u8]>::len)
    }

    /// What passing all of each key's value counts for.
    fn sizes(&self, command: &Command, args: Args<'_>) -> impl Iterator<Item = usize> {
        command.keys_of(args).map(|key| self.value(self.locate(key), key).map_or(0, size))
    }
}

fn items(value: &Value) -> usize {
    match value {
        Value::Text(_) => 1,
        Value::Hash(hash) => hash.len(),
        Value::List(list) => list.len(),
        Value::Set(set) => set.len(),
        Value::Sorted(sorted) => sorted.len(),
        Value::Stream(stream) => stream.len(),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / TEXT_BYTES,
        other => items(other) + other.memory_bytes() / ITEM_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::effects::EffectLog;
    use crate::exec::Ctx;
    use cairn_logic::ids::Offset;
    use cairn_resp::{ArgsBuf, ReplyBuf};

    fn args(words: &str) -> ArgsBuf {
        words.split(' ').collect()
    }

    /// A keyspace with large values: a hash, a list, a set, a sorted set and a stream of 20,000.
    fn large() -> Keyspace {
        let (mut keyspace, mut log) = (Keyspace::new(1), EffectLog::new(Offset(1)));
        let mut run = |words: &str| {
            let (args, mut reply) = (args(words), ReplyBuf::default());
            let command = lookup(args.as_args().name()).expect("a command");
            let ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 30 };
            keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
            assert_ne!(reply.as_bytes()[0], b'-', "{words}");
        };
        let many = |from: usize, each: &dyn Fn(usize) -> String| {
            (from..from + 100).map(each).collect::<Vec<_>>().join(" ")
        };
        for from in (0..20_000).step_by(100) {
            run(&format!("HSET {{k}}h {}", many(from, &|n| format!("f{n} v"))));
            run(&format!("RPUSH {{k}}l {}", many(from, &|n| format!("i{n}"))));
            run(&format!("SADD {{k}}s {}", many(from, &|n| format!("m{n}"))));
            run(&format!("ZADD {{k}}z {}", many(from, &|n| format!("{n} m{n}"))));
            (from..from + 100).for_each(|n| run(&format!("XADD {{k}}x {}-1 f v", n + 1)));
        }
        run("SADD {k}few a b");
        run("SETRANGE {k}t 4000000 x");
        run("XGROUP CREATE {k}x g 0");
        keyspace
    }

    #[test]
    fn commands_reach_as_far_as_their_arguments_say() {
        let keyspace = large();
        let reach = |words: &str| {
            let args = args(words);
            let command = lookup(args.as_args().name()).expect("a command");
            let key = command.first_key(args.as_args()).expect("a key");
            keyspace.reach(command, args.as_args(), keyspace.locate(key))
        };
        for far in [
            "HGETALL {k}h",
            "SMEMBERS {k}s",
            "DUMP {k}z",
            "COPY {k}l {k}m",
            "LRANGE {k}l 0 -1",
            "ZRANGE {k}z 0 -1",
            "ZRANGE {k}z -inf +inf BYSCORE",
            "ZREVRANGEBYSCORE {k}z +inf -inf",
            "ZREMRANGEBYRANK {k}z 0 -1",
            "SORT {k}l ALPHA",
            "ZRANGEBYLEX {k}z - +",
            "ZRANGESTORE {k}d {k}z 0 -1",
            "SUNIONSTORE {k}d {k}s {k}few",
            "XRANGE {k}x - +",
            "XREAD STREAMS {k}x 0",
            "XREAD COUNT 20000 STREAMS {k}x 0",
            "XREADGROUP GROUP g c STREAMS {k}x >",
            "SRANDMEMBER {k}few -20000",
            "LTRIM {k}l 5 9",
            "SPOP {k}s 19000",
            "LREM {k}l 0 x",
            "ZUNIONSTORE {k}d 1 {k}z",
            "BITOP NOT {k}d {k}t",
            "GEOSEARCHSTORE {k}d {k}z FROMLONLAT 0 0 BYRADIUS 9 KM",
        ] {
            assert!(reach(far) >= 3_000, "{far}: {}", reach(far));
        }
        for near in [
            "HGET {k}h f1",
            "HLEN {k}h",
            "LRANGE {k}l 0 9",
            "LRANGE {k}l -10 -1",
            "ZADD {k}z 1 m",
            "ZRANGE {k}z 0 9",
            "ZRANGE {k}z (5 -inf BYSCORE REV",
            "ZRANGEBYSCORE {k}z 5 9",
            "ZREVRANGEBYSCORE {k}z 9 5",
            "ZRANGEBYSCORE {k}z -inf +inf LIMIT 0 10",
            "ZRANGEBYLEX {k}z [m1 (m1",
            "SPOP {k}s",
            "SINTERSTORE {k}d {k}s {k}few",
            "SINTERCARD 2 {k}s {k}few",
            "SRANDMEMBER {k}s 5",
            "XRANGE {k}x - + COUNT 10",
            "XREAD STREAMS {k}x $",
            "XREAD STREAMS {k}x 19990",
            "XREADGROUP GROUP g c COUNT 10 STREAMS {k}x >",
            "HSCAN {k}h 0 COUNT 100",
            "HSCAN {k}h 0",
            "XADD {k}x * f v",
            "LTRIM {k}l 0 -2",
            "SORT {k}none",
            "GET {k}t",
            "LRANGE {k}s 0 -1",
            "ZRANGE {k}z x y",
            "ZRANGEBYSCORE {k}z x y",
            "LPOP {k}l",
        ] {
            assert!(reach(near) < 3_000, "{near}: {}", reach(near));
        }
    }
}
