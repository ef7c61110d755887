//! The planner's shell: what the directory should say next, as transactions, and plans for masters.
//!
//! Everything decided here is decided by `cairn-logic::planner` from committed data; a transaction
//! compares the versions of all it read, so a stale wish changes nothing.

use crate::View;
use bytes::Bytes;
use cairn_directory::LeaseId;
use cairn_directory::op::{Compare, DeleteRange, Op, Put, Relation, Target, Txn, TxnOp};
use cairn_directory::range::KeyRange;
use cairn_logic::ids::{Epoch, GroupId, NodeId};
use cairn_logic::message::Mode;
use cairn_logic::planner::{self, Asked, Node};
use cairn_logic::record::{Member, Record, Role};
use cairn_logic::replication::Change;
use cairn_logic::slots;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys as keys;
use keys::{Claim, KeyspaceConfig, NodeInfo, SlotOwners, SlotRange, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// How long a new group waits for all its members before it begins with fewer.
const COMPLETE_WAIT: Duration = Duration::from_secs(10);

/// Decides from the view; remembers only since when groups are incomplete.
#[derive(Default)]
pub struct Planning {
    wanted_since: BTreeMap<GroupId, Instant>,
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

fn version_is(key: &str, version: u64) -> Compare {
    Compare {
        range: KeyRange::single(key.to_owned()),
        relation: Relation::Equal,
        target: Target::Version(i64::try_from(version).unwrap_or(i64::MAX)),
    }
}

fn put(key: &str, value: Vec<u8>) -> TxnOp {
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

fn node(id: &NodeId, info: &NodeInfo) -> Node {
    Node {
        id: id.clone(),
        incarnation: info.incarnation,
        zone: info.zone.clone(),
        keyspace: info.preferred_keyspace.clone(),
        group: info.preferred_group.clone(),
        priority: info.priority,
    }
}

fn idle(view: &View) -> Vec<Node> {
    let free = view.nodes.iter().filter(|(id, info)| {
        info.role == NodeRole::Data && info.claim == Claim::Idle && view.is_alive(id)
    });
    free.map(|(id, info)| node(id, info)).collect()
}

fn groups_of(keyspace: &str, config: &KeyspaceConfig) -> impl Iterator<Item = GroupId> {
    (0..config.groups).map(move |n| GroupId::new(format!("{keyspace}-{n}")))
}

impl Planning {
    /// The next transaction, if one is due; `claim` is a number no claim had before.
    pub fn next(&mut self, now: Instant, view: &View, claim: u64) -> Option<Step> {
        for (name, config) in &view.keyspaces {
            for group in groups_of(name, config) {
                let step = match view.groups.get(&group) {
                    None => self.form(now, view, (name, config), &group, claim),
                    Some(record) => self.complete(view, (name, config), (&group, record), claim),
                };
                if step.is_some() {
                    return step;
                }
            }
            if let Some(step) = place_slots(view, name, config) {
                return Some(step);
            }
        }
        None
    }

    /// Forms a group of idle nodes.
    fn form(
        &mut self,
        now: Instant,
        view: &View,
        (name, config): (&str, &KeyspaceConfig),
        group: &GroupId,
        claim: u64,
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
        let record = planner::first_members(name, group, &asked(config), &idle(view), at_least)?;
        let key = keys::group_key(group);
        let mut compare = vec![version_is(&key, 0)];
        let mut success = vec![put(&key, keys::encode_group(&record))];
        for member in &record.members {
            let (version, info) = claimed(view, &member.id, group, claim)?;
            compare.push(version);
            success.push(info);
        }
        let members: Vec<&str> = record.members.iter().map(|m| m.id.as_str()).collect();
        let what = format!("form {group} of {}", members.join(", "));
        Some(Step { what, op: Op::Txn(Txn { compare, success, failure: Vec::new() }) })
    }

    /// Claims another node for a group that has too few.
    fn complete(
        &mut self,
        view: &View,
        (name, config): (&str, &KeyspaceConfig),
        (group, record): (&GroupId, &Record),
        claim: u64,
    ) -> Option<Step> {
        self.wanted_since.remove(group);
        let mut held: BTreeMap<NodeId, Node> = BTreeMap::new();
        for (id, info) in view.claimed(group) {
            held.insert(id.clone(), node(id, info));
        }
        for member in &record.members {
            // A member counts as held while its folder may come back; another folder does not.
            let info = view.nodes.get(&member.id);
            if let Some(info) = info.filter(|info| info.incarnation == member.incarnation) {
                held.insert(member.id.clone(), node(&member.id, info));
            }
        }
        let held: Vec<Node> = held.into_values().collect();
        let idle = idle(view);
        let chosen = planner::next_claim(name, group, &asked(config), &held, &idle)?;
        let (version, info) = claimed(view, &chosen.id, group, claim)?;
        let what = format!("claim {} for {group}", chosen.id);
        let txn = Txn { compare: vec![version], success: vec![info], failure: Vec::new() };
        Some(Step { what, op: Op::Txn(txn) })
    }
}

fn claimed(view: &View, id: &NodeId, group: &GroupId, claim: u64) -> Option<(Compare, TxnOp)> {
    let key = keys::node_key(id);
    let mut info = view.nodes.get(id)?.clone();
    info.claim = Claim::Claimed { group: group.clone(), claim };
    Some((version_is(&key, view.version(&key)), put(&key, info.encode())))
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
pub fn plan(view: &View, group: &GroupId, heard: &BTreeSet<NodeId>) -> Option<Plan> {
    let record = view.groups.get(group)?;
    let config = view.keyspaces.get(keys::keyspace_of(group)?)?;
    let learners: Vec<Node> = view
        .claimed(group)
        .filter(|(id, info)| !record.names(id, info.incarnation) && view.is_alive(id))
        // A former folder of this name is still a member: it has to be removed first.
        .map(|(id, info)| node(id, info))
        .collect();
    let free: Vec<Node> =
        learners.iter().filter(|node| record.member(&node.id).is_none()).cloned().collect();
    let wish = planner::next_change(&asked(config), record, &free, heard);
    let member =
        |node: Node| Member { id: node.id, incarnation: node.incarnation, role: Role::Replica };
    Some(Plan { learners: learners.into_iter().map(member).collect(), wish })
}
