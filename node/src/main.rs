//! One node of a Cairn cluster: global, data, acceptor or checkpoint.

use anyhow::{Context, Result};
use cairn_node::boot::Boot;
use cairn_node::group::{self, End};
use cairn_node::{acceptor, global};
use cairn_settings::NodeRole;
use clap::{Args, Parser, Subcommand};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Small entries of many sizes are what a keyspace is made of; this allocator wastes least on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One node of a Cairn cluster.
///
/// Usually started by `cairn up` or by the operator, with a settings file made by them.
#[derive(Debug, Parser)]
#[command(name = "cairn-node", version)]
struct Command {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Keep the directory and decide who masters what.
    Global(Start),
    /// Keep the data of a group, or wait to be claimed by one.
    Data(Start),
    /// Keep the arbiter's value and nothing else.
    Acceptor(Start),
    /// Follow the directory's log and write its snapshots.
    Checkpoint(Start),
}

#[derive(Debug, Args)]
struct Start {
    /// The node's settings, a JSON file.
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
}

fn main() -> ExitCode {
    let command = Command::parse();
    cairn_node::memory::keep_what_is_freed();
    cairn_logs::start();
    match run(command.role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("cairn-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the same program with the same arguments: threads, sockets and memory of the former
/// group are gone, the process and its supervisor stay.
fn begin_anew() -> Result<()> {
    let error =
        std::process::Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    Err(error).context("cannot begin anew")
}

fn run(role: Role) -> Result<()> {
    cairn_node::memory::start_small();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // All run as tasks, because each wake of the future that the runtime blocks on costs a write to
    // its own event descriptor.
    match role {
        Role::Global(start) => {
            let boot = Boot::new(NodeRole::Global, &start.settings)?;
            runtime.block_on(async { tokio::spawn(global::run(boot)).await? })
        }
        Role::Data(start) => {
            let boot = Boot::new(NodeRole::Data, &start.settings)?;
            match runtime.block_on(async { tokio::spawn(group::run(boot)).await? })? {
                End::Stopped => Ok(()),
                End::Released => {
                    runtime.shutdown_background();
                    begin_anew()
                }
            }
        }
        Role::Checkpoint(start) => {
            let boot = Boot::new(NodeRole::Checkpoint, &start.settings)?;
            runtime.block_on(async { tokio::spawn(global::run(boot)).await? })
        }
        Role::Acceptor(start) => {
            let boot = Boot::new(NodeRole::Acceptor, &start.settings)?;
            runtime.block_on(acceptor::run(boot))
        }
    }
}
