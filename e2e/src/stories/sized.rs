//! Much data: a gigabyte is lost with its machine, a quarter of five million keys changes hands.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::{MACHINE_MS_MAX, PROCESS_MS_MAX, SETTLED_LIMIT, Stage, Story, plugin, spares};
use crate::act::{Act, Bounds, Told};
use crate::scene::{Scene, Specs};

/// With the defaults of everything.
pub const REPLACED: Story = Story {
    name: "spare-replaces-gigabyte",
    about: "a member with 1 GB and its machine are gone, then the master: a spare counts",
    tell: replaced,
};

/// By hand.
pub const MOVED: Story = Story {
    name: "quarter-of-slots-moved",
    about: "kubectl cairn move of 4,096 slots, with a quarter of five million keys, under load",
    tell: moved,
};

fn replaced(stage: &Stage) -> Result<Told> {
    const KEYS: u64 = 1_000_000;
    const VALUE_BYTES: usize = 1000;
    let volume = json!({ "storage": { "size": "4Gi" } });
    let specs = Specs { keyspace: volume.clone(), pool: volume, ..Specs::default() };
    let scene = Scene::open(stage, "sized", &specs)?;
    scene.wait_settled(SETTLED_LIMIT)?;
    scene.wait_exhausted(false, SETTLED_LIMIT)?;
    scene.wait_tools()?;
    scene.fill(KEYS, VALUE_BYTES)?;
    plugin::cairn(&scene, &["checkpoint", "now", &scene.group()])?;
    let mut act = Act::take(scene, Bounds::keyspace(MACHINE_MS_MAX))?;
    spares::replace_in_turn(&mut act, stage.rounds.max(2))?;
    act.end()
}

fn moved(stage: &Stage) -> Result<Told> {
    const KEYS: u64 = 5_000_000;
    const VALUE_BYTES: usize = 64;
    let keyspace = json!({ "groups": 2, "backups": 0, "storage": { "size": "4Gi" } });
    let scene = Scene::open(stage, "moves", &Specs { keyspace, ..Specs::default() })?;
    scene.wait_settled(SETTLED_LIMIT)?;
    scene.wait_tools()?;
    plugin::cairn(&scene, &["rebalance", &scene.keyspace(), "--pause"])?;
    let [first, second] = scene.groups();
    plugin::cairn(&scene, &["move", "8192-16383", &first])?;
    scene.fill(KEYS, VALUE_BYTES)?;
    let mut act = Act::take(scene, Bounds::keyspace(PROCESS_MS_MAX))?;
    for _ in 0..stage.rounds {
        let before = act.scene.keys(&second)?;
        let took = act.during(|scene| {
            let began = Instant::now();
            plugin::cairn(scene, &["move", "0-4095", &second])?;
            Ok(began.elapsed())
        })?;
        let keys = act.scene.keys(&second)?.saturating_sub(before);
        act.told.fact("keys", keys);
        act.told.fact("move_ms", took.as_millis());
        act.told.fact("keys_per_s", (keys as f64 / took.as_secs_f64()).round());
        super::groups::tell_held(&mut act)?;
        plugin::cairn(&act.scene, &["move", "0-4095", &first])?;
    }
    act.end()
}
