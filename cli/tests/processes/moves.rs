//! Slots move from one group to another and back under load, while masters of either are killed.

use crate::support::{World, connect, say};
use cairn_harness::checker;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub fn master_of(world: &World, group: &str) -> Option<String> {
    let groups = world.cluster.status().ok()?.groups;
    groups.into_iter().find(|it| it.id == group).filter(|it| it.serving).and_then(|it| it.master)
}

/// `cairn slots -o json`.
fn slots(world: &World) -> Value {
    let text = world.cluster.cairn(["slots", "-o", "json"]).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn owner(world: &World, slot: u64) -> String {
    let slots = slots(world);
    let ranges = slots["ranges"].as_array().cloned().unwrap_or_default();
    let has = |range: &&Value| {
        range["first"].as_u64() <= Some(slot) && Some(slot) <= range["last"].as_u64()
    };
    let range = ranges.iter().find(has);
    range.and_then(|range| range["group"].as_str()).unwrap_or_default().to_owned()
}

/// Moves a quarter of all slots, and kills the master of `dies` when some of it is done.
fn moves_while_a_master_dies(world: &World, range: &str, to: &str, dies: &str) {
    let began = Instant::now();
    world.cluster.cairn(["move", range, to, "--timeout-sec", "0"]).expect("they begin");
    let first: u64 = range.split('-').next().and_then(|it| it.parse().ok()).expect("a number");
    world.eventually("the first slots have moved", |w| owner(w, first) == to);
    world.eventually("there is a master", |w| master_of(w, dies).is_some());
    let master = master_of(world, dies).expect("a master");
    world.cluster.kill(&master, false).expect("it runs");
    world.eventually("all moves have ended", |w| {
        let slots = slots(w);
        slots["moves"].as_array().is_some_and(Vec::is_empty) && owner(w, first + 4095) == to
    });
    eprintln!("{range} to {to} with the death of {master}: {:?}", began.elapsed());
}

#[test]
fn slots_move_under_load_while_masters_die_and_nothing_is_lost() {
    let world = World::two_groups();
    let seeds: Vec<String> = ["t-0-0", "t-1-0"].map(|id| world.node(id).redis()).into();
    let traffic = Traffic::start(Plan::new(&seeds, 7), Recorder::in_memory());
    world.eventually("there are writes", |_| traffic.acknowledged() > 200);
    // Slot 12182 has the key `foo`, which waits for somebody who comes elsewhere.
    let source = master_of(&world, "t-1").expect("a master");
    let mut blocked = connect(&world.node(&source));
    let waits = std::thread::spawn(move || say(&mut blocked, "BLPOP foo 60"));
    let answer = world.cluster.cairn(["move", "12182", "t-0"]).expect("it moves");
    eprintln!("{answer}");
    let told = waits.join().expect("it is answered");
    assert!(told.starts_with("-MOVED 12182 "), "{told}");

    moves_while_a_master_dies(&world, "0-4095", "t-1", "t-0");
    moves_while_a_master_dies(&world, "0-4095", "t-0", "t-0");
    let before = traffic.acknowledged();
    world.eventually("writes go on", |_| traffic.acknowledged() > before + 200);

    nothing_was_lost(&world, traffic, &["t-0", "t-1"]);
}

/// Clients write on, and `idle` nodes of the pool are nobody's.
fn goes_on_with_idle_spares(world: &World, traffic: &Traffic, idle: usize) {
    let before = traffic.acknowledged();
    world.eventually("writes go on", |_| traffic.acknowledged() > before + 200);
    world.eventually("spares are idle again", |w| {
        let pool = w.cluster.cairn(["pool", "-o", "json"]).unwrap_or_default();
        pool.matches("\"state\": \"idle\"").count() == idle
    });
}

fn nothing_was_lost(world: &World, mut traffic: Traffic, groups: &[&str]) {
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = checker::check(&history);
    eprintln!("{} writes acknowledged, {} not known", report.acknowledged, report.unknown);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);
    copies_are_the_same(world, groups);
}

fn copies_are_the_same(world: &World, groups: &[&str]) {
    world.eventually("all copies are the same", |w| {
        let status = w.status_with_digests();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let digests = |group: &str| -> BTreeSet<String> {
            let logs = nodes.iter().filter_map(|node| node["logs"].as_array()?.first().cloned());
            logs.filter(|log| log["group"] == group).map(|log| log["digest"].to_string()).collect()
        };
        groups.iter().all(|group| digests(group).len() == 1)
    });
}

/// How many slots each group owns.
fn counts(world: &World) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for range in slots(world)["ranges"].as_array().cloned().unwrap_or_default() {
        let number = |name: &str| range[name].as_u64().unwrap_or_default();
        let group = range["group"].as_str().unwrap_or_default().to_owned();
        *counts.entry(group).or_default() += number("last") - number("first") + 1;
    }
    counts
}

const POOL: &str = "apiVersion: cairn.dev/v1alpha1\nkind: SparePool\nmetadata: {name: warm}\n\
                    spec: {cluster: demo, size: 3, replaceAfter: 2s}\n";

#[test]
fn a_keyspace_is_scaled_out_to_spares_and_in_again_under_load() {
    let world =
        World::of_text(&crate::support::RESOURCES.replace(", timing: {preset: noisy}", ""), POOL);
    let seeds = [world.node("t-0-0").redis()];
    let traffic = Traffic::start(Plan::new(&seeds, 11), Recorder::in_memory());
    world.eventually("there are writes", |_| traffic.acknowledged() > 200);
    let began = Instant::now();
    let answer = world.cluster.cairn(["scale", "t", "--groups", "2"]).expect("it is scaled");
    eprintln!("{answer}two groups: {:?}", began.elapsed());
    let two = counts(&world);
    assert_eq!((two.len(), two.values().sum::<u64>()), (2, 16384), "{two:?}");
    assert!(two["t-1"] > 1024, "{two:?}: by load, and few keys are written");

    world.cluster.cairn(["rebalance", "t", "--pause"]).expect("it is paused");
    let paused = world.cluster.cairn(["rebalance", "t", "--plan"]).expect("a plan");
    assert!(paused.starts_with("now: paused"), "{paused}");
    world.cluster.cairn(["scale", "t", "--groups", "1", "--timeout-sec", "0"]).expect("asked for");
    assert_eq!(counts(&world)["t-1"], two["t-1"], "it is paused");
    world.cluster.cairn(["rebalance", "t", "--resume"]).expect("it goes on");
    let began = Instant::now();
    let answer = world.cluster.cairn(["scale", "t", "--groups", "1"]).expect("it is scaled");
    eprintln!("{answer}one group: {:?}", began.elapsed());
    assert_eq!(counts(&world), BTreeMap::from([("t-0".to_owned(), 16384)]));
    goes_on_with_idle_spares(&world, &traffic, 3);
    nothing_was_lost(&world, traffic, &["t-0"]);
}

#[test]
#[ignore = "24 nodes: minutes, and much of the machine"]
fn a_keyspace_goes_from_one_group_to_eight_and_to_two_under_load() {
    let resources = crate::support::RESOURCES.replace(", timing: {preset: noisy}", "");
    let world = World::of_text(&resources, &POOL.replace("size: 3", "size: 21"));
    let seeds = [world.node("t-0-0").redis()];
    let traffic = Traffic::start(Plan::new(&seeds, 12), Recorder::in_memory());
    world.eventually("there are writes", |_| traffic.acknowledged() > 200);
    for groups in [8_usize, 2] {
        let (began, number) = (Instant::now(), groups.to_string());
        let scale = ["scale", "t", "--groups", &number, "--timeout-sec", "600"];
        let answer = world.cluster.cairn(scale).expect("it is scaled");
        let counts = counts(&world);
        eprintln!("{answer}{groups} groups: {:?}, {counts:?}", began.elapsed());
        assert_eq!((counts.len(), counts.values().sum::<u64>()), (groups, 16384));
    }
    goes_on_with_idle_spares(&world, &traffic, 18);
    nothing_was_lost(&world, traffic, &["t-0", "t-1"]);
}
