//! What the keyspace has given up and is too large to be freed at once: whoever owns the keyspace
//! lets another thread do it.

use crate::table::Table;
use crate::value::Value;
use cairn_logic::ids::SLOTS;

/// A value that takes less, in bytes, is freed where it is given up.
const BYTES_MIN: usize = 64 << 10;
/// If nobody takes them, what comes above is freed at once.
const COUNT_MAX: usize = SLOTS as usize;

/// Values and tables that nobody needs. Dropping it may take long.
#[derive(Default)]
pub struct Trash {
    values: Vec<Value>,
    tables: Vec<Table<Value>>,
}

impl Trash {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.tables.is_empty()
    }

    /// How many values there are, those of tables among them.
    #[must_use]
    pub fn count(&self) -> u64 {
        let tables: usize = self.tables.iter().map(Table::len).sum();
        (self.values.len() + tables) as u64
    }

    pub(crate) fn value(&mut self, value: Value) {
        // A string is one allocation, however long.
        let slow = !matches!(value, Value::Text(_)) && value.memory_bytes() >= BYTES_MIN;
        if slow && self.values.len() < COUNT_MAX {
            self.values.push(value);
        }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.values.append(&mut other.values);
        self.tables.append(&mut other.tables);
    }

    pub(crate) fn table(&mut self, table: Table<Value>) {
        if table.len() > 0 && self.tables.len() < COUNT_MAX {
            self.tables.push(table);
        }
    }
}

impl std::fmt::Debug for Trash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trash({} values, {} tables)", self.values.len(), self.tables.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hasher;
    use crate::snapshot::Touch;
    use crate::value::hash::Hash;

    fn hash(fields: u32) -> Value {
        let (mut hash, hasher) = (Hash::default(), Hasher::new(1));
        for field in 0..fields {
            hash.set(&mut Touch::nobody(&hasher), &field.to_le_bytes(), b"value");
        }
        Value::Hash(hash)
    }

    #[test]
    fn only_what_is_many_allocations_is_kept() {
        let mut trash = Trash::default();
        trash.value(hash(10));
        trash.value(Value::Text(vec![0; BYTES_MIN]));
        trash.table(Table::default());
        assert!(trash.is_empty());
        trash.value(hash(5000));
        assert_eq!((trash.values.len(), trash.count()), (1, 1));
    }
}
