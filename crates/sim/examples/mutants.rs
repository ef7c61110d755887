//! Breaks every rule in turn: `mutants [--seeds-max N] [--from S] [--only NAME]`.

use cairn_sim::mutants::{all, hunt};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut most, mut from, mut only) = (2000, 1, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_default();
        match arg.as_str() {
            "--seeds-max" => most = value.parse().unwrap_or(most),
            "--from" => from = value.parse().unwrap_or(from),
            "--only" => only = Some(value),
            other => {
                println!("unknown argument {other:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    std::panic::set_hook(Box::new(|_| ()));
    let (mut caught, mut tried) = (0, 0);
    for mutant in all() {
        if only.as_ref().is_some_and(|name| *name != format!("{mutant:?}")) {
            continue;
        }
        let found = hunt(*mutant, from, most);
        println!("{found}");
        tried += 1;
        caught += u64::from(found.by.is_some());
    }
    println!("mutants: tried={tried} caught={caught} seeds_max={most}");
    if caught >= tried.min(15) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
