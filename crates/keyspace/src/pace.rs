//! How often a part is asked for, and written anew: again after longer and longer waits, and never
//! many at once.

use crate::part::Part;
use cairn_logic::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};

/// The first wait between two times for the same part, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));
/// In a minute at most so many.
const PER_MINUTE: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Parts remembered.
const PARTS_MAX: usize = 1024;

/// Times of parts.
#[derive(Debug, Default)]
pub struct Pace {
    /// When each may have its turn again, and how long the wait after that is.
    parts: BTreeMap<Part, (Instant, Duration)>,
    /// Of the last minute.
    recent: VecDeque<Instant>,
}

impl Pace {
    /// Takes a turn of `part`.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn take(&mut self, now: Instant, part: &Part) -> Result<(), Duration> {
        while self.recent.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        if let Some(oldest) = self.recent.front().filter(|_| self.recent.len() >= PER_MINUTE) {
            return Err((*oldest + MINUTE).since(now));
        }
        let (due, wait) = self.parts.get(part).copied().unwrap_or((now, WAIT.0));
        if now < due {
            return Err(due.since(now));
        }
        if self.parts.len() >= PARTS_MAX {
            // What was quiet for longest counts as forgotten first.
            let oldest = self.parts.iter().min_by_key(|(_, (due, _))| *due);
            if let Some(oldest) = oldest.map(|(part, _)| part.clone()) {
                self.parts.remove(&oldest);
            }
        }
        self.parts.insert(part.clone(), (now + wait, (wait * 2).min(WAIT.1)));
        self.recent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(from: u64) -> Part {
        Part::Keys { from, to: from + 1 }
    }

    fn second(at: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(at)
    }

    #[test]
    fn the_same_part_waits_longer_and_longer() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(second(0), &part(1)), Ok(()));
        assert_eq!(pace.take(second(9), &part(1)), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(second(9), &part(2)), Ok(()));
        assert_eq!(pace.take(second(10), &part(1)), Ok(()));
        assert_eq!(pace.take(second(29), &part(1)), Err(Duration::from_secs(1)));
        let mut at = 30;
        for _ in 0..20 {
            assert_eq!(pace.take(second(at), &part(1)), Ok(()));
            at += 3600;
        }
    }

    #[test]
    fn a_minute_has_so_many_turns_and_so_many_parts_are_remembered() {
        let mut pace = Pace::default();
        for number in 0..60 {
            assert_eq!(pace.take(second(number / 2), &part(number)), Ok(()));
        }
        assert_eq!(pace.take(second(30), &part(99)), Err(Duration::from_secs(30)));
        for number in 0..2000 {
            assert_eq!(pace.take(second(120 + number * 2), &part(number)), Ok(()));
        }
        assert_eq!(pace.parts.len(), PARTS_MAX);
    }
}
