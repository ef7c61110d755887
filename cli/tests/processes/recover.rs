//! What needs a person: shown, refused without one, and ended by `cairn recover`.

use crate::support::{GROUP, World, connect, say};
use std::fs;
use std::path::Path;
use std::process::Command;

const PLANE: [&str; 3] = ["global-0", "global-1", "acceptor-0"];

fn why(world: &World, group: &str) -> String {
    world.cluster.cairn(["why", group]).expect("an answer")
}

fn recover(world: &World, group: &str) -> String {
    world.cluster.cairn(["recover", group, "--accept-loss", "--yes"]).expect("it goes on")
}

fn stop(world: &World, nodes: &[&str]) {
    nodes.iter().for_each(|id| world.cluster.kill(id, true).expect("it runs"));
}

fn start(world: &World, nodes: &[&str]) {
    nodes.iter().for_each(|id| world.cluster.start(id).expect("it is started"));
}

fn data(world: &World, node: &str) -> std::path::PathBuf {
    world.folder().join("data").join(node)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("--archive").args([from, to]).status();
    assert!(done.expect("cp runs").success());
}

#[test]
fn a_group_that_lost_more_than_its_rule_bears_goes_on_when_a_person_accepts_the_loss() {
    let world = World::up();
    let refused = world.cluster.cairn(["recover", GROUP, "--accept-loss", "--yes"]);
    let refused = refused.expect_err("nothing needs a person").to_string();
    assert!(refused.contains("does not wait for a person"), "{refused}");

    let master = world.master();
    assert_eq!(say(&mut connect(&master), "SET colour blue"), "OK");
    let status = world.status();
    let members = status["groups"][0]["members"].as_array().expect("members");
    let ids: Vec<&str> = members.iter().filter_map(|m| m["id"].as_str()).collect();
    let other = ids.iter().find(|id| **id != master.id).expect("three members");
    let left = ids.iter().find(|id| **id != master.id && *id != other).expect("three members");
    stop(&world, &[&master.id, other]);
    world.eventually("the judge says for whom it waits", |w| {
        let said = why(w, GROUP);
        said.contains("1 of 2 members needed answer") && said.contains(other)
    });
    let shown = world.cluster.cairn(["recover", GROUP]).expect("it is shown");
    assert!(shown.contains(&format!("{left}: is left")), "{shown}");
    assert!(shown.contains(&format!("{other}: does not answer")), "{shown}");
    assert!(shown.contains("Nothing was done"), "{shown}");

    let said = recover(&world, GROUP);
    assert!(said.contains(&format!("{left} is master in epoch")), "{said}");
    assert!(why(&world, GROUP).contains("DataLossPossible"), "{}", why(&world, GROUP));
    let mut client = connect(&world.node(left));
    assert_eq!(say(&mut client, "GET colour"), "blue");
    start(&world, &[&master.id, other]);
    world.whole();
    assert_eq!(say(&mut connect(&world.master()), "GET colour"), "blue");
}

#[test]
fn an_arbiter_without_a_majority_of_its_folders_is_made_again_by_a_person() {
    let world = World::up();
    assert_eq!(say(&mut connect(&world.master()), "SET colour blue"), "OK");
    // The master stays: its record is made again, and nothing is lost.
    let master = world.status()["globalMaster"].as_str().expect("a master").to_owned();
    let others: Vec<&str> = PLANE.into_iter().filter(|id| **id != *master).collect();
    stop(&world, &others);
    others.iter().for_each(|id| fs::remove_dir_all(data(&world, id)).expect("it is there"));
    start(&world, &others);
    world.eventually("it says so", |w| why(w, "global").contains("RecordMissing"));
    recover(&world, "global");
    world.whole();

    // Nobody stays: what one folder still has is gone on with.
    world.eventually("both count", |w| w.conditions().is_empty());
    stop(&world, &PLANE);
    others.iter().for_each(|id| fs::remove_dir_all(data(&world, id)).expect("it is there"));
    start(&world, &PLANE);
    world.eventually("it says so", |w| why(w, "global").contains("RecordMissing"));
    let shown = world.cluster.cairn(["recover", "global"]).expect("it is shown");
    assert!(shown.contains(&format!("{master} would go on")), "{shown}");
    let said = recover(&world, "global");
    assert!(said.contains(&format!("{master} is master in epoch")), "{said}");
    world.whole();
    world.eventually("both count again", |w| w.conditions().is_empty());
    assert_eq!(say(&mut connect(&world.master()), "GET colour"), "blue");
}

#[test]
fn a_directory_that_was_rolled_back_is_noticed_and_goes_on_with_a_person() {
    let world = World::up();
    assert_eq!(say(&mut connect(&world.master()), "SET colour blue"), "OK");
    let kept = tempfile::tempdir().expect("a folder");
    stop(&world, &PLANE);
    PLANE.iter().for_each(|id| copy(&data(&world, id), &kept.path().join(id)));
    start(&world, &PLANE);
    world.whole();
    // The group goes on to later epochs, of which the copies know nothing.
    for _ in 0..2 {
        // A wish that comes before the members are heard again is dropped.
        world.eventually("it hands over", |w| w.cluster.cairn(["failover", GROUP]).is_ok());
        world.whole();
    }
    assert_eq!(say(&mut connect(&world.master()), "SET shape round"), "OK");
    stop(&world, &PLANE);
    PLANE.iter().for_each(|id| copy(&kept.path().join(id), &data(&world, id)));
    start(&world, &PLANE);
    world.eventually("it says so", |w| why(w, GROUP).contains("DirectoryBehind"));
    assert!(world.cluster.cairn(["recover", GROUP]).expect("it is shown").contains("is left"));
    recover(&world, GROUP);
    world.whole();
    let mut client = connect(&world.master());
    assert_eq!(say(&mut client, "GET colour"), "blue");
    assert_eq!(say(&mut client, "GET shape"), "round");
}
