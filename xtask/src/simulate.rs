//! `cargo xtask sim` and `cargo xtask mutants`: the simulator's programs, built to run fast.

use anyhow::{Context, Result};

use crate::run::{command, line_of};

/// Arguments of `cargo xtask sim` and `cargo xtask mutants`.
#[derive(clap::Args)]
pub struct Args {
    /// Handed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs one of the simulator's examples; whether it is content.
///
/// # Errors
/// If cargo cannot be run.
pub fn run(example: &str, args: &Args) -> Result<bool> {
    let mut cargo = command("cargo", ["run", "--quiet", "--profile", "fast", "-p", "cairn-sim"]);
    if example == "mutants" {
        cargo.args(["--features", "mutants"]);
    }
    cargo.args(["--example", example, "--"]).args(&args.rest);
    println!("$ {}", line_of(&cargo));
    Ok(cargo.status().context("cannot run cargo")?.success())
}
