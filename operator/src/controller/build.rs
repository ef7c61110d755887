//! From what is wanted to the objects that say so.
//!
//! Pure and infallible: whatever could be wrong was refused by [`super::validate`]. One file per
//! kind of thing; another StatefulSet is one more file and one more line in
//! [`build`].

mod acceptor;
mod certificates;
mod checkpoint;
mod config;
mod global;
mod group;
mod guard;
mod keyspace;
mod mirror;
mod overlay;
mod pods;
mod pool;
mod services;
mod stateful;
mod worker;

pub use pods::{FOLDER, IDENTITY, settings_digest, template_of};

use super::desired::Desired;
use crate::object::Object;

/// Every object of a cluster and of its keyspaces, in the order in which they are applied.
///
/// A group's StatefulSet follows once the Group it belongs to exists.
#[must_use]
pub fn build(desired: &Desired) -> Vec<Object> {
    let mut objects = Vec::new();
    global::build(desired, &mut objects);
    acceptor::build(desired, &mut objects);
    checkpoint::build(desired, &mut objects);
    for keyspace in &desired.keyspaces {
        keyspace::build(desired, keyspace, &mut objects);
        for group in &keyspace.groups {
            group::build(desired, keyspace, group, &mut objects);
        }
    }
    for pool in &desired.pools {
        pool::build(desired, pool, &mut objects);
    }
    for worker in &desired.workers {
        worker::build(desired, worker, &mut objects);
    }
    certificates::build(desired, &mut objects);
    mirror::build(desired, &mut objects);
    objects.sort_by_key(|object| crate::object::Kind::MADE.iter().position(|k| *k == object.kind));
    objects
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worker_tests;
