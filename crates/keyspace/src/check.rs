//! The master's walk over all parts: one check at a time, each a small piece of work.

use crate::compare::{LARGE_BYTES, content_bytes, cost, items_of, table_of};
use crate::effects::{EffectLog, Op};
use crate::keyspace::Keyspace;
use crate::part::{CHUNK, END, POSITIONS_END, Part};
use crate::table::{SCAN_BITS, View};
use crate::value::Value;
use cairn_logic::ids::Slot;
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;

/// A part ends behind so many keys or items, or
pub(crate) const KEYS_MAX: usize = 512;
/// behind so many bytes; [`CHUNK`] small values more at most, or one item.
pub(crate) const BYTES_MAX: usize = 64 << 10;

/// Between two checks at least: each is a batch of the log.
const STEP: Duration = Duration::from_millis(1);
/// A master begins so long after it became one, if the interval is not shorter.
const FIRST: Duration = Duration::from_secs(60);
/// Where clients may not write, nothing is compared either, so long.
const CLOSED: Duration = Duration::from_secs(1);
/// The whole walk, as [`Checker::millionths`] counts.
const WHOLE: u64 = 1_000_000;

/// A master's walk in time.
#[derive(Debug)]
pub struct Checking {
    checker: Checker,
    /// When the walk began, or would have if it had gone on from the start.
    began: Instant,
    interval: Duration,
    due: Instant,
}

impl Checking {
    /// A walk that takes `interval`; the first check is due after that, or after a minute.
    #[must_use]
    pub fn new(keyspace: &Keyspace, now: Instant, interval: Duration) -> Self {
        let checker = Checker::new(keyspace);
        let first = now + FIRST.min(interval);
        let mut it = Self { checker, began: first, interval, due: first };
        it.began = first - it.share();
        it
    }

    /// When the next check is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How long the walk takes.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Writes the check that is due, as [`Checker::step`], if clients may write (`open`); whether
    /// it did.
    pub fn step(
        &mut self,
        now: Instant,
        open: bool,
        keyspace: &mut Keyspace,
        log: &mut EffectLog,
    ) -> bool {
        self.due = now + if open { STEP } else { CLOSED };
        if !open {
            return false;
        }
        if self.checker.step(keyspace, log) {
            self.began = now.max(self.began + self.interval);
        }
        self.due = self.due.max(self.began + self.share());
        true
    }

    /// The part of the interval after which the walk should be where it is.
    fn share(&self) -> Duration {
        self.interval.mul_f64(self.checker.millionths() as f64 / WHOLE as f64)
    }
}

/// Where a master is in its walk.
#[derive(Debug, Default)]
pub struct Checker {
    /// The cursor of the next keys.
    at: u64,
    /// Large values among the last ones: their items come next.
    large: VecDeque<Vec<u8>>,
    /// Where the first of them goes on.
    within: u64,
}

impl Checker {
    /// Begins where the last check in the state ended, whoever wrote it.
    #[must_use]
    pub fn new(keyspace: &Keyspace) -> Self {
        Self { at: keyspace.checked % END, large: VecDeque::new(), within: 0 }
    }

    /// How far the walk is, of a million.
    #[must_use]
    pub fn millionths(&self) -> u64 {
        self.at / (END / 1_000_000)
    }

    /// Writes the check of the next part as an entry of the log; it must be a master's, and all
    /// that `keyspace` holds must be in the log before it. True when the walk has reached its end,
    /// and begins again.
    pub fn step(&mut self, keyspace: &mut Keyspace, log: &mut EffectLog) -> bool {
        let part = loop {
            let Some(key) = self.large.front() else { break self.keys(keyspace) };
            let next = keyspace.items_part(key, self.within);
            match &next {
                Some(Part::Items { to: u64::MAX, .. }) | None => {
                    self.large.pop_front();
                    self.within = 0;
                }
                Some(Part::Items { to, .. } | Part::Keys { to, .. }) => self.within = *to,
            }
            if let Some(part) = next {
                break part;
            }
        };
        keyspace.check(&part, log);
        let done = self.at >= END && self.large.is_empty();
        if done {
            self.at = 0;
        }
        done
    }

    fn keys(&mut self, keyspace: &mut Keyspace) -> Part {
        let from = self.at % END;
        let large = &mut self.large;
        let to = keyspace.bounded(from, END, |key| large.push_back(key.to_vec()));
        (self.at, keyspace.checked) = (to, to);
        Part::Keys { from, to }
    }
}

impl Keyspace {
    /// Has parts end behind so many keys or items, and so many bytes: a simulated keyspace is
    /// small and has many parts all the same.
    pub fn bound_parts(&mut self, items_max: usize, bytes_max: usize) {
        self.part_max = (items_max, bytes_max);
    }

    /// Writes what a part holds as an entry of the log.
    fn check(&self, part: &Part, log: &mut EffectLog) {
        let digest = self.part_digest(part, &self.lens(self.seed));
        let numbers = [self.seed.to_le_bytes(), digest.to_le_bytes()];
        log.texts(Op::Check, &[&part.encode(), &numbers[0], &numbers[1]]);
        log.command_done();
    }

    /// Where a part of keys that begins at `from` ends, at most at `limit`; visits large ones.
    pub(crate) fn bounded(&self, from: u64, limit: u64, mut large: impl FnMut(&[u8])) -> u64 {
        let (mut at, mut keys, mut bytes) = (from, 0, 0);
        let (keys_max, bytes_max) = self.part_max;
        while at < limit && keys < keys_max && bytes < bytes_max {
            let number = (at >> SCAN_BITS) as u16;
            let slot = Slot::try_from(number).expect("the limit is behind the last slot at most");
            let base = u64::from(number) << SCAN_BITS;
            if self.slot_len(slot) == 0 {
                at = base + POSITIONS_END;
                continue;
            }
            let next = self.table(slot).scan(at - base, CHUNK, |entry| {
                keys += 1;
                let content = content_bytes(&entry.value());
                if content > LARGE_BYTES {
                    large(entry.key());
                }
                bytes += entry.key().len() + content.min(LARGE_BYTES);
            });
            at = base + next.unwrap_or(POSITIONS_END);
        }
        at.min(limit)
    }

    /// The part of a value's items that begins at `from`; none if it is not large.
    pub(crate) fn items_part(&self, key: &[u8], from: u64) -> Option<Part> {
        let at = self.locate(key);
        let place = self.find(at, key)?;
        let value = self.table(at.slot).entry(place).value();
        if content_bytes(&value) <= LARGE_BYTES {
            return None;
        }
        let View::Object(value) = value else { return None };
        let (items_max, bytes_max) = self.part_max;
        let to = match value {
            Value::Text(text) => {
                let to = from + bytes_max as u64;
                if to < text.len() as u64 { to } else { u64::MAX }
            }
            Value::List(list) => {
                let (mut to, mut bytes) = (from, 0);
                for item in items_of(list, (from, from + items_max as u64)) {
                    if bytes >= bytes_max {
                        break;
                    }
                    bytes += item.len();
                    to += 1;
                }
                if to < list.len() as u64 { to } else { u64::MAX }
            }
            Value::Stream(stream) => stream.part_end(from, items_max, bytes_max),
            Value::Hash(_) | Value::Set(_) | Value::Sorted(_) => {
                let table = table_of(value)?;
                let (mut to, mut items, mut bytes) = (Some(from), 0, 0);
                while let Some(at) = to.filter(|_| items < items_max && bytes < bytes_max) {
                    to = table.scan(at, CHUNK, |item| {
                        items += 1;
                        bytes += cost(&item);
                    });
                }
                to.unwrap_or(u64::MAX)
            }
        };
        Some(Part::Items { key: key.to_vec(), from, to })
    }
}
