//! What the busy clients ask for: mostly small things, now and then something that takes long.
//!
//! Keys that the mix takes away it writes again in the same piece, so that as many keys are there
//! at the end as at the start, with values drawn the same way.

use cairn_harness::dice::Dice;

use super::data::{
    COUNTERS, ENTRIES, Kind, LARGE_EACH, Large, PARTS, TAGS, TEXT_BYTES, counter, field, key, pair,
    part, put, score, value,
};
use crate::bench::load::open::{Request, Requests};

/// Kinds of requests, in words, and how many of a hundred thousand are of each.
pub const KINDS: [(&str, u64); 11] = [
    ("GET", 45_000),
    ("SET, 16 to 1,024 B", 20_000),
    ("DEL or UNLINK, then SET", 6000),
    ("SET that ends in 1 to 20 s", 5000),
    ("INCR", 4000),
    ("write into a large key", 7000),
    ("100 parts of a large key", 6976),
    ("a whole large key", 4),
    ("script", 3000),
    ("script of 2,000 commands", 20),
    ("MULTI of three commands", 3000),
];

/// Changes two keys of one slot.
const SCRIPT: &str = "local n = redis.call('INCR', KEYS[1]) \
    redis.call('SET', KEYS[2], ARGV[1]) return {n, redis.call('STRLEN', KEYS[2])}";
/// Goes on for a while.
const LONG_SCRIPT: &str = "for i = 1, 1000 do redis.call('INCR', KEYS[1]) \
    redis.call('GETRANGE', KEYS[2], 0, 7) end return 'done'";

/// Draws requests by a seed.
#[derive(Debug)]
pub struct Mix {
    dice: Dice,
    keys: u64,
    /// Numbers of short-lived keys, never used again.
    brief: u64,
}

impl Mix {
    /// Requests about `keys` small keys; the same seed gives the same ones.
    pub fn new(seed: u64, keys: u64) -> Self {
        Self { dice: Dice::new(seed), keys, brief: seed << 32 }
    }

    fn large(&mut self, kind: Kind) -> Vec<u8> {
        Large { kind, number: self.dice.below(LARGE_EACH) }.name().into_bytes()
    }

    fn some_kind(&mut self) -> Kind {
        let kinds = super::data::KINDS;
        self.dice.pick(&kinds).copied().unwrap_or(Kind::Hash)
    }

    fn small(&mut self) -> Vec<u8> {
        key(self.dice.below(self.keys))
    }

    fn replace(&mut self, out: &mut Vec<u8>) {
        let (name, value) = (self.small(), value(&mut self.dice));
        let verb: &[u8] = if self.dice.below(2) == 0 { b"DEL" } else { b"UNLINK" };
        put(out, &[verb, &name]);
        put(out, &[b"SET", &name, &value]);
    }

    fn brief(&mut self, out: &mut Vec<u8>) {
        self.brief += 1;
        let (name, ms) = (format!("brief:{}", self.brief), 1000 + self.dice.below(19_000));
        let value = value(&mut self.dice);
        put(out, &[b"SET", name.as_bytes(), &value, b"PX", ms.to_string().as_bytes()]);
    }

    /// A write into a large key that leaves it about as large; how many answers it gets.
    fn write_large(&mut self, out: &mut Vec<u8>) -> u64 {
        let kind = self.some_kind();
        let (name, field) = (self.large(kind), field(self.dice.below(PARTS)));
        let value = part(&mut self.dice);
        match kind {
            Kind::Hash => put(out, &[b"HSET", &name, &field, &value]),
            Kind::Scored => put(out, &[b"ZADD", &name, &score(&mut self.dice), &field]),
            Kind::List => {
                put(out, &[b"LPUSH", &name, &value]);
                put(out, &[b"RPOP", &name]);
                return 2;
            }
            Kind::Text => {
                let at = self.dice.below(TEXT_BYTES as u64 - 2048).to_string();
                put(out, &[b"SETRANGE", &name, at.as_bytes(), &value]);
            }
            Kind::Stream => {
                let most = ENTRIES.to_string();
                let trim = [b"MAXLEN".as_slice(), b"~", most.as_bytes()];
                let head: [&[u8]; 2] = [b"XADD", &name];
                put(out, &[&head[..], &trim[..], &[b"*", b"f", &value]].concat());
            }
        }
        1
    }

    fn read_large(&mut self, out: &mut Vec<u8>) {
        let kind = self.some_kind();
        let name = self.large(kind);
        let from = self.dice.below(PARTS - 100);
        let (first, last) = (from.to_string(), (from + 99).to_string());
        let (first, last) = (first.as_bytes(), last.as_bytes());
        match kind {
            Kind::Hash => {
                let fields: Vec<Vec<u8>> = (from..from + 100).map(field).collect();
                let fields = fields.iter().map(Vec::as_slice);
                let parts: Vec<&[u8]> =
                    [b"HMGET".as_slice(), &name].into_iter().chain(fields).collect();
                put(out, &parts);
            }
            Kind::Scored => put(out, &[b"ZRANGE", &name, first, last, b"WITHSCORES"]),
            Kind::List => put(out, &[b"LRANGE", &name, first, last]),
            Kind::Text => {
                let at = self.dice.below(TEXT_BYTES as u64 - 4096);
                let (from, to) = (at.to_string(), (at + 4095).to_string());
                put(out, &[b"GETRANGE", &name, from.as_bytes(), to.as_bytes()]);
            }
            Kind::Stream => put(out, &[b"XREVRANGE", &name, b"+", b"-", b"COUNT", b"100"]),
        }
    }

    fn read_whole(&mut self, out: &mut Vec<u8>) {
        let kind = self.some_kind();
        let name = self.large(kind);
        match kind {
            Kind::Hash => put(out, &[b"HGETALL", &name]),
            Kind::Scored => put(out, &[b"ZRANGE", &name, b"0", b"-1"]),
            Kind::List => put(out, &[b"LRANGE", &name, b"0", b"-1"]),
            Kind::Text => put(out, &[b"GET", &name]),
            Kind::Stream => put(out, &[b"XRANGE", &name, b"-", b"+"]),
        }
    }

    fn script(&mut self, text: &str, out: &mut Vec<u8>) {
        let [one, other] = pair(self.dice.below(TAGS));
        let value = value(&mut self.dice);
        put(out, &[b"EVAL", text.as_bytes(), b"2", &one, &other, &value]);
    }

    fn transaction(&mut self, out: &mut Vec<u8>) -> u64 {
        let [one, other] = pair(self.dice.below(TAGS));
        let value = value(&mut self.dice);
        put(out, &[b"MULTI"]);
        put(out, &[b"INCR", &one]);
        put(out, &[b"SET", &other, &value]);
        put(out, &[b"STRLEN", &other]);
        put(out, &[b"EXEC"]);
        5
    }
}

impl Requests for Mix {
    fn kinds(&self) -> usize {
        KINDS.len()
    }

    fn next(&mut self, out: &mut Vec<u8>) -> Request {
        let mut drawn = self.dice.below(KINDS.iter().map(|kind| kind.1).sum());
        let within = |kind: &(&str, u64)| {
            let here = drawn < kind.1;
            drawn = drawn.saturating_sub(kind.1);
            here
        };
        let kind = KINDS.iter().position(within).unwrap_or(0);
        let answers = match kind {
            0 => {
                let name = self.small();
                put(out, &[b"GET", &name]);
                1
            }
            1 => {
                let (name, value) = (self.small(), value(&mut self.dice));
                put(out, &[b"SET", &name, &value]);
                1
            }
            2 => {
                self.replace(out);
                2
            }
            3 => {
                self.brief(out);
                1
            }
            4 => {
                put(out, &[b"INCR", &counter(self.dice.below(COUNTERS))]);
                1
            }
            5 => self.write_large(out),
            6 => {
                self.read_large(out);
                1
            }
            7 => {
                self.read_whole(out);
                1
            }
            8 => {
                self.script(SCRIPT, out);
                1
            }
            9 => {
                self.script(LONG_SCRIPT, out);
                1
            }
            _ => self.transaction(out),
        };
        Request { kind, answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_come_as_often_as_said_with_as_many_answers_as_commands() {
        let mut mix = Mix::new(1, 1000);
        let mut seen = [0_u64; KINDS.len()];
        for _ in 0..200_000 {
            let mut out = Vec::new();
            let request = mix.next(&mut out);
            seen[request.kind] += 1;
            let heads = |at: &usize| out[*at] == b'*' && (*at == 0 || out[*at - 1] == b'\n');
            let commands = (0..out.len()).filter(heads).count() as u64;
            // The end of XADD's name is a line that begins the same way.
            let stars = out.windows(5).filter(|bytes| *bytes == b"\r\n*\r\n").count() as u64;
            assert_eq!(commands - stars, request.answers, "{}", String::from_utf8_lossy(&out));
        }
        assert_eq!(KINDS.iter().map(|kind| kind.1).sum::<u64>(), 100_000);
        for (seen, (name, wanted)) in seen.iter().zip(KINDS) {
            let expected = wanted * 2;
            assert!((expected / 3..=expected * 3).contains(seen), "{name}: {seen}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_requests() {
        let text = |seed| {
            let (mut mix, mut out) = (Mix::new(seed, 1000), Vec::new());
            for _ in 0..1000 {
                mix.next(&mut out);
            }
            out
        };
        assert!(text(5) == text(5) && text(5) != text(6));
    }
}
