//! Snapshots and copies: what they cost those who write meanwhile (S1, F1, G6), how fast they are
//! written and loaded (S2, S3, G7), and how soon who was away is there again (F1, F2), against
//! Valkey and etcd.
//!
//! Each part is kept beside the page when it is done, with the commit that it is of: so a long run
//! may be made in pieces, and the page says what is of older programs.

mod big;
mod figure;
pub(super) mod machine;
mod ours;
mod peer;
mod plane;
mod plot;
mod returns;
mod rows;
mod snapshots;
mod trace;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::report::{median, paragraph, publish, results, table};
use super::scratch;
use crate::product;
use crate::run::{command, read};
use big::Big;
pub(super) use ours::Ear;
use rows::Part;
use trace::VALUE_BYTES;

/// All parts, in the order they run.
const PARTS: [&str; 6] = ["s", "f1", "f2", "big-hash", "big-slot", "g"];
/// Rows whose own figures say something, whatever the peer's are.
const BY_THEMSELVES: [&str; 11] = [
    "s1_stall",
    "s1_worse",
    "s1_memory",
    "f1_stall",
    "f2_short",
    "f2",
    "f2_full_load",
    "g6_added",
    "g7",
    "g7_gb",
    "g7_whole",
];
/// For a snapshot, a copy, a start.
const LIMIT: Duration = Duration::from_secs(900);

/// How often and how much.
#[derive(Debug, Clone, Copy)]
struct Pace {
    quick: bool,
    keys: u64,
    pairs: usize,
    /// Between two snapshots of a group.
    interval: Duration,
    /// The quiet time before a snapshot, about as long as one: what the machine does now and then
    /// is to fall into both. Ours of a group is the time between two snapshots.
    quiet: Duration,
    /// How often a member is killed for a short while, how long that is, and how often for a long
    /// one.
    short: (usize, Duration),
    /// How often the peer's is for a short while, for it makes a whole copy each time, and how
    /// often ours and the peer's under full load.
    few: usize,
    long: (usize, Duration),
    /// Keys of the directory.
    directory_keys: u64,
    /// The load after a snapshot whose log is replayed at a cold start.
    tail: Duration,
}

impl Pace {
    fn new(quick: bool, keys: Option<u64>) -> Self {
        let seconds = Duration::from_secs;
        let pace = match quick {
            true => Self {
                quick,
                keys: 500_000,
                pairs: 1,
                interval: seconds(6),
                quiet: seconds(3),
                short: (5, seconds(1)),
                few: 1,
                long: (1, seconds(4)),
                directory_keys: 200_000,
                tail: seconds(3),
            },
            false => Self {
                quick,
                keys: 5_000_000,
                pairs: 5,
                interval: seconds(20),
                quiet: seconds(40),
                short: (100, seconds(1)),
                few: 10,
                long: (5, seconds(60)),
                directory_keys: 10_000_000,
                tail: seconds(30),
            },
        };
        let wanted = keys.unwrap_or(pace.keys);
        let directory_keys = pace.directory_keys * wanted / pace.keys;
        Self { keys: wanted, directory_keys: directory_keys.max(10_000), ..pace }
    }

    /// What the keyspace says of its log: few writes of a quick run must do to give up its front.
    fn log(self) -> &'static str {
        if self.quick { "{bytesKept: 8Mi, bytesMax: 1Gi}" } else { "{bytesKept: 64Mi}" }
    }
}

/// Measures all parts that are not kept from an earlier run of these programs, or `only` one;
/// whether the bars hold.
///
/// # Errors
/// If something does not start, there is too little memory or disk, or there is no such part.
pub fn run(quick: bool, keys: Option<u64>, only: Option<&str>) -> Result<bool> {
    let pace = Pace::new(quick, keys);
    let known = only.is_none_or(|only| PARTS.contains(&only.to_ascii_lowercase().as_str()));
    ensure!(known, "the parts are {}", PARTS.join(", "));
    let programs = product::build_for_bench()?;
    let mut parts = Vec::new();
    for name in PARTS {
        let wanted = only.is_none_or(|only| only.eq_ignore_ascii_case(name));
        // What a person asks for by name is measured again; a quick run is short enough.
        let again =
            |part: &Part| quick || only.is_some() || !part.is_current() || !part.is_whole(pace);
        let kept = Part::kept(name, pace).filter(|part| !wanted || !again(part));
        match kept {
            Some(part) => {
                println!("{name} was measured before");
                parts.push(part);
            }
            None if wanted => {
                let part = measure(name, pace, &programs)?;
                part.store(pace)?;
                println!("\n{}\n{}\n", table(part.peer(), &part.rows), part.notes);
                parts.push(part);
            }
            None => {}
        }
    }
    let notes = notes(pace, &parts)?;
    let missing = PARTS.len() - parts.len();
    let copies = parts.iter().map(|part| part.whole_copies).sum();
    let rows: Vec<_> = parts.into_iter().flat_map(|part| part.rows).collect();
    let mut verdict = publish("checkpoint", "peer", &notes, quick, &rows)?;
    for row in rows.iter().filter(|row| BY_THEMSELVES.contains(&row.key)) {
        verdict = verdict.figure(row.key, median(row.pairs.iter().map(|pair| pair.1).collect()));
    }
    if missing > 0 {
        println!("{missing} parts are not measured yet; all are {}", PARTS.join(", "));
        return Ok(true);
    }
    verdict.count("f2_whole_copies", copies).judge()
}

/// Of which programs each part is.
fn commits(parts: &[Part]) -> String {
    let of = |name: &&str| {
        let found = parts.iter().find(|part| part.name == *name);
        let commit = found.map_or("not measured yet", |part| part.commit.as_str());
        format!("{name}: {commit}")
    };
    let each: Vec<String> = PARTS.iter().map(of).collect();
    format!("Commits that were measured, by part: {}.", each.join(", "))
}

fn measure(name: &str, pace: Pace, programs: &Path) -> Result<Part> {
    let folder = scratch()?;
    // Two processes a side, and a copy of what a child of the peer's finds written to.
    machine::need(&folder, pace.keys * 1000 + (1 << 30), pace.keys * 1200 + (4 << 30))?;
    match name {
        "s" => snapshots::snapshots(pace, programs, &folder),
        "f1" => snapshots::copies(pace, programs, &folder),
        "f2" => returns::returns(pace, programs, &folder),
        "big-hash" => big::run(Big::Hash, pace, programs, &folder),
        "big-slot" => big::run(Big::Slot, pace, programs, &folder),
        _ => plane::run(pace, programs, &folder),
    }
}

/// Puts a picture beside the page; that of a quick run below `target/`.
fn drawn(pace: Pace, key: &str, picture: &str) -> Result<()> {
    let folder = match pace.quick {
        true => results("checkpoint", true)?,
        false => crate::root().join("docs/bench"),
    };
    let path = folder.join(format!("checkpoint-{key}.svg"));
    std::fs::write(&path, picture).with_context(|| format!("cannot write {path:?}"))?;
    println!("drawn: {}", path.display());
    Ok(())
}

fn notes(pace: Pace, parts: &[Part]) -> Result<String> {
    let version = read(&mut command("valkey-server", ["--version"]))?;
    let groups = format!(
        "Groups: {} keys of 16 B with values of {VALUE_BYTES} B. Meanwhile 50 connections write \
         random ones of them, each as fast as it is answered; a stall is the longest time from a \
         write to its answer. Valkey: the master itself writes the snapshot (`BGSAVE`), with a \
         backlog of 64 MiB in memory. Cairn: the replica of a group of two writes it, every {:?}, \
         reads it back and only then says so; writes are answered without waiting for it (`ack: \
         async`).",
        pace.keys, pace.interval
    );
    let peers = "The peer is etcd in the rows G6 and G7, in all others Valkey";
    let commits = paragraph(&commits(parts));
    let groups = paragraph(&groups);
    let mut text = format!("{peers}: {}.\n\n{commits}\n\n{groups}", version.trim());
    for part in parts.iter().filter(|part| !part.notes.is_empty()) {
        text += "\n\n";
        text += &part.notes;
    }
    Ok(text)
}
