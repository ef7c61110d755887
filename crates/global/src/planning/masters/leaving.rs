//! Masters leave nodes that are to be empty: at once, whatever else goes on in their groups.

use super::{Look, Masters};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::judge::Judge;
use cairn_logic::masters::{Good, Handover};
use cairn_logic::message::Position;
use cairn_logic::record::{Record, Role};
use cairn_logic::time::Duration;
use cairn_settings::directory_keys::Drained;
use std::cmp::Reverse;

/// A handover that did not come about is tried again after twice that, then after longer.
pub(super) const AGAIN: Duration = Duration::from_secs(2);

impl Masters {
    /// Handovers of groups whose masters are drained to members that are not, all that are
    /// possible now.
    pub(super) fn leaving(&self, look: &Look<'_>) -> Vec<Handover> {
        if look.view.drains.is_empty() {
            return Vec::new();
        }
        let step = |(group, record): (&GroupId, &Record)| {
            let from = record.master.as_ref().filter(|master| look.view.is_drained(master))?;
            let brake = self.brakes.get(group).filter(|brake| brake.failures > 0);
            let braked = brake.is_some_and(|brake| look.now.monotonic < brake.not_before);
            let busy = look.judge(group).is_none_or(Judge::is_busy);
            if record.open || braked || busy {
                return None;
            }
            let to = look.follower(group, record)?;
            let machine = look.view.nodes.get(from).and_then(|info| info.machine.clone());
            let machine = machine.map(Drained::Machine);
            let drained = machine.filter(|it| look.view.drains.contains_key(it));
            let drained = drained.unwrap_or_else(|| Drained::Node(from.clone()));
            Some(Handover {
                group: group.clone(),
                from: from.clone(),
                to,
                good: Good::Drain,
                left: 0,
                why: format!("{drained} is drained"),
            })
        };
        let mut steps: Vec<Handover> = look.view.groups.iter().filter_map(step).collect();
        let count = steps.len();
        steps.iter_mut().enumerate().for_each(|(at, step)| step.left = count - at);
        steps
    }
}

impl Look<'_> {
    /// The member to hand over to: one that follows and is not drained, rather a replica than a
    /// backup, rather one that is further on. Whether it is near enough its judge finds out.
    fn follower(&self, group: &GroupId, record: &Record) -> Option<NodeId> {
        let others = record.members.iter().filter(|it| record.master.as_ref() != Some(&it.id));
        let able = others.filter_map(|member| {
            let report = &self.heard(group, &member.id)?.report;
            let follows = report.position == Position::Follower
                && report.last.epoch == record.epoch
                && !self.view.is_drained(&member.id);
            let backup = member.role == Role::Backup;
            follows.then_some((backup, Reverse(report.last.offset), &member.id))
        });
        able.min().map(|(_, _, id)| id.clone())
    }
}
