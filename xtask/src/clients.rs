//! `cargo xtask clients`: stock Redis clients in five languages, unmodified, each with a story of
//! its own on a cluster of two groups with replicas, in the middle of which a master is killed.
//!
//! `xtask/clients` has a program per client; its README says what they print.

mod install;

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::{Client, Patience, slot_of};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::Cluster;
use clap::builder::PossibleValuesParser;

use crate::product;
use crate::run::{line_of, lines_of};
use crate::verdict::Verdict;

pub use install::{NAMES, install_all};

/// How long a story may take.
const STORY_MAX: Duration = Duration::from_secs(180);
/// How long a takeover may take, on a machine with much else to do.
const TAKEOVER_MAX: Duration = Duration::from_secs(30);
const WHOLE_MAX: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(50);

/// Arguments of `cargo xtask clients`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this client; may be given several times
    #[arg(long, value_name = "CLIENT", value_parser = PossibleValuesParser::new(NAMES))]
    only: Vec<String>,
}

/// Tells each client's story; whether all went well.
///
/// # Errors
/// If a client cannot be installed, or the cluster not be built or started.
pub fn run(args: &Args) -> Result<bool> {
    let asked = |name: &&str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let names: Vec<&str> = NAMES.into_iter().filter(|name| asked(name)).collect();
    let stories = names.iter().map(|name| install::install(name)).collect::<Result<Vec<_>>>()?;
    let cluster = product::cluster(&product::build()?, "clients", "samples/local.yaml")?;
    let mut failed = 0;
    for (name, mut story) in names.iter().zip(stories) {
        story.args(cluster.seeds());
        match tell(&cluster, name, story) {
            Ok(()) => println!("ok: {name}"),
            Err(error) => {
                println!("FAILED: {name}: {error:#}");
                failed += 1;
            }
        }
        // The next one begins with all members at work.
        let faults = cluster.wait_whole(WHOLE_MAX);
        ensure!(faults.is_empty(), "the cluster is not whole: {}", faults.join("; "));
    }
    let verdict = Verdict::new("clients").count("passed", names.len() - failed);
    let verdict = verdict.count("failed", failed);
    if names.len() == NAMES.len() {
        return verdict.judge();
    }
    // The bar is about all of them.
    println!("{verdict}");
    Ok(failed == 0)
}

/// A program that is ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a client's program to its end, and kills a master where it asks for it.
fn tell(cluster: &Cluster, name: &str, mut story: Command) -> Result<()> {
    let line = line_of(&story);
    story.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Running(story.spawn().with_context(|| format!("cannot run {line}"))?);
    let lines = lines_of(&mut child.0)?;
    let until = Instant::now() + STORY_MAX;
    let (mut last, mut takeovers) = (String::new(), 0);
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(said) => {
                println!("  {name}: {said}");
                if let Some(key) = said.strip_prefix("takeover ") {
                    take_over(cluster, key)?;
                    takeovers += 1;
                    let mut input = child.0.stdin.as_ref().context("standard input is a pipe")?;
                    input.write_all(b"over\n").context("the client has ended")?;
                }
                last = said;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!("it took too long; its last word was {last:?}"),
        }
    }
    let status = child.0.wait().context("cannot wait for the client")?;
    ensure!(status.success() && last == "story: ok", "{status} after {last:?}");
    ensure!(takeovers == 1, "{takeovers} takeovers");
    Ok(())
}

/// Kills the master that has the key's slot, and returns when there is another one.
fn take_over(cluster: &Cluster, key: &str) -> Result<()> {
    let slot = slot_of(key.as_bytes());
    let mut client = Client::new(&cluster.seeds(), Patience::default());
    ensure!(client.wait_covered(TAKEOVER_MAX), "not every slot has a master");
    let old = client.routes().master(slot).context("the slot has no master")?.to_owned();
    let node = cluster.nodes().iter().find(|node| node.redis() == old);
    cluster.kill(&node.context("the master is no node of the cluster")?.id, false)?;
    let other = wait_until(TAKEOVER_MAX, STEP, || {
        client.refresh() && client.routes().master(slot).is_some_and(|master| master != old)
    });
    ensure!(other, "nobody took over from {old}");
    Ok(())
}
