//! Families of commands, which rules name by `@`.

use crate::names::Name;

/// A family of commands, and its bit in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name, without the `@`.
    pub name: &'static str,
    pub(crate) bit: u32,
}

/// The bits of categories, as the table writes them.
pub(crate) mod bits {
    pub const KEYSPACE: u32 = 1;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTED: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;
}

const fn category(name: &'static str, bit: u32) -> Category {
    Category { name, bit }
}

/// All of them, in the order in which ACL CAT tells them.
pub const CATEGORIES: [Category; 21] = [
    category("keyspace", bits::KEYSPACE),
    category("read", bits::READ),
    category("write", bits::WRITE),
    category("set", bits::SET),
    category("sortedset", bits::SORTED),
    category("list", bits::LIST),
    category("hash", bits::HASH),
    category("string", bits::STRING),
    category("bitmap", bits::BITMAP),
    category("hyperloglog", bits::HYPERLOGLOG),
    category("geo", bits::GEO),
    category("stream", bits::STREAM),
    category("pubsub", bits::PUBSUB),
    category("admin", bits::ADMIN),
    category("fast", bits::FAST),
    category("slow", bits::SLOW),
    category("blocking", bits::BLOCKING),
    category("dangerous", bits::DANGEROUS),
    category("connection", bits::CONNECTION),
    category("transaction", bits::TRANSACTION),
    category("scripting", bits::SCRIPTING),
];

impl Category {
    /// The one called `name`, in letters of any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        CATEGORIES.into_iter().find(|known| known.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The commands and subcommands in it, in the order of their names.
    pub fn names(self) -> impl Iterator<Item = Name> {
        Name::all().filter(move |name| name.is_in(self))
    }
}
