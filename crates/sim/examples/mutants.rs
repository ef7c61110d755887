//! Breaks every rule in turn: `mutants [--seeds-max N] [--from S] [--minutes M] [--jobs J]`, or
//! one of them, with the end of the trace: `mutants --only NAME`.

use cairn_logic::mutant::Mutant;
use cairn_sim::mutants::{hunt, hunt_all};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let (mut most, mut from, mut minutes, mut jobs, mut only) = (100, 1100, 15, jobs, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_default();
        match arg.as_str() {
            "--seeds-max" => most = value.parse().unwrap_or(most),
            "--from" => from = value.parse().unwrap_or(from),
            "--minutes" => minutes = value.parse().unwrap_or(minutes),
            "--jobs" => jobs = value.parse().unwrap_or(jobs),
            "--only" => only = Some(value),
            other => {
                println!("unknown argument {other:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    std::panic::set_hook(Box::new(|_| ()));
    let end = Some(Instant::now() + Duration::from_secs(minutes * 60));
    let Some(name) = only else {
        let jobs = usize::try_from(jobs).unwrap_or(1);
        let hunts = hunt_all(from, most, jobs, end, |caught| println!("{caught}"));
        let caught = hunts.iter().filter(|hunt| hunt.by.is_some()).count();
        println!("by seed: tried={} caught={caught} seeds_max={most}", hunts.len());
        return ExitCode::SUCCESS;
    };
    let Some(mutant) = Mutant::all().find(|mutant| format!("{mutant:?}") == name) else {
        println!("no such rule: {name:?}");
        return ExitCode::FAILURE;
    };
    let caught = hunt(mutant, from, most, end);
    for line in caught.by.iter().flat_map(|outcome| &outcome.trace) {
        println!("{line}");
    }
    println!("{caught}");
    if caught.by.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
