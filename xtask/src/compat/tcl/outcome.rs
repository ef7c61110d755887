//! What became of the tests of a file, read from the lines that the suite prints.

use std::fmt;

/// Tests of a file, or of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many passed.
    pub passed: usize,
    /// Each that failed, with the first line of why.
    pub failures: Vec<String>,
    /// How many were left out by name or by tag.
    pub skipped: usize,
    /// Why the file's end was not reached, if it was not.
    pub broke_off: Option<String>,
    /// How many files' ends were not reached.
    pub broken: usize,
    /// The test at work, for one that never ends.
    at_work: Option<String>,
    /// Whether the next line says more about the last failure.
    says_why: bool,
    done: bool,
}

impl Outcome {
    /// Takes in a line of the suite's output.
    pub fn see(&mut self, line: &str) {
        let line = line.trim_end();
        let tagged = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let Some((tag, text)) = tagged else {
            if line.starts_with('[') && line.contains(" done]: ") {
                self.done = true;
            }
            self.say_why(line);
            return;
        };
        self.says_why = false;
        match tag {
            "ok" => self.passed += 1,
            "err" => {
                self.failures.push(text.to_owned());
                self.says_why = true;
            }
            "skip" | "ignore" => self.skipped += 1,
            "exception" => self.broke_off = Some(text.to_owned()),
            // As in "[1/1 done]: unit/dump (3 seconds)".
            _ if tag.ends_with(" done") => self.done = true,
            _ => {}
        }
    }

    /// The line below a failure's name says what was expected.
    fn say_why(&mut self, line: &str) {
        if !self.says_why || line.is_empty() {
            return;
        }
        const SHOWN_MAX: usize = 300;
        if let Some(failure) = self.failures.last_mut() {
            let shown: String = line.chars().take(SHOWN_MAX).collect();
            failure.push_str(": ");
            failure.push_str(&shown);
        }
        self.says_why = false;
    }

    /// The file has ended by itself, or was `stopped` for taking too long.
    pub fn end(&mut self, stopped: bool) {
        if self.done && !stopped {
            self.broke_off = None;
        } else if stopped {
            self.broke_off = Some("took too long".into());
        } else if self.broke_off.is_none() {
            self.broke_off = Some("ended early".into());
        }
        self.broken = usize::from(self.broke_off.is_some());
    }

    /// How many tests were run.
    pub fn ran(&self) -> usize {
        self.passed + self.failures.len()
    }

    /// Whether the server may now be in a state that its next tests do not expect.
    pub fn leaves_doubt(&self) -> bool {
        !self.failures.is_empty() || self.broke_off.is_some()
    }

    /// Adds what another file gave.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.broken += other.broken;
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failures.len();
        write!(f, "passed={} failed={failed} skipped={}", self.passed, self.skipped)?;
        match &self.broke_off {
            Some(why) => write!(f, ", broke off: {}", why.lines().next().unwrap_or_default()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str], stopped: bool) -> Outcome {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.see(line));
        outcome.end(stopped);
        outcome
    }

    #[test]
    fn each_kind_of_line_is_counted_once() {
        let lines = [
            "[ready]: 17",
            "Testing unit/dump",
            "[ok]: DUMP / RESTORE are able to serialize (1 ms)",
            "[err]: RESTORE expiry in tests/unit/dump.tcl",
            "Expected 'a' to be equal to 'b'",
            "[skip]: MIGRATE",
            "[ignore]: other: Tag: slow denied",
            "[1/1 done]: unit/dump (3 seconds)",
            "*** [err]: RESTORE expiry in tests/unit/dump.tcl",
        ];
        let got = outcome(&lines, false);
        assert_eq!((got.passed, got.skipped, got.broken), (1, 2, 0));
        let why = "RESTORE expiry in tests/unit/dump.tcl: Expected 'a' to be equal to 'b'";
        assert_eq!(got.failures, [why]);
    }

    #[test]
    fn a_file_whose_end_is_not_reached_broke_off() {
        assert_eq!(outcome(&["[ok]: a (1 ms)"], false).broken, 1);
        let stopped = outcome(&["[ok]: a (1 ms)", "[1/1 done]: unit/x (3 seconds)"], true);
        assert_eq!(stopped.broke_off.as_deref(), Some("took too long"));
        let thrown = outcome(&["[exception]: Executing test client: ERR no"], false);
        assert_eq!(thrown.broke_off.as_deref(), Some("Executing test client: ERR no"));
    }
}
