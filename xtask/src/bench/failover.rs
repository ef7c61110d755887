//! What clients see when masters die, hand over, stall, or lose the global plane: F3, F4, F5, G3,
//! G4 and G8, with the peer beside ours where there is one.

mod blackout;
mod directory;
mod etcd;
mod handover;
mod kills;
mod page;
mod side;
mod stall;
mod stock;
mod valkey;

use std::time::Duration;

use anyhow::{Result, ensure};

use super::scratch;
use crate::product;
use crate::verdict::Verdict;
use page::Section;

/// All parts, in the order they run.
const PARTS: [&str; 5] = ["f3", "f4", "g3", "g4", "g8"];

/// Measures all parts, or `only` one; whether the bars hold.
///
/// # Errors
/// If something does not start or does not recover, or there is no such part.
pub fn run(quick: bool, only: Option<&str>) -> Result<bool> {
    let wanted = |part: &&str| only.is_none_or(|only| only.eq_ignore_ascii_case(part));
    let parts: Vec<&str> = PARTS.into_iter().filter(|part| wanted(part)).collect();
    ensure!(!parts.is_empty(), "the parts are {}", PARTS.join(", "));
    let mut holds = true;
    let mut verdicts = Vec::new();
    for part in parts {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        let (section, verdict) = measure(part, quick)?;
        section.publish(quick, load)?;
        verdicts.push(verdict);
    }
    for verdict in verdicts {
        holds &= verdict.judge()?;
    }
    Ok(holds)
}

/// How many of `all` fall to turn `turn` of `turns`.
fn share(all: usize, turns: usize, turn: usize) -> usize {
    all * (turn + 1) / turns - all * turn / turns
}

fn measure(part: &str, quick: bool) -> Result<(Section, Verdict)> {
    let pick = |full: usize, few: usize| if quick { few } else { full };
    if part == "g3" {
        return stall::run(&product::build_fault_disk()?, pick(5, 1));
    }
    let programs = product::build_for_bench()?;
    let folder = scratch()?;
    match part {
        "f3" => {
            let counts =
                kills::Counts { ours: pick(100, 10), peer: pick(10, 3), short: pick(5, 2) };
            kills::run(&programs, &folder, counts)
        }
        "f4" => handover::run(&programs, &folder, (pick(50, 5), pick(10, 2))),
        "g4" => directory::run(&programs, &folder, pick(20, 5)),
        _ => blackout::run(&programs, Duration::from_secs(60) * if quick { 2 } else { 30 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kills_are_shared_out() {
        let shares = |all, turns| (0..turns).map(|turn| share(all, turns, turn)).collect();
        let (ten, hundred): (Vec<usize>, Vec<usize>) = (shares(10, 3), shares(100, 10));
        assert_eq!((ten, hundred), (vec![3, 3, 4], vec![10; 10]));
    }
}
