//! Runs seeds: `sim [--seeds N] [--from S] [--seed S] [--trace] [--plane group|global]`.

use cairn_logic::counting::Plane;
use cairn_sim::{Options, run, run_many};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut options = Options::default();
    let (mut seeds, mut from, mut one) = (200, 1, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok()).unwrap_or(1);
        match arg.as_str() {
            "--seeds" => seeds = number(),
            "--from" => from = number(),
            "--seed" => one = Some(number()),
            "--trace" => options.trace = true,
            "--plane" => {
                let global = args.next().is_some_and(|name| name == "global");
                options.plane = Some(if global { Plane::Global } else { Plane::Group });
            }
            other => {
                println!("unknown argument {other:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    std::panic::set_hook(Box::new(|_| ()));
    if let Some(seed) = one {
        let outcome = run(seed, &options);
        for line in &outcome.trace {
            println!("{line}");
        }
        println!("{outcome}\n{:?} digest={:016x}", outcome.stats, outcome.digest);
        return if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let summary = run_many(from, seeds, 10, &options);
    for outcome in &summary.broken {
        println!("{outcome}");
    }
    println!("{summary}");
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
