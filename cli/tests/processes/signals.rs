//! SIGTERM of each node of a cluster, one after the other, while clients write.

use crate::support::{GROUP, World};
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use std::time::{Duration, Instant};

/// A node that is asked to stop has ended by then: handing over, answering, flushing.
const STOP_MAX: Duration = Duration::from_secs(12);
/// The longest pause of writes that a planned change of master may cause here: a debug build on a
/// busy machine; the bar for a release is in xtask/bars.toml.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Who the nodes are at this moment, each once, with what it is.
fn roles(world: &World) -> Vec<(&'static str, String)> {
    let status = world.cluster.status().expect("status");
    let group = status.groups.iter().find(|group| group.id == GROUP).expect("a group");
    let json = world.status();
    let members = json["groups"][0]["members"].as_array().cloned().unwrap_or_default();
    let of_role = |role: &str| {
        let member = members.iter().find(|member| member["role"] == role);
        member.and_then(|m| m["id"].as_str()).unwrap_or_else(|| panic!("no {role}")).to_owned()
    };
    let global = status.global_master.clone().expect("a global master");
    let other = status.nodes.iter().find(|n| n.id.starts_with("global-") && n.id != global);
    let acceptor = status.nodes.iter().find(|n| n.id.contains("acceptor")).expect("an acceptor");
    vec![
        ("replica", of_role("replica")),
        ("backup", of_role("backup")),
        ("acceptor", acceptor.id.clone()),
        ("global replica", other.expect("another global node").id.clone()),
        ("data master", group.master.clone().expect("a master")),
        ("global master", global),
    ]
}

#[test]
fn any_node_that_is_asked_to_stop_hands_over_and_nothing_is_lost() {
    let world = World::up();
    let mut traffic = Traffic::start(Plan::new(&world.cluster.seeds(), 2), Recorder::in_memory());
    cairn_harness::clock::wait(Duration::from_millis(500));
    for at in 0..6 {
        // Asked anew each time: the one before may have made another node master.
        let (role, node) = roles(&world).swap_remove(at);
        let (from_us, before) = (traffic.now_us(), traffic.acknowledged());
        let began = Instant::now();
        let how = world.cluster.cairn(["stop", &node]).expect("it is stopped");
        let took = began.elapsed();
        let exit = last_exit(&world, &node);
        assert_eq!(exit, "stopped (exit status: 0)", "{role} {node}: {how}");
        assert!(took < STOP_MAX, "{role} {node} took {took:?} to stop");
        handed_over(&world, role, &node);
        world.eventually("writes go on", |_| traffic.acknowledged() > before + 20);
        let pause_us = traffic.pauses().longest(0, from_us, traffic.now_us()).unwrap_or(0);
        eprintln!("{role} {node}: stopped in {took:?}, writes paused {} ms", pause_us / 1000);
        assert!(u128::from(pause_us) < PAUSE_MAX.as_micros(), "{role}: a pause of {pause_us} us");
        world.cluster.start(&node).expect("it is started");
        world.whole();
    }
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = cairn_harness::checker::check(&history);
    eprintln!("{} writes acknowledged, {} not known", report.acknowledged, report.unknown);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);
    assert!(report.acknowledged > 500 && report.reads > 50);
}

fn last_exit(world: &World, node: &str) -> String {
    let status = world.status();
    let nodes = status["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|n| n["id"] == node).expect("the node");
    node["lastExit"].as_str().unwrap_or("not said").to_owned()
}

/// A master left only after another one was master.
fn handed_over(world: &World, role: &str, node: &str) {
    let status = world.cluster.status().expect("status");
    match role {
        "data master" => {
            let group = status.groups.iter().find(|group| group.id == GROUP).expect("a group");
            assert!(group.master.is_some() && group.master.as_deref() != Some(node), "{group:?}");
        }
        "global master" => {
            let master = status.global_master.as_deref();
            assert!(master.is_some() && master != Some(node), "{master:?}");
        }
        _ => {}
    }
}
