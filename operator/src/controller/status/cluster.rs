//! The status of a cluster: its global plane.

use super::certificates;
use super::conditions::{COMMON, Conditions, Verdict};
use super::group::{needs_person, said};
use crate::controller::desired::Desired;
use crate::controller::observed::{Observed, in_sync};
use crate::controller::steps::Steps;
use crate::names;
use cairn_crd::{Cluster, ClusterStatus, ConditionType, Reason};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::{NodeCondition, NodeRole};

/// How long all global nodes must run without any of them knowing a record, in seconds.
const RECORD_SEC_MAX: i64 = 60;

/// What is said of a cluster that breaks a rule; whatever runs goes on.
#[must_use]
pub fn refused(resource: &Cluster, why: &str, now_sec: i64) -> ClusterStatus {
    let old = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let conditions = Conditions::new(&old.conditions, generation, now_sec);
    let conditions = conditions.refused(&COMMON, Reason::SpecInvalid, why);
    ClusterStatus { observed_generation: generation, conditions, ..old }
}

struct Facts<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    steps: &'a Steps,
    taken: &'a [String],
    record: Option<Record>,
    id: GroupId,
}

/// What is said of a cluster; `taken` names objects that belong to somebody else.
#[must_use]
pub fn cluster(
    desired: &Desired,
    observed: &Observed,
    steps: &Steps,
    taken: &[String],
) -> ClusterStatus {
    let id = GroupId::global();
    let record = observed.plane.record(&id);
    let facts = Facts { desired, observed, steps, taken, record, id };
    let old = desired.cluster.status.clone().unwrap_or_default();
    let generation = desired.cluster.metadata.generation;
    let mut conditions = Conditions::new(&old.conditions, generation, observed.now_sec);
    conditions.set(ConditionType::Ready, &facts.ready());
    conditions.set(ConditionType::Progressing, &facts.progressing());
    conditions.set(ConditionType::Degraded, &facts.degraded());
    conditions.set(ConditionType::WritesRefused, &facts.writes_refused());
    conditions.set(ConditionType::NeedsPerson, &facts.needs_person());
    let epoch = facts.record.as_ref().map(|r| i64::try_from(r.epoch.0).unwrap_or(i64::MAX));
    let master = facts.record.as_ref().and_then(|r| r.master.as_ref()).map(ToString::to_string);
    ClusterStatus {
        observed_generation: generation,
        uid: Some(desired.uid.clone()),
        founded: observed.is_founded(),
        image: desired.pods.image.clone(),
        master: master.or(old.master),
        epoch: epoch.or(old.epoch),
        ready_nodes: facts.in_sync(),
        ready_checkpoints: facts.following(),
        certificates: certificates::of(desired, observed, None),
        conditions: conditions.done(),
    }
}

impl Facts<'_> {
    fn in_sync(&self) -> i32 {
        let Some(record) = &self.record else { return 0 };
        let plane = &self.observed.plane;
        let counted = record.members.iter().filter(|member| {
            plane.progress(&self.id, record, &member.id).as_ref().is_some_and(in_sync)
        });
        i32::try_from(counted.count()).unwrap_or(i32::MAX)
    }

    fn serves(&self) -> bool {
        let record = self.record.as_ref();
        self.observed.plane.directory.is_some()
            && record.is_some_and(|r| self.observed.plane.serves(&self.id, r))
    }

    fn wanted(&self) -> i32 {
        self.desired.cluster.spec.global_replicas + 1
    }

    fn missing(&self) -> Option<String> {
        let (there, wanted) = (self.in_sync(), self.wanted());
        (there < wanted).then(|| format!("{there} of {wanted} global nodes are in sync"))
    }

    /// Checkpoint nodes, and whether each answers and says that it follows the log.
    fn checkpoints(&self) -> impl Iterator<Item = (&str, bool)> {
        let all = self.desired.settings.values().filter(|s| s.role == NodeRole::Checkpoint);
        all.map(|settings| {
            let pod = self.observed.pods.get(settings.node.as_str());
            let answers = self.observed.plane.nodes.contains_key(&settings.node);
            (settings.node.as_str(), answers && pod.is_some_and(|pod| pod.ready))
        })
    }

    fn following(&self) -> i32 {
        let following = self.checkpoints().filter(|(_, follows)| *follows).count();
        i32::try_from(following).unwrap_or(i32::MAX)
    }

    /// What one of the plane's nodes says of itself, if it is this.
    fn says(&self, condition: NodeCondition) -> Option<String> {
        let plane = self.desired.settings.values().filter(|s| s.role != NodeRole::Data);
        let mut statuses = plane.filter_map(|s| self.observed.plane.nodes.get(&s.node));
        statuses.find_map(|status| said(status, &[condition]))
    }

    /// Acceptors that do not answer.
    fn silent_acceptors(&self) -> Vec<&str> {
        let acceptors = self.desired.founding.acceptors.iter();
        let silent = acceptors.filter(|id| !self.observed.plane.nodes.contains_key(*id));
        silent.map(NodeId::as_str).collect()
    }

    fn waits(&self) -> Option<String> {
        let pods = self.observed.pods.iter().filter(|(name, _)| self.is_about(name));
        let lines: Vec<String> = pods
            .filter(|(_, pod)| !pod.waits.is_empty())
            .map(|(name, pod)| format!("{name}: {}", pod.waits))
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    fn is_about(&self, text: &str) -> bool {
        let first = text.split(' ').next().unwrap_or_default();
        let pod = first.strip_prefix("data-").unwrap_or(first);
        let name = &self.desired.name;
        let stem = pod.rsplit_once('-').map(|(stem, _)| stem);
        stem.is_some_and(|stem| names::plane(name).iter().any(|set| set == stem))
    }

    fn ready(&self) -> Verdict {
        if !self.observed.is_founded() {
            let waits = self.waits().unwrap_or_else(|| self.observed.plane.error.clone());
            return Verdict::no(Reason::Founding, waits);
        }
        let answers = !self.observed.plane.nodes.is_empty();
        match (self.serves(), self.missing()) {
            (true, None) => Verdict::yes(Reason::AllServing, "every global node is in sync"),
            (true, Some(missing)) => Verdict::yes(Reason::ServingWithLess, missing),
            (false, _) if !answers => {
                let plane = &self.observed.plane;
                Verdict::unknown(Reason::PlaneUnreachable, plane.error.clone())
            }
            (false, _) => Verdict::no(Reason::WaitingForMaster, self.observed.plane.error.clone()),
        }
    }

    fn progressing(&self) -> Verdict {
        let own = |names: &[String]| {
            let own: Vec<&str> =
                names.iter().filter(|name| self.is_about(name)).map(String::as_str).collect();
            (!own.is_empty()).then(|| own.join(", "))
        };
        if let Some(stuck) = &self.steps.stuck {
            return Verdict::no(Reason::RolloutStuck, stuck.clone());
        }
        if let Some(pending) = certificates::pending(self.desired, self.observed, None) {
            return pending;
        }
        if let Some(waits) = self.waits() {
            return Verdict::yes(Reason::PodsPending, waits);
        }
        if !self.observed.is_founded() {
            return Verdict::yes(Reason::Founding, self.observed.plane.error.clone());
        }
        if let Some(outdated) = own(&self.steps.outdated) {
            let waits = &self.steps.waits;
            return Verdict::yes(
                Reason::RollingOut,
                format!("to be replaced: {outdated}; {waits}"),
            );
        }
        if let Some(leaving) = own(&self.steps.leaving) {
            return Verdict::yes(Reason::Scaling, format!("to go: {leaving}"));
        }
        if let Some(growing) = own(&self.steps.growing) {
            return Verdict::yes(Reason::VolumesGrowing, format!("to grow: {growing}"));
        }
        Verdict::no(Reason::Settled, "nothing is left to do")
    }

    fn degraded(&self) -> Verdict {
        if !self.observed.is_founded() {
            return Verdict::no(Reason::Founding, "there is no configuration yet");
        }
        let Some(record) = self.record.as_ref().filter(|_| self.serves()) else {
            return Verdict::unknown(Reason::PlaneUnreachable, self.observed.plane.error.clone());
        };
        if record.members.len() == 1 && self.wanted() > 1 {
            let message = "one global node holds the directory alone, and flushes every change";
            return Verdict::yes(Reason::SingleCopy, message);
        }
        if let Some(missing) = self.missing() {
            return Verdict::yes(Reason::MemberMissing, missing);
        }
        let silent = self.silent_acceptors();
        if !silent.is_empty() {
            let message = format!("acceptors that do not answer: {}", silent.join(", "));
            return Verdict::yes(Reason::AcceptorMissing, message);
        }
        if let Some(gone) = self.says(NodeCondition::AcceptorMissing) {
            return Verdict::yes(Reason::AcceptorMissing, gone);
        }
        if let Some(near) = self.says(NodeCondition::LogNearBound) {
            return Verdict::yes(Reason::LogNearBound, near);
        }
        let away: Vec<&str> =
            self.checkpoints().filter(|(_, follows)| !follows).map(|(name, _)| name).collect();
        if !away.is_empty() {
            let message = format!("checkpoint nodes that do not follow: {}", away.join(", "));
            return Verdict::yes(Reason::CheckpointMissing, message);
        }
        Verdict::no(Reason::AllServing, "every global node is in sync")
    }

    fn writes_refused(&self) -> Verdict {
        if !self.observed.is_founded() {
            return Verdict::yes(Reason::Founding, "there is no master yet");
        }
        if self.observed.plane.nodes.is_empty() {
            return Verdict::unknown(Reason::PlaneUnreachable, self.observed.plane.error.clone());
        }
        if !self.serves() {
            return Verdict::yes(Reason::WaitingForMaster, self.observed.plane.error.clone());
        }
        let master = self.record.as_ref().and_then(|record| record.master.as_ref());
        let master = master.and_then(|master| self.observed.plane.nodes.get(master));
        let says = |conditions: &[NodeCondition]| master.and_then(|m| said(m, conditions));
        if let Some(why) = says(&[NodeCondition::DiskLow, NodeCondition::DiskFull]) {
            return Verdict::yes(Reason::DiskNearlyFull, why);
        }
        match says(&[NodeCondition::LogFull]) {
            Some(why) => Verdict::yes(Reason::LogFull, why),
            None => Verdict::no(Reason::AllServing, "changes of the directory are taken"),
        }
    }

    fn needs_person(&self) -> Verdict {
        if !self.taken.is_empty() {
            let message = format!(
                "these belong to somebody else, rename one or the other: {}",
                self.taken.join(", ")
            );
            return Verdict::yes(Reason::NameTaken, message);
        }
        if self.is_record_missing() {
            let message = "all global nodes run and none finds the arbiter's value";
            return Verdict::yes(Reason::RecordMissing, message);
        }
        let alarms = self.observed.plane.alarms.get(&self.id);
        let mut verdict = needs_person(alarms.map_or(&[], Vec::as_slice));
        if let Some(differ) = self.says(NodeCondition::CopiesDiffer)
            && verdict.is != Some(true)
        {
            verdict = Verdict::yes(Reason::CopiesDiffer, differ);
        }
        match certificates::ending(self.desired, self.observed, None) {
            Some(ending) if verdict.is != Some(true) => ending,
            _ => verdict,
        }
    }

    /// Founded, everybody is there and has had the time to look, and nobody knows a record.
    fn is_record_missing(&self) -> bool {
        let acceptors = &self.desired.founding.acceptors;
        let nodes = self.desired.founding.members.iter().chain(acceptors);
        let mut all = nodes.map(|node| {
            let pod = self.observed.pods.get(node.as_str());
            let old = pod.is_some_and(|p| self.observed.now_sec - p.created_sec > RECORD_SEC_MAX);
            old && self.observed.plane.nodes.contains_key(node)
        });
        self.observed.is_founded() && self.record.is_none() && all.all(|there| there)
    }
}
