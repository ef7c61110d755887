//! Everything that is wrong with a set of resources, alone and together.

use crate::{Resources, name, spare_set};
use cairn_crd::Problem;
use cairn_crd::keyspace::{Auth, SecretKey};
use std::collections::BTreeSet;
use std::fmt;

/// A problem and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For example `Keyspace/tweets`.
    pub resource: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource, self.problem)
    }
}

/// All faults, at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

/// Checks every resource by its own rules, then those that need more than one.
///
/// # Errors
/// Every fault there is.
pub fn check(resources: &Resources) -> Result<(), Faults> {
    let cluster = name(&resources.cluster.metadata);
    let mut faults = Vec::new();
    let mut add = |kind: &str, name: &str, problems: Vec<Problem>| {
        let resource = format!("{kind}/{name}");
        faults.extend(
            problems.into_iter().map(|problem| Fault { resource: resource.clone(), problem }),
        );
    };
    add("Cluster", cluster, resources.cluster.problems());
    let mut seen = BTreeSet::new();
    for keyspace in &resources.keyspaces {
        let name = name(&keyspace.metadata);
        let mut problems = keyspace.problems();
        if !seen.insert(name) {
            problems.push(problem("metadata.name", "is there twice: choose another name"));
        }
        if keyspace.spec.cluster != cluster {
            problems
                .push(problem("spec.cluster", format!("must be the Cluster's name, {cluster}")));
        }
        problems.extend(keyspace.spec.auth.iter().flat_map(|auth| missing(auth, resources)));
        add("Keyspace", name, problems);
    }
    let sets: BTreeSet<String> = seen.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = BTreeSet::new();
    for pool in &resources.pools {
        let name = name(&pool.metadata);
        let mut problems = pool.problems();
        if !seen.insert(name) {
            problems.push(problem("metadata.name", "is there twice: choose another name"));
        }
        if sets.contains(&spare_set(name)) {
            let text = "has nodes of the same names as a Keyspace: choose another name";
            problems.push(problem("metadata.name", text));
        }
        if pool.spec.cluster != cluster {
            problems
                .push(problem("spec.cluster", format!("must be the Cluster's name, {cluster}")));
        }
        add("SparePool", name, problems);
    }
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

/// Passwords whose Secrets were not found.
fn missing<'a>(auth: &'a Auth, resources: &'a Resources) -> impl Iterator<Item = Problem> + 'a {
    let own = auth.password_secret_ref.iter().map(|at| ("spec.auth.passwordSecretRef", at));
    let users = auth.users.iter().map(|user| ("spec.auth.users", &user.password_secret_ref));
    let at = |secret: &SecretKey| (secret.name.clone(), secret.key.clone());
    let gone = own.chain(users).filter(move |(_, s)| !resources.secrets.contains_key(&at(s)));
    gone.map(|(path, SecretKey { name, key })| {
        let what = format!("must name a Secret that exists and has the key {key}");
        problem(path, format!("{what}: {name} was not found"))
    })
}

fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem { path: path.to_owned(), message: message.into() }
}
