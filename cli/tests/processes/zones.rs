//! A whole zone of processes is gone: writes go on, and nothing is lost.

use crate::support::{World, connect, say};
use cairn_harness::checker;
use cairn_harness::client::Frame;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Five members in three zones, two of which have to hold what is answered.
const RESOURCES: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\n\
    metadata: {name: demo, annotations: {cairn.dev/local-zones: \"3\"}}\n\
    spec: {globalReplicas: 1}\n---\n\
    apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata: {name: t}\n\
    spec: {cluster: demo, groups: 1, replicas: 3, backups: 1,\n\
    durability: {ack: quorum, zones: 2}}\n";
const NODES: [&str; 5] = ["t-0-0", "t-0-1", "t-0-2", "t-0-3", "t-0-4"];
const ZONES: [&str; 3] = ["zone-0", "zone-1", "zone-2"];

fn zone_of(node: &str) -> &'static str {
    let at = NODES.iter().position(|id| *id == node).expect("one of them");
    ZONES[at % 3]
}

fn in_zone(zone: &str) -> impl Iterator<Item = &'static str> {
    NODES.into_iter().filter(move |node| zone_of(node) == zone)
}

fn counted(status: &Value) -> Vec<(String, String)> {
    let members = status["groups"][0]["members"].as_array().cloned().unwrap_or_default();
    let text = |member: &Value, key: &str| member[key].as_str().unwrap_or("-").to_owned();
    members.iter().map(|member| (text(member, "id"), text(member, "zone"))).collect()
}

/// Ends all processes of a zone at once; writes go on in the two that are left.
fn loses(world: &World, traffic: &Traffic, zone: &str) {
    let before = traffic.acknowledged();
    let began = Instant::now();
    in_zone(zone).for_each(|node| world.cluster.kill(node, true).expect("it runs"));
    let gone = traffic.acknowledged();
    world.eventually("writes go on", |_| traffic.acknowledged() > gone + 100);
    eprintln!("zone {zone} lost after {before} writes; 100 more within {:?}", began.elapsed());
    let left = world.master().id;
    assert_ne!(zone_of(&left), zone);
}

#[test]
fn any_zone_of_three_may_be_lost_and_writes_go_on() {
    let world = World::of_resources(RESOURCES);
    let lie = |(id, zone): &(String, String)| zone_of(id) == zone;
    world.eventually("members count in their zones", |w| {
        let members = counted(&w.status());
        members.len() == 5 && members.iter().all(lie)
    });
    let master = world.master();
    let mut client = connect(&master);
    let info = say(&mut client, "INFO server");
    assert!(info.contains(&format!("availability_zone:{}\r", zone_of(&master.id))), "{info}");
    let hello = client.call(&[b"HELLO"]).expect("an answer");
    let word = |text: &str| Frame::Bulk(text.as_bytes().to_vec());
    let Frame::Array(fields) = &hello else { panic!("{hello:?}") };
    let told = [word("availability_zone"), word(zone_of(&master.id))];
    assert!(fields.windows(2).any(|pair| pair == told), "{hello:?}");
    let table = world.cluster.cairn(["status"]).expect("status");
    assert!(table.contains("zone-0 zone-0 zone-1 zone-1 zone-2"), "{table}");

    let seeds = NODES.map(|id| world.node(id).redis());
    let mut traffic = Traffic::start(Plan::new(&seeds, 3), Recorder::in_memory());
    world.eventually("writes", |_| traffic.acknowledged() > 100);
    let first = zone_of(&master.id);
    loses(&world, &traffic, first);
    in_zone(first).for_each(|node| world.cluster.start(node).expect("it is started"));
    world.whole();
    let second = zone_of(&world.master().id);
    loses(&world, &traffic, second);
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = checker::check(&history);
    eprintln!("{} writes acknowledged, {} not known", report.acknowledged, report.unknown);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);
}
