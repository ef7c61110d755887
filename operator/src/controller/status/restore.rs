//! The status of a Restore: waiting, under way, or over for good.

use super::backup::{last_line, missing, moment, taken_of};
use super::conditions::{Conditions, Verdict};
use crate::controller::desired::Desired;
use crate::controller::observed::Observed;
use crate::controller::workers::{self, Hindrance};
use crate::names;
use crate::object::Kind;
use cairn_crd::{ConditionType, Reason, Restore, RestoreStatus};
use cairn_settings::report::RestoreReport;
use kube::core::DynamicObject;
use serde_json::Value;

/// What is said of a Restore; `taken` names objects that belong to somebody else.
#[must_use]
pub fn restore(
    desired: &Desired,
    observed: &Observed,
    restore: &Restore,
    taken: &[String],
) -> RestoreStatus {
    let old = restore.status.clone().unwrap_or_default();
    let generation = restore.metadata.generation;
    if restore.is_finished() {
        // For good: also what was said of it, whatever becomes of its pod.
        return RestoreStatus { observed_generation: generation, ..old };
    }
    let name = restore.metadata.name.clone().unwrap_or_default();
    let now = moment(u64::try_from(observed.now_sec).unwrap_or(0) * 1000);
    let job = observed.live.get(&(Kind::Job, names::restore(&name)));
    let mine = restore.metadata.uid.clone().unwrap_or_default();
    let job = job.filter(|job| crate::object::is_owned_by(job, &[mine]));
    let started = |status: RestoreStatus| RestoreStatus {
        started_at: Some(status.started_at.clone().unwrap_or_else(|| now.clone())),
        ..status
    };
    if let Some(job) = job {
        let status = started(old);
        return match end(job) {
            None => said(restore, status, &under_way(observed, &name), observed.now_sec),
            Some(well) => finished(restore, status, well, observed, now),
        };
    }
    if old.started_at.is_some() {
        let why = "its Job was deleted before it was over".to_owned();
        let report = RestoreReport { error: Some(why), ..RestoreReport::default() };
        let status = RestoreStatus { finished_at: Some(now), ..old };
        return over(restore, status, &report, observed.now_sec);
    }
    if let Some(verdict) = taken_of(taken, &names::restore(&name)) {
        return said(restore, old, &verdict, observed.now_sec);
    }
    match hindrance(desired, observed, restore) {
        Some(verdict) => said(restore, old, &verdict, observed.now_sec),
        None => {
            let verdict = Verdict::no(Reason::Restoring, "its pod is being made");
            said(restore, started(old), &verdict, observed.now_sec)
        }
    }
}

/// What is said of a Restore whose keyspace does not exist, or whose Cluster does not.
#[must_use]
pub fn restore_without(restore: &Restore, keyspace_missing: bool, now_sec: i64) -> RestoreStatus {
    let old = restore.status.clone().unwrap_or_default();
    if restore.is_finished() {
        return old;
    }
    said(restore, old, &missing(&restore.spec.into, keyspace_missing), now_sec)
}

fn hindrance(desired: &Desired, observed: &Observed, restore: &Restore) -> Option<Verdict> {
    let into = &restore.spec.into;
    if let Some(why) = desired.refused.get(into) {
        return Some(Verdict::no(Reason::SpecInvalid, format!("Keyspace {into}: {why}")));
    }
    Some(match workers::hindrance(observed, restore)? {
        Hindrance::Spec(why) => Verdict::no(Reason::SpecInvalid, why),
        Hindrance::KeyspaceMissing => missing(into, true),
        Hindrance::Reference(why) => Verdict::no(Reason::ReferenceMissing, why),
        Hindrance::KeyspaceWaits => {
            let why = format!("it begins when Keyspace {into} is ready");
            Verdict::no(Reason::WaitingForKeyspace, why)
        }
    })
}

fn under_way(observed: &Observed, name: &str) -> Verdict {
    let worker = observed.worker(names::RESTORES, name);
    match worker.map(|worker| &worker.pod) {
        Some(pod) if !pod.waits.is_empty() => Verdict::no(Reason::PodsPending, pod.waits.clone()),
        Some(pod) if pod.running => {
            Verdict::no(Reason::Restoring, "data are read and written; its pod's log says how far")
        }
        _ => Verdict::no(Reason::Restoring, "its pod is being made"),
    }
}

/// Whether a Job is over, and well.
fn end(job: &DynamicObject) -> Option<bool> {
    let conditions = job.data.pointer("/status/conditions").and_then(Value::as_array)?;
    let is = |type_: &str| conditions.iter().any(|c| c["type"] == type_ && c["status"] == "True");
    match (is("Complete"), is("Failed")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn finished(
    restore: &Restore,
    status: RestoreStatus,
    well: bool,
    observed: &Observed,
    now: String,
) -> RestoreStatus {
    let name = restore.metadata.name.clone().unwrap_or_default();
    let worker = observed.worker(names::RESTORES, &name);
    let message = worker.and_then(|worker| worker.message.clone());
    let report = message.as_deref().and_then(RestoreReport::from_json);
    let status = RestoreStatus { finished_at: Some(now), ..status };
    let report = match (report, well) {
        (Some(report), _) if well == report.error.is_none() => report,
        (_, true) => RestoreReport::default(),
        (_, false) => {
            let said = message.as_deref().map(last_line).unwrap_or_default();
            let exit = worker.map(|worker| worker.pod.last_exit.as_str()).unwrap_or_default();
            let said = if said.is_empty() { exit } else { said };
            let why = format!("its pod ended: {said}");
            RestoreReport { error: Some(why), ..RestoreReport::default() }
        }
    };
    over(restore, status, &report, observed.now_sec)
}

/// It is over, as `report` says.
fn over(
    restore: &Restore,
    status: RestoreStatus,
    report: &RestoreReport,
    now_sec: i64,
) -> RestoreStatus {
    let (into, old) = (&restore.spec.into, restore.status.clone().unwrap_or_default());
    let mut conditions = Conditions::new(&old.conditions, restore.metadata.generation, now_sec);
    let known = report.error.is_none() && !report.digest.is_empty();
    if let Some(error) = &report.error {
        let why = format!(
            "{error}. Empty Keyspace {into} (FLUSHALL) if it holds a part, and make another Restore"
        );
        conditions.set(ConditionType::Complete, &Verdict::no(Reason::RestoreFailed, &*why));
        conditions.set(ConditionType::Failed, &Verdict::yes(Reason::RestoreFailed, why));
    } else {
        let why = match known {
            true => format!("{} keys are in Keyspace {into}; digests are equal", report.keys),
            false => format!("all is in Keyspace {into}; its pod is gone and cannot say more"),
        };
        conditions.set(ConditionType::Complete, &Verdict::yes(Reason::Restored, why));
    }
    RestoreStatus {
        observed_generation: restore.metadata.generation,
        backup: known.then(|| report.backup.clone()),
        moment: known.then(|| moment(report.moment_ms)),
        keys: known.then(|| i64::try_from(report.keys).unwrap_or(i64::MAX)),
        digest: known.then(|| report.digest.clone()),
        conditions: conditions.done(),
        ..status
    }
}

fn said(
    restore: &Restore,
    status: RestoreStatus,
    verdict: &Verdict,
    now_sec: i64,
) -> RestoreStatus {
    let old = restore.status.clone().unwrap_or_default();
    let generation = restore.metadata.generation;
    let mut conditions = Conditions::new(&old.conditions, generation, now_sec);
    conditions.set(ConditionType::Complete, verdict);
    RestoreStatus { observed_generation: generation, conditions: conditions.done(), ..status }
}
