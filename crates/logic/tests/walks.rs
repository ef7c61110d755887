//! Random walks over a handful of replicas with two rival judges: nothing acknowledged is lost.
//!
//! A failing walk prints its number and the last events; the same number fails again.

#[path = "cluster/driver.rs"]
mod driver;
#[path = "cluster/judge.rs"]
mod judge;

use cairn_logic::counting::Plane;
use cairn_logic::message::Position;
use cairn_logic::record::Rule;
use cairn_logic::replication::{Change, Input};
use cairn_logic::time::Duration;
use cairn_logic::timing::Timing;
use driver::{Cluster, name};
use judge::{Judge, Step};

/// A small generator (xorshift*): tests need no more.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }

    fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }
}

struct Walk {
    cluster: Cluster,
    judges: [Judge; 2],
    dice: Dice,
    plane: Plane,
}

const NODES: usize = 4;

impl Walk {
    fn new(seed: u64) -> Self {
        let rules = [Rule::One, Rule::Quorum, Rule::All, Rule::All];
        let kind = seed as usize;
        let rule = rules[kind % 4];
        let plane = if kind % 4 == 3 { Plane::Global } else { Plane::Group };
        let members = match rule {
            Rule::One => 2 + (kind / 4) % 2,
            _ => 1 + (kind / 4) % 4,
        };
        let flushed = (kind / 16) % 3 == 2;
        // Short walks must see members come and go.
        let timing = Timing {
            join_after: Duration::from_millis(200),
            remove_after: Duration::from_millis(900),
            ..Timing::default()
        };
        let mut cluster = Cluster::new(plane, NODES, members, rule, flushed, timing);
        let mut dice = Dice::new(seed);
        cluster.frame = 1 + dice.below(4);
        Self { cluster, judges: Default::default(), dice, plane }
    }

    /// Elects the first master, so that most of a walk has one.
    fn found(&mut self) {
        self.cluster.now = self.cluster.now + Duration::from_secs(1);
        for round in 49..600 {
            self.quiet_round(round);
            if self.cluster.record.epoch.0 > 0 && self.is_serving() {
                break;
            }
        }
        self.judges = Default::default();
    }

    fn lossy(&self) -> bool {
        self.judges.iter().any(|j| j.lossy)
    }

    fn step(&mut self) {
        let i = self.dice.below(NODES);
        match self.dice.below(100) {
            0..=39 => self.deliver(),
            40..=47 => {
                let authority = self.dice.percent(20);
                let short = self.cluster.end(i) < 40;
                if short && self.cluster.nodes[i].admission == "Open" {
                    self.cluster.write(i, authority);
                }
            }
            48..=57 => {
                let flush = self.dice.percent(60);
                self.cluster.disk(i, flush);
            }
            58..=67 => self.cluster.input(i, Input::Tick),
            68..=77 => self.judge(),
            78..=82 => self.change(i),
            83..=88 => {
                let record = self.cluster.record.clone();
                self.cluster.input(i, Input::Record(record));
            }
            89..=95 => {
                let ms = [1, 20, 100, 400][self.dice.below(4)];
                self.cluster.now = self.cluster.now + Duration::from_millis(ms);
            }
            96 => self.front(i),
            97 => {
                let machine = self.dice.percent(40).then(|| self.dice.below(4));
                self.cluster.crash(i, machine);
                if machine.is_some() {
                    self.cluster.start(i, false);
                }
            }
            _ => self.cluster.start(i, true),
        }
    }

    /// Snapshots, what is given up behind them, and who then fetches one.
    fn front(&mut self, i: usize) {
        let other = self.dice.below(NODES);
        match self.dice.below(4) {
            0 => self.cluster.fetched(i),
            1 => self.cluster.fetch(i, other),
            _ => {
                self.cluster.snapshot(i);
                let pressed = self.dice.percent(30);
                self.cluster.truncate(i, pressed);
            }
        }
    }

    fn deliver(&mut self) {
        if self.cluster.net.is_empty() {
            return;
        }
        let at = self.dice.below(self.cluster.net.len());
        let letter = match self.dice.percent(10) {
            true => self.cluster.net[at].clone(),
            false => self.cluster.net.remove(at).expect("within the queue"),
        };
        if !self.dice.percent(4) {
            self.cluster.deliver(letter);
        }
        while self.cluster.net.len() > 40 {
            let at = self.dice.below(self.cluster.net.len());
            self.cluster.net.remove(at);
        }
    }

    fn judge(&mut self) {
        let j = self.dice.below(2);
        let forced = self.dice.percent(50);
        let judge = &mut self.judges[j];
        match judge.step {
            Step::Idle => {
                if self.dice.percent(5) {
                    judge.open(&mut self.cluster);
                }
            }
            Step::Sealing { .. } => {
                judge.seal(&mut self.cluster, forced);
                if self.dice.percent(50) {
                    judge.elect(&mut self.cluster, self.plane);
                }
                if self.dice.percent(3) {
                    judge.step = Step::Idle;
                }
            }
            Step::Electing { .. } => {
                judge.commit(&mut self.cluster);
                if self.dice.percent(5) {
                    judge.step = Step::Idle;
                }
            }
        }
    }

    fn change(&mut self, i: usize) {
        if !self.cluster.asks.is_empty() && self.dice.percent(60) {
            let at = self.dice.below(self.cluster.asks.len());
            let (_, expected, record) = self.cluster.asks[at].clone();
            self.cluster.swap(expected, record);
            if self.dice.percent(70) {
                self.cluster.asks.remove(at);
            }
            return;
        }
        let other = self.dice.below(NODES);
        let member = cairn_logic::record::Member {
            id: name(other),
            incarnation: self.cluster.nodes[other].me.incarnation,
            role: cairn_logic::record::Role::Replica,
            zone: None,
        };
        let wish = match self.dice.percent(50) {
            true => Change::Remove(name(other)),
            false => Change::Join(member),
        };
        self.cluster.input(i, Input::Wish(Some(wish)));
    }

    /// All faults stop: within a bound there is one master, and a write of its commits everywhere.
    fn heal(&mut self) -> Result<(), String> {
        self.judges = Default::default();
        for i in 0..NODES {
            self.cluster.start(i, true);
            self.cluster.input(i, Input::Wish(None));
        }
        for round in 0..3000 {
            self.cluster.now = self.cluster.now + Duration::from_millis(20);
            self.quiet_round(round);
            if self.lossy() || self.cluster.broken.is_some() || self.is_healed() {
                return Ok(());
            }
        }
        Err("L1 not healed".into())
    }

    fn quiet_round(&mut self, round: usize) {
        for i in 0..NODES {
            let record = self.cluster.record.clone();
            self.cluster.input(i, Input::Record(record));
            self.cluster.disk(i, true);
            self.cluster.input(i, Input::Tick);
            self.cluster.fetch(i, round % NODES);
            self.cluster.fetched(i);
        }
        for (_, expected, record) in std::mem::take(&mut self.cluster.asks) {
            self.cluster.swap(expected, record);
        }
        let mut budget = 500;
        while let Some(letter) = self.cluster.net.pop_front() {
            self.cluster.deliver(letter);
            budget -= 1;
            if budget == 0 {
                break;
            }
        }
        let serving = self.is_serving();
        let judge = &mut self.judges[0];
        match judge.step {
            Step::Idle if (!serving || self.cluster.record.open) && round % 50 == 49 => {
                judge.open(&mut self.cluster);
            }
            Step::Idle => {}
            Step::Sealing { .. } => {
                judge.seal(&mut self.cluster, true);
                if round.is_multiple_of(10) {
                    judge.elect(&mut self.cluster, self.plane);
                }
            }
            Step::Electing { .. } => {
                judge.commit(&mut self.cluster);
            }
        }
    }

    fn is_serving(&self) -> bool {
        let record = &self.cluster.record;
        let master = Some(Position::Master(record.epoch));
        (0..NODES).any(|i| Some(name(i)) == record.master && self.cluster.position(i) == master)
    }

    fn is_healed(&mut self) -> bool {
        let master = self.cluster.record.master.clone();
        let Some(i) = (0..NODES).find(|i| Some(name(*i)) == master) else { return false };
        if self.cluster.record.open
            || self.cluster.position(i) != Some(Position::Master(self.cluster.record.epoch))
        {
            return false;
        }
        let last = self.cluster.end(i);
        let all = (0..NODES).all(|n| self.cluster.nodes[n].committed.0 as usize == last);
        let intact = self.cluster.nodes.iter().all(|n| n.vote.intact);
        let content = self.cluster.report(i).relief.is_none();
        all && intact && content && self.cluster.acked.len() == last
    }
}

fn walk(seed: u64) -> (Walk, Result<(), String>) {
    let mut walk = Walk::new(seed);
    walk.found();
    for _ in 0..600 {
        walk.step();
        if let Some(what) = walk.cluster.broken.clone() {
            return (walk, Err(what));
        }
        if walk.lossy() {
            return (walk, Ok(()));
        }
    }
    let healed = walk.heal();
    let broken = walk.cluster.broken.clone();
    (walk, broken.map_or(healed, Err))
}

#[test]
fn nothing_acknowledged_is_lost_whatever_is_lost_late_or_restarted() {
    let from = std::env::var("WALK").ok().and_then(|w| w.parse().ok());
    let count = std::env::var("WALKS").ok().and_then(|w| w.parse().ok()).unwrap_or(1500);
    let (first, last) = from.map_or((0, count), |seed: u64| (seed, seed + 1));
    let (mut acked, mut lossy, mut masters, mut changes) = (0, 0, 0, 0);
    let (mut truncations, mut restarts) = (0, 0);
    for seed in first..last {
        let (walk, outcome) = walk(seed);
        acked += walk.cluster.acked.len();
        lossy += usize::from(walk.lossy());
        let said = |what: &str| walk.cluster.trace.iter().filter(|l| l.contains(what)).count();
        masters += said("is master of");
        changes += said("goes on as master");
        truncations += said("gives up its log");
        restarts += said("begins its log anew");
        if let Err(what) = outcome {
            let from = walk.cluster.trace.len().saturating_sub(120);
            for line in &walk.cluster.trace[from..] {
                println!("{line}");
            }
            for node in &walk.cluster.nodes {
                let status = node.replica.as_ref().map(|r| r.status(walk.cluster.now));
                println!("{}: {status:?}", node.me.id);
            }
            panic!("walk {seed}: {what}");
        }
    }
    println!("walks: {} acknowledged {acked} takeovers {masters} changes {changes}", last - first);
    println!("walks: {lossy} ended without proof, truncations {truncations} restarts {restarts}");
    assert!(from.is_some() || (truncations > 100 && restarts > 10), "fronts must move");
    assert!(from.is_some() || acked > 1000, "walks that acknowledge nothing prove nothing");
}

/// The rules whose breach short walks notice; the simulator looks for the others.
#[cfg(feature = "mutants")]
#[test]
fn a_broken_rule_is_noticed() {
    use cairn_logic::mutant::{Mutant, set_broken};
    let tries = std::env::var("WALKS").ok().and_then(|w| w.parse().ok()).unwrap_or(4000);
    let mutants = match std::env::var("MUTANT") {
        Ok(name) => Mutant::all().filter(|m| format!("{m:?}") == name).collect::<Vec<_>>(),
        Err(_) => vec![
            Mutant::NoTransfer,
            Mutant::VoteNotDurable,
            Mutant::MasterSurvivesRestart,
            Mutant::LearnerCounts,
            Mutant::NoEpochCheck,
            Mutant::ReadBeforeActive,
            Mutant::FollowerAppliesAll,
            Mutant::CommitUnverified,
        ],
    };
    let mut missed = Vec::new();
    for mutant in mutants {
        set_broken(Some(mutant));
        let noticed = |seed| match std::panic::catch_unwind(|| walk(seed).1) {
            Ok(outcome) => outcome.err().map(|what| (seed, what)),
            Err(_) => Some((seed, "an assertion".to_string())),
        };
        match (0..tries).find_map(noticed) {
            Some((seed, what)) => println!("{mutant:?}: walk {seed}: {what}"),
            None => missed.push(mutant),
        }
    }
    set_broken(None);
    assert_eq!(missed, [], "broken rules that nobody noticed");
}
