//! When only a person can help, and what a person may decide.

use super::{Judge, PhaseName, cause};
use crate::counting::Sets;
use crate::ids::NodeId;
use crate::time::Instant;

/// Why no takeover can begin: the master is not heard, and too few of the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Intact members that are heard.
    pub heard: usize,
    /// How many it takes.
    pub needed: usize,
    /// Members that are not heard.
    pub silent: Vec<NodeId>,
}

impl Judge {
    /// Whether it stands still until something comes back, or a person decides. Every takeover
    /// waits for seals for a moment; only one that goes on for long needs anybody.
    #[must_use]
    pub fn needs_person(&self, now: Instant) -> bool {
        let patience = self.timing.silence_max * 3;
        let sealing = self.attempt.as_ref().is_some_and(|attempt| {
            let waiting = attempt.waiting(self.plane);
            waiting.phase == PhaseName::Sealing
                && !attempt.is_proved(self.plane)
                && attempt.waited(now) >= patience
        });
        let stopped = self.behind.as_ref().is_some_and(|behind| behind.said);
        sealing || stopped || self.missing(now).is_some()
    }

    /// Who is missing for a takeover that cannot even begin.
    #[must_use]
    pub fn missing(&self, now: Instant) -> Option<Missing> {
        let record = self.record.as_ref().filter(|_| self.attempt.is_none())?;
        let heard = |id: &NodeId| self.reports.get(id).filter(|heard| heard.is_fresh(now));
        let master = heard(record.master.as_ref()?);
        if master.is_some_and(|heard| cause::masters(&heard.report, record.epoch)) {
            return None;
        }
        let members = || record.members.iter().map(|member| &member.id);
        let intact = |id: &NodeId| heard(id).is_some_and(|heard| heard.report.intact);
        let sets = Sets::of(self.plane, record);
        let proved = sets.proves(|at| intact(&record.members[at].id));
        let (count, needed) = (members().filter(|id| intact(id)).count(), sets.counts.seals);
        let silent = members().filter(|id| heard(id).is_none()).cloned().collect();
        (!proved).then_some(Missing { heard: count, needed, silent })
    }
}
