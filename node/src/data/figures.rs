//! What commands have cost and how they ended, and the slow ones themselves. Pure.

use cairn_keyspace::command::{COMMANDS, Command};
use cairn_logic::time::Duration;
use std::collections::BTreeMap;

/// Steps of a histogram per doubling.
const STEPS: usize = 4;
/// Doublings a histogram knows, from a microsecond on: more than an hour.
const DOUBLINGS: usize = 32;
/// Kinds of errors that are counted apart; the others are left out.
const ERRORS_MAX: usize = 128;

/// How long calls took, in steps of a quarter doubling.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; STEPS * DOUBLINGS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; STEPS * DOUBLINGS]) }
    }
}

/// The step of a span.
fn step(span: Duration) -> usize {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2() as usize;
    let rest = micros - (1 << doubling);
    let quarter = (u128::from(rest) * STEPS as u128) >> doubling;
    (doubling * STEPS + quarter as usize).min(STEPS * DOUBLINGS - 1)
}

impl Histogram {
    fn add(&mut self, step: usize, count: u64) {
        self.counts[step] += count;
    }

    /// The span in microseconds that no more than a share of all calls exceeded; 0 without calls.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut sum = 0;
        for (step, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                let low = (1_u64 << (step / STEPS)) as f64;
                return low * (1.0 + (step % STEPS + 1) as f64 / STEPS as f64);
            }
        }
        0.0
    }

    /// For each doubling with calls: its end in microseconds, and all calls that took less.
    #[must_use]
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let (mut found, mut sum) = (Vec::new(), 0);
        for (doubling, counts) in self.counts.chunks(STEPS).enumerate() {
            let count: u64 = counts.iter().sum();
            sum += count;
            if count > 0 {
                found.push((1 << (doubling + 1), sum));
            }
        }
        found
    }
}

/// What is known of one command.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// How often it was executed.
    pub calls: u64,
    /// How long that took in all.
    pub time: Duration,
    /// How often it was refused before it was executed.
    pub rejected: u64,
    /// How often it ended with an error.
    pub failed: u64,
    /// How long its calls took; none: it was never called.
    pub spans: Option<Histogram>,
}

impl Figure {
    fn called(&mut self, step: usize, span: Duration) {
        self.calls += 1;
        self.time += span;
        self.spans.get_or_insert_default().add(step, 1);
    }
}

/// What is known of all commands.
#[derive(Debug)]
pub struct Figures {
    of: Vec<Figure>,
    /// Subcommands, by the command's name and their own.
    parts: BTreeMap<(&'static str, &'static str), Figure>,
    /// Errors by their first word.
    errors: BTreeMap<String, u64>,
}

impl Default for Figures {
    fn default() -> Self {
        let of = vec![Figure::default(); COMMANDS.len()];
        Self { of, parts: BTreeMap::new(), errors: BTreeMap::new() }
    }
}

impl Figures {
    /// So many calls of commands took `span` each.
    #[inline]
    pub fn called(&mut self, commands: impl Iterator<Item = &'static Command>, span: Duration) {
        let step = step(span);
        for command in commands {
            self.of[usize::from(command.number)].called(step, span);
        }
    }

    /// A call of a subcommand took `span`: it counts for itself and not for the command.
    pub fn called_part(&mut self, command: &'static str, part: &'static str, span: Duration) {
        self.parts.entry((command, part)).or_default().called(step(span), span);
    }

    /// A call of `command` ended with the error `text`; `executed`: it was not refused before.
    pub fn failed(&mut self, command: Option<&'static Command>, text: &[u8], executed: bool) {
        if let Some(command) = command {
            let figure = &mut self.of[usize::from(command.number)];
            match executed {
                true => figure.failed += 1,
                false => figure.rejected += 1,
            }
        }
        let word = text.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        let word = String::from_utf8_lossy(word);
        if self.errors.len() < ERRORS_MAX || self.errors.contains_key(&*word) {
            *self.errors.entry(word.into()).or_default() += 1;
        }
    }

    /// All commands and subcommands of which anything is known, in the order of their names.
    #[must_use]
    pub fn known(&self) -> Vec<(String, &Figure)> {
        let all = COMMANDS.iter().zip(&self.of);
        let all = all.map(|(command, figure)| (command.name.to_owned(), figure));
        let parts = self.parts.iter();
        let parts = parts.map(|((command, part), figure)| (format!("{command}|{part}"), figure));
        let seen = |figure: &Figure| figure.calls + figure.rejected + figure.failed > 0;
        let known = all.chain(parts).filter(|(_, figure)| seen(figure));
        let mut known: Vec<_> = known.collect();
        known.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        known
    }

    /// Errors by their first word.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter().map(|(word, count)| (&word[..], *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_keyspace::command::lookup;

    #[test]
    fn spans_fall_into_quarters_of_doublings() {
        let of = |micros| step(Duration::from_micros(micros));
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(of), [0, 0, 4, 6, 8, 9, 11]);
        assert_eq!(step(Duration::MAX), STEPS * DOUBLINGS - 1);
    }

    #[test]
    fn percentiles_are_ends_of_steps() {
        let (mut figures, get) = (Figures::default(), lookup(b"get").unwrap());
        for micros in [1, 1, 1, 100] {
            figures.called(std::iter::once(get), Duration::from_micros(micros));
        }
        let spans = figures.known()[0].1.spans.clone().unwrap();
        assert_eq!((spans.percentile(50.0), spans.percentile(99.0)), (1.25, 112.0));
        assert_eq!(spans.doublings(), [(2, 3), (128, 4)]);
        assert_eq!(figures.known()[0].1.time, Duration::from_micros(103));
        figures.called_part("config", "get", Duration::from_micros(1));
        let known = figures.known();
        assert!(known.iter().map(|(name, _)| &name[..]).eq(["config|get", "get"]));
    }

    #[test]
    fn errors_are_counted_by_their_first_word_up_to_a_bound() {
        let mut figures = Figures::default();
        figures.failed(lookup(b"get"), b"WRONGTYPE Operation\r\n", true);
        figures.failed(None, b"ERR unknown\r\n", false);
        for n in 0..2 * ERRORS_MAX {
            figures.failed(None, format!("E{n}\r\n").as_bytes(), false);
        }
        assert_eq!(figures.errors().count(), ERRORS_MAX);
        assert!(figures.errors().any(|known| known == ("WRONGTYPE", 1)));
        assert_eq!(figures.known().len(), 1);
    }
}
