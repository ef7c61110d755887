//! Commands that took long, and spans that were watched: SLOWLOG and LATENCY. Pure.

use cairn_logic::time::Duration;
use cairn_resp::Args;
use std::collections::{BTreeMap, VecDeque};

/// Arguments of a slow command that are kept.
const ARGS_MAX: usize = 32;
/// Bytes of an argument that are kept.
const ARG_BYTES_MAX: usize = 128;
/// Samples of an event that are kept.
const SAMPLES_MAX: usize = 160;
/// The longest list of slow commands that may be asked for.
pub const LEN_MAX: usize = 100_000;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts the entries of this process.
    pub id: u64,
    /// When it was executed, in seconds since 1970.
    pub at_s: u64,
    /// How long that took.
    pub took: Duration,
    /// Its arguments, as far as they are kept.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub client: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// The last slow commands.
#[derive(Debug)]
pub struct SlowLog {
    entries: VecDeque<Entry>,
    next_id: u64,
    /// Shorter ones are not kept; none: no command is.
    pub slower_than: Option<Duration>,
    /// How many are kept.
    pub len_max: usize,
}

impl Default for SlowLog {
    fn default() -> Self {
        let slower_than = Some(Duration::from_millis(10));
        Self { entries: VecDeque::new(), next_id: 0, slower_than, len_max: 128 }
    }
}

/// The arguments that are kept: long ones and many are cut, secrets left out.
fn kept(args: Args<'_>) -> Vec<Vec<u8>> {
    let named = |name: &[u8]| args.name().eq_ignore_ascii_case(name);
    // Of what ACL SETUSER says, the subcommand is told.
    let secret_from = if named(b"auth") || named(b"hello") {
        1
    } else if named(b"acl") {
        2
    } else {
        usize::MAX
    };
    let count = args.len();
    let shown = if count > ARGS_MAX { ARGS_MAX - 1 } else { count };
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(shown + 1);
    for (n, arg) in args.iter().take(shown).enumerate() {
        if n >= secret_from {
            kept.push(b"(redacted)".to_vec());
            continue;
        }
        let mut text = arg[..arg.len().min(ARG_BYTES_MAX)].to_vec();
        if arg.len() > ARG_BYTES_MAX {
            let more = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
            text.extend_from_slice(more.as_bytes());
        }
        kept.push(text);
    }
    if count > shown {
        kept.push(format!("... ({} more arguments)", count - shown).into_bytes());
    }
    kept
}

impl SlowLog {
    /// Whether a command that took so long is kept.
    #[must_use]
    #[inline]
    pub fn keeps(&self, took: Duration) -> bool {
        self.slower_than.is_some_and(|least| took >= least) && self.len_max > 0
    }

    /// Keeps a command.
    pub fn add(
        &mut self,
        args: Args<'_>,
        at_s: u64,
        took: Duration,
        (client, name): (String, Vec<u8>),
    ) {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(Entry { id, at_s, took, args: kept(args), client, name });
        self.entries.truncate(self.len_max);
    }

    /// The last ones, the newest first.
    pub fn newest(&self, count: usize) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().take(count)
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Samples of one event: when, in seconds since 1970, and how many milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// The last ones, one a second at most, the newest last.
    pub last: VecDeque<(u64, u64)>,
    /// The longest since they were last forgotten.
    pub longest_ms: u64,
}

/// Events that took long.
#[derive(Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Samples>,
    /// Shorter ones are not kept; none: nothing is watched.
    pub threshold: Option<Duration>,
}

impl Latency {
    /// An event took so long.
    #[inline]
    pub fn note(&mut self, event: &'static str, at_s: u64, took: Duration) {
        if self.threshold.is_none_or(|least| took < least) {
            return;
        }
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let samples = self.events.entry(event).or_default();
        samples.longest_ms = samples.longest_ms.max(ms);
        match samples.last.back_mut() {
            Some((at, longest)) if *at == at_s => *longest = ms.max(*longest),
            _ => samples.last.push_back((at_s, ms)),
        }
        if samples.last.len() > SAMPLES_MAX {
            samples.last.pop_front();
        }
    }

    /// All events with samples.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (&'static str, &Samples)> {
        self.events.iter().map(|(name, samples)| (*name, samples))
    }

    /// The samples of one.
    #[must_use]
    pub fn of(&self, event: &str) -> Option<&Samples> {
        self.events.get(event)
    }

    /// Forgets those that fit; how many there were.
    pub fn forget(&mut self, fits: impl Fn(&str) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|name, _| !fits(name));
        before - self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_resp::ArgsBuf;

    fn args(words: &[&str]) -> ArgsBuf {
        words.iter().collect()
    }

    #[test]
    fn long_and_many_arguments_are_cut_and_secrets_left_out() {
        let long = "x".repeat(130);
        let cut = kept(args(&["SET", "k", &long]).as_args());
        assert_eq!(cut[2], [&[b'x'; 128][..], b"... (2 more bytes)"].concat());
        let many = kept(args(&["DEL"; 40]).as_args());
        assert_eq!((many.len(), &many[31][..]), (32, &b"... (9 more arguments)"[..]));
        assert_eq!(kept(args(&["AUTH", "secret"]).as_args())[1], b"(redacted)");
    }

    #[test]
    fn only_the_last_slow_commands_are_kept() {
        let mut slow = SlowLog { len_max: 2, ..SlowLog::default() };
        assert!(slow.keeps(Duration::from_millis(10)) && !slow.keeps(Duration::from_millis(9)));
        for name in ["A", "B", "C"] {
            let client = (String::new(), Vec::new());
            slow.add(args(&[name]).as_args(), 0, Duration::from_millis(10), client);
        }
        let ids: Vec<u64> = slow.newest(10).map(|entry| entry.id).collect();
        assert_eq!(ids, [2, 1]);
    }

    #[test]
    fn an_event_has_one_sample_a_second_and_not_too_many() {
        let mut latency = Latency::default();
        latency.note("command", 1, Duration::from_secs(9));
        assert_eq!(latency.events().len(), 0);
        latency.threshold = Some(Duration::from_millis(2));
        for (at_s, ms) in [(1, 1), (1, 3), (1, 5), (1, 4), (2, 2)] {
            latency.note("command", at_s, Duration::from_millis(ms));
        }
        let samples = latency.of("command").unwrap();
        assert_eq!((samples.last.clone(), samples.longest_ms), ([(1, 5), (2, 2)].into(), 5));
        (3..300).for_each(|at_s| latency.note("command", at_s, Duration::from_secs(1)));
        assert_eq!(latency.of("command").unwrap().last.len(), SAMPLES_MAX);
        assert_eq!(latency.forget(|name| name == "command"), 1);
    }
}
