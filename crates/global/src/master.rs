//! The global master at work: what it reads of its directory, and what follows from that.

use crate::courts::{Courts, Effects, Now};
use crate::planning::{self, Drain, Heard, Look, Outlook, Plan, Planning, State};
use crate::pools::{Pool, pools};
use crate::{Changed, View};
use cairn_directory::core::{Refusal, Reply, Response};
use cairn_directory::op::{RangeQuery, Txn};
use cairn_directory::{Answer, Directory, Event, EventKind, KeyRange, Op};
use cairn_logic::balance::Parts;
use cairn_logic::ids::{GroupId, NodeId, Revision, Version};
use cairn_logic::judge::{CasOutcome, JudgeEffect, JudgeInput};
use cairn_logic::masters::{Handover, Pin};
use cairn_logic::message::{Order, Sender};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::record::{Member, Record};
use cairn_logic::replication::Change;
use cairn_logic::time::{Duration, Instant};
use cairn_logic::timing::Timing;
use cairn_settings::directory_keys::{self as keys, ClusterInfo, Transition};
use std::collections::{BTreeMap, BTreeSet};

/// Members speak each second at least; one that has not spoken for so long says nothing any more.
const LATELY: Duration = Duration::from_secs(3);

/// How a change that was proposed to the directory ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All comparisons held: it is committed.
    Held,
    /// A comparison failed: nothing happened.
    Failed,
    /// Nobody can say.
    Unknown,
}

impl Asked {
    /// What the directory's reply says; no reply says nothing.
    #[must_use]
    pub fn of(reply: Option<&Result<Reply, Refusal>>) -> Self {
        match reply {
            Some(Ok(Reply { response: Response::Answer(answer), .. })) => match answer {
                Answer::Txn { succeeded: false, .. } => Self::Failed,
                _ => Self::Held,
            },
            Some(Ok(_) | Err(_)) | None => Self::Unknown,
        }
    }

    /// What a judge's compare-and-swap turns into.
    fn outcome(self) -> CasOutcome {
        match self {
            Self::Held => CasOutcome::Won,
            Self::Failed => CasOutcome::Lost,
            Self::Unknown => CasOutcome::Unknown,
        }
    }
}

/// Why a change is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A group's judge.
    Judge(GroupId, Version),
    /// The planner.
    Planner,
    /// The first Txn of the cluster.
    Cluster,
    /// A group's judge reads the record.
    Read(GroupId),
    /// What is kept for people.
    History,
    /// A person has handed a group over.
    Pin,
}

/// What a data node is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// By its group's judge.
    Order(Order),
    /// By the planner.
    Plan(Plan),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Propose it in the system's name; answered with [`GlobalMaster::was_asked`].
    Propose(Why, Op),
    /// Tell a node, if it has a line to this one.
    Tell {
        /// The node.
        to: NodeId,
        /// Of which log.
        group: GroupId,
        /// What.
        told: Told,
    },
    /// A judge said something for people; its court has noted and logged it.
    Noted(GroupId, JudgeEffect),
    /// Watch everything below `/cairn/` from this revision on, instead of what was watched before.
    Watch(Revision),
}

/// What a global master knows and has under way beside its directory.
pub struct GlobalMaster {
    me: Sender,
    timing: Timing,
    cluster: ClusterInfo,
    view: View,
    courts: Courts,
    planning: Planning,
    planner_busy: bool,
    plans: BTreeMap<GroupId, Plan>,
}

impl GlobalMaster {
    /// Of the process `me`; knows nothing yet.
    #[must_use]
    pub fn new(me: Sender, timing: Timing, cluster: ClusterInfo) -> Self {
        Self {
            courts: Courts::new(me.clone(), timing),
            me,
            timing,
            cluster,
            view: View::default(),
            planning: Planning::default(),
            planner_busy: false,
            plans: BTreeMap::new(),
        }
    }

    /// What it read of the directory.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The judges.
    #[must_use]
    pub fn courts(&self) -> &Courts {
        &self.courts
    }

    /// A node says what its slots have; it counts if it masters the group.
    pub fn hears(&mut self, from: &NodeId, group: &GroupId, parts: Parts) {
        let record = self.view.groups.get(group);
        if record.is_some_and(|record| record.master.as_ref() == Some(from)) {
            self.planning.hears(group.clone(), parts);
        }
    }

    /// What the planner would do with a keyspace, and why; `None` if there is no such keyspace.
    #[must_use]
    pub fn outlook(&self, keyspace: &str, now: Now) -> Option<Outlook> {
        let (view, courts, plans) = (&self.view, &self.courts, &self.plans);
        self.planning.outlook(&Look { now, view, courts, plans }, keyspace)
    }

    /// Every drained node that still counts, and what is done about it.
    #[must_use]
    pub fn draining(&self, now: Now) -> Vec<Drain> {
        self.planning.draining(now.monotonic, &self.view)
    }

    /// Every pool of spares, by name, and who waits for an idle node of any.
    #[must_use]
    pub fn pools(&self, now: Now) -> Vec<Pool> {
        let mut all = pools(&self.view);
        let drains = self.draining(now).into_iter();
        let mut waiting: Vec<GroupId> =
            drains.filter(|it| it.state == State::NoNode).map(|it| it.group).collect();
        waiting.dedup();
        all.iter_mut().for_each(|pool| pool.waited_for.clone_from(&waiting));
        all
    }

    /// The keyspaces whose load needs more groups than `autoscale` allows, and how many it allows.
    pub fn limited(&self) -> impl Iterator<Item = (&str, u16)> {
        self.planning.limited(&self.view)
    }

    /// A person, or the operator, wishes another master for a group, which the planner leaves alone
    /// for a while then.
    pub fn hand_over(&mut self, now: Now, group: &GroupId, target: Option<NodeId>) -> Vec<Act> {
        let pin = Pin::after(self.view.pins.get(group), target.clone(), now.unix_ms);
        let put = planning::put(&keys::pin_key(group), keys::encode_pin(&pin));
        let op = Op::Txn(Txn { compare: Vec::new(), success: vec![put], failure: Vec::new() });
        let mut acts = vec![Act::Propose(Why::Pin, op)];
        acts.extend(self.tell(now, group, JudgeInput::Wish { target }));
        acts
    }

    /// What judges decided since the last call.
    pub fn transitions(&mut self) -> Vec<(GroupId, Transition)> {
        self.courts.transitions()
    }

    /// Mastership began: `directory` is committed up to `at`. Nothing of an earlier one counts.
    pub fn begin(&mut self, now: Now, directory: &Directory, at: Revision) -> Vec<Act> {
        self.courts = Courts::new(self.me.clone(), self.timing);
        self.plans.clear();
        self.planning = Planning::default();
        self.planner_busy = false;
        let mut acts = self.read(now, directory, at);
        if self.view.cluster.is_none() {
            let op = planning::swap(keys::CLUSTER, 0, self.cluster.encode());
            acts.push(Act::Propose(Why::Cluster, op));
        }
        acts
    }

    /// Reads all of `/cairn/` as committed at `at`, to be watched from there on.
    pub fn read(&mut self, now: Now, directory: &Directory, at: Revision) -> Vec<Act> {
        let query = RangeQuery::all(KeyRange::prefix(keys::PREFIX));
        self.view = View::default();
        match directory.range(&query, at) {
            Ok(found) => found.kvs.iter().for_each(|kv| {
                let value = Some((kv.value.to_vec(), kv.version));
                self.view.change(&Changed { key: kv.key.to_vec(), value });
            }),
            Err(error) => tracing::error!(%error, "cannot read the system's keys"),
        }
        self.view.revision = at.0;
        let mut acts = vec![Act::Watch(at.next())];
        let effects = self.courts.records(now, &self.view);
        self.perform(effects, &mut acts);
        acts
    }

    /// The watch says what changed up to `revision`.
    pub fn changed(&mut self, now: Now, revision: Revision, events: &[Event]) -> Vec<Act> {
        for event in events {
            let value =
                (event.kind == EventKind::Put).then(|| (event.kv.value.to_vec(), event.kv.version));
            self.view.change(&Changed { key: event.kv.key.to_vec(), value });
        }
        self.view.revision = revision.0;
        let effects = self.courts.records(now, &self.view);
        self.performed(effects)
    }

    /// Tells one group's judge.
    pub fn tell(&mut self, now: Now, group: &GroupId, input: JudgeInput) -> Vec<Act> {
        let effects = self.courts.tell(now, group, input);
        self.performed(effects)
    }

    /// Tells all judges.
    pub fn tell_all(&mut self, now: Now, input: &JudgeInput) -> Vec<Act> {
        let effects = self.courts.tell_all(now, input);
        self.performed(effects)
    }

    /// A proposal has ended.
    pub fn was_asked(&mut self, now: Now, why: Why, asked: Asked) -> Vec<Act> {
        match why {
            Why::Judge(group, expected) => {
                let outcome = asked.outcome();
                self.tell(now, &group, JudgeInput::CasDone { expected, outcome })
            }
            Why::Planner => {
                self.planner_busy = false;
                Vec::new()
            }
            Why::Read(_) if asked == Asked::Unknown && !broken(Mutant::ReadsUnproved) => Vec::new(),
            Why::Read(group) => match self.view.groups.get(&group).cloned() {
                Some(record) => self.tell(now, &group, JudgeInput::Record(record)),
                None => Vec::new(),
            },
            Why::Cluster | Why::History | Why::Pin => Vec::new(),
        }
    }

    fn performed(&mut self, effects: Effects) -> Vec<Act> {
        let mut acts = Vec::new();
        self.perform(effects, &mut acts);
        acts
    }

    /// Performs what groups' judges want.
    fn perform(&mut self, effects: Effects, acts: &mut Vec<Act>) {
        for (group, effect) in effects {
            match effect {
                JudgeEffect::Cas { expected, record } => {
                    let key = keys::group_key(&group);
                    let op = planning::swap(&key, expected.0, keys::encode_group(&record));
                    acts.push(Act::Propose(Why::Judge(group, expected), op));
                }
                // A master that was deposed and does not know it must not take what it last saw
                // for the record: the directory answers a comparison only with proof.
                JudgeEffect::ReadRecord => {
                    if let Some(record) = self.view.groups.get(&group) {
                        let op = planning::holds(&keys::group_key(&group), record.version.0);
                        acts.push(Act::Propose(Why::Read(group), op));
                    }
                }
                JudgeEffect::Order { to, order } => {
                    acts.push(Act::Tell { to, group, told: Told::Order(order) });
                }
                effect => acts.push(Act::Noted(group, effect)),
            }
        }
    }

    /// Wishes the handover that the planner finds good, unless it is about to change something.
    fn hand_over_next(&mut self, now: Now) -> Vec<Act> {
        if self.planner_busy {
            return Vec::new();
        }
        let (view, courts, plans) = (&self.view, &self.courts, &self.plans);
        let look = Look { now, view, courts, plans };
        let Some(Handover { group, from, to, why, left, .. }) = self.planning.next_handover(&look)
        else {
            return Vec::new();
        };
        let step = format!("hand {group} over from {from} to {to}: {why}");
        tracing::info!(%step, left, "planner");
        self.tell(now, &group, JudgeInput::Wish { target: Some(to) })
    }

    /// Lets the planner take its next step, and masters know what is planned for them; `claim` is
    /// the revision that the next change of the directory gets. Perform nothing in between.
    pub fn plan(&mut self, now: Now, claim: Revision) -> Vec<Act> {
        let mut acts = Vec::new();
        let courts = &self.courts;
        let lately = |group: &GroupId| heard(courts, group, Some(now.monotonic));
        if !self.planner_busy
            && let Some(step) = {
                let now = (now.monotonic, now.unix_ms);
                self.planning.next(now, &self.view, claim.0, lately)
            }
        {
            tracing::info!(step = %step.what, "planner");
            self.planner_busy = true;
            acts.push(Act::Propose(Why::Planner, step.op));
        }
        acts.extend(self.hand_over_next(now));
        for (group, record) in &self.view.groups {
            let heard = heard(&self.courts, group, None);
            let Some(plan) = planning::plan(&self.view, group, &heard) else { continue };
            let Some(master) = &record.master else { continue };
            if self.plans.get(group) != Some(&plan) {
                tracing::info!(%group, ?plan, "plan");
            }
            let (to, told) = (master.clone(), Told::Plan(plan.clone()));
            acts.push(Act::Tell { to, group: group.clone(), told });
            self.plans.insert(group.clone(), plan);
        }
        acts
    }
}

/// The members that report to a group's judge; with a time, those that did so lately.
fn heard(courts: &Courts, group: &GroupId, now: Option<Instant>) -> Heard {
    let Some(court) = courts.get(group) else { return Heard::new() };
    let lately = |at: Instant| now.is_none_or(|now| now.since(at) <= LATELY);
    let heard = court.judge.reports().iter().filter(|(_, heard)| lately(heard.at));
    heard.map(|(id, _)| id.clone()).collect()
}

/// What the global plane's own master is to know and to ask for: of `present`, the folders of
/// other global nodes that are there, those that follow without counting; and that they count
/// again, one after the other. One that is being stopped is to leave first.
#[must_use]
pub fn members_wish(
    record: &Record,
    present: Vec<Member>,
    leaving: &BTreeSet<NodeId>,
) -> (Vec<Member>, Option<Change>) {
    let mut outside = present;
    outside.retain(|member| !record.names(&member.id, member.incarnation));
    outside.retain(|member| !leaving.contains(&member.id));
    let free = |member: &&Member| record.member(&member.id).is_none();
    let join = outside.iter().find(free).cloned().map(Change::Join);
    let leaves = leaving.iter().find(|id| record.member(id).is_some());
    let wish = leaves.cloned().map(Change::Remove).or(join).filter(|_| !record.open);
    (outside, wish)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{Epoch, Incarnation};
    use cairn_logic::record::{Durability, Role, Rule};

    fn member(id: &str, incarnation: u64) -> Member {
        let incarnation = Incarnation(incarnation);
        Member { id: NodeId::new(id), incarnation, role: Role::Replica, zone: None }
    }

    fn record(members: Vec<Member>) -> Record {
        Record {
            version: Version(4),
            epoch: Epoch(2),
            master: Some(NodeId::new("g-0")),
            members,
            rule: Rule::All,
            wanted: 2,
            durability: Durability { flushed: false, zones: 1 },
            attempt: Epoch(2),
            open: false,
        }
    }

    #[test]
    fn a_global_node_that_is_back_is_to_count_again_and_one_that_stops_leaves_first() {
        let alone = record(vec![member("g-0", 1)]);
        let (outside, wish) = members_wish(&alone, vec![member("g-1", 7)], &BTreeSet::new());
        assert_eq!(outside, [member("g-1", 7)]);
        assert_eq!(wish, Some(Change::Join(member("g-1", 7))));
        let both = record(vec![member("g-0", 1), member("g-1", 7)]);
        let stops = BTreeSet::from([NodeId::new("g-1")]);
        let (outside, wish) = members_wish(&both, vec![member("g-1", 7)], &stops);
        assert_eq!((outside, wish), (vec![], Some(Change::Remove(NodeId::new("g-1")))));
    }

    #[test]
    fn another_folder_of_a_member_follows_and_waits_until_the_former_one_is_removed() {
        let both = record(vec![member("g-0", 1), member("g-1", 7)]);
        let (outside, wish) = members_wish(&both, vec![member("g-1", 8)], &BTreeSet::new());
        assert_eq!((outside, wish), (vec![member("g-1", 8)], None));
    }
}
