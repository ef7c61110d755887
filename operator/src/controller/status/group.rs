//! The status of one group.

use super::conditions::{Conditions, Verdict};
use crate::controller::desired::{Desired, WantedGroup, WantedKeyspace};
use crate::controller::observed::{Observed, in_sync};
use crate::controller::steps::Steps;
use cairn_crd::group::MemberStatus;
use cairn_crd::shared::Lag;
use cairn_crd::{ConditionType, GroupStatus, Reason};
use cairn_logic::counting::{Plane, Sets};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::{Record, Role};
use cairn_settings::{EvictionPolicy, NodeCondition};
use cairn_wire::peer::pb::StatusReply;

/// All that the verdicts on a group depend on.
struct Facts<'a> {
    keyspace: &'a WantedKeyspace,
    group: &'a WantedGroup,
    id: GroupId,
    record: Option<Record>,
    observed: &'a Observed,
    steps: &'a Steps,
    founded: bool,
}

/// What is said of a group.
#[must_use]
pub fn group(
    desired: &Desired,
    keyspace: &WantedKeyspace,
    group: &WantedGroup,
    observed: &Observed,
    steps: &Steps,
) -> GroupStatus {
    debug_assert!(desired.keyspaces.iter().any(|k| k.name == keyspace.name));
    let id = GroupId::new(&group.name);
    let record = observed.plane.record(&id);
    let founded = observed.is_founded();
    let facts = Facts { keyspace, group, id, record, observed, steps, founded };
    let resource = observed.groups.get(&group.name);
    let old = resource.and_then(|resource| resource.status.clone()).unwrap_or_default();
    let generation = resource.and_then(|resource| resource.metadata.generation);
    let mut conditions = Conditions::new(&old.conditions, generation, observed.now_sec);
    conditions.set(ConditionType::Ready, &facts.ready());
    conditions.set(ConditionType::Progressing, &facts.progressing());
    conditions.set(ConditionType::Degraded, &facts.degraded());
    conditions.set(ConditionType::WritesRefused, &facts.writes_refused());
    conditions.set(ConditionType::NeedsPerson, &facts.needs_person());
    let conditions = conditions.done();
    if observed.plane.directory.is_none() {
        // What was seen last is better than nothing; the conditions say how old it is.
        return GroupStatus { observed_generation: generation, conditions, ..old };
    }
    let members = facts.members();
    let lags = members.iter().filter_map(|member| member.lag.clone());
    GroupStatus {
        observed_generation: generation,
        master: facts.record.as_ref().and_then(|r| r.master.as_ref()).map(ToString::to_string),
        epoch: facts.record.as_ref().map(|r| i64::try_from(r.epoch.0).unwrap_or(i64::MAX)),
        lag: lags.max_by_key(|lag| lag.entries),
        slots: facts.slots(),
        members,
        conditions,
    }
}

impl Facts<'_> {
    fn members(&self) -> Vec<MemberStatus> {
        let Some(record) = &self.record else { return Vec::new() };
        let member = |member: &cairn_logic::record::Member| {
            let progress = self.observed.plane.progress(&self.id, record, &member.id);
            let lag = progress.map(|p| Lag { entries: rounded(p.lag_entries) });
            let machine = self.observed.machine_of(&member.id);
            MemberStatus {
                node: member.id.to_string(),
                role: role(member.role).to_owned(),
                lag,
                machine: machine.map(|(name, _)| name.clone()),
                zone: machine.and_then(|(_, machine)| machine.zone.clone()),
            }
        };
        record.members.iter().map(member).collect()
    }

    fn slots(&self) -> i32 {
        let directory = self.observed.plane.directory.as_ref();
        let owners = directory.and_then(|d| d.slots.get(&self.keyspace.name));
        let owned = owners.map_or(0, |owners| owners.owned_by(&self.id));
        i32::try_from(owned).unwrap_or(i32::MAX)
    }

    fn serves(&self) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|r| !r.open && self.observed.plane.serves(&self.id, r))
    }

    /// What is missing of the members asked for.
    fn missing(&self) -> Option<String> {
        let record = self.record.as_ref()?;
        let wanted = usize::try_from(self.group.members).unwrap_or(0);
        if record.members.len() < wanted {
            return Some(format!("{} of {wanted} members", record.members.len()));
        }
        let behind = record.members.iter().find(|member| {
            let progress = self.observed.plane.progress(&self.id, record, &member.id);
            !progress.as_ref().is_some_and(in_sync)
        });
        behind.map(|member| format!("{} is not in sync", member.id))
    }

    fn unreachable(&self) -> Option<Verdict> {
        let plane = &self.observed.plane;
        (plane.directory.is_none()).then(|| match self.founded {
            true => Verdict::unknown(Reason::PlaneUnreachable, &plane.error),
            false => Verdict::no(Reason::Founding, "the cluster is being founded"),
        })
    }

    fn ready(&self) -> Verdict {
        if let Some(verdict) = self.unreachable() {
            return verdict;
        }
        match (&self.record, self.missing()) {
            (None, _) => Verdict::no(Reason::WaitingForNodes, self.waits()),
            (Some(_), _) if !self.serves() => Verdict::no(Reason::WaitingForMaster, self.waits()),
            (Some(_), Some(missing)) => Verdict::yes(Reason::ServingWithLess, missing),
            (Some(_), None) => Verdict::yes(Reason::AllServing, "every member is in sync"),
        }
    }

    /// What its nodes or pods wait for, in words.
    fn waits(&self) -> String {
        let own = |node: &NodeId| node.as_str().starts_with(&format!("{}-", self.group.name));
        let pods = self.observed.pods.iter().filter(|(name, _)| own(&NodeId::new(name.as_str())));
        let pods = pods.filter(|(_, pod)| !pod.waits.is_empty());
        let mut lines: Vec<String> =
            pods.map(|(name, pod)| format!("{name}: {}", pod.waits)).collect();
        let nodes = self.observed.plane.nodes.keys().filter_map(|node| {
            let log = self.observed.plane.log(node, &self.id)?;
            (!log.waiting.is_empty()).then(|| format!("{node}: {}", log.waiting.join(", ")))
        });
        lines.extend(nodes);
        if lines.is_empty() { "no node says why".to_owned() } else { lines.join("; ") }
    }

    fn progressing(&self) -> Verdict {
        if let Some(stuck) = self.steps.stuck.as_ref().filter(|stuck| self.is_about(stuck)) {
            return Verdict::no(Reason::RolloutStuck, stuck.clone());
        }
        let own = |names: &[String]| {
            let own: Vec<&str> =
                names.iter().filter(|name| self.is_about(name)).map(String::as_str).collect();
            (!own.is_empty()).then(|| own.join(", "))
        };
        let pending = self
            .observed
            .pods
            .iter()
            .find(|(name, pod)| self.is_about(name) && !pod.waits.is_empty());
        if let Some((name, pod)) = pending {
            return Verdict::yes(Reason::PodsPending, format!("{name}: {}", pod.waits));
        }
        if let Some(outdated) = own(&self.steps.outdated) {
            return Verdict::yes(Reason::RollingOut, format!("to be replaced: {outdated}"));
        }
        if let Some(leaving) = own(&self.steps.leaving) {
            return Verdict::yes(Reason::Scaling, format!("to go: {leaving}"));
        }
        if let Some(growing) = own(&self.steps.growing) {
            return Verdict::yes(Reason::VolumesGrowing, format!("to grow: {growing}"));
        }
        if let Some(drained) = self.drained() {
            return Verdict::yes(Reason::Draining, drained);
        }
        match (&self.record, self.missing()) {
            (None, _) => Verdict::yes(Reason::WaitingForNodes, "the group is not formed yet"),
            _ if self.is_coming_back() => {
                Verdict::yes(Reason::RollingOut, "a replaced node comes back")
            }
            (Some(r), Some(missing)) if r.epoch.0 <= 1 => {
                Verdict::yes(Reason::WaitingForNodes, missing)
            }
            _ => Verdict::no(Reason::Settled, "nothing is left to do"),
        }
    }

    /// Members that are to be empty, and who comes in their place.
    fn drained(&self) -> Option<String> {
        let (directory, record) = (self.observed.plane.directory.as_ref()?, self.record.as_ref()?);
        let members = record.members.iter().map(|member| &member.id);
        let drained = members.filter(|member| directory.is_drained(member)).map(NodeId::as_str);
        let drained: Vec<&str> = drained.collect();
        let comes = directory.nodes.iter().find(|(node, info)| {
            directory.claimed_by(node.as_str()) == Some(&self.id)
                && !record.names(node, info.incarnation)
                && !directory.is_drained(node)
        });
        let comes =
            comes.map_or("no other node comes yet".to_owned(), |(node, _)| format!("{node} comes"));
        (!drained.is_empty()).then(|| format!("to be empty: {}; {comes}", drained.join(", ")))
    }

    /// Whether a young pod is not in sync yet.
    fn is_coming_back(&self) -> bool {
        let young = self.observed.now_sec - crate::controller::steps::STEP_SEC_MAX;
        let mut pods = self.observed.pods.iter().filter(|(name, _)| self.is_about(name));
        pods.any(|(_, pod)| !pod.ready && pod.created_sec > young)
    }

    /// Whether a text names one of the group's pods or claims.
    fn is_about(&self, text: &str) -> bool {
        let first = text.split(' ').next().unwrap_or_default();
        let pod = first.strip_prefix("data-").unwrap_or(first);
        pod.rsplit_once('-').is_some_and(|(stem, _)| stem == self.group.name)
    }

    fn degraded(&self) -> Verdict {
        if let Some(verdict) = self.unreachable() {
            return Verdict { is: None, ..verdict };
        }
        let single = self.record.as_ref().is_some_and(|r| r.members.len() == 1);
        match self.missing() {
            Some(missing) if single && self.group.members > 1 => {
                Verdict::yes(Reason::SingleCopy, missing)
            }
            Some(missing) => Verdict::yes(Reason::MemberMissing, missing),
            None if self.record.is_none() => {
                Verdict::no(Reason::WaitingForNodes, "the group is not formed yet")
            }
            None if self.unpromised_zones().is_some() => {
                Verdict::yes(Reason::TooFewZones, self.unpromised_zones().unwrap_or_default())
            }
            None => match (
                self.member_says(NodeCondition::CopiesDiffer),
                self.member_says(NodeCondition::LogNearBound),
            ) {
                (Some(differ), _) => Verdict::yes(Reason::CopiesDiffer, differ),
                (None, Some(near)) => Verdict::yes(Reason::LogNearBound, near),
                (None, None) => Verdict::no(Reason::AllServing, "every member is in sync"),
            },
        }
    }

    /// Zones that are asked for and in which the members are not yet: until they are, what is
    /// acknowledged is in as many as before.
    fn unpromised_zones(&self) -> Option<String> {
        let (record, asked) = (self.record.as_ref()?, self.keyspace.config.durability.zones);
        let promised = record.durability.zones;
        (promised < asked).then(|| {
            let is = Sets::of(Plane::Group, record).spanned();
            format!(
                "durability.zones: {asked} is not in force yet, but {promised}: the members are \
                 known to be in {is}"
            )
        })
    }

    /// What a member says of its copy, or of its log that is too long.
    fn member_says(&self, condition: NodeCondition) -> Option<String> {
        let members = self.record.iter().flat_map(|record| &record.members);
        let mut statuses = members.filter_map(|m| self.observed.plane.nodes.get(&m.id));
        statuses.find_map(|status| said(status, &[condition]))
    }

    fn writes_refused(&self) -> Verdict {
        if let Some(verdict) = self.unreachable() {
            return Verdict { is: None, ..verdict };
        }
        let Some(record) = self.record.as_ref().filter(|_| self.serves()) else {
            return Verdict::yes(Reason::WaitingForMaster, self.waits());
        };
        let sets = Sets::of(Plane::Group, record);
        let need = sets.counts.need;
        if record.members.len() < need {
            let message = format!("{} of {need} members that are needed", record.members.len());
            return Verdict::yes(Reason::TooFewMembers, message);
        }
        if !sets.has_zones() {
            let (is, asked) = (sets.spanned(), record.durability.zones);
            let message = format!("the members are in {is} of {asked} zones that are asked for");
            return Verdict::yes(Reason::TooFewZones, message);
        }
        let master = record.master.as_ref().and_then(|m| self.observed.plane.nodes.get(m));
        let Some(master) = master else {
            return Verdict::no(Reason::AllServing, "writes are taken");
        };
        if let Some(why) = said(master, &[NodeCondition::DiskLow, NodeCondition::DiskFull]) {
            return Verdict::yes(Reason::DiskNearlyFull, why);
        }
        if let Some(why) = said(master, &[NodeCondition::LogFull]) {
            return Verdict::yes(Reason::LogFull, why);
        }
        let limit_bytes = self.keyspace.config.limits.maxmemory_bytes.unwrap_or(0);
        let used_bytes = master.load.map_or(0, |load| load.used_bytes);
        let policy = self.keyspace.config.limits.maxmemory_policy.unwrap_or_default();
        let refuses = policy == EvictionPolicy::NoEviction;
        if refuses && limit_bytes > 0 && used_bytes >= limit_bytes {
            let used = format!("{}: {used_bytes} of {limit_bytes} bytes are used", master.node);
            return Verdict::yes(Reason::MemoryFull, used);
        }
        Verdict::no(Reason::AllServing, "writes are taken")
    }

    fn needs_person(&self) -> Verdict {
        let plane = &self.observed.plane;
        let members = self.record.iter().flat_map(|record| &record.members);
        let mut statuses = members.filter_map(|member| plane.nodes.get(&member.id));
        if let Some(why) = statuses.find_map(|s| said(s, &[NodeCondition::CutTailsFull])) {
            return Verdict::yes(Reason::CutTailsFull, why);
        }
        let alarms = plane.alarms.get(&self.id);
        needs_person(alarms.map_or(&[], Vec::as_slice))
    }
}

/// What a node says of itself, if it is one of `conditions`.
pub(super) fn said(status: &StatusReply, conditions: &[NodeCondition]) -> Option<String> {
    let is = |reason: &str| conditions.iter().any(|condition| condition.as_str() == reason);
    let found = status.conditions.iter().find(|condition| is(&condition.reason));
    found.map(|condition| format!("{}: {}", status.node, condition.message))
}

/// What a judge's alarms ask of a person.
pub(super) fn needs_person(alarms: &[String]) -> Verdict {
    for reason in [Reason::RecordMissing, Reason::DirectoryBehind, Reason::DataLossPossible] {
        if let Some(alarm) = alarms.iter().find(|alarm| alarm.starts_with(reason.as_str())) {
            return Verdict::yes(reason, alarm.clone());
        }
    }
    Verdict::no(Reason::Settled, "nothing needs a person")
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Replica => "replica",
        Role::Backup => "backup",
    }
}

/// Two significant figures: a status must not be written for every entry of the log.
fn rounded(entries: u64) -> i64 {
    if entries < 1_000 {
        return 0;
    }
    let step = 10_u64.pow(entries.ilog10() - 1);
    i64::try_from(entries / step * step).unwrap_or(i64::MAX)
}
