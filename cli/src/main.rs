//! The cairn command: run a cluster of local processes, look at it, move it.
//!
//! Under the name `kubectl-cairn` the same program is `kubectl cairn`. Each sub-command is a
//! module; [`folder`] is what they share on disk, [`plane`] how they call nodes, [`view`] what they
//! see.

mod args;
mod backup;
mod checkpoint;
mod down;
mod drain;
mod failover;
mod folder;
mod founding;
mod inspect;
mod kubernetes;
mod logs;
mod manifest;
mod moves;
mod place;
mod plane;
mod pool;
mod ports;
mod print;
mod process;
mod recover;
mod report;
mod restore;
mod scale;
mod signals;
mod status;
mod supervise;
mod tails;
mod top;
mod up;
mod view;

use anyhow::{Context, Result};
use args::{BackupCommand, Cli, Command};
use clap::{CommandFactory, FromArgMatches};
use folder::Folder;
use place::Place;
use std::process::ExitCode;
use supervise::Supervisor;
use supervise::control::{Request, order};

fn main() -> ExitCode {
    let matches = Cli::command().bin_name(own_name()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // One thread: the kernel tells children of their parent's death by the thread that made them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done =
        runtime.context("cannot start a runtime").and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `kubectl cairn` when kubectl found us, else `cairn`.
fn own_name() -> &'static str {
    let name = std::env::args_os().next().unwrap_or_default();
    let plugin = std::path::Path::new(&name).file_name().is_some_and(|n| n == "kubectl-cairn");
    if plugin { "kubectl cairn" } else { "cairn" }
}

async fn run(cli: Cli) -> Result<()> {
    let folder = Folder::at(&cli.dir)?;
    let place = match &cli.command {
        // A file is looked at where it is, whichever cluster is meant.
        Command::Inspect { .. } => Place::Here(folder.clone()),
        Command::Checkpoint { what } if what.is_about_files() => Place::Here(folder.clone()),
        // So is an archive.
        Command::Backup(
            BackupCommand::List { .. } | BackupCommand::Verify { .. } | BackupCommand::Prune { .. },
        ) => Place::Here(folder.clone()),
        _ => match cli.roster {
            Some(file) => Place::Roster(file),
            None => Place::of(&folder, &cli.kubernetes, own_name() != "cairn").await?,
        },
    };
    match cli.command {
        Command::Up(args) => up::up(place.here()?, &args).await,
        Command::Down { purge, yes } => down::down(place.here()?, purge, yes).await,
        Command::Status { output, digests } => {
            shown(status::status(&place, output, digests).await?)
        }
        Command::Failover { group, to, timeout_sec } => {
            failover::failover(&place, &group, to.as_deref(), timeout_sec).await
        }
        Command::Slots { output } => shown(moves::slots(&place, output).await?),
        Command::Move { slots, group, timeout_sec } => {
            moves::move_slots(&place, &slots, &group, timeout_sec).await
        }
        Command::CancelMove { keyspace, id } => moves::cancel(&place, &keyspace, id).await,
        Command::Scale { keyspace, groups, replicas, timeout_sec } => {
            let wanted = scale::Wanted { groups, replicas };
            scale::scale(&place, &keyspace, wanted, timeout_sec).await
        }
        Command::Rebalance { keyspace, what } => scale::rebalance(&place, &keyspace, what).await,
        Command::Why { group } => shown(failover::why(&place, &group).await?),
        Command::Recover { group, accept_loss, node, yes, rebuild } => {
            let decision = recover::Decision { accept_loss, node, yes };
            match rebuild.rebuild {
                true => recover::rebuild(&place, &group, &decision, &rebuild).await,
                false => recover::recover(&place, &group, &decision).await,
            }
        }
        Command::Inspect { file, list } => inspect::inspect(&file, list),
        Command::Checkpoint { what } => checkpoint::checkpoint(&place, what).await,
        Command::Backup(command) => backup::backup(&place, command).await,
        Command::Restore(args) => restore::restore(&place, &args).await,
        Command::Pool { output } => shown(pool::pool(&place, output).await?),
        Command::Drain(args) => drain::drain(&place, &args).await,
        Command::Tails => shown(tails::tails(&place).await?),
        Command::Top => shown(top::top(&place).await?),
        Command::Events => shown(place.kubernetes()?.events().await?),
        Command::Report { output, lines } => report::report(&place, output, lines).await,
        Command::Logs { node, follow, lines } if place.kubernetes().is_ok() => {
            place.kubernetes()?.logs(&node, lines, follow).await
        }
        Command::Logs { node, follow, lines } => {
            if node != "supervisor" {
                folder.state()?.node(&node)?;
            }
            logs::print(&folder.log(&node), lines, follow).await
        }
        Command::Stop { node } => tell(place.here()?, &node, |node| Request::Stop { node }).await,
        Command::Start { node } => tell(place.here()?, &node, |node| Request::Start { node }).await,
        Command::Kill { node, stay_down } => {
            tell(place.here()?, &node, |node| Request::Kill { node, stay_down }).await
        }
        Command::Supervise => supervise(&folder).await,
        Command::ExecNode { parent, command } => supervise::exec_node(parent, &command),
    }
}

fn shown(text: String) -> Result<()> {
    print::text(&text);
    Ok(())
}

async fn tell(folder: &Folder, node: &str, request: impl Fn(String) -> Request) -> Result<()> {
    folder.state()?.node(node)?;
    let done = order(folder, &request(node.to_owned())).await?;
    print::line(format_args!("{node}: {done}"));
    Ok(())
}

/// The supervisor as a process of its own, out of reach of its terminal.
async fn supervise(folder: &Folder) -> Result<()> {
    // Fails only for the leader of a process group, who is out of reach already.
    let _ = rustix::process::setsid();
    let supervisor = Supervisor::take(folder)?;
    for line in supervisor.run(signals::stop()).await? {
        eprintln!("cairn supervisor: {line}");
    }
    Ok(())
}
