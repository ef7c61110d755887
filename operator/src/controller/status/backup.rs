//! The status of a Backup: what its pod says of itself.

use super::conditions::{Conditions, Verdict};
use crate::controller::desired::Desired;
use crate::controller::observed::Observed;
use crate::controller::workers;
use crate::names;
use crate::object::Kind;
use cairn_crd::quantity::span_ms;
use cairn_crd::{Backup, BackupStatus, ConditionType, Reason};
use cairn_settings::report::BackupReport;
use k8s_openapi::jiff::Timestamp;

/// The moment up to which all can be restored is written anew when it is so much later.
const UNTIL_STEP_SEC: i64 = 60;
/// A pod into whose archive nothing got for so long, or for so many rounds, fails.
const BEHIND_MS_MAX: u64 = 60_000;
const BEHIND_ROUNDS_MAX: u64 = 6;

/// What is said of a Backup; `taken` names objects that belong to somebody else.
#[must_use]
pub fn backup(
    desired: &Desired,
    observed: &Observed,
    backup: &Backup,
    taken: &[String],
) -> BackupStatus {
    let name = backup.metadata.name.clone().unwrap_or_default();
    let report = observed.reports.get(&name);
    let verdict = hindrance(desired, observed, backup, taken)
        .unwrap_or_else(|| of_the_pod(observed, backup, report));
    let old = backup.status.clone().unwrap_or_default();
    let until = report.and_then(|report| report.until_ms);
    let since = report.and_then(|report| report.since_ms);
    let last_error = match report {
        Some(report) => report.error.as_ref().map(|error| error.chars().take(1024).collect()),
        None => old.last_error.clone(),
    };
    let status = BackupStatus {
        restorable_since: since.map(moment).or(old.restorable_since),
        restorable_until: until
            .map_or(old.restorable_until.clone(), |until| Some(later(old.restorable_until, until))),
        last_error,
        ..BackupStatus::default()
    };
    with(backup, status, &verdict, observed.now_sec)
}

/// What is said of a Backup whose keyspace does not exist, or whose Cluster does not.
#[must_use]
pub fn backup_without(backup: &Backup, keyspace_missing: bool, now_sec: i64) -> BackupStatus {
    let verdict = missing(&backup.spec.keyspace, keyspace_missing);
    with(backup, backup.status.clone().unwrap_or_default(), &verdict, now_sec)
}

/// What is said of whoever names a Keyspace that is not there.
pub fn missing(keyspace: &str, keyspace_missing: bool) -> Verdict {
    if keyspace_missing {
        let why = format!("there is no Keyspace {keyspace} in this namespace: make it");
        return Verdict::no(Reason::KeyspaceMissing, why);
    }
    Verdict::no(Reason::ClusterMissing, format!("the Cluster of Keyspace {keyspace} is not there"))
}

fn with(backup: &Backup, status: BackupStatus, verdict: &Verdict, now_sec: i64) -> BackupStatus {
    let old = backup.status.clone().unwrap_or_default();
    let generation = backup.metadata.generation;
    let mut conditions = Conditions::new(&old.conditions, generation, now_sec);
    conditions.set(ConditionType::Ready, verdict);
    let conditions = conditions.done();
    BackupStatus { observed_generation: generation, conditions, ..status }
}

/// What stands in its way, whatever its pod says.
fn hindrance(
    desired: &Desired,
    observed: &Observed,
    backup: &Backup,
    taken: &[String],
) -> Option<Verdict> {
    let name = backup.metadata.name.clone().unwrap_or_default();
    let spec = &backup.spec;
    let problems = workers::problems(backup);
    if !problems.is_empty() {
        return Some(Verdict::no(Reason::SpecInvalid, problems));
    }
    if observed.keyspace(&spec.keyspace).is_none() {
        return Some(missing(&spec.keyspace, true));
    }
    if let Some(why) = desired.refused.get(&spec.keyspace) {
        let why = format!("Keyspace {}: {why}", spec.keyspace);
        return Some(Verdict::no(Reason::SpecInvalid, why));
    }
    if let Some(taken) = taken_of(taken, &names::archive(&name)) {
        return Some(taken);
    }
    if spec.suspend {
        let why = "spec.suspend is true: nothing is sent, and what is in the archive stays";
        return Some(Verdict::no(Reason::Suspended, why));
    }
    let lacking = observed.lacking.get(&(Kind::Backup, name))?;
    Some(Verdict::no(Reason::ReferenceMissing, lacking.clone()))
}

/// Whether an object called `name` belongs to somebody else.
pub fn taken_of(taken: &[String], name: &str) -> Option<Verdict> {
    let object = taken.iter().find(|object| object.split_once(' ').is_some_and(|o| o.1 == name))?;
    let why = format!("{object} belongs to somebody else: delete it, or choose another name");
    Some(Verdict::no(Reason::NameTaken, why))
}

fn of_the_pod(observed: &Observed, backup: &Backup, report: Option<&BackupReport>) -> Verdict {
    let name = backup.metadata.name.clone().unwrap_or_default();
    let Some(worker) = observed.worker(names::ARCHIVE, &name).filter(|w| !w.pod.deleting) else {
        return Verdict::no(Reason::PodsPending, "its pod is being made");
    };
    if !worker.pod.running {
        let pod = &worker.pod;
        let waits = [&pod.waits, &pod.last_exit].into_iter().find(|words| !words.is_empty());
        let said = worker.message.as_deref().map(last_line).unwrap_or_default();
        let why = waits.map_or("its pod has not started yet", |words| words.as_str());
        return Verdict::no(Reason::PodsPending, format!("{why} {said}").trim().to_owned());
    }
    let Some(report) = report else {
        let why = "its pod does not answer the operator: what is shown may be old";
        return Verdict::unknown(Reason::NoAnswer, why);
    };
    if let Some(error) = &report.error {
        let why = format!("{error}; it is tried again every {}", backup.spec.every);
        return Verdict::no(Reason::ArchivingFails, why);
    }
    let Some(until_ms) = report.until_ms else {
        return Verdict::no(Reason::Beginning, "the first round has not ended yet");
    };
    let now_ms = u64::try_from(observed.now_sec).unwrap_or(0) * 1000;
    let every_ms = span_ms(&backup.spec.every).unwrap_or(0);
    if now_ms.saturating_sub(until_ms) > BEHIND_MS_MAX.max(every_ms * BEHIND_ROUNDS_MAX) {
        let until = moment(until_ms);
        let why = format!(
            "nothing since {until} is in the archive: a round takes long, or a member it is \
             copied from is behind"
        );
        return Verdict::no(Reason::ArchivingFails, why);
    }
    let place = backup.spec.to.name();
    Verdict::yes(Reason::Archiving, format!("what is committed goes to {place}"))
}

/// The last line that says something.
pub fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim()
}

/// Milliseconds since 1970 as people write moments, in whole seconds.
pub fn moment(ms: u64) -> String {
    let second = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// `until_ms` if it is enough later than `old`, or before it, which is of another archive.
fn later(old: Option<String>, until_ms: u64) -> String {
    let second = i64::try_from(until_ms / 1000).unwrap_or(i64::MAX);
    let known = old.filter(|old| {
        let old = old.parse::<Timestamp>().map(Timestamp::as_second);
        old.is_ok_and(|old| (old..old + UNTIL_STEP_SEC).contains(&second))
    });
    known.unwrap_or_else(|| moment(until_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_when_is_written_once_a_minute_and_never_later_than_it_is() {
        let first = later(None, 100_999);
        assert_eq!(first, "1970-01-01T00:01:40Z");
        assert_eq!(later(Some(first.clone()), 159_000), first);
        assert_eq!(later(Some(first.clone()), 160_000), "1970-01-01T00:02:40Z");
        assert_eq!(later(Some(first.clone()), 99_000), "1970-01-01T00:01:39Z");
        assert_eq!(later(Some("nonsense".to_owned()), 99_000), "1970-01-01T00:01:39Z");
    }
}
