//! How many groups a keyspace should have by what its clients do and its keys take, within bounds
//! that a person gives.
//!
//! Pure. Out, to twice as many at most, when what all groups carry is more than they should for a
//! tenth of the window; in, to half as many at least, when fewer would have been enough all through
//! the window, with room to spare, and the keys fit. Between the two lies a band in which nothing
//! changes, so a load that stays brings changes one way only.

#[cfg(test)]
mod tests;

use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Groups carry so many percent of their target at least before there are more of them.
const OUT_PERCENT: u128 = 110;
/// And at most after there are fewer.
const IN_PERCENT: u128 = 90;
/// Keys of a group take so much of its nodes' memory at most after there are fewer, as moves need
/// room.
const FITS_PERCENT: u128 = 75;
/// For so long after a change a load may look smaller than it is: a master that had no slots
/// averages what it says of them over a minute.
const UNSETTLED: Duration = Duration::from_secs(120);
/// The window is looked at in so many parts.
const PARTS: u32 = 16;

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The fewest groups.
    pub min: u16,
    /// The most.
    pub max: u16,
    /// Commands per second that one group should serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<u64>,
    /// Bytes that the keys of one group should take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// For how long fewer groups must have been enough before there are fewer, in milliseconds.
    pub window_ms: u64,
}

impl Policy {
    fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// `groups` within the bounds.
    #[must_use]
    pub fn bounded(&self, groups: u16) -> u16 {
        let min = self.min.max(1);
        groups.clamp(min, self.max.max(min))
    }

    /// The fewest groups that carry `load` with at most so many percent of their targets.
    fn enough(&self, load: &Load, percent: u128) -> u16 {
        let by = |whole: u64, each: Option<u64>| {
            let each = u128::from(each?.max(1)) * percent;
            Some((u128::from(whole) * 100).div_ceil(each))
        };
        let most = by(load.commands, self.commands).max(by(load.bytes, self.bytes));
        u16::try_from(most.unwrap_or(0)).unwrap_or(u16::MAX)
    }
}

/// What all groups carry together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Commands per second.
    pub commands: u64,
    /// Bytes that keys take.
    pub bytes: u64,
    /// Bytes that the keys of one node may take, if that is bounded.
    pub bytes_max: Option<u64>,
}

impl Load {
    /// The fewest groups that hold the keys with room to spare.
    fn fits(&self) -> u16 {
        let Some(max) = self.bytes_max.filter(|max| *max > 0) else { return 1 };
        let least = (u128::from(self.bytes) * 100).div_ceil(u128::from(max) * FITS_PERCENT);
        u16::try_from(least).unwrap_or(u16::MAX)
    }
}

/// Another number of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How many there should be.
    pub to: u16,
    /// Why, in a sentence without a full stop.
    pub why: String,
}

/// What one keyspace has carried lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scaler {
    /// What was asked for, and of how many groups, when this began.
    about: Option<(Policy, u16)>,
    since: Instant,
    /// When it was looked at last.
    looked: Instant,
    /// The most groups that were needed since these moments, the newest last.
    needed: VecDeque<(Instant, u16)>,
    /// Since when more groups are needed than there are.
    short_since: Option<Instant>,
    /// Whether more are needed than there may be.
    limited: bool,
}

impl Scaler {
    /// The change that is due with `groups` groups, if any. With `settled` false nothing gets more:
    /// groups that were asked for are not there yet.
    pub fn next(
        &mut self,
        now: Instant,
        policy: &Policy,
        load: &Load,
        (groups, settled): (u16, bool),
    ) -> Option<Change> {
        // What was not seen may have been anything.
        let blind = now.since(self.looked) >= policy.window() / 2;
        if self.about != Some((*policy, groups)) || blind {
            let limited = self.limited && policy.bounded(u16::MAX) == groups;
            let about = Some((*policy, groups));
            *self = Self { about, since: now, limited, ..Self::default() };
        }
        self.looked = now;
        let bounded = policy.bounded(groups);
        if bounded != groups {
            let (min, max) = (policy.min, policy.max);
            return Some(Change { to: bounded, why: format!("there are to be {min} to {max}") });
        }
        self.remember(now, policy, load);
        self.out(now, policy, load, (groups, settled)).or_else(|| self.less(now, policy, load))
    }

    /// Whether the load needs more groups than there may be, and has for a while.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limited
    }

    fn remember(&mut self, now: Instant, policy: &Policy, load: &Load) {
        let window = policy.window();
        let needed = policy.enough(load, IN_PERCENT).max(load.fits());
        match self.needed.back_mut() {
            Some((at, most)) if now.since(*at) < window / PARTS => *most = (*most).max(needed),
            _ => self.needed.push_back((now, needed)),
        }
        // One that began before the window may reach into it.
        while self.needed.get(1).is_some_and(|(at, _)| now.since(*at) >= window) {
            self.needed.pop_front();
        }
    }

    fn out(
        &mut self,
        now: Instant,
        policy: &Policy,
        load: &Load,
        (groups, settled): (u16, bool),
    ) -> Option<Change> {
        // Twice as many at most: what that brings is seen first.
        let to = policy.bounded(policy.enough(load, 100).min(groups.saturating_mul(2)));
        self.limited &= policy.enough(load, 100) > groups;
        if policy.enough(load, OUT_PERCENT) <= groups {
            self.short_since = None;
            return None;
        }
        let since = *self.short_since.get_or_insert(now);
        let long = now.since(since) >= policy.window() / 10;
        self.limited |= long && to <= groups;
        (long && settled && to > groups).then(|| Change { to, why: why(policy, load, groups) })
    }

    fn less(&self, now: Instant, policy: &Policy, load: &Load) -> Option<Change> {
        let (_, groups) = self.about?;
        let needed = self.needed.iter().map(|(_, needed)| *needed).max()?;
        let to = policy.bounded(needed.max(groups.div_ceil(2)));
        let due = to < groups && now.since(self.since) >= policy.window().max(UNSETTLED);
        due.then(|| Change { to, why: why(policy, load, groups) })
    }
}

/// What each group carries and should, in words.
#[must_use]
pub fn why(policy: &Policy, load: &Load, groups: u16) -> String {
    let each = |whole: u64| whole / u64::from(groups.max(1));
    let mut parts = Vec::new();
    if let Some(target) = policy.commands {
        parts.push(format!("{} of {target} commands/s", each(load.commands)));
    }
    if let Some(target) = policy.bytes {
        parts.push(format!("{} of {} MiB", each(load.bytes) >> 20, target >> 20));
    }
    format!("each of {groups} groups has {}", parts.join(" and "))
}
