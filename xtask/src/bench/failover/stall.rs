//! G3: the global master's disk does not flush for ten seconds while it takes many updates.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::clock::wait;
use cairn_harness::cluster::Cluster;

use super::page::Section;
use super::side::wait_whole;
use crate::chaos::layer;
use crate::run::{command, read};
use crate::verdict::Verdict;
use crate::{product, setup};

/// How long flushes do not return; each load lasts as long.
const STALL: Duration = Duration::from_secs(10);
/// Updates per transaction.
const BATCH: usize = 32;
/// What the target asks for, in updates per second.
const RATE: usize = 20_000;
/// A machine that bears less than this part of a rate is measured at half of it.
const BORNE: f64 = 0.95;
/// Nothing less is measured.
const RATE_MIN: usize = 1000;
/// Shorter than the stall: a lease that nobody hears of for the whole stall is lost.
const LEASE_SECONDS: &str = "5";
const LEASED_KEY: &str = "/bench/leased";
const QUIET: Duration = Duration::from_secs(3);

/// What one load showed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    errors: usize,
}

/// Pairs of quiet and stalled loads; what is for the page, and the verdict.
///
/// # Errors
/// If the cluster does not start, or a load fails.
pub fn run(programs: &Path, pairs: usize) -> Result<(Section, Verdict)> {
    let tools = setup::etcd_folder()?;
    let (cluster, faults) = start(programs)?;
    let rate = bearable(&tools, &cluster)?;
    let (mut seen, mut changed, mut lost_leases) = (Vec::new(), 0, 0);
    for pair in 0..pairs {
        wait(QUIET);
        let quiet = load(&tools, &master(&cluster)?.1, rate, STALL)?;
        // What a machine that is too busy does to a quiet load is not the stall's doing.
        let (master, endpoint) = master(&cluster)?;
        let before = masters(&cluster)?;
        let lease = Lease::take(&tools, &endpoint)?;
        layer::set(&faults, &master, "flush stall\n")?;
        // What is ordered holds from the layer's next look on, 20 ms later.
        wait(Duration::from_millis(50));
        let stalled = load(&tools, &endpoint, rate, STALL);
        layer::set(&faults, &master, "")?;
        let stalled = stalled?;
        wait(QUIET);
        println!("G3 pair {}: quiet {quiet:?}, stalled {stalled:?}", pair + 1);
        changed += usize::from(masters(&cluster)? != before);
        lost_leases += usize::from(!lease.is_alive()?);
        seen.push((quiet, stalled));
    }
    let ratio = median(seen.iter().map(|(quiet, stalled)| stalled.p99_ms / quiet.p99_ms));
    let p99s = |pick: fn(&(Seen, Seen)) -> f64| median(seen.iter().map(pick));
    let (quiet_p99, stalled_p99) = (p99s(|pair| pair.0.p99_ms), p99s(|pair| pair.1.p99_ms));
    let verdict = Verdict::new("bench-failover-g3")
        .count("pairs", pairs)
        .count("updates_per_second", rate)
        .figure("quiet_p99_ms", quiet_p99)
        .figure("stalled_p99_ms", stalled_p99)
        .figure("p99_ratio", ratio)
        .count("errors", seen.iter().map(|(_, stalled)| stalled.errors).sum())
        .count("quiet_errors", seen.iter().map(|(quiet, _)| quiet.errors).sum())
        .count("changed_masters", changed)
        .count("lost_leases", lost_leases);
    Ok((section(&seen, rate, (changed, lost_leases)), verdict))
}

fn section(seen: &[(Seen, Seen)], rate: usize, (changed, lost): (usize, usize)) -> Section {
    let head = ["pair", "", "updates/s", "p50 ms", "p99 ms", "max ms", "p99 ratio"];
    let mut grid = vec![head.map(str::to_owned).to_vec()];
    for (number, (quiet, stalled)) in seen.iter().enumerate() {
        let ratio = format!("{:.2}", stalled.p99_ms / quiet.p99_ms);
        for (what, one, ratio) in [("quiet", quiet, ""), ("stalled", stalled, ratio.as_str())] {
            let mut cells = vec![(number + 1).to_string(), what.to_owned()];
            cells.push(format!("{:.0}", one.per_second * BATCH as f64));
            cells.extend([one.p50_ms, one.p99_ms, one.max_ms].map(|ms| format!("{ms:.1}")));
            cells.push(ratio.to_owned());
            grid.push(cells);
        }
    }
    let asked = if rate < RATE { ", which is what this machine bears" } else { "" };
    let errors: usize = seen.iter().map(|(_, stalled)| stalled.errors).sum();
    let notes = format!(
        "`fdatasync` on the global master does not return for {} s (a fault layer below its \
         files, in nodes built with it\nalone) while etcd's load generator writes {rate} ordinary \
         updates per second{asked}: transactions of {BATCH}\nputs, 48 B keys, 256 B values, \
         32 clients. The quiet load before is the same. A lease of {LEASE_SECONDS} s is kept alive \
         meanwhile.\nOver all stalls: {errors} errors, {changed} changes of master (of the global \
         plane or a \
         group), {lost} leases lost.",
        STALL.as_secs()
    );
    Section { key: "G3", title: "the global master's disk does not flush", grid, notes }
}

/// A cluster whose nodes have the fault layer, and the folder where each is told what to do.
fn start(programs: &Path) -> Result<(Cluster, PathBuf)> {
    let folder = product::target_folder().join("clusters");
    let faults = folder.join("bench-stall.faults");
    std::fs::create_dir_all(&faults).with_context(|| format!("cannot make {faults:?}"))?;
    let path = folder.join("bench-stall.node");
    let node = programs.join("cairn-node");
    let script = format!(
        "#!/bin/sh\n# $1: role, $2: --settings, $3: the settings of one node\n\
         export CAIRN_FAULTS=\"{}/$(basename \"$3\" .json)\"\n: > \"$CAIRN_FAULTS\"\n\
         exec \"{}\" \"$@\"\n",
        faults.display(),
        node.display()
    );
    layer::write_wrapper(&path, &script)?;
    let more = ["--node-binary".as_ref(), path.as_os_str()];
    let resources = "xtask/clusters/faults.yaml";
    let cluster = product::cluster_of(programs, "bench-stall", resources, &more, None)?;
    Ok((cluster, faults))
}

/// Who masters the global plane, and each group.
fn masters(cluster: &Cluster) -> Result<Vec<Option<String>>> {
    let status = cluster.status()?;
    let groups = status.groups.into_iter().map(|group| group.master);
    Ok(std::iter::once(status.global_master).chain(groups).collect())
}

/// The global master, and where etcd clients reach it.
fn master(cluster: &Cluster) -> Result<(String, String)> {
    let master = cluster.status()?.global_master.context("there is no global master")?;
    let node = cluster.nodes().iter().find(|node| node.id == master);
    let endpoint = node.context("the master is no node")?.etcd();
    Ok((master, endpoint))
}

/// The rate asked for, or the first half of a half that is borne.
fn bearable(tools: &Path, cluster: &Cluster) -> Result<usize> {
    let mut rate = RATE;
    while rate > RATE_MIN {
        wait_whole(cluster)?;
        let seen = load(tools, &master(cluster)?.1, rate, Duration::from_secs(4))?;
        if seen.errors == 0 && seen.per_second * BATCH as f64 >= rate as f64 * BORNE {
            return Ok(rate);
        }
        println!("{rate} updates/s are more than this machine bears: {seen:?}");
        rate /= 2;
    }
    Ok(rate)
}

fn load(tools: &Path, endpoint: &str, rate: usize, time: Duration) -> Result<Seen> {
    let txns = rate / BATCH;
    let total = txns * usize::try_from(time.as_secs())?;
    let mut generator = command(&tools.join("benchmark").to_string_lossy(), ["txn-put"]);
    generator.args(["--endpoints", endpoint, "--conns", "8", "--clients", "32"]);
    generator.args(["--txn-ops", &BATCH.to_string(), "--key-size", "48", "--val-size", "256"]);
    generator.args(["--key-space-size", "1000000", "--rate", &txns.to_string()]);
    generator.args(["--total", &total.to_string(), "--precise"]);
    let text = read(&mut generator)?;
    parse(&text).with_context(|| format!("etcd's load generator says something else:\n{text}"))
}

/// What etcd's load generator printed.
fn parse(text: &str) -> Option<Seen> {
    let after = |head: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(head))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(Seen {
        per_second: after("Requests/sec:")?,
        p50_ms: after("50% in")? * 1000.0,
        p99_ms: after("99% in")? * 1000.0,
        max_ms: after("Slowest:")? * 1000.0,
        errors: errors(text),
    })
}

/// How many errors follow the head `Error distribution`, each line `[N] text`.
fn errors(text: &str) -> usize {
    let after = text.split_once("Error distribution:").map_or("", |(_, after)| after);
    let count =
        |line: &str| line.trim().strip_prefix('[')?.split(']').next()?.parse::<usize>().ok();
    after.lines().filter_map(count).sum()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    crate::bench::report::median(values.collect())
}

/// A lease that a stock client keeps alive; given up when this is dropped.
struct Lease {
    tools: PathBuf,
    endpoint: String,
    keeper: Child,
}

impl Lease {
    fn take(tools: &Path, endpoint: &str) -> Result<Self> {
        let text = ask(tools, endpoint, &["lease", "grant", LEASE_SECONDS])?;
        // "lease 694d77aa9e38260f granted with TTL(5s)"
        let id = text.split_whitespace().nth(1).context("etcdctl names no lease")?.to_owned();
        let mut command = Command::new(tools.join("etcdctl"));
        command.args(["--endpoints", endpoint, "lease", "keep-alive", &id]);
        let keeper = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let keeper = keeper.context("cannot run etcdctl")?;
        ask(tools, endpoint, &["put", LEASED_KEY, "x", "--lease", &id])?;
        Ok(Self { tools: tools.to_owned(), endpoint: endpoint.to_owned(), keeper })
    }

    fn is_alive(&self) -> Result<bool> {
        let text = ask(&self.tools, &self.endpoint, &["get", "--keys-only", LEASED_KEY])?;
        Ok(text.contains(LEASED_KEY))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn ask(tools: &Path, endpoint: &str, arguments: &[&str]) -> Result<String> {
    let mut etcdctl = Command::new(tools.join("etcdctl"));
    read(etcdctl.args(["--endpoints", endpoint]).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_generators_words_are_understood() {
        let text = "\nSummary:\n  Total:\t10.0121 secs.\n  Slowest:\t0.0930 secs.\n  \
            Fastest:\t0.0004 secs.\n  Average:\t0.0021 secs.\n  Stddev:\t0.0030 secs.\n  \
            Requests/sec:\t624.2400\n\nResponse time histogram:\n  0.0004 [1]\t|\n\n\
            Latency distribution:\n  10% in 0.0007 secs.\n  50% in 0.0012 secs.\n  \
            99% in 0.0150 secs.\n  99.9% in 0.0400 secs.\n";
        let seen = parse(text).unwrap();
        assert!((seen.per_second - 624.24).abs() < 1e-9 && (seen.max_ms - 93.0).abs() < 1e-9);
        assert!((seen.p50_ms - 1.2).abs() < 1e-9 && (seen.p99_ms - 15.0).abs() < 1e-9);
        assert_eq!(seen.errors, 0, "the histogram's counts are no errors");
        let bad =
            format!("{text}\nError distribution:\n  [58]\tno leader\n  [3]\tleader changed\n");
        assert_eq!(parse(&bad).unwrap().errors, 61);
        assert!(parse("Summary:\n").is_none());
    }
}
