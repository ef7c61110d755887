//! What is told: each story has a cluster of its own, clients at work, something that happens, a
//! bound on what the clients may notice of it, and a history that is checked.

mod failover;
mod global;
mod install;
mod stock;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cairn_harness::pauses::Spread;

use crate::kubectl::Kubectl;

/// Where stories are told, and how.
pub struct Stage {
    /// The cluster.
    pub kubectl: Kubectl,
    /// How often each fault is repeated.
    pub rounds: u32,
    /// Leave the namespaces for a person to look at.
    pub keep: bool,
}

/// One story.
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    tell: fn(&Stage) -> Result<Told>,
}

/// What came of a story that went well.
#[derive(Debug, Default)]
pub struct Told {
    facts: Vec<String>,
    pauses_us: Vec<u64>,
}

impl Told {
    /// Adds `key=value`.
    pub fn fact(&mut self, key: &str, value: impl std::fmt::Display) {
        self.facts.push(format!("{key}={value}"));
    }

    /// Adds how long writes paused around one fault.
    pub fn pause_us(&mut self, pause_us: u64) {
        self.pauses_us.push(pause_us);
    }

    fn line(&self) -> String {
        let mut facts = self.facts.clone();
        if !self.pauses_us.is_empty() {
            let Spread { count, p50_us, max_us, .. } = Spread::of(self.pauses_us.clone());
            let ms = |us: u64| us.div_ceil(1000);
            facts.push(format!("faults={count}"));
            facts.push(format!("pause_ms_p50={} pause_ms_max={}", ms(p50_us), ms(max_us)));
        }
        facts.join(" ")
    }
}

/// Every story, in the order in which they are told.
pub const STORIES: [Story; 9] = [
    install::STORY,
    stock::STORY,
    failover::POD_DELETED,
    failover::PROCESS_KILLED,
    failover::MACHINE_GONE,
    failover::WITHOUT_OPERATOR,
    failover::WITHOUT_API_SERVER,
    global::PROCESS_KILLED,
    global::MACHINE_GONE,
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

    #[test]
    fn what_came_of_a_story_is_one_line() {
        let mut told = Told::default();
        told.fact("acked", 7);
        told.pause_us(1_500);
        told.pause_us(9_000);
        assert_eq!(told.line(), "acked=7 faults=2 pause_ms_p50=2 pause_ms_max=9");
    }
}
