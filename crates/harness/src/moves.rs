//! Slots that move between two groups of a running cluster, and masters that fail in the middle.
//!
//! A quarter of all slots changes hands each time. The fault comes when a part of them, drawn from
//! the seed, has a new owner: by a signal to the process, not by a command that takes its time.

use std::time::{Duration, Instant};

use crate::client::{Connection, Routes, SLOTS};
use crate::clock::{wait, wait_until};
use crate::cluster::{Cluster, Error, Node, Role};
use crate::dice::Dice;
use crate::slots::SlotMap;
use crate::traffic::Traffic;

/// Slots that move at a time.
const QUARTER: u16 = SLOTS / 4;
/// How long the part of them that is waited for may take; without a fault, and unless the machine
/// is busy with other things, all take a second or so.
const PART_LIMIT: Duration = Duration::from_secs(60);
/// How long all moves may take to end after the fault.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How long a cluster may take until nothing is missing.
const WHOLE_LIMIT: Duration = Duration::from_secs(90);
/// Longer than a global replica must keep up before it is counted again.
const SETTLING: Duration = Duration::from_secs(5);
/// After so long every node knows what the directory had said before its master was killed.
const HEARSAY: Duration = Duration::from_millis(100);
/// What is waited for at most when one node is asked.
const GLANCE: Duration = Duration::from_millis(300);

/// Whose master fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// The group's that gives the slots.
    Source,
    /// The group's that takes them.
    Target,
    /// Both groups' at once.
    Both,
    /// The global plane's.
    Global,
}

/// A move and what happens in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbed {
    /// Which quarter of the slots moves, from 0.
    pub quarter: u16,
    /// Whose master fails.
    pub hit: Hit,
    /// How long it stands still; if not, it is killed.
    pub freeze: Option<Duration>,
    /// It fails when so many of a hundred slots have a new owner …
    pub moved_percent: u16,
    /// … and this has passed.
    pub late: Duration,
}

/// Of eight moves so many have this fault, killed or frozen.
const DECK: [(Hit, bool); 8] = [
    (Hit::Source, false),
    (Hit::Target, false),
    (Hit::Source, true),
    (Hit::Target, true),
    (Hit::Both, false),
    (Hit::Source, false),
    (Hit::Target, false),
    (Hit::Global, false),
];

/// An order of so many disturbed moves that follows from `seed`.
pub fn schedule(seed: u64, count: usize) -> Vec<Disturbed> {
    let mut dice = Dice::new(seed);
    let mut moves = Vec::new();
    for number in 0..count {
        let (hit, freezes) = DECK[number % DECK.len()];
        let freeze = freezes.then(|| Duration::from_millis(800 + dice.below(2200)));
        let [quarter, moved_percent] = [4, 80].map(|bound| dice.below(bound) as u16);
        let late = Duration::from_millis(dice.below(40));
        moves.push(Disturbed { quarter, hit, freeze, moved_percent, late });
    }
    for at in (1..moves.len()).rev() {
        let other = dice.below(u64::try_from(at + 1).unwrap_or(1));
        moves.swap(at, usize::try_from(other).unwrap_or(0));
    }
    moves
}

/// A disturbed move that has ended.
#[derive(Debug, Clone)]
pub struct Moved {
    /// What was asked for.
    pub asked: Disturbed,
    /// The first and the last slot.
    pub slots: (u16, u16),
    /// The group that gave them.
    pub source: String,
    /// The group that has them now.
    pub target: String,
    /// Who failed.
    pub victims: Vec<String>,
    /// When, in microseconds since the history began.
    pub at_us: u64,
    /// How many slots had their new owner shortly before.
    pub moved: u16,
    /// How many records of these slots' moves waited for their owner's change shortly after; none:
    /// the fault came too late to be in the middle.
    pub under_way: usize,
    /// How long all of it took, from the command until nothing was left of the moves.
    pub took: Duration,
}

/// Who is there when slots are to move.
struct Scene {
    slots: (u16, u16),
    source: String,
    target: String,
    /// Where the target's members are reached.
    takers: Vec<String>,
    victims: Vec<String>,
    /// Tells where slots are, and is not hit.
    witness: Connection,
    /// Where it is reached.
    told_by: String,
}

/// Has slots of `keyspace` moved from the group that owns them to another one, disturbs that, and
/// waits until the moves have ended and the cluster is whole again.
///
/// # Errors
/// If a command fails, nobody is there to be hit, or something does not end in time.
pub fn disturb(
    cluster: &Cluster,
    traffic: &Traffic,
    keyspace: &str,
    asked: Disturbed,
) -> Result<Moved, Error> {
    let mut scene = look(cluster, keyspace, asked)?;
    let (first, last) = scene.slots;
    let began_us = traffic.now_us();
    let range = format!("{first}-{last}");
    cluster.cairn(["move", &range, &scene.target, "--timeout-sec", "0"])?;
    let wanted = QUARTER / 100 * asked.moved_percent;
    let mut moved = 0;
    let reached = wait_until(PART_LIMIT, Duration::from_millis(4), || {
        moved = scene.arrived().unwrap_or(moved);
        moved >= wanted
    });
    if !reached {
        return Err(scene.trouble(format!("only {moved} of {wanted} slots of {range} moved")));
    }
    wait(asked.late);
    moved = scene.arrived().unwrap_or(moved);
    let at_us = traffic.now_us();
    let under_way = strike(cluster, &mut scene, keyspace, asked)?;
    wait_ended(cluster, keyspace, &scene)?;
    let took = Duration::from_micros(traffic.now_us().saturating_sub(began_us));
    wait_whole(cluster, &scene)?;
    if asked.hit == Hit::Global {
        wait(SETTLING);
        wait_whole(cluster, &scene)?;
    }
    let Scene { slots, source, target, victims, .. } = scene;
    Ok(Moved { asked, slots, source, target, victims, at_us, moved, under_way, took })
}

/// Kills or stops the victims; how many moves were under way still.
fn strike(
    cluster: &Cluster,
    scene: &mut Scene,
    keyspace: &str,
    asked: Disturbed,
) -> Result<usize, Error> {
    let began = Instant::now();
    for victim in &scene.victims {
        match asked.freeze {
            Some(_) => cluster.freeze(victim)?,
            None => cluster.crash(victim)?,
        }
    }
    let under_way = match asked.hit {
        // No owner changes without it; what nodes have heard of is all that was done.
        Hit::Global => {
            wait(HEARSAY);
            let left = scene.arrived().map_or(0, |moved| QUARTER - moved);
            usize::from(left > 0)
        }
        _ => map(cluster, keyspace).map_or(0, |map| map.under_way(scene.slots)),
    };
    if let Some(time) = asked.freeze {
        wait(time.saturating_sub(began.elapsed()));
        scene.victims.iter().try_for_each(|victim| cluster.thaw(victim))?;
    }
    Ok(under_way)
}

fn wait_ended(cluster: &Cluster, keyspace: &str, scene: &Scene) -> Result<(), Error> {
    let mut said = None;
    let ended = wait_until(END_LIMIT, Duration::from_millis(100), || {
        said = map(cluster, keyspace);
        let ended = |map: &SlotMap| {
            map.moves.is_empty() && map.owner_of_all(scene.slots) == Some(&scene.target)
        };
        said.as_ref().is_some_and(ended)
    });
    match ended {
        true => Ok(()),
        false => Err(scene.trouble(format!("the moves of {:?} do not end: {said:?}", scene.slots))),
    }
}

fn wait_whole(cluster: &Cluster, scene: &Scene) -> Result<(), Error> {
    let faults = cluster.wait_whole(WHOLE_LIMIT);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(scene.trouble(format!("not whole in time: {}", faults.join("; ")))),
    }
}

fn map(cluster: &Cluster, keyspace: &str) -> Option<SlotMap> {
    cluster.slots().ok().map(|map| map.of(keyspace))
}

fn look(cluster: &Cluster, keyspace: &str, asked: Disturbed) -> Result<Scene, Error> {
    let nobody = |what: &str| Error::Node { node: "nobody".into(), what: what.to_owned() };
    let first = asked.quarter * QUARTER;
    let slots = (first, first + QUARTER - 1);
    let map = cluster.slots()?.of(keyspace);
    let source = map.owner_of_all(slots).ok_or_else(|| nobody("two groups own a quarter"))?;
    let status = cluster.status()?;
    let of_keyspace = |id: &str| id.rsplit_once('-').is_some_and(|(name, _)| name == keyspace);
    let group = |takes: bool| {
        let mut groups = status.groups.iter().filter(|group| of_keyspace(&group.id));
        groups.find(|group| (group.id != source) == takes)
    };
    let target = group(true).ok_or_else(|| nobody("there is one group only"))?;
    let masters = [group(false), Some(target)].map(|group| group?.master.clone());
    let victims = match asked.hit {
        Hit::Source => vec![masters[0].clone()],
        Hit::Target => vec![masters[1].clone()],
        Hit::Both => masters.to_vec(),
        Hit::Global => vec![status.global_master.clone()],
    };
    let victims = victims.into_iter().collect::<Option<Vec<_>>>();
    let victims = victims.ok_or_else(|| nobody("somebody has no master"))?;
    let reached = |id: &str| cluster.nodes().iter().find(|node| node.id == id);
    let takers = target.members.iter().filter_map(|member| Some(reached(&member.id)?.redis()));
    let data = cluster.nodes().iter().filter(|node| node.role == Role::Data);
    let spared = data.filter(|node| !victims.contains(&node.id)).map(Node::redis);
    let mut open = spared.filter_map(|at| Some((Connection::open(&at, GLANCE, GLANCE).ok()?, at)));
    let (witness, told_by) = open.next().ok_or_else(|| nobody("no node is to be reached"))?;
    let takers = takers.collect();
    let (source, target) = (source.to_owned(), target.id.clone());
    Ok(Scene { slots, source, target, takers, victims, witness, told_by })
}

impl Scene {
    fn trouble(&self, what: String) -> Error {
        Error::Node { node: self.victims.join(" and "), what }
    }

    /// How many of the slots are the target's, as one node knows it.
    fn arrived(&mut self) -> Option<u16> {
        let Ok(frame) = self.witness.call(&[b"CLUSTER", b"SLOTS"]) else {
            self.witness = Connection::open(&self.told_by, GLANCE, GLANCE).ok()?;
            return None;
        };
        let routes = Routes::parse(&frame, &self.told_by)?;
        let takes = routes.ranges().iter().filter(|range| self.takers.contains(&range.master));
        let within = |first: u16, last: u16| {
            let (first, last) = (first.max(self.slots.0), last.min(self.slots.1));
            (last + 1).saturating_sub(first)
        };
        Some(takes.map(|range| within(range.first, range.last)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_moves() {
        let moves = schedule(3, 80);
        assert_eq!(moves, schedule(3, 80));
        assert_ne!(moves, schedule(4, 80));
        let count = |hit| moves.iter().filter(|it| it.hit == hit).count();
        let hits = [Hit::Source, Hit::Target, Hit::Both, Hit::Global].map(count);
        assert_eq!(hits, [30, 30, 10, 10]);
        assert_eq!(moves.iter().filter(|it| it.freeze.is_some()).count(), 20);
        assert!(moves.iter().all(|it| it.quarter < 4 && it.moved_percent < 80));
    }
}
