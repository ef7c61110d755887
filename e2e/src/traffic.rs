//! Clients at work inside the cluster: a pod that writes and reads until a file says stop, judges
//! what it saw, and prints one line of JSON.
//!
//! It runs through every fault and through the absence of the API server, and is asked only at
//! the end. Times are those of the machine's clock, which all containers of a kind cluster share.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use cairn_harness::checker::check;
use cairn_harness::clock::wait;
use cairn_harness::history::{Operation, Outcome, Recorder};
use cairn_harness::traffic::{Plan, Traffic};
use serde::{Deserialize, Serialize};

/// The file that ends the clients' work.
pub const STOP: &str = "/tmp/stop";
/// Pauses shorter than this are not told.
const GAP_US_MIN: u64 = 50_000;
/// The longest pauses are told, and no more of them: kubelets cut long lines into pieces.
const GAPS_MAX: usize = 100;
/// Violations told in full.
const VIOLATIONS_MAX: usize = 10;
/// Reasons told.
const REASONS_MAX: usize = 8;
/// Nobody is waited for longer than this to read everything back.
const READ_BACK: Duration = Duration::from_secs(60);

/// What the clients did and saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Operations tried.
    pub operations: usize,
    /// Writes that were acknowledged.
    pub acked: usize,
    /// Writes and reads that were refused, or did not get through.
    pub failed: usize,
    /// Writes whose outcome nobody knows.
    pub unknown: usize,
    /// Why operations came to nothing or to nobody knows what, with how often; the most frequent.
    pub reasons: Vec<(usize, String)>,
    /// Reads at masters.
    pub reads: usize,
    /// Reads at replicas.
    pub replica_reads: usize,
    /// Acknowledged writes that are gone.
    pub lost: usize,
    /// What no store may do, in words; the first few.
    pub violations: Vec<String>,
    /// How many there were.
    pub violations_count: usize,
    /// Keys that no master answered for at the end.
    pub unread: usize,
    /// Spans without any acknowledged write, the longest first.
    pub gaps: Vec<Gap>,
    /// When the first and the last write were acknowledged, in microseconds since 1970.
    pub span_us: (u64, u64),
}

/// A span between two acknowledged writes, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last write before it.
    pub from_us: u64,
    /// The first one after it.
    pub until_us: u64,
}

impl Report {
    /// The longest pause that began or ended within these moments.
    pub fn pause_us(&self, from_us: u64, until_us: u64) -> u64 {
        let near = self.gaps.iter().filter(|gap| gap.until_us > from_us && gap.from_us < until_us);
        near.map(|gap| gap.until_us - gap.from_us).max().unwrap_or(0)
    }

    /// Why this is no history of a store that keeps its word; empty if it could be.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.violations.clone();
        if self.unread > 0 {
            faults.push(format!("{} keys could not be read at the end", self.unread));
        }
        if self.acked == 0 {
            faults.push("no write was acknowledged at all".to_owned());
        }
        faults
    }
}

/// Works until [`STOP`] exists, but `limit` at most; prints the report as the last line.
///
/// # Errors
/// If the report cannot be written.
pub fn run(seeds: &[String], seed: u64, limit: Duration) -> Result<()> {
    let mut traffic = Traffic::start(Plan::new(seeds, seed), Recorder::in_memory());
    let origin_us = now_us().saturating_sub(traffic.now_us());
    let rounds = limit.as_millis() / 100;
    for _ in 0..rounds {
        if Path::new(STOP).exists() {
            break;
        }
        wait(Duration::from_millis(100));
    }
    let (history, unread) = traffic.finish(READ_BACK);
    println!("{}", serde_json::to_string(&report(&history, unread, origin_us))?);
    Ok(())
}

fn report(history: &[Operation], unread: usize, origin_us: u64) -> Report {
    let judged = check(history);
    let acknowledged = history.iter().filter(|operation| operation.is_acknowledged_write());
    let mut times: Vec<u64> =
        acknowledged.map(|operation| origin_us + operation.returned_us).collect();
    times.sort_unstable();
    let failed = history.iter().filter(|o| matches!(o.outcome, Outcome::Failed(_))).count();
    let words = judged.violations.iter().take(VIOLATIONS_MAX);
    Report {
        operations: judged.operations,
        acked: judged.acknowledged,
        failed,
        unknown: judged.unknown,
        reasons: reasons(history),
        reads: judged.reads,
        replica_reads: judged.replica_reads,
        lost: judged.lost(),
        violations: words.map(ToString::to_string).collect(),
        violations_count: judged.violations.len(),
        unread,
        gaps: gaps(&times),
        span_us: (
            times.first().copied().unwrap_or_default(),
            times.last().copied().unwrap_or_default(),
        ),
    }
}

/// The longest spans between two of these moments, which are in order.
pub fn gaps(times_us: &[u64]) -> Vec<Gap> {
    let pairs = times_us.windows(2).filter(|pair| pair[1] - pair[0] >= GAP_US_MIN);
    let mut gaps: Vec<Gap> =
        pairs.map(|pair| Gap { from_us: pair[0], until_us: pair[1] }).collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.until_us - gap.from_us));
    gaps.truncate(GAPS_MAX);
    gaps
}

fn reasons(history: &[Operation]) -> Vec<(usize, String)> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for operation in history {
        if let Outcome::Failed(why) | Outcome::Unknown(why) = &operation.outcome {
            *counts.entry(why).or_default() += 1;
        }
    }
    let mut all: Vec<_> = counts.into_iter().map(|(why, count)| (count, why.to_owned())).collect();
    all.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    all.truncate(REASONS_MAX);
    all
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_around_a_fault_is_found() {
        let gap = |from_us, until_us| Gap { from_us, until_us };
        let gaps = vec![gap(100, 150), gap(990, 1_900), gap(5_000, 9_000)];
        let report = Report { gaps, ..Report::default() };
        assert_eq!(report.pause_us(1_000, 3_000), 910);
        assert_eq!(report.pause_us(200, 900), 0);
    }

    #[test]
    fn a_report_without_a_write_is_a_fault() {
        assert_eq!(Report::default().faults().len(), 1);
        let well = Report { acked: 1, ..Report::default() };
        assert!(well.faults().is_empty());
    }
}
