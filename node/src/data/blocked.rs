//! Who waits for which key, in the order they came. Pure.

use crate::data::watchers::Watcher;
use cairn_keyspace::command::{Command, Group};
use cairn_logic::time::Instant;
use cairn_resp::ArgsBuf;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A command that waits for one of its keys.
#[derive(Debug)]
pub struct Waiting {
    /// Its place among all that wait: who came first is served first.
    pub number: u64,
    /// The command.
    pub command: &'static Command,
    /// What is executed when a key has changed.
    pub args: ArgsBuf,
    /// Its keys, each once.
    pub keys: Vec<Vec<u8>>,
    /// When it has waited long enough; none: never.
    pub until: Option<Instant>,
    /// Whether the client wants no reply.
    pub mute: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.family, self.waiting)
    }
}

impl Waiting {
    /// What it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let keys = self.keys.iter().map(|key| 2 * key.len() + 128).sum::<usize>();
        self.args.memory_bytes() + keys + size_of::<Self>()
    }
}

/// Those who wait for one key by commands of one family.
struct Queue {
    family: Group,
    waiting: BTreeMap<u64, Watcher>,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Blocked {
    keys: HashMap<Vec<u8>, Vec<Queue>>,
    everyone: BTreeMap<u64, Watcher>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Keys that have changed, in order.
    ready: Vec<Vec<u8>>,
    /// The same, to be found quickly.
    are_ready: HashSet<Vec<u8>>,
    last_number: u64,
    bytes: usize,
}

impl Blocked {
    /// Whether nobody waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.everyone.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.everyone.len()
    }

    /// How many keys are waited for.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// What they take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the next that comes.
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// `who` waits.
    pub fn add(&mut self, waiting: &Waiting, who: Watcher) {
        self.bytes += waiting.bytes();
        self.everyone.insert(waiting.number, who);
        if let Some(until) = waiting.until {
            self.deadlines.insert((until, waiting.number));
        }
        let family = waiting.command.group;
        for key in &waiting.keys {
            let queues = self.keys.entry(key.clone()).or_default();
            let place = queues.iter().position(|queue| queue.family == family);
            let place = place.unwrap_or_else(|| {
                queues.push(Queue { family, waiting: BTreeMap::new() });
                queues.len() - 1
            });
            queues[place].waiting.insert(waiting.number, who);
        }
    }

    /// It waits no longer.
    pub fn remove(&mut self, waiting: &Waiting) {
        if self.everyone.remove(&waiting.number).is_none() {
            return;
        }
        self.bytes -= waiting.bytes();
        if let Some(until) = waiting.until {
            self.deadlines.remove(&(until, waiting.number));
        }
        for key in &waiting.keys {
            let Some(queues) = self.keys.get_mut(key) else { continue };
            for queue in queues.iter_mut() {
                queue.waiting.remove(&waiting.number);
            }
            queues.retain(|queue| !queue.waiting.is_empty());
            if queues.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// A key has changed.
    pub fn changed(&mut self, key: &[u8]) {
        if self.keys.contains_key(key) && !self.are_ready.contains(key) {
            self.are_ready.insert(key.to_vec());
            self.ready.push(key.to_vec());
        }
    }

    /// All keys may have changed.
    pub fn all_changed(&mut self) {
        self.ready = self.keys.keys().cloned().collect();
        // The order of a hash map is nobody's: what is decided must not depend on it.
        self.ready.sort_unstable();
        self.are_ready = self.ready.iter().cloned().collect();
    }

    /// Takes the keys that have changed.
    #[must_use]
    pub fn take_ready(&mut self) -> Vec<Vec<u8>> {
        self.are_ready.clear();
        std::mem::take(&mut self.ready)
    }

    /// The families of commands that wait for `key`.
    #[must_use]
    pub fn families(&self, key: &[u8]) -> Vec<Group> {
        self.keys
            .get(key)
            .map_or(Vec::new(), |queues| queues.iter().map(|queue| queue.family).collect())
    }

    /// Who came first after the `after`th of those who wait for `key` by commands of `family`.
    #[must_use]
    pub fn next(&self, key: &[u8], family: Group, after: u64) -> Option<(u64, Watcher)> {
        let queue = self.keys.get(key)?.iter().find(|queue| queue.family == family)?;
        queue.waiting.range(after + 1..).next().map(|(number, who)| (*number, *who))
    }

    /// All that wait, in the order they came.
    #[must_use]
    pub fn everyone(&self) -> Vec<Watcher> {
        self.everyone.values().copied().collect()
    }

    /// When the next has waited long enough.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// One that has waited long enough, if there is one.
    #[must_use]
    pub fn late(&self, now: Instant) -> Option<Watcher> {
        let (until, number) = self.deadlines.first()?;
        self.everyone.get(number).copied().filter(|_| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_keyspace::command::lookup;

    fn waiting(blocked: &mut Blocked, name: &str, keys: &[&str], until: Option<u64>) -> Waiting {
        let waiting = Waiting {
            number: blocked.next_number(),
            command: lookup(name.as_bytes()).unwrap(),
            args: ArgsBuf::new(),
            keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
            until: until.map(Instant::from_nanos),
            mute: false,
        };
        blocked.add(&waiting, (waiting.number as usize, waiting.number));
        waiting
    }

    #[test]
    fn who_came_first_is_next_within_a_family() {
        let mut blocked = Blocked::default();
        let first = waiting(&mut blocked, "blpop", &["a", "b"], None);
        waiting(&mut blocked, "bzpopmin", &["a"], None);
        waiting(&mut blocked, "brpop", &["a"], None);
        assert_eq!(blocked.families(b"a"), [Group::List, Group::SortedSet]);
        assert_eq!(blocked.next(b"a", Group::List, 0), Some((1, (1, 1))));
        assert_eq!(blocked.next(b"a", Group::List, 1), Some((3, (3, 3))));
        assert_eq!(blocked.next(b"a", Group::List, 3), None);
        blocked.remove(&first);
        assert_eq!(blocked.next(b"a", Group::List, 0), Some((3, (3, 3))));
        assert_eq!(blocked.families(b"b"), []);
    }

    #[test]
    fn only_keys_that_somebody_waits_for_become_ready_and_once() {
        let mut blocked = Blocked::default();
        waiting(&mut blocked, "blpop", &["a", "b"], None);
        for key in [b"b", b"x", b"a", b"b"] {
            blocked.changed(key);
        }
        assert_eq!(blocked.take_ready(), [b"b", b"a"]);
        assert_eq!(blocked.take_ready(), [] as [Vec<u8>; 0]);
    }

    #[test]
    fn deadlines_come_in_their_order_and_nothing_is_left_behind() {
        let mut blocked = Blocked::default();
        let late = waiting(&mut blocked, "blpop", &["a"], Some(20));
        let early = waiting(&mut blocked, "blpop", &["a"], Some(10));
        assert_eq!(blocked.first_deadline(), Some(Instant::from_nanos(10)));
        assert_eq!(blocked.late(Instant::from_nanos(9)), None);
        assert_eq!(blocked.late(Instant::from_nanos(10)), Some((2, 2)));
        blocked.remove(&early);
        blocked.remove(&early);
        assert_eq!(blocked.late(Instant::from_nanos(10)), None);
        blocked.remove(&late);
        assert!(blocked.is_empty() && blocked.keys.is_empty() && blocked.bytes() == 0);
    }
}
