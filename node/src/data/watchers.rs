//! Who watches which key, so that WATCH notices exactly the writes that touched it.

use std::collections::HashMap;

/// A connection, by its index and the id that tells it from later ones at the same index.
pub type Watcher = (usize, u64);

/// Watched keys and their watchers. Empty nearly always: then a write costs nothing more.
#[derive(Debug, Default)]
pub struct Watchers {
    keys: HashMap<Vec<u8>, Vec<Watcher>>,
}

impl Watchers {
    /// Whether nobody watches anything.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// `watcher` watches `key`.
    pub fn add(&mut self, key: &[u8], watcher: Watcher) {
        match self.keys.get_mut(key) {
            Some(watchers) => watchers.push(watcher),
            None => drop(self.keys.insert(key.to_vec(), vec![watcher])),
        }
    }

    /// `watcher` no longer watches `key`.
    pub fn remove(&mut self, key: &[u8], watcher: Watcher) {
        if let Some(watchers) = self.keys.get_mut(key) {
            watchers.retain(|other| *other != watcher);
            if watchers.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// `key` was written: takes out those who watched it; they need not be told again.
    #[must_use]
    pub fn touched(&mut self, key: &[u8]) -> Vec<Watcher> {
        self.keys.remove(key).unwrap_or_default()
    }

    /// Keys that are `such` may have been written.
    #[must_use]
    pub fn touched_where(&mut self, such: impl Fn(&[u8]) -> bool) -> Vec<Watcher> {
        let mut told = Vec::new();
        self.keys.retain(|key, watchers| {
            let stays = !such(key);
            if !stays {
                told.append(watchers);
            }
            stays
        });
        told
    }

    /// All keys may have been written.
    #[must_use]
    pub fn all_touched(&mut self) -> Vec<Watcher> {
        std::mem::take(&mut self.keys).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watchers_of_the_touched_key_are_told_and_only_once() {
        let mut watchers = Watchers::default();
        watchers.add(b"a", (1, 10));
        watchers.add(b"a", (2, 20));
        watchers.add(b"b", (1, 10));
        watchers.remove(b"a", (2, 20));
        assert_eq!(watchers.touched(b"a"), [(1, 10)]);
        assert_eq!(watchers.touched(b"a"), []);
        assert_eq!(watchers.touched_where(|key| key == b"a"), []);
        assert_eq!(watchers.all_touched(), [(1, 10)]);
        assert!(watchers.is_empty());
    }
}
