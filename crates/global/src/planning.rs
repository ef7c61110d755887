//! The planner's shell: what the directory should say next, as transactions, and plans for masters.
//!
//! Everything decided here is decided by `cairn-logic::planner` from committed data; a transaction
//! compares the versions of all it read, so a stale wish changes nothing.

mod autoscaling;
mod draining;
mod healing;
mod masters;
mod scaling;
#[cfg(test)]
pub(crate) mod tests;

use crate::View;
use autoscaling::Autoscaling;
use bytes::Bytes;
use cairn_directory::LeaseId;
use cairn_directory::op::{Compare, DeleteRange, Op, Put, Relation, Target, Txn, TxnOp};
use cairn_directory::range::KeyRange;
use cairn_logic::balance::Parts;
use cairn_logic::ids::{Epoch, GroupId, NodeId};
use cairn_logic::masters::Handover;
use cairn_logic::message::Mode;
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::planner::{self, Asked, Held, Node, Standing};
use cairn_logic::record::{Member, Record, Role};
use cairn_logic::replication::Change;
use cairn_logic::slots;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys as keys;
pub use draining::{Drain, State};
use healing::Healing;
use keys::{Claim, KeyspaceConfig, NodeInfo, SlotOwners, SlotRange, Transition};
pub use masters::Look;
use masters::Masters;
pub use scaling::{Outlook, Said, next_move};
use std::collections::{BTreeMap, BTreeSet};

/// How long a new group waits for all its members before it begins with fewer.
const COMPLETE_WAIT: Duration = Duration::from_secs(10);
/// How long it waits for nodes of its own before it begins with spares: when a whole cluster starts
/// they come with the others, and spares would only have to be relieved.
const OWN_WAIT: Duration = Duration::from_secs(3);

/// Groups in which a node is replaced at the same time.
const REPLACED_MAX: usize = 4;
/// The members that report to a group's judge.
pub type Heard = BTreeSet<NodeId>;

/// Decides from the view; remembers only since when groups are incomplete, nodes away, and nodes
/// too many.
#[derive(Default)]
pub struct Planning {
    wanted_since: BTreeMap<GroupId, Instant>,
    surplus_since: BTreeMap<GroupId, (NodeId, Instant)>,
    healing: Healing,
    masters: Masters,
    autoscaling: Autoscaling,
    said: Said,
}

/// What the master of a group is to know and to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that hold a claim and do not count yet, whatever folder of theirs counts.
    pub learners: Vec<Member>,
    /// The change to ask for.
    pub wish: Option<Change>,
}

/// A transaction, all of whose comparisons are versions of keys.
pub struct Step {
    /// What it is about, for the log.
    pub what: String,
    /// The transaction.
    pub op: Op,
}

pub(crate) fn version_is(key: &str, version: u64) -> Compare {
    Compare {
        range: KeyRange::single(key.to_owned()),
        relation: Relation::Equal,
        target: Target::Version(i64::try_from(version).unwrap_or(i64::MAX)),
    }
}

pub(crate) fn put(key: &str, value: Vec<u8>) -> TxnOp {
    TxnOp::Put(Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value),
        lease: LeaseId(0),
        ..Put::default()
    })
}

/// Replaces `key` if its version is still `version`.
pub fn swap(key: &str, version: u64, value: Vec<u8>) -> Op {
    let success = vec![put(key, value)];
    Op::Txn(Txn { compare: vec![version_is(key, version)], success, failure: Vec::new() })
}

/// Changes nothing, and says whether `key` still has this version.
pub fn holds(key: &str, version: u64) -> Op {
    let compare = vec![version_is(key, version)];
    Op::Txn(Txn { compare, success: Vec::new(), failure: Vec::new() })
}

/// Adds a transition to a group's history, and forgets those that are too old.
pub fn remember(group: &GroupId, made: &Transition) -> Op {
    let oldest = Epoch(made.epoch.0.saturating_sub(keys::TRANSITIONS_MAX));
    let (first, end) = (keys::history_prefix(group), keys::transition_key(group, oldest));
    let range = KeyRange::from_etcd(Bytes::from(first), Bytes::from(end));
    let old = TxnOp::DeleteRange(DeleteRange { range, prev_kv: false });
    let new = put(&keys::transition_key(group, made.epoch), made.encode());
    Op::Txn(Txn { compare: Vec::new(), success: vec![old, new], failure: Vec::new() })
}

fn asked(config: &KeyspaceConfig) -> Asked {
    Asked {
        replicas: config.replicas,
        backups: config.backups,
        mode: Mode { rule: config.ack, wanted: config.wanted(), durability: config.durability },
    }
}

fn node(view: &View, id: &NodeId, info: &NodeInfo) -> Node {
    Node {
        id: id.clone(),
        incarnation: info.incarnation,
        zone: info.zone.clone(),
        keyspace: info.preferred_keyspace.clone(),
        group: info.preferred_group.clone(),
        priority: info.priority,
        make: format!("{}/{}/{}", info.make.size_class, info.make.version, info.make.settings),
        drained: view.is_drained(id),
        last: false,
    }
}

fn idle(view: &View) -> Vec<Node> {
    let free = view.nodes.iter().filter(|(id, info)| {
        info.role == NodeRole::Data && info.claim == Claim::Idle && view.is_alive(id)
    });
    let mut free: Vec<Node> = free.map(|(id, info)| node(view, id, info)).collect();
    if view.pools.values().any(|pool| pool.min_idle_per_zone > 0) {
        let pools = crate::pools::pools(view);
        let is_last = |node: &Node| {
            let pool = view.nodes.get(&node.id)?.pool.as_ref()?;
            Some(pools.iter().find(|it| it.name == *pool)?.is_last_in(node.zone.as_ref()?))
        };
        free.iter_mut().for_each(|node| node.last = is_last(node).unwrap_or(false));
    }
    free
}

fn groups_of(keyspace: &str, config: &KeyspaceConfig) -> impl Iterator<Item = GroupId> {
    (0..config.groups).map(move |n| keys::group_of(keyspace, n))
}

impl Planning {
    /// What the master of a group says of its slots.
    pub fn hears(&mut self, group: GroupId, parts: Parts) {
        self.said.insert(group, parts);
    }

    /// The next master to hand over, if one is due.
    pub fn next_handover(&mut self, look: &Look<'_>) -> Option<Handover> {
        let braked = self.healing.is_braked(look.now.monotonic);
        self.masters.next(look, braked)
    }

    /// What the planner would do with a keyspace, and why; `None` if there is no such keyspace.
    #[must_use]
    pub fn outlook(&self, look: &Look<'_>, keyspace: &str) -> Option<Outlook> {
        let mut outlook = scaling::outlook(look.view, keyspace, look.now.unix_ms, &self.said)?;
        let config = look.view.keyspaces.get(keyspace)?;
        outlook.lines.extend(self.autoscaling.line(look.view, (keyspace, config), &self.said));
        outlook.lines.extend(self.masters.outlook(look, keyspace));
        Some(outlook)
    }

    /// The keyspaces whose load needs more groups than they may have, and how many that is.
    pub fn limited<'v>(&self, view: &'v View) -> impl Iterator<Item = (&'v str, u16)> {
        self.autoscaling.limited(view)
    }

    /// The next transaction, if one is due; `claim` is a number no claim had before, `heard` says
    /// who reports to a group's judge now.
    pub fn next(
        &mut self,
        (now, unix_ms): (Instant, u64),
        view: &View,
        claim: u64,
        heard: impl Fn(&GroupId) -> Heard,
    ) -> Option<Step> {
        self.healing.look(now, view);
        let (busy, idle) = (self.busy(now, view), idle(view));
        for (name, config) in &view.keyspaces {
            // Who is to go is kept whole as long as it has slots.
            let leaving = scaling::leaving(view, name, config);
            for group in groups_of(name, config).chain(leaving) {
                let step = match view.groups.get(&group) {
                    None => self.form(now, view, (name, config), &group, (&idle, claim)),
                    Some(record) => {
                        self.wanted_since.remove(&group);
                        let case = Case { view, name, config, group: &group, record };
                        let held = self.held(now, view, &group, record);
                        let claimed = case.complete(&held, busy, (&idle, claim));
                        claimed.or_else(|| self.release(now, &case, &held, &heard(&group)))
                    }
                };
                if step.is_some() {
                    return step;
                }
            }
            let slots = place_slots(view, name, config)
                .or_else(|| scaling::step(view, (name, config), unix_ms, &self.said))
                .or_else(|| self.autoscaling.next(now, view, (name, config), &self.said));
            if slots.is_some() {
                return slots;
            }
        }
        orphan(view)
    }

    /// Everybody who holds a claim of the group or is a member of it. A member counts while its
    /// folder may come back; another folder does not.
    fn held(&self, now: Instant, view: &View, group: &GroupId, record: &Record) -> Vec<Held> {
        let member = |id: &NodeId, info: &NodeInfo| {
            record.members.iter().find(|m| m.id == *id && m.incarnation == info.incarnation)
        };
        let of_it = |(id, info): (&NodeId, &NodeInfo)| {
            let role = member(id, info).map(|member| member.role);
            let held = role.is_some() || info.is_claimed_by(group, info.incarnation);
            held.then(|| Held {
                node: node(view, id, info),
                role,
                here: view.is_alive(id),
                // Its group's judge decides about a master first.
                given_up: role != Some(Role::Master) && self.healing.has_given_up(now, id),
            })
        };
        view.nodes.iter().filter_map(of_it).collect()
    }

    /// In how many groups a node learns to replace another one, and whether nobody who is well may
    /// be replaced now.
    fn busy(&self, now: Instant, view: &View) -> Busy {
        if self.healing.is_whole() && view.drains.is_empty() {
            return Busy::default();
        }
        let replaces = |(group, record): &(&GroupId, &Record)| {
            let config = view.keyspaces.get(keys::keyspace_of(group).unwrap_or_default());
            let held = self.held(now, view, group, record);
            config.is_some_and(|config| planner::is_replacing(&asked(config), &held))
        };
        let replaced = view.groups.iter().filter(replaces).count();
        Busy { replaced, drains_wait: replaced > 0 || self.healing.is_braked(now) }
    }

    /// Gives back the claim of a node that the group has not needed for a while.
    fn release(
        &mut self,
        now: Instant,
        case: &Case<'_>,
        held: &[Held],
        heard: &Heard,
    ) -> Option<Step> {
        let spares = case.spares();
        let zones = zones(case.view, case.record);
        let (record, drained) = (case.record, &drained(case.view, case.record));
        let standing = Standing { record, heard, spares: &spares, zones: &zones, drained };
        let Some(node) = planner::next_release(&asked(case.config), standing, held) else {
            self.surplus_since.remove(case.group);
            return None;
        };
        let since = self.surplus_since.entry(case.group.clone()).or_insert((node.id.clone(), now));
        if since.0 != node.id {
            *since = (node.id.clone(), now);
        }
        let long = now.since(since.1) >= self.healing.replace_after();
        long.then(|| case.release(&node.id)).flatten()
    }

    /// Forms a group of idle nodes.
    fn form(
        &mut self,
        now: Instant,
        view: &View,
        (name, config): (&str, &KeyspaceConfig),
        group: &GroupId,
        (idle, claim): (&[Node], u64),
    ) -> Option<Step> {
        let since = *self.wanted_since.entry(group.clone()).or_insert(now);
        let wanted = usize::from(config.wanted());
        let few = cairn_logic::counting::Counts::new(
            cairn_logic::counting::Plane::Group,
            config.ack,
            wanted.max(1),
            wanted,
        );
        let at_least = if now.since(since) < COMPLETE_WAIT { wanted } else { few.need };
        let spares = now.since(since) >= OWN_WAIT;
        let may = |node: &&Node| spares || node.keyspace.is_some();
        let idle: Vec<Node> = idle.iter().filter(may).cloned().collect();
        let mut record = planner::first_members(name, group, &asked(config), &idle, at_least)?;
        let key = keys::group_key(group);
        let mut compare = vec![version_is(&key, view.version(&key))];
        if let Some(former) = view.retired.get(group) {
            record.version = former.version.next();
            record.attempt = former.attempt;
        }
        let mut success = vec![put(&key, keys::encode_group(&record))];
        for member in &record.members {
            let (as_read, info) = claimed(view, &member.id, group, claim)?;
            compare.extend(as_read);
            success.push(info);
        }
        let members: Vec<&str> = record.members.iter().map(|m| m.id.as_str()).collect();
        let what = format!("form {group} of {}", members.join(", "));
        Some(Step { what, op: Op::Txn(Txn { compare, success, failure: Vec::new() }) })
    }
}

/// What goes on elsewhere.
#[derive(Clone, Copy, Default)]
struct Busy {
    /// Groups in which a node learns to replace another one.
    replaced: usize,
    /// Nodes that are drained, and well, wait for others.
    drains_wait: bool,
}

/// A group that is formed, and what is asked of it.
struct Case<'v> {
    view: &'v View,
    name: &'v str,
    config: &'v KeyspaceConfig,
    group: &'v GroupId,
    record: &'v Record,
}

impl Case<'_> {
    /// Claims another node for a group that has too few who stay.
    fn complete(&self, held: &[Held], busy: Busy, (idle, claim): (&[Node], u64)) -> Option<Step> {
        let Self { view, config, group, .. } = *self;
        let asked = asked(config);
        let too_many = planner::is_replacement(&asked, held) && busy.replaced >= REPLACED_MAX;
        if too_many || (busy.drains_wait && planner::is_for_drain(&asked, held)) {
            return None;
        }
        let chosen = self.chosen(held, idle)?;
        let (compare, info) = claimed(view, &chosen.id, group, claim)?;
        let what = format!("claim {} for {group}", chosen.id);
        Some(Step { what, op: Op::Txn(Txn { compare, success: vec![info], failure: Vec::new() }) })
    }

    /// The node to claim next, if it is this group's turn.
    fn chosen<'n>(&self, held: &[Held], idle: &'n [Node]) -> Option<&'n Node> {
        let Self { view, name, config, group, record } = *self;
        let known = |id: &NodeId| Some(node(view, id, view.nodes.get(id)?));
        let master = record.master.as_ref().and_then(known);
        let like = master.as_ref().map(|master| master.make.as_str());
        planner::next_claim((name, group), &asked(config), held, idle, like)
    }

    /// Members that were not made for this group.
    fn spares(&self) -> BTreeSet<NodeId> {
        spares(self.view, self.group, self.record)
    }

    /// The record must not have changed: no other one may name the node.
    fn release(&self, id: &NodeId) -> Option<Step> {
        let of_group = keys::group_key(self.group);
        released(self.view, id, version_is(&of_group, self.record.version.0))
    }
}

/// Gives the claim of a node back if `compare` holds, too (docs/replication.md §10).
fn released(view: &View, id: &NodeId, compare: Compare) -> Option<Step> {
    let key = keys::node_key(id);
    let mut info = view.nodes.get(id)?.clone();
    let Claim::Claimed { group, claim } = info.claim else { return None };
    if info.make.version.is_empty() {
        // A node of before there were releases would not understand.
        return None;
    }
    let what = format!("release {id} from {group}");
    info.claim = Claim::Releasing { group, claim };
    let compare = vec![version_is(&key, view.version(&key)), compare];
    let success = vec![put(&key, info.encode())];
    Some(Step { what, op: Op::Txn(Txn { compare, success, failure: Vec::new() }) })
}

/// Releases a spare whose group is no more, nor its keyspace.
fn orphan(view: &View) -> Option<Step> {
    let of_nobody = |info: &NodeInfo| match &info.claim {
        Claim::Claimed { group, .. } => {
            let keyspace = keys::keyspace_of(group).unwrap_or_default();
            info.preferred_keyspace.is_none()
                && !view.groups.contains_key(group)
                && !view.keyspaces.contains_key(keyspace)
        }
        Claim::Idle | Claim::Releasing { .. } => false,
    };
    let (id, info) = view.nodes.iter().find(|(id, info)| of_nobody(info) && view.is_alive(id))?;
    let Claim::Claimed { group, .. } = &info.claim else { return None };
    let key = keys::group_key(group);
    released(view, id, version_is(&key, view.version(&key)))
}

fn spares(view: &View, group: &GroupId, record: &Record) -> BTreeSet<NodeId> {
    let spare = |id: &NodeId| {
        view.nodes.get(id).is_some_and(|info| info.preferred_group.as_ref() != Some(group))
    };
    record.members.iter().map(|member| &member.id).filter(|id| spare(id)).cloned().collect()
}

/// Members that are to be empty.
fn drained(view: &View, record: &Record) -> BTreeSet<NodeId> {
    let members = record.members.iter().map(|member| &member.id);
    members.filter(|id| view.is_drained(id)).cloned().collect()
}

/// The zones that the members say they are in.
fn zones(view: &View, record: &Record) -> BTreeMap<NodeId, String> {
    let zone = |member: &Member| {
        let info = view.nodes.get(&member.id)?;
        let same = info.incarnation == member.incarnation;
        Some((member.id.clone(), info.zone.clone().filter(|_| same)?))
    };
    record.members.iter().filter_map(zone).collect()
}

/// Claims a node that is idle and alive; both must still be as they were read.
fn claimed(view: &View, id: &NodeId, group: &GroupId, claim: u64) -> Option<(Vec<Compare>, TxnOp)> {
    let (key, alive) = (keys::node_key(id), keys::alive_key(id));
    let mut info = view.nodes.get(id)?.clone();
    info.claim = Claim::Claimed { group: group.clone(), claim };
    let mut compare = [&key, &alive].map(|key| version_is(key, view.version(key))).to_vec();
    if broken(Mutant::ClaimsUncompared) {
        compare.clear();
    }
    Some((compare, put(&key, info.encode())))
}

/// Gives slots to a keyspace all of whose groups are formed, once.
fn place_slots(view: &View, name: &str, config: &KeyspaceConfig) -> Option<Step> {
    let groups: Vec<GroupId> = groups_of(name, config).collect();
    let formed = groups.iter().all(|group| view.groups.contains_key(group));
    if !formed || view.slots.contains_key(name) {
        return None;
    }
    let ranges = slots::spread_evenly(&groups).into_iter().map(SlotRange::from).collect();
    let owners = SlotOwners::new(ranges).ok()?;
    let key = keys::slots_key(name);
    let op = swap(&key, 0, owners.encode());
    Some(Step { what: format!("place the slots of {name}"), op })
}

/// What the master of `group` is to know and to ask for.
pub fn plan(view: &View, group: &GroupId, heard: &Heard) -> Option<Plan> {
    let record = view.groups.get(group)?;
    let config = view.keyspaces.get(keys::keyspace_of(group)?)?;
    let learners: Vec<Node> = view
        .claimed(group)
        .filter(|(id, info)| !record.names(id, info.incarnation) && view.is_alive(id))
        // A former folder of this name is still a member: it has to be removed first.
        .map(|(id, info)| node(view, id, info))
        .collect();
    let mut free: Vec<Node> =
        learners.iter().filter(|node| record.member(&node.id).is_none()).cloned().collect();
    // The group's own first: they have a log to go on from, as a rule.
    free.sort_by_key(|node| (node.group.is_none(), node.id.clone()));
    let spares = spares(view, group, record);
    let zones = zones(view, record);
    let drained = &drained(view, record);
    let standing = Standing { record, heard, spares: &spares, zones: &zones, drained };
    let wish = planner::next_change(&asked(config), standing, &free);
    // Who has just joined has not been heard yet: it must not go as if it were gone.
    let is_new = |m: &Member| !heard.contains(&m.id) && view.is_alive(&m.id);
    let waits = matches!(wish, Some(Change::Remove(_))) && record.members.iter().any(is_new);
    let member = |node: Node| Member {
        id: node.id,
        incarnation: node.incarnation,
        role: Role::Replica,
        zone: node.zone,
    };
    let learners = learners.into_iter().map(member).collect();
    Some(Plan { learners, wish: wish.filter(|_| !waits) })
}
