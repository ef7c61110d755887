//! Worlds of fixed seeds: they hold, they heal, they replay.

use cairn_logic::counting::Plane;
use cairn_sim::{Options, run, run_many};

#[test]
fn a_seed_replays_byte_for_byte() {
    let options = Options { trace: true, ..Options::default() };
    for seed in [3, 105] {
        let (first, second) = (run(seed, &options), run(seed, &options));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.stats, second.stats, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_world() {
    let options = Options::default();
    assert_ne!(run(1, &options).digest, run(2, &options).digest);
}

#[test]
fn no_rule_breaks_and_every_world_heals() {
    let summary = run_many(1, 24, 1, &Options::default());
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    let stats = summary.stats;
    assert!(stats.takeovers > 20 && stats.changes > 20 && stats.crashes > 20, "{summary}");
    assert!(stats.writes > 1000 && stats.reads > 1000 && stats.stale_reads > 100, "{summary}");
}

#[test]
fn the_global_plane_holds_on_its_register() {
    let options = Options { plane: Some(Plane::Global), ..Options::default() };
    let summary = run_many(1, 8, 1, &options);
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    assert!(summary.stats.takeovers > 8, "{summary}");
}
