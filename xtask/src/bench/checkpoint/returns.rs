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
use super::rows::{Part, folder};
use super::trace::{Span, VALUE_BYTES, Writes, under_load};
use super::{LIMIT, Pace};
use crate::bench::report::median;
use crate::bench::report::{commit, paragraph};

/// Between two snapshots of ours by itself: never in such a run, for one is asked for after each
/// return, so that no return has more to apply than the one before, nor a copy of a snapshot
/// beside it.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Writes per second while members come and go, but for [`Away::FullLoad`]: what is missed in a
/// minute can be caught up with in a moment, and the machine is not used up by load and master.
const WRITES: u64 = 20_000;

/// How a member is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Short,
    Long,
    /// Shortly, while there are as many writes as the master answers.
    FullLoad,
}

impl Away {
    const ALL: [Self; 3] = [Self::Short, Self::Long, Self::FullLoad];

    fn key(self) -> &'static str {
        match self {
            Self::Short => "f2_short",
            Self::Long => "f2",
            Self::FullLoad => "f2_full_load",
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|away| away.key() == key)
    }

    fn for_so_long(self, pace: Pace) -> Duration {
        if self == Self::Long { pace.long.1 } else { pace.short.1 }
    }

    /// How often a side's member is.
    fn times(self, pace: Pace, ours: bool) -> usize {
        match (self, ours) {
            (Self::Long, _) => pace.long.0,
            (Self::Short, true) => pace.short.0,
            (Self::Short, false) | (Self::FullLoad, _) => pace.few,
        }
    }

    fn writes(self, pace: Pace) -> Writes {
        let per_second = (self != Self::FullLoad).then_some(WRITES);
        Writes { per_second, ..Writes::of(pace.keys) }
    }
}

/// A member that was away and came back.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Return {
    ours: bool,
    away: Away,
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
            let due = Away::ALL.map(|away| {
                let by_now = away.times(pace, ours) * (round + 1) / pace.pairs;
                (away, by_now.saturating_sub(returns.of(ours, away).len()))
            });
            if due.iter().all(|(_, times)| *times == 0) {
                continue;
            }
            match ours {
                false => their_turn(pace, scratch, due, &mut returns)?,
                true => our_turn(pace, programs, due, &mut returns)?,
            }
        }
        println!("returns round {} of {}: {}", round + 1, pace.pairs, returns.words());
    }
    Ok(returns.part(pace))
}

type Due = [(Away, usize); 3];

fn their_turn(pace: Pace, scratch: &Path, due: Due, returns: &mut Returns) -> Result<()> {
    let mut theirs = Theirs::start(&scratch.join("returns"), LIMIT)?;
    theirs.master().fill(pace.keys, VALUE_BYTES)?;
    theirs.link(LIMIT)?;
    let master = theirs.master().clone();
    for (away, times) in due {
        let ((), trace) = under_load(&master, away.writes(pace), || {
            for _ in 0..times {
                theirs.unlink();
                wait(away.for_so_long(pace));
                let (span, whole) = theirs.link(LIMIT)?;
                let seconds = span.seconds();
                returns.add(Return {
                    ours: false,
                    away,
                    seconds,
                    counts_seconds: seconds,
                    whole,
                })?;
            }
            Ok(())
        })?;
        trace.without_errors()?;
    }
    Ok(())
}

fn our_turn(pace: Pace, programs: &Path, due: Due, returns: &mut Returns) -> Result<()> {
    let ours = Ours::start(programs, Pace { interval: INTERVAL, ..pace }, "{}")?;
    ours.master.fill(pace.keys, VALUE_BYTES)?;
    ours.wait_whole(LIMIT)?;
    ours.snapshot(LIMIT)?;
    for (away, times) in due {
        let ((), trace) = under_load(&ours.master, away.writes(pace), || {
            (0..times).try_for_each(|_| returns.add(come_back(&ours, away, pace)?))
        })?;
        println!("while members were away {} of Cairn's writes were refused", trace.errors);
    }
    Ok(())
}

/// Our member is killed and started again, and writes a snapshot.
fn come_back(ours: &Ours, away: Away, pace: Pace) -> Result<Return> {
    ours.kill()?;
    wait(away.for_so_long(pace));
    let mut ear = ours.ear()?;
    let began = Instant::now();
    ours.revive()?;
    ours.wait_follows(LIMIT)?;
    let seconds = Span::since(began).seconds();
    ours.wait_whole(LIMIT)?;
    let counts_seconds = Span::since(began).seconds();
    let whole = ear.said("fetched a snapshot")?;
    ours.snapshot(LIMIT)?;
    Ok(Return { ours: true, away, seconds, counts_seconds, whole })
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
        let times = |away: Away| away.times(pace, true) + away.times(pace, false);
        let asked: usize = Away::ALL.map(times).iter().sum();
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

    fn of(&self, ours: bool, away: Away) -> Vec<Return> {
        self.all.iter().filter(|one| one.ours == ours && one.away == away).copied().collect()
    }

    fn words(&self) -> String {
        let side = |name: &str, ours: bool| {
            let words = Away::ALL.map(|away| {
                let found = self.of(ours, away);
                let copies = found.iter().filter(|one| one.whole).count();
                let seconds = found.iter().map(|one| one.seconds);
                let most = seconds.clone().fold(0.0, f64::max);
                let (count, middle) = (found.len(), median(seconds.collect()));
                let kind = match away {
                    Away::Short => "shortly",
                    Away::Long => "for long",
                    Away::FullLoad => "shortly under full load",
                };
                format!("{count} {kind} in {middle:.2} s, at most {most:.2} s, {copies} whole")
            });
            format!("{name} {}", words.join(", "))
        };
        format!("{}; {}", side("Valkey", false), side("Cairn", true))
    }

    fn part(&self, pace: Pace) -> Part {
        let mut part = Part::new("f2", &Away::ALL.map(Away::key));
        for away in Away::ALL {
            // The peer's few stand beside all of ours, one after the other.
            let peers = self.of(false, away);
            for (peer, ours) in peers.iter().cycle().zip(self.of(true, away)) {
                part.add(away.key(), peer.seconds, ours.seconds);
            }
        }
        let mine = self.all.iter().filter(|one| one.ours);
        part.whole_copies = mine.filter(|one| one.whole).count();
        let counts = Away::ALL.map(|away| {
            let counted = self.of(true, away).into_iter().map(|one| one.counts_seconds);
            format!("{:.2} s", median(counted.collect()))
        });
        let text = format!(
            "F2: the member is killed, misses {:?} of writes, or {:?}, and is started again, under \
             {WRITES} writes/s, or under as many as the master answers; \
             Valkey's is there when its link is up, ours when it has applied what its master had \
             half a second before; logs are bounded as by default (4 GiB, whose last quarter \
             always stays), and it has written a snapshot since it came back before. {}. Ours \
             counts again for acknowledgements when it has kept up for a while: {} after its start \
             (medians). While a member of a group of two is gone, the other refuses writes until \
             it knows that it is alone.",
            pace.short.1,
            pace.long.1,
            self.words(),
            counts.join(", ")
        );
        part.notes = paragraph(&text);
        part
    }
}

impl Return {
    fn json(&self) -> Value {
        json!({
            "ours": self.ours, "away": self.away.key(), "seconds": self.seconds,
            "countsSeconds": self.counts_seconds, "whole": self.whole,
        })
    }

    fn of(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        Some(Self {
            ours: value["ours"].as_bool()?,
            away: Away::of(value["away"].as_str()?)?,
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
        let pace = Pace { keys: 7, short, long, few: 1, ..Pace::new(true, None) };
        let (ours, away) = (true, Away::Short);
        let one = Return { ours, away, seconds: 1.5, counts_seconds: 4.0, whole: true };
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
        assert_eq!(Away::ALL.map(|away| again.of(true, away).len()), [1, 0, 0]);
        assert!(open(Pace { keys: 8, ..pace }).all.is_empty(), "another run");
        again = open(pace);
        again.add(one).unwrap();
        for ours in [true, false] {
            for away in Away::ALL {
                again.add(Return { ours, away, ..one }).unwrap();
            }
        }
        let part = again.part(pace);
        assert_eq!(part.rows.iter().map(|row| row.pairs.len()).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(part.whole_copies, 4);
        assert!(open(pace).all.is_empty(), "it was at its end");
        std::fs::remove_file(&returns.path).unwrap();
    }
}
