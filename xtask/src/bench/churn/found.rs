//! What a side showed, kept beside the page.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Pace;
use super::mix::KINDS;
use super::side::Memory;
use crate::bench::report::{commit, results};

/// Times of many requests, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Spread {
    /// Of times in microseconds.
    pub fn of(times: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |quantile| ms(times.value_at_quantile(quantile));
        let (p50_ms, p99_ms, p999_ms) = (at(0.5), at(0.99), at(0.999));
        Self { count: times.len(), p50_ms, p99_ms, p999_ms, max_ms: ms(times.max()) }
    }
}

/// One turn of a side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Requests answered per second.
    pub per_second: f64,
    pub times: Spread,
    /// For each second, the longest request that was due in it, in milliseconds.
    pub worst_ms: Vec<f64>,
    /// The longest thing the server did, as it says itself, and what that was.
    pub busy_ms: f64,
    pub busy_with: String,
    pub long_turns: u64,
    /// Processor time of the master per request, in microseconds.
    pub cpu_us: f64,
    /// Requests answered to the client that got fewest.
    pub least: u64,
    /// At the end of the turn.
    pub memory: Memory,
}

/// All that one side showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The last commit that had changed the programs or this bench.
    pub commit: String,
    /// What was asked for: only sides of which the same was asked are compared.
    pub asked: String,
    pub turns: Vec<Turn>,
    pub all: Spread,
    /// By kind of request.
    pub kinds: Vec<Spread>,
    pub errors: BTreeMap<String, u64>,
    pub unanswered: u64,
    /// Clients refused or closed because of a limit.
    pub refused: u64,
    /// Keys that ended in storms, large keys made again, the longest deletion of one.
    pub ended: u64,
    pub remade: u64,
    pub delete_ms: f64,
    /// Before and after, with nothing but what both times is there.
    pub start: Memory,
    pub end: Memory,
    /// Keys that should be there, and those of master and replica at the end.
    pub keys: u64,
    pub keys_end: [u64; 2],
    pub masters_changed: u64,
}

impl Found {
    /// Nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self { commit: commit(), asked: pace.asked(), ..Self::default() }
    }

    /// The longest thing the server did in all turns.
    pub fn busy(&self) -> (f64, &str) {
        let all = self.turns.iter().map(|turn| (turn.busy_ms, turn.busy_with.as_str()));
        all.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default()
    }

    /// Errors that clients saw, and requests without an answer.
    pub fn troubles(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.unanswered
    }

    /// Keys that one of both has too few or too many.
    pub fn different_keys(&self) -> u64 {
        self.keys_end.iter().map(|keys| keys.abs_diff(self.keys)).max().unwrap_or(0)
    }

    /// What master and replica hold at the end, divided by what they held at the start.
    pub fn growth(&self) -> [f64; 2] {
        let by = |end: u64, start: u64| end as f64 / start.max(1) as f64;
        [by(self.end.master, self.start.master), by(self.end.replica, self.start.replica)]
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store(&self, name: &str, quick: bool) -> Result<()> {
        let path = path(name, quick)?;
        let text = serde_json::to_string_pretty(self).context("figures are no JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {path:?}"))?;
        println!("kept: {}", path.display());
        Ok(())
    }

    /// What a run with the same pace kept of a side, if one did.
    pub fn kept(name: &str, pace: Pace) -> Option<Self> {
        let text = std::fs::read_to_string(path(name, pace.quick).ok()?).ok()?;
        let found: Self = serde_json::from_str(&text).ok()?;
        (found.asked == pace.asked() && found.kinds.len() == KINDS.len()).then_some(found)
    }
}

fn path(name: &str, quick: bool) -> Result<PathBuf> {
    Ok(results("churn", quick)?.join(format!("{}.json", name.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_kept() {
        let turn = Turn { busy_ms: 7.0, busy_with: "turn".into(), ..Turn::default() };
        let found = Found {
            turns: vec![Turn { busy_ms: 3.0, ..Turn::default() }, turn],
            errors: [("OOM".to_owned(), 2)].into(),
            unanswered: 1,
            start: Memory { master: 100, replica: 200 },
            end: Memory { master: 150, replica: 100 },
            keys: 10,
            keys_end: [10, 7],
            ..Found::default()
        };
        let text = serde_json::to_string(&found).unwrap();
        let again: Found = serde_json::from_str(&text).unwrap();
        assert_eq!(again, found);
        assert_eq!(again.busy(), (7.0, "turn"));
        assert_eq!((again.troubles(), again.different_keys()), (3, 3));
        assert_eq!(again.growth(), [1.5, 0.5]);
    }
}
