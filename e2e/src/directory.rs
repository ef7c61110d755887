//! A client of the directory at work: a pod that writes with etcdctl until a file says stop, reads
//! all of it back, and prints the same line as the clients of a keyspace.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use cairn_harness::clock::{wait, wait_until};

use crate::kubectl::answer;
use crate::traffic::{Report, STOP, gaps, now_us};

/// Where it writes, each time another key.
const PREFIX: &str = "/e2e/clock/";
/// How long one write may take; a client that waits longer would hide that others are answered.
const PATIENCE: &str = "1s";
const REST: Duration = Duration::from_millis(100);
/// How long the directory may refuse to be read at the end.
const READ_BACK: Duration = Duration::from_secs(60);

/// Works until [`STOP`] exists, but `limit` at most; prints a [`Report`] as the last line.
///
/// # Errors
/// If there is no etcdctl.
pub fn run(endpoints: &str, limit: Duration) -> Result<()> {
    let began = Instant::now();
    let (mut tried, mut acked, mut times) = (0_usize, Vec::new(), Vec::new());
    while !Path::new(STOP).exists() && began.elapsed() < limit {
        tried += 1;
        let key = format!("{PREFIX}{tried}");
        if ask(endpoints, &["put", &key, "x"])?.is_some() {
            acked.push(key);
            times.push(now_us());
        }
        wait(REST);
    }
    let mut there = None;
    wait_until(READ_BACK, Duration::from_secs(1), || {
        let listed = ask(endpoints, &["get", "--prefix", "--keys-only", PREFIX]);
        there = listed.ok().flatten();
        there.is_some()
    });
    let listed = there.as_deref().unwrap_or_default();
    println!("{}", serde_json::to_string(&report(tried, &acked, &times, listed))?);
    Ok(())
}

fn report(tried: usize, acked: &[String], times: &[u64], listed: &str) -> Report {
    let listed: BTreeSet<&str> = listed.lines().collect();
    let lost: Vec<&String> = acked.iter().filter(|key| !listed.contains(key.as_str())).collect();
    let first =
        lost.first().map(|key| format!("{} acknowledged keys, the first {key}", lost.len()));
    Report {
        operations: tried,
        acked: acked.len(),
        unknown: tried - acked.len(),
        lost: lost.len(),
        violations: first.map(|what| format!("the directory lost {what}")).into_iter().collect(),
        violations_count: usize::from(!lost.is_empty()),
        gaps: gaps(times),
        span_us: (*times.first().unwrap_or(&0), *times.last().unwrap_or(&0)),
        ..Report::default()
    }
}

fn ask(endpoints: &str, arguments: &[&str]) -> Result<Option<String>> {
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.args(["--endpoints", endpoints, "--command-timeout", PATIENCE]);
    etcdctl.args(["--dial-timeout", PATIENCE]).args(arguments);
    let answer = answer(&mut etcdctl, "")?;
    Ok(answer.succeeded.then_some(answer.output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_acknowledged_and_is_gone_is_lost() {
        let acked = ["/e2e/clock/1".to_owned(), "/e2e/clock/12".to_owned()];
        let times = [1_000_000, 3_000_000];
        let well = report(3, &acked, &times, "/e2e/clock/1\n\n/e2e/clock/12\n");
        assert_eq!((well.lost, well.unknown), (0, 1));
        assert_eq!(well.pause_us(0, 5_000_000), 2_000_000);
        assert!(well.faults().is_empty());
        let badly = report(3, &acked, &times, "/e2e/clock/12\n");
        assert_eq!(badly.lost, 1);
        assert_eq!(badly.faults().len(), 1);
    }
}
