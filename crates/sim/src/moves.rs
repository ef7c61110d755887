//! A world of slots on the move: two groups of two members, clients of a few keys, moves back and
//! forth, and failovers at any moment.
//!
//! What decides is the product's: [`cairn_logic::moves`], the transactions of
//! [`cairn_global::moving`], [`cairn_keyspace`] with its hidden slots. Replication is only sketched
//! (the other worlds prove it): an entry is committed once both members have it in the epoch of the
//! group, a seal ends an epoch, the record comes later, and whoever masters has read all that was
//! committed in the directory before. Frames, proposals and news of the directory are late, lost,
//! or come when everybody has forgotten them. In every fourth world the product's planner says what
//! moves, by loads that change; in the others people do.

mod member;
mod planner;
mod town;

use crate::rng::Rng;
use crate::{Options, Outcome, Stats, Verdict};
use cairn_global::moving;
use cairn_keyspace::slot_of;
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, Slot};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::moves::{MoveId, Order, Report, SourceInput};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::time::{Duration, Instant};
use member::{Frame, Member};
use planner::Planner;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use town::Town;

/// Steps in which things go wrong, and in which everything may come to its end.
const STEPS: (u64, u64) = (3000, 3000);
/// The keys: two in each of three slots.
const TAGS: [&str; 3] = ["a", "b", "c"];

/// Keys of one slot.
pub(crate) fn keys_of(tag: usize) -> [Vec<u8>; 2] {
    ["1", "2"].map(|n| format!("{{{}}}{n}", TAGS[tag]).into_bytes())
}

pub(crate) fn slot_of_tag(tag: usize) -> Slot {
    slot_of(TAGS[tag].as_bytes())
}

/// One try of a move, between two members.
struct Line {
    from: usize,
    to: usize,
    id: MoveId,
    order: Order,
    frames: VecDeque<Frame>,
    replies: VecDeque<(Epoch, Offset)>,
}

/// What goes wrong in a world, and how often: of 30 chances.
#[derive(Clone, Copy)]
struct Weather {
    /// Groups get another epoch.
    seals: u64,
    /// Lines break.
    cuts: u64,
    /// Moves are given up.
    cancels: u64,
}

/// What is known of a key by nobody but the world.
#[derive(Default)]
struct Key {
    /// Writes that were answered.
    acked: BTreeSet<u64>,
    /// Those that were when the slot got its owner, all of which are in so much of its log.
    at_switch: (BTreeSet<u64>, usize),
}

/// The world.
struct World {
    rng: Rng,
    now: Instant,
    town: Town,
    members: Vec<Member>,
    /// The epoch that each group's members have sealed, and what is committed there.
    sealed: [Epoch; 2],
    committed: [usize; 2],
    lines: Vec<Line>,
    keys: BTreeMap<Vec<u8>, Key>,
    serial: u64,
    /// Until when members hear nothing of the directory.
    deaf: [u64; 4],
    weather: Weather,
    /// Who says what moves; nobody: people.
    planner: Option<Planner>,
    stats: Stats,
    trace: Vec<String>,
    calm: bool,
}

fn rule(rule: &'static str, facts: String) -> Held {
    Err(Broken { rule, facts })
}

/// Runs the world of `seed`.
pub(crate) fn run(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed);
    let verdict = match world.live() {
        Ok(()) => Verdict::Held,
        Err(broken) => Verdict::Broken(broken),
    };
    let mut trace = world.trace;
    if !options.trace {
        trace.drain(..trace.len().saturating_sub(60));
    }
    let digest = trace
        .iter()
        .flat_map(|line| line.bytes())
        .fold(seed, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let scenario = "moves of slots between two groups".to_owned();
    Outcome { seed, verdict, digest, stats: world.stats, scenario, trace }
}

impl World {
    fn new(seed: u64) -> Self {
        let is_planned = seed % 4 == 3;
        let mut town = Town::new(if is_planned { 8191 } else { 16383 });
        if is_planned {
            town.registers();
        }
        let planner = is_planned.then(Planner::new);
        let member = |at: usize| Member::new(at, &town);
        let mut rng = Rng::new(seed ^ 0x6d6f_7665);
        let mut often = |choices: [u64; 3]| choices[rng.index(3)];
        let (seals, cuts) = (often([2, 5, 12]), often([0, 3, 8]));
        let weather = Weather { seals, cuts, cancels: often([0, 2, 6]) };
        let keys = (0..TAGS.len()).flat_map(keys_of).map(|key| (key, Key::default()));
        Self {
            rng,
            now: Instant::from_nanos(1_000_000_000),
            members: (0..4).map(member).collect(),
            town,
            sealed: [Epoch(1); 2],
            committed: [0; 2],
            lines: Vec::new(),
            keys: keys.collect(),
            serial: 0,
            deaf: [0; 4],
            weather,
            planner,
            stats: Stats::default(),
            trace: Vec::new(),
            calm: false,
        }
    }

    fn note(&mut self, line: String) {
        self.trace.push(format!("{:>6} {line}", self.stats.events));
    }

    fn live(&mut self) -> Held {
        for _ in 0..STEPS.0 {
            self.step()?;
        }
        self.calm = true;
        for _ in 0..STEPS.1 {
            self.step()?;
        }
        self.end()
    }

    fn step(&mut self) -> Held {
        self.stats.events += 1;
        // Short, as a hold of half a second begins anew.
        self.now = self.now + Duration::from_millis(self.rng.between(0, 2));
        let at = self.rng.index(4);
        match self.rng.below(1000) {
            0..150 => (0..4).for_each(|at| self.replicate(at)),
            150..270 => self.town_commits()?,
            270..430 => self.reads_news(at),
            430..600 => self.carry(),
            600..660 => self.tick(at),
            660..710 => {
                let at = self.holder_or(at);
                self.read(at)?;
            }
            710..740 => self.stale_read(at)?,
            740..790 => self.succeed(at / 2),
            790..1000 if self.calm => self.tick(at),
            790..940 => self.write(at),
            940..955 => self.members[at].hears(self.sealed[at / 2]),
            955..970 => self.operator(),
            _ => self.goes_wrong(at),
        }
        (0..2).try_for_each(|group| self.commits(group))
    }

    /// One of what this world suffers from.
    fn goes_wrong(&mut self, at: usize) {
        let Weather { seals, cuts, cancels } = self.weather;
        let which = self.rng.below(30);
        if which < seals {
            let at = self.holder_or(at);
            self.seal(at / 2);
        } else if which < seals + cuts {
            self.break_line();
        } else if which < seals + cuts + cancels {
            self.cancel();
        }
    }

    /// Half of the time a member that holds slots, if there is one: where it hurts most.
    fn holder_or(&mut self, at: usize) -> usize {
        let holder = self.members.iter().position(Member::is_holding);
        holder.filter(|_| self.rng.chance(500)).unwrap_or(at)
    }

    /// A follower gets some of what its master has.
    fn replicate(&mut self, at: usize) {
        let group = at / 2;
        let other = at ^ 1;
        let epoch = self.sealed[group];
        if self.members[other].epoch != Some(epoch) || self.rng.chance(200) {
            return;
        }
        let most = if self.calm { 50 } else { self.rng.between(0, 6) as usize };
        let from = self.members[other].log.clone();
        self.members[at].follows(&from, epoch, most);
        self.committed[group] = self.members[at].applies(self.committed[group]);
    }

    /// What both members have in the epoch of the group is committed.
    fn commits(&mut self, group: usize) -> Held {
        let (a, b) = (group * 2, group * 2 + 1);
        let Some(master) =
            [a, b].into_iter().find(|at| self.members[*at].epoch == Some(self.sealed[group]))
        else {
            return Ok(());
        };
        // Also of what needs no entry.
        self.members[master].tell_targets(&mut self.lines);
        let verified = self.members[master ^ 1].verified(self.sealed[group]);
        let before = self.committed[group];
        let mine = self.members[master].log.len();
        let to = verified.min(mine);
        // Entries of older epochs only together with one of this epoch.
        let epoch = |at: usize| self.members[master].log.get(at).map(|entry| entry.epoch);
        if to <= before || epoch(to - 1) != Some(self.sealed[group]) {
            return Ok(());
        }
        self.committed[group] = to;
        for offset in before..to {
            let write = self.members[master].log[offset].write.clone();
            if let Some((key, serial)) = write {
                self.acked(group, &key, serial)?;
            }
        }
        self.members[master].committed = to;
        self.members[master].tell_targets(&mut self.lines);
        Ok(())
    }

    fn acked(&mut self, group: usize, key: &[u8], serial: u64) -> Held {
        let owner = self.town.owner(slot_of(key));
        if owner != group {
            let key = String::from_utf8_lossy(key);
            return rule("I17 OneOwner", format!("{key} is {owner}'s, {group} answers {serial}"));
        }
        self.stats.writes += 1;
        self.keys.entry(key.to_vec()).or_default().acked.insert(serial);
        Ok(())
    }

    /// A client writes.
    fn write(&mut self, at: usize) {
        let keys = keys_of(self.rng.index(TAGS.len()));
        let key = &keys[self.rng.index(2)];
        self.stats.operations += 1;
        if self.members[at].may_serve(slot_of(key), true) {
            self.serial += 1;
            self.members[at].write(key, self.serial);
        }
    }

    /// A linearizable read: the group's members still follow.
    fn read(&mut self, at: usize) -> Held {
        let tag = self.rng.index(TAGS.len());
        if self.members[at].epoch != Some(self.sealed[at / 2]) {
            return Ok(());
        }
        if !self.members[at].may_serve(slot_of_tag(tag), false) {
            return Ok(());
        }
        for key in keys_of(tag) {
            let seen = self.members[at].list(&key);
            self.stats.reads += 1;
            let known = &self.keys[&key];
            self.compare("I11 Fresh", at, &key, &seen, &known.acked)?;
        }
        Ok(())
    }

    /// A read of a replica, which may be old, but never half.
    fn stale_read(&mut self, at: usize) -> Held {
        let tag = self.rng.index(TAGS.len());
        let (slot, member) = (slot_of_tag(tag), &self.members[at]);
        if member.epoch.is_some() || !member.owns(slot) || member.keyspace.is_hidden(slot) {
            return Ok(());
        }
        if let Some(mark) = member.keyspace.marks().get(&slot) {
            return rule("I17 OneOwner: half a slot", format!("{at} shows what {mark:?} says"));
        }
        let (applied, owner) = (member.applied, self.town.owner(slot));
        for key in keys_of(tag) {
            let seen: BTreeSet<u64> = self.members[at].list(&key).into_iter().collect();
            self.stats.stale_reads += 1;
            let (before, from) = &self.keys[&key].at_switch;
            // An old copy may lack what came since the switch, nothing of what was before it.
            let whole = owner == at / 2 && applied > *from;
            if let Some(lost) = before.difference(&seen).next().filter(|_| whole) {
                let key = String::from_utf8_lossy(&key);
                let facts = format!("{key} at {at} lacks {lost}, which was there at the switch");
                return rule("I17 OneOwner: half a slot", facts);
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        name: &'static str,
        at: usize,
        key: &[u8],
        seen: &[u64],
        acked: &BTreeSet<u64>,
    ) -> Held {
        let unique: BTreeSet<u64> = seen.iter().copied().collect();
        let key = String::from_utf8_lossy(key);
        if unique.len() < seen.len() {
            return rule("I19 OneAnswer", format!("{key} at {at} has a write twice: {seen:?}"));
        }
        match acked.difference(&unique).next() {
            Some(lost) => rule(name, format!("{key} at {at} lacks {lost}: {seen:?}")),
            None => Ok(()),
        }
    }

    /// The group's members seal another epoch: no master of an older one commits anything.
    fn seal(&mut self, group: usize) {
        if self.town.is_open(group) {
            return;
        }
        self.sealed[group] = self.sealed[group].next();
        self.stats.faults[0] += 1;
        let epoch = self.sealed[group];
        self.town.opens(group);
        self.note(format!("group {group} sealed at {epoch}"));
        // Its master may hear of it much later, or have crashed.
        for at in [group * 2, group * 2 + 1] {
            if self.rng.chance(400) {
                self.members[at].steps_down();
            }
        }
    }

    /// One of the members that have everything is recorded as master.
    fn succeed(&mut self, group: usize) {
        if !self.town.is_open(group) {
            return;
        }
        let (a, b) = (group * 2, group * 2 + 1);
        let last = |at: usize| {
            let log = &self.members[at].log;
            (log.last().map(|entry| entry.epoch), log.len())
        };
        let elect = if last(a) >= last(b) { a } else { b };
        let epoch = self.sealed[group];
        self.members[elect].steps_down();
        self.members[elect].verify(epoch);
        self.town.settles(group, epoch, &NodeId::new(format!("n-{elect}")));
        self.stats.takeovers += 1;
        self.note(format!("{elect} is master of group {group} in {epoch}"));
        if broken(Mutant::OldRoutes) {
            self.members[elect].begins(epoch, self.committed[group]);
        }
    }

    /// A member reads some of what was committed in the directory.
    fn reads_news(&mut self, at: usize) {
        if !self.calm && self.stats.events < self.deaf[at] {
            return;
        }
        let often = if self.members[at].is_holding() { 300 } else { 60 };
        if self.rng.chance(often) {
            self.deaf[at] = self.stats.events + self.rng.between(50, 400);
        }
        let most = if self.calm { 100 } else { self.rng.between(1, 5) as usize };
        let committed = self.committed[at / 2];
        let lines = self.members[at].reads(&mut self.town, most, self.sealed[at / 2], committed);
        if lines > 0 {
            self.note(format!("{at} reads up to {}", self.members[at].seen));
        }
        self.tend(at);
    }

    fn tick(&mut self, at: usize) {
        self.members[at].duties(&mut self.town);
        self.tend(at);
        self.source(at, SourceInput::Tick);
    }

    /// What a master does about the move away from its group.
    fn tend(&mut self, at: usize) {
        let inputs = self.members[at].facts();
        inputs.into_iter().for_each(|input| self.source(at, input));
    }

    fn source(&mut self, at: usize, input: SourceInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let (now, member) = (self.now, &mut self.members[at]);
            let Some(opens) = member.source_steps(now, input, &mut self.town, &mut inputs) else {
                continue;
            };
            let (id, order, to, frames) = opens;
            self.note(format!("{at} carries move {id} to {to}, {order:?}"));
            let replies = VecDeque::new();
            self.lines.push(Line { from: at, to, id, order, frames, replies });
        }
    }

    /// Something comes over a line, which may be one of long ago.
    fn carry(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        if self.calm {
            let members = &self.members;
            self.lines.retain(|line| members[line.from].carries(line.id, line.order));
        }
        if self.lines.is_empty() {
            return;
        }
        // Most of the time the newest; the others are of tries that are over.
        let newest = self.lines.len() - 1;
        let picked = if self.rng.chance(700) { newest } else { self.rng.index(newest + 1) };
        let from = self.lines[picked].from;
        let line = &mut self.lines[picked];
        let current = self.members[from].carries(line.id, line.order);
        // As many as may be on their way.
        if current && line.frames.len() < 4 {
            let more = self.members[from].more_frames();
            line.frames.extend(more);
        }
        for _ in 0..if self.calm { 20 } else { self.rng.between(0, 3) } {
            let Some(frame) = line.frames.pop_front() else { break };
            let (id, order) = (line.id, line.order);
            if !self.members[line.to].takes(id, order, frame) {
                line.frames.clear();
                if current {
                    let lost = SourceInput::Lost { session: order.session };
                    return self.source(from, lost);
                }
                return;
            }
        }
        let Some((epoch, covered)) = line.replies.pop_front() else { return };
        if current {
            let session = line.order.session;
            let last = Offset(self.members[from].log.len() as u64);
            self.source(from, SourceInput::Report(Report { session, epoch, covered, last }));
        }
    }

    fn break_line(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let picked = self.rng.index(self.lines.len());
        let line = &self.lines[picked];
        let (from, session) = (line.from, line.order.session);
        // Who takes it for broken is the source; frames under way may still come.
        if self.members[from].carries(line.id, line.order) {
            self.note(format!("{from} loses its line"));
            self.source(from, SourceInput::Lost { session });
        }
        if self.lines.len() > 12 {
            // Of what is on the oldest ones nothing comes any more.
            let members = &self.members;
            let old = self.lines.iter().position(|it| !members[it.from].carries(it.id, it.order));
            if let Some(old) = old {
                self.lines.remove(old);
            }
        }
    }

    /// Slots are to move somewhere.
    fn operator(&mut self) {
        if let Some(planner) = &mut self.planner {
            planner.changes(&mut self.rng);
            return self.plans();
        }
        let tag = self.rng.index(TAGS.len());
        let (slot, to) = (slot_of_tag(tag), GroupId::new(format!("t-{}", self.rng.index(2))));
        let view = self.town.view();
        if let Ok((swap, ids)) = moving::begin(view, "t", (slot, slot), &to) {
            self.note(format!("moves {ids:?} of {tag} to {to}"));
            self.town.propose(swap);
        }
    }

    fn cancel(&mut self) {
        let view = self.town.view();
        let first = view.moves.get("t").and_then(|moves| moves.all().first());
        let Some(id) = first.map(|it| it.id) else { return };
        if let Ok(swap) = moving::cancel(view, "t", &[id]) {
            self.note(format!("move {id} is to be cancelled"));
            self.town.propose(swap);
        }
    }

    /// One of the proposals that are under way reaches the directory.
    fn town_commits(&mut self) -> Held {
        let before: Vec<usize> =
            (0..TAGS.len()).map(|tag| self.town.owner(slot_of_tag(tag))).collect();
        if let Some(said) = self.town.commits(&mut self.rng) {
            self.note(said);
        }
        for (tag, before) in before.into_iter().enumerate() {
            let owner = self.town.owner(slot_of_tag(tag));
            if owner != before {
                self.stats.changes += 1;
                self.switched(tag, owner)?;
            }
        }
        Ok(())
    }

    /// A slot has another owner: everything that was answered must be committed there.
    fn switched(&mut self, tag: usize, owner: usize) -> Held {
        let log = &self.members[owner * 2].log;
        let longer = &self.members[owner * 2 + 1].log;
        let log = if log.len() >= self.committed[owner] { log } else { longer };
        let held = member::replay(&log[..self.committed[owner].min(log.len())]);
        for key in keys_of(tag) {
            let seen = member::list(&held, &key);
            let known = self.keys.entry(key.clone()).or_default();
            known.at_switch = (known.acked.clone(), self.committed[owner]);
            let acked = known.acked.clone();
            self.compare("I17 OneOwner: lost at the switch", owner * 2, &key, &seen, &acked)?;
        }
        Ok(())
    }

    /// All has come to its end.
    fn end(&mut self) -> Held {
        let left = self.town.view().moves.get("t").map_or(0, |moves| moves.all().len());
        if left > 0 {
            let moves = format!("{:?}", self.town.view().moves["t"].all());
            return rule("L1 Heals", format!("{left} moves have not ended: {moves}"));
        }
        for tag in 0..TAGS.len() {
            let owner = self.town.owner(slot_of_tag(tag));
            for at in 0..4 {
                let slot = slot_of_tag(tag);
                if at / 2 == owner {
                    for key in keys_of(tag) {
                        let seen = self.members[at].list(&key);
                        let acked = self.keys[&key].acked.clone();
                        self.compare("I3 Durable", at, &key, &seen, &acked)?;
                    }
                } else if self.members[at].keyspace.slot_len(slot) > 0 {
                    return rule("I17 OneOwner", format!("{at} has something of {tag} still"));
                }
            }
        }
        self.stats.healed_ms = 1;
        Ok(())
    }
}
