//! Clients at work on a cluster, and what they saw: the same for both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::checker::check;
use cairn_harness::clock::wait_until;
use cairn_harness::history::{Operation, Outcome, Recorder};
use cairn_harness::traffic::{GIVEN_UP, Plan, Traffic};

use crate::traffic::print_violations;

/// Keys of each of the four kinds: some hundred slots have some of them.
const KEYS: u64 = 100;
/// Until the first write is acknowledged.
const FIRST_MAX: Duration = Duration::from_secs(20);
/// For all keys to be read back.
const READ_BACK_MAX: Duration = Duration::from_secs(60);
/// What an operation of a client ends with that was told to go elsewhere in the middle of a
/// transaction: the client begins anew, as those who use it must.
const ELSEWHERE: [&str; 5] =
    ["MOVED ", "ASK ", "the slot has moved", "the watching connection is gone", GIVEN_UP];

/// A stretch of time, in microseconds since the clients began.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// From when.
    pub from_us: u64,
    /// Until when.
    pub to_us: u64,
}

impl Stretch {
    /// How long it is.
    pub fn seconds(self) -> f64 {
        self.to_us.saturating_sub(self.from_us) as f64 / 1e6
    }

    /// Whether an operation was under way at some moment of it.
    fn has(self, operation: &Operation) -> bool {
        operation.called_us <= self.to_us && operation.returned_us >= self.from_us
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Witness {
    traffic: Traffic,
}

impl Witness {
    /// Puts clients to work, and waits for their first write.
    ///
    /// # Errors
    /// If none is acknowledged.
    pub fn begin(seeds: &[String], seed: u64) -> Result<Self> {
        let mut plan = Plan::new(seeds, seed);
        plan.keys = KEYS;
        plan.watches_fail = true;
        let traffic = Traffic::start(plan, Recorder::in_memory());
        let writes = || traffic.acknowledged() > 0;
        let began = wait_until(FIRST_MAX, Duration::from_millis(50), writes);
        ensure!(began, "no write succeeded in {} s", FIRST_MAX.as_secs());
        Ok(Self { traffic })
    }

    /// Microseconds since the clients began.
    pub fn now_us(&self) -> u64 {
        self.traffic.now_us()
    }

    /// From then until now.
    pub fn since(&self, from_us: u64) -> Stretch {
        Stretch { from_us, to_us: self.now_us() }
    }

    /// Ends the clients, reads everything back and judges what they saw.
    pub fn finish(mut self) -> Testimony {
        let (history, unread) = self.traffic.finish(READ_BACK_MAX);
        let report = check(&history);
        print_violations(&report);
        let (lost, stale) = (report.lost(), report.stale());
        let violations = report.violations.len();
        let acknowledged = report.acknowledged;
        Testimony { history, acknowledged, lost, stale, violations, unread }
    }
}

/// What clients saw.
#[derive(Debug)]
pub struct Testimony {
    /// All they did.
    pub history: Vec<Operation>,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Those of them that are gone.
    pub lost: usize,
    /// Reads of what was gone or old.
    pub stale: usize,
    /// Whatever no store that keeps all would have shown.
    pub violations: usize,
    /// Keys that could not be read at the end.
    pub unread: usize,
}

/// What was not answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Errors of requests to masters.
    pub errors: usize,
    /// Errors of reads that were asked of replicas.
    pub at_replicas: usize,
    /// `TRYAGAIN`, which clients must follow by asking again.
    pub again: usize,
    /// What the errors said, and how often.
    pub said: BTreeMap<String, usize>,
}

impl Troubles {
    /// All of it.
    pub fn all(&self) -> f64 {
        (self.errors + self.at_replicas + self.again) as f64
    }
}

impl Testimony {
    /// What was not answered of what was under way then, but for redirections.
    pub fn troubles(&self, stretch: Stretch) -> Troubles {
        let mut troubles = Troubles::default();
        for operation in self.history.iter().filter(|it| stretch.has(it)) {
            match &operation.outcome {
                Outcome::Ok(_) => {}
                Outcome::Failed(why) if ELSEWHERE.iter().any(|word| why.starts_with(word)) => {}
                Outcome::Failed(why) if why.starts_with("TRYAGAIN") => troubles.again += 1,
                Outcome::Failed(why) | Outcome::Unknown(why) => {
                    match operation.readonly {
                        true => troubles.at_replicas += 1,
                        false => troubles.errors += 1,
                    }
                    *troubles.said.entry(without_addresses(why)).or_default() += 1;
                }
            }
        }
        troubles
    }

    /// The longest that an answered operation took that was under way then, in milliseconds.
    pub fn longest_ms(&self, stretch: Stretch, reads: bool) -> f64 {
        let answered = self.history.iter().filter(|it| it.reply().is_some() && stretch.has(it));
        let alike = answered.filter(|it| it.action.is_read() == reads);
        let took = alike.map(|it| it.returned_us.saturating_sub(it.called_us));
        took.max().map_or(f64::NAN, |us| us as f64 / 1000.0)
    }

    /// The longest time between two acknowledged writes of all clients, in milliseconds.
    pub fn pause_ms(&self, stretch: Stretch) -> f64 {
        let writes = self.history.iter().filter(|it| it.is_acknowledged_write());
        let mut at: Vec<u64> = writes.map(|it| it.returned_us).collect();
        at.sort_unstable();
        let meets = |pair: &&[u64]| pair[1] > stretch.from_us && pair[0] < stretch.to_us;
        let gaps = at.windows(2).filter(meets).map(|pair| pair[1] - pair[0]);
        gaps.max().map_or(f64::NAN, |us| us as f64 / 1000.0)
    }
}

/// An error without the addresses in it, so that those that are alike count together.
fn without_addresses(text: &str) -> String {
    let plain = |word: &&str| !word.starts_with("127.0.0.1:");
    text.split_whitespace().filter(plain).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use cairn_harness::history::{Action, Reply};

    /// An operation that took so long.
    pub fn operation(called_us: u64, took_us: u64, outcome: Outcome) -> Operation {
        Operation {
            client: 1,
            connection: 1,
            readonly: false,
            key: "k".into(),
            action: Action::Add { by: 1 },
            called_us,
            returned_us: called_us + took_us,
            outcome,
        }
    }

    pub fn done() -> Outcome {
        Outcome::Ok(Reply::Number(1))
    }

    #[test]
    fn redirections_are_no_errors_and_only_the_stretch_counts() {
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        let mut history = vec![
            operation(10, 5, failed("early")),
            operation(90, 20, failed("MOVED 5 127.0.0.1:7")),
            operation(100, 900, done()),
            operation(110, 5, failed("the slot has moved")),
            operation(120, 5, failed("TRYAGAIN later")),
            operation(130, 5, Outcome::Unknown("127.0.0.1:7: silence".into())),
            operation(140, 5, Outcome::Unknown("127.0.0.1:8: silence".into())),
            operation(2000, 50, done()),
        ];
        let mut replica = operation(150, 5, failed("not to be reached"));
        replica.readonly = true;
        history.push(replica);
        let seen =
            Testimony { history, acknowledged: 2, lost: 0, stale: 0, violations: 0, unread: 0 };
        let stretch = Stretch { from_us: 100, to_us: 1500 };
        let said = [("silence".to_owned(), 2), ("not to be reached".to_owned(), 1)];
        let troubles = Troubles { errors: 2, at_replicas: 1, again: 1, said: said.into() };
        assert_eq!((troubles.all(), seen.troubles(stretch)), (4.0, troubles));
        assert_eq!(seen.longest_ms(stretch, false), 0.9);
        assert!(seen.longest_ms(stretch, true).is_nan());
        assert_eq!(seen.pause_ms(stretch), 1.05);
    }
}
