//! `cargo xtask codegen`: writes files that follow from the code. Tests of the crates that own
//! them fail when they are stale.

use anyhow::Result;

use crate::run::{command, watch};

/// Arguments of `cargo xtask codegen`.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; fail if a file is stale
    #[arg(long)]
    check: bool,
}

/// Writes or checks `crds/`; whether it is fresh.
///
/// # Errors
/// If cargo cannot be run.
pub fn run(args: &Args) -> Result<bool> {
    let mut fresh = command("cargo", ["test", "--quiet", "-p", "cairn-crd", "--test", "crds"]);
    fresh.args(["--", "the_committed_files_are_fresh", "--exact"]);
    if !args.check {
        fresh.env("UPDATE_EXPECT", "1");
    }
    let mut ran = false;
    let passed = watch(&mut fresh, |line| ran |= line.contains("1 passed"))?;
    println!("codegen: fresh={}", u8::from(passed && ran));
    Ok(passed && ran)
}
