//! Comparing copies: a master writes checks into the log, at leisure; the others compare.
//!
//! A check says what a part of the keyspace holds at its very place in the log, so whoever applies
//! it knows exactly whether its own copy is the same. docs/anti-entropy.md.

use crate::data::core::Core;
use crate::data::link::FromData;
use crate::data::server::Server;
use cairn_keyspace::{Checker, Findings, Part};
use cairn_logic::ids::EntryId;
use cairn_logic::replication::Admission;
use cairn_logic::time::{Duration, Instant};

/// Between two checks at least: each is a batch of the log.
const STEP: Duration = Duration::from_millis(1);
/// A master begins so long after it became one, if the interval is not shorter.
const FIRST: Duration = Duration::from_secs(60);
/// The whole walk, as [`Checker::millionths`] counts.
const WHOLE: u64 = 1_000_000;

/// What comparing has found in a batch.
#[derive(Debug)]
pub struct Compared {
    /// The last entry of the batch.
    pub last: EntryId,
    /// What differed, and what was replaced.
    pub findings: Findings,
    /// All parts that are known to differ.
    pub differing: Vec<Part>,
}

/// A master's walk over its data.
pub struct Checking {
    checker: Checker,
    /// When the walk began, or would have if it had gone on from the start.
    began: Instant,
    interval: Duration,
    due: Instant,
}

impl Checking {
    fn new(core: &Core) -> Self {
        let interval = core.config.check_interval;
        let checker = Checker::new(&core.keyspace);
        let first = core.now + FIRST.min(interval);
        let mut it = Self { checker, began: first, interval, due: first };
        it.began = first - it.share();
        it
    }

    /// When the next check is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The part of the interval after which the walk should be where it is.
    fn share(&self) -> Duration {
        self.interval.mul_f64(self.checker.millionths() as f64 / WHOLE as f64)
    }
}

impl Server {
    /// Begins a master's walk, or ends it.
    pub(super) fn look_at_checks(&mut self) {
        let core = &self.core;
        let off = core.mastership.is_none() || core.config.check_interval == Duration::ZERO;
        if off || core.gap || core.loading {
            self.checking = None;
        } else if self.checking.as_ref().map(|it| it.interval) != Some(core.config.check_interval) {
            self.checking = Some(Checking::new(core));
        }
    }

    /// Writes a check, if one is due; whether it was.
    pub(super) fn check_some(&mut self) -> bool {
        let full = self.is_full();
        let core = &mut self.core;
        let Some(checking) = self.checking.as_mut().filter(|it| core.now >= it.due) else {
            return false;
        };
        checking.due = core.now + STEP;
        // Where clients may not write, nothing is compared either.
        if full || core.admission != Admission::Open || core.no_room.is_some() {
            checking.due = core.now + FIRST.min(Duration::from_secs(1));
            return false;
        }
        let ended = checking.checker.step(&mut core.keyspace, &mut core.log);
        core.stats.checks += 1;
        if ended {
            checking.began = core.now.max(checking.began + checking.interval);
        }
        checking.due = checking.due.max(checking.began + checking.share());
        core.append();
        true
    }

    /// Writes what a part holds, for a member that has something else.
    pub(super) fn repair(&mut self, part: &Part) {
        let core = &mut self.core;
        let closed = core.admission != Admission::Open || core.no_room.is_some();
        if core.mastership.is_none() || closed {
            tracing::info!(%part, "a part is not written anew: writes are not admitted");
            return;
        }
        core.append();
        match core.keyspace.repair(part, &mut core.log) {
            Some(part) => {
                let at = core.log.next_offset().0.saturating_sub(1);
                tracing::info!(%part, at, "wrote a part anew for a member whose copy differs");
            }
            None => tracing::info!(%part, "a value is not large any more: its keys are compared"),
        }
        core.append();
    }
}

impl Core {
    /// The state is dropped, and with it what is known to differ in it.
    pub(super) fn forget_compared(&mut self) {
        if !self.keyspace.differing().is_empty() {
            let (last, findings, differing) = (self.last, Findings::default(), Vec::new());
            let compared = Compared { last, findings, differing };
            self.outgoing.send(FromData::Compared(Box::new(compared)));
        }
    }

    /// Tells control what the last batch has found, if anything.
    pub(super) fn tell_compared(&mut self) {
        let findings = self.keyspace.take_findings();
        if findings.is_quiet() {
            self.stats.checks += findings.checked;
            return;
        }
        let Findings { checked, differ, replaced, .. } = &findings;
        self.stats.checks += checked;
        self.stats.differences += differ.len() as u64;
        self.stats.repairs += replaced.len() as u64;
        self.unkept += u32::from(!replaced.is_empty());
        let differing = self.keyspace.differing().to_vec();
        let compared = Compared { last: self.last, findings, differing };
        self.outgoing.send(FromData::Compared(Box::new(compared)));
    }
}
