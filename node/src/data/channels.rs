//! Who listens to which channels and patterns. Pure.

use crate::data::watchers::Watcher;
use cairn_keyspace::fits;
use std::collections::{BTreeMap, BTreeSet};

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A channel of the whole keyspace.
    Channel,
    /// All such channels that fit to a pattern.
    Pattern,
    /// A channel of a slot.
    Shard,
}

/// The names one client listens to, by scope.
#[derive(Debug, Default)]
pub struct Listens {
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    shards: BTreeSet<Vec<u8>>,
}

impl Listens {
    /// The names of `scope`.
    #[must_use]
    pub fn of(&self, scope: Scope) -> &BTreeSet<Vec<u8>> {
        match scope {
            Scope::Channel => &self.channels,
            Scope::Pattern => &self.patterns,
            Scope::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, scope: Scope) -> &mut BTreeSet<Vec<u8>> {
        match scope {
            Scope::Channel => &mut self.channels,
            Scope::Pattern => &mut self.patterns,
            Scope::Shard => &mut self.shards,
        }
    }

    /// Adds a name; whether it is new.
    pub fn add(&mut self, scope: Scope, name: &[u8]) -> bool {
        self.of_mut(scope).insert(name.to_vec())
    }

    /// Removes a name; whether it was there.
    pub fn remove(&mut self, scope: Scope, name: &[u8]) -> bool {
        self.of_mut(scope).remove(name)
    }

    /// The count that confirmations of `scope` show: channels and patterns together, or those of
    /// slots alone.
    #[must_use]
    pub fn shown(&self, scope: Scope) -> usize {
        match scope {
            Scope::Channel | Scope::Pattern => self.channels.len() + self.patterns.len(),
            Scope::Shard => self.shards.len(),
        }
    }

    /// How many names there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

type Listeners = BTreeMap<Vec<u8>, BTreeSet<Watcher>>;

/// All listeners of this node.
#[derive(Debug, Default)]
pub struct Channels {
    channels: Listeners,
    patterns: Listeners,
    shards: Listeners,
}

impl Channels {
    fn of(&self, scope: Scope) -> &Listeners {
        match scope {
            Scope::Channel => &self.channels,
            Scope::Pattern => &self.patterns,
            Scope::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, scope: Scope) -> &mut Listeners {
        match scope {
            Scope::Channel => &mut self.channels,
            Scope::Pattern => &mut self.patterns,
            Scope::Shard => &mut self.shards,
        }
    }

    /// `listener` listens to `name`.
    pub fn add(&mut self, scope: Scope, name: &[u8], listener: Watcher) {
        self.of_mut(scope).entry(name.to_vec()).or_default().insert(listener);
    }

    /// It does no longer.
    pub fn remove(&mut self, scope: Scope, name: &[u8], listener: Watcher) {
        let all = self.of_mut(scope);
        let Some(listeners) = all.get_mut(name) else { return };
        listeners.remove(&listener);
        if listeners.is_empty() {
            all.remove(name);
        }
    }

    /// It listens to nothing any more.
    pub fn remove_all(&mut self, listens: &Listens, listener: Watcher) {
        for scope in [Scope::Channel, Scope::Pattern, Scope::Shard] {
            listens.of(scope).iter().for_each(|name| self.remove(scope, name, listener));
        }
    }

    /// Who listens to exactly this name.
    pub fn listeners(&self, scope: Scope, name: &[u8]) -> impl Iterator<Item = Watcher> + '_ {
        self.of(scope).get(name).into_iter().flatten().copied()
    }

    /// The patterns that fit to a channel, each with its listeners.
    pub fn patterns_of<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a BTreeSet<Watcher>)> + 'a {
        let all = self.patterns.iter();
        let fitting = all.filter(move |(pattern, _)| fits(pattern, channel));
        fitting.map(|(pattern, listeners)| (&pattern[..], listeners))
    }

    /// How often a message to `channel` is handed to a client here.
    #[must_use]
    pub fn count(&self, channel: &[u8], sharded: bool) -> usize {
        if sharded {
            return self.listeners(Scope::Shard, channel).count();
        }
        let by_pattern = self.patterns_of(channel).map(|(_, listeners)| listeners.len());
        self.listeners(Scope::Channel, channel).count() + by_pattern.sum::<usize>()
    }

    /// The names of `scope` that somebody listens to.
    pub fn names(&self, scope: Scope) -> impl Iterator<Item = &[u8]> {
        self.of(scope).keys().map(|name| &name[..])
    }

    /// Whether nobody listens to anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_once_for_each_name_that_fits() {
        let mut channels = Channels::default();
        channels.add(Scope::Channel, b"news.it", (1, 10));
        channels.add(Scope::Pattern, b"news.*", (1, 10));
        channels.add(Scope::Pattern, b"n*", (2, 20));
        channels.add(Scope::Shard, b"news.it", (3, 30));
        assert_eq!(channels.count(b"news.it", false), 3);
        assert_eq!(channels.count(b"news.it", true), 1);
        assert_eq!(channels.count(b"old", false), 0);
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let (mut channels, mut listens) = (Channels::default(), Listens::default());
        for (scope, name) in [(Scope::Channel, b"a"), (Scope::Pattern, b"b"), (Scope::Shard, b"c")]
        {
            assert!(listens.add(scope, name) && !listens.add(scope, name));
            channels.add(scope, name, (1, 10));
        }
        assert_eq!((listens.shown(Scope::Pattern), listens.shown(Scope::Shard)), (2, 1));
        channels.remove_all(&listens, (1, 10));
        assert!(channels.is_empty());
    }
}
