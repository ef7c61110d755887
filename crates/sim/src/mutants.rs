//! Rules broken on purpose, and whether the world notices.

use crate::{Options, Outcome, WorldKind, run};
use cairn_logic::mutant::Mutant;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

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
        let (name, seeds) = (format!("{:?}", self.mutant), self.seeds);
        match &self.by {
            Some(outcome) => write!(f, "caught {name} after {seeds} seeds: {outcome}"),
            None => write!(f, "not-caught {name} in {seeds} seeds"),
        }
    }
}

/// Where a rule has a meaning; `None`: anywhere.
fn kind_of(mutant: Mutant) -> Option<WorldKind> {
    match mutant {
        Mutant::SpeaksUnflushed | Mutant::ReplacesAnyFolder => Some(WorldKind::Global),
        Mutant::ForgetsReserved
        | Mutant::BelievesAnyState
        | Mutant::ClaimsUncompared
        | Mutant::ReleasesNamed => Some(WorldKind::Cluster),
        of_moves if Mutant::OF_MOVES.contains(&of_moves) => Some(WorldKind::Moves),
        Mutant::CasIgnoresVersion
        | Mutant::ReleasedLie
        | Mutant::ZonesUncounted
        | Mutant::PromisesAnywhere => Some(WorldKind::Group),
        _ => None,
    }
}

/// Breaks `mutant` in worlds from `first` on until one notices, in at most `seeds_max` of them
/// and until `end`.
///
/// # Panics
/// Without the feature `mutants`.
#[must_use]
pub fn hunt(mutant: Mutant, first: u64, seeds_max: u64, end: Option<Instant>) -> Caught {
    let options = Options { mutant: Some(mutant), kind: kind_of(mutant), ..Options::default() };
    let mut seeds = 0;
    while seeds < seeds_max && end.is_none_or(|end| Instant::now() < end) {
        let outcome = run(first + seeds, &options);
        seeds += 1;
        if !outcome.is_good() {
            return Caught { mutant, seeds, by: Some(outcome) };
        }
    }
    Caught { mutant, seeds, by: None }
}

/// Seeds that every rule gets before any rule gets more.
const ROUNDS: [u64; 3] = [8, 40, u64::MAX];

/// Breaks every rule in turn, `jobs` of them at a time, those that are hard to notice last; `said`
/// hears of each as soon as it is known. All end by `end`.
#[must_use]
pub fn hunt_all(
    first: u64,
    seeds_max: u64,
    jobs: usize,
    end: Option<Instant>,
    mut said: impl FnMut(&Caught),
) -> Vec<Caught> {
    let mut hunts = Vec::new();
    let fresh = |mutant| Caught { mutant, seeds: 0, by: None };
    let mut left: Vec<Caught> = Mutant::all().map(fresh).collect();
    for round in ROUNDS {
        let most = round.min(seeds_max);
        let mut open = Vec::new();
        hunt_round(&left, (first, most), jobs, end, |one| {
            if one.by.is_some() {
                said(&one);
                hunts.push(one);
            } else {
                open.push(one);
            }
        });
        left = open;
        // First those that only a seed can notice.
        left.sort_by_key(|one| Mutant::OF_REPLICA.contains(&one.mutant));
    }
    left.iter().for_each(&mut said);
    hunts.extend(left);
    hunts
}

/// Goes on with each of `left` up to `most` seeds.
fn hunt_round(
    left: &[Caught],
    (first, most): (u64, u64),
    jobs: usize,
    end: Option<Instant>,
    mut said: impl FnMut(Caught),
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, caught) = std::sync::mpsc::channel();
        for _ in 0..jobs.clamp(1, 64) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(one) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let more = most.saturating_sub(one.seeds);
                    let mut caught = hunt(one.mutant, first + one.seeds, more, end);
                    caught.seeds += one.seeds;
                    if sender.send(caught).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        caught.into_iter().for_each(&mut said);
    });
}
