//! What is to be done to running nodes next: one at a time, replicas first, the master last.
//!
//! Pure, and without memory: each step follows from what is seen, so an operator that was restarted
//! in the middle goes on where it was. A node is replaced only while all others of its set are in
//! sync; one that does not come back stops everything after it.

use super::desired::{Desired, WantedGroup, WantedKeyspace, WantedPool};
use super::observed::{Observed, PodSeen, in_sync};
use super::pools;
use crate::names;
use crate::object::{Kind, Object};
use cairn_crd::quantity::size_bytes;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::{Record, Role};
use std::collections::{BTreeMap, BTreeSet};

/// How long a replaced node may take until it is in sync again, in seconds.
pub const STEP_SEC_MAX: i64 = 300;

/// How long global nodes that are to be replaced wait for a checkpoint node, in seconds.
const CHECKPOINT_SEC_MAX: i64 = 60;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Replace a pod: its StatefulSet makes the next one from the template in force.
    DeletePod {
        /// Which.
        pod: String,
        /// Only this one of that name.
        uid: String,
    },
    /// Move mastership away first.
    Switchover {
        /// Of which log.
        group: GroupId,
        /// To whom.
        target: NodeId,
        /// Why, for events.
        why: &'static str,
    },
    /// Give a spare's pod the labels of the group and keyspace that it serves, or take them away.
    Label {
        /// Which.
        pod: String,
        /// Only this one of that name.
        uid: String,
        /// Group and keyspace; none if it is no group's.
        of: Option<(String, String)>,
    },
    /// Ask for a larger volume.
    GrowClaim {
        /// The claim.
        claim: String,
        /// Its new size.
        size: String,
    },
    /// Write how many groups a keyspace has that is scaled by its load, as an autoscaler does.
    Scale {
        /// The keyspace.
        keyspace: String,
        /// How many.
        groups: i32,
    },
    /// Delete a StatefulSet and keep its pods, to make it again with what it cannot change.
    OrphanSet {
        /// Which.
        set: String,
    },
}

/// What is to be done, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// To be done now.
    pub actions: Vec<Action>,
    /// Pods that still run an old template.
    pub outdated: Vec<String>,
    /// Why none of them is replaced now; empty if one is, or none has to be.
    pub waits: String,
    /// A replaced node that did not come back; nothing more is replaced.
    pub stuck: Option<String>,
    /// Nodes that are to go and cannot yet.
    pub leaving: Vec<String>,
    /// Claims that are not as large as asked for.
    pub growing: Vec<String>,
}

/// What to do next; `objects` is what was built.
#[must_use]
pub fn next(desired: &Desired, observed: &Observed, objects: &[Object]) -> Steps {
    let mut steps = Steps::default();
    grow(desired, observed, objects, &mut steps);
    if !observed.is_founded() {
        return steps;
    }
    leave(desired, observed, &mut steps);
    steps.actions.extend(desired.keyspaces.iter().filter_map(|it| scale(it, observed)));
    steps.actions.extend(pools::labels(desired, observed));
    roll(desired, observed, objects, &mut steps);
    steps
}

/// The log that the nodes of `set` keep.
fn log_of(desired: &Desired, set: &str) -> GroupId {
    if names::plane(&desired.name).contains(&set.to_owned()) {
        GroupId::global()
    } else {
        GroupId::new(set)
    }
}

/// Pods of a StatefulSet, highest ordinal first.
fn pods_of<'a>(observed: &'a Observed, set: &str) -> Vec<(&'a String, &'a PodSeen)> {
    let of = |pod: &str| pod.rsplit_once('-').is_some_and(|(stem, _)| stem == set);
    let mut pods: Vec<_> = observed.pods.iter().filter(|(name, _)| of(name)).collect();
    pods.sort_by_key(|(name, _)| std::cmp::Reverse(names::ordinal(name)));
    pods
}

fn roll(desired: &Desired, observed: &Observed, objects: &[Object], steps: &mut Steps) {
    let sets = objects.iter().filter(|o| o.kind == Kind::StatefulSet);
    let mut sets: Vec<_> = sets.map(|o| (rank(desired, &o.name), &o.name, o)).collect();
    sets.sort_by_key(|(rank, name, _)| (*rank, *name));
    let mut old = Vec::new();
    for (_, _, set) in sets {
        let wanted = template_hash(&set.value);
        let mut outdated = pods_of(observed, &set.name);
        outdated.retain(|(_, pod)| pod.template != wanted);
        steps.outdated.extend(outdated.iter().map(|(name, _)| (*name).clone()));
        if !outdated.is_empty() {
            old.push((&*set.name, outdated));
        }
    }
    for (set, outdated) in &old {
        let broken = outdated.iter().find(|(_, pod)| !pod.running && !pod.deleting);
        if let Some((name, pod)) = broken.filter(|_| is_ready_to_make(observed, set, objects)) {
            // What does not run cannot be missed.
            steps.actions.push(delete(name, pod));
            return;
        }
    }
    let mut ignored = newcomers(desired, observed, &steps.outdated);
    let (checkpoint, global) = (names::checkpoint(&desired.name), names::global(&desired.name));
    let is_new = ignored.iter().any(|pod| pod.starts_with(&format!("{checkpoint}-")));
    // A checkpoint node that nobody knows yet must not keep those waiting that are to learn of it.
    let first = old.iter().position(|(set, _)| is_new && *set == global).unwrap_or(0);
    let Some((set, outdated)) = old.into_iter().nth(first) else { return };
    if !is_ready_to_make(observed, set, objects) {
        steps.waits = format!("StatefulSet {set} has not taken the new template yet");
        return;
    }
    ignored.extend(steps.outdated.iter().cloned());
    if !is_pool(desired, set) {
        // No log waits for them.
        ignored.extend(pools::idle(desired, observed));
    }
    if let Some(stuck) = not_back(observed, &ignored) {
        steps.stuck = Some(stuck);
        return;
    }
    if let Some(wait) = absent(observed, objects).or_else(|| busy(observed, &ignored)) {
        steps.waits = wait;
        return;
    }
    match replace(desired, observed, set, &outdated) {
        Ok(action) => steps.actions.push(action),
        Err(waits) => steps.waits = waits,
    }
}

fn rank(desired: &Desired, set: &str) -> u8 {
    match set {
        set if set == names::acceptor(&desired.name) => 0,
        set if set == names::checkpoint(&desired.name) => 1,
        set if set == names::global(&desired.name) => 2,
        set if is_pool(desired, set) => 4,
        _ => 3,
    }
}

/// Whether the nodes of `set` are spares.
fn is_pool(desired: &Desired, set: &str) -> bool {
    desired.pools.iter().any(|pool| pool.set == set)
}

fn template_hash(set: &serde_json::Value) -> String {
    let annotations = set.pointer("/spec/template/metadata/annotations");
    let hash = annotations.and_then(|a| a[names::TEMPLATE].as_str());
    hash.unwrap_or_default().to_owned()
}

/// Whether the StatefulSet's controller would make pods from the template that was built.
fn is_ready_to_make(observed: &Observed, set: &str, objects: &[Object]) -> bool {
    let Some(live) = observed.live.get(&(Kind::StatefulSet, set.to_owned())) else { return false };
    let wanted = objects.iter().find(|o| o.kind == Kind::StatefulSet && o.name == set);
    let seen = live.data.pointer("/status/observedGeneration").and_then(|g| g.as_i64());
    seen.is_some()
        && seen >= live.metadata.generation
        && wanted.is_some_and(|wanted| template_hash(&wanted.value) == template_hash(&live.data))
}

fn delete(name: &str, pod: &PodSeen) -> Action {
    Action::DeletePod { pod: name.to_owned(), uid: pod.uid.clone() }
}

/// A pod of the new template that is not in sync after all the time there is.
fn not_back(observed: &Observed, ignored: &[String]) -> Option<String> {
    let late = observed.pods.iter().find(|(name, pod)| {
        let age_sec = observed.now_sec - pod.created_sec;
        !ignored.contains(name) && !pod.ready && age_sec > STEP_SEC_MAX
    });
    late.map(|(name, pod)| {
        let waits = if pod.waits.is_empty() { "it is not in sync" } else { &pod.waits };
        format!("{name} was replaced and is not back after {STEP_SEC_MAX} s: {waits}")
    })
}

/// Global and checkpoint nodes that were added: global nodes before them learn of them by being
/// replaced, and only then can they get in sync.
///
/// A checkpoint node that is an acceptor was there from the beginning; another one that takes long
/// to come back is no reason to wait, for it may be new.
fn newcomers(desired: &Desired, observed: &Observed, outdated: &[String]) -> Vec<String> {
    let set = names::global(&desired.name);
    let Some(record) = observed.plane.record(&GroupId::global()) else { return Vec::new() };
    let pods = pods_of(observed, &set);
    if !pods.iter().any(|(name, _)| outdated.contains(name)) {
        return Vec::new();
    }
    let counts = |name: &str| record.member(&NodeId::new(name)).is_some();
    let global = pods.into_iter().map(|(name, _)| name).filter(|name| !counts(name));
    let seated = |name: &str| desired.founding.acceptors.contains(&NodeId::new(name));
    let checkpoints = pods_of(observed, &names::checkpoint(&desired.name)).into_iter();
    let waiting = checkpoints.filter(|(name, pod)| {
        let age_sec = observed.now_sec - pod.created_sec;
        !pod.ready && !seated(name) && !outdated.contains(name) && age_sec > CHECKPOINT_SEC_MAX
    });
    global.chain(waiting.map(|(name, _)| name)).cloned().collect()
}

/// A pod that is gone and not made again yet: its node counts as heard for a while.
fn absent(observed: &Observed, objects: &[Object]) -> Option<String> {
    let sets = objects.iter().filter(|object| object.kind == Kind::StatefulSet);
    let mut pods = sets.flat_map(|set| {
        let replicas = set.value.pointer("/spec/replicas").and_then(|count| count.as_i64());
        (0..replicas.unwrap_or(0)).map(|ordinal| format!("{}-{ordinal}", set.name))
    });
    let missing = pods.find(|pod| !observed.pods.contains_key(pod))?;
    Some(format!("{missing} is not made yet"))
}

/// A pod that stops or comes back: one at a time.
fn busy(observed: &Observed, ignored: &[String]) -> Option<String> {
    let mut pods = observed.pods.iter();
    let found = pods.find(|(name, pod)| pod.deleting || (!pod.ready && !ignored.contains(name)));
    found.map(|(name, pod)| {
        format!("{name} {}", if pod.deleting { "is stopping" } else { "is not in sync yet" })
    })
}

/// Replaces the next pod of a set whose others are in sync; its master only after a switchover.
fn replace(
    desired: &Desired,
    observed: &Observed,
    set: &str,
    outdated: &[(&String, &PodSeen)],
) -> Result<Action, String> {
    if is_pool(desired, set) {
        return replace_spare(observed, outdated);
    }
    replace_of(observed, log_of(desired, set), outdated)
}

/// Spares that are no group's go first; the others as members of the groups that they serve.
fn replace_spare(observed: &Observed, outdated: &[(&String, &PodSeen)]) -> Result<Action, String> {
    let directory = observed.plane.directory.as_ref();
    let directory = directory.ok_or_else(|| "the directory is not known".to_owned())?;
    if let Some((name, pod)) = outdated.iter().find(|(name, _)| directory.holder(name).is_none()) {
        return Ok(delete(name, pod));
    }
    let claimed = outdated.iter().find_map(|spare| Some((spare, directory.claimed_by(spare.0)?)));
    match claimed {
        Some((spare, group)) => replace_of(observed, group.clone(), std::slice::from_ref(spare)),
        None => Err("the spares that are left are being released".to_owned()),
    }
}

/// Replaces the next of `outdated`, nodes of `group`.
fn replace_of(
    observed: &Observed,
    group: GroupId,
    outdated: &[(&String, &PodSeen)],
) -> Result<Action, String> {
    let record = observed.plane.record(&group);
    let record = record.ok_or_else(|| format!("the record of {group} is not known"))?;
    let is_master = |name: &str| record.master.as_ref().is_some_and(|m| m.as_str() == name);
    let chosen = outdated.iter().find(|(name, _)| !is_master(name));
    let (name, pod) =
        chosen.or(outdated.first()).ok_or_else(|| "nothing is outdated".to_owned())?;
    let node = NodeId::new(name.as_str());
    whole_without(observed, &group, &record, &node)?;
    if !is_master(name) || record.members.len() == 1 {
        return Ok(delete(name, pod));
    }
    let target = successor(observed, &group, &record, &node);
    let target = target.ok_or_else(|| format!("no member of {group} can follow {name}"))?;
    Ok(Action::Switchover { group, target, why: "its node is replaced" })
}

/// Whether the log goes on as asked while `node` is away.
fn whole_without(
    observed: &Observed,
    group: &GroupId,
    record: &Record,
    node: &NodeId,
) -> Result<(), String> {
    if record.open || !observed.plane.serves(group, record) {
        return Err(format!("{group} has no master that serves"));
    }
    if record.members.len() < usize::from(record.wanted) {
        return Err(format!("{group} has fewer members than asked for"));
    }
    for member in record.members.iter().filter(|member| member.id != *node) {
        let progress = observed.plane.progress(group, record, &member.id);
        if !progress.as_ref().is_some_and(in_sync) {
            let lag = progress.map_or("unknown".to_owned(), |p| p.lag_entries.to_string());
            return Err(format!("{} is not in sync (entries behind: {lag})", member.id));
        }
    }
    Ok(())
}

/// The member to hand over to: in sync, not on a machine that is drained, rather a replica than a
/// backup, rather one further on.
fn successor(
    observed: &Observed,
    group: &GroupId,
    record: &Record,
    from: &NodeId,
) -> Option<NodeId> {
    let others = record.members.iter().filter(|member| member.id != *from);
    let able = others.filter_map(|member| {
        let progress = observed.plane.progress(group, record, &member.id)?;
        let drained = observed.machine_of(&member.id).is_some_and(|(_, m)| m.cordoned || !m.ready);
        let stays = observed.pods.get(member.id.as_str()).is_none_or(|pod| !pod.deleting);
        (in_sync(&progress) && stays).then(|| {
            (drained, member.role == Role::Backup, progress.lag_entries, member.id.clone())
        })
    });
    able.min().map(|(_, _, _, id)| id)
}

/// The resource says how many groups the planner has found that its load needs.
fn scale(keyspace: &WantedKeyspace, observed: &Observed) -> Option<Action> {
    let known = observed.plane.directory.as_ref()?.keyspaces.get(&keyspace.name)?;
    known.autoscale.as_ref()?;
    let (spec, groups) = (&keyspace.resource.spec, i32::from(keyspace.config.groups));
    let differs = spec.autoscale.is_some() && spec.groups != groups;
    differs.then(|| Action::Scale { keyspace: keyspace.name.clone(), groups })
}

/// Masters leave machines that are drained, and nodes that are to go.
fn leave(desired: &Desired, observed: &Observed, steps: &mut Steps) {
    let group = GroupId::global();
    let asked = desired.cluster.spec.global_replicas + 1;
    let last = (asked < desired.globals)
        .then(|| format!("{}-{}", names::global(&desired.name), desired.globals - 1));
    let spares: BTreeSet<String> = desired.pools.iter().flat_map(WantedPool::leaving).collect();
    steps.leaving.extend(spares.iter().cloned());
    leave_log(observed, &group, last, &spares, steps);
    for group in desired.keyspaces.iter().flat_map(|keyspace| &keyspace.groups) {
        let WantedGroup { name, members, nodes, .. } = group;
        let last = (members < nodes).then(|| format!("{name}-{}", nodes - 1));
        leave_log(observed, &GroupId::new(name), last, &spares, steps);
    }
}

fn leave_log(
    observed: &Observed,
    group: &GroupId,
    going: Option<String>,
    spares: &BTreeSet<String>,
    steps: &mut Steps,
) {
    let record = observed.plane.record(group);
    if let Some(going) = &going {
        steps.leaving.push(going.clone());
    }
    let Some(record) = record.filter(|record| !record.open) else { return };
    let Some(master) = record.master.clone() else { return };
    let drained = observed.machine_of(&master).is_some_and(|(_, machine)| machine.cordoned);
    let going =
        going.is_some_and(|node| node == master.as_str()) || spares.contains(master.as_str());
    if !drained && !going {
        return;
    }
    let why = if going { "its node is to go" } else { "its machine is drained" };
    let Some(target) = successor(observed, group, &record, &master) else { return };
    // From one machine that is drained to another is no help.
    if going || !observed.machine_of(&target).is_some_and(|(_, machine)| machine.cordoned) {
        steps.actions.push(Action::Switchover { group: group.clone(), target, why });
    }
}

/// Larger volumes: each claim first, then the set's template, which only a new set can have.
fn grow(desired: &Desired, observed: &Observed, objects: &[Object], steps: &mut Steps) {
    let mut sizes: BTreeMap<String, &str> = BTreeMap::new();
    let spec = &desired.cluster.spec;
    sizes.insert(names::global(&desired.name), &spec.storage.size);
    sizes.insert(names::checkpoint(&desired.name), &spec.checkpoint_storage().size);
    for keyspace in &desired.keyspaces {
        for group in &keyspace.groups {
            sizes.insert(group.name.clone(), &keyspace.resource.spec.storage.size);
        }
    }
    for pool in &desired.pools {
        sizes.insert(pool.set.clone(), &pool.resource.spec.storage.size);
    }
    for set in objects.iter().filter(|object| object.kind == Kind::StatefulSet) {
        let Some(size) = sizes.get(&set.name) else { continue };
        for (claim, seen) in &observed.claims {
            let pod = claim.strip_prefix("data-").and_then(|pod| pod.rsplit_once('-'));
            if pod.is_none_or(|(stem, _)| stem != set.name) {
                continue;
            }
            if size_bytes(&seen.wanted) < size_bytes(size) {
                let (claim, size) = (claim.clone(), (*size).to_owned());
                steps.actions.push(Action::GrowClaim { claim, size });
            }
            let bound = !seen.there.is_empty();
            if bound && size_bytes(&seen.there) < size_bytes(size) {
                steps.growing.push(claim.clone());
            }
        }
        let template = desired.claim_sizes.get(&set.name);
        let small = template.is_some_and(|template| size_bytes(template) < size_bytes(size));
        let asked = steps.actions.iter().all(|a| !matches!(a, Action::GrowClaim { .. }));
        if small && asked {
            steps.actions.push(Action::OrphanSet { set: set.name.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
