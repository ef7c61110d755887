//! Runs seeds: `sim [--seeds N] [--from S] [--minutes M] [--jobs J]`, or one of them:
//! `sim --seed S [--trace]`; with `--kind group|global|cluster|moves` of one kind alone.

use cairn_sim::{Options, WorldKind, campaign, run};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the command line asks for.
struct Asked {
    options: Options,
    seeds: u64,
    from: u64,
    one: Option<u64>,
    jobs: usize,
    minutes: u64,
}

fn asked() -> Result<Asked, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options::default();
    let mut asked = Asked { options, seeds: 200, from: 1, one: None, jobs, minutes: 24 * 60 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--trace" {
            asked.options.trace = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{arg} needs a number"));
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--seed" => asked.one = Some(number()?),
            "--jobs" => asked.jobs = usize::try_from(number()?).unwrap_or(1),
            "--minutes" => asked.minutes = number()?,
            "--kind" if value == "group" => asked.options.kind = Some(WorldKind::Group),
            "--kind" if value == "global" => asked.options.kind = Some(WorldKind::Global),
            "--kind" if value == "moves" => asked.options.kind = Some(WorldKind::Moves),
            "--kind" if value == "cluster" => asked.options.kind = Some(WorldKind::Cluster),
            _ => return Err(format!("unknown argument {arg} {value}")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| ()));
    let good = match asked() {
        Err(problem) => {
            println!("{problem}");
            false
        }
        Ok(Asked { one: Some(seed), options, .. }) => one(seed, &options),
        Ok(asked) => many(&asked),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, options: &Options) -> bool {
    let outcome = run(seed, options);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{outcome}\n{:?} digest={:016x}", outcome.stats, outcome.digest);
    outcome.is_good()
}

fn many(asked: &Asked) -> bool {
    let began = Instant::now();
    let end = began + Duration::from_secs(asked.minutes * 60);
    let (mut done, mut said_at, mut bad) = (0_u64, began, 0_u32);
    let Asked { from, seeds, jobs, options, .. } = asked;
    let summary = campaign(*from, *seeds, *jobs, options, |outcome| {
        done += 1;
        if !outcome.is_good() {
            bad += 1;
            println!("{outcome}");
            let kind = options.kind.map(|kind| format!(" --kind {kind}")).unwrap_or_default();
            println!("  replay: cargo xtask sim --seed {}{kind} --trace", outcome.seed);
            let last = outcome.trace.len().saturating_sub(20);
            outcome.trace[last..].iter().for_each(|line| println!("  {line}"));
        }
        if said_at.elapsed() >= Duration::from_secs(60) {
            said_at = Instant::now();
            println!("{done} seeds in {} s, {bad} broken", began.elapsed().as_secs());
        }
        bad < 10 && said_at < end
    });
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let rate = f64::from(u32::try_from(summary.seeds).unwrap_or(u32::MAX)) / minutes;
    println!("{summary} from={from} seeds_per_minute={rate:.0}");
    summary.broken.is_empty()
}
