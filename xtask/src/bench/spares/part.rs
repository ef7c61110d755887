//! What the runs of a part found, kept after each, so that a part goes on where it broke off.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::report::{commit, median, results};

/// The figures of one run by their names; what was measured several times has several.
pub type Run = BTreeMap<String, Vec<f64>>;

/// The runs of a part.
#[derive(Debug, Default)]
pub struct Part {
    name: &'static str,
    /// The last one that had changed the programs or this bench.
    pub commit: String,
    /// How many keys there were.
    pub keys: u64,
    /// When the last run ended.
    pub date: String,
    /// In their order.
    pub runs: Vec<Run>,
    quick: bool,
}

impl Part {
    /// A part without runs.
    pub fn new(name: &'static str, keys: u64, quick: bool) -> Self {
        Self { name, commit: commit(), keys, quick, ..Self::default() }
    }

    /// What an earlier run kept of a part with as many keys.
    pub fn kept(name: &'static str, keys: u64, quick: bool) -> Option<Self> {
        let text = std::fs::read_to_string(path(name, quick).ok()?).ok()?;
        let part = Self::of(name, quick, &serde_json::from_str(&text).ok()?)?;
        (part.keys == keys).then_some(part)
    }

    /// Whether the programs and this bench are what they were then.
    pub fn is_current(&self) -> bool {
        self.commit == commit()
    }

    /// Adds a run and keeps all of them.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn add(&mut self, run: Run) -> Result<()> {
        self.runs.push(run);
        let mut date = crate::run::command("date", ["-u", "+%F %H:%M"]);
        crate::run::read(&mut date)?.trim().clone_into(&mut self.date);
        let path = path(self.name, self.quick)?;
        std::fs::write(&path, format!("{:#}\n", self.json()))
            .with_context(|| format!("cannot write {path:?}"))
    }

    /// All figures of this name.
    pub fn all(&self, key: &str) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.get(key)).flatten().copied().collect()
    }

    /// The middle one of them.
    pub fn median(&self, key: &str) -> f64 {
        median(self.all(key))
    }

    /// The largest; no number if there is none.
    pub fn max(&self, key: &str) -> f64 {
        self.all(key).into_iter().fold(f64::NAN, f64::max)
    }

    /// What so many of a hundred do not exceed; no number if there is none.
    pub fn percentile(&self, key: &str, percent: usize) -> f64 {
        let mut all = self.all(key);
        all.sort_by(f64::total_cmp);
        let rank = (all.len() * percent).div_ceil(100).max(1) - 1;
        all.get(rank).copied().unwrap_or(f64::NAN)
    }

    /// The sum.
    pub fn sum(&self, key: &str) -> f64 {
        self.all(key).iter().sum()
    }

    fn json(&self) -> Value {
        json!({
            "commit": self.commit, "keys": self.keys, "date": self.date, "runs": self.runs,
        })
    }

    fn of(name: &'static str, quick: bool, value: &Value) -> Option<Self> {
        let text = |key: &str| Some(value[key].as_str()?.to_owned());
        let figures = |value: &Value| {
            value.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()
        };
        let run = |value: &Value| {
            let all = value.as_object()?.iter();
            all.map(|(key, value)| Some((key.clone(), figures(value)?))).collect::<Option<Run>>()
        };
        let runs = value["runs"].as_array()?.iter().map(run).collect::<Option<_>>()?;
        let (commit, date) = (text("commit")?, text("date")?);
        Some(Self { name, commit, keys: value["keys"].as_u64()?, date, runs, quick })
    }
}

/// A run's figures that there is one of.
pub fn run_of<const N: usize>(figures: [(&str, f64); N]) -> Run {
    figures.into_iter().map(|(key, figure)| (key.to_owned(), vec![figure])).collect()
}

fn path(name: &str, quick: bool) -> Result<PathBuf> {
    Ok(results("spares", quick)?.join(format!("{name}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_kept() {
        let mut part = Part::new("m1", 7, true);
        part.runs.push(run_of([("seconds", 1.5), ("lost", 0.0)]));
        part.runs.push(Run::from([("seconds".to_owned(), vec![2.5, 9.0])]));
        let again = Part::of("m1", true, &part.json()).unwrap();
        assert_eq!((again.runs.clone(), again.keys), (part.runs.clone(), 7));
        assert_eq!((again.median("seconds"), again.max("seconds")), (2.5, 9.0));
        assert_eq!((again.percentile("seconds", 99), again.sum("lost")), (9.0, 0.0));
        assert!(again.max("unknown").is_nan() && again.percentile("unknown", 50).is_nan());
        let strange = json!({"commit": "x", "keys": 1, "date": "", "runs": [{"seconds": 1}]});
        assert!(Part::of("m1", true, &strange).is_none());
    }
}
