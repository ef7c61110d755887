//! Worlds of fixed seeds: they hold, they heal, they replay.

use cairn_sim::{Options, WorldKind, campaign, run, run_many};

#[test]
fn a_seed_replays_byte_for_byte() {
    let options = Options { trace: true, ..short() };
    // A group, a cluster, the global plane or another group.
    for seed in [3, 5, 105] {
        let (first, second) = (run(seed, &options), run(seed, &options));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.stats, second.stats, "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_world() {
    let options = short();
    assert_ne!(run(1, &options).digest, run(2, &options).digest);
}

/// Shorter than a campaign's worlds: tests run without optimisation.
fn short() -> Options {
    Options { faulty_ms: 12_000, ..Options::default() }
}

#[test]
fn no_rule_breaks_and_every_world_heals() {
    let summary = run_many(60, 60, 1, &short());
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    let stats = summary.stats;
    assert!(stats.takeovers > 20 && stats.changes > 20 && stats.crashes > 20, "{summary}");
    assert!(stats.writes > 1000 && stats.reads > 1000 && stats.stale_reads > 100, "{summary}");
    let (operations, faults) = summary.least.expect("worlds were run");
    assert!(operations >= 200 && faults >= 10 && stats.cut_tails > 0, "{summary}");
    assert!(stats.snapshots > 100 && stats.truncations > 100, "{summary}");
    assert!(stats.fetches > 40 && stats.restarts > 0, "{summary}");
    assert!(stats.checks > 500 && stats.differences >= 10 && stats.repairs >= 5, "{summary}");
    let never: Vec<String> =
        stats.faults_by_kind().filter(|(_, times)| *times == 0).map(|(kind, _)| kind).collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn what_is_acknowledged_in_two_zones_outlives_either() {
    let (mut lost, mut worlds) = (0, 0);
    for seed in 1..=12 {
        let kind = if seed % 4 == 0 { WorldKind::Cluster } else { WorldKind::Group };
        let outcome = run(seed, &Options { kind: Some(kind), ..short() });
        assert!(outcome.is_good(), "{outcome}");
        lost += outcome.stats.zones_lost;
        worlds += u64::from(outcome.scenario.contains("zones="));
    }
    eprintln!("{worlds} worlds with zones, {lost} zones lost");
    assert!(worlds >= 3 && lost >= 2, "{worlds} worlds, {lost} zones lost");
}

#[test]
fn the_global_plane_holds_on_its_register() {
    let options = Options { kind: Some(WorldKind::Global), ..short() };
    let summary = run_many(1, 8, 1, &options);
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    assert!(summary.stats.plane_takeovers > 8, "{summary}");
}

#[test]
fn whole_clusters_hold_and_heal() {
    let options = Options { kind: Some(WorldKind::Cluster), ..short() };
    let summary = run_many(1, 6, 1, &options);
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    let stats = summary.stats;
    assert!(stats.takeovers > 6 && stats.plane_takeovers > 3, "{summary}");
    assert!(stats.changes > 6 && stats.claims > 36 && stats.cut_tails > 0, "{summary}");
    let (operations, faults) = summary.least.expect("worlds were run");
    assert!(operations >= 200 && faults >= 10, "{summary}");
}

#[test]
fn a_campaign_is_the_same_on_any_number_of_threads() {
    let options = Options { faulty_ms: 5000, ..Options::default() };
    let one = campaign(1, 4, 1, &options, |_| true);
    let two = campaign(1, 4, 2, &options, |_| true);
    assert_eq!(one.stats, two.stats);
}

#[test]
fn slots_that_move_are_never_lost_nor_halved_nor_two_groups() {
    let options = Options { kind: Some(WorldKind::Moves), ..Options::default() };
    let summary = run_many(1, 60, 1, &options);
    assert!(summary.broken.is_empty(), "{}", summary.broken[0]);
    let stats = summary.stats;
    assert!(stats.changes > 120 && stats.takeovers > 400, "{summary}");
    assert!(stats.writes > 2000 && stats.reads > 4000 && stats.stale_reads > 3000, "{summary}");
}
