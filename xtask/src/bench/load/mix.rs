//! What the connections of a load send.

use super::Load;

/// Digits that are drawn anew, in every key, field, member and score.
pub const KEY_DIGITS: usize = 12;

/// What each connection sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// `GET` only.
    Get,
    /// `SET` only.
    Set,
    /// `GET` and `SET` by turns.
    GetSet,
    /// `SET`, and one `WAIT 1` at the end of each batch.
    SetWait,
    /// `SET` of keys that are all in one slot.
    SlotSet,
    /// `HSET`, all in one hash.
    #[value(name = "hset")]
    HashSet,
    /// `ZADD`, all in one sorted set, with drawn scores.
    #[value(name = "zadd")]
    ZAdd,
    /// `LPUSH`, all to one list.
    #[value(name = "lpush")]
    LPush,
    /// `SADD`, all to one set.
    #[value(name = "sadd")]
    SAdd,
    /// `INCR`.
    Incr,
}

impl Mix {
    /// The commands whose calls a server counts for it, as `INFO commandstats` names them.
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["get"],
            Self::Set | Self::SetWait | Self::SlotSet => &["set"],
            Self::GetSet => &["get", "set"],
            Self::HashSet => &["hset"],
            Self::ZAdd => &["zadd"],
            Self::LPush => &["lpush"],
            Self::SAdd => &["sadd"],
            Self::Incr => &["incr"],
        }
    }

    /// The one key that grows under it, if there is one.
    pub fn collection(self) -> Option<&'static str> {
        match self {
            Self::HashSet => Some("hash"),
            Self::ZAdd => Some("zset"),
            Self::LPush => Some("list"),
            Self::SAdd => Some("set"),
            _ => None,
        }
    }

    /// The words of the `number`th command; `#` stands for drawn digits, `=` for the value.
    fn words(self, number: usize) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "key:#"],
            Self::GetSet if number.is_multiple_of(2) => &["GET", "key:#"],
            Self::Set | Self::SetWait | Self::GetSet => &["SET", "key:#", "="],
            Self::SlotSet => &["SET", "{s}:#", "="],
            Self::HashSet => &["HSET", "hash", "key:#", "="],
            Self::ZAdd => &["ZADD", "zset", "#", "key:#"],
            Self::LPush => &["LPUSH", "list", "="],
            Self::SAdd => &["SADD", "set", "key:#"],
            Self::Incr => &["INCR", "sum:#"],
        }
    }
}

/// The bytes of one batch, and where its drawn digits are.
pub fn template(load: &Load) -> (Vec<u8>, Vec<usize>) {
    let mut batch = Vec::new();
    let mut drawn = Vec::new();
    let value = "x".repeat(load.value_bytes);
    for number in 0..load.pipeline {
        let words = load.mix.words(number);
        batch.extend(format!("*{}\r\n", words.len()).as_bytes());
        for &word in words {
            put(word, &value, &mut batch, &mut drawn);
        }
    }
    if load.mix == Mix::SetWait {
        batch.extend(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n");
    }
    (batch, drawn)
}

fn put(word: &str, value: &str, batch: &mut Vec<u8>, drawn: &mut Vec<usize>) {
    let digits = "0".repeat(KEY_DIGITS);
    let text = match word.strip_suffix('#') {
        Some(head) => format!("{head}{digits}"),
        None if word == "=" => value.to_owned(),
        None => word.to_owned(),
    };
    batch.extend(format!("${}\r\n{text}", text.len()).as_bytes());
    if word.ends_with('#') {
        drawn.push(batch.len() - KEY_DIGITS);
    }
    batch.extend(b"\r\n");
}
