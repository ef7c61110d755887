//! Values that do not stand with their key: large strings and collections.

pub(crate) mod hash;
pub(crate) mod hyperloglog;
pub(crate) mod list;
pub(crate) mod listpack;
pub(crate) mod packed;
pub(crate) mod set;
pub(crate) mod sorted;
pub(crate) mod stream;

use crate::hash::Hasher;
use crate::snapshot::Touch;
use crate::table::{Never, Table};
use hash::Hash;
use list::{List, Side};
use set::Set;
use sorted::Sorted;
use stream::Stream;

/// Strings up to this many bytes stand in one allocation with their key.
pub const INLINE_MAX: usize = 8 * 1024;

/// A value behind a pointer.
///
/// Dropping one takes time by its size; a caller that minds can move the box to another thread,
/// for nothing here is shared.
pub enum Value {
    /// A string of more than [`INLINE_MAX`] bytes (it may have become shorter since).
    Text(Vec<u8>),
    /// Fields and their values.
    Hash(Hash),
    /// Items in the order they were pushed.
    List(List),
    /// Members.
    Set(Set),
    /// Members in the order of their scores.
    Sorted(Sorted),
    /// Entries in the order of their IDs.
    Stream(Stream),
}

/// A value's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Bytes.
    String,
    /// Fields and values.
    Hash,
    /// Items in order.
    List,
    /// Members.
    Set,
    /// Members with scores.
    Sorted,
    /// Entries with IDs.
    Stream,
}

impl Type {
    /// The text of TYPE.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::Hash => "hash",
            Type::List => "list",
            Type::Set => "set",
            Type::Sorted => "zset",
            Type::Stream => "stream",
        }
    }
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            Value::Text(_) => Type::String,
            Value::Hash(_) => Type::Hash,
            Value::List(_) => Type::List,
            Value::Set(_) => Type::Set,
            Value::Sorted(_) => Type::Sorted,
            Value::Stream(_) => Type::Stream,
        }
    }

    /// The table of its members or fields, if it is large enough to have one.
    #[inline]
    pub fn members(&self) -> Option<&Table<Never>> {
        match self {
            Value::Hash(Hash::Large(table)) | Value::Set(Set::Large(table)) => Some(table),
            Value::Sorted(Sorted::Large(table)) => Some(table.members()),
            _ => None,
        }
    }

    /// The same value once more. Takes time by its size.
    pub fn duplicate(&self, hasher: &Hasher) -> Self {
        let touch = &mut Touch::nobody(hasher);
        match self {
            Value::Text(text) => Value::Text(text.clone()),
            Value::Hash(hash) => {
                let mut copy = Hash::default();
                hash.for_each(|field, value| {
                    copy.set(touch, field, value);
                });
                Value::Hash(copy)
            }
            Value::List(list) => {
                let mut copy = List::default();
                list.iter_from(0).for_each(|item| copy.push(touch, Side::Back, item));
                Value::List(copy)
            }
            Value::Set(set) => {
                let mut copy = Set::default();
                set.for_each(|member| {
                    copy.add(touch, member);
                });
                Value::Set(copy)
            }
            Value::Sorted(sorted) => {
                let mut copy = Sorted::default();
                sorted.for_each(0, sorted.len(), |score, member| {
                    copy.set(touch, member, score);
                });
                Value::Sorted(copy)
            }
            Value::Stream(stream) => Value::Stream(stream.clone()),
        }
    }

    /// What it takes, in bytes; an estimate that is cheap to compute.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Value::Text(text) => text.capacity(),
                Value::Hash(hash) => hash.memory_bytes(),
                Value::List(list) => list.memory_bytes(),
                Value::Set(set) => set.memory_bytes(),
                Value::Sorted(sorted) => sorted.memory_bytes(),
                Value::Stream(stream) => stream.memory_bytes(),
            }
    }
}

/// A collection: what a key holds as long as it has items.
pub(crate) trait Collection: Default {
    /// How many items it has.
    fn len(&self) -> usize;

    /// Whether it is of no use any more without items.
    const ENDS_EMPTY: bool;

    fn of(value: &Value) -> Option<&Self>;

    fn of_mut(value: &mut Value) -> Option<&mut Self>;

    fn into_value(self) -> Value;
}

macro_rules! collection {
    ($name:ident, $ends_empty:literal) => {
        impl Collection for $name {
            const ENDS_EMPTY: bool = $ends_empty;

            fn len(&self) -> usize {
                self.len()
            }

            fn of(value: &Value) -> Option<&Self> {
                if let Value::$name(it) = value { Some(it) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$name(it) = value { Some(it) } else { None }
            }

            fn into_value(self) -> Value {
                Value::$name(self)
            }
        }
    };
}

collection!(Hash, true);
collection!(List, true);
collection!(Set, true);
collection!(Sorted, true);
collection!(Stream, false);
