//! Project tasks: what a person or a build server runs, each as one command.
//!
//! A command that judges something ends with one verdict line, `name: key=value …`, and succeeds
//! only if its bars (`xtask/bars.toml`) hold.

pub mod bench;
pub mod demo;
pub mod faults;
pub mod packages;
pub mod product;
pub mod real_data;
pub mod run;
pub mod setup;
pub mod test;
pub mod tidy;
pub mod traffic;
pub mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Project tasks", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Hold the code base against its hard limits
    Tidy,
    /// Install what tests and benchmarks need; safe to run again
    Setup(setup::Args),
    /// Run every test that needs no Kubernetes
    Test(test::Args),
    /// Start a cluster, load real data, kill masters under traffic, show that nothing was lost
    Demo(demo::Args),
    /// Load the Debian package index with a stock client while masters are killed
    RealData(real_data::Args),
    /// Kill masters of a real cluster under traffic; nothing may be lost
    Faults(faults::Args),
    /// Measure ours against the best peer
    Bench(bench::Args),
    /// Put clients to work against any cluster and judge what they saw
    Traffic(traffic::Args),
}

/// Runs the command named by the arguments of this process.
pub fn main() -> ExitCode {
    match perform(Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether what was judged holds.
fn perform(task: Task) -> Result<bool> {
    match task {
        Task::Tidy => tidy::run(&root()),
        Task::Setup(args) => setup::run(&args).map(|()| true),
        Task::Test(args) => test::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::RealData(args) => real_data::run(&args),
        Task::Faults(args) => faults::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Traffic(args) => traffic::run(&args),
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
