//! How long claims of spares take, by the words of nodes' logs.

use serde_json::Value;

const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// When, in microseconds of the day, and which spare.
type Event = (u64, String);

/// What logs tell of claims.
#[derive(Debug, Default)]
pub struct Claims {
    decided: Vec<Event>,
    joined: Vec<Event>,
}

impl Claims {
    /// Takes lines of `node`'s log: those by which a planner decides to claim a spare, and those by
    /// which the node joins a group. Lines without a time are left out.
    pub fn hear<'a>(&mut self, node: &str, lines: impl IntoIterator<Item = &'a Value>) {
        for line in lines {
            let Some(at_us) = time_of_day_us(line) else { continue };
            if let Some(spare) = decision(line) {
                self.decided.push((at_us, spare.to_owned()));
            } else if line["message"] == "joined" {
                self.joined.push((at_us, node.to_owned()));
            }
        }
    }

    /// How many claims were decided.
    pub fn decided(&self) -> usize {
        self.decided.len()
    }

    /// How long after each decision its spare joined, in microseconds; decisions are left out whose
    /// spare did not before it was claimed again.
    pub fn took_us(&self) -> Vec<u64> {
        self.decided.iter().filter_map(|decided| self.took_us_of(decided)).collect()
    }

    fn took_us_of(&self, decided: &Event) -> Option<u64> {
        let took_us = next_us(&self.joined, decided)?;
        next_us(&self.decided, decided).is_none_or(|again| took_us < again).then_some(took_us)
    }
}

/// How long after `event` the next of these is that is about the same spare.
fn next_us(all: &[Event], (at_us, spare): &Event) -> Option<u64> {
    let same = all.iter().filter(|(then_us, who)| who == spare && then_us != at_us);
    // A day may end in between.
    let after = same.map(|(then_us, _)| (then_us + DAY_US - at_us) % DAY_US);
    after.filter(|us| *us < DAY_US / 2).min()
}

/// The spare that a line of the global master's log decides to claim.
fn decision(line: &Value) -> Option<&str> {
    let step = line["step"].as_str().filter(|_| line["message"] == "planner")?;
    step.strip_prefix("claim ")?.split(' ').next()
}

/// When a line was written, in microseconds of its day.
fn time_of_day_us(line: &Value) -> Option<u64> {
    // 2026-11-29T14:29:26.123456Z
    let text = line["time"].as_str()?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    Some(seconds * 1_000_000 + number(20, 26)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_lasts_from_its_decision_until_its_spare_joins() {
        let at = |time: &str| format!("2026-11-29T{time}Z");
        let claim = |time: &str, spare: &str| {
            let step = format!("claim {spare} for t-0");
            json!({"time": at(time), "message": "planner", "step": step})
        };
        let join = |time: &str| json!({"time": at(time), "message": "joined"});
        let other = json!({"time": at("09:00:00.000000"), "message": "planner",
            "step": "release a from t-0"});
        let planned = json!({"time": at("09:00:00.000000"), "message": "plan",
            "step": "claim a for b"});
        let mut claims = Claims::default();
        claims.hear(
            "global-0",
            &[
                claim("10:00:00.001000", "a"),
                claim("10:00:00.001500", "b"),
                claim("09:59:00.000000", "a"),
                claim("23:59:59.999500", "c"),
                other,
                planned,
            ],
        );
        claims.hear("a", &[join("10:00:00.004000"), join("10:00:00.009000"), json!({})]);
        claims.hear("b", &[join("10:00:00.000900")]);
        claims.hear("c", &[join("00:00:00.000500")]);
        assert_eq!(claims.decided(), 4);
        assert_eq!(
            claims.took_us(),
            [3000, 1000],
            "the log of the first claim of a is gone, and b joined before it was claimed"
        );
    }

    #[test]
    fn a_line_says_when_it_was_written() {
        let at = |text: &str| time_of_day_us(&json!({"time": text}));
        assert_eq!(at("2026-11-29T01:02:03.000004Z"), Some(3_723_000_004));
        assert_eq!(at("yesterday"), None);
        assert_eq!(time_of_day_us(&json!({})), None);
    }
}
