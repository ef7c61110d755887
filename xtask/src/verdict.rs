//! Verdict lines, and the bars that they are held against.
//!
//! A bar is a line `key_min = number` or `key_max = number` in the section of the verdict's name
//! in `xtask/bars.toml`. A bar is only ever made harder to pass.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a command found, in the order of its keys, ready to be judged.
#[derive(Debug)]
pub struct Verdict {
    name: String,
    figures: Vec<(String, f64)>,
}

impl Verdict {
    /// A verdict without figures yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), figures: Vec::new() }
    }

    /// Adds a whole number.
    pub fn count(mut self, key: &str, value: usize) -> Self {
        // Counts here are far below 2^53, where this would begin to round.
        self.figures.push((key.to_owned(), value as f64));
        self
    }

    /// Adds any number.
    pub fn figure(mut self, key: &str, value: f64) -> Self {
        self.figures.push((key.to_owned(), value));
        self
    }

    /// Prints each bar that does not hold and, last, the verdict; whether all bars hold.
    ///
    /// # Errors
    /// If there are no bars for this verdict, or one names a figure that it does not have.
    pub fn judge(&self) -> Result<bool> {
        let broken = self.broken(&Bars::load(&crate::root().join("xtask/bars.toml"))?)?;
        broken.iter().for_each(|line| println!("{line}"));
        println!("{self}");
        Ok(broken.is_empty())
    }

    fn broken(&self, bars: &Bars) -> Result<Vec<String>> {
        let section = bars.0.get(&self.name);
        let section = section.with_context(|| format!("xtask/bars.toml has no [{}]", self.name))?;
        let mut broken = Vec::new();
        for (bar, limit) in section {
            let (key, least) = match (bar.strip_suffix("_min"), bar.strip_suffix("_max")) {
                (Some(key), _) => (key, true),
                (_, Some(key)) => (key, false),
                _ => bail!("bar {bar:?} of [{}] ends neither with _min nor _max", self.name),
            };
            let figure = self.figures.iter().find(|(name, _)| name == key);
            let Some((_, value)) = figure else {
                bail!("bar {bar:?} of [{}] is about a figure that was not taken", self.name);
            };
            // Written so that a figure that is no number breaks its bar.
            let holds = if least { *value >= *limit } else { *value <= *limit };
            if !holds {
                let word = if least { "at least" } else { "at most" };
                broken.push(format!("bar broken: {key}={} must be {word} {limit}", show(*value)));
            }
        }
        Ok(broken)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        self.figures.iter().try_for_each(|(key, value)| write!(f, " {key}={}", show(*value)))
    }
}

fn show(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The bars of every verdict.
#[derive(Debug, Default)]
struct Bars(BTreeMap<String, Vec<(String, f64)>>);

impl Bars {
    fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))?;
        Self::parse(&text)
    }

    /// Reads `[section]`, `key = number` and comments, which is all that bars need of TOML.
    fn parse(text: &str) -> Result<Self> {
        let mut bars = Self::default();
        let mut section = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = Some(bars.0.entry(name.trim_matches('"').to_owned()).or_default());
                continue;
            }
            let bar = line.split_once('=').and_then(|(key, value)| {
                Some((key.trim().to_owned(), value.trim().replace('_', "").parse().ok()?))
            });
            match (section.as_mut(), bar) {
                (Some(section), Some(bar)) => section.push(bar),
                _ => bail!("bars.toml:{}: neither a [section] nor key = number", at + 1),
            }
        }
        Ok(bars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(bars: &str) -> Result<Vec<String>> {
        let verdict = Verdict::new("demo").count("lost", 2).figure("ratio", 1.5);
        verdict.broken(&Bars::parse(bars)?)
    }

    #[test]
    fn bars_hold_or_break() {
        assert_eq!(broken("[demo] # x\nlost_max = 2\nratio_min = 1.5\n").unwrap(), [""; 0]);
        let lines = broken("[demo]\nlost_max = 0\nratio_min = 1_000\n").unwrap();
        assert_eq!(lines[0], "bar broken: lost=2 must be at most 0");
        assert_eq!(lines[1], "bar broken: ratio=1.50 must be at least 1000");
    }

    #[test]
    fn a_bar_about_nothing_is_an_error() {
        assert!(broken("[demo]\nspeed_min = 1\n").is_err());
        assert!(broken("[demo]\nlost = 1\n").is_err());
        assert!(broken("[other]\nlost_max = 1\n").is_err());
        assert!(broken("lost_max = 1\n").is_err());
    }

    #[test]
    fn a_figure_that_is_no_number_breaks_its_bar() {
        let verdict = Verdict::new("demo").figure("ratio", f64::NAN);
        let bars = Bars::parse("[demo]\nratio_min = 1\n").unwrap();
        assert_eq!(verdict.broken(&bars).unwrap().len(), 1);
    }

    #[test]
    fn a_verdict_is_one_line() {
        let verdict = Verdict::new("demo").count("acked", 7).figure("ratio", 2.0 / 3.0);
        assert_eq!(verdict.to_string(), "demo: acked=7 ratio=0.67");
    }

    #[test]
    fn the_file_can_be_read() {
        let bars = Bars::load(&crate::root().join("xtask/bars.toml")).unwrap();
        assert!(!bars.0.is_empty());
    }
}
