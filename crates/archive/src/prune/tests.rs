//! Any backups that share any objects: nothing goes that a kept one needs.

use super::*;
use crate::backup::{LogRun, Part, SnapshotObject};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use proptest::prelude::*;

const NOW: u64 = 1_000_000_000_000;

fn backup(id: usize, until_ms: u64, objects: &[usize]) -> Backup {
    let entry = |offset: usize| EntryId::new(Epoch(1), Offset(offset as u64));
    let log = objects.iter().map(|object| LogRun {
        name: format!("run{object}"),
        first: entry(*object),
        last: entry(*object),
        earliest_ms: 0,
        latest_ms: 0,
        bytes: 1,
    });
    let snapshot = SnapshotObject {
        name: format!("snapshot{}", objects.first().unwrap_or(&0)),
        from: entry(0),
        upto: entry(0),
        made_ms: 0,
        bytes: 1,
    };
    Backup {
        format: 1,
        id: format!("{id:03}"),
        uid: "u".into(),
        keyspace: "t".into(),
        program: "test".into(),
        begun_ms: 0,
        changed_ms: until_ms,
        groups: vec![Part {
            group: GroupId::new("t-0"),
            snapshot: Some(snapshot),
            log: log.collect(),
            until_ms,
        }],
    }
}

fn stored(name: String, age_ms: u64) -> Stored {
    Stored { name, bytes: 1, changed_ms: NOW - age_ms }
}

fn wanted() -> impl Strategy<Value = Vec<(u64, Vec<usize>)>> {
    prop::collection::vec((0..1000_u64, prop::collection::vec(0..30_usize, 0..12)), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_goes_that_a_kept_restore_point_needs(
        backups in wanted(),
        last in prop::option::of(0..6_usize),
        for_ms in prop::option::of(0..1000_u64),
        ages in prop::collection::vec(0..3 * UNNAMED_MS, 60),
    ) {
        let backups: Vec<Backup> = backups
            .iter()
            .enumerate()
            .map(|(id, (age, objects))| backup(id, NOW - age, objects))
            .collect();
        let objects: Vec<Stored> = (0..30)
            .flat_map(|n| [format!("run{n}"), format!("snapshot{n}")])
            .zip(&ages)
            .map(|(name, age)| stored(name, *age))
            .collect();
        let keep = Keep { last, for_ms };
        let pruned = prune(&backups, &objects, &keep, NOW);
        let kept: Vec<&Backup> =
            backups.iter().filter(|backup| !pruned.backups.contains(&backup.id)).collect();
        let needed: BTreeSet<&str> = kept.iter().flat_map(|backup| backup.objects()).collect();
        for object in &pruned.objects {
            prop_assert!(!needed.contains(object.as_str()), "{object} is needed");
        }
        // What is kept is what was asked for: so many, all of the last so long, never none.
        prop_assert!(backups.is_empty() || !kept.is_empty());
        prop_assert!(kept.len() >= last.unwrap_or(0).min(backups.len()));
        if last.is_none() && for_ms.is_none() {
            prop_assert!(pruned.backups.is_empty());
        }
        for backup in &backups {
            let young = for_ms.is_some_and(|span| NOW - backup.until_ms() <= span);
            prop_assert!(!young || kept.iter().any(|kept| kept.id == backup.id));
        }
        // The newest stays, whatever was asked.
        if let Some(newest) = backups.iter().max_by_key(|b| (b.until_ms(), &b.id)) {
            prop_assert!(kept.iter().any(|kept| kept.id == newest.id));
        }
        // What a backup that goes needed alone goes with it; what nobody names goes when old.
        let named: BTreeSet<&str> = backups.iter().flat_map(Backup::objects).collect();
        for object in &objects {
            let name = object.name.as_str();
            let unneeded = !needed.contains(name);
            let old = NOW - object.changed_ms > UNNAMED_MS;
            let goes = unneeded && (named.contains(name) || old);
            prop_assert_eq!(pruned.objects.contains(&object.name), goes, "{}", name);
        }
    }
}

#[test]
fn the_last_two_of_three_are_kept_with_what_they_share() {
    let backups =
        [backup(1, NOW - 30, &[1, 2]), backup(2, NOW - 20, &[2, 3]), backup(3, NOW - 10, &[3, 4])];
    let objects: Vec<Stored> = (1..=5).map(|n| stored(format!("run{n}"), 5)).collect();
    let pruned = prune(&backups, &objects, &Keep { last: Some(2), for_ms: None }, NOW);
    assert_eq!(pruned, Pruned { backups: vec!["001".into()], objects: vec!["run1".into()] });
}
