//! Faults that are done to running clusters, in an order that follows from a seed.

use std::time::Duration;

use crate::clock::{wait, wait_until};
use crate::cluster::{Cluster, Error};
use crate::dice::Dice;
use crate::traffic::Traffic;

/// How long a group may take until a write succeeds again.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long a cluster may take until nothing is missing.
const WHOLE_LIMIT: Duration = Duration::from_secs(90);
/// Longer than a member must keep up before it is in sync again.
const SETTLING: Duration = Duration::from_secs(5);
/// For how long members stand still before their master is killed; far below any silence that
/// would count.
const STALL: Duration = Duration::from_millis(60);
/// A pause that needs an explanation.
const PAUSE_LONG_US: u64 = 2_500_000;
/// How long after a fault a pause may begin and still be its doing.
const PAUSE_BEGINS_US: u64 = 3_000_000;

/// Something that happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The master of a slot range is killed and started again at once.
    KillMaster {
        /// Which range, in the order of the slots.
        range: usize,
        /// Whether its members stand still for a moment before: what it tells its clients then, it
        /// tells them alone.
        alone: bool,
    },
    /// The master of a slot range is killed, loses its folder, and comes back only after a write
    /// has succeeded without it.
    LoseMaster {
        /// Which range, in the order of the slots.
        range: usize,
        /// As of [`Fault::KillMaster`].
        alone: bool,
    },
    /// The global master is killed and started again at once.
    KillGlobal,
    /// The global master is killed, loses its folder, and comes back after a takeover.
    LoseGlobal,
    /// The master of a slot range stops in its tracks and goes on later, believing itself master.
    FreezeMaster {
        /// Which range, in the order of the slots.
        range: usize,
        /// How long it stands still.
        time: Duration,
    },
}

/// How many faults of which kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Kills of group masters; half of them lose their folder.
    pub masters: usize,
    /// Kills of the global master; half of them lose their folder.
    pub globals: usize,
    /// Group masters that stand still for a while.
    pub freezes: usize,
}

/// An order of faults that follows from `seed`.
pub fn schedule(seed: u64, ranges: usize, counts: Counts) -> Vec<Fault> {
    let mut dice = Dice::new(seed);
    let draw = |dice: &mut Dice, bound: usize| {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(dice.below(bound)).unwrap_or(0)
    };
    let mut faults = Vec::new();
    for number in 0..counts.masters {
        let range = draw(&mut dice, ranges);
        let (loses, alone) = (number % 2 == 1, number / 2 % 2 == 1);
        faults.push(match loses {
            true => Fault::LoseMaster { range, alone },
            false => Fault::KillMaster { range, alone },
        });
    }
    for number in 0..counts.globals {
        faults.push(if number % 2 == 1 { Fault::LoseGlobal } else { Fault::KillGlobal });
    }
    for _ in 0..counts.freezes {
        let time = Duration::from_millis(1000 + dice.below(9000));
        faults.push(Fault::FreezeMaster { range: draw(&mut dice, ranges), time });
    }
    for at in (1..faults.len()).rev() {
        faults.swap(at, draw(&mut dice, at + 1));
    }
    faults
}

/// What a fault did.
#[derive(Debug, Clone)]
pub struct Event {
    /// What was done.
    pub fault: Fault,
    /// To which node.
    pub victim: String,
    /// When, in microseconds since the history began.
    pub at_us: u64,
    /// The longest pause of writes around it; of the slot range, or of all ranges if the global
    /// master was the victim.
    pub pause_us: u64,
    /// Whether a master of a newer epoch has taken over.
    pub taken_over: bool,
    /// What `cairn why` said while a frozen master had not been replaced, or after a long pause.
    pub why: Option<String>,
    /// How many epochs began until the cluster was whole again: the takeover, and one for each
    /// change of the members.
    pub epochs: u64,
}

/// Who is hit, and where the cluster was before.
struct Target {
    victim: String,
    /// Name of the group; none if the global plane is hit.
    group: Option<String>,
    epoch: u64,
    /// Slot ranges whose writes are watched.
    watched: Vec<usize>,
    /// Members that stand still before it is killed.
    stalled: Vec<String>,
}

impl Target {
    fn kill(&self, cluster: &Cluster, stay_down: bool) -> Result<(), Error> {
        for member in &self.stalled {
            cluster.freeze(member)?;
        }
        if !self.stalled.is_empty() {
            wait(STALL);
        }
        let killed = cluster.kill(&self.victim, stay_down);
        for member in &self.stalled {
            cluster.thaw(member)?;
        }
        killed
    }
}

/// Does one fault to a whole cluster under traffic, and waits until the cluster is whole again.
///
/// # Errors
/// If there is no victim, a command fails, or the cluster does not recover in time.
pub fn inject(cluster: &mut Cluster, traffic: &Traffic, fault: Fault) -> Result<Event, Error> {
    let target = aim(cluster, fault)?;
    let victim = target.victim.as_str();
    let trouble = |what: String| Error::Node { node: victim.to_owned(), what };
    let at_us = traffic.now_us();
    let mut why = None;
    match fault {
        Fault::KillMaster { .. } | Fault::KillGlobal => target.kill(cluster, false)?,
        Fault::LoseMaster { .. } | Fault::LoseGlobal => {
            target.kill(cluster, true)?;
            cluster.empty_folder(victim)?;
        }
        Fault::FreezeMaster { time, .. } => {
            cluster.freeze(victim)?;
            wait(time);
            let group = target.group.as_deref();
            if epoch(cluster, group).is_none_or(|now| now <= target.epoch) {
                why = cluster.cairn(["why", group.unwrap_or("global")]).ok();
            }
            cluster.thaw(victim)?;
        }
    }
    wait_until(WRITE_LIMIT, Duration::from_millis(50), || {
        epoch(cluster, target.group.as_deref()).is_some_and(|now| now > target.epoch)
    });
    let written = wait_until(WRITE_LIMIT, Duration::from_millis(10), || {
        // Answers in flight at the moment of the fault are no sign of recovery.
        let recovered = |range: &usize| traffic.pauses().first_after(*range, at_us + 100_000);
        target.watched.iter().all(|range| recovered(range).is_some())
    });
    if matches!(fault, Fault::LoseMaster { .. } | Fault::LoseGlobal) {
        cluster.start(victim)?;
    }
    if !written {
        return Err(trouble(format!("{fault:?}: no write succeeded in time")));
    }
    let mut faults = cluster.wait_whole(WHOLE_LIMIT);
    if target.group.is_none() && faults.is_empty() {
        // A global replica is counted again only when it has kept up for a while.
        wait(SETTLING);
        faults = cluster.wait_whole(WHOLE_LIMIT);
    }
    if !faults.is_empty() {
        return Err(trouble(format!("{fault:?}: not whole in time: {}", faults.join("; "))));
    }
    let after = epoch(cluster, target.group.as_deref()).unwrap_or(target.epoch);
    let pauses = target
        .watched
        .iter()
        .filter_map(|range| traffic.pauses().longest(*range, at_us, at_us + PAUSE_BEGINS_US));
    let pause_us = pauses.max().unwrap_or(u64::MAX);
    let epochs = after.saturating_sub(target.epoch);
    let taken_over = epochs > 0;
    if pause_us > PAUSE_LONG_US && why.is_none() {
        why = cluster.cairn(["why", target.group.as_deref().unwrap_or("global")]).ok();
    }
    Ok(Event { fault, victim: target.victim, at_us, pause_us, taken_over, why, epochs })
}

fn aim(cluster: &Cluster, fault: Fault) -> Result<Target, Error> {
    let nobody = || Error::Node { node: "nobody".into(), what: format!("no victim of {fault:?}") };
    let groups = cluster.groups().ok_or_else(nobody)?;
    match range_of(fault) {
        Some(range) => {
            let group = groups.into_iter().nth(range).ok_or_else(nobody)?;
            let (victim, epoch) = (group.master.ok_or_else(nobody)?, group.epoch);
            let others = group.members.into_iter().map(|member| member.id);
            let stalled = match is_alone(fault) {
                true => others.filter(|id| *id != victim).collect(),
                false => Vec::new(),
            };
            Ok(Target { victim, group: Some(group.id), epoch, watched: vec![range], stalled })
        }
        None => {
            let status = cluster.status()?;
            let epoch = status.global_epoch().ok_or_else(nobody)?;
            let victim = status.global_master.ok_or_else(nobody)?;
            let watched = (0..groups.len()).collect();
            Ok(Target { victim, group: None, epoch, watched, stalled: Vec::new() })
        }
    }
}

fn is_alone(fault: Fault) -> bool {
    matches!(fault, Fault::KillMaster { alone: true, .. } | Fault::LoseMaster { alone: true, .. })
}

fn range_of(fault: Fault) -> Option<usize> {
    match fault {
        Fault::KillMaster { range, .. }
        | Fault::LoseMaster { range, .. }
        | Fault::FreezeMaster { range, .. } => Some(range),
        Fault::KillGlobal | Fault::LoseGlobal => None,
    }
}

/// The epoch of a group, or of the global plane.
fn epoch(cluster: &Cluster, group: Option<&str>) -> Option<u64> {
    let status = cluster.status().ok()?;
    match group {
        None => status.global_epoch(),
        Some(name) => {
            let group = status.groups.iter().find(|group| group.id == name)?;
            // A new epoch counts once its master serves.
            group.serving.then_some(group.epoch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let counts = Counts { masters: 20, globals: 5, freezes: 3 };
        let faults = schedule(7, 2, counts);
        assert_eq!(faults, schedule(7, 2, counts));
        assert_ne!(faults, schedule(8, 2, counts));
        let lost = faults
            .iter()
            .filter(|fault| matches!(fault, Fault::LoseMaster { .. } | Fault::LoseGlobal));
        assert_eq!((faults.len(), lost.count()), (28, 12));
        assert_eq!(faults.iter().filter(|fault| is_alone(**fault)).count(), 10);
        assert!(faults.iter().filter_map(|fault| range_of(*fault)).all(|range| range < 2));
    }
}
