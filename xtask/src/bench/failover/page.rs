//! The page of all failover measurements: one section each, replaced when it is measured again.

use std::path::Path;

use anyhow::{Context, Result};
use cairn_harness::pauses::Spread;

use crate::bench::report::{grid, machine};
use crate::run::{command, read};

/// What stands above all sections.
const HEAD: &str = "# Bench: failover\n\n\
    What clients see when masters die, hand over, stall, or lose the global plane. Each section \
    says when, on what\nand by which command it was measured; running that command replaces the \
    section alone.\n";

/// Said of figures that others worked beside.
const BUSY: &str = ": **a busy machine**, whose times are longer than a quiet one's";

/// The figures of one target and what they mean.
#[derive(Debug)]
pub struct Section {
    /// The target, as in `F3`.
    pub key: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The table, its head first.
    pub grid: Vec<Vec<String>>,
    /// How it was measured.
    pub notes: String,
}

impl Section {
    /// Prints the section and, unless it was `quick`, puts it into docs/bench/failover.md.
    ///
    /// `load` is the machine's load average before it began.
    ///
    /// # Errors
    /// If the page cannot be read or written.
    pub fn publish(&self, quick: bool, load: &str) -> Result<()> {
        let table = grid(&self.grid);
        println!("\n{}: {}\n\n{table}", self.key, self.title);
        if quick {
            println!("(a quick run does not replace its section of docs/bench/failover.md)");
            return Ok(());
        }
        let path = crate::root().join("docs/bench/failover.md");
        let old = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HEAD.to_owned(),
            read => read.with_context(|| format!("cannot read {path:?}"))?,
        };
        let date = read(&mut command("date", ["-u", "+%F %H:%M"]))?;
        let made = format!(
            "Made by `cargo xtask bench failover --only {}` on {} UTC. Load average before: \
             {}{}.\n{}",
            self.key.to_lowercase(),
            date.trim(),
            load,
            if is_busy(load) { BUSY } else { "" },
            machine()
        );
        let text = format!("{}\n{}\n\n{made}\n", table, self.notes);
        let title = format!("{}: {}", self.key, self.title);
        write(&path, &replace(&old, self.key, &title, &text))
    }
}

/// Whether more was runnable than there are processors.
fn is_busy(load: &str) -> bool {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    load.parse::<f64>().is_ok_and(|load| load > processors as f64)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {path:?}"))
}

/// `page` with the section of `key` replaced, or added where its key belongs.
fn replace(page: &str, key: &str, title: &str, text: &str) -> String {
    let (head, rest) = page.split_once("\n## ").map_or((page, None), |(h, r)| (h, Some(r)));
    let key_of = |section: &str| section.split(':').next().unwrap_or_default().to_owned();
    let mut sections: Vec<String> = rest
        .into_iter()
        .flat_map(|rest| rest.split("\n## "))
        .filter(|section| key_of(section) != key)
        .map(|section| section.trim_end().to_owned())
        .collect();
    sections.push(format!("{title}\n\n{}", text.trim_end()));
    sections.sort_by_key(|section| key_of(section));
    let mut all = vec![head.trim_end().to_owned()];
    all.extend(sections);
    all.join("\n\n## ") + "\n"
}

/// A time in microseconds as milliseconds with one digit.
pub fn ms(us: u64) -> f64 {
    (us as f64 / 100.0).round() / 10.0
}

/// A spread as four cells: how many, p50, p99 and the longest.
pub fn spread_cells(spread: &Spread) -> [String; 4] {
    if spread.count == 0 {
        return ["0", "-", "-", "-"].map(str::to_owned);
    }
    let cell = |us: u64| match us {
        1_000_000.. => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{:.1} ms", ms(us)),
    };
    let (p50, p99, max) = (cell(spread.p50_us), cell(spread.p99_us), cell(spread.max_us));
    [spread.count.to_string(), p50, p99, max]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let first = replace(HEAD, "F4", "F4: b", "old\n");
        let both = replace(&first, "F3", "F3: a", "one\n\ntwo\n");
        let again = replace(&both, "F4", "F4: b", "new\n");
        let head = HEAD.trim_end();
        assert_eq!(again, format!("{head}\n\n## F3: a\n\none\n\ntwo\n\n## F4: b\n\nnew\n"));
        assert_eq!(replace(&again, "F4", "F4: b", "new"), again);
    }

    #[test]
    fn a_machine_with_more_to_do_than_processors_is_busy() {
        assert!(is_busy("100000.5") && !is_busy("0.00") && !is_busy(""));
    }

    #[test]
    fn times_have_a_unit() {
        let spread = Spread { count: 2, p50_us: 12_340, p99_us: 999_900, max_us: 20_500_000 };
        assert_eq!(spread_cells(&spread), ["2", "12.3 ms", "999.9 ms", "20.50 s"]);
        assert_eq!(spread_cells(&Spread::default())[1], "-");
    }
}
