//! Masters are spread over machines, again after one of them was killed, and not against a person.

use crate::moves::master_of;
use crate::support::{RESOURCES, World};
use cairn_harness::checker;
use cairn_harness::clock::wait_until;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use std::time::{Duration, Instant};

/// The masters of both groups; nodes with one number are on one machine.
fn masters(world: &World) -> Option<(String, String)> {
    Some((master_of(world, "t-0")?, master_of(world, "t-1")?))
}

fn share_a_machine(one: &str, other: &str) -> bool {
    one.rsplit('-').next() == other.rsplit('-').next()
}

fn are_spread(world: &World) -> bool {
    masters(world).is_some_and(|(one, other)| !share_a_machine(&one, &other))
}

fn planned(world: &World) -> String {
    world.cluster.cairn(["rebalance", "t", "--plan"]).unwrap_or_default()
}

#[test]
fn masters_are_spread_over_machines_again_after_a_kill_and_stay_where_a_person_wants_them() {
    let machines = "{name: demo, annotations: {cairn.dev/local-machines: \"3\"}}";
    let text = RESOURCES.replace("{name: demo}", machines).replace(", timing: {preset: noisy}", "");
    let text = text.replace("groups: 1", "groups: 2, mastersInterval: 4s");
    let world = World::of_resources(&text);
    let seeds: Vec<String> = ["t-0-0", "t-1-0"].map(|id| world.node(id).redis()).into();
    let mut traffic = Traffic::start(Plan::new(&seeds, 5), Recorder::in_memory());
    let began = Instant::now();
    world.eventually("masters are spread", are_spread);
    eprintln!("spread from the start in {:?}", began.elapsed());

    let killed = master_of(&world, "t-0").expect("a master");
    world.cluster.kill(&killed, true).expect("it runs");
    world.eventually("another one masters", |w| master_of(w, "t-0").is_some_and(|it| it != killed));
    world.cluster.start(&killed).expect("it starts");
    let began = Instant::now();
    world.whole();
    world.eventually("masters are spread", are_spread);
    eprintln!("spread again in {:?}", began.elapsed());

    // A person puts both on one machine, and the planner leaves it at that.
    for (group, to) in [("t-0", "t-0-1"), ("t-1", "t-1-1")] {
        world.cluster.cairn(["failover", group, "--to", to]).expect("it is handed over");
    }
    world.eventually("it says why not", |w| planned(w).matches("handed over by hand").count() == 2);
    let there = Some(("t-0-1".to_owned(), "t-1-1".to_owned()));
    let (three, often) = (Duration::from_secs(3), Duration::from_millis(200));
    assert!(!wait_until(three, often, || masters(&world) != there), "{:?}", masters(&world));
    world.cluster.cairn(["rebalance", "t", "--resume"]).expect("it goes on");
    world.eventually("masters are spread", are_spread);

    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = checker::check(&history);
    eprintln!("{} writes acknowledged, {} not known", report.acknowledged, report.unknown);
    assert_eq!((unread, report.violations.len()), (0, 0), "{:?}", report.violations);
}
