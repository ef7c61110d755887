//! What a person should know while it lasts: said by nodes of themselves, or seen in the records.

use crate::view::View;
use cairn_logic::counting::{Plane, Sets};
use cairn_logic::ids::GroupId;
use cairn_logic::record::Record;
use cairn_settings::NodeCondition;
use cairn_settings::directory_keys::keyspace_of;
use serde::Serialize;

/// One condition; keys are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionReport {
    /// One word of a closed list.
    pub reason: String,
    /// The node that says it, if one does.
    pub node: Option<String>,
    /// The group it is about, if it is about one.
    pub group: Option<String>,
    /// What is so, and what follows.
    pub message: String,
}

impl ConditionReport {
    /// The condition as one line.
    pub fn line(&self) -> String {
        let node = self.node.iter().map(|node| format!(" node {node}"));
        let group = self.group.iter().map(|group| format!(" group {group}"));
        let about: String = node.chain(group).collect();
        format!("{}{about}: {}", self.reason, self.message)
    }
}

/// Everything there is to say at this moment.
pub fn conditions(view: &View) -> Vec<ConditionReport> {
    let mut all = Vec::new();
    if let Some(record) = view.global_record() {
        all.extend(of_record(&GroupId::global(), &record));
    }
    let groups = || view.topology.as_ref().into_iter().flat_map(|topology| &topology.groups);
    all.extend(groups().filter_map(|(id, record)| of_record(id, record)));
    let asked = |id: &GroupId| {
        let keyspaces = &view.topology.as_ref().ok()?.keyspaces;
        Some(keyspaces.get(keyspace_of(id)?)?.durability.zones)
    };
    all.extend(groups().filter_map(|(id, record)| of_zones(id, record, asked(id).unwrap_or(1))));
    for (node, status) in &view.nodes {
        all.extend(status.conditions.iter().map(|condition| ConditionReport {
            reason: condition.reason.clone(),
            node: Some(node.to_string()),
            group: Some(condition.group.clone()).filter(|group| !group.is_empty()),
            message: condition.message.clone(),
        }));
    }
    all
}

/// Whether a configuration has fewer members than it should.
fn of_record(group: &GroupId, record: &Record) -> Option<ConditionReport> {
    let (count, wanted) = (record.members.len(), usize::from(record.wanted));
    let (reason, message) = match count {
        _ if count >= wanted => return None,
        0 | 1 => {
            let id = record.members.first().map_or("it", |member| member.id.as_str());
            let message = format!(
                "1 of {wanted} members is left: what is acknowledged survives a restart of {id}, \
                 not the loss of its disk"
            );
            (NodeCondition::RedundancyLost, message)
        }
        _ => (NodeCondition::TooFewMembers, format!("{count} of {wanted} members count")),
    };
    Some(ConditionReport {
        reason: reason.as_str().to_owned(),
        node: None,
        group: Some(group.to_string()),
        message,
    })
}

/// Whether the members are in fewer zones than copies have to be in.
fn of_zones(group: &GroupId, record: &Record, asked: u8) -> Option<ConditionReport> {
    if record.members.is_empty() {
        return None;
    }
    let sets = Sets::of(Plane::Group, record);
    let (is, promised) = (sets.spanned(), record.durability.zones);
    let message = if !sets.has_zones() {
        format!(
            "the members are known to be in {is} of {promised} zones: reads go on, writes are \
             refused until a node in another zone is a member"
        )
    } else if asked > promised {
        format!(
            "durability.zones: {asked} is not in force yet, but {promised}: the members are known \
             to be in {is}"
        )
    } else {
        return None;
    };
    Some(ConditionReport {
        reason: NodeCondition::TooFewZones.as_str().to_owned(),
        node: None,
        group: Some(group.to_string()),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{Epoch, Incarnation, NodeId, Version};
    use cairn_logic::record::{Durability, Member, Role, Rule};

    fn record(members: usize, wanted: u8) -> Record {
        let member = |n: usize| Member {
            id: NodeId::new(format!("n-{n}")),
            incarnation: Incarnation(1),
            role: Role::Replica,
            zone: None,
        };
        Record {
            version: Version(1),
            epoch: Epoch(2),
            master: Some(NodeId::new("n-0")),
            members: (0..members).map(member).collect(),
            rule: Rule::One,
            wanted,
            durability: Durability { flushed: false, zones: 1 },
            attempt: Epoch(2),
            open: false,
        }
    }

    #[test]
    fn members_in_too_few_zones_say_so() {
        let mut record = record(3, 3);
        let of = |record: &Record| of_zones(&GroupId::new("t-0"), record, 2);
        assert!(of(&record).unwrap().message.contains("2 is not in force yet"));
        record.durability.zones = 2;
        record.members.iter_mut().for_each(|member| member.zone = Some("a".to_owned()));
        let said = of(&record).unwrap();
        assert_eq!(said.reason, "TooFewZones");
        assert!(said.message.contains("in 1 of 2 zones"), "{}", said.message);
        record.members[2].zone = Some("b".to_owned());
        assert_eq!(of(&record), None);
    }

    #[test]
    fn a_set_shrunk_to_one_says_that_redundancy_is_gone() {
        let of = |members, wanted| of_record(&GroupId::new("t-0"), &record(members, wanted));
        assert_eq!(of(3, 3), None);
        assert_eq!(of(1, 1), None);
        assert_eq!(of(2, 3).unwrap().reason, "TooFewMembers");
        let lost = of(1, 3).unwrap();
        assert_eq!(lost.reason, "RedundancyLost");
        let line = lost.line();
        assert!(line.starts_with("RedundancyLost group t-0: 1 of 3 members is left"), "{line}");
        assert!(line.contains("n-0"), "{line}");
    }
}
