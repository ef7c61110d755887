//! Makes the commands of a round.

mod scored;
mod streams;

use super::Line;
use super::dice::Dice;
use super::shapes::{Kind, Part};

/// Commands of a round, without those that read everything in the end.
const COMMANDS: usize = 250;
/// Keys of each type.
const KEYS: usize = 3;
const FAMILIES: [&str; 8] = ["text", "list", "set", "hash", "zset", "hll", "geo", "stream"];

/// What no command expects where it may stand. No small number, which might be a time to live.
const HOSTILE: &[&str] = &[
    "",
    "abc",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1.0",
    "nan",
    "-inf",
    " 7000",
    "7000 ",
    "+7000",
    "07000",
    "COUNT",
    "LIMIT",
    "STORE",
    "\0",
    "\r\n",
    "ü€",
];

const ITEMS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "abcabc",
    "cab",
    "1",
    "2",
    "3",
    "10",
    "-5",
    "3.5",
    "",
    "\u{1}\0z",
    "x y",
    "1e3",
    "inf",
    "12345678901234567890",
    "a\r\nb",
    "m7",
    "m150",
];

/// The commands of a round: the same for the same numbers.
pub fn round(seed: u64, round: u64, shapes: &[Vec<Part>]) -> Vec<Line> {
    let mut maker = Maker { dice: Dice::new(seed, round), ticks: 0 };
    let mut lines = Vec::with_capacity(COMMANDS + 200);
    while lines.len() < COMMANDS {
        let shape = &shapes[maker.dice.below(shapes.len())];
        let mut line = Line::new();
        maker.parts(shape, &mut line);
        // Ranges of texts mean something among equal scores only.
        let level = line.len() > 1 && line[1].starts_with(b"{t}level");
        if maker.dice.percent(6) && !(level && line[0] == b"ZADD") {
            maker.spoil(&mut line);
        }
        if maker.dice.percent(10)
            && let Some(name) = line.first_mut()
        {
            name.make_ascii_lowercase();
        }
        let drawn = line[0].eq_ignore_ascii_case(b"SPOP").then(|| line.get(1).cloned()).flatten();
        lines.push(line);
        if let Some(key) = drawn {
            // Each side has taken what it drew.
            lines.push(vec![b"DEL".to_vec(), key]);
        }
    }
    read_all(&mut lines);
    lines
}

fn key(family: &str, number: usize) -> Vec<u8> {
    format!("{{t}}{family}{number}").into_bytes()
}

/// All keys there may be.
pub fn keys() -> Vec<Vec<u8>> {
    let family = |family| (1..=KEYS).map(move |number| key(family, number));
    FAMILIES.into_iter().flat_map(family).collect()
}

/// Reads all keys in every way.
pub fn read_all(lines: &mut Vec<Line>) {
    for family in FAMILIES {
        for number in 1..=KEYS {
            let key = key(family, number);
            for name in ["TYPE", "PTTL", "GET", "SMEMBERS", "HGETALL"] {
                lines.push(vec![name.as_bytes().to_vec(), key.clone()]);
            }
            if family == "stream" {
                let line = |before: &[&str], behind: &[&str]| {
                    let texts = [before, &[""], behind].concat();
                    let texts = texts.iter().map(|it| it.as_bytes().to_vec());
                    let mut line: Line = texts.collect();
                    line[before.len()] = key.clone();
                    line
                };
                lines.push(line(&["XRANGE"], &["-", "+"]));
                lines.push(line(&["XINFO", "STREAM"], &["FULL", "COUNT", "0"]));
            }
            for name in ["LRANGE", "ZRANGE"] {
                let words = [name, "0", "-1", "WITHSCORES"].map(|word| word.as_bytes().to_vec());
                let [name, from, to, scores] = words;
                let mut line = vec![name, key.clone(), from, to];
                if line[0] == b"ZRANGE" {
                    line.push(scores);
                }
                lines.push(line);
            }
        }
    }
}

struct Maker {
    dice: Dice,
    /// The time in the last ID of an entry.
    ticks: usize,
}

impl Maker {
    fn parts(&mut self, parts: &[Part], line: &mut Line) {
        for part in parts {
            match part {
                Part::Word(words) => line.push(self.dice.one(words).as_bytes().to_vec()),
                Part::Kind(kind) => self.kind(*kind, line),
                Part::Some(kind) => {
                    (0..1 + self.dice.below(4)).for_each(|_| self.kind(*kind, line));
                }
                Part::Maybe(parts) => {
                    if self.dice.percent(50) {
                        self.parts(parts, line);
                    }
                }
            }
        }
    }

    fn kind(&mut self, kind: Kind, line: &mut Line) {
        let word = match kind {
            Kind::Text => self.key(0),
            Kind::List => self.key(1),
            Kind::Set => self.key(2),
            Kind::Hash => self.key(3),
            Kind::Sorted => self.key(4),
            Kind::Key => {
                let family = self.dice.below(FAMILIES.len());
                self.key(family)
            }
            Kind::HyperLogLog => self.key(5),
            Kind::Geo => self.key(6),
            Kind::Stream => self.key(7),
            Kind::Lists | Kind::Sets => return self.keys(kind, line),
            Kind::Many => return line.extend((0..200).map(|n| format!("m{n}").into_bytes())),
            Kind::ManyFields => return many(line, |n| [format!("f{n}"), format!("v{n}")]),
            Kind::ManyScored => return many(line, |n| [format!("{}", n / 3), format!("m{n}")]),
            Kind::FieldItem => {
                line.push(self.field());
                self.item()
            }
            Kind::Scored => {
                line.push(self.float());
                self.item()
            }
            Kind::Item => self.item(),
            Kind::Field => self.field(),
            Kind::Float => self.float(),
            Kind::Index
            | Kind::Count
            | Kind::Draw
            | Kind::Pattern
            | Kind::Ttl
            | Kind::Moment
            | Kind::Integer => self.number(kind),
            Kind::Group
            | Kind::Consumer
            | Kind::Few
            | Kind::Idle
            | Kind::Id
            | Kind::NewId
            | Kind::LastId
            | Kind::IdEnd
            | Kind::IdReach
            | Kind::Entry => return self.streamed(kind, line),
            other => return self.scored(other, line),
        };
        line.push(word);
    }

    /// A key of a family, now and then of another one.
    fn key(&mut self, family: usize) -> Vec<u8> {
        let other = self.dice.percent(8);
        let family = if other { self.dice.below(FAMILIES.len()) } else { family };
        key(FAMILIES[family], 1 + self.dice.below(KEYS))
    }

    fn keys(&mut self, kind: Kind, line: &mut Line) {
        let count = 1 + self.dice.below(3);
        let said = if self.dice.percent(95) { count } else { self.dice.below(6) };
        line.push(said.to_string().into_bytes());
        let family = if kind == Kind::Lists { 1 } else { 2 };
        (0..count).for_each(|_| line.push(self.key(family)));
    }

    fn item(&mut self) -> Vec<u8> {
        match self.dice.below(60) {
            0 => vec![b'x'; 70],
            1 => vec![b'y'; 5000],
            2 => vec![0xff, 0xfe, 0],
            _ => self.dice.one(ITEMS).as_bytes().to_vec(),
        }
    }

    fn field(&mut self) -> Vec<u8> {
        match self.dice.below(20) {
            0 => self.item(),
            number => format!("f{}", number % 6).into_bytes(),
        }
    }

    fn float(&mut self) -> Vec<u8> {
        let floats =
            ["0", "1", "2", "-1", "1.5", "-2.25", "1e3", "inf", "-inf", "3.0", "100000", "abc"];
        // What is no number is rare.
        let most = floats.len() - usize::from(!self.dice.percent(10));
        floats[self.dice.below(most)].as_bytes().to_vec()
    }

    fn number(&mut self, kind: Kind) -> Vec<u8> {
        if self.dice.percent(7) {
            return self.dice.one(HOSTILE).as_bytes().to_vec();
        }
        let word = match kind {
            Kind::Index => {
                self.dice.one(&["0", "1", "2", "-1", "-2", "3", "5", "-4", "100", "-100", "150"])
            }
            Kind::Count => self.dice.one(&["0", "1", "2", "3", "10", "200", "1000"]),
            Kind::Draw => {
                self.dice.one(&["0", "1", "2", "3", "-1", "-3", "-50", "10", "100", "300"])
            }
            Kind::Pattern => self.dice.one(&["*", "?", "m1*", "[a-c]", "f?", "x*y", "\\*", "*t*"]),
            Kind::Ttl => self.dice.one(&["100000", "200000", "0", "-1"]),
            Kind::Moment => self.dice.one(&["33177117420000", "1", "-1", "33177117420"]),
            _ => self.dice.one(&["0", "1", "-1", "5", "100", "-70", "4611686018427387904"]),
        };
        word.as_bytes().to_vec()
    }

    /// Makes a command wrong somewhere. Keys stay, so that all are of one slot.
    fn spoil(&mut self, line: &mut Line) {
        let at = 1 + self.dice.below(line.len());
        let is_key = line.get(at).is_some_and(|word| word.starts_with(b"{t}"));
        let hostile = self.dice.one(HOSTILE).as_bytes().to_vec();
        match (self.dice.below(4), at < line.len()) {
            (0, true) => drop(line.remove(at)),
            (1, true) if !is_key => line[at] = hostile,
            (2, true) if !is_key => line.insert(at, hostile),
            _ => line.push(hostile),
        }
    }
}

fn many(line: &mut Line, pair: impl Fn(usize) -> [String; 2]) {
    line.extend((0..200).flat_map(|number| pair(number).map(String::into_bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_commands_and_another_one_others() {
        let shapes = crate::compat::shapes::all(None).unwrap();
        let lines = round(1, 2, &shapes);
        assert_eq!(lines, round(1, 2, &shapes));
        assert_ne!(lines, round(1, 3, &shapes));
        assert_ne!(lines, round(2, 2, &shapes));
        assert!(lines.len() > COMMANDS && lines.iter().all(|line| !line.is_empty()));
    }
}
