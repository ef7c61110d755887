//! When a group is quiet enough to be handed over, and how that went: masters are spread and given
//! back by planned handovers, one at a time, as `cairn_logic::masters` chooses.
//!
//! A handover is a wish to the group's judge, which asks the master to wait until its successor has
//! everything. Whatever is not as it should be in a group keeps the planner's hands off it; what
//! fails is tried again later each time.

mod leaving;
#[cfg(test)]
mod tests;

use super::{Plan, asked};
use crate::View;
use crate::courts::{Courts, Now};
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, Version};
use cairn_logic::judge::{Heard, Judge};
use cairn_logic::masters::{self, Candidate, Good, Handover, Rank, Seat};
use cairn_logic::message::Position;
use cairn_logic::moves::Phase;
use cairn_logic::record::{Member, Record, Role};
use cairn_logic::time::{Duration, Instant};
use cairn_settings::directory_keys as keys;
use std::collections::{BTreeMap, VecDeque};

/// Members speak each second at least; one that has not spoken for so long says nothing any more.
const LATELY: Duration = Duration::from_secs(3);
/// A successor has all that the master had so long ago: what is left comes in milliseconds.
const BEHIND: Duration = Duration::from_secs(2);
/// Where masters stood is known for so long.
const HEADS_MAX: usize = 8;
/// Within that a judge has begun, or has dropped the wish.
const BEGINS: Duration = Duration::from_secs(2);
/// The longest wait after failures.
const BRAKE_MAX: Duration = Duration::from_secs(3600);

/// What there is to decide from.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Both clocks.
    pub now: Now,
    /// The directory.
    pub view: &'a View,
    /// The judges of all groups.
    pub courts: &'a Courts,
    /// What masters were told last.
    pub plans: &'a BTreeMap<GroupId, Plan>,
}

/// Since when a group is quiet.
struct Calm {
    version: Version,
    since: Instant,
    /// Where its master's log ended, the newest last.
    heads: VecDeque<(Instant, Offset)>,
}

/// A handover that was wished.
struct Wished {
    group: GroupId,
    to: NodeId,
    epoch: Epoch,
    at: Instant,
    /// Its group waits for so long after it, and twice as long for each failure.
    interval: Duration,
}

/// When a group may be handed over again.
#[derive(Default)]
struct Brake {
    failures: u32,
    not_before: Instant,
}

/// Hands masters over.
#[derive(Default)]
pub struct Masters {
    calm: BTreeMap<GroupId, Calm>,
    wished: Option<Wished>,
    /// When the last one was wished.
    last: Option<Instant>,
    brakes: BTreeMap<GroupId, Brake>,
    /// What was last decided, and from what.
    known: Option<(Vec<Candidate>, Option<Handover>)>,
}

impl Masters {
    /// The handover to wish now, if any. `braked`: so many nodes are away that it is more likely a
    /// zone or a network that is gone.
    pub fn next(&mut self, look: &Look<'_>, braked: bool) -> Option<Handover> {
        self.watch(look);
        self.ended(look);
        if self.wished.is_some() || look.is_busy() {
            return None;
        }
        if let Some(step) = self.leaving(look).into_iter().next() {
            return self.wishes(look, step);
        }
        let step = self.decide(look).filter(|_| !braked)?;
        let interval = look.interval(&step.group);
        // Masters of one machine are spread within an interval; all else has time.
        let wait = if step.good == Good::Machines { interval / 12 } else { interval };
        if self.last.is_some_and(|last| look.now.monotonic.since(last) < wait) {
            return None;
        }
        self.wishes(look, step)
    }

    fn wishes(&mut self, look: &Look<'_>, step: Handover) -> Option<Handover> {
        let epoch = look.view.groups.get(&step.group)?.epoch;
        let (group, to, at) = (step.group.clone(), step.to.clone(), look.now.monotonic);
        let interval = match step.good {
            Good::Drain => leaving::AGAIN.min(look.interval(&group)),
            _ => look.interval(&group),
        };
        self.wished = Some(Wished { group, to, epoch, at, interval });
        self.last = Some(at);
        self.known = None;
        Some(step)
    }

    fn decide(&mut self, look: &Look<'_>) -> Option<Handover> {
        let candidates = self.candidates(look);
        match &self.known {
            Some((known, step)) if *known == candidates => step.clone(),
            _ => {
                let step = masters::next(&candidates);
                self.known = Some((candidates, step.clone()));
                step
            }
        }
    }

    /// Takes note of who is quiet, and of how far masters are.
    fn watch(&mut self, look: &Look<'_>) {
        let now = look.now.monotonic;
        self.calm.retain(|group, _| look.view.groups.contains_key(group));
        self.brakes.retain(|group, _| look.view.groups.contains_key(group));
        for (group, record) in &look.view.groups {
            if look.unrest(group, record).is_some() {
                self.calm.remove(group);
                continue;
            }
            let new = || Calm { version: record.version, since: now, heads: VecDeque::new() };
            let calm = self.calm.entry(group.clone()).or_insert_with(new);
            if calm.version != record.version {
                *calm = new();
            }
            let master = record.master.as_ref().and_then(|master| look.heard(group, master));
            if let Some(Heard { report, at, .. }) = master
                && calm.heads.back().is_none_or(|(last, _)| last < at)
            {
                calm.heads.push_back((*at, report.last.offset));
                if calm.heads.len() > HEADS_MAX {
                    calm.heads.pop_front();
                }
            }
        }
    }

    /// Takes note of how the wished handover ended, if it has.
    fn ended(&mut self, look: &Look<'_>) {
        let Some(wished) = &self.wished else { return };
        let (group, now) = (wished.group.clone(), look.now.monotonic);
        let interval = wished.interval;
        let busy = look.judge(&group).is_some_and(Judge::is_busy);
        let record = look.view.groups.get(&group);
        let over = record.filter(|record| record.epoch > wished.epoch && !record.open);
        let done = over.is_some_and(|record| record.master.as_ref() == Some(&wished.to));
        let open = record.is_some_and(|record| record.open);
        if !done && over.is_none() && (busy || open || now.since(wished.at) < BEGINS) {
            return;
        }
        let brake = self.brakes.entry(group.clone()).or_default();
        brake.failures = if done { 0 } else { brake.failures + 1 };
        let factor = 1_u32.checked_shl(brake.failures).unwrap_or(u32::MAX);
        let wait = interval.saturating_mul(factor).min(BRAKE_MAX.max(interval));
        brake.not_before = now + wait;
        if !done {
            let (to, wait_ms) = (&wished.to, wait.as_millis());
            tracing::warn!(%group, %to, wait_ms, "a handover did not come about");
        }
        self.wished = None;
    }

    /// Every group that stays and has a master; those that must be left alone as ones that nobody
    /// else could master.
    fn candidates(&self, look: &Look<'_>) -> Vec<Candidate> {
        let candidate = |(group, record): (&GroupId, &Record)| {
            if !look.stays(group) {
                return None;
            }
            let master = record.member(record.master.as_ref()?)?;
            let master = look.seat(group, master)?;
            let able = match self.why_not(look, group, record) {
                None => self.able(look, group, record),
                Some(_) => Vec::new(),
            };
            Some(Candidate { id: group.clone(), master, able })
        };
        look.view.groups.iter().filter_map(candidate).collect()
    }

    /// Members that have what the master had a moment ago.
    fn able(&self, look: &Look<'_>, group: &GroupId, record: &Record) -> Vec<Seat> {
        let (now, calm) = (look.now.monotonic, self.calm.get(group));
        let heads = calm.into_iter().flat_map(|calm| calm.heads.iter().rev());
        let needed = heads.into_iter().find(|(at, _)| now.since(*at) >= BEHIND);
        let Some((_, needed)) = needed else { return Vec::new() };
        let others = record.members.iter().filter(|it| record.master.as_ref() != Some(&it.id));
        let follows = |member: &&Member| {
            look.heard(group, &member.id).is_some_and(|Heard { report, .. }| {
                report.position == Position::Follower
                    && report.last.epoch == record.epoch
                    && report.last.offset >= *needed
                    && !look.view.is_drained(&member.id)
            })
        };
        others.filter(follows).filter_map(|member| look.seat(group, member)).collect()
    }

    /// Why a group is left alone now.
    fn why_not(&self, look: &Look<'_>, group: &GroupId, record: &Record) -> Option<String> {
        if let Some(unrest) = look.unrest(group, record) {
            return Some(unrest.to_owned());
        }
        let (now, interval) = (look.now.monotonic, look.interval(group));
        let quiet = interval / 4;
        let since = self.calm.get(group).map_or(Duration::ZERO, |calm| now.since(calm.since));
        if since < quiet {
            return Some(format!("it is to be quiet for {} s first", quiet.as_secs_f32()));
        }
        let keyspace = keys::keyspace_of(group).unwrap_or_default();
        if look.view.moves.get(keyspace).is_some_and(cairn_logic::moves::Moves::is_paused) {
            return Some("the planner is paused".to_owned());
        }
        let pin = look.view.pins.get(group);
        if let Some(left) = pin.and_then(|pin| pin.left_ms(look.now.unix_ms)) {
            let min = left.div_ceil(60_000);
            return Some(format!("it was handed over by hand, which holds for {min} min more"));
        }
        let brake = self.brakes.get(group).filter(|brake| now < brake.not_before)?;
        let sec = brake.not_before.since(now).as_secs();
        let what = if brake.failures > 0 { "a handover failed" } else { "it was handed over" };
        Some(format!("{what}: again in {sec} s"))
    }

    /// What would be done about masters of a keyspace, and why, in lines for people.
    #[must_use]
    pub fn outlook(&self, look: &Look<'_>, keyspace: &str) -> Vec<String> {
        let of_it = |group: &GroupId| keys::keyspace_of(group) == Some(keyspace);
        let mut lines = Vec::new();
        let mut steps = self.leaving(look);
        steps.extend(masters::outlook(&self.candidates(look)));
        for step in steps.iter().filter(|it| of_it(&it.group)) {
            let Handover { group, from, to, why, .. } = step;
            lines.push(format!("masters: hand {group} over from {from} to {to}: {why}"));
        }
        for (group, record) in look.view.groups.iter().filter(|(group, _)| of_it(group)) {
            if let Some(why) = self.why_not(look, group, record) {
                lines.push(format!("masters: {group} is left alone: {why}"));
            }
        }
        if lines.is_empty() {
            lines.push("masters: as even as members' places allow".to_owned());
        }
        lines
    }
}

impl Look<'_> {
    fn judge(&self, group: &GroupId) -> Option<&Judge> {
        self.courts.get(group).map(|court| &court.judge)
    }

    /// What a member said lately, if it is intact and is not being stopped.
    fn heard(&self, group: &GroupId, member: &NodeId) -> Option<&Heard> {
        let heard = self.judge(group)?.reports().get(member)?;
        let lately = self.now.monotonic.since(heard.at) <= LATELY;
        (lately && heard.report.intact && heard.report.relief.is_none()).then_some(heard)
    }

    /// Whether a master is being replaced or hands over somewhere.
    fn is_busy(&self) -> bool {
        let busy = |group| self.judge(group).is_none_or(Judge::is_busy);
        self.view.groups.keys().any(busy)
    }

    /// Whether the group is asked for.
    fn stays(&self, group: &GroupId) -> bool {
        let number = keys::keyspace_of(group).and_then(|keyspace| {
            let groups = self.view.keyspaces.get(keyspace)?.groups;
            Some(keys::number_of(keyspace, group.as_str())? < groups)
        });
        number.unwrap_or(false)
    }

    fn interval(&self, group: &GroupId) -> Duration {
        let config = keys::keyspace_of(group).and_then(|name| self.view.keyspaces.get(name));
        let ms = config.map_or(keys::masters_interval_ms(), |config| config.masters_interval_ms);
        Duration::from_millis(ms)
    }

    /// What goes on in a group that a handover must not come into.
    fn unrest(&self, group: &GroupId, record: &Record) -> Option<&'static str> {
        if record.open || record.master.is_none() {
            return Some("a takeover is under way");
        }
        let Some(judge) = self.judge(group) else { return Some("its judge begins") };
        if judge.is_busy() {
            return Some("a handover or takeover is under way");
        }
        let keyspace = keys::keyspace_of(group).unwrap_or_default();
        let Some(config) = self.view.keyspaces.get(keyspace) else {
            return Some("nobody asks for its keyspace");
        };
        if !self.stays(group) {
            return Some("it is to go");
        }
        let wanted = usize::from(asked(config).mode.wanted);
        if record.members.len() != wanted {
            return Some("its members are not as many as asked for");
        }
        let is_here = |member: &Member| {
            let known = self.view.nodes.get(&member.id);
            known.is_some_and(|info| info.incarnation == member.incarnation)
                && self.view.is_alive(&member.id)
                && self.heard(group, &member.id).is_some()
        };
        if !record.members.iter().all(is_here) {
            return Some("a member is away");
        }
        if self.plans.get(group).is_none_or(|plan| plan.wish.is_some()) {
            return Some("its members change");
        }
        let moves = self.view.moves.get(keyspace).into_iter().flat_map(|moves| moves.all());
        let mut copies = moves.filter(|it| it.phase == Phase::Copy);
        let moving = copies.any(|it| it.source == *group || it.target == *group);
        moving.then_some("its slots move")
    }

    fn seat(&self, group: &GroupId, member: &Member) -> Option<Seat> {
        let info = self.view.nodes.get(&member.id)?;
        Some(Seat {
            node: member.id.clone(),
            machine: info.machine.clone().unwrap_or_else(|| member.id.to_string()),
            zone: info.zone.clone(),
            own: info.preferred_group.as_ref() == Some(group),
            rank: Rank { priority: info.priority, serves: member.role != Role::Backup },
        })
    }
}
