//! What is told: each story has a cluster of its own, clients at work, something that happens, a
//! bound on what the clients may notice of it, and a history that is checked.

mod archive;
mod certificates;
mod checkpoint;
mod doors;
mod failover;
mod global;
mod groups;
mod helm;
mod life;
mod plugin;
mod refused;
mod rest;
mod rolling;
mod scaling;
mod sized;
mod spares;
mod stock;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::act::Told;
use crate::aftermath;
use crate::kubectl::Kubectl;

/// Where stories are told, and how.
pub struct Stage {
    /// The cluster.
    pub kubectl: Kubectl,
    /// How often each fault is repeated.
    pub rounds: u32,
    /// Leave the namespaces for a person to look at.
    pub keep: bool,
    /// Where what is known of a story that failed is written, a folder for each.
    pub logs: PathBuf,
}

/// One story.
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    tell: fn(&Stage) -> Result<Told>,
}

/// How long writes may pause when nothing of theirs is touched, in milliseconds: noise alone.
const NOISE_MS_MAX: u64 = 1_000;
/// The longest that writes may pause when a process goes, in milliseconds.
const PROCESS_MS_MAX: u64 = 2_000;
/// The longest that writes may pause when a machine goes, in milliseconds.
const MACHINE_MS_MAX: u64 = 3_000;
/// How long it may take until another master is seen.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);
/// How long a cluster may take until nothing is missing and nothing left to do.
pub const SETTLED_LIMIT: Duration = Duration::from_secs(240);

/// Every story, in the order in which they are told.
pub const STORIES: [Story; 41] = [
    life::INSTALL,
    stock::STORY,
    failover::PROCESS_KILLED,
    failover::POD_DELETED,
    failover::MACHINE_GONE,
    failover::WITHOUT_API_SERVER,
    failover::WITHOUT_OPERATOR,
    failover::ALONE,
    failover::ZONE_GONE,
    global::PROCESS_KILLED,
    global::POD_DELETED,
    global::MACHINE_GONE,
    global::WITHOUT_API_SERVER,
    global::WITHOUT_OPERATOR,
    checkpoint::KILLED_WHILE_SENDING,
    checkpoint::MACHINE_GONE,
    archive::STORY,
    life::ALL_PODS,
    rolling::UPGRADE,
    scaling::ONE,
    scaling::QUORUM,
    scaling::GLOBAL,
    spares::REPLACED,
    spares::REPLACED_ALONE,
    spares::DRAINED,
    spares::ZONE,
    sized::REPLACED,
    groups::SCALED,
    groups::AUTOSCALED,
    sized::MOVED,
    helm::STORY,
    rolling::OPERATOR_RESTARTED,
    rolling::BAD_IMAGE,
    refused::STORY,
    life::TWO,
    doors::STRANGER,
    doors::OUTSIDE,
    failover::DRAINED,
    plugin::STORY,
    certificates::STORY,
    rest::STORY,
];

/// The stories of these names, or all of them.
///
/// # Errors
/// If there is no story of a name.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Story>> {
    if names.is_empty() {
        return Ok(STORIES.iter().collect());
    }
    let find = |name: &String| match STORIES.iter().find(|story| story.name == name) {
        Some(story) => Ok(story),
        None => {
            let names: Vec<&str> = STORIES.iter().map(|story| story.name).collect();
            bail!("no story {name:?}: there are {}", names.join(", "))
        }
    };
    names.iter().map(find).collect()
}

/// Tells stories one after the other and prints the verdict; whether all went well.
///
/// No story is begun after `limit`; those left out are named.
pub fn tell(stage: &Stage, stories: &[&Story], limit: Duration) -> bool {
    let began = Instant::now();
    let (mut passed, mut failed, mut left_out) = (0, 0, Vec::new());
    for story in stories {
        if began.elapsed() >= limit {
            left_out.push(story.name);
            continue;
        }
        println!("\n== {}: {}", story.name, story.about);
        let start = Instant::now();
        let outcome = (story.tell)(stage);
        let seconds = start.elapsed().as_secs();
        match outcome {
            Ok(told) => {
                passed += 1;
                println!("story {}: passed seconds={seconds} {}", story.name, told.line());
            }
            Err(error) => {
                failed += 1;
                println!("story {}: failed seconds={seconds}\n{error:#}", story.name);
                aftermath::settle(stage, story.name);
            }
        }
    }
    if !left_out.is_empty() {
        println!("\nleft out, for the time was up: {}", left_out.join(", "));
    }
    let (count, seconds) = (passed + failed, began.elapsed().as_secs());
    println!(
        "e2e: stories={count} passed={passed} failed={failed} left_out={} seconds={seconds}",
        left_out.len()
    );
    failed == 0 && passed > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_found_by_its_name() {
        assert_eq!(chosen(&[]).unwrap().len(), STORIES.len());
        let one = chosen(&["stock-clients".to_owned()]).unwrap();
        assert_eq!(one[0].name, "stock-clients");
        assert!(chosen(&["nothing".to_owned()]).is_err());
    }
}
