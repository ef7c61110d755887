//! Rules broken on purpose, and whether the world notices.

use crate::{Options, Outcome, run};
use cairn_logic::mutant::Mutant;
use std::fmt;

/// Breaks a rule on this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Breaking;

impl Breaking {
    pub(crate) fn begin(mutant: Option<Mutant>) -> Self {
        set(mutant);
        Self
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        set(None);
    }
}

#[cfg(feature = "mutants")]
fn set(mutant: Option<Mutant>) {
    cairn_logic::mutant::set_broken(mutant);
}

#[cfg(not(feature = "mutants"))]
fn set(mutant: Option<Mutant>) {
    assert!(mutant.is_none(), "breaking a rule needs the feature `mutants`");
}

/// Whether a broken rule was noticed.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The rule.
    pub mutant: Mutant,
    /// Seeds run.
    pub seeds: u64,
    /// The seed that noticed it, if one did.
    pub by: Option<Outcome>,
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.mutant);
        match &self.by {
            Some(outcome) => {
                write!(f, "{name:<22} caught after {:>6} seeds: {outcome}", self.seeds)
            }
            None => write!(f, "{name:<22} not caught in {} seeds", self.seeds),
        }
    }
}

/// All rules that can be broken.
#[must_use]
pub fn all() -> &'static [Mutant] {
    Mutant::ALL
}

/// Breaks `mutant` in worlds from `first` on until one notices, in at most `seeds_max` of them.
///
/// # Panics
/// Without the feature `mutants`.
#[must_use]
pub fn hunt(mutant: Mutant, first: u64, seeds_max: u64) -> Caught {
    let options = Options { mutant: Some(mutant), ..Options::default() };
    for n in 0..seeds_max {
        let outcome = run(first + n, &options);
        if !outcome.is_good() {
            return Caught { mutant, seeds: n + 1, by: Some(outcome) };
        }
    }
    Caught { mutant, seeds: seeds_max, by: None }
}

/// What became of all rules.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each rule, in the order of [`all`].
    pub hunts: Vec<Caught>,
    /// Seeds per rule, at most.
    pub seeds_max: u64,
}

impl Report {
    /// How many were caught.
    #[must_use]
    pub fn caught(&self) -> usize {
        self.hunts.iter().filter(|hunt| hunt.by.is_some()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tried, caught) = (self.hunts.len(), self.caught());
        write!(f, "mutants: tried={tried} caught={caught} seeds_max={}", self.seeds_max)
    }
}

/// Breaks every rule in turn; `said` hears of each as soon as it is known.
#[must_use]
pub fn hunt_all(first: u64, seeds_max: u64, mut said: impl FnMut(&Caught)) -> Report {
    let mut report = Report { hunts: Vec::new(), seeds_max };
    for mutant in all() {
        let caught = hunt(*mutant, first, seeds_max);
        said(&caught);
        report.hunts.push(caught);
    }
    report
}
