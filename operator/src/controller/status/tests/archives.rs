//! Of Backups and Restores.

use super::{Row, find, of, taken};
use crate::controller::status::{backup_without, restore_without};
use crate::names::{ARCHIVE, RESTORES};
use crate::object::Kind;
use crate::testing::{NOW_SEC, Seen};
use cairn_crd::{ConditionType, Reason, RestoreStatus};
use cairn_settings::report::{BackupReport, RestoreReport};

const NOW_MS: u64 = NOW_SEC as u64 * 1000;

fn backup(seen: &Seen, about: ConditionType) -> (String, String) {
    let statuses = of(seen);
    let (status, reason) = find(&statuses.backups["nightly"].conditions, about);
    (status.to_owned(), reason.to_owned())
}

fn restore(seen: &Seen, about: ConditionType) -> (String, String) {
    let statuses = of(seen);
    let (status, reason) = find(&statuses.restores["back"].conditions, about);
    (status.to_owned(), reason.to_owned())
}

fn kept() -> Seen {
    Seen::new().whole().backup(|_| ())
}

fn runs(report: BackupReport) -> Seen {
    kept().worker(ARCHIVE, "nightly", |_| ()).reports(report)
}

fn well(until_ms: u64) -> BackupReport {
    BackupReport { since_ms: Some(1), until_ms: Some(until_ms), ..BackupReport::default() }
}

fn fails() -> BackupReport {
    BackupReport { error: Some("no such bucket".to_owned()), ..well(NOW_MS) }
}

fn asked() -> Seen {
    Seen::new().whole().restore(|_| ())
}

/// The Restore's pod has ended, and left this behind.
fn ended(how: &str, message: &str) -> Seen {
    asked().job(Some(how)).worker(RESTORES, "back", |worker| {
        worker.pod.running = false;
        worker.pod.last_exit = "Error, exit code 1".to_owned();
        worker.message = Some(message.to_owned()).filter(|message| !message.is_empty());
    })
}

fn done() -> RestoreReport {
    RestoreReport {
        backup: "b".to_owned(),
        moment_ms: 5_000,
        keys: 7,
        digest: "0f".to_owned(),
        error: None,
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = backups();
    rows.extend(waiting_restores());
    rows.extend(ended_restores());
    rows
}

fn backups() -> Vec<Row> {
    use ConditionType::Ready;
    let silent = || kept().worker(ARCHIVE, "nightly", |_| ());
    let waiting = || kept().worker(ARCHIVE, "nightly", |worker| worker.pod.running = false);
    let invalid = || kept().backup(|b| b.spec.to.s3 = Some("s3://b2".to_owned()));
    let elsewhere = || kept().backup(|b| b.spec.keyspace = "other".to_owned());
    let suspended = || kept().backup(|b| b.spec.suspend = true);
    let lacking = || runs(well(NOW_MS)).lacking(Kind::Backup, "nightly");
    vec![
        Row("archiving", runs(well(NOW_MS)), backup, Ready, "True", Reason::Archiving),
        Row("late", runs(well(NOW_MS - 61_000)), backup, Ready, "False", Reason::ArchivingFails),
        Row("failing", runs(fails()), backup, Ready, "False", Reason::ArchivingFails),
        Row("new", runs(BackupReport::default()), backup, Ready, "False", Reason::Beginning),
        Row("silent", silent(), backup, Ready, "Unknown", Reason::NoAnswer),
        Row("no pod", kept(), backup, Ready, "False", Reason::PodsPending),
        Row("waiting", waiting(), backup, Ready, "False", Reason::PodsPending),
        Row("invalid", invalid(), backup, Ready, "False", Reason::SpecInvalid),
        Row("elsewhere", elsewhere(), backup, Ready, "False", Reason::KeyspaceMissing),
        Row("suspended", suspended(), backup, Ready, "False", Reason::Suspended),
        Row("no Secret", lacking(), backup, Ready, "False", Reason::ReferenceMissing),
    ]
}

fn waiting_restores() -> Vec<Row> {
    use ConditionType::Complete;
    let unready = || asked().keyspace(|k| k.status = None);
    let nowhere = || asked().restore(|r| r.spec.into = "other".to_owned());
    let odd = || asked().restore(|r| r.spec.at = Some("yesterday".to_owned()));
    let inline = || {
        asked().keyspace(|k| {
            let auth = serde_json::json!({ "password": "p" });
            k.spec.auth = Some(serde_json::from_value(auth).unwrap());
        })
    };
    let pulled = || {
        asked().job(None).worker(RESTORES, "back", |worker| {
            worker.pod.waits = "ErrImagePull: no such image".to_owned();
        })
    };
    let lacking = || asked().lacking(Kind::Restore, "back");
    let row = |what, seen, reason| Row(what, seen, restore, Complete, "False", reason);
    vec![
        row("asked", asked(), Reason::Restoring),
        row("running", asked().job(None), Reason::Restoring),
        row("no image", pulled(), Reason::PodsPending),
        row("not ready", unready(), Reason::WaitingForKeyspace),
        row("nowhere", nowhere(), Reason::KeyspaceMissing),
        row("odd", odd(), Reason::SpecInvalid),
        row("inline", inline(), Reason::SpecInvalid),
        row("no claim", lacking(), Reason::ReferenceMissing),
    ]
}

fn ended_restores() -> Vec<Row> {
    use ConditionType::{Complete, Failed};
    let broken = RestoreReport { error: Some("it is not empty".to_owned()), ..done() };
    let begun = || {
        asked().restore(|r| {
            let started_at = Some("2026-11-28T20:15:00Z".to_owned());
            r.status = Some(RestoreStatus { started_at, ..RestoreStatus::default() });
        })
    };
    let row = |what, seen, about, reason| Row(what, seen, restore, about, "True", reason);
    vec![
        row("done", ended("Complete", &done().to_json()), Complete, Reason::Restored),
        row("gone", ended("Complete", ""), Complete, Reason::Restored),
        row("broken", ended("Failed", &broken.to_json()), Failed, Reason::RestoreFailed),
        row("killed", ended("Failed", ""), Failed, Reason::RestoreFailed),
        row("no Job", begun(), Failed, Reason::RestoreFailed),
    ]
}

#[test]
fn a_backup_says_what_can_be_restored_and_why_its_last_round_failed() {
    let seen = runs(BackupReport { error: Some("no such bucket".to_owned()), ..well(60_000) });
    let status = &of(&seen).backups["nightly"];
    assert_eq!(status.restorable_since.as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(status.restorable_until.as_deref(), Some("1970-01-01T00:01:00Z"));
    assert_eq!(status.last_error.as_deref(), Some("no such bucket"));
    assert!(status.conditions[0].message.contains("no such bucket"));
    // What was known stays while its pod is away.
    let known = status.clone();
    let away = kept().backup(|b| b.status = Some(known.clone()));
    let after = &of(&away).backups["nightly"];
    assert_eq!(after.restorable_until, known.restorable_until);
    assert_eq!(after.last_error, known.last_error);
}

#[test]
fn a_restore_says_what_came_of_it_and_never_anything_else_afterwards() {
    let seen = ended("Complete", &done().to_json());
    let status = of(&seen).restores["back"].clone();
    assert_eq!(status.moment.as_deref(), Some("1970-01-01T00:00:05Z"));
    assert_eq!((status.keys, status.digest.as_deref()), (Some(7), Some("0f")));
    assert!(status.started_at.is_some() && status.finished_at.is_some());
    // Its Job and its pod are gone, its keyspace is, too; nothing is made again.
    let later = asked().restore(|r| r.status = Some(status.clone()));
    assert_eq!(of(&later).restores["back"], status);
    assert!(!later.objects().iter().any(|object| object.kind == Kind::Job));
    let homeless = restore_without(&later.observed.restores[0], true, NOW_SEC + 60);
    assert_eq!(homeless, status);
}

#[test]
fn a_failed_restore_says_why_and_what_to_do() {
    let broken = RestoreReport { error: Some("it is not empty".to_owned()), ..done() };
    for (seen, words) in [
        (ended("Failed", &broken.to_json()), "it is not empty. Empty Keyspace tweets"),
        (ended("Failed", "a line\ncairn: exec format error\n"), "cairn: exec format error"),
        (ended("Failed", ""), "Error, exit code 1"),
    ] {
        let status = of(&seen).restores["back"].clone();
        let message = &status.conditions[1].message;
        assert!(message.contains(words), "{message}");
        assert_eq!((status.keys, status.digest), (None, None));
    }
}

#[test]
fn who_has_no_keyspace_or_no_cluster_says_so() {
    let seen = kept().restore(|_| ());
    let (b, r) = (&seen.observed.backups[0], &seen.observed.restores[0]);
    for (missing, reason) in [(true, Reason::KeyspaceMissing), (false, Reason::ClusterMissing)] {
        let status = backup_without(b, missing, NOW_SEC);
        assert_eq!(find(&status.conditions, ConditionType::Ready), ("False", reason.as_str()));
        let status = restore_without(r, missing, NOW_SEC);
        assert_eq!(find(&status.conditions, ConditionType::Complete), ("False", reason.as_str()));
    }
}

#[test]
fn a_name_that_is_taken_is_said() {
    let names = ["Deployment nightly-archive".to_owned(), "Job back-restore".to_owned()];
    let seen = runs(well(NOW_MS)).restore(|_| ());
    let statuses = taken(&seen, &names);
    let taken = ("False", Reason::NameTaken.as_str());
    assert_eq!(find(&statuses.backups["nightly"].conditions, ConditionType::Ready), taken);
    let status = &statuses.restores["back"];
    assert_eq!(find(&status.conditions, ConditionType::Complete), taken);
    assert_eq!(status.started_at, None);
}
