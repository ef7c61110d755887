//! Comparing copies: a master writes checks into the log, at leisure; the others compare.
//!
//! A check says what a part of the keyspace holds at its very place in the log, so whoever applies
//! it knows exactly whether its own copy is the same. docs/anti-entropy.md.

use crate::data::core::Core;
use crate::data::link::FromData;
use crate::data::server::Server;
use cairn_keyspace::{Checking, Findings, Part};
use cairn_logic::ids::EntryId;
use cairn_logic::replication::Admission;
use cairn_logic::time::Duration;

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

impl Server {
    /// Begins a master's walk, or ends it.
    pub(super) fn look_at_checks(&mut self) {
        let core = &self.core;
        let off = core.mastership.is_none() || core.config.check_interval == Duration::ZERO;
        if off || core.gap || core.loading {
            self.checking = None;
            return;
        }
        let interval = core.config.check_interval;
        if self.checking.as_ref().map(Checking::interval) != Some(interval) {
            self.checking = Some(Checking::new(&core.keyspace, core.now, interval));
        }
    }

    /// Writes a check, if one is due; whether it was.
    pub(super) fn check_some(&mut self) -> bool {
        // A check says what is there at one place in the log.
        let full = self.is_full() || self.core.keyspace.lent().is_some();
        let core = &mut self.core;
        let Some(checking) = self.checking.as_mut().filter(|it| core.now >= it.due()) else {
            return false;
        };
        let open = !full && core.admission == Admission::Open && core.no_room.is_none();
        let written = checking.step(core.now, open, &mut core.keyspace, &mut core.log);
        if written {
            core.stats.checks += 1;
            core.append();
        }
        written
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
        self.unkept.took(&findings);
        let differing = self.keyspace.differing().to_vec();
        let compared = Compared { last: self.last, findings, differing };
        self.outgoing.send(FromData::Compared(Box::new(compared)));
    }
}
