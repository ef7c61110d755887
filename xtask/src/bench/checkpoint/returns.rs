//! F2: a member is killed, misses writes, and is started again; many times, so that a run that was
//! broken off goes on with the times that are missing.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cairn_harness::clock::wait;
use serde_json::{Value, json};

use super::ours::Ours;
use super::peer::Theirs;
use super::rows::{Part, commit, folder, paragraph};
use super::trace::{Span, VALUE_BYTES, Writes, under_load};
use super::{LIMIT, Pace};
use crate::bench::report::median;

/// Between two snapshots of ours. One is awaited after each return: who is killed again and again
/// before it could write one has ever more to apply, which is another matter.
const INTERVAL: Duration = Duration::from_secs(5);

/// A member that was away and came back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Return {
    ours: bool,
    long: bool,
    /// Until it follows again.
    seconds: f64,
    /// Until it counts as a member again; the peer knows no such thing.
    counts_seconds: f64,
    whole: bool,
}

/// All of them, those of earlier runs included.
struct Returns {
    path: PathBuf,
    all: Vec<Return>,
}

/// Brings members back until there are as many returns as `pace` asks for.
///
/// # Errors
/// If a side does not start, or a member does not come back.
pub fn returns(pace: Pace, programs: &Path, scratch: &Path) -> Result<Part> {
    let mut returns = Returns::open(pace, folder(pace.quick)?.join("f2.jsonl"))?;
    for round in 0..pace.pairs {
        for ours in [false, true] {
            let due = |long: bool| {
                let all = times(pace, ours, long);
                (all * (round + 1) / pace.pairs).saturating_sub(returns.of(ours, long).len())
            };
            let (short, long) = (due(false), due(true));
            if short + long == 0 {
                continue;
            }
            match ours {
                false => their_turn(pace, scratch, (short, long), &mut returns)?,
                true => our_turn(pace, programs, (short, long), &mut returns)?,
            }
        }
        println!("returns round {} of {}: {}", round + 1, pace.pairs, returns.words());
    }
    Ok(returns.part(pace))
}

/// How often a side's member comes back after being away for that long.
fn times(pace: Pace, ours: bool, long: bool) -> usize {
    match (long, ours) {
        (true, _) => pace.long.0,
        (false, true) => pace.short.0,
        (false, false) => pace.peer_short,
    }
}

fn their_turn(
    pace: Pace,
    scratch: &Path,
    times: (usize, usize),
    returns: &mut Returns,
) -> Result<()> {
    let mut theirs = Theirs::start(&scratch.join("returns"), LIMIT)?;
    theirs.master().fill(pace.keys, VALUE_BYTES)?;
    theirs.link(LIMIT)?;
    let master = theirs.master().clone();
    let ((), trace) = under_load(&master, Writes::of(pace.keys), || {
        for (long, away) in turns(pace, times) {
            theirs.unlink();
            wait(away);
            let (span, whole) = theirs.link(LIMIT)?;
            let seconds = span.seconds();
            returns.add(Return { ours: false, long, seconds, counts_seconds: seconds, whole })?;
        }
        Ok(())
    })?;
    trace.without_errors().map(drop)
}

fn our_turn(
    pace: Pace,
    programs: &Path,
    times: (usize, usize),
    returns: &mut Returns,
) -> Result<()> {
    let ours = Ours::start(programs, Pace { interval: INTERVAL, ..pace }, "{}")?;
    ours.master.fill(pace.keys, VALUE_BYTES)?;
    ours.ear()?.hear("wrote a snapshot", LIMIT)?;
    ours.wait_whole(LIMIT)?;
    let ((), trace) = under_load(&ours.master, Writes::of(pace.keys), || {
        for (long, away) in turns(pace, times) {
            ours.kill()?;
            wait(away);
            let mut ear = ours.ear()?;
            let began = Instant::now();
            ours.revive()?;
            ours.wait_follows(LIMIT)?;
            let seconds = Span::since(began).seconds();
            ours.wait_whole(LIMIT)?;
            let counts_seconds = Span::since(began).seconds();
            let whole = ear.said("fetched a snapshot")?;
            returns.add(Return { ours: true, long, seconds, counts_seconds, whole })?;
            ours.ear()?.hear("wrote a snapshot", LIMIT)?;
        }
        Ok(())
    })?;
    println!("while members were away {} of Cairn's writes were refused", trace.errors);
    Ok(())
}

/// How long the member is away, each time: the short ones first.
fn turns(pace: Pace, (short, long): (usize, usize)) -> impl Iterator<Item = (bool, Duration)> {
    let shorts = std::iter::repeat_n((false, pace.short.1), short);
    shorts.chain(std::iter::repeat_n((true, pace.long.1), long))
}

impl Returns {
    /// Those of an earlier run, unless it was another one: of another commit, or other sizes, or
    /// one that came to its end.
    fn open(pace: Pace, path: PathBuf) -> Result<Self> {
        let head = json!({
            "commit": commit(), "keys": pace.keys, "short": pace.short.0, "long": pace.long.0,
        });
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut all = Vec::new();
        let mut lines = text.lines();
        if lines.next().and_then(|line| serde_json::from_str::<Value>(line).ok())
            == Some(head.clone())
        {
            // A line that is no whole one was being written when that run ended.
            all = lines.map_while(Return::of).collect();
        }
        let sides = [(true, false), (true, true), (false, false), (false, true)];
        let asked: usize = sides.map(|(ours, long)| times(pace, ours, long)).iter().sum();
        if all.len() >= asked {
            all.clear();
        }
        let mut kept = format!("{head}\n");
        all.iter().for_each(|one| kept += &format!("{}\n", one.json()));
        std::fs::write(&path, kept).with_context(|| format!("cannot write {path:?}"))?;
        if !all.is_empty() {
            println!("going on after {} returns in {}", all.len(), path.display());
        }
        Ok(Self { path, all })
    }

    fn add(&mut self, one: Return) -> Result<()> {
        let file = OpenOptions::new().append(true).open(&self.path);
        let mut file = file.with_context(|| format!("cannot open {:?}", self.path))?;
        writeln!(file, "{}", one.json())
            .with_context(|| format!("cannot write {:?}", self.path))?;
        self.all.push(one);
        Ok(())
    }

    fn of(&self, ours: bool, long: bool) -> Vec<Return> {
        self.all.iter().filter(|one| one.ours == ours && one.long == long).copied().collect()
    }

    fn words(&self) -> String {
        let of = |name: &str, ours: bool| {
            let words = |long: bool| {
                let found = self.of(ours, long);
                let copies = found.iter().filter(|one| one.whole).count();
                let seconds = found.iter().map(|one| one.seconds);
                let most = seconds.clone().fold(0.0, f64::max);
                let middle = median(seconds.collect());
                format!("{} in {middle:.2} s, at most {most:.2} s, {copies} whole", found.len())
            };
            format!("{name} {} shortly, {} for long", words(false), words(true))
        };
        format!("{}; {}", of("Valkey", false), of("Cairn", true))
    }

    fn part(&self, pace: Pace) -> Part {
        let mut part = Part::new("f2", &["f2_short", "f2"]);
        for (key, long) in [("f2_short", false), ("f2", true)] {
            // The peer's few stand beside all of ours, one after the other.
            for (peer, ours) in self.of(false, long).iter().cycle().zip(self.of(true, long)) {
                part.add(key, peer.seconds, ours.seconds);
            }
        }
        let mine = self.all.iter().filter(|one| one.ours);
        part.whole_copies = mine.filter(|one| one.whole).count();
        let counts = |long| {
            let counted = self.of(true, long).into_iter().map(|one| one.counts_seconds);
            format!("{:.2} s", median(counted.collect()))
        };
        let text = format!(
            "F2: the member is killed, misses {:?} of writes, or {:?}, and is started again; \
             Valkey's is there when its link is up, ours when it has applied what its master had \
             half a second before; logs are bounded as by default (4 GiB, whose last quarter \
             always stays), and it has written a snapshot since it came back before, of which one \
             is due every {:?}. {}. Ours counts again for acknowledgements when it has kept up for \
             a while: {} and {} after its start (medians). While a member of a group of two is \
             gone, the other refuses writes until it knows that it is alone.",
            pace.short.1,
            pace.long.1,
            INTERVAL,
            self.words(),
            counts(false),
            counts(true)
        );
        part.notes = paragraph(&text);
        part
    }
}

impl Return {
    fn json(&self) -> Value {
        json!({
            "ours": self.ours, "long": self.long, "seconds": self.seconds,
            "countsSeconds": self.counts_seconds, "whole": self.whole,
        })
    }

    fn of(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        Some(Self {
            ours: value["ours"].as_bool()?,
            long: value["long"].as_bool()?,
            seconds: value["seconds"].as_f64()?,
            counts_seconds: value["countsSeconds"].as_f64()?,
            whole: value["whole"].as_bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_after_what_was_kept_whole() {
        let seconds = Duration::from_secs;
        let (short, long) = ((2, seconds(1)), (1, seconds(4)));
        let pace = Pace { keys: 7, short, long, ..Pace::new(true, None) };
        let one =
            Return { ours: true, long: false, seconds: 1.5, counts_seconds: 4.0, whole: true };
        let folder = crate::product::target_folder().join("tests");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("f2-{}.jsonl", std::process::id()));
        let open = |pace| Returns::open(pace, path.clone()).unwrap();
        let mut returns = open(pace);
        returns.add(one).unwrap();
        let whole = std::fs::read_to_string(&returns.path).unwrap();
        std::fs::write(&returns.path, format!("{whole}{{\"ours\": tr")).unwrap();
        let mut again = open(pace);
        assert_eq!(again.all, [one]);
        assert_eq!((again.of(true, false).len(), again.of(true, true).len()), (1, 0));
        assert!(open(Pace { keys: 8, ..pace }).all.is_empty(), "another run");
        again = open(pace);
        for ours in [true, false] {
            (0..2).for_each(|_| again.add(Return { ours, ..one }).unwrap());
            again.add(Return { ours, long: true, ..one }).unwrap();
        }
        let part = again.part(pace);
        assert_eq!((part.rows[0].pairs.len(), part.rows[1].pairs.len()), (2, 1));
        assert_eq!(part.whole_copies, 3);
        assert!(open(pace).all.is_empty(), "it was at its end");
        std::fs::remove_file(&returns.path).unwrap();
    }
}
