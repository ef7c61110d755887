//! A cluster on Kubernetes as a tree: cluster, keyspaces, groups, members, each with its pod.

use super::{LogReport, MemberReport, NodeReport, Report, table};
use crate::kubernetes::PodSeen;
use std::collections::{BTreeMap, BTreeSet};

const HEADINGS: [&str; 9] =
    ["NAME", "ROLE", "STATE", "EPOCH", "LAG", "READY", "RESTARTS", "ZONE", "MACHINE"];

/// What comes after the name.
type Cells = [String; 8];

/// A row, and those that hang on it.
struct Branch {
    name: String,
    cells: Cells,
    children: Vec<Self>,
}

/// The tree as a table. A pod's name is its node's.
pub(super) fn tree(report: &Report, pods: &BTreeMap<String, PodSeen>) -> String {
    let mut placed = BTreeSet::new();
    let mut top = vec![global(report, pods, &mut placed)];
    for keyspace in &report.keyspaces {
        let prefix = format!("{}-", keyspace.name);
        let own = |id: &str| id.strip_prefix(&prefix).is_some_and(|n| n.parse::<u32>().is_ok());
        let groups = report.groups.iter().filter(|group| own(&group.id));
        let groups = groups.map(|group| {
            let state = format!("{}, {} slots", group.state(), group.slots);
            let cells = head("group", state, Some(group.epoch));
            let members = (group.id.as_str(), &group.members[..]);
            Branch {
                name: group.id.clone(),
                cells,
                children: nodes(report, pods, members, &mut placed),
            }
        });
        let children = groups.collect();
        let state = format!("{} slots served", keyspace.slots_served);
        let cells = head("keyspace", state, None);
        top.push(Branch { name: keyspace.name.clone(), cells, children });
    }
    let left = report.nodes.iter().filter(|node| !placed.contains(&node.id));
    let left: Vec<Branch> = left.map(|node| leaf(node, node.logs.first(), None, pods)).collect();
    if !left.is_empty() {
        let cells = head("", String::new(), None);
        top.push(Branch { name: "in no group".to_owned(), cells, children: left });
    }
    let mut rows = Vec::new();
    for branch in &top {
        render(branch, "", "", &mut rows);
    }
    table(&HEADINGS, &rows)
}

fn head(role: &str, state: String, epoch: Option<u64>) -> Cells {
    let mut cells = [const { String::new() }; 8];
    cells[0] = role.to_owned();
    cells[1] = state;
    cells[2] = epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    cells
}

fn global(
    report: &Report,
    pods: &BTreeMap<String, PodSeen>,
    placed: &mut BTreeSet<String>,
) -> Branch {
    let record = report.global.as_ref();
    let state = if report.global_master.is_some() { "serving" } else { "not serving" };
    let cells = head("global plane", state.to_owned(), record.map(|global| global.epoch));
    let members = record.map_or(&[][..], |global| &global.members);
    let mut children = nodes(report, pods, ("global", members), placed);
    for node in report.nodes.iter().filter(|node| is_beside(&node.role)) {
        if !placed.insert(node.id.clone()) {
            continue;
        }
        children.push(leaf(node, None, None, pods));
    }
    Branch { name: report.cluster.clone(), cells, children }
}

/// Whether nodes of this role belong to the global plane without being its members.
fn is_beside(role: &str) -> bool {
    matches!(role, "acceptor" | "checkpoint")
}

/// The nodes that have a log of the group: its members and those that learn.
fn nodes(
    report: &Report,
    pods: &BTreeMap<String, PodSeen>,
    (group, members): (&str, &[MemberReport]),
    placed: &mut BTreeSet<String>,
) -> Vec<Branch> {
    let mut found = Vec::new();
    for node in &report.nodes {
        let log = node.logs.iter().find(|log| log.group == group);
        let member = members.iter().find(|member| member.id == node.id);
        if log.is_some() || member.is_some() {
            placed.insert(node.id.clone());
            found.push(leaf(node, log, member, pods));
        }
    }
    found
}

fn leaf(
    node: &NodeReport,
    log: Option<&LogReport>,
    member: Option<&MemberReport>,
    pods: &BTreeMap<String, PodSeen>,
) -> Branch {
    let pod = pods.get(&node.id).cloned().unwrap_or_default();
    let lag = log.and_then(|log| log.lag_entries).or(member.and_then(|m| m.lag_entries));
    let cells = [
        member.map_or_else(|| node.role.clone(), |member| member.role.clone()),
        match log {
            Some(log) => log.position(),
            None if node.answers => "up".to_owned(),
            None => format!("silent, {}", pod.phase.to_lowercase()),
        },
        log.map(|log| log.epoch.to_string()).unwrap_or_default(),
        lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
        if pod.ready { "yes" } else { "no" }.to_owned(),
        pod.restarts.to_string(),
        pod.zone,
        pod.machine,
    ];
    Branch { name: node.id.clone(), cells, children: Vec::new() }
}

fn render(branch: &Branch, lead: &str, below: &str, rows: &mut Vec<[String; 9]>) {
    let mut row = [const { String::new() }; 9];
    row[0] = format!("{lead}{}", branch.name);
    row[1..].clone_from_slice(&branch.cells);
    rows.push(row);
    for (at, child) in branch.children.iter().enumerate() {
        let last = at + 1 == branch.children.len();
        let (tee, line) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        render(child, &format!("{below}{tee}"), &format!("{below}{line}"), rows);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GlobalReport, GroupReport, KeyspaceReport};
    use super::*;

    fn node(id: &str, role: &str, log: Option<(&str, &'static str)>) -> NodeReport {
        let log = log.map(|(group, position)| LogReport {
            group: group.to_owned(),
            position,
            epoch: 3,
            last_epoch: 3,
            last_offset: 9,
            committed: 9,
            applied: 9,
            sealed: 0,
            intact: true,
            lag_entries: (position != "master").then_some(2),
            digest: None,
            waiting: Vec::new(),
            loaded_percent: None,
        });
        NodeReport {
            id: id.to_owned(),
            role: role.to_owned(),
            process: "running",
            pid: None,
            restarts: 0,
            last_exit: None,
            answers: true,
            incarnation: None,
            life: None,
            rss_bytes: None,
            disk_free_bytes: None,
            peer_tls_digest: None,
            client_tls_digest: None,
            client: String::new(),
            etcd: String::new(),
            peer: String::new(),
            metrics: String::new(),
            logs: log.into_iter().collect(),
        }
    }

    fn member(id: &str, role: &str) -> MemberReport {
        MemberReport { id: id.to_owned(), role: role.to_owned(), lag_entries: None, zone: None }
    }

    fn report() -> Report {
        Report {
            cluster: "demo".to_owned(),
            uid: String::new(),
            up: true,
            ready: true,
            missing: Vec::new(),
            global_master: Some("demo-global-0".to_owned()),
            global: Some(GlobalReport {
                epoch: 1,
                attempt: 1,
                open: false,
                members: vec![member("demo-global-0", "master")],
                wanted: 1,
            }),
            conditions: Vec::new(),
            nodes: vec![
                node("demo-global-0", "global", Some(("global", "master"))),
                node("demo-acceptor-0", "acceptor", None),
                node("demo-checkpoint-0", "checkpoint", Some(("global", "learner"))),
                node("demo-checkpoint-1", "checkpoint", None),
                node("tweets-0-0", "data", Some(("tweets-0", "master"))),
                node("tweets-0-1", "data", Some(("tweets-0", "learner"))),
                node("tweets-0-2", "data", None),
            ],
            groups: vec![GroupReport {
                id: "tweets-0".to_owned(),
                epoch: 3,
                attempt: 3,
                open: false,
                master: Some("tweets-0-0".to_owned()),
                serving: true,
                members: vec![member("tweets-0-0", "master")],
                wanted: 3,
                slots: 16384,
            }],
            keyspaces: vec![KeyspaceReport {
                name: "tweets".to_owned(),
                groups: 1,
                slots_served: 16384,
                endpoints: Vec::new(),
            }],
        }
    }

    #[test]
    fn every_node_is_somewhere_in_the_tree() {
        let report = report();
        let pod = PodSeen {
            phase: "Running".to_owned(),
            ready: true,
            restarts: 4,
            zone: "b".to_owned(),
            machine: "m2".to_owned(),
        };
        let text = tree(&report, &BTreeMap::from([("tweets-0-1".to_owned(), pod)]));
        let names: Vec<&str> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split([' ', '├', '└', '│', '─']).find(|word| !word.is_empty()))
            .collect();
        let expected = [
            "demo",
            "demo-global-0",
            "demo-checkpoint-0",
            "demo-acceptor-0",
            "demo-checkpoint-1",
            "tweets",
            "tweets-0",
            "tweets-0-0",
            "tweets-0-1",
            "in",
            "tweets-0-2",
        ];
        assert_eq!(names, expected, "{text}");
        let learner = text.lines().find(|line| line.contains("tweets-0-1")).unwrap();
        let words: Vec<&str> = learner.split_whitespace().collect();
        assert_eq!(words, ["└─", "tweets-0-1", "data", "learner", "3", "2", "yes", "4", "b", "m2"]);
    }
}
