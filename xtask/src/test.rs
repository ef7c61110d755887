//! `cargo xtask test`: every test that needs no Kubernetes, in stages with a verdict line each.
//!
//! With `--api` it runs the second tier instead: see `api_tier`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::product::target_folder;
use crate::run::{command, line_of, watch};
use crate::{api_tier, setup};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out a stage; may be given several times
    #[arg(long, value_name = "STAGE")]
    skip: Vec<String>,
    /// Run this stage alone; may be given several times
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// Run what needs an API server, and nothing else
    #[arg(long, conflicts_with_all = ["skip", "only"])]
    api: bool,
    /// Name the stages and stop
    #[arg(long)]
    list: bool,
}

/// What a stage reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub ignored: u64,
}

/// A stage: its name, whether its tests are counted one by one, and what it runs.
struct Stage {
    name: &'static str,
    counted: bool,
    program: &'static str,
    arguments: &'static [&'static str],
}

const fn stage(name: &'static str, arguments: &'static [&'static str]) -> Stage {
    Stage { name, counted: false, program: "cargo", arguments }
}

const fn tests(name: &'static str, arguments: &'static [&'static str]) -> Stage {
    Stage { name, counted: true, program: "cargo", arguments }
}

/// What is generated is compared by the tests themselves.
const STAGES: [Stage; 7] = [
    stage("fmt", &["fmt", "--all", "--check"]),
    stage("tidy", &["xtask", "tidy"]),
    stage("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    tests("tests", &["test", "--workspace", "--no-fail-fast"]),
    stage("sim", &["xtask", "sim", "--seeds", "100"]),
    stage("interop", &["xtask", "interop"]),
    stage("faults", &["xtask", "faults", "--quick"]),
];

/// Runs the chosen stages; whether all of them passed.
///
/// # Errors
/// If a stage's program cannot be started, or a stage that does not exist is named.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        STAGES.iter().for_each(|stage| println!("{}: {}", stage.name, line_of(&line(stage))));
        return Ok(true);
    }
    if args.api {
        return api_tier::run();
    }
    for name in args.skip.iter().chain(&args.only) {
        if !STAGES.iter().any(|stage| stage.name == name) {
            let names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
            bail!("no stage {name:?}: there are {}", names.join(", "));
        }
    }
    setup::run(&setup::Args::for_test())?;
    let started = Instant::now();
    let (mut verdicts, mut tested) = (Vec::new(), false);
    let mut total = Tally::default();
    for stage in &STAGES {
        let named = |list: &[String]| list.iter().any(|name| name == stage.name);
        if named(&args.skip) || (!args.only.is_empty() && !named(&args.only)) {
            verdicts.push(format!("{}: skipped", stage.name));
            continue;
        }
        let (tally, took) = perform(stage, tested)?;
        tested |= stage.counted;
        let verdict = format!(
            "{}: passed={} failed={} ignored={} seconds={}",
            stage.name,
            tally.passed,
            tally.failed,
            tally.ignored,
            took.as_secs()
        );
        println!("{verdict}");
        verdicts.push(verdict);
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    println!("\n{}", verdicts.join("\n"));
    let seconds = started.elapsed().as_secs();
    println!("test: passed={} failed={} seconds={seconds}", total.passed, total.failed);
    Ok(total.failed == 0 && total.passed > 0)
}

fn line(stage: &Stage) -> Command {
    command(stage.program, stage.arguments)
}

/// Runs a stage. `tested`: the tests ran before it and built the product's programs, so that stages
/// that need some take those instead of building optimised ones for minutes.
fn perform(stage: &Stage, tested: bool) -> Result<(Tally, Duration)> {
    println!("\n== {}", stage.name);
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut line = line(stage);
    let built = target_folder().join("debug");
    if tested && std::env::var_os("CAIRN_PROGRAMS").is_none() && built.join("cairn").is_file() {
        line.env("CAIRN_PROGRAMS", &built);
    }
    let succeeded = watch(&mut line, |text| {
        if stage.counted {
            tally.count(text);
        }
    })?;
    tally.settle(succeeded);
    Ok((tally, started.elapsed()))
}

impl Tally {
    /// Adds the figures of a line `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub fn count(&mut self, text: &str) {
        let Some((_, figures)) = text.split_once("test result: ") else { return };
        for part in figures.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// Adds the figures of another.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// A stage that counts nothing is one test; one that fails has at least one failure.
    pub fn settle(&mut self, succeeded: bool) {
        match succeeded {
            true if self.passed == 0 => self.passed = 1,
            false if self.failed == 0 => self.failed = 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_are_added() {
        let mut tally = Tally::default();
        tally.count("running 4 tests");
        tally.count("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        tally.count("test result: FAILED. 2 passed; 1 failed; 0 ignored; finished in 0.01s");
        assert_eq!(tally, Tally { passed: 5, failed: 1, ignored: 1 });
    }

    #[test]
    fn a_stage_that_breaks_off_has_failed() {
        let mut tally = Tally { passed: 7, ..Tally::default() };
        tally.settle(false);
        assert_eq!(tally.failed, 1);
        let mut silent = Tally::default();
        silent.settle(true);
        assert_eq!(silent.passed, 1);
    }
}
