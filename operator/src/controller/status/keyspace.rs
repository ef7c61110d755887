//! The status of a keyspace: the sum of its groups.

use super::certificates;
use super::conditions::{COMMON, Conditions, Verdict};
use crate::controller::desired::{Desired, WantedKeyspace};
use crate::controller::observed::Observed;
use crate::controller::steps::Steps;
use crate::names;
use cairn_crd::{ConditionType, GroupStatus, Keyspace, KeyspaceStatus, Reason};
use cairn_logic::ids::{GroupId, SLOTS};
use cairn_settings::NodeCondition;
use cairn_settings::directory_keys::keyspace_of;
use std::collections::BTreeMap;

/// What is said of a keyspace whose groups are `groups`.
#[must_use]
pub fn keyspace(
    desired: &Desired,
    keyspace: &WantedKeyspace,
    groups: &BTreeMap<String, GroupStatus>,
    observed: &Observed,
    steps: &Steps,
) -> KeyspaceStatus {
    let old = keyspace.resource.status.clone().unwrap_or_default();
    let generation = keyspace.resource.metadata.generation;
    let mut conditions = Conditions::new(&old.conditions, generation, observed.now_sec);
    let asked = i32::from(keyspace.config.groups);
    let served: i32 =
        groups.values().filter(|g| is(g, ConditionType::Ready)).map(|g| g.slots).sum();
    let parts = Parts { groups, asked, served, count: keyspace.groups.len(), steps };
    conditions.set(ConditionType::Ready, &parts.ready());
    let pending = certificates::pending(desired, observed, Some(keyspace));
    let progressing = pending.unwrap_or_else(|| parts.progressing());
    conditions.set(ConditionType::Progressing, &progressing);
    for about in [ConditionType::Degraded, ConditionType::WritesRefused, ConditionType::NeedsPerson]
    {
        let worst = parts.worst(about);
        let ending = (about == ConditionType::NeedsPerson && worst.is != Some(true))
            .then(|| certificates::ending(desired, observed, Some(keyspace)));
        conditions.set(about, &ending.flatten().unwrap_or(worst));
    }
    if let Some(policy) = &keyspace.config.autoscale {
        conditions.set(ConditionType::AutoscaleLimited, &limited(keyspace, policy.max, observed));
    }
    let ready = groups.values().filter(|group| is(group, ConditionType::Ready)).count();
    KeyspaceStatus {
        observed_generation: generation,
        groups: i32::try_from(groups.len()).unwrap_or(i32::MAX),
        ready_groups: i32::try_from(ready).unwrap_or(i32::MAX),
        slots_served: served,
        password: password(keyspace, observed),
        certificates: certificates::of(desired, observed, Some(keyspace)),
        selector: Some(format!("{}={}", names::KEYSPACE, keyspace.name)),
        conditions: conditions.done(),
    }
}

/// Whether its load needs more groups than `max`, as the global master says.
fn limited(keyspace: &WantedKeyspace, max: u16, observed: &Observed) -> Verdict {
    if observed.plane.directory.is_none() {
        return Verdict::unknown(Reason::PlaneUnreachable, observed.plane.error.clone());
    }
    let reason = NodeCondition::AutoscaleLimited.as_str();
    let mut said = observed.plane.nodes.values().flat_map(|status| &status.conditions);
    let of_it = said.find(|it| {
        let group = GroupId::new(&it.group);
        it.reason == reason && keyspace_of(&group) == Some(&keyspace.name)
    });
    match of_it {
        Some(said) => Verdict::yes(Reason::LoadAboveMax, said.message.clone()),
        None => Verdict::no(Reason::LoadWithinMax, format!("there may be {max} groups")),
    }
}

/// Tells one password from another and nothing else; as the directory has it and nodes follow it.
fn password(keyspace: &WantedKeyspace, observed: &Observed) -> Option<String> {
    let known = observed.plane.directory.as_ref()?.keyspaces.get(&keyspace.name)?;
    let mut text = match (&known.password_sha256, known.users.is_empty()) {
        (None, true) => return None,
        (digest, true) => crate::object::digest(&serde_json::json!(digest)),
        (digest, false) => crate::object::digest(&serde_json::json!([digest, known.users])),
    };
    text.truncate(12);
    Some(text)
}

/// What is said of a keyspace that breaks a rule.
#[must_use]
pub fn refused(resource: &Keyspace, why: &str, now_sec: i64) -> KeyspaceStatus {
    set_aside(resource, Reason::SpecInvalid, why, now_sec)
}

/// What is said of a keyspace whose Cluster does not exist.
#[must_use]
pub fn without_cluster(resource: &Keyspace, now_sec: i64) -> KeyspaceStatus {
    let cluster = &resource.spec.cluster;
    let why = format!("there is no Cluster {cluster} in this namespace: make it, or this anew");
    set_aside(resource, Reason::ClusterMissing, &why, now_sec)
}

/// Nothing is done about it; whatever runs goes on.
fn set_aside(resource: &Keyspace, reason: Reason, why: &str, now_sec: i64) -> KeyspaceStatus {
    let old = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let conditions = Conditions::new(&old.conditions, generation, now_sec);
    let conditions = conditions.refused(&COMMON, reason, why);
    KeyspaceStatus { observed_generation: generation, conditions, ..old }
}

fn condition(group: &GroupStatus, about: ConditionType) -> Option<&cairn_crd::shared::Condition> {
    group.conditions.iter().find(|condition| condition.type_ == about.as_str())
}

fn is(group: &GroupStatus, about: ConditionType) -> bool {
    condition(group, about).is_some_and(|condition| condition.status == "True")
}

fn reason(condition: &cairn_crd::shared::Condition) -> Reason {
    let known = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
    known.copied().unwrap_or(Reason::WaitingForNodes)
}

struct Parts<'a> {
    groups: &'a BTreeMap<String, GroupStatus>,
    asked: i32,
    served: i32,
    /// Groups that are to exist, also those to be emptied.
    count: usize,
    steps: &'a Steps,
}

impl Parts<'_> {
    /// The first group whose condition is `status`, as a verdict on the keyspace.
    fn first(&self, about: ConditionType, status: &str) -> Option<Verdict> {
        let found = self.groups.iter().find_map(|(name, group)| {
            let condition = condition(group, about)?;
            (condition.status == status).then_some((name, condition))
        });
        found.map(|(name, condition)| Verdict {
            is: match status {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            },
            reason: reason(condition),
            message: format!("{name}: {}", condition.message),
        })
    }

    fn ready(&self) -> Verdict {
        let about = ConditionType::Ready;
        if self.groups.len() < self.count {
            return Verdict::no(Reason::WaitingForNodes, "its groups are being made");
        }
        if let Some(not) = self.first(about, "False").or_else(|| self.first(about, "Unknown")) {
            return not;
        }
        if self.served < i32::from(SLOTS) {
            let message = format!("{} of {SLOTS} slots are served", self.served);
            return Verdict::no(Reason::SlotsUnserved, message);
        }
        let less = self.groups.iter().find(|(_, group)| is(group, ConditionType::Degraded));
        match less {
            Some((name, _)) => Verdict::yes(Reason::ServingWithLess, format!("{name} is degraded")),
            None => Verdict::yes(Reason::AllServing, "all slots are served"),
        }
    }

    fn progressing(&self) -> Verdict {
        let about = ConditionType::Progressing;
        if let Some(under_way) = self.first(about, "True") {
            return under_way;
        }
        let asked = usize::try_from(self.asked).unwrap_or(0);
        if self.count > asked {
            let message = format!(
                "{} groups hold data, {asked} are asked for: their slots cannot be moved yet",
                self.count
            );
            return Verdict::yes(Reason::Scaling, message);
        }
        let stuck = self.groups.values().filter_map(|group| condition(group, about));
        let mut stuck = stuck.filter(|c| c.reason == Reason::RolloutStuck.as_str());
        match (&self.steps.stuck, stuck.next()) {
            (Some(stuck), Some(_)) => Verdict::no(Reason::RolloutStuck, stuck.clone()),
            _ => Verdict::no(Reason::Settled, "nothing is left to do"),
        }
    }

    /// True if it is so of a group, unknown if nobody can tell of one, else as the last one says.
    fn worst(&self, about: ConditionType) -> Verdict {
        let worst = self.first(about, "True").or_else(|| self.first(about, "Unknown"));
        let fine = match about {
            ConditionType::NeedsPerson => Verdict::no(Reason::Settled, "nothing needs a person"),
            _ => Verdict::no(Reason::AllServing, "so says every group"),
        };
        worst.unwrap_or(fine)
    }
}
