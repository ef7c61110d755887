//! Does what the schedule says to a cluster in namespaces, and undoes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::{Cluster, Role};

use super::layer;
use super::network::{CLIENTS, Network, Rule, address};
use super::schedule::{Amid, Between, DiskFault, Fault, Step, Way, Who};
use super::snapshots;

/// For how long what is to be brought back may take to be dead first.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

/// A cluster in namespaces.
#[derive(Debug)]
pub struct Field {
    /// Its processes.
    pub cluster: Arc<Cluster>,
    /// Its namespaces.
    pub network: Network,
    /// Where each node's fault layer is told what to do.
    pub faults: PathBuf,
}

/// A fault with its victims, before and while it lasts.
#[derive(Debug)]
pub struct Aimed {
    /// What happens.
    pub fault: Fault,
    /// To whom, by name; empty for everybody.
    pub victims: Vec<String>,
    /// Whose masterships may change hands by it: names of groups, or `global`.
    pub touched: Vec<String>,
    /// Slot ranges whose writes may pause by it.
    pub ranges: Vec<usize>,
    begins: Duration,
    ends: Duration,
    starving: Option<Starving>,
}

/// A thread that lets a node run for a moment now and then.
#[derive(Debug)]
struct Starving {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Field {
    /// Finds the victims of a step; nothing happens yet.
    ///
    /// # Errors
    /// If there are none, because the cluster is not whole.
    pub fn aim(&self, step: &Step) -> Result<Vec<Aimed>> {
        let groups =
            self.cluster.wait_groups().context("clients are not told a master of each slot")?;
        let status = self.cluster.status()?;
        let find = |who: Who| -> Option<String> {
            let global = |is_master: bool| {
                let mut nodes = status.nodes.iter().filter(|node| node.role == Role::Global);
                let node =
                    nodes.find(|n| (Some(&n.id) == status.global_master.as_ref()) == is_master);
                node.map(|node| node.id.clone())
            };
            match who {
                Who::Master(group) => groups.get(group)?.master.clone(),
                Who::Member(group, at) => {
                    let group = groups.get(group)?;
                    let mut members = group.members.iter().map(|member| &member.id);
                    let mut others =
                        members.by_ref().filter(|id| Some(*id) != group.master.as_ref());
                    others.nth(at).cloned()
                }
                Who::GlobalMaster => global(true),
                Who::GlobalReplica => global(false),
                Who::Checkpoint => {
                    let mut nodes = status.nodes.iter();
                    nodes.find(|node| node.role == Role::Checkpoint).map(|node| node.id.clone())
                }
            }
        };
        let all: Vec<usize> = (0..groups.len()).collect();
        let aim = |timed: &super::schedule::Timed| -> Result<Aimed> {
            let fault = timed.fault;
            let mut victims = Vec::new();
            if let Fault::Link(group, other) = fault {
                victims.extend([find(Who::Master(group)), find(Who::Member(group, other))]);
            } else if let Some(who) = fault.who() {
                victims.push(find(who));
            }
            let victims: Option<Vec<String>> = victims.into_iter().collect();
            let victims = victims.with_context(|| format!("{fault:?} has no victim"))?;
            let name = |group: usize| groups.get(group).map(|group| group.id.clone());
            let touched = match fault {
                Fault::Split(_) | Fault::Blackout | Fault::KillAll => {
                    (0..groups.len()).filter_map(name).chain(["global".into()]).collect()
                }
                Fault::StopAll | Fault::CutClients(_) | Fault::Clock(..) | Fault::Link(..) => {
                    Vec::new()
                }
                _ => match fault.who() {
                    Some(Who::Master(group)) => name(group).into_iter().collect(),
                    Some(Who::GlobalMaster) => vec!["global".into()],
                    // Who sends may be the master.
                    Some(Who::Member(group, _))
                        if matches!(fault, Fault::Fetching(_, Between::KillHolder, _)) =>
                    {
                        name(group).into_iter().collect()
                    }
                    Some(_) if matches!(fault, Fault::Fetching(_, Between::KillHolder, _)) => {
                        vec!["global".into()]
                    }
                    // The master has no other replica: which of the two is cut off, nobody knows.
                    Some(Who::GlobalReplica) if fault.is_of_network() => vec!["global".into()],
                    _ => Vec::new(),
                },
            };
            let ranges = fault.group().map_or_else(|| all.clone(), |group| vec![group]);
            let (begins, ends) = (timed.after, timed.after + timed.time);
            Ok(Aimed { fault, victims, touched, ranges, begins, ends, starving: None })
        };
        step.faults.iter().map(aim).collect()
    }

    /// Begins and ends all faults of a step, each at its time.
    ///
    /// # Errors
    /// If one cannot be done; what has begun is ended all the same.
    pub fn perform(&self, aimed: &mut [Aimed]) -> Result<()> {
        let began = Instant::now();
        let mut deeds: Vec<(Duration, bool, usize)> = Vec::new();
        for (at, one) in aimed.iter().enumerate() {
            deeds.extend([(one.begins, true, at), (one.ends, false, at)]);
        }
        // An end never comes before the beginning of the same fault.
        deeds.sort_by_key(|(when, begins, at)| (*when, *at, !begins));
        let mut outcome = Ok(());
        for (when, begins, at) in deeds {
            wait(when.saturating_sub(began.elapsed()));
            let one = &mut aimed[at];
            let done = if begins { self.begin(one) } else { self.end(one) };
            outcome = outcome.and(done.with_context(|| format!("{:?}", one.fault)));
        }
        outcome
    }

    fn begin(&self, aimed: &mut Aimed) -> Result<()> {
        let victims = aimed.victims.clone();
        let victim = victims.first().map(String::as_str).unwrap_or_default();
        match aimed.fault {
            Fault::Kill(_) => self.cluster.kill(victim, false)?,
            Fault::Empty(_) => {
                self.cluster.kill(victim, true)?;
                self.cluster.empty_folder(victim)?;
            }
            Fault::Power(_) => self.lose_power(victim)?,
            Fault::Stop(_) => self.cluster.freeze(victim)?,
            Fault::Starve(_) => aimed.starving = Some(self.starve(victim)),
            Fault::Isolate(_, way) => self.isolate(victim, way, true)?,
            Fault::Link(..) => {
                let other = address(self.place(&victims[1])?);
                let rules = [Rule::From(other), Rule::To(other)];
                self.network.filter(self.place(victim)?, &rules)?;
            }
            Fault::CutClients(_) => {
                let rules = [Rule::From(CLIENTS), Rule::To(CLIENTS)];
                self.network.filter(self.place(victim)?, &rules)?;
            }
            Fault::Loss(_, percent) => {
                self.network.filter(self.place(victim)?, &[Rule::Lossy(percent)])?;
            }
            Fault::SlowLink(_) => self.network.slow(self.place(victim)?, true)?,
            Fault::Disk(_, fault) => layer::set(&self.faults, victim, &layer::words(fault))?,
            Fault::Clock(_, offset_ms) => {
                layer::set(&self.faults, victim, &format!("clock {offset_ms}\n"))?;
            }
            Fault::Writing(who, amid, after_ms) => {
                self.while_writing(victim, &self.log_of(who, victim)?, amid, after_ms)?;
            }
            Fault::Fetching(_, between, after_ms) => {
                self.while_fetching(victim, between, after_ms)?;
            }
            Fault::Damage(..) | Fault::Away(_) => self.cluster.kill(victim, true)?,
            Fault::Split(sides) => self.split(|a, b| (sides >> a) & 1 == (sides >> b) & 1)?,
            Fault::Blackout => self.split(|_, _| false)?,
            Fault::KillAll => self.each(|node| self.cluster.crash(node))?,
            Fault::StopAll => self.each(|node| self.cluster.freeze(node))?,
        }
        Ok(())
    }

    /// Does something to a node while it writes a snapshot.
    fn while_writing(&self, victim: &str, log: &str, amid: Amid, after_ms: u16) -> Result<()> {
        if !snapshots::wait_for_draft(&self.cluster, victim, log) {
            println!("     {victim} writes no snapshot");
        }
        wait(Duration::from_millis(after_ms.into()));
        match amid {
            Amid::Kill => Ok(self.cluster.crash(victim)?),
            Amid::Full => layer::set(&self.faults, victim, &layer::words(DiskFault::Full)),
            Amid::Clock(ms) => layer::set(&self.faults, victim, &format!("clock {ms}\n")),
        }
    }

    /// Takes all that a node has, starts it, and does something while it fetches a snapshot.
    fn while_fetching(&self, victim: &str, between: Between, after_ms: u16) -> Result<()> {
        self.cluster.kill(victim, true)?;
        self.cluster.empty_folder(victim)?;
        let said = snapshots::Said::from_now(&self.cluster, victim)?;
        self.cluster.start(victim)?;
        let holder = said.wait_for_holder();
        if holder.is_none() {
            println!("     {victim} needs no snapshot");
        }
        wait(Duration::from_millis(after_ms.into()));
        match (between, holder) {
            (Between::KillFetcher, _) => Ok(self.cluster.crash(victim)?),
            (Between::KillHolder, Some(holder)) => Ok(self.cluster.crash(&holder)?),
            (Between::KillHolder, None) => Ok(()),
            (Between::Cut, _) => self.network.plug(self.place(victim)?, false),
            (Between::Full, _) => layer::set(&self.faults, victim, &layer::words(DiskFault::Full)),
        }
    }

    fn end(&self, aimed: &mut Aimed) -> Result<()> {
        let victims = aimed.victims.clone();
        let victim = victims.first().map(String::as_str).unwrap_or_default();
        match aimed.fault {
            Fault::Kill(_) | Fault::KillAll | Fault::Power(_) => {}
            Fault::Empty(_) => self.cluster.start(victim)?,
            Fault::Stop(_) => self.cluster.thaw(victim)?,
            Fault::Starve(_) => {
                if let Some(starving) = aimed.starving.take() {
                    starving.stop.store(true, Ordering::Relaxed);
                    ensure!(starving.thread.join().is_ok(), "the thread that starves panicked");
                }
            }
            Fault::Isolate(_, way) => self.isolate(victim, way, false)?,
            Fault::Link(..) | Fault::CutClients(_) | Fault::Loss(..) => {
                self.network.filter(self.place(victim)?, &[])?;
            }
            Fault::SlowLink(_) => self.network.slow(self.place(victim)?, false)?,
            Fault::Disk(..) | Fault::Clock(..) => layer::set(&self.faults, victim, "")?,
            Fault::Writing(_, Amid::Kill, _)
            | Fault::Fetching(_, Between::KillFetcher | Between::KillHolder, _) => {}
            Fault::Writing(..) | Fault::Fetching(_, Between::Full, _) => {
                layer::set(&self.faults, victim, "")?;
            }
            Fault::Fetching(_, Between::Cut, _) => {
                self.network.plug(self.place(victim)?, true)?;
            }
            Fault::Damage(who, harm) => {
                snapshots::damage(&self.cluster, victim, &self.log_of(who, victim)?, harm)?;
                self.cluster.start(victim)?;
            }
            Fault::Away(_) => self.cluster.start(victim)?,
            Fault::Split(_) | Fault::Blackout => self.split(|_, _| true)?,
            Fault::StopAll => self.each(|node| self.cluster.thaw(node))?,
        }
        Ok(())
    }

    /// The name of the log that a victim keeps.
    fn log_of(&self, who: Who, victim: &str) -> Result<String> {
        if !matches!(who, Who::Master(_) | Who::Member(..)) {
            return Ok("global".into());
        }
        // A data node is called after its group.
        let group = victim.rsplit_once('-').map(|(group, _)| group.to_owned());
        group.with_context(|| format!("{victim} is of no group"))
    }

    fn place(&self, node: &str) -> Result<usize> {
        let mut nodes = self.cluster.nodes().iter();
        nodes.position(|known| known.id == node).with_context(|| format!("no node {node}"))
    }

    /// Does the same to every node; the first complaint after all were tried.
    fn each<E>(&self, deed: impl Fn(&str) -> Result<(), E>) -> Result<(), E> {
        let done: Vec<Result<(), E>> =
            self.cluster.nodes().iter().map(|node| deed(&node.id)).collect();
        done.into_iter().collect()
    }

    fn isolate(&self, node: &str, way: Way, begins: bool) -> Result<()> {
        let place = self.place(node)?;
        let rules: &[Rule] = match way {
            Way::Cable => return self.network.plug(place, !begins),
            Way::Both => &[Rule::Deaf, Rule::Mute],
            Way::In => &[Rule::Deaf],
            Way::Out => &[Rule::Mute],
        };
        self.network.filter(place, if begins { rules } else { &[] })
    }

    /// Lets only those nodes hear one another that `joined` says; clients hear all.
    fn split(&self, joined: impl Fn(usize, usize) -> bool) -> Result<()> {
        let nodes = self.cluster.nodes().len();
        for place in 0..nodes {
            let apart = (0..nodes).filter(|other| *other != place && !joined(place, *other));
            let rules: Vec<Rule> = apart
                .flat_map(|other| [Rule::From(address(other)), Rule::To(address(other))])
                .collect();
            self.network.filter(place, &rules)?;
        }
        Ok(())
    }

    fn starve(&self, node: &str) -> Starving {
        let (cluster, node) = (Arc::clone(&self.cluster), node.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // It may be dead for a moment; there is nothing to starve then.
                drop(cluster.freeze(&node));
                wait(Duration::from_millis(19));
                drop(cluster.thaw(&node));
                wait(Duration::from_millis(1));
            }
        });
        Starving { stop, thread }
    }

    /// Ends a node's process so that what it had not flushed is gone, and starts it again.
    fn lose_power(&self, node: &str) -> Result<()> {
        let pid = self.cluster.pid(node)?;
        layer::lose_power(&self.faults, node)?;
        let dead = wait_until(DEAD_WITHIN, Duration::from_millis(10), || {
            self.cluster.pid(node).is_ok_and(|now| now != pid)
        });
        ensure!(dead, "node {node} did not lose power within {DEAD_WITHIN:?}");
        Ok(())
    }

    /// Undoes whatever may still be in effect, as far as that is possible.
    pub fn calm(&self) {
        for (place, node) in self.cluster.nodes().iter().enumerate() {
            // Each of these fails where there is nothing to undo.
            drop(self.network.filter(place, &[]));
            drop(self.network.plug(place, true));
            drop(self.cluster.thaw(&node.id));
            drop(layer::set(&self.faults, &node.id, ""));
        }
    }
}
