//! `cairn-e2e stories` tells stories on a cluster; `cairn-e2e traffic` is the clients inside it.
//! `cargo xtask e2e` makes the cluster and calls the first.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_e2e::kubectl::Kubectl;
use cairn_e2e::stories::{self, Stage};
use cairn_e2e::{directory, traffic};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cairn-e2e", version)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Tell stories
    Stories {
        /// Tell this one; may be given several times. Without it, all
        #[arg(long)]
        story: Vec<String>,
        /// The cluster
        #[arg(long, env = "KUBECONFIG", required_unless_present = "list")]
        kubeconfig: Option<PathBuf>,
        /// How often each fault is repeated
        #[arg(long, default_value_t = 1)]
        rounds: u32,
        /// Leave the namespaces
        #[arg(long)]
        keep: bool,
        /// Where what is known of a story that failed is written
        #[arg(long, default_value = "target/e2e/logs")]
        logs: PathBuf,
        /// Begin no story after this many minutes
        #[arg(long, default_value_t = 240)]
        minutes: u64,
        /// Name the stories and stop
        #[arg(long)]
        list: bool,
    },
    /// Work as a client of the directory until told to stop, then say what was seen
    Directory {
        /// The global nodes, separated by commas
        endpoints: String,
        /// Stop by yourself after this many seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
    /// Work as clients until told to stop, then say what was seen
    Traffic {
        /// Where to ask for the routes, `host:port`
        seeds: Vec<String>,
        /// What the clients' choices follow from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Stop by yourself after this many seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match perform(Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cairn-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<bool> {
    match task {
        Task::Stories { list: true, .. } => {
            stories::STORIES.iter().for_each(|story| println!("{}: {}", story.name, story.about));
            Ok(true)
        }
        Task::Stories { story, kubeconfig, rounds, keep, minutes, logs, .. } => {
            let kubeconfig = kubeconfig.context("no --kubeconfig")?;
            let stage = Stage { kubectl: Kubectl::new(kubeconfig, "default"), rounds, keep, logs };
            let limit = Duration::from_secs(minutes * 60);
            Ok(stories::tell(&stage, &stories::chosen(&story)?, limit))
        }
        Task::Directory { endpoints, seconds } => {
            directory::run(&endpoints, Duration::from_secs(seconds)).map(|()| true)
        }
        Task::Traffic { seeds, seed, seconds } => {
            traffic::run(&seeds, seed, Duration::from_secs(seconds)).map(|()| true)
        }
    }
}
