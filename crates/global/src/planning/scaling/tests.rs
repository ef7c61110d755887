//! A keyspace is scaled out and in: what the planner writes until nothing is left to do.

use super::*;
use crate::planning::tests::{MEMBERS, Town, served};
use crate::planning::{Planning, place_slots};
use cairn_logic::balance::Load;
use cairn_logic::ids::{Epoch, NodeId, Version};
use cairn_logic::moves::Phase;

const SECOND: [&str; 3] = ["t-1-0", "t-1-1", "t-1-2"];

/// Keyspace t asks for so many groups.
fn asks(town: &mut Town, groups: u16) {
    let config = KeyspaceConfig { groups, ..town.view.keyspaces["t"].clone() };
    town.write("/cairn/keyspaces/t", Some(config.encode()));
}

/// A group of its own nodes that is to be the second one.
fn second() -> Town {
    let mut town = served();
    SECOND.iter().for_each(|id| town.registers(id, Some("t-1"), None));
    asks(&mut town, 2);
    town
}

/// The group's judge makes the first of its members master.
fn elects(town: &mut Town, group: &str) {
    let mut record = town.view.groups[&GroupId::new(group)].clone();
    record.version = record.version.next();
    record.attempt = record.attempt.next();
    record.epoch = record.attempt;
    record.master = Some(record.members[0].id.clone());
    town.write(&format!("/cairn/groups/{group}"), Some(keys::encode_group(&record)));
}

/// Masters carry out the moves that were begun.
fn carry(town: &mut Town) {
    let Some(moves) = town.view.moves.get("t").cloned() else { return };
    for it in moves.all() {
        if it.phase == Phase::Copy {
            let epoch = |group: &GroupId| town.view.groups[group].epoch;
            let (source, target) = (epoch(&it.source), epoch(&it.target));
            let swap = moving::switch(&town.view, it, source, target).expect("it may");
            town.performs(&swap.op());
        }
        let swap = moving::forget(&town.view, "t", it.id).expect("it has ended");
        town.performs(&swap.op());
    }
}

/// What the planner does until nothing is left to do.
fn settles(town: &mut Town, planning: &mut Planning, from_secs: u64) -> Vec<String> {
    let mut done = Vec::new();
    for secs in from_secs.. {
        let Some(step) = town.step(planning, secs) else { break };
        town.performs(&step.op);
        carry(town);
        done.push(step.what);
        assert!(done.len() < 100, "it ends: {done:?}");
    }
    done
}

#[test]
fn a_second_group_is_formed_and_gets_half_of_the_slots_and_is_emptied_and_retired_again() {
    let (mut town, mut planning) = (second(), Planning::default());
    let formed = town.step(&mut planning, 0).expect("its nodes are there");
    assert_eq!(formed.what, "form t-1 of t-1-0, t-1-1, t-1-2");
    town.performs(&formed.op);
    assert!(town.step(&mut planning, 1).is_none(), "it has no master yet");
    elects(&mut town, "t-1");
    let done = settles(&mut town, &mut planning, 2);
    assert_eq!(done.len(), 32);
    assert_eq!(done[0], "move slots 16128-16383 to t-1: t-1 has no slots yet");
    let group = GroupId::new("t-1");
    assert_eq!(town.view.slots["t"].owned_by(&group), 8192);

    asks(&mut town, 1);
    let done = settles(&mut town, &mut planning, 100);
    assert_eq!(done.last().unwrap(), "retire t-1: t-1 is to go, and has no slots");
    assert_eq!(town.view.slots["t"].ranges().len(), 1);
    assert!(!town.view.groups.contains_key(&group));
    for id in SECOND {
        let claim = &town.view.nodes[&NodeId::new(id)].claim;
        assert!(matches!(claim, Claim::Releasing { group: of, .. } if *of == group));
    }
}

#[test]
fn a_group_that_is_formed_again_goes_on_above_all_numbers_it_ever_had() {
    let (mut town, mut planning) = (second(), Planning::default());
    let step = town.step(&mut planning, 0).expect("it is formed");
    town.performs(&step.op);
    elects(&mut town, "t-1");
    elects(&mut town, "t-1");
    asks(&mut town, 1);
    settles(&mut town, &mut planning, 10);
    SECOND.iter().for_each(|id| town.registers(id, Some("t-1"), None));
    asks(&mut town, 2);
    let step = town.step(&mut planning, 20).expect("it is formed");
    town.performs(&step.op);
    let record = &town.view.groups[&GroupId::new("t-1")];
    assert_eq!((record.version, record.epoch), (Version(5), Epoch::ZERO));
    assert_eq!(record.attempt, Epoch(2));
    assert_eq!(record.version.0, town.view.version("/cairn/groups/t-1"));
}

#[test]
fn a_group_that_has_slots_is_kept_whole_and_does_not_go_by_itself() {
    let (mut town, mut planning) = (served(), Planning::default());
    asks(&mut town, 0);
    town.leaves("t-0-1");
    assert!(town.step(&mut planning, 0).is_none());
    let step = town.step(&mut planning, 10).expect("a spare is there");
    assert_eq!(step.what, "claim p-spare-0 for t-0");
    assert!(town.view.groups.contains_key(&GroupId::new("t-0")));
    assert_eq!(MEMBERS.len(), 3);
}

#[test]
fn slots_go_by_what_their_masters_say_of_them() {
    let (mut town, mut planning) = (second(), Planning::default());
    let step = town.step(&mut planning, 0).expect("it is formed");
    town.performs(&step.op);
    elects(&mut town, "t-1");
    settles(&mut town, &mut planning, 2);
    assert!(town.step(&mut planning, 100).is_none(), "as many slots each");
    // The first part of t-0 has all the bytes there are.
    let load = |bytes| Load { slots: 256, bytes, ..Load::default() };
    let parts = (0..32).map(|part| (part, load(if part == 0 { 8 << 30 } else { 1 << 10 })));
    planning.hears(GroupId::new("t-0"), parts.collect());
    planning.hears(GroupId::new("t-1"), (32..64).map(|part| (part, load(0))).collect());
    let step = town.step(&mut planning, 101).expect("t-0 carries more");
    assert!(step.what.contains("t-0 carries 149 % of the mean, t-1 50 %"), "{}", step.what);
}

#[test]
fn a_pause_stops_it_and_what_it_would_do_is_said() {
    let (mut town, mut planning) = (second(), Planning::default());
    let step = town.step(&mut planning, 0).expect("it is formed");
    town.performs(&step.op);
    elects(&mut town, "t-1");
    let planned = outlook(&town.view, "t", 0, &Said::new()).expect("a keyspace");
    assert!(!planned.slots_rest);
    assert_eq!(
        planned.lines,
        [
            "8192 slots from t-0 to t-1 in 32 moves: t-1 has no slots yet",
            "then: balanced: t-0 carries 100 % of the mean",
        ]
    );
    let swap = moving::pause(&town.view, "t", true);
    town.performs(&swap.op());
    assert!(town.step(&mut planning, 10).is_none());
    let Outlook { lines, slots_rest } =
        outlook(&town.view, "t", 0, &Said::new()).expect("a keyspace");
    assert!(!slots_rest && lines.len() == 1 && lines[0].starts_with("now: paused"), "{lines:?}");
    assert_eq!(outlook(&town.view, "u", 0, &Said::new()), None);
    assert!(place_slots(&town.view, "t", &town.view.keyspaces["t"]).is_none());
}

#[test]
fn what_a_person_has_moved_stays_where_it_is_for_a_while() {
    let (mut town, mut planning) = (second(), Planning::default());
    let step = town.step(&mut planning, 0).expect("it is formed");
    town.performs(&step.op);
    elects(&mut town, "t-1");
    settles(&mut town, &mut planning, 2);
    let slots = (super::super::tests::slot(0), super::super::tests::slot(511));
    let target = GroupId::new("t-1");
    let (swap, _) = moving::begin_by_hand(&town.view, "t", slots, &target, 0).expect("it begins");
    town.performs(&swap.op());
    carry(&mut town);
    settles(&mut town, &mut planning, 200);
    let owners = &town.view.slots["t"];
    assert_eq!(owners.owner(slots.0), Some(&target));
    assert_eq!(owners.owned_by(&target), 8192, "others made up for it");
}
