//! A spare replaces a member that is gone or drained, and goes back to its pool when that is there
//! again.

use crate::support::{GROUP, World};
use cairn_harness::checker;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const POOL: &str = "apiVersion: cairn.dev/v1alpha1\nkind: SparePool\nmetadata: {name: warm}\n\
                    spec: {cluster: demo, size: 1, replaceAfter: 2s}\n";
const SPARE: &str = "warm-spare-0";
const OWN: [&str; 3] = ["t-0-0", "t-0-1", "t-0-2"];

/// The group's members; none while there is no global master to say so.
fn members(world: &World) -> BTreeSet<String> {
    let status = world.cluster.status().expect("status");
    let group = status.groups.iter().find(|group| group.id == GROUP);
    let members = group.map_or(&[][..], |group| &group.members);
    members.iter().map(|member| member.id.clone()).collect()
}

fn node(world: &World, id: &str) -> Value {
    let status = world.status_with_digests();
    let nodes = status["nodes"].as_array().expect("nodes");
    nodes.iter().find(|node| node["id"] == id).expect("the node").clone()
}

/// Kills a member that is not master, and perhaps the global master with its planner, too; a spare
/// counts in the member's place.
fn is_replaced(world: &World, traffic: &Traffic, planner_too: bool) -> String {
    let master = world.master().id;
    let gone = OWN.into_iter().find(|id| *id != master).expect("another member");
    let began = Instant::now();
    world.cluster.kill(gone, true).expect("it runs");
    if planner_too {
        let status = world.status();
        world.cluster.kill(status["globalMaster"].as_str().expect("one"), false).expect("it runs");
    }
    let before = traffic.acknowledged();
    world.eventually("the spare counts", |w| {
        let members = members(w);
        members.len() == 3 && members.contains(SPARE) && !members.contains(gone)
    });
    eprintln!("{gone} was replaced in {:?}", began.elapsed());
    world.eventually("writes go on", |_| traffic.acknowledged() > before + 100);
    gone.to_owned()
}

/// Has the master's node empty: it hands over, the spare counts in its place, and it keeps its data
/// for when that is over.
fn is_drained(world: &World, traffic: &Traffic) {
    let (master, before) = (world.master().id, traffic.acknowledged());
    let began = Instant::now();
    world.cluster.cairn(["drain", &master]).expect("it is emptied");
    eprintln!("{master} was drained in {:?}", began.elapsed());
    let members = members(world);
    assert!(members.len() == 3 && members.contains(SPARE), "{members:?}");
    assert!(!members.contains(&master), "{members:?}");
    world.eventually("writes go on", |_| traffic.acknowledged() > before + 100);
    let said = world.cluster.cairn(["drain"]).expect("a list");
    assert!(said.contains(&master) && said.contains("person  empty"), "{said}");
    is_relieved(world, &master, || {
        world.cluster.cairn(["drain", &master, "--undo"]).expect("it is taken back");
    });
}

/// The node is back and counts; the spare does not and has another, empty folder.
fn is_relieved(world: &World, back: &str, comes: impl FnOnce()) {
    let folder = node(world, SPARE)["incarnation"].clone();
    let began = Instant::now();
    comes();
    world.eventually("its own members count", |w| members(w).iter().map(String::as_str).eq(OWN));
    world.eventually("the spare is idle again", |w| {
        let spare = node(w, SPARE);
        let blank = spare["logs"].as_array().is_some_and(Vec::is_empty);
        spare["answers"] == true && spare["incarnation"] != folder && blank
    });
    eprintln!("{back} relieved the spare in {:?}", began.elapsed());
}

/// When lines with these words were written, in milliseconds of the day.
fn times(world: &World, node: &str, words: &str) -> Vec<u64> {
    let lines = world.log(node);
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        // 2026-11-29T14:29:26.123456Z
        let time = line["time"].as_str()?;
        let number = |from: usize, to: usize| time.get(from..to)?.parse::<u64>().ok();
        let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
        Some(seconds * 1000 + number(20, 23)?)
    };
    lines.lines().filter(|line| line.contains(words)).filter_map(of).collect()
}

/// Says how long each claim took, from the planner's decision to the node that has joined.
fn tell_claims(world: &World) {
    let claims = ["global-0", "global-1"].map(|node| times(world, node, "claim warm-spare-0 for"));
    let joined = times(world, SPARE, "\"joined\"");
    for at in claims.into_iter().flatten() {
        let next = joined.iter().find(|joined| **joined >= at);
        eprintln!("claimed and joined in {:?} ms", next.map(|joined| joined - at));
    }
}

#[test]
fn a_spare_replaces_a_drained_and_a_lost_member_goes_back_each_time_and_replaces_another_one() {
    let world = World::of_text(
        &crate::support::RESOURCES.replace("preset: noisy", "preset: noisy, nodeLease: 4s"),
        POOL,
    );
    assert!(members(&world).iter().map(String::as_str).eq(OWN), "its own nodes come first");
    let seeds = OWN.map(|id| world.node(id).redis());
    let plan = Plan::new(&seeds, 3);
    let mut traffic = Traffic::start(plan, Recorder::in_memory());
    is_drained(&world, &traffic);
    let gone = is_replaced(&world, &traffic, false);
    is_relieved(&world, &gone, || world.cluster.start(&gone).expect("it is started"));
    let gone = is_replaced(&world, &traffic, true);
    tell_claims(&world);
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = checker::check(&history);
    eprintln!("{} writes acknowledged, {} not known", report.acknowledged, report.unknown);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);

    world.eventually("all copies are the same", |w| {
        let digests: BTreeSet<String> =
            members(w).iter().map(|id| node(w, id)["logs"][0]["digest"].to_string()).collect();
        digests.len() == 1
    });
    assert!(members(&world).contains(SPARE), "{gone} is still away");
    let aside = world.folder().join("data").join(SPARE).join("aside");
    let kept = std::fs::read_dir(aside).expect("former folders").count();
    assert_eq!(kept, 2, "the folders that were given back are kept");
}
