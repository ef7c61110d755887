//! A keyspace gets the groups that its load needs, and nobody else's number of them counts then.

use super::*;
use crate::moving;
use crate::planning::Planning;
use crate::planning::tests::{Town, served};
use cairn_logic::autoscale::Policy;
use cairn_logic::balance;

/// Keyspace t of one group, to have as many as its load needs.
fn scaled() -> Town {
    let mut town = served();
    let policy = Policy { min: 1, max: 3, commands: Some(1000), bytes: None, window_ms: 60_000 };
    let config = KeyspaceConfig { autoscale: Some(policy), ..town.view.keyspaces["t"].clone() };
    town.write("/cairn/keyspaces/t", Some(config.encode()));
    town
}

fn hears(planning: &mut Planning, commands: u64) {
    let load = balance::Load { slots: 256, commands, ..balance::Load::default() };
    planning.hears(GroupId::new("t-0"), [(0, load)].into());
}

#[test]
fn a_load_that_stays_brings_another_group_and_a_pause_none() {
    let (mut town, mut planning) = (scaled(), Planning::default());
    assert!((0..200).all(|secs| town.step(&mut planning, secs).is_none()), "nobody has spoken");
    let swap = moving::pause(&town.view, "t", true);
    town.performs(&swap.op());
    hears(&mut planning, 1900);
    assert!((200..300).all(|secs| town.step(&mut planning, secs).is_none()), "it is paused");
    let swap = moving::pause(&town.view, "t", false);
    town.performs(&swap.op());
    assert!(town.step(&mut planning, 300).is_none());
    let step = town.step(&mut planning, 306).expect("it is due after a tenth of the window");
    let what = "scale t from 1 to 2 groups: each of 1 groups has 1900 of 1000 commands/s";
    assert_eq!(step.what, what);
    town.performs(&step.op);
    assert_eq!(town.view.keyspaces["t"].groups, 2);
    assert!(town.step(&mut planning, 307).is_none(), "there are no nodes for it");
    hears(&mut planning, 9000);
    assert!((308..400).all(|secs| town.step(&mut planning, secs).is_none()), "it is not there yet");
    hears(&mut planning, 10);
    let back = (400..600).find_map(|secs| town.step(&mut planning, secs)).expect("it is too many");
    assert!(back.what.starts_with("scale t from 2 to 1 groups"), "{}", back.what);
}

#[test]
fn people_are_told_what_groups_carry() {
    let (town, mut planning) = (scaled(), Planning::default());
    let config = town.view.keyspaces["t"].clone();
    let line =
        |planning: &Planning| planning.autoscaling.line(&town.view, ("t", &config), &planning.said);
    let unknown = "groups: 1, 1 to 3 by load: not every master has said yet what its group carries";
    assert_eq!(line(&planning).as_deref(), Some(unknown));
    hears(&mut planning, 400);
    let known = "groups: 1, 1 to 3 by load: each of 1 groups has 400 of 1000 commands/s";
    assert_eq!(line(&planning).as_deref(), Some(known));
}

#[test]
fn it_is_known_that_a_load_needs_more_groups_than_there_may_be() {
    let (mut town, mut planning) = (scaled(), Planning::default());
    let mut config = town.view.keyspaces["t"].clone();
    config.autoscale.as_mut().unwrap().max = 1;
    town.write("/cairn/keyspaces/t", Some(config.encode()));
    hears(&mut planning, 9000);
    assert!((0..30).all(|secs| town.step(&mut planning, secs).is_none()));
    assert_eq!(planning.limited(&town.view).collect::<Vec<_>>(), [("t", 1)]);
    let line = planning.autoscaling.line(&town.view, ("t", &config), &planning.said).unwrap();
    assert!(line.ends_with("9000 of 1000 commands/s; more are needed"), "{line}");
    hears(&mut planning, 900);
    assert!(town.step(&mut planning, 31).is_none());
    assert_eq!(planning.limited(&town.view).count(), 0);
}

#[test]
fn nothing_is_concluded_while_a_group_with_slots_has_no_master() {
    let (mut town, mut planning) = (scaled(), Planning::default());
    hears(&mut planning, 1900);
    town.leaves("t-0-0");
    assert!((0..9).all(|secs| town.step(&mut planning, secs).is_none()));
    town.returns("t-0-0");
    assert!((9..15).all(|secs| town.step(&mut planning, secs).is_none()), "it begins to count");
    let step = town.step(&mut planning, 15).expect("it is due");
    assert!(step.what.starts_with("scale t from 1 to 2 groups"), "{}", step.what);
}
