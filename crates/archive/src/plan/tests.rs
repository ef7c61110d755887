//! Logs of any times, cut into runs in any way, with snapshots anywhere: a plan must lead to
//! exactly the state of the moment, and every moment that is said to be covered must have one.

use super::*;
use cairn_logic::ids::{EntryId, Epoch, Offset};
use proptest::prelude::*;

fn id(offset: usize) -> EntryId {
    EntryId::new(Epoch(1), Offset(offset as u64))
}

/// A group's log: the time of each entry (one a batch), the last entry of each run.
#[derive(Clone, Debug)]
struct Log {
    times: Vec<u64>,
    ends: Vec<usize>,
}

impl Log {
    fn runs(&self) -> Vec<LogRun> {
        let mut first = 1;
        let run = |end: &usize| {
            let times = &self.times[first - 1..*end];
            let run = LogRun {
                name: format!("{first}-{end}"),
                first: id(first),
                last: id(*end),
                earliest_ms: *times.iter().min().expect("not empty"),
                latest_ms: *times.iter().max().expect("not empty"),
                bytes: 1,
            };
            first = end + 1;
            run
        };
        self.ends.iter().map(run).collect()
    }

    /// The last entry that is not after the moment.
    fn target(&self, at: u64) -> usize {
        self.times.iter().rposition(|time| *time <= at).map_or(0, |at| at + 1)
    }

    fn part(&self, group: usize, snapshot: Option<(usize, usize)>) -> Option<Part> {
        let part = Part {
            group: GroupId::new(format!("t-{group}")),
            snapshot: None,
            log: self.runs(),
            until_ms: *self.times.iter().max()? + 5,
        };
        let Some((from, upto)) = snapshot else { return Some(part) };
        let (from, upto) = (id(from), id(upto));
        part.rebased(SnapshotObject { name: "s".into(), from, upto, made_ms: 0, bytes: 1 })
    }
}

fn log() -> impl Strategy<Value = Log> {
    // Mostly ascending, sometimes a clock that is behind or ahead.
    let step = prop_oneof![5 => 0..4_i64, 1 => -30..30_i64];
    (prop::collection::vec((step, any::<bool>()), 1..40)).prop_map(|steps| {
        let (mut now, mut times, mut ends) = (1000_i64, Vec::new(), Vec::new());
        for (at, (step, ends_run)) in steps.iter().enumerate() {
            now += step;
            times.push(now as u64);
            if *ends_run || at + 1 == steps.len() {
                ends.push(at + 1);
            }
        }
        Log { times, ends }
    })
}

/// Two groups, and several backups of them.
fn archive() -> impl Strategy<Value = (Vec<Log>, Vec<Backup>)> {
    let snapshots = || prop::option::of((0..40_usize, 0..6_usize));
    let backups = prop::collection::vec((snapshots(), snapshots()), 1..4);
    ((log(), log()), backups).prop_map(|((one, two), wanted)| {
        let logs = vec![one, two];
        let mut backups = Vec::new();
        for (at, (one, two)) in wanted.into_iter().enumerate() {
            let part = |group: usize, snapshot: Option<(usize, usize)>| {
                logs[group].part(group, snapshot.map(|(from, more)| (from, from + more)))
            };
            let (Some(one), Some(two)) = (part(0, one), part(1, two)) else { continue };
            backups.push(Backup {
                format: 1,
                id: format!("{at}"),
                uid: "u".into(),
                keyspace: "t".into(),
                program: "test".into(),
                begun_ms: at as u64,
                changed_ms: at as u64,
                groups: vec![one, two],
            });
        }
        (logs, backups)
    })
}

fn leads_to(plan: &GroupPlan, target: usize) -> std::result::Result<(), TestCaseError> {
    let (from, upto) =
        plan.snapshot.as_ref().map_or((0, 0), |s| (s.from.offset.0, s.upto.offset.0));
    let target = target as u64;
    prop_assert!(upto <= target, "the state is whole at {upto}, wanted is {target}");
    let mut held = from;
    for run in &plan.log {
        prop_assert!(run.first.offset.0 <= held + 1, "a hole after {held}");
        held = held.max(run.last.offset.0);
    }
    prop_assert!(held >= target, "entries up to {held} are read, wanted is {target}");
    let last = plan.log.last().map_or(0, |run| run.first.offset.0);
    prop_assert!(last <= target, "the last run has nothing of the moment");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_plan_leads_to_the_moment((logs, backups) in archive(), at in 950..1150_u64) {
        if let Ok(plan) = plan(&backups, Some(at)) {
            for (log, group) in logs.iter().zip(&plan.groups) {
                leads_to(group, log.target(at))?;
            }
        }
    }

    #[test]
    fn all_that_is_said_to_be_covered_is((logs, backups) in archive(), at in 950..1150_u64) {
        let covers = |backup: &Backup| {
            backup.since_ms().is_some_and(|since| (since..=backup.until_ms()).contains(&at))
        };
        if backups.iter().any(covers) {
            prop_assert!(plan(&backups, Some(at)).is_ok());
        }
        if covered(&backups).is_some_and(|(since, until)| (since..=until).contains(&at)) {
            prop_assert!(plan(&backups, Some(at)).is_ok());
        }
        // And without a moment everything.
        if !backups.is_empty() {
            let plan = plan(&backups, None).expect("there is a backup");
            for (log, group) in logs.iter().zip(&plan.groups) {
                leads_to(group, log.times.len())?;
            }
        }
    }
}

#[test]
fn what_is_covered_ends_at_the_first_gap_before_the_newest_span() {
    let backup = |id: &str, since: u64, until: u64| {
        let log = Log { times: vec![since, until], ends: vec![1, 2] };
        let mut part = log.part(0, Some((1, 1))).expect("the log reaches it");
        part.until_ms = until;
        Backup {
            format: 1,
            id: id.into(),
            uid: "u".into(),
            keyspace: "t".into(),
            program: "test".into(),
            begun_ms: 0,
            changed_ms: 0,
            groups: vec![part],
        }
    };
    let mut all = vec![backup("b", 400, 900), backup("a", 100, 300), backup("c", 700, 1000)];
    assert_eq!(covered(&all), Some((400, 1000)));
    all.push(backup("d", 250, 400));
    assert_eq!(covered(&all), Some((100, 1000)));
    assert_eq!(covered(&[]), None);
}

#[test]
fn a_moment_that_no_backup_reaches_is_refused_with_those_that_are_covered() {
    let log = Log { times: vec![1000, 2000, 3000], ends: vec![2, 3] };
    let backup = Backup {
        format: 1,
        id: "a".into(),
        uid: "u".into(),
        keyspace: "t".into(),
        program: "test".into(),
        begun_ms: 0,
        changed_ms: 0,
        groups: vec![log.part(0, Some((1, 2))).expect("the log reaches it")],
    };
    for at in [0, 1999, 3006] {
        let refused = plan(std::slice::from_ref(&backup), Some(at)).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("1970-01-01T00:00:02Z to 1970-01-01T00:00:03.005Z"), "{text}");
    }
    assert!(plan(std::slice::from_ref(&backup), Some(2000)).is_ok());
    assert!(matches!(plan(&[], None), Err(Error::NotCovered { .. })));
}
