//! `cargo xtask compat tcl`: Valkey's own test suite against a running group.
//!
//! The suite stays outside of the repository: `CAIRN_VALKEY_TESTS` names a folder with the files of
//! its tag 8.0.1. Each of its files is run by itself, within a bound of time, so that one that
//! hangs or breaks off costs no other; what a file that breaks off has not run did not pass.
//! `xtask/compat/tcl.txt` says what is left out, each with its reason.

mod outcome;
mod skips;
mod suite;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::client::{Client, Patience};
use cairn_harness::cluster::Cluster;

use crate::product;
use crate::verdict::Verdict;
use outcome::Outcome;
use skips::Skips;
use suite::Suite;

/// What Valkey 8.0.1 passes of its own suite in the same way of running it.
const VALKEY_PASSES: usize = 2352;
/// How long a new cluster may take until every slot has a master.
const COVERED_MAX: Duration = Duration::from_secs(20);

/// Arguments of `cargo xtask compat tcl`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this file, as `unit/type/list`; may be given several times
    #[arg(long)]
    file: Vec<String>,
    /// Only tests of this name, or of a name that fits this /expression; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// Seconds that a file may take
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// A server that runs already, instead of a cluster of our own; its data are flushed
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
}

/// Who is tested: a cluster that is made anew once a file has left it in doubt, or any server.
struct Subject {
    programs: Option<PathBuf>,
    cluster: Option<Cluster>,
    server: String,
}

impl Subject {
    fn new(args: &Args) -> Result<Self> {
        match &args.server {
            Some(server) => {
                ensure!(server.contains(':'), "--server is not HOST:PORT, as 127.0.0.1:6379");
                Ok(Self { programs: None, cluster: None, server: server.clone() })
            }
            None => {
                Ok(Self { programs: Some(product::build()?), cluster: None, server: String::new() })
            }
        }
    }

    /// Where it is reached; a cluster that there is not yet is started.
    fn server(&mut self) -> Result<String> {
        if let (Some(programs), None) = (&self.programs, &self.cluster) {
            let cluster = product::cluster(programs, "compat-tcl", "xtask/clusters/compat.yaml")?;
            let mut client = Client::new(&cluster.seeds(), Patience::default());
            ensure!(client.wait_covered(COVERED_MAX), "not every slot has a master");
            let master = client.routes().master(0).context("slot 0 has no master")?;
            self.server = master.to_owned();
            self.cluster = Some(cluster);
        }
        Ok(self.server.clone())
    }

    /// What a test that failed has left, settings and waiting clients, must not fail the next file.
    fn doubt(&mut self) {
        self.cluster = None;
    }
}

/// Runs the suite; whether enough of it passed.
///
/// # Errors
/// If the suite's files are not there, or no cluster can be started.
pub fn run(args: &Args) -> Result<bool> {
    let suite = Suite::find()?;
    let skips = Skips::load()?;
    let files = suite.files(&args.file, &skips)?;
    let mut subject = Subject::new(args)?;
    let mut total = Outcome::default();
    let started = Instant::now();
    for file in &files {
        let server = subject.server()?;
        let outcome = suite.run(file, &server, &args.only, Duration::from_secs(args.limit))?;
        if outcome.ran() > 0 || outcome.broke_off.is_some() {
            println!("{}: {outcome}", file.name);
        }
        if outcome.leaves_doubt() {
            subject.doubt();
        }
        total.add(outcome);
    }
    println!("\n{} files in {} s, logs in {:?}", files.len(), seconds(started), suite.logs());
    total.failures.iter().for_each(|failure| println!("failed: {failure}"));
    let verdict = Verdict::new("compat-tcl").count("passed", total.passed);
    let verdict = verdict.count("failed", total.failures.len()).count("skipped", total.skipped);
    verdict.count("broke_off", total.broken).count("of", VALKEY_PASSES).judge()
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}
