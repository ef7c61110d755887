//! Values that do not stand with their key: large strings and collections.

/// Strings up to this many bytes stand in one allocation with their key.
pub const INLINE_MAX: usize = 8 * 1024;

/// A value behind a pointer.
pub enum Value {
    /// A string of more than [`INLINE_MAX`] bytes.
    Text(Vec<u8>),
}

/// The name of a value's type, as TYPE tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Bytes.
    String,
}

impl Type {
    /// The text of TYPE.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
        }
    }
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            Value::Text(_) => Type::String,
        }
    }

    /// What it takes, in bytes; an estimate that is cheap to compute.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Value::Text(text) => text.capacity(),
            }
    }
}
