//! Spares and slots at work: a member that dies is replaced (K3), a spare is claimed (K4), a group
//! is added (K5), a quarter of the slots moves, with Valkey's resharding beside ours (M1).
//!
//! Each run of a part is kept when it is done, with the commit that it is of: so a run that broke
//! off goes on, and the page says what is of older programs.

mod course;
mod k3;
mod k4;
mod k5;
mod m1;
mod ours;
mod page;
mod part;
mod peer;
mod witness;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::report::results;
use super::scratch;
use crate::janitor::Janitor;
use crate::product;
use crate::verdict::Verdict;
use page::Section;
use part::Part;

/// All parts, in the order they run.
const PARTS: [&str; 4] = ["m1", "k3", "k4", "k5"];

/// How many keys a part has, and how many runs make it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    keys: u64,
    runs: usize,
}

impl Pace {
    fn of(part: &str, quick: bool) -> Self {
        let pick = |full: (u64, usize), few: (u64, usize)| if quick { few } else { full };
        let (keys, runs) = match part {
            "m1" => pick((5_000_000, 3), (200_000, 1)),
            // Values of 1,000 B: a GiB, or 50 MB.
            "k3" => pick((1_000_000, 5), (50_000, 1)),
            // A hundred claims, or five.
            "k4" => pick((0, 100 / k4::SPARES), (0, 1)),
            _ => pick((1_000_000, 5), (50_000, 1)),
        };
        Self { keys, runs }
    }
}

/// What parts are measured with.
pub struct Stage<'a> {
    quick: bool,
    programs: &'a Path,
    /// For files of the peer.
    folder: PathBuf,
    /// Told of the peer's processes.
    janitor: Janitor,
}

/// Measures all parts that are not kept from an earlier run of these programs, or `only` one;
/// whether the bars hold.
///
/// # Errors
/// If something does not start or does not come to its end, there is too little memory or disk, or
/// there is no such part.
pub fn run(quick: bool, only: Option<&str>) -> Result<bool> {
    let wanted = |part: &str| only.is_none_or(|only| only.eq_ignore_ascii_case(part));
    ensure!(PARTS.iter().any(|part| wanted(part)), "the parts are {}", PARTS.join(", "));
    let programs = product::build_for_bench()?;
    let janitor = ours::janitor(&programs)?;
    let mut stage = Stage { quick, programs: &programs, folder: scratch()?, janitor };
    let (mut parts, mut missing, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for name in PARTS {
        let pace = Pace::of(name, quick);
        let kept = Part::kept(name, pace.keys, quick);
        let part = match (wanted(name), kept) {
            (true, kept) => Some(measure(&mut stage, name, pace, kept, only.is_some())?),
            (false, kept) => kept.filter(|part| !quick && part.runs.len() >= pace.runs),
        };
        let Some(part) = part else {
            missing.push(name);
            continue;
        };
        let (section, verdict) = told(name, &part, quick);
        if wanted(name) {
            section.show();
            verdicts.push(verdict);
        }
        parts.push((section, part));
    }
    if quick {
        println!("(a quick run does not replace docs/bench/spares.md)");
    } else {
        page::write(&parts, &missing)?;
    }
    let mut holds = true;
    for verdict in verdicts {
        holds &= verdict.judge()?;
    }
    Ok(holds)
}

/// Goes on with a part of these programs where it broke off, or begins it anew; what a person asks
/// for by name is measured again.
fn measure(
    stage: &mut Stage<'_>,
    name: &'static str,
    pace: Pace,
    kept: Option<Part>,
    by_name: bool,
) -> Result<Part> {
    let goes_on = |part: &Part| {
        !stage.quick && part.is_current() && !(by_name && part.runs.len() >= pace.runs)
    };
    let fresh = || Part::new(name, pace.keys, stage.quick);
    let mut part = kept.filter(goes_on).unwrap_or_else(fresh);
    let done = part.runs.len();
    if done >= pace.runs {
        println!("{name} was measured before");
        return Ok(part);
    }
    if done > 0 {
        println!("{name} goes on after {done} of {} runs", pace.runs);
    }
    match name {
        "m1" => m1::run(stage, &mut part, pace.runs),
        "k3" => k3::run(stage, &mut part, pace.runs),
        "k4" => k4::run(stage, &mut part, pace.runs),
        _ => k5::run(stage, &mut part, pace.runs),
    }
    .with_context(|| format!("{name} broke off; runs that were done are kept"))?;
    Ok(part)
}

/// A part for the page, and for the bars.
fn told(name: &str, part: &Part, quick: bool) -> (Section, Verdict) {
    let verdict =
        Verdict::new(&format!("bench-spares-{name}{}", if quick { "-quick" } else { "" }));
    match name {
        "m1" => (m1::section(part), m1::verdict(part, verdict)),
        "k3" => (k3::section(part), k3::verdict(part, verdict)),
        "k4" => (k4::section(part), k4::verdict(part, verdict)),
        _ => (k5::section(part), k5::verdict(part, verdict)),
    }
}

/// Puts a picture beside the page; that of a quick run below `target/`.
fn drawn(quick: bool, key: &str, picture: &str) -> Result<()> {
    let path = match quick {
        true => results("spares", true)?.join(format!("{key}.svg")),
        false => crate::root().join(format!("docs/bench/spares-{key}.svg")),
    };
    std::fs::write(&path, picture).with_context(|| format!("cannot write {path:?}"))?;
    println!("drawn: {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_run_has_what_the_bars_ask_for() {
        assert_eq!(Pace::of("m1", false), Pace { keys: 5_000_000, runs: 3 });
        assert_eq!(Pace::of("k4", false).runs * k4::SPARES, 100);
        assert_eq!(Pace::of("k4", true).runs * k4::SPARES, 5);
    }

    #[test]
    fn every_part_has_its_bars_also_when_it_is_quick() {
        for name in PARTS {
            for quick in [false, true] {
                let (_, verdict) = told(name, &Part::new(name, 1, quick), quick);
                verdict.judge().expect("bars are about figures that there are");
            }
        }
    }
}
