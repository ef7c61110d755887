//! Configurations with one member left say so, and say no more when they are whole again.

use crate::support::{GROUP, LONG, World, connect, say};
use cairn_harness::clock::{wait, wait_until};
use std::time::Duration;

/// Longer than a master waits for members without which it may not write.
const STANDSTILL: Duration = Duration::from_secs(17);

fn has(world: &World, condition: &str) -> bool {
    world.conditions().iter().any(|known| known == condition)
}

#[test]
fn a_set_that_shrank_to_one_member_says_that_redundancy_is_gone() {
    let world = World::up();
    world.eventually("nothing to say", |w| w.conditions().is_empty());
    let status = world.status();
    assert_eq!(status["global"]["wanted"], 2, "{status:#}");
    assert_eq!(status["global"]["members"].as_array().map(Vec::len), Some(2), "{status:#}");
    let epoch = status["global"]["epoch"].as_u64().expect("an epoch");
    let master = status["globalMaster"].as_str().expect("a master").to_owned();
    let other = if master == "global-0" { "global-1" } else { "global-0" };

    world.cluster.kill(other, true).expect("it runs");
    world.eventually("a set of one says so", |w| has(w, "RedundancyLost global"));
    let status = world.status();
    assert_eq!(status["global"]["members"].as_array().map(Vec::len), Some(1), "{status:#}");
    assert!(status["global"]["epoch"].as_u64() > Some(epoch), "{status:#}");
    let table = world.cluster.cairn(["status"]).expect("status");
    assert!(table.contains("RedundancyLost group global: 1 of 2 members"), "{table}");
    assert!(table.contains("1 of 2 members)"), "{table}");

    world.cluster.start(other).expect("it is started");
    world.whole();
    world.eventually("whole again", |w| w.conditions().is_empty());
    let status = world.status();
    let nodes = status["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["id"] == other).expect("the node");
    assert_eq!(node["logs"][0]["position"], "follower", "{node:#}");

    let group_master = world.master().id;
    let others = ["t-0-0", "t-0-1", "t-0-2"].into_iter().filter(|id| *id != group_master);
    let others: Vec<&str> = others.collect();
    world.cluster.kill(others[0], true).expect("it runs");
    world.eventually("two of three", |w| has(w, &format!("TooFewMembers {GROUP}")));
    world.cluster.kill(others[1], true).expect("it runs");
    world.eventually("one of three", |w| has(w, &format!("RedundancyLost {GROUP}")));
    others.iter().for_each(|id| world.cluster.start(id).expect("it is started"));
    world.whole();
    world.eventually("whole again", |w| w.conditions().is_empty());
}

#[test]
fn a_standstill_of_all_nodes_without_the_plane_costs_nothing() {
    let world = World::with_default_spans();
    let master = world.master();
    let (plane, data): (Vec<&str>, Vec<&str>) = world
        .cluster
        .nodes()
        .iter()
        .map(|node| node.id.as_str())
        .partition(|id| !id.starts_with(GROUP));
    let freeze = |id: &&str| world.cluster.freeze(id).expect("it runs");
    let thaw = |id: &&str| world.cluster.thaw(id).expect("it runs");
    plane.iter().for_each(freeze);
    data.iter().for_each(freeze);
    wait(STANDSTILL);
    data.iter().for_each(thaw);
    let mut last = String::new();
    let writes = wait_until(LONG, Duration::from_millis(50), || {
        last = say(&mut connect(&master), "SET after standstill");
        last == "OK"
    });
    assert!(writes, "nobody answers a write without the plane: {last}");
    plane.iter().for_each(thaw);
    world.whole();
    world.eventually("nothing to say", |w| w.conditions().is_empty());
}
