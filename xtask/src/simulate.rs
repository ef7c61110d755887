//! `cargo xtask sim` and `cargo xtask mutants`: the simulator's programs, built to run fast.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{command, line_of, watch};
use crate::verdict::Verdict;

/// Arguments of `cargo xtask sim` and `cargo xtask mutants`.
#[derive(clap::Args)]
pub struct Args {
    /// Handed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

fn example(name: &str, features: &[&str], args: &Args) -> Command {
    let mut cargo = command("cargo", ["run", "--quiet", "--profile", "fast", "-p", "cairn-sim"]);
    cargo.args(features).args(["--example", name, "--"]).args(&args.rest);
    cargo
}

/// Runs one of the simulator's programs, `sim` or `mutants`; whether it is content.
///
/// # Errors
/// If cargo cannot be run, or a scenario does not go as it is written.
pub fn run(program: &str, args: &Args) -> Result<bool> {
    if program == "mutants" { mutants(args) } else { seeds(args) }
}

/// Runs seeds; whether no rule was broken.
fn seeds(args: &Args) -> Result<bool> {
    let mut cargo = example("sim", &[], args);
    println!("$ {}", line_of(&cargo));
    Ok(cargo.status().context("cannot run cargo")?.success())
}

/// What became of each broken rule.
#[derive(Debug, Default)]
struct Found {
    all: BTreeSet<String>,
    by_seed: BTreeSet<String>,
    by_scenario: BTreeMap<String, String>,
    harmless: BTreeSet<String>,
}

impl Found {
    /// Reads a line of either program; any other line says nothing. Before it there may be the dots
    /// that tests which passed leave on the same line.
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.trim_start_matches('.').split_whitespace().collect();
        match words[..] {
            ["caught", name, ..] => {
                self.all.insert(name.to_owned());
                self.by_seed.insert(name.to_owned());
            }
            ["not-caught", name, ..] => {
                self.all.insert(name.to_owned());
            }
            ["scenario", name, file] => {
                self.all.insert(name.to_owned());
                self.by_scenario.insert(name.to_owned(), file.to_owned());
            }
            ["harmless", name, ..] => {
                self.all.insert(name.to_owned());
                self.harmless.insert(name.to_owned());
            }
            _ => {}
        }
    }

    /// Each rule counts once: by a seed, else by a scenario, else as harmless, else as missed.
    fn verdict(&self) -> Verdict {
        let (mut by_scenario, mut harmless, mut missed) = (0, 0, 0);
        for name in self.all.difference(&self.by_seed) {
            match (self.by_scenario.get(name), self.harmless.contains(name)) {
                (Some(file), _) => {
                    println!("{name}: only {file} notices");
                    by_scenario += 1;
                }
                (None, true) => harmless += 1,
                (None, false) => {
                    println!("{name}: nothing notices");
                    missed += 1;
                }
            }
        }
        Verdict::new("mutants")
            .count("caught", self.by_seed.len() + by_scenario)
            .count("by_seed", self.by_seed.len())
            .count("by_scenario", by_scenario)
            .count("harmless", harmless)
            .count("missed", missed)
    }
}

/// Breaks every rule in turn: random seeds first, then scenario files and races; whether the bars
/// hold.
fn mutants(args: &Args) -> Result<bool> {
    let mut found = Found::default();
    let mut hunt = example("mutants", &["--features", "mutants"], args);
    let ended = watch(&mut hunt, |line| found.hear(line))?;
    ensure!(ended, "the hunt by seeds did not come to its end");
    let tests: [(&str, &[&str]); 3] = [
        ("cairn-logic", &["--test", "scenarios"]),
        ("cairn-sim", &["--test", "judges"]),
        ("cairn-global", &["--lib", "a_broken_rule"]),
    ];
    for (package, which) in tests {
        let test = ["test", "--quiet", "-p", package, "--features", "mutants"];
        let mut scenarios = command("cargo", test);
        scenarios.args(which);
        scenarios.args(["--", "--nocapture", "--test-threads", "1"]);
        let ended = watch(&mut scenarios, |line| found.hear(line))?;
        ensure!(ended, "a scenario does not go as it is written");
    }
    found.verdict().judge()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read_to_string;

    #[test]
    fn a_rule_counts_once_however_often_it_is_caught() {
        let mut found = Found::default();
        for line in [
            "caught NoTransfer after 2 seeds: seed 2: I3",
            "not-caught StaleLives in 300 seeds",
            "not-caught Lost in 300 seeds",
            "not-caught OldEpochCount in 300 seeds",
            "scenario NoTransfer f01.txt",
            "..scenario StaleLives f04.txt",
            "harmless OldEpochCount while §6.6 stands",
            "test result: ok. 2 passed",
        ] {
            found.hear(line);
        }
        let line = "mutants: caught=2 by_seed=1 by_scenario=1 harmless=1 missed=1";
        assert_eq!(found.verdict().to_string(), line);
    }

    #[test]
    fn no_product_is_built_with_rules_that_can_be_broken() {
        let root = crate::root();
        let folders = std::fs::read_dir(root.join("crates")).expect("crates").flatten();
        let mut manifests: Vec<_> = folders.map(|folder| folder.path()).collect();
        manifests.extend(["node", "cli", "xtask"].map(|folder| root.join(folder)));
        let mut seen = 0;
        for folder in manifests {
            let Ok(text) = read_to_string(folder.join("Cargo.toml")) else { continue };
            seen += 1;
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            let asks: Vec<&str> = lines
                .filter(|line| line.contains("mutants") || line.contains("fault-disk"))
                .collect();
            let allowed: &[&str] = match folder.file_name().and_then(|name| name.to_str()) {
                // Asked for by `cargo xtask faults --without` alone; `default` does not name it.
                Some("logic") => &["mutants = []"],
                // Asked for by `cargo xtask chaos` alone.
                Some("node") => &["mutants = []", r#"fault-disk = ["cairn-files/fault-disk"]"#],
                Some("files") => &["fault-disk = []"],
                Some("global") => &[r#"mutants = ["cairn-logic/mutants"]"#],
                Some("sim") => &[
                    r#"mutants = ["cairn-logic/mutants"]"#,
                    r#"name = "mutants""#,
                    r#"required-features = ["mutants"]"#,
                ],
                _ => &[],
            };
            assert!(asks.iter().all(|line| allowed.contains(line)), "{folder:?}: {asks:?}");
        }
        assert!(seen > 10, "only {seen} crates");
    }
}
