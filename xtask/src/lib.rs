//! Project tasks: what a person or a build server runs, each as one command.
//!
//! A command that judges something ends with one verdict line, `name: key=value …`, and succeeds
//! only if its bars (`xtask/bars.toml`) hold.

pub mod api_tier;
pub mod bench;
pub mod chaos;
pub mod clients;
pub mod codegen;
pub mod commands;
pub mod compat;
pub mod demo;
pub mod e2e;
pub mod faults;
pub mod idle;
pub mod image;
pub mod interop;
pub mod janitor;
pub mod kube;
pub mod packages;
pub mod product;
pub mod real_data;
pub mod run;
pub mod setup;
pub mod simulate;
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
    /// Real nodes in network namespaces under random faults; nothing may be lost (needs root)
    Chaos(chaos::Args),
    /// Measure ours against the best peer
    Bench(bench::Args),
    /// The same commands to ours and to redis-server 7.0, every reply compared; Valkey's own tests
    Compat(compat::Args),
    /// Write docs/commands.md: every command of Redis 7.0, and whether it is there
    Commands,
    /// Use a cluster with stock clients of Redis and etcd
    Interop,
    /// Use a cluster with Redis clients of five languages, and kill masters meanwhile
    Clients(clients::Args),
    /// Tell stories on a real Kubernetes, with clients at work
    E2e(e2e::Args),
    /// A real Kubernetes on this machine, also where no registry can be reached
    Kube(kube::Args),
    /// Build the image of all our programs, without any registry
    Image(image::Args),
    /// Measure what an unused cluster costs
    Idle(idle::Args),
    /// Write what is generated from the code, or check that it is fresh
    Codegen(codegen::Args),
    /// Run simulated clusters by seed: --seeds N, --from S, --seed S, --trace
    Sim(simulate::Args),
    /// Break each rule of the decision code and see that the simulator notices
    Mutants(simulate::Args),
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
        Task::Chaos(args) => chaos::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Compat(args) => compat::run(&args),
        Task::Commands => commands::run(),
        Task::Interop => interop::run(),
        Task::Clients(args) => clients::run(&args),
        Task::E2e(args) => e2e::run(&args),
        Task::Kube(args) => kube::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Idle(args) => idle::run(&args),
        Task::Codegen(args) => codegen::run(&args),
        Task::Sim(args) => simulate::run("sim", &args),
        Task::Mutants(args) => simulate::run("mutants", &args),
        Task::Traffic(args) => traffic::run(&args),
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
