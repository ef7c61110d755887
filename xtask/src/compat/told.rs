//! The events of a command, as `notify-keyspace-events` asks for them.

use cairn_resp::Reply;

use super::Line;

/// The events of one command, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told(Vec<(String, Vec<u8>)>);

impl Told {
    /// All that there are.
    pub const CLASSES: &[u8] = b"EAmn";

    /// Each with its key.
    pub fn new(events: impl Iterator<Item = (String, Vec<u8>)>) -> Self {
        Self(events.collect())
    }

    /// Those that say the same on both sides: each side finds out for itself when a key's time is
    /// over, and keys that SORT looks up by a pattern are no misses here.
    fn plain(&self, line: &Line) -> Vec<&(String, Vec<u8>)> {
        let sorts = line.first().is_some_and(|name| name.to_ascii_lowercase().starts_with(b"sort"));
        let told = |name: &str| name != "expired" && (name != "keymiss" || !sorts);
        self.0.iter().filter(|(name, _)| told(name)).collect()
    }

    /// Whether a command has had these events on both sides.
    pub fn same(&self, other: &Self, line: &Line) -> bool {
        self.plain(line) == other.plain(line)
    }

    /// The names with their keys, to be shown.
    pub fn shown(&self) -> Reply {
        let item = |(name, key): &(String, Vec<u8>)| {
            Reply::Bulk([name.as_bytes(), b" ", key.as_slice()].concat())
        };
        Reply::Array(self.0.iter().map(item).collect())
    }
}
