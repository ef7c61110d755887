//! `cargo xtask compat`: the same generated commands to our keyspace and to redis-server 7.0, every
//! reply compared.
//!
//! A round is a row of commands on empty data, in RESP2 or RESP3 by turns, that ends by reading all
//! of it; the keyspace's log is replayed by a copy, which must hold the same, and what is left is
//! carried over by DUMP and RESTORE in both directions. What differs is
//! shrunk to the commands it takes and printed, unless `xtask/compat/differences.txt` knows it and
//! says why it is so. A seed and a round's number always make the same commands.

mod compare;
mod dice;
mod generate;
mod known;
mod ours;
mod payloads;
mod redis;
mod shapes;
mod show;
mod shrink;
mod tcl;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cairn_resp::{Reply, Version};

use crate::verdict::Verdict;
use known::Known;
use ours::Ours;
use redis::Redis;

/// Arguments of `cargo xtask compat`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// How many commands to send at least
    #[arg(long, default_value_t = 20_000)]
    commands: usize,
    /// What the commands are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this round
    #[arg(long)]
    round: Option<u64>,
    /// Only shapes whose text begins with this, as `LPOS`
    #[arg(long)]
    only: Option<String>,
}

/// What is compared with instead of generated commands.
#[derive(clap::Subcommand)]
enum Other {
    /// Valkey's own test suite, whose files CAIRN_VALKEY_TESTS names, against a running group
    Tcl(tcl::Args),
}

/// A command: its name and arguments.
pub type Line = Vec<Vec<u8>>;

/// Our keyspace and the peer that it is held against.
struct Pair {
    redis: Redis,
    known: Known,
    /// How many values were carried over.
    payloads: usize,
}

/// What both said to one command, where it differs.
#[derive(Clone, Debug)]
struct Difference {
    at: usize,
    ours: Reply,
    theirs: Reply,
    /// Alike for differences that are likely to have one cause.
    signature: String,
}

impl Pair {
    /// Sends a round to both: the differences nobody knows, and how many are known.
    fn differences(
        &mut self,
        lines: &[Line],
        version: Version,
    ) -> Result<(Vec<Difference>, usize)> {
        let theirs = self.redis.round(lines, version)?;
        let (ours, mut left) = Ours::round(lines, version)?;
        let (mut found, mut known, mut apart) = (Vec::new(), 0, false);
        for (at, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            let line = &lines[at];
            if compare::same(line, &ours, &theirs) {
                continue;
            }
            let harmless = compare::changes_nothing(line, &ours, &theirs);
            if self.known.has(line, &ours, &theirs) {
                known += 1;
            } else {
                let signature = show::signature(line, &ours, &theirs);
                found.push(Difference { at, ours, theirs, signature });
            }
            // From here on each side may have other data.
            if !harmless {
                apart = true;
                break;
            }
        }
        if !apart {
            self.payloads += payloads::cross(&mut self.redis, &mut left, version)?;
        }
        Ok((found, known))
    }
}

/// Runs the comparison; whether nothing differed that is not known.
///
/// # Errors
/// If redis-server cannot be started, or a reply cannot be read.
pub fn run(args: &Args) -> Result<bool> {
    if let Some(Other::Tcl(args)) = &args.other {
        return tcl::run(args);
    }
    let mut pair = Pair { redis: Redis::start()?, known: Known::load()?, payloads: 0 };
    println!("compat: {}, seed {}", pair.redis.version(), args.seed);
    let shapes = shapes::all(args.only.as_deref())?;
    let (mut sent, mut known, mut round) = (0, 0, args.round.unwrap_or(0));
    let mut seen = BTreeSet::new();
    while sent < args.commands {
        let version = if round % 2 == 0 { Version::Resp2 } else { Version::Resp3 };
        let lines = generate::round(args.seed, round, &shapes);
        let compared = pair.differences(&lines, version);
        let (found, more) =
            compared.with_context(|| format!("--seed {} --round {round}", args.seed))?;
        (sent, known) = (sent + lines.len(), known + more);
        for difference in found {
            if seen.insert(difference.signature.clone()) {
                let (shrunk, last) = shrink::shrink(&mut pair, &lines, version, &difference)?;
                report(args.seed, round, version, &shrunk, &last);
            }
        }
        if args.round.is_some() {
            break;
        }
        round += 1;
    }
    let verdict = Verdict::new("compat").count("commands", sent).count("known", known);
    let verdict = verdict.count("payloads", pair.payloads);
    verdict.count("differences", seen.len()).judge()
}

fn report(seed: u64, round: u64, version: Version, lines: &[Line], found: &Difference) {
    println!("differs in {version:?} (--seed {seed} --round {round}):");
    lines.iter().for_each(|line| println!("    {}", show::line(line)));
    println!("  ours   {}", show::reply(&found.ours));
    println!("  redis  {}", show::reply(&found.theirs));
}
