//! What a person does when a judge says that only a person can help (docs/recover.md).

use super::super::{Broken, World};
use crate::place::Local;
use crate::scenario::WorldKind;
use cairn_logic::counting::{Plane, Sets};
use cairn_logic::ids::{Epoch, NodeId};
use cairn_logic::invariants::Held;
use cairn_logic::judge::{Hint, JudgeInput};
use std::collections::BTreeSet;

/// A judge has to say it in so many looks in the same epoch, 20 ms apart, before anybody acts.
const LOOKS: u32 = 500;

/// How often it was said that a log needs a person, and in which epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    epoch: Epoch,
    looks: u32,
}

impl World {
    /// Has every group that cannot heal by itself go on with what is left.
    ///
    /// A judge has to ask for it, and the folders that it waits for have to be gone for good: one
    /// that asks while enough of them are there is wrong, helps nobody, and breaks L1.
    pub(super) fn help(&mut self) -> Held {
        for log in 0..self.logs.len() {
            let epoch = self.logs[log].witness.record().epoch;
            let Some(judge) = self.who_asks(log) else { continue };
            let needs = &mut self.logs[log].needs;
            let before = if needs.epoch == epoch { needs.looks } else { 0 };
            *needs = Needs { epoch, looks: (before + 1) % LOOKS };
            if needs.looks == 0 {
                self.recover(log, judge)?;
            }
        }
        Ok(())
    }

    /// Where a judge of this log says that it needs a person.
    fn who_asks(&self, log: usize) -> Option<usize> {
        let group = &self.logs[log].group;
        let asks = |at: &usize| {
            let there = &self.places[*at];
            let now = there.clock.read(self.now);
            if self.scenario.kind != WorldKind::Cluster {
                return there.judge.as_ref().is_some_and(|judge| judge.needs_person(now));
            }
            let desk = there.process.as_ref().and_then(|process| process.desk.as_deref());
            let court = desk.filter(|desk| desk.serving).and_then(|d| d.master.courts().get(group));
            court.is_some_and(|court| court.judge.needs_person(now))
        };
        let is_group = self.logs[log].plane == Plane::Group;
        (0..self.places.len()).find(asks).filter(|_| is_group)
    }

    /// `cairn recover GROUP --accept-loss`, where more is gone than the rule bears.
    fn recover(&mut self, log: usize, judge: usize) -> Held {
        let record = self.logs[log].witness.record();
        let (mut left, mut intact) = (BTreeSet::<NodeId>::new(), BTreeSet::new());
        for there in &self.places {
            let Some(folder) = &there.folder else { continue };
            if record.names(&there.id, folder.incarnation) {
                left.insert(there.id.clone());
                if folder.vote.intact && !folder.failed {
                    intact.insert(there.id.clone());
                }
            }
        }
        let sets = Sets::of(Plane::Group, record);
        if sets.proves(|at| intact.contains(&record.members[at].id)) {
            return Ok(());
        }
        if left.is_empty() {
            let facts = format!("every folder of {record:?} is gone");
            return Err(Broken { rule: "World", facts });
        }
        let group = self.logs[log].group.clone();
        self.stats.recoveries += 1;
        self.note(|| format!("a person has {group} go on with {left:?}"));
        let input = JudgeInput::Hint(Hint::AcceptLoss(left));
        let what = match self.scenario.kind {
            WorldKind::Cluster => Local::Wish(Box::new((Some(group), input))),
            WorldKind::Group | WorldKind::Global | WorldKind::Moves => {
                Local::Judge(Box::new(input))
            }
        };
        self.push_own(judge, 0, what);
        Ok(())
    }
}
