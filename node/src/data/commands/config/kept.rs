//! Settings by which Redis tunes its own layouts and chores: taken, bounded as there, kept until
//! the node restarts and shown, but of no effect, because Cairn chooses these things itself.
//! Programs that set them at their start work unchanged. Pure.

use cairn_resp::number;

/// What a setting may be.
#[derive(Clone, Copy)]
enum Kind {
    /// A whole number between two, both included.
    Number(i64, i64),
    /// A number of bytes, perhaps with a unit, up to a bound.
    Bytes(u64),
    /// `yes` or `no`.
    Switch,
}

/// A setting: its name, an older name or none, its value at the start, what it may be.
struct Setting {
    name: &'static str,
    alias: &'static str,
    first: &'static str,
    kind: Kind,
}

const fn setting(
    name: &'static str,
    alias: &'static str,
    first: &'static str,
    kind: Kind,
) -> Setting {
    Setting { name, alias, first, kind }
}

const MAX: i64 = i64::MAX;
const COUNT: Kind = Kind::Number(0, MAX);
const SIZE: Kind = Kind::Bytes(MAX as u64);
const I32_MIN: i64 = i32::MIN as i64;
const I32_MAX: i64 = i32::MAX as i64;

const SETTINGS: &[Setting] = &[
    setting("activedefrag", "", "no", Kind::Switch),
    setting("activerehashing", "", "yes", Kind::Switch),
    setting("dynamic-hz", "", "yes", Kind::Switch),
    setting("hash-max-listpack-entries", "hash-max-ziplist-entries", "128", COUNT),
    setting("hash-max-listpack-value", "hash-max-ziplist-value", "64", SIZE),
    setting("hll-sparse-max-bytes", "", "3000", SIZE),
    setting("hz", "", "10", Kind::Number(0, I32_MAX)),
    setting("lazyfree-lazy-eviction", "", "yes", Kind::Switch),
    setting("lazyfree-lazy-expire", "", "yes", Kind::Switch),
    setting("lazyfree-lazy-server-del", "", "yes", Kind::Switch),
    setting("lazyfree-lazy-user-del", "", "yes", Kind::Switch),
    setting("lazyfree-lazy-user-flush", "", "yes", Kind::Switch),
    setting("list-compress-depth", "", "0", Kind::Number(0, I32_MAX)),
    setting(
        "list-max-listpack-size",
        "list-max-ziplist-size",
        "-2",
        Kind::Number(I32_MIN, I32_MAX),
    ),
    setting("rdbcompression", "", "yes", Kind::Switch),
    setting("repl-backlog-size", "", "1048576", Kind::Bytes(MAX as u64)),
    setting("set-max-intset-entries", "", "512", COUNT),
    setting("set-max-listpack-entries", "", "128", COUNT),
    setting("set-max-listpack-value", "", "64", COUNT),
    setting("stream-node-max-bytes", "", "4096", SIZE),
    setting("stream-node-max-entries", "", "100", COUNT),
    setting("zset-max-listpack-entries", "zset-max-ziplist-entries", "128", COUNT),
    setting("zset-max-listpack-value", "zset-max-ziplist-value", "64", SIZE),
];

/// The values of all of them.
#[derive(Clone, Debug)]
pub struct Kept(Vec<String>);

impl Default for Kept {
    fn default() -> Self {
        Self(SETTINGS.iter().map(|setting| setting.first.to_owned()).collect())
    }
}

impl Kept {
    /// Takes a value, if the name is one of these; a refusal is the end of an error reply.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Option<Result<(), String>> {
        let is = |setting: &Setting| setting.name == name || setting.alias == name;
        let at = SETTINGS.iter().position(is)?;
        Some(SETTINGS[at].kind.read(value).map(|value| self.0[at] = value))
    }

    /// Each name, older ones too, and its value.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = SETTINGS.iter().zip(&self.0);
        let names = all.flat_map(|(setting, value)| {
            [(setting.name, value.as_str()), (setting.alias, value.as_str())]
        });
        names.filter(|(name, _)| !name.is_empty())
    }
}

impl Kind {
    /// The value as it is shown.
    fn read(self, value: &[u8]) -> Result<String, String> {
        match self {
            Self::Number(least, most) => match number::parse_i64(value) {
                Some(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                Some(_) => Err(format!("argument must be between {least} and {most} inclusive")),
                None => Err("argument couldn't be parsed into an integer".to_owned()),
            },
            Self::Bytes(most) => match super::bytes(value) {
                Some(bytes) if bytes <= most => Ok(bytes.to_string()),
                Some(_) => Err(format!("argument must be between 0 and {most} inclusive")),
                None => Err("argument must be a memory value".to_owned()),
            },
            Self::Switch => match value.to_ascii_lowercase().as_slice() {
                b"yes" => Ok("yes".to_owned()),
                b"no" => Ok("no".to_owned()),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_the_same_value_by_both_of_its_names() {
        let mut kept = Kept::default();
        assert_eq!(kept.set("hash-max-ziplist-entries", b"20"), Some(Ok(())));
        let values = |name| kept.each().filter(move |(it, _)| *it == name).map(|(_, value)| value);
        assert!(values("hash-max-listpack-entries").eq(["20"]));
        assert!(values("hash-max-ziplist-entries").eq(["20"]));
    }

    #[test]
    fn what_a_setting_cannot_be_is_refused_and_leaves_it() {
        let mut kept = Kept::default();
        assert!(kept.set("hz", b"-1").is_some_and(|set| set.is_err()));
        assert!(kept.set("hz", b"ten").is_some_and(|set| set.is_err()));
        assert!(kept.set("activedefrag", b"maybe").is_some_and(|set| set.is_err()));
        assert_eq!(kept.set("zset-max-listpack-value", b"1kb"), Some(Ok(())));
        assert_eq!(kept.set("nothing", b"1"), None);
        assert_eq!(kept.each().filter(|(name, value)| *name == "hz" && *value == "10").count(), 1);
    }
}
