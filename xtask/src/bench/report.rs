//! Pairs of figures, what they come to, and the page that keeps them.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::run::{command, read};
use crate::verdict::Verdict;

/// One thing measured on both sides, several times by turns.
#[derive(Debug)]
pub struct Row {
    /// The key of its bar.
    pub key: &'static str,
    /// What is measured, with its unit.
    pub what: &'static str,
    /// Whether more is better; otherwise less is.
    pub more_is_better: bool,
    /// The peer's figure and ours, of one turn each.
    pub pairs: Vec<(f64, f64)>,
}

impl Row {
    /// A row without figures yet.
    pub fn new(key: &'static str, what: &'static str, more_is_better: bool) -> Self {
        Self { key, what, more_is_better, pairs: Vec::new() }
    }

    /// The median of the ratios of ours to the peer's.
    pub fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(|(peer, ours)| ours / peer).collect())
    }

    /// The ratio of the pair that looks worst for ours.
    pub fn worst(&self) -> f64 {
        let ratios = self.pairs.iter().map(|(peer, ours)| ours / peer);
        let pick = if self.more_is_better { f64::min } else { f64::max };
        ratios.reduce(pick).unwrap_or(f64::NAN)
    }

    fn cells(&self) -> [String; 5] {
        let side =
            |pick: fn(&(f64, f64)) -> f64| figure(median(self.pairs.iter().map(pick).collect()));
        [
            self.what.to_owned(),
            side(|pair| pair.0),
            side(|pair| pair.1),
            format!("{:.2}", self.ratio()),
            format!("{:.2}", self.worst()),
        ]
    }
}

/// A figure with as many digits as mean something.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

/// The middle value, or that of the two in the middle; no number if there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// The rows as a table that reads well as text and as Markdown.
pub fn table(peer: &str, rows: &[Row]) -> String {
    let head = ["what", peer, "Cairn", "ratio, median", "worst pair"].map(str::to_owned);
    let cells: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.iter().map(Row::cells)).map(Vec::from).collect();
    grid(&cells)
}

/// A head and rows of as many cells as a table that reads well as text and as Markdown.
pub fn grid(cells: &[Vec<String>]) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |at: usize| cells.iter().filter_map(|row| row.get(at)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", padded.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rules.join(" | "));
        }
    }
    text
}

/// Prints the table, writes the page `docs/bench/<name>.md`, and judges the ratios.
///
/// # Errors
/// If the page cannot be written, or bars and figures do not fit together.
pub fn finish(name: &str, peer: &str, notes: &str, quick: bool, rows: &[Row]) -> Result<bool> {
    publish(name, peer, notes, quick, rows)?.judge()
}

/// Prints the table and writes the page; the ratios, to be judged.
///
/// # Errors
/// If the page cannot be written.
pub fn publish(name: &str, peer: &str, notes: &str, quick: bool, rows: &[Row]) -> Result<Verdict> {
    let table = table(peer, rows);
    println!("\n{table}");
    let pairs = rows.iter().map(|row| row.pairs.len()).max().unwrap_or(0);
    let line = format!("cargo xtask bench {name}{}", if quick { " --quick" } else { "" });
    let date = read(&mut crate::run::command("date", ["-u", "+%F"]))?;
    let page = format!(
        "# Bench: {name}\n\nMade by `{line}` on {}; {pairs} pairs, peer and ours by turns. \
         Ratios are ours divided\nby the peer's.\n\n{table}\n{notes}\n\n{}\n",
        date.trim(),
        machine()
    );
    if quick {
        println!("(a quick run does not replace docs/bench/{name}.md)");
    } else {
        let path = crate::root().join(format!("docs/bench/{name}.md"));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        }
        std::fs::write(&path, page).with_context(|| format!("cannot write {path:?}"))?;
    }
    let verdict = Verdict::new(&format!("bench-{name}")).count("pairs", pairs);
    let with_ratio = |verdict: Verdict, row: &Row| {
        verdict.figure(&format!("{}_ratio", row.key), (row.ratio() * 100.0).round() / 100.0)
    };
    Ok(rows.iter().fold(verdict, with_ratio))
}

/// The commit that is measured: the last one that changed the programs or this bench.
pub fn commit() -> String {
    let mut git = command("git", ["log", "-1", "--format=%h", "--", ":/Cargo.lock"]);
    git.args([":/crates", ":/node", ":/cli", ":/xtask/src/bench"]);
    read(&mut git).unwrap_or_default().trim().to_owned()
}

/// Where figures and pictures of a bench are kept: beside its page, those of a quick run below
/// `target/`.
///
/// # Errors
/// If the folder cannot be made.
pub fn results(bench: &str, quick: bool) -> Result<PathBuf> {
    made(match quick {
        true => crate::product::target_folder().join(format!("bench/{bench}-quick")),
        false => crate::root().join("docs/bench").join(bench),
    })
}

/// This folder, which is made if it is not there.
///
/// # Errors
/// If it cannot be made.
pub fn made(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
    Ok(folder)
}

/// A paragraph in lines of at most 100 columns.
pub fn paragraph(text: &str) -> String {
    const COLUMNS: usize = 100;
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
            lines += &line;
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line
}

/// What the figures were taken on.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split(": ").nth(1)).unwrap_or("processor unknown");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let git = read(&mut command("git", ["rev-parse", "--short", "HEAD"])).unwrap_or_default();
    format!(
        "Machine: {count} processors, {model}; Linux {}, {}; Cairn at {}.",
        kernel.trim(),
        super::scheduling::how(),
        git.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_pair_is_the_worst_for_us() {
        let pairs = vec![(10.0, 20.0), (10.0, 5.0), (10.0, 15.0)];
        let mut row = Row { pairs, ..Row::new("a", "a", true) };
        assert!((row.ratio() - 1.5).abs() < 1e-9 && (row.worst() - 0.5).abs() < 1e-9);
        row.more_is_better = false;
        assert!((row.worst() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_row_without_pairs_has_no_ratio() {
        assert!(Row::new("a", "a", true).ratio().is_nan());
    }

    #[test]
    fn a_paragraph_keeps_its_words_in_short_lines() {
        let text = "word ".repeat(60) + &"w".repeat(120) + "\nend";
        let lines = paragraph(&text);
        assert!(lines.lines().all(|line| line.len() <= 100 || !line.contains(' ')), "{lines}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&lines), words(&text));
    }
}
