//! The page: rows of both sides, what each kind of request took, what the processes held.

use anyhow::{Context, Result};

use super::Pace;
use super::found::{Found, Spread, Turn};
use super::mix::KINDS;
use crate::bench::picture::{Line, OURS, PEER, Panel, Scale, picture};
use crate::bench::report::{Row, figure, grid, paragraph, results};
use crate::run::{command, read};

/// What is compared turn by turn: key, what it is, and its figure.
type Each = (&'static str, &'static str, fn(&Turn) -> f64);
const EACH_TURN: [Each; 6] = [
    ("p50", "half of all requests within: ms", |turn| turn.times.p50_ms),
    ("p99", "p99: ms", |turn| turn.times.p99_ms),
    ("p999", "p99.9: ms", |turn| turn.times.p999_ms),
    ("max", "longest request: ms", |turn| turn.times.max_ms),
    ("busy", "longest the data thread did one thing, by itself: ms", |turn| turn.busy_ms.max(1.0)),
    ("cpu", "master: us of processor per request", |turn| turn.cpu_us),
];

/// The rows of both sides; the peer's first.
pub fn rows(theirs: &Found, ours: &Found) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |key, what, pairs| rows.push(Row { pairs, ..Row::new(key, what, false) });
    for (key, what, figure) in EACH_TURN {
        let turns = theirs.turns.iter().zip(&ours.turns);
        add(key, what, turns.map(|(peer, ours)| (figure(peer), figure(ours))).collect());
    }
    let (peer, mine) = (theirs.growth(), ours.growth());
    add("master_growth", "memory of the master: end by start", vec![(peer[0], mine[0])]);
    add("replica_growth", "memory of the replica: end by start", vec![(peer[1], mine[1])]);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let end = (mib(theirs.end.master), mib(ours.end.master));
    add("master_mib", "memory of the master at the end: MiB", vec![end]);
    rows
}

/// What is below the rows.
///
/// # Errors
/// If Valkey does not say its version.
pub fn notes(pace: Pace, sides: &[(&str, &Found)]) -> Result<String> {
    let version = read(&mut command("valkey-server", ["--version"]))?;
    let how = format!(
        "{} minutes of churn for each side, by turns of {:?}: {} clients, {} requests a second in \
         all, which are due by the clock whatever was answered; a time is that from when a request \
         was due to its last answer. {} small keys with values of 16 to 1,024 B and 20 large ones \
         (hashes, sorted sets and lists of 100,000 parts of 16 to 64 B, strings of 8 MiB, streams \
         of 20,000 entries). Every {:?} a large key is deleted and made again; every {:?} {} keys \
         end within one second. What ends is gone from memory before the start and the end are \
         measured, and the same keys are there at both. Cairn: a group of a master and a replica \
         with the defaults of a keyspace, so a write is answered when both have it, and is written \
         to a log. Valkey: a master and a replica that follows when it can, without files. Peer: \
         {}.",
        pace.minutes,
        pace.turn,
        pace.clients,
        pace.rate,
        pace.keys,
        pace.remake,
        pace.storms.period,
        pace.storms.keys,
        version.trim()
    );
    let mut text = paragraph(&how);
    for (name, found) in sides {
        text += "\n\n";
        text += &paragraph(&side(name, found));
    }
    text += "\n\n";
    text += &kinds(sides);
    text += "\n";
    text += &memory(sides);
    if !pace.quick {
        text += "\nOver time: [memory](churn/memory.svg), [longest request of each second]\
                 (churn/longest.svg).";
    }
    Ok(text)
}

/// What one side showed, in words.
pub fn side(name: &str, found: &Found) -> String {
    let (busy_ms, busy_with) = found.busy();
    let requests = found.all.count;
    let long: u64 = found.turns.iter().map(|turn| turn.long_turns).sum();
    let least = found.turns.iter().map(|turn| turn.least).min().unwrap_or(0);
    let errors = match found.errors.is_empty() {
        true => "no errors".to_owned(),
        false => {
            let each = found.errors.iter().map(|(text, times)| format!("{times} times `{text}`"));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "{name} (at {}): {requests} requests, of each client at least {least} in each turn; p99.9 \
         {:.2} ms, longest {:.1} ms; the longest its data thread did one thing was {busy_ms} ms \
         ({busy_with}), turns over 20 ms: {long}; {} clients refused or closed by limits, {} \
         requests without an answer, {errors}. {} keys ended in storms, {} large keys were deleted \
         and made again, the longest deletion took {:.1} ms. Keys at the end: {} and {} of {}.",
        found.commit,
        found.all.p999_ms,
        found.all.max_ms,
        found.refused,
        found.unanswered,
        found.ended,
        found.remade,
        found.delete_ms,
        found.keys_end[0],
        found.keys_end[1],
        found.keys
    )
}

fn kinds(sides: &[(&str, &Found)]) -> String {
    let mut head = vec!["request".to_owned(), "of 100,000".to_owned()];
    for (name, _) in sides {
        head.extend(["p50", "p99.9", "longest"].map(|what| format!("{name} {what}, ms")));
    }
    let mut cells = vec![head];
    for (at, (what, share)) in KINDS.iter().enumerate() {
        let mut row = vec![(*what).to_owned(), share.to_string()];
        for (_, found) in sides {
            let Spread { p50_ms, p999_ms, max_ms, .. } =
                found.kinds.get(at).copied().unwrap_or_default();
            row.extend([p50_ms, p999_ms, max_ms].map(figure));
        }
        cells.push(row);
    }
    grid(&cells)
}

fn memory(sides: &[(&str, &Found)]) -> String {
    let head = ["memory, MiB", "start", "most", "end", "end by start"].map(str::to_owned);
    let mut cells = vec![head.to_vec()];
    for (name, found) in sides {
        let growth = found.growth();
        for (role, pick, growth) in [
            ("master", (|memory| memory.master) as fn(&super::side::Memory) -> u64, growth[0]),
            ("replica", |memory| memory.replica, growth[1]),
        ] {
            let most = found.turns.iter().map(|turn| pick(&turn.memory)).max().unwrap_or(0);
            let [start, most, end] =
                [pick(&found.start), most, pick(&found.end)].map(|bytes| (bytes >> 20).to_string());
            let growth = format!("{growth:.2}");
            cells.push(vec![format!("{name}, {role}"), start, most, end, growth]);
        }
    }
    grid(&cells)
}

/// Draws both pictures beside the figures.
///
/// # Errors
/// If they cannot be written.
pub fn draw(pace: Pace, sides: &[(&str, &Found)]) -> Result<()> {
    let colors = [(OURS, "#6af"), (PEER, "#f99")];
    let turn = pace.turn.as_secs_f64();
    let (mut held, mut longest) = (Vec::new(), Vec::new());
    for ((name, found), (dark, light)) in sides.iter().zip(colors) {
        let over = |pick: fn(&super::side::Memory) -> u64| {
            let each = found.turns.iter().map(|turn| turn.memory);
            let all = std::iter::once(found.start).chain(each).chain([found.end]);
            let mib = |memory| pick(&memory) as f64 / f64::from(1 << 20);
            all.enumerate().map(|(at, memory)| (at as f64 * turn, mib(memory))).collect()
        };
        let names = match *name {
            "Cairn" => ["Cairn, master", "Cairn, replica", "Cairn"],
            _ => ["Valkey, master", "Valkey, replica", "Valkey"],
        };
        held.push(Line::new(names[0], dark, over(|memory| memory.master)));
        held.push(Line::new(names[1], light, over(|memory| memory.replica)));
        let seconds = found.turns.iter().flat_map(|turn| &turn.worst_ms).enumerate();
        let points = seconds.map(|(at, ms)| (at as f64, *ms)).collect();
        longest.push(Line::new(names[2], dark, points));
    }
    let folder = results("churn", pace.quick)?;
    for (file, picture) in [
        ("memory.svg", chart("resident memory, MiB", Scale::Linear, held)),
        ("longest.svg", chart("longest request of each second, ms", Scale::Decades, longest)),
    ] {
        let path = folder.join(file);
        std::fs::write(&path, picture).with_context(|| format!("cannot write {path:?}"))?;
        println!("drawn: {}", path.display());
    }
    Ok(())
}

/// All lines in one picture.
fn chart(title: &str, scale: Scale, lines: Vec<Line>) -> String {
    let ends = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let span = (0.0, ends.fold(0.0, f64::max));
    picture("a thousand busy clients", span, &[Panel::new(title, scale, lines)], &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::table;

    #[test]
    fn a_picture_has_all_lines_and_only_numbers() {
        let line = |name, points| Line::new(name, OURS, points);
        let lines = [line("one", vec![(0.0, 0.0), (1.0, 50.0)]), line("two", vec![(2.0, 1e9)])];
        for scale in [Scale::Linear, Scale::Decades] {
            let text = chart("a title", scale, lines.to_vec());
            assert!(text.starts_with("<svg") && text.contains("a title"));
            assert!(text.contains(">one</text>") && text.contains(">two</text>"));
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
        assert!(chart("nothing", Scale::Linear, Vec::new()).contains("nothing"));
    }

    #[test]
    fn the_page_says_what_each_side_showed() {
        let turn = |ms| {
            let times = Spread { p50_ms: ms, p99_ms: ms, p999_ms: ms, max_ms: ms, count: 9 };
            Turn { times, cpu_us: ms, ..Turn::default() }
        };
        let found = |ms| Found {
            turns: vec![turn(ms), turn(2.0 * ms)],
            errors: [("OOM no room".to_owned(), 3)].into(),
            ..Found::default()
        };
        let (theirs, ours) = (found(4.0), found(2.0));
        let rows = rows(&theirs, &ours);
        assert!(rows.iter().take(4).all(|row| (row.ratio() - 0.5).abs() < 1e-9), "{rows:?}");
        assert!(table("Valkey", &rows).contains("p99.9: ms"));
        let sides = [("Cairn", &ours), ("Valkey", &theirs)];
        assert!(side("Cairn", &ours).contains("3 times `OOM no room`"));
        assert!(kinds(&sides).contains("| script of 2,000 commands "));
        assert_eq!(memory(&sides).lines().count(), 6);
    }
}
