//! A scene with clients at work, what is done to it, and how long writes paused meanwhile.

use std::fmt::Display;

use anyhow::{Result, ensure};
use cairn_harness::pauses::Spread;

use crate::scene::{Scene, Specs};
use crate::stories::{SETTLED_LIMIT, Stage};
use crate::traffic::now_us;

/// What came of a story that went well.
#[derive(Debug, Default)]
pub struct Told {
    facts: Vec<String>,
}

impl Told {
    /// Adds `key=value`.
    pub fn fact(&mut self, key: &str, value: impl Display) {
        self.facts.push(format!("{key}={value}"));
    }

    /// Adds how long something paused: the middle and the longest.
    pub fn pauses(&mut self, what: &str, pauses_us: &[u64]) {
        let Spread { count, p50_us, max_us, .. } = Spread::of(pauses_us.to_vec());
        self.fact(&format!("{what}_n"), count);
        self.fact(&format!("{what}_ms_p50"), p50_us.div_ceil(1000));
        self.fact(&format!("{what}_ms_max"), max_us.div_ceil(1000));
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        self.facts.join(" ")
    }
}

/// How long writes may pause.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Those of a keyspace, in milliseconds.
    pub keyspace_ms: u64,
    /// Those of the directory, in milliseconds; whoever says so has them watched.
    pub directory_ms: Option<u64>,
}

impl Bounds {
    /// A keyspace's writes alone are watched.
    pub const fn keyspace(keyspace_ms: u64) -> Self {
        Self { keyspace_ms, directory_ms: None }
    }
}

/// A scene with clients at work.
pub struct Act {
    /// Where it happens.
    pub scene: Scene,
    /// What is told at the end.
    pub told: Told,
    bounds: Bounds,
    spans: Vec<(u64, u64)>,
}

impl Act {
    /// Opens the scene and puts the clients to work.
    ///
    /// # Errors
    /// If the cluster is not there in time.
    pub fn begin(stage: &Stage, name: &str, specs: &Specs, bounds: Bounds) -> Result<Self> {
        Self::take(Scene::open(stage, name, specs)?, bounds)
    }

    /// Puts clients to work in a scene that was opened, once all of it is there.
    ///
    /// # Errors
    /// If the cluster is not there in time.
    pub fn take(scene: Scene, bounds: Bounds) -> Result<Self> {
        scene.wait_settled(SETTLED_LIMIT)?;
        scene.wait_tools()?;
        scene.start_clients(1)?;
        if bounds.directory_ms.is_some() {
            scene.start_directory()?;
        }
        Ok(Self { scene, told: Told::default(), bounds, spans: Vec::new() })
    }

    /// Something happens, and how long writes pause meanwhile is told at the end.
    ///
    /// # Errors
    /// Those of `what`.
    pub fn during<T>(&mut self, what: impl FnOnce(&Scene) -> Result<T>) -> Result<T> {
        let from_us = now_us();
        let done = what(&self.scene);
        self.spans.push((from_us, now_us()));
        done
    }

    /// Ends the clients' work and the scene.
    ///
    /// # Errors
    /// If a history is not that of a store that keeps its word, or a pause was too long.
    pub fn end(mut self) -> Result<Told> {
        let report = self.scene.judge()?;
        for (count, why) in &report.reasons {
            println!("clients heard {count} times: {why}");
        }
        for (key, value) in [
            ("acked", report.acked),
            ("lost", report.lost),
            ("unknown", report.unknown),
            ("failed", report.failed),
        ] {
            self.told.fact(key, value);
        }
        let pauses = |of: &crate::traffic::Report| -> Vec<u64> {
            self.spans.iter().map(|(from, until)| of.pause_us(*from, *until)).collect()
        };
        let keyspace = pauses(&report);
        let mut slow = vec![("a keyspace's", keyspace.clone(), self.bounds.keyspace_ms)];
        self.told.pauses("pause", &keyspace);
        if let Some(directory_ms) = self.bounds.directory_ms {
            let report = self.scene.judge_directory()?;
            let directory = pauses(&report);
            self.told.fact("directory_acked", report.acked);
            self.told.fact("directory_lost", report.lost);
            self.told.pauses("directory", &directory);
            slow.push(("the directory's", directory, directory_ms));
        }
        for (whose, pauses_us, most_ms) in slow {
            let longest_ms = pauses_us.iter().max().copied().unwrap_or(0) / 1000;
            ensure!(
                longest_ms <= most_ms,
                "{whose} writes paused for {longest_ms} ms, {most_ms} ms at most are allowed ({})",
                self.told.line()
            );
        }
        self.scene.close()?;
        Ok(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_story_is_one_line() {
        let mut told = Told::default();
        told.fact("acked", 7);
        told.pauses("pause", &[1_500, 9_000]);
        assert_eq!(told.line(), "acked=7 pause_n=2 pause_ms_p50=2 pause_ms_max=9");
    }
}
