//! What a turn of the thread spends its time on, all of it: a long one is told with its longest
//! part. Pure.

use cairn_logic::time::{Duration, Instant};

/// A turn that takes longer holds up everybody: it is counted and said.
pub const LONG_TURN: Duration = Duration::from_millis(20);
/// Between two times that it is said.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What a turn has to do, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Clients that come in, what control has sent, and what is applied of the log.
    Control,
    /// What is due from time to time, expired keys among it.
    Chores,
    /// Requests: read, executed, appended.
    Commands,
    /// Replies.
    Replies,
    /// Slots that move.
    Moves,
    /// A snapshot, checks, digests, and the copies of moves.
    Leisure,
}

impl Part {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Control, Self::Chores, Self::Commands, Self::Replies, Self::Moves, Self::Leisure];

    /// As metrics and logs name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Chores => "chores",
            Self::Commands => "commands",
            Self::Replies => "replies",
            Self::Moves => "moves",
            Self::Leisure => "leisure",
        }
    }

    /// The event of `LATENCY` that a long turn counts for beside `turn`.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::Control => "turn-control",
            Self::Chores => "turn-chores",
            Self::Commands => "turn-commands",
            Self::Replies => "turn-replies",
            Self::Moves => "turn-moves",
            Self::Leisure => "turn-leisure",
        }
    }
}

/// The turn that goes on, and what is known of those before.
#[derive(Debug, Default)]
pub struct Turns {
    began: Instant,
    /// Up to here its time has been counted.
    at: Instant,
    spent: [Duration; Part::ALL.len()],
    /// The longest command of it, of those measured one by one.
    command: (Duration, &'static str),
    /// When a long one was last said.
    said: Option<Instant>,
    /// Long ones, by the part that took most.
    pub long: [u64; Part::ALL.len()],
    /// The longest since this was last forgotten.
    pub longest: Duration,
}

/// A turn that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    /// How long.
    pub took: Duration,
    /// On what it spent most of that, and how much.
    pub part: (Part, Duration),
    /// Its longest command and what that took; nothing and an empty name if none was measured.
    pub command: (Duration, &'static str),
    /// Whether it is to be said: others were not just before.
    pub says: bool,
}

impl Turns {
    /// A turn begins.
    #[inline]
    pub fn begin(&mut self, now: Instant) {
        (self.began, self.at) = (now, now);
        self.spent = Default::default();
        self.command = Default::default();
    }

    /// What came since this was last called was a part of this kind.
    #[inline]
    pub fn passed(&mut self, part: Part, now: Instant) {
        self.spent[part as usize] += now.since(self.at);
        self.at = now;
    }

    /// A command took so long.
    #[inline]
    pub fn executed(&mut self, command: &'static str, took: Duration) {
        if took > self.command.0 {
            self.command = (took, command);
        }
    }

    /// The turn ends with its last part; what is to be known of it if it took long.
    #[inline]
    pub fn end(&mut self) -> Option<Long> {
        let took = self.at.since(self.began);
        self.longest = self.longest.max(took);
        (took >= LONG_TURN).then(|| self.long(took))
    }

    /// Forgets those before.
    pub fn forget(&mut self) {
        (self.long, self.longest) = Default::default();
    }

    #[cold]
    fn long(&mut self, took: Duration) -> Long {
        let part = Part::ALL.into_iter().max_by_key(|part| self.spent[*part as usize]);
        let part = part.unwrap_or(Part::Control);
        self.long[part as usize] += 1;
        let says = self.said.is_none_or(|at| self.at.since(at) >= SAY_EVERY);
        if says {
            self.said = Some(self.at);
        }
        Long { took, part: (part, self.spent[part as usize]), command: self.command, says }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn all_of_a_turn_counts_whatever_it_was_spent_on() {
        for part in Part::ALL {
            let mut turns = Turns::default();
            turns.begin(ms(5));
            Part::ALL.into_iter().for_each(|it| turns.passed(it, turns.at));
            turns.passed(part, ms(25));
            let long = turns.end().expect("20 ms are long");
            assert_eq!(long.part, (part, Duration::from_millis(20)));
            assert_eq!((turns.long[part as usize], turns.long.iter().sum::<u64>()), (1, 1));
        }
    }

    #[test]
    fn a_turn_of_many_small_parts_is_long_and_one_below_the_bound_is_not() {
        let mut turns = Turns::default();
        turns.begin(ms(0));
        turns.passed(Part::Commands, ms(8));
        turns.passed(Part::Replies, ms(13));
        turns.passed(Part::Commands, ms(15));
        turns.passed(Part::Leisure, ms(19));
        assert_eq!((turns.end(), turns.longest), (None, Duration::from_millis(19)));
        turns.passed(Part::Moves, ms(21));
        let long = turns.end().expect("21 ms are long");
        assert_eq!(long.part, (Part::Commands, Duration::from_millis(10)));
    }

    #[test]
    fn long_turns_are_counted_always_and_said_once_a_second_with_their_longest_command() {
        let mut turns = Turns::default();
        let mut said = Vec::new();
        for at in [0, 30, 60, 1030, 1060] {
            turns.begin(ms(at));
            turns.executed("get", Duration::from_millis(2));
            turns.executed("dump", Duration::from_millis(20));
            turns.executed("get", Duration::from_millis(1));
            turns.passed(Part::Commands, ms(at + 25));
            let long = turns.end().expect("25 ms are long");
            assert_eq!(long.command, (Duration::from_millis(20), "dump"));
            said.push(long.says);
        }
        assert_eq!(said, [true, false, false, true, false]);
        assert_eq!(turns.long[Part::Commands as usize], 5);
    }
}
