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

/// The tests that own a generated file: package and target, then the test's name.
const OWNERS: [([&str; 4], &str); 3] = [
    (["-p", "cairn-crd", "--test", "crds"], "the_committed_files_are_fresh"),
    (["-p", "cairn-node", "--lib", "--quiet"], "metrics::tests::the_page_is_fresh"),
    (["-p", "cairn-operator", "--lib", "--quiet"], "metrics::tests::the_page_is_fresh"),
];

/// Writes or checks `crds/` and the pages made from names in the code; whether they are fresh.
///
/// # Errors
/// If cargo cannot be run.
pub fn run(args: &Args) -> Result<bool> {
    let mut fresh = true;
    for (target, name) in OWNERS {
        let mut test = command("cargo", ["test"]);
        test.args(target).args(["--", name, "--exact"]);
        if !args.check {
            test.env("UPDATE_EXPECT", "1");
        }
        let mut ran = false;
        let passed = watch(&mut test, |line| ran |= line.contains("1 passed"))?;
        fresh &= passed && ran;
    }
    println!("codegen: fresh={}", u8::from(fresh));
    Ok(fresh)
}
