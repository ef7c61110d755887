//! Breaks every rule in turn: `mutants [--seeds-max N] [--from S] [--only NAME]`.

use cairn_sim::mutants::{Report, all, hunt, hunt_all};
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
    let named = |name: &String| all().iter().find(|mutant| format!("{mutant:?}") == *name);
    let report = match only.as_ref().map(named) {
        None => hunt_all(from, most, |caught| println!("{caught}")),
        Some(None) => {
            println!("no such rule: {only:?}");
            return ExitCode::FAILURE;
        }
        Some(Some(mutant)) => {
            let caught = hunt(*mutant, from, most);
            println!("{caught}");
            for line in caught.by.iter().flat_map(|outcome| &outcome.trace) {
                println!("{line}");
            }
            Report { hunts: vec![caught], seeds_max: most }
        }
    };
    println!("{report}");
    let enough = report.caught() >= report.hunts.len().min(15);
    if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
