//! What is measured, and results of the parts, kept so that a run can go on where one broke off.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Pace;
use crate::bench::report::{Row, commit, made, results};
use crate::product;

/// Key, what it is, whether more is better.
const ROWS: [(&str, &str, bool); 31] = [
    ("s1_stall", "S1 longest write during a snapshot: ms", false),
    ("s1_p999", "S1 p99.9 of writes during a snapshot: ms", false),
    ("s1_worse", "S1 that p99.9 by the one without a snapshot", false),
    ("s1_memory", "S1 memory more during a snapshot: % of it", false),
    ("s2", "S2 snapshot written under load: keys/s", true),
    ("s3", "S3 snapshot loaded at a start: keys/s", true),
    ("f1", "F1 new member follows its master after: s", false),
    ("f1_stall", "F1 longest write meanwhile: ms", false),
    ("f2_short", "F2 member away shortly, then follows: s", false),
    ("f2", "F2 member away for long, then follows: s", false),
    ("f2_full_load", "F2 shortly, under full load: s", false),
    ("g6_added", "G6 p99.9 of writes added by a snapshot: ms", false),
    ("g6_p999", "G6 p99.9 of writes during a snapshot: ms", false),
    ("g6_stall", "G6 longest write during a snapshot: ms", false),
    ("g6_rate", "G6 snapshot made under load: keys/s", true),
    ("g6_taken", "G6 processor time the host took meanwhile: %", false),
    ("g7", "G7 cold start, by keys: keys/s", true),
    ("g7_gb", "G7 cold start, by files: s per GB", false),
    ("hash_stall", "big hash: longest write during a snapshot: ms", false),
    ("hash_copy", "big hash: new member follows after: s", false),
    ("hash_copy_stall", "big hash: longest write meanwhile: ms", false),
    ("hash_again", "big hash: killed member follows again after: s", false),
    ("hash_again_stall", "big hash: longest write meanwhile: ms", false),
    ("hash_load", "big hash: start from the snapshot: s", false),
    ("slot_stall", "big slot: longest write during a snapshot: ms", false),
    ("slot_copy", "big slot: new member follows after: s", false),
    ("slot_copy_stall", "big slot: longest write meanwhile: ms", false),
    ("slot_again", "big slot: killed member follows again after: s", false),
    ("slot_again_stall", "big slot: longest write meanwhile: ms", false),
    ("slot_load", "big slot: start from the snapshot: s", false),
    ("g7_whole", "G7 all processes started at once, until a write: s", false),
];

/// The row with this key, without figures.
///
/// # Panics
/// If there is none.
pub fn row(key: &str) -> Row {
    let found = ROWS.iter().find(|row| row.0 == key);
    let (key, what, more_is_better) = found.unwrap_or_else(|| panic!("no row {key}"));
    Row::new(key, what, *more_is_better)
}

/// What one part found.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    /// The last one that had changed the programs or this bench.
    pub commit: String,
    pub rows: Vec<Row>,
    /// For the page, below the table.
    pub notes: String,
    /// Of members that came back: how many fetched a whole copy.
    pub whole_copies: usize,
}

/// Where a run keeps what it needs to go on.
///
/// # Errors
/// If the folder cannot be made.
pub fn folder(quick: bool) -> Result<PathBuf> {
    let name = if quick { "checkpoint-quick" } else { "checkpoint" };
    made(product::target_folder().join("bench").join(name))
}

impl Part {
    /// A part that has found nothing yet.
    pub fn new(name: &'static str, keys: &[&str]) -> Self {
        let rows = keys.iter().map(|key| row(key)).collect();
        Self { name, commit: commit(), rows, notes: String::new(), whole_copies: 0 }
    }

    /// Whom it is compared with.
    pub fn peer(&self) -> &'static str {
        if self.name == "g" { "etcd" } else { "Valkey" }
    }

    /// Adds a pair of figures to a row: the peer's and ours.
    ///
    /// # Panics
    /// If the part has no such row.
    pub fn add(&mut self, key: &str, peer: f64, ours: f64) {
        let row = self.rows.iter_mut().find(|row| row.key == key);
        row.unwrap_or_else(|| panic!("no row {key}")).pairs.push((peer, ours));
    }

    /// How many pairs each of its rows has.
    pub fn pairs(&self) -> usize {
        self.rows.iter().map(|row| row.pairs.len()).min().unwrap_or(0)
    }

    /// Whether it is not broken off in the middle; of the others only whole ones are kept.
    pub fn is_whole(&self, pace: Pace) -> bool {
        self.name != "g" || self.pairs() >= pace.pairs
    }

    fn json(&self, keys: u64) -> Value {
        let rows = self.rows.iter().map(|row| json!({"key": row.key, "pairs": row.pairs}));
        json!({
            "commit": self.commit, "keys": keys, "notes": self.notes,
            "wholeCopies": self.whole_copies, "rows": rows.collect::<Vec<_>>(),
        })
    }

    fn of(name: &'static str, value: &Value) -> Option<Self> {
        let rows = value["rows"].as_array()?.iter().map(|row| {
            let key = row["key"].as_str()?;
            let known = ROWS.iter().find(|known| known.0 == key)?;
            let mut made = Row::new(known.0, known.1, known.2);
            for pair in row["pairs"].as_array()? {
                made.pairs.push((pair[0].as_f64()?, pair[1].as_f64()?));
            }
            Some(made)
        });
        let notes = value["notes"].as_str()?.to_owned();
        let copies = value["wholeCopies"].as_u64()?;
        let whole_copies = usize::try_from(copies).ok()?;
        let commit = value["commit"].as_str()?.to_owned();
        Some(Self { name, commit, rows: rows.collect::<Option<_>>()?, notes, whole_copies })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store(&self, pace: Pace) -> Result<()> {
        let path = results("checkpoint", pace.quick)?.join(format!("{}.json", self.name));
        std::fs::write(&path, format!("{:#}\n", self.json(pace.keys)))
            .with_context(|| format!("cannot write {path:?}"))
    }

    /// What an earlier run found with as many keys, if one did.
    pub fn kept(name: &'static str, pace: Pace) -> Option<Self> {
        let path = results("checkpoint", pace.quick).ok()?.join(format!("{name}.json"));
        let value: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        (value["keys"] == pace.keys).then(|| Self::of(name, &value)).flatten()
    }

    /// Whether the programs and this bench are what they were then.
    pub fn is_current(&self) -> bool {
        self.commit == commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_kept() {
        let mut part = Part::new("f1", &["f1", "f1_stall"]);
        part.add("f1", 15.5, 6.25);
        part.add("f1_stall", 60.0, 4.0);
        (part.notes, part.whole_copies) = ("a note".into(), 3);
        let again = Part::of("f1", &part.json(5)).unwrap();
        assert_eq!(again.rows[0].pairs, [(15.5, 6.25)]);
        assert_eq!((again.rows[1].key, again.notes.as_str()), ("f1_stall", "a note"));
        assert_eq!(again.whole_copies, 3);
        assert!(Part::of("f1", &json!({"rows": [{"key": "unknown", "pairs": []}]})).is_none());
    }

    #[test]
    fn keys_are_there_once() {
        let keys: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.0).collect();
        assert_eq!(keys.len(), ROWS.len());
    }
}
