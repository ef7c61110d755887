//! Which Backups and Restores something is made for. Pure.
//!
//! A Backup's pod runs as long as the Backup asks for it. A Restore's is made once, when all that
//! it needs is there, and never again: what became of it is in the Restore's status.

use super::desired::{WantedKeyspace, WantedWorker, Work};
use super::observed::Observed;
use crate::names;
use crate::object::Kind;
use cairn_crd::keyspace::Auth;
use cairn_crd::pods::Pods;
use cairn_crd::{Backup, Keyspace, Problem, Restore};

/// What stands in a Restore's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Its spec breaks a rule, or asks for what cannot be.
    Spec(String),
    /// Its Keyspace does not exist.
    KeyspaceMissing,
    /// A Secret or claim.
    Reference(String),
    /// Its Keyspace does not serve yet.
    KeyspaceWaits,
}

/// All that something is made for now.
#[must_use]
pub fn wanted(observed: &Observed, keyspaces: &[WantedKeyspace]) -> Vec<WantedWorker> {
    let wanted = |work: Work, keyspace: &str, own: &Pods| {
        let keyspace = keyspaces.iter().find(|k| k.name == keyspace)?;
        // Memory, priority and overrides of nodes are not those of these pods.
        let shared = Pods {
            resources: None,
            template: None,
            priority_class_name: None,
            ..keyspace.pods.clone()
        };
        Some(WantedWorker { work, keyspace: keyspace.name.clone(), pods: own.or(&shared) })
    };
    let backups = observed.backups.iter().filter(|backup| backup.problems().is_empty());
    let backups = backups.filter_map(|backup| {
        let spec = &backup.spec;
        wanted(Work::Backup(backup.clone()), &spec.keyspace, &spec.pods)
    });
    let restores = observed.restores.iter().filter(|restore| is_due(observed, restore));
    let restores = restores.filter_map(|restore| {
        let spec = &restore.spec;
        wanted(Work::Restore(restore.clone()), &spec.into, &spec.pods)
    });
    backups.chain(restores).collect()
}

/// Whether the Restore's pod is to be made now.
#[must_use]
pub fn is_due(observed: &Observed, restore: &Restore) -> bool {
    let started = restore.status.as_ref().is_some_and(|status| status.started_at.is_some());
    let name = restore.metadata.name.clone().unwrap_or_default();
    let there = observed.live.contains_key(&(Kind::Job, names::restore(&name)));
    !started && !there && !restore.is_finished() && hindrance(observed, restore).is_none()
}

/// What stands in the Restore's way, the worst first.
#[must_use]
pub fn hindrance(observed: &Observed, restore: &Restore) -> Option<Hindrance> {
    let problems = restore.problems();
    if !problems.is_empty() {
        return Some(Hindrance::Spec(words(&problems)));
    }
    let Some(keyspace) = observed.keyspace(&restore.spec.into) else {
        return Some(Hindrance::KeyspaceMissing);
    };
    if let Some(Auth { password: Some(_), .. }) = &keyspace.spec.auth {
        let into = &restore.spec.into;
        let why = format!(
            "spec.into: Keyspace {into} has its password in its spec: write it into a Secret, and \
             passwordSecretRef"
        );
        return Some(Hindrance::Spec(why));
    }
    let name = restore.metadata.name.clone().unwrap_or_default();
    if let Some(lacking) = observed.lacking.get(&(Kind::Restore, name)) {
        return Some(Hindrance::Reference(lacking.clone()));
    }
    (!is_ready(keyspace)).then_some(Hindrance::KeyspaceWaits)
}

/// What is wrong with a Backup, in words; empty for nothing.
#[must_use]
pub fn problems(backup: &Backup) -> String {
    words(&backup.problems())
}

fn words(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn is_ready(keyspace: &Keyspace) -> bool {
    let conditions = keyspace.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
