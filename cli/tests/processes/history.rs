//! What decided each takeover is told afterwards, also by a global master that was none then.

use crate::support::{GROUP, World};

fn why(world: &World, group: &str) -> String {
    world.cluster.cairn(["why", group]).expect("an answer")
}

#[test]
fn how_each_epoch_came_to_be_is_told_after_the_judge_is_gone() {
    let world = World::up();
    let first = world.master().id;
    world.cluster.kill(&first, false).expect("it runs");
    world.whole();
    let from = format!("{first} -> ");
    let told = |text: &str| text.lines().any(|l| l.contains(&from) && l.contains("sealed: t-0-"));
    world.eventually("the takeover is told", |w| told(&why(w, GROUP)));

    let status = world.status();
    let judge = status["globalMaster"].as_str().expect("a master").to_owned();
    world.cluster.kill(&judge, true).expect("it runs");
    let from = format!("{judge} -> global-");
    world.eventually("another one tells its own takeover", |w| why(w, "global").contains(&from));
    let text = why(&world, GROUP);
    assert!(told(&text), "{text}");
    assert!(text.contains(&format!("by {judge}")), "{text}");
    world.cluster.start(&judge).expect("it is started");
    world.whole();
}
