//! Which nodes are to be empty because their machines take no more pods, told to the directory as
//! facts; the planner replaces them, with or without the operator. Pure.
//!
//! A fact is about a node, not about its machine: which pod is where only Kubernetes knows. It ends
//! when the machine takes pods again, or when the node's pod is made on another one. What a person
//! has said (`cairn drain`) is left alone.

use super::observed::{Directory, Observed};
use cairn_logic::ids::NodeId;
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::{Drain, Drained, DrainedBy};

/// What the directory is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Nodes that are to be empty from now on.
    pub new: Vec<(Drained, Drain)>,
    /// Keys of those that are not any more, each with the revision at which it was seen.
    pub over: Vec<(String, i64)>,
}

/// What is to change of what the directory knows.
#[must_use]
pub fn changes(observed: &Observed) -> Changes {
    /// A directory refuses much larger transactions.
    const AT_ONCE_MAX: usize = 64;
    let Some(directory) = &observed.plane.directory else { return Changes::default() };
    let mut changes = Changes::default();
    let data = directory.nodes.iter().filter(|(_, info)| info.role == NodeRole::Data);
    for (node, _) in data {
        let drained = Drained::Node(node.clone());
        if let Some(machine) = cordoned(observed, directory, node)
            && !directory.drains.contains_key(&drained)
        {
            let drain = Drain { by: DrainedBy::Operator, machine: Some(machine) };
            changes.new.push((drained, drain));
        }
    }
    let ours = directory.drains.iter().filter(|(_, drain)| drain.by == DrainedBy::Operator);
    let over = ours.filter(|(drained, _)| match drained {
        Drained::Node(node) => cordoned(observed, directory, node).is_none(),
        Drained::Machine(_) => true,
    });
    let over = over.filter_map(|(drained, _)| {
        let key = drained.key();
        directory.revisions.get(&key).map(|seen| (key, *seen))
    });
    changes.over = over.take(AT_ONCE_MAX).collect();
    changes
}

/// The machine of a node, if that takes no more pods. A pod that was evicted has none until it is
/// made elsewhere: then it counts where it was.
fn cordoned(observed: &Observed, directory: &Directory, node: &NodeId) -> Option<String> {
    let pod = observed.pods.get(node.as_str());
    let now = pod.and_then(|pod| pod.machine.clone());
    let before = || {
        directory.nodes.get(node)?;
        let drain = directory.drains.get(&Drained::Node(node.clone()))?;
        drain.machine.clone().filter(|_| drain.by == DrainedBy::Operator)
    };
    let name = now.or_else(before)?;
    observed.machines.get(&name).is_some_and(|machine| machine.cordoned).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seen;

    fn told(node: &str) -> (Drained, Drain) {
        let drain = Drain { by: DrainedBy::Operator, machine: Some("m9".to_owned()) };
        (Drained::Node(NodeId::new(node)), drain)
    }

    /// The node of that pod is on the machine m9, and the directory knows it.
    fn seen() -> Seen {
        let mut seen = Seen::new().pool(|_| ()).whole();
        let machine = seen.observed.machines.values().next().unwrap().clone();
        seen.observed.machines.insert("m9".to_owned(), machine);
        seen.pod("warm-spare-1", |pod| pod.machine = Some("m9".to_owned()))
    }

    fn cordons(mut seen: Seen, is: bool) -> Seen {
        seen.observed.machines.get_mut("m9").unwrap().cordoned = is;
        seen
    }

    /// The directory knows what it was told.
    fn after(mut seen: Seen, known: (Drained, Drain)) -> Seen {
        let directory = seen.observed.plane.directory.as_mut().unwrap();
        directory.revisions.insert(known.0.key(), 17);
        directory.drains.extend([known]);
        seen
    }

    #[test]
    fn nodes_of_a_cordoned_machine_are_drained_and_no_longer_when_it_takes_pods_again() {
        assert_eq!(changes(&seen().observed), Changes::default());
        let cordoned = cordons(seen(), true);
        assert_eq!(changes(&cordoned.observed).new, [told("warm-spare-1")]);
        let known = after(cordoned, told("warm-spare-1"));
        assert_eq!(changes(&known.observed), Changes::default(), "said once");
        let over = changes(&cordons(known.clone(), false).observed).over;
        assert_eq!(over, [("/cairn/drains/node/warm-spare-1".to_owned(), 17)]);
        assert_eq!(changes(&known.deaf().observed), Changes::default(), "the truth is not known");
    }

    #[test]
    fn a_pod_that_was_evicted_is_drained_until_it_is_made_elsewhere() {
        let known = after(cordons(seen(), true), told("warm-spare-1"));
        let evicted = known.pod("warm-spare-1", |pod| pod.machine = None);
        assert_eq!(changes(&evicted.observed), Changes::default());
        let elsewhere = evicted.pod("warm-spare-1", |pod| pod.machine = Some("m0".to_owned()));
        assert_eq!(changes(&elsewhere.observed).over.len(), 1);
    }

    #[test]
    fn what_a_person_drained_stays_drained() {
        let by_a_person = (Drained::Node(NodeId::new("warm-spare-1")), Drain::default());
        let known = after(cordons(seen(), true), by_a_person);
        assert_eq!(changes(&known.observed), Changes::default());
        assert_eq!(changes(&cordons(known, false).observed), Changes::default());
    }
}
