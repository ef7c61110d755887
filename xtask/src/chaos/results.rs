//! What a campaign found, as lines of JSON that a later run goes on from.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cairn_harness::pauses::Spread;
use serde_json::{Value, json};

/// One fault as it happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    /// The step it belongs to.
    pub step: u64,
    /// Its kind.
    pub kind: String,
    /// Everything about it, in words.
    pub what: String,
    /// Who was hit.
    pub victims: Vec<String>,
    /// When it began, in milliseconds since the campaign did (all its runs together).
    pub at_ms: u64,
    /// How long it lasted, in milliseconds.
    pub time_ms: u64,
    /// The longest pause of writes around it, in milliseconds.
    pub pause_ms: u64,
    /// When the cluster was whole again, in milliseconds after the beginning.
    pub whole_ms: u64,
    /// For how long the machine kept a process waiting at most, in milliseconds.
    pub stall_ms: u64,
}

/// What the clients of one stretch of the campaign saw, and what nodes said meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Operations.
    pub operations: u64,
    /// Acknowledged writes.
    pub acked: u64,
    /// Writes without an answer.
    pub unknown: u64,
    /// Reads answered by replicas.
    pub replica_reads: u64,
    /// Acknowledged writes that are gone.
    pub lost: u64,
    /// Reads that showed what they may not.
    pub stale: u64,
    /// All violations, of histories and of what nodes said.
    pub violations: u64,
    /// Keys that could not be read at the end.
    pub unread: u64,
    /// Masterships that changed hands.
    pub takeovers: u64,
    /// Those that no fault explains.
    pub false_takeovers: u64,
    /// Those that no fault explains while the machine kept processes waiting.
    pub starved: u64,
    /// Acknowledged writes of the directory.
    pub directory_acked: u64,
    /// Leases that were followed from their beginning to their end.
    pub leases: u64,
    /// Locks that were taken.
    pub locks: u64,
    /// Snapshots that were written.
    pub snapshots: u64,
    /// How often the front of a log was given up.
    pub fronts: u64,
    /// Snapshots that were fetched.
    pub fetches: u64,
    /// Snapshots that were set aside.
    pub set_aside: u64,
    /// For how long the machine kept a process waiting at most, in milliseconds.
    pub stall_ms: u64,
}

/// Everything of one seed.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: File,
    /// Faults in their order.
    pub faults: Vec<Happened>,
    /// Stretches in their order.
    pub stretches: Vec<Stretch>,
}

impl Results {
    /// The results in the file `path`: those of earlier runs if `resume`, else none.
    ///
    /// What happened after the last stretch that was closed is left out, and seen again: nobody
    /// judged what clients saw then.
    ///
    /// # Errors
    /// If the file cannot be used, or holds something else.
    pub fn open(path: &Path, resume: bool) -> Result<Self> {
        let mut text = String::new();
        if resume && path.exists() {
            text = std::fs::read_to_string(path).context("cannot read earlier results")?;
        }
        let (mut faults, mut stretches) = (Vec::new(), Vec::new());
        let (mut open, mut judged) = (Vec::new(), 0);
        let mut lines = text.split_inclusive('\n').scan(0, |end, line| {
            *end += line.len();
            Some((*end, line))
        });
        for (end, line) in lines.by_ref() {
            let value: Value = match serde_json::from_str(line) {
                Ok(value) => value,
                // A run that was killed while it wrote.
                Err(_) if end == text.len() => break,
                Err(_) => bail!("{path:?} has a line that is no result: {line}"),
            };
            match value.get("kind") {
                Some(_) => open.push(Happened::of(&value)),
                None => {
                    faults.append(&mut open);
                    stretches.push(Stretch::of(&value));
                    judged = end;
                }
            }
        }
        text.truncate(judged);
        std::fs::write(path, &text).with_context(|| format!("cannot write {path:?}"))?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("cannot open {path:?}"))?;
        Ok(Self { path: path.to_owned(), file, faults, stretches })
    }

    /// The number of the first step that is not done.
    pub fn next_step(&self) -> u64 {
        self.faults.iter().map(|fault| fault.step + 1).max().unwrap_or(0)
    }

    /// Where the clock of the campaign stands, in milliseconds.
    pub fn end_ms(&self) -> u64 {
        self.faults.iter().map(|fault| fault.at_ms + fault.whole_ms).max().unwrap_or(0)
    }

    /// Adds a fault.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, fault: Happened) -> Result<()> {
        self.write(&fault.json())?;
        self.faults.push(fault);
        Ok(())
    }

    /// Adds a stretch.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn close_stretch(&mut self, stretch: Stretch) -> Result<()> {
        self.write(&stretch.json())?;
        self.stretches.push(stretch);
        Ok(())
    }

    fn write(&mut self, value: &Value) -> Result<()> {
        writeln!(self.file, "{value}").with_context(|| format!("cannot write {:?}", self.path))
    }

    /// All stretches together.
    pub fn total(&self) -> Stretch {
        let sum = |of: fn(&Stretch) -> u64| self.stretches.iter().map(of).sum();
        Stretch {
            operations: sum(|s| s.operations),
            acked: sum(|s| s.acked),
            unknown: sum(|s| s.unknown),
            replica_reads: sum(|s| s.replica_reads),
            lost: sum(|s| s.lost),
            stale: sum(|s| s.stale),
            violations: sum(|s| s.violations),
            unread: sum(|s| s.unread),
            takeovers: sum(|s| s.takeovers),
            false_takeovers: sum(|s| s.false_takeovers),
            starved: sum(|s| s.starved),
            directory_acked: sum(|s| s.directory_acked),
            leases: sum(|s| s.leases),
            locks: sum(|s| s.locks),
            snapshots: sum(|s| s.snapshots),
            fronts: sum(|s| s.fronts),
            fetches: sum(|s| s.fetches),
            set_aside: sum(|s| s.set_aside),
            stall_ms: self.stretches.iter().map(|s| s.stall_ms).max().unwrap_or(0),
        }
    }

    /// Pauses by kind of fault.
    pub fn by_kind(&self) -> BTreeMap<&str, Spread> {
        let mut pauses: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for fault in &self.faults {
            pauses.entry(&fault.kind).or_default().push(fault.pause_ms * 1000);
        }
        pauses.into_iter().map(|(kind, all)| (kind, Spread::of(all))).collect()
    }

    /// Pauses of all faults.
    pub fn pauses(&self) -> Spread {
        Spread::of(self.faults.iter().map(|fault| fault.pause_ms * 1000).collect())
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Happened {
    fn json(&self) -> Value {
        json!({
            "kind": self.kind, "step": self.step, "what": self.what, "victims": self.victims,
            "at_ms": self.at_ms, "time_ms": self.time_ms, "pause_ms": self.pause_ms,
            "whole_ms": self.whole_ms, "stall_ms": self.stall_ms,
        })
    }

    fn of(value: &Value) -> Self {
        let victims = value.get("victims").and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            step: number(value, "step"),
            kind: text(value, "kind"),
            what: text(value, "what"),
            victims: victims.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            at_ms: number(value, "at_ms"),
            time_ms: number(value, "time_ms"),
            pause_ms: number(value, "pause_ms"),
            whole_ms: number(value, "whole_ms"),
            stall_ms: number(value, "stall_ms"),
        }
    }
}

impl Stretch {
    fn json(&self) -> Value {
        json!({
            "operations": self.operations, "acked": self.acked, "unknown": self.unknown,
            "replica_reads": self.replica_reads, "lost": self.lost, "stale": self.stale,
            "violations": self.violations, "unread": self.unread, "takeovers": self.takeovers,
            "false_takeovers": self.false_takeovers, "starved": self.starved,
            "directory_acked": self.directory_acked, "leases": self.leases, "locks": self.locks,
            "snapshots": self.snapshots, "fronts": self.fronts, "fetches": self.fetches,
            "set_aside": self.set_aside, "stall_ms": self.stall_ms,
        })
    }

    fn of(value: &Value) -> Self {
        Self {
            operations: number(value, "operations"),
            acked: number(value, "acked"),
            unknown: number(value, "unknown"),
            replica_reads: number(value, "replica_reads"),
            lost: number(value, "lost"),
            stale: number(value, "stale"),
            violations: number(value, "violations"),
            unread: number(value, "unread"),
            takeovers: number(value, "takeovers"),
            false_takeovers: number(value, "false_takeovers"),
            starved: number(value, "starved"),
            directory_acked: number(value, "directory_acked"),
            leases: number(value, "leases"),
            locks: number(value, "locks"),
            snapshots: number(value, "snapshots"),
            fronts: number(value, "fronts"),
            fetches: number(value, "fetches"),
            set_aside: number(value, "set_aside"),
            stall_ms: number(value, "stall_ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(step: u64, pause_ms: u64) -> Happened {
        let kind = "kill master".to_owned();
        let victims = vec!["orders-0-1".to_owned()];
        Happened { step, kind, victims, at_ms: 100, pause_ms, whole_ms: 900, ..Happened::default() }
    }

    #[test]
    fn a_later_run_goes_on_where_the_earlier_one_ended() {
        let path = std::env::temp_dir().join(format!("chaos-{}.jsonl", std::process::id()));
        let stretch = Stretch { acked: 7, lost: 1, ..Stretch::default() };
        {
            let mut results = Results::open(&path, false).unwrap();
            results.add(fault(4, 30)).unwrap();
            results.add(fault(4, 50)).unwrap();
            results.close_stretch(stretch).unwrap();
        }
        let mut results = Results::open(&path, true).unwrap();
        assert_eq!(results.faults, [fault(4, 30), fault(4, 50)]);
        assert_eq!((results.next_step(), results.end_ms()), (5, 1000));
        results.close_stretch(stretch).unwrap();
        let results = Results::open(&path, true).unwrap();
        assert_eq!((results.total().acked, results.total().lost), (14, 2));
        assert_eq!(results.by_kind()["kill master"].max_us, 50_000);
        let whole = std::fs::read_to_string(&path).unwrap();
        for torn in [format!("{}\n", fault(5, 40).json()), "{\"kind\": \"ki".to_owned()] {
            std::fs::write(&path, format!("{whole}{torn}")).unwrap();
            let results = Results::open(&path, true).unwrap();
            assert_eq!((results.next_step(), results.faults.len()), (5, 2), "nobody judged it");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        }
        std::fs::write(&path, format!("no result\n{whole}")).unwrap();
        assert!(Results::open(&path, true).is_err());
        let none = Results::open(&path, false).unwrap();
        assert_eq!((none.faults.len(), none.next_step()), (0, 0));
        drop(std::fs::remove_file(&path));
    }
}
