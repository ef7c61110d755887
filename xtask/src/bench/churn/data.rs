//! What both sides hold: many small keys, and a few that are large.

use std::time::Duration;

use anyhow::{Result, bail};
use cairn_harness::client::{Connection, Frame, encode};
use cairn_harness::dice::Dice;

/// Large keys of each kind.
pub const LARGE_EACH: u64 = 4;
/// Fields of a hash, members of a sorted set, elements of a list.
pub const PARTS: u64 = 100_000;
/// Entries of a stream, which is trimmed to about as many.
pub const ENTRIES: u64 = 20_000;
/// A long string.
pub const TEXT_BYTES: usize = 8 << 20;
/// Counters, and tags of keys that scripts and transactions change together.
pub const COUNTERS: u64 = 10_000;
pub const TAGS: u64 = 1000;
/// Sizes of small values: as many of 16 to 32 B as of 512 to 1024.
const SMALL_BYTES: (u64, u32) = (16, 6);
/// Sizes of parts of large keys: 16 to 64 B.
const PART_BYTES: (u64, u32) = (16, 2);
/// Parts of a large key that are made by one command.
const CHUNK: u64 = 1000;
/// Commands sent in one piece.
const PIECE: u64 = 500;
/// For one piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that waits for its answers.
///
/// # Errors
/// If the server is not to be reached.
pub fn connect(address: &str) -> Result<Connection> {
    Ok(Connection::open(address, PATIENCE, PATIENCE)?)
}

/// The kinds of large keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hash,
    Scored,
    List,
    Text,
    Stream,
}

/// All kinds.
pub const KINDS: [Kind; 5] = [Kind::Hash, Kind::Scored, Kind::List, Kind::Text, Kind::Stream];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Scored => "scored",
            Self::List => "list",
            Self::Text => "text",
            Self::Stream => "stream",
        }
    }
}

/// A large key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Large {
    pub kind: Kind,
    pub number: u64,
}

impl Large {
    /// All of them, those of one kind apart from one another.
    pub fn all() -> Vec<Self> {
        let of = |number| KINDS.map(|kind| Self { kind, number });
        (0..LARGE_EACH).flat_map(of).collect()
    }

    /// Its name.
    pub fn name(self) -> String {
        format!("large:{}:{}", self.kind.word(), self.number)
    }

    /// In how many pieces it is made.
    pub fn pieces(self) -> u64 {
        match self.kind {
            Kind::Text => 1,
            Kind::Stream => ENTRIES / CHUNK,
            _ => PARTS / CHUNK,
        }
    }

    /// Makes one piece of it.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn make(self, connection: &mut Connection, piece: u64) -> Result<()> {
        let name = self.name().into_bytes();
        let mut dice = Dice::new(self.number * PARTS + piece);
        let verb: &[u8] = match self.kind {
            Kind::Hash => b"HSET",
            Kind::Scored => b"ZADD",
            Kind::List => b"RPUSH",
            Kind::Text => b"SET",
            Kind::Stream => b"XADD",
        };
        let head = [verb.to_vec(), name];
        let numbers = piece * CHUNK..(piece + 1) * CHUNK;
        let commands: Vec<Vec<Vec<u8>>> = match self.kind {
            Kind::Text => vec![[&head[..], &[vec![b'x'; TEXT_BYTES]]].concat()],
            Kind::Stream => numbers
                .map(|_| [&head[..], &[b"*".to_vec(), b"f".to_vec(), part(&mut dice)]].concat())
                .collect(),
            kind => {
                let parts = numbers.flat_map(|number| match kind {
                    Kind::Hash => vec![field(number), part(&mut dice)],
                    Kind::Scored => vec![score(&mut dice), field(number)],
                    _ => vec![part(&mut dice)],
                });
                vec![head.iter().cloned().chain(parts).collect()]
            }
        };
        send(connection, &commands)
    }
}

/// The name of a hash's field, or of a sorted set's member.
pub fn field(number: u64) -> Vec<u8> {
    format!("part:{number:06}").into_bytes()
}

/// The score of a member.
pub fn score(dice: &mut Dice) -> Vec<u8> {
    dice.below(1_000_000).to_string().into_bytes()
}

/// A value of a small key.
pub fn value(dice: &mut Dice) -> Vec<u8> {
    drawn(dice, SMALL_BYTES)
}

/// A value of a field, an element or an entry.
pub fn part(dice: &mut Dice) -> Vec<u8> {
    drawn(dice, PART_BYTES)
}

fn drawn(dice: &mut Dice, (least, doublings): (u64, u32)) -> Vec<u8> {
    let from = least << dice.below(u64::from(doublings));
    vec![b'v'; (from + dice.below(from)) as usize]
}

/// The name of a small key.
pub fn key(number: u64) -> Vec<u8> {
    format!("key:{number:09}").into_bytes()
}

/// The name of a counter.
pub fn counter(number: u64) -> Vec<u8> {
    format!("count:{number:05}").into_bytes()
}

/// The names of two keys that are in one slot.
pub fn pair(number: u64) -> [Vec<u8>; 2] {
    ["a", "b"].map(|end| format!("pair:{{{number:04}}}:{end}").into_bytes())
}

/// Sends commands in one piece, none of which may be refused.
///
/// # Errors
/// If one is.
pub fn send(connection: &mut Connection, commands: &[Vec<Vec<u8>>]) -> Result<()> {
    let parts: Vec<Vec<&[u8]>> =
        commands.iter().map(|command| command.iter().map(Vec::as_slice).collect()).collect();
    let parts: Vec<&[&[u8]]> = parts.iter().map(Vec::as_slice).collect();
    for answer in connection.call_all(&parts)? {
        if let Frame::Error(error) = answer {
            let verb = commands.first().and_then(|command| command.first());
            bail!("{}: {error}", String::from_utf8_lossy(verb.map_or(b"", |verb| verb)));
        }
    }
    Ok(())
}

/// Writes everything once.
///
/// # Errors
/// If the server refuses something.
pub fn fill(address: &str, keys: u64) -> Result<()> {
    let mut connection = connect(address)?;
    let mut dice = Dice::new(0);
    let zero = |name: Vec<u8>| vec![b"SET".to_vec(), name, b"0".to_vec()];
    let small = (0..keys).map(|number| (key(number), true));
    let counters = (0..COUNTERS).map(|number| (counter(number), false));
    let pairs = (0..TAGS).flat_map(pair).map(|name| (name, false));
    let mut commands = Vec::new();
    for (name, valued) in small.chain(counters).chain(pairs) {
        commands.push(match valued {
            true => vec![b"SET".to_vec(), name, value(&mut dice)],
            false => zero(name),
        });
        if commands.len() as u64 == PIECE {
            send(&mut connection, &commands)?;
            commands.clear();
        }
    }
    send(&mut connection, &commands)?;
    for large in Large::all() {
        for piece in 0..large.pieces() {
            large.make(&mut connection, piece)?;
        }
    }
    Ok(())
}

/// How many keys [`fill`] writes.
pub fn keys_in_all(keys: u64) -> u64 {
    keys + COUNTERS + 2 * TAGS + LARGE_EACH * KINDS.len() as u64
}

/// Appends a command to what is about to be sent.
pub fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    encode(parts, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_large_as_said() {
        let mut dice = Dice::new(1);
        let sizes: Vec<usize> = (0..10_000).map(|_| value(&mut dice).len()).collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!((16..20).contains(least) && (1000..1024).contains(most), "{least} {most}");
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((220..280).contains(&mean), "{mean}");
    }

    #[test]
    fn large_keys_have_names_of_their_own() {
        let names: std::collections::BTreeSet<String> =
            Large::all().into_iter().map(Large::name).collect();
        assert_eq!(names.len() as u64, LARGE_EACH * 5);
        assert_eq!(keys_in_all(5), 5 + 10_000 + 2000 + 20);
        assert_eq!(key(7).len(), key(999_999).len());
    }
}
