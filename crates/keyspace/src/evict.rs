//! Makes room by taking keys away, as `maxmemory-policy` says which. For the master alone: what it
//! takes away is in the log as deleted.
//!
//! Which key was not used for longest nobody knows exactly; a few are drawn at random each time,
//! and the best of them and of those that were left over from the times before goes.

use crate::dice::Dice;
use crate::effects::{EffectLog, Op};
use crate::events::Classes;
use crate::keyspace::{At, Keyspace};
use crate::table::Place;
use crate::usage::Often;
use cairn_logic::ids::{SLOTS, Slot};

/// Which keys go when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in `maxmemory-policy`")]
pub enum Policy {
    #[default]
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

/// By what a key is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Idle,
    Count,
    Chance,
    Expiry,
}

impl Policy {
    /// All, with their names, in the order in which Redis lists them.
    pub const ALL: [(&str, Self); 8] = [
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
        ("allkeys-lru", Self::AllKeysLru),
        ("allkeys-lfu", Self::AllKeysLfu),
        ("allkeys-random", Self::AllKeysRandom),
        ("noeviction", Self::NoEviction),
    ];

    /// The one of this name, in letters of any case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        let found = Self::ALL.iter().find(|(it, _)| name.eq_ignore_ascii_case(it.as_bytes()));
        found.map(|(_, policy)| *policy)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, policy)| *policy == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether only keys go that expire.
    fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }

    fn by(self) -> Option<By> {
        match self {
            Self::NoEviction => None,
            Self::AllKeysLru | Self::VolatileLru => Some(By::Idle),
            Self::AllKeysLfu | Self::VolatileLfu => Some(By::Count),
            Self::AllKeysRandom | Self::VolatileRandom => Some(By::Chance),
            Self::VolatileTtl => Some(By::Expiry),
        }
    }
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Which go.
    pub policy: Policy,
    /// How many are drawn each time.
    pub samples: u32,
    /// How slowly the counter of uses grows (`lfu-log-factor`).
    pub log_factor: u32,
    /// After so many minutes without use it falls by one (`lfu-decay-time`).
    pub decay_minutes: u32,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { policy: Policy::NoEviction, samples: 5, log_factor: 10, decay_minutes: 1 }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// A key is gone.
    One,
    /// None was found yet: there are some.
    NotYet,
    /// There is none that may go.
    Nothing,
}

/// More are not drawn at a time.
const SAMPLES_MAX: u32 = 64;
/// Candidates that are kept.
const POOL_MAX: usize = 16;
/// So often candidates are drawn for one key that is to go.
const ROUNDS: usize = 8;
/// After so many draws it is reckoned anew how many keys each slot has.
const DRAWS_MAX: usize = 1024;

/// A key that may go; the higher its score the better.
struct Candidate {
    score: u64,
    at: At,
    key: Vec<u8>,
}

/// What is kept between two keys that go.
#[derive(Default)]
pub(crate) struct Evictor {
    how: Eviction,
    /// By their scores, the best last.
    pool: Vec<Candidate>,
    /// Slots with keys that may go, and how many there are up to and with each.
    slots: Vec<(u16, u64)>,
    /// Draws until that is reckoned anew.
    draws_left: usize,
    /// Where in a slot the search for keys that expire goes on.
    search: Option<(u16, u64)>,
}

impl Keyspace {
    /// How keys are chosen that go. What is noted of their use changes its meaning with it, and
    /// takes some time to be right again.
    pub fn set_eviction(&mut self, how: Eviction) {
        if self.evictor.how == how {
            return;
        }
        self.evictor = Evictor { how, ..Evictor::default() };
        let by = how.policy.by();
        let often = Often { log_factor: how.log_factor, decay_minutes: how.decay_minutes };
        self.usage.often = (by == Some(By::Count)).then_some(often);
        self.usage.uses = matches!(by, Some(By::Idle | By::Count));
    }

    /// How keys are chosen that go.
    #[must_use]
    pub fn eviction(&self) -> Eviction {
        self.evictor.how
    }

    /// Takes one key away, by the policy, and logs that it is deleted: an entry of its own.
    pub fn evict_one(&mut self, log: &mut EffectLog) -> Evicted {
        let Some(by) = self.evictor.how.policy.by() else { return Evicted::Nothing };
        // That none might go when it was reckoned last says nothing of now.
        if self.evictor.slots.is_empty() {
            self.evictor.draws_left = 0;
        }
        for _ in 0..ROUNDS {
            let found = match by {
                By::Chance => self.drawn().map(|(at, key)| Candidate { score: 0, at, key }),
                _ => {
                    self.fill_pool(by);
                    self.best(by)
                }
            };
            // What a move brings or holds since it was drawn is not to be taken away.
            let found = found.filter(|it| !self.rests(it.at.slot));
            let place = found.as_ref().and_then(|it| self.find(it.at, &it.key));
            if let (Some(Candidate { at, key, .. }), Some(place)) = (found, place) {
                self.remove(at, place);
                log.texts(Op::Delete, &[&key]);
                self.mark_written(at.slot, log.next_offset());
                log.command_done();
                self.tell(Classes::EVICTED, "evicted", &key);
                return Evicted::One;
            }
            if self.evictor.slots.is_empty() {
                // What is lent may have some.
                return if self.lent().is_some() { Evicted::NotYet } else { Evicted::Nothing };
            }
        }
        Evicted::NotYet
    }

    /// The score of a key that may go.
    fn score(&self, by: By, at: At, place: Place) -> Option<u64> {
        let expiry = self.expiry(at, place);
        if self.evictor.how.policy.is_volatile() && expiry.is_none() {
            return None;
        }
        let usage = self.usage_of(at, place);
        match by {
            By::Idle => Some(u64::from(self.usage.idle_s(usage))),
            By::Count => {
                let often = self.usage.often?;
                Some(u64::from(u8::MAX - self.usage.count(usage, often)))
            }
            By::Expiry => expiry.map(|expiry| u64::MAX - expiry),
            By::Chance => Some(0),
        }
    }

    fn fill_pool(&mut self, by: By) {
        for _ in 0..self.evictor.how.samples.min(SAMPLES_MAX) {
            let Some((at, key)) = self.drawn() else {
                // A search that has passed over much goes on the next time.
                if self.evictor.search.is_some() {
                    return;
                }
                continue;
            };
            let Some(score) = self.find(at, &key).and_then(|place| self.score(by, at, place))
            else {
                continue;
            };
            let pool = &mut self.evictor.pool;
            if pool.iter().any(|known| known.at == at && known.key == key) {
                continue;
            }
            let place = pool.partition_point(|known| known.score < score);
            if pool.len() >= POOL_MAX {
                if place == 0 {
                    continue;
                }
                pool.remove(0);
                pool.insert(place - 1, Candidate { score, at, key });
            } else {
                pool.insert(place, Candidate { score, at, key });
            }
        }
    }

    /// The best candidate that is still there and was not used since it was drawn.
    fn best(&mut self, by: By) -> Option<Candidate> {
        while let Some(candidate) = self.evictor.pool.pop() {
            let place = self.find(candidate.at, &candidate.key);
            let score = place.and_then(|place| self.score(by, candidate.at, place));
            if score.is_some_and(|score| score >= candidate.score) {
                return Some(candidate);
            }
        }
        None
    }

    /// A key drawn at random among those that may go.
    fn drawn(&mut self) -> Option<(At, Vec<u8>)> {
        if self.evictor.draws_left == 0 {
            self.weigh_slots();
        }
        self.evictor.draws_left = self.evictor.draws_left.saturating_sub(1);
        let mut dice = Dice::new(self.draw());
        let (_, all) = *self.evictor.slots.last()?;
        let which = dice.below(usize::try_from(all).unwrap_or(usize::MAX).max(1)) as u64;
        let index = self.evictor.slots.partition_point(|(_, up_to)| *up_to <= which);
        let (number, _) = *self.evictor.slots.get(index)?;
        let slot = Slot::try_from(number).ok()?;
        if self.rests(slot) {
            self.evictor.draws_left = 0;
            return None;
        }
        let found = if self.evictor.how.policy.is_volatile() {
            let resumed = self.evictor.search.take_if(|(slot, _)| *slot == number);
            let mut position = resumed.map(|(_, position)| position);
            let found = self.table(slot).random_expiring(&mut dice, &mut position);
            let key = found.map(|entry| entry.key().to_vec());
            self.evictor.search = position.map(|position| (number, position));
            key
        } else {
            self.table(slot).random(&mut dice).map(|entry| entry.key().to_vec())
        };
        if found.is_none() && self.may_go(number) == 0 {
            // None is left in this slot.
            (self.evictor.draws_left, self.evictor.search) = (0, None);
        }
        let key = found?;
        let hash = self.hasher().hash(&key);
        Some((At { slot, hash }, key))
    }

    /// How many keys of a slot may go.
    fn may_go(&self, number: u16) -> usize {
        if Slot::try_from(number).is_ok_and(|slot| self.rests(slot)) {
            return 0;
        }
        match self.evictor.how.policy.is_volatile() {
            true => self.sums[usize::from(number)].expiring as usize,
            false => self.slots[usize::from(number)].table.len(),
        }
    }

    /// Reckons how many keys that may go each slot has: a pass over all slots.
    fn weigh_slots(&mut self) {
        let mut slots = std::mem::take(&mut self.evictor.slots);
        slots.clear();
        let mut all = 0;
        for number in 0..SLOTS {
            let count = self.may_go(number);
            if count > 0 {
                all += count as u64;
                slots.push((number, all));
            }
        }
        let draws = usize::try_from(all / 16).unwrap_or(DRAWS_MAX);
        self.evictor.draws_left = draws.clamp(8, DRAWS_MAX);
        self.evictor.slots = slots;
    }
}
