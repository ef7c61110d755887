//! The status of a pool of spares: how many of its nodes are there, and how many idle.

use super::conditions::{Conditions, Verdict};
use crate::controller::desired::WantedPool;
use crate::controller::observed::{Directory, Observed};
use crate::controller::steps::Steps;
use cairn_crd::{ConditionType, Reason, SparePool, SparePoolStatus};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::Claim;
use std::collections::BTreeSet;

const ABOUT: [ConditionType; 3] =
    [ConditionType::Ready, ConditionType::Progressing, ConditionType::PoolExhausted];

/// What is said of a pool that passed all checks.
#[must_use]
pub fn pool(pool: &WantedPool, observed: &Observed, steps: &Steps) -> SparePoolStatus {
    let old = pool.resource.status.clone().unwrap_or_default();
    let generation = pool.resource.metadata.generation;
    let counts = observed.plane.directory.as_ref().map(|directory| count(pool, directory));
    let facts = Facts { pool, observed, steps, counts };
    let mut conditions = Conditions::new(&old.conditions, generation, observed.now_sec);
    conditions.set(ConditionType::Ready, &facts.ready());
    conditions.set(ConditionType::Progressing, &facts.progressing());
    conditions.set(ConditionType::PoolExhausted, &facts.exhausted());
    let Counts { idle, claimed, .. } =
        counts.unwrap_or(Counts { idle: old.idle, claimed: old.claimed, there: 0, drained: 0 });
    let conditions = conditions.done();
    SparePoolStatus { observed_generation: generation, idle, claimed, conditions }
}

/// What is said of a pool that breaks a rule; whatever runs goes on.
#[must_use]
pub fn refused(resource: &SparePool, why: &str, now_sec: i64) -> SparePoolStatus {
    set_aside(resource, Reason::SpecInvalid, why, now_sec)
}

/// What is said of a pool whose Cluster does not exist.
#[must_use]
pub fn pool_without_cluster(resource: &SparePool, now_sec: i64) -> SparePoolStatus {
    let cluster = &resource.spec.cluster;
    let why = format!("there is no Cluster {cluster} in this namespace: make it, or this anew");
    set_aside(resource, Reason::ClusterMissing, &why, now_sec)
}

fn set_aside(resource: &SparePool, reason: Reason, why: &str, now_sec: i64) -> SparePoolStatus {
    let old = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let conditions = Conditions::new(&old.conditions, generation, now_sec);
    let conditions = conditions.refused(&ABOUT, reason, why);
    SparePoolStatus { observed_generation: generation, conditions, ..old }
}

/// Nodes of a pool whose leases live.
#[derive(Clone, Copy)]
struct Counts {
    idle: i32,
    claimed: i32,
    there: i32,
    /// Nobody's, and not to be claimed.
    drained: i32,
}

fn count(pool: &WantedPool, directory: &Directory) -> Counts {
    let mut counts = Counts { idle: 0, claimed: 0, there: 0, drained: 0 };
    for node in pool.nodes().map(NodeId::new).filter(|node| directory.alive.contains(node)) {
        let Some(info) = directory.nodes.get(&node) else { continue };
        counts.there += 1;
        match info.claim {
            Claim::Idle if directory.is_drained(&node) => counts.drained += 1,
            Claim::Idle => counts.idle += 1,
            Claim::Claimed { .. } => counts.claimed += 1,
            Claim::Releasing { .. } => {}
        }
    }
    counts
}

/// A member that is to be empty, of a group in which nobody learns yet.
fn drained_member(directory: &Directory) -> Option<NodeId> {
    let learns = |group: &GroupId, record: &Record| {
        let mut claimed = directory.nodes.iter().filter(|(node, _)| {
            directory.claimed_by(node.as_str()) == Some(group) && !directory.is_drained(node)
        });
        claimed.any(|(node, info)| !record.names(node, info.incarnation))
    };
    let mut waiting = directory.groups.iter().filter(|(group, record)| !learns(group, record));
    waiting.find_map(|(_, record)| {
        let mut members = record.members.iter().map(|member| &member.id);
        members.find(|member| directory.is_drained(member)).cloned()
    })
}

struct Facts<'a> {
    pool: &'a WantedPool,
    observed: &'a Observed,
    steps: &'a Steps,
    counts: Option<Counts>,
}

impl Facts<'_> {
    fn unknown(&self) -> Verdict {
        Verdict::unknown(Reason::PlaneUnreachable, self.observed.plane.error.clone())
    }

    /// Those of `names` that are nodes of the pool or their claims; none for none.
    fn own(&self, names: &[String]) -> Option<String> {
        let own = |name: &&String| {
            let pod = name.strip_prefix("data-").unwrap_or(name);
            pod.rsplit_once('-').is_some_and(|(stem, _)| stem == self.pool.set)
        };
        let own: Vec<&str> = names.iter().filter(own).map(String::as_str).collect();
        (!own.is_empty()).then(|| own.join(", "))
    }

    fn waits(&self) -> Option<String> {
        let pods = self.pool.nodes();
        let pods = pods.filter_map(|name| Some((self.observed.pods.get(&name)?, name)));
        let lines: Vec<String> = pods
            .filter(|(pod, _)| !pod.waits.is_empty())
            .map(|(pod, name)| format!("{name}: {}", pod.waits))
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    fn ready(&self) -> Verdict {
        if !self.observed.is_founded() {
            return Verdict::no(Reason::Founding, "its Cluster is being founded");
        }
        let Some(counts) = self.counts else { return self.unknown() };
        let message = format!("{} of {} nodes are there", counts.there, self.pool.nodes);
        if counts.there >= self.pool.nodes {
            return Verdict::yes(Reason::SparesThere, message);
        }
        match self.waits() {
            Some(waits) => Verdict::no(Reason::PodsPending, waits),
            None => Verdict::no(Reason::WaitingForNodes, message),
        }
    }

    fn progressing(&self) -> Verdict {
        let stuck = self.steps.stuck.as_ref();
        let is_own = |stuck: &&String| {
            let pod = stuck.split(' ').next().unwrap_or_default().to_owned();
            self.own(&[pod]).is_some()
        };
        if let Some(stuck) = stuck.filter(is_own) {
            return Verdict::no(Reason::RolloutStuck, stuck.clone());
        }
        if let Some(waits) = self.waits() {
            return Verdict::yes(Reason::PodsPending, waits);
        }
        if let Some(outdated) = self.own(&self.steps.outdated) {
            let message = format!("to be replaced: {outdated}; {}", self.steps.waits);
            return Verdict::yes(Reason::RollingOut, message);
        }
        let leaving: Vec<String> = self.pool.leaving().collect();
        if !leaving.is_empty() {
            let message = format!("to go when no group needs them: {}", leaving.join(", "));
            return Verdict::yes(Reason::SparesClaimed, message);
        }
        match self.own(&self.steps.growing) {
            Some(growing) => Verdict::yes(Reason::VolumesGrowing, format!("to grow: {growing}")),
            None => Verdict::no(Reason::Settled, "nothing is left to do"),
        }
    }

    /// Zones in which fewer of its nodes are idle than should be, in words.
    fn short_zones(&self) -> Option<String> {
        let min = usize::from(self.pool.config.as_ref()?.min_idle_per_zone);
        let directory = self.observed.plane.directory.as_ref()?;
        let data = || directory.nodes.iter().filter(|(_, info)| info.role == NodeRole::Data);
        let idle = |zone: &str| {
            let free = data().filter(|(node, info)| {
                info.zone.as_deref() == Some(zone)
                    && info.pool.as_ref() == Some(&self.pool.name)
                    && info.claim == Claim::Idle
                    && directory.alive.contains(*node)
                    && !directory.is_drained(node)
            });
            free.count()
        };
        let zones: BTreeSet<&str> = data().filter_map(|(_, info)| info.zone.as_deref()).collect();
        let short: Vec<&str> = zones.into_iter().filter(|zone| idle(zone) < min).collect();
        (!short.is_empty()).then(|| format!("fewer than {min} in zone {}", short.join(", ")))
    }

    fn exhausted(&self) -> Verdict {
        let Some(config) = &self.pool.config else {
            return Verdict::no(Reason::Settled, "it is going: none has to be idle");
        };
        let Some(Counts { idle, drained, .. }) = self.counts else { return self.unknown() };
        let mut message = format!("{idle} idle, {} are wanted", config.idle_min);
        if drained > 0 {
            message += &format!("; {drained} more are on machines that are drained");
        }
        let waits = self.observed.plane.directory.as_ref().and_then(drained_member);
        if let Some(node) = waits.filter(|_| idle == 0) {
            message += &format!("; {node} is drained and waits for one");
            return Verdict::yes(Reason::TooFewIdle, message);
        }
        match idle < i32::from(config.idle_min) {
            true => Verdict::yes(Reason::TooFewIdle, message),
            false => match self.short_zones() {
                Some(short) => {
                    Verdict::yes(Reason::TooFewIdleInZone, format!("{message}; {short}"))
                }
                None => Verdict::no(Reason::EnoughIdle, message),
            },
        }
    }
}
