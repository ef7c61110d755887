//! `cairn drain`: nodes that are to be empty, and how far they are.
//!
//! What is said here is written to the directory as a fact; the planner acts on it, one group at a
//! time.

use crate::args::{DrainArgs, Output};
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::status::table;
use crate::view::Topology;
use anyhow::{Context, Result, bail, ensure};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Role;
use cairn_settings::directory_keys::{Drain, Drained, DrainedBy};
use cairn_settings::{NodeCondition, NodeRole};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Until it is said what is waited for, and between two such lines.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// What `-o json` prints; keys are only ever added.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    node: String,
    machine: Option<String>,
    by: DrainedBy,
    state: &'static str,
    group: Option<String>,
}

/// Drains, takes that back, or says what is drained.
pub async fn drain(place: &Place, args: &DrainArgs) -> Result<()> {
    let (roster, plane) = place.open().await?;
    let topology = Topology::read(&plane).await?;
    let what = match (&args.node, &args.machine) {
        (None, None) => {
            print::text(&shown(&topology, args.output)?);
            return Ok(());
        }
        (Some(node), _) => {
            let role = roster.node(node)?.role;
            ensure!(role == NodeRole::Data, "{node} has no data of groups: it is of role {role}");
            Drained::Node(NodeId::new(node))
        }
        (None, Some(machine)) => {
            ensure!(
                place.kubernetes().is_err(),
                "on Kubernetes the operator sees it: `kubectl drain {machine}`, and \
                 `kubectl uncordon {machine}` to take it back"
            );
            Drained::Machine(known(&topology, machine)?)
        }
    };
    if args.undo {
        return undo(&plane, &topology, &what).await;
    }
    let known = topology.drains.contains_key(&what);
    if !known {
        plane.set(&what.key(), &Drain::default().encode()).await?;
    }
    print::line(format_args!("{what} is{} drained", if known { " already" } else { "" }));
    if args.timeout_sec == 0 {
        return Ok(());
    }
    until_empty(&plane, &what, Duration::from_secs(args.timeout_sec)).await
}

/// A machine that nodes say they are on.
fn known(topology: &Topology, machine: &str) -> Result<String> {
    let all: BTreeSet<&str> =
        topology.nodes.values().filter_map(|info| info.machine.as_deref()).collect();
    if all.contains(machine) {
        return Ok(machine.to_owned());
    }
    if all.is_empty() {
        bail!("no node says on which machine it is: name nodes instead");
    }
    let all: Vec<&str> = all.into_iter().collect();
    bail!("no node is on machine {machine:?}; there are {}", all.join(", "))
}

async fn undo(plane: &Plane, topology: &Topology, what: &Drained) -> Result<()> {
    let drain = topology.drains.get(what).with_context(|| format!("{what} is not drained"))?;
    if drain.by == DrainedBy::Operator {
        let machine = drain.machine.as_deref().unwrap_or("MACHINE");
        bail!(
            "the operator drains {what}, whose machine takes no pods: `kubectl uncordon {machine}`"
        );
    }
    plane.forget(&what.key()).await?;
    print::line(format_args!("{what} is drained no longer; what has begun is ended or given back"));
    Ok(())
}

/// Waits until none of the nodes counts in any group.
async fn until_empty(plane: &Plane, what: &Drained, timeout: Duration) -> Result<()> {
    let began = Instant::now();
    let (mut said, mut at) = (String::new(), began);
    loop {
        let waits = match Topology::read(plane).await {
            Err(error) => format!("the directory does not answer: {error:#}"),
            Ok(topology) => match left(&topology, what) {
                None => break,
                Some(left) => told(plane).await.unwrap_or(left),
            },
        };
        if began.elapsed() >= timeout {
            bail!("{waits}; it goes on: see `cairn drain`, and `cairn drain --undo` to give it up");
        }
        if waits != said && at.elapsed() >= SAY_EVERY {
            print::line(format_args!("waits: {waits}"));
            (said, at) = (waits, Instant::now());
        }
        sleep(LOOK_EVERY).await;
    }
    let ms = began.elapsed().as_millis();
    print::line(format_args!("{what} is empty: no group counts on it, {ms} ms"));
    Ok(())
}

/// A node that is drained by `what` and still counts, in words.
fn left(topology: &Topology, what: &Drained) -> Option<String> {
    let lines = lines(topology).into_iter();
    let mut lines = lines.filter(|line| line.state != "empty");
    let left = lines.find(|line| match what {
        Drained::Node(id) => id.as_str() == line.node,
        Drained::Machine(name) => line.machine.as_ref() == Some(name),
    })?;
    Some(format!("{} is {} of {}", left.node, left.state, left.group.unwrap_or_default()))
}

/// What the global master says of it.
async fn told(plane: &Plane) -> Option<String> {
    let status = plane.status(plane.master().await.ok()?).await.ok()?;
    let draining = NodeCondition::Draining.as_str();
    let mut conditions = status.conditions.into_iter();
    Some(conditions.find(|it| it.reason == draining)?.message)
}

/// Every registered node that is to be empty.
fn lines(topology: &Topology) -> Vec<Line> {
    let line = |(id, info): (&NodeId, &cairn_settings::directory_keys::NodeInfo)| {
        let of_node = topology.drains.get(&Drained::Node(id.clone()));
        let machine = info.machine.clone();
        let of_machine = || topology.drains.get(&Drained::Machine(machine.clone()?));
        let drain = of_node.or_else(of_machine)?;
        let counts = topology.groups.iter().find_map(|(group, record)| {
            let member = record.member(id)?;
            let there = member.incarnation == info.incarnation;
            let state = if member.role == Role::Master { "master" } else { "member" };
            there.then_some((group, state))
        });
        Some(Line {
            node: id.to_string(),
            machine: info.machine.clone().or_else(|| drain.machine.clone()),
            by: drain.by,
            state: counts.map_or("empty", |(_, state)| state),
            group: counts.map(|(group, _): (&GroupId, _)| group.to_string()),
        })
    };
    topology.nodes.iter().filter_map(line).collect()
}

fn shown(topology: &Topology, output: Output) -> Result<String> {
    let lines = lines(topology);
    if output == Output::Json {
        return Ok(serde_json::to_string_pretty(&lines).context("cannot encode")? + "\n");
    }
    if lines.is_empty() {
        return Ok("nothing is drained\n".to_owned());
    }
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |line: &Line| {
        let by = match line.by {
            DrainedBy::Person => "person",
            DrainedBy::Operator => "operator",
        };
        let (machine, group) = (dash(&line.machine), dash(&line.group));
        [line.node.clone(), machine, by.to_owned(), line.state.to_owned(), group]
    };
    let rows: Vec<[String; 5]> = lines.iter().map(row).collect();
    Ok(table(&["NODE", "MACHINE", "BY", "STATE", "GROUP"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_settings::directory_keys::{NodeInfo, decode_group};

    fn topology() -> Topology {
        let mut topology = Topology::default();
        for (id, machine) in [("t-0-0", "m1"), ("t-0-1", "m2"), ("warm-spare-0", "m2")] {
            let json = format!(
                r#"{{"incarnation":1,"role":"data","machine":"{machine}",
                    "addresses":{{"client":"","etcd":"","peer":"","heartbeat":"","metrics":""}}}}"#
            );
            topology.nodes.insert(NodeId::new(id), NodeInfo::decode(json.as_bytes()).unwrap());
        }
        let record = br#"{"version":3,"epoch":1,"master":"t-0-1","members":[
            {"id":"t-0-0","incarnation":1,"role":"replica"},
            {"id":"t-0-1","incarnation":1,"role":"master"}],
            "rule":"one","wanted":2,"durability":{"flushed":false,"zones":1},
            "attempt":1,"open":false}"#;
        topology.groups.insert(GroupId::new("t-0"), decode_group(record).unwrap());
        topology
    }

    #[test]
    fn what_is_drained_is_listed_with_what_it_still_is() {
        let mut topology = topology();
        assert_eq!(shown(&topology, Output::Table).unwrap(), "nothing is drained\n");
        let what = Drained::Machine(known(&topology, "m2").unwrap());
        topology.drains.insert(what.clone(), Drain::default());
        let text = shown(&topology, Output::Table).unwrap();
        assert!(text.contains("t-0-1         m2       person  master  t-0\n"), "{text}");
        assert!(text.contains("warm-spare-0  m2       person  empty   -\n"), "{text}");
        assert!(!text.contains("t-0-0"), "{text}");
        assert_eq!(left(&topology, &what).as_deref(), Some("t-0-1 is master of t-0"));
        topology.groups.clear();
        assert_eq!(left(&topology, &what), None);
    }

    #[test]
    fn a_machine_that_nobody_is_on_is_refused_by_naming_the_others() {
        let error = known(&topology(), "m3").unwrap_err().to_string();
        assert!(error.contains("there are m1, m2"), "{error}");
    }
}
