//! Which client has to be told when which key changes (CLIENT TRACKING). Pure.

use crate::data::watchers::Watcher;
use std::collections::{BTreeMap, BTreeSet};

/// Keys remembered at most; above, the first is given up, and those who have it are told.
pub const KEYS_MAX: usize = 1_000_000;

/// How one client is told of changes.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// By prefixes, of every key; otherwise of the keys it has read.
    pub broadcast: bool,
    /// The prefixes; one that is empty fits to every key.
    pub prefixes: BTreeSet<Vec<u8>>,
    /// Only of keys read by a command behind CLIENT CACHING YES.
    pub opt_in: bool,
    /// Of all but those read by a command behind CLIENT CACHING NO.
    pub opt_out: bool,
    /// Not of its own changes.
    pub no_loop: bool,
    /// Who is told instead.
    pub redirect: Option<Watcher>,
    /// Whether it was told that nobody is there to be told instead.
    pub broken: bool,
    /// What CLIENT CACHING says of the next command.
    pub caching: Option<bool>,
}

impl Tracks {
    /// Whether the keys that the next command reads are remembered.
    #[must_use]
    pub fn remembers(&self) -> bool {
        let wanted = match (self.opt_in, self.opt_out) {
            (true, _) => self.caching == Some(true),
            (_, true) => self.caching != Some(false),
            _ => true,
        };
        wanted && !self.broadcast
    }
}

/// What a client is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Keys have changed: one message for each.
    Keys(Vec<Changed>),
    /// All keys may have.
    All,
}

/// Keys that are told in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The prefix they all begin with; none: it is one key that was read.
    prefix: Option<Vec<u8>>,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
}

/// All that is tracked at this node.
#[derive(Debug)]
pub struct Tracking {
    /// Keys remembered at most.
    keys_max: usize,
    keys: BTreeMap<Vec<u8>, BTreeSet<Watcher>>,
    prefixes: BTreeMap<Vec<u8>, BTreeSet<Watcher>>,
    /// Everybody who tracks.
    clients: BTreeSet<Watcher>,
    /// Who of them does by prefixes: what it has read before is not told apart.
    broadcast: BTreeSet<Watcher>,
    /// What is to be told.
    pending: BTreeMap<Watcher, Told>,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            keys_max: KEYS_MAX,
            keys: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            clients: BTreeSet::new(),
            broadcast: BTreeSet::new(),
            pending: BTreeMap::new(),
        }
    }
}

impl Tracking {
    /// How many keys are remembered at most.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Remembers so many keys at most from now on; those who have what is given up are told.
    pub fn limit(&mut self, keys_max: usize) {
        self.keys_max = keys_max;
        while self.keys.len() > keys_max {
            self.give_up_one();
        }
    }

    fn give_up_one(&mut self) {
        if let Some((key, clients)) = self.keys.pop_first() {
            clients.into_iter().for_each(|client| self.tell(client, None, &key));
        }
    }

    /// Whether nobody tracks anything.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many clients track, keys are remembered, clients for these keys, and prefixes.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let items = self.keys.values().map(BTreeSet::len).sum();
        [self.clients.len(), self.keys.len(), items, self.prefixes.len()]
    }

    /// `who` tracks from now on, by these prefixes as well.
    pub fn begin(&mut self, who: Watcher, prefixes: &BTreeSet<Vec<u8>>) {
        self.clients.insert(who);
        if !prefixes.is_empty() {
            self.broadcast.insert(who);
        }
        for prefix in prefixes {
            self.prefixes.entry(prefix.clone()).or_default().insert(who);
        }
    }

    /// It does no longer. The keys it has read are forgotten when they change.
    pub fn end(&mut self, who: Watcher, tracks: &Tracks) {
        self.clients.remove(&who);
        self.broadcast.remove(&who);
        self.pending.remove(&who);
        for prefix in &tracks.prefixes {
            if let Some(clients) = self.prefixes.get_mut(prefix) {
                clients.remove(&who);
                if clients.is_empty() {
                    self.prefixes.remove(prefix);
                }
            }
        }
        if self.clients.is_empty() {
            self.keys.clear();
        }
    }

    /// `who` has read `key`.
    pub fn read(&mut self, who: Watcher, key: &[u8]) {
        match self.keys.get_mut(key) {
            Some(clients) => {
                clients.insert(who);
            }
            None => {
                self.keys.insert(key.to_vec(), BTreeSet::from([who]));
            }
        }
        if self.keys.len() > self.keys_max {
            self.give_up_one();
        }
    }

    fn tell(&mut self, who: Watcher, prefix: Option<&[u8]>, key: &[u8]) {
        if !self.clients.contains(&who) || (prefix.is_none() && self.broadcast.contains(&who)) {
            return;
        }
        let told = self.pending.entry(who).or_insert_with(|| Told::Keys(Vec::new()));
        let Told::Keys(all) = told else { return };
        let known = all.iter_mut().find(|it| it.prefix.as_deref() == prefix && prefix.is_some());
        match known {
            Some(changed) if changed.keys.last().is_some_and(|last| last == key) => {}
            Some(changed) => changed.keys.push(key.to_vec()),
            None => {
                let prefix = prefix.map(<[u8]>::to_vec);
                all.push(Changed { prefix, keys: vec![key.to_vec()] });
            }
        }
    }

    /// `key` has changed, by the hand of a client that does not want to hear of it, if by any.
    pub fn changed(&mut self, key: &[u8], silent: Option<Watcher>) {
        if let Some(clients) = self.keys.remove(key) {
            let others = clients.into_iter().filter(|client| Some(*client) != silent);
            others.for_each(|client| self.tell(client, None, key));
        }
        if self.prefixes.is_empty() {
            return;
        }
        for prefix in (0..=key.len()).map(|len| &key[..len]) {
            let Some(clients) = self.prefixes.get(prefix) else { continue };
            let others = clients.iter().copied().filter(|client| Some(*client) != silent);
            for client in others.collect::<Vec<_>>() {
                self.tell(client, Some(prefix), key);
            }
        }
    }

    /// Every key may have changed.
    pub fn all_changed(&mut self) {
        self.keys.clear();
        self.pending = self.clients.iter().map(|client| (*client, Told::All)).collect();
    }

    /// Takes what is to be told.
    #[must_use]
    pub fn take_pending(&mut self) -> BTreeMap<Watcher, Told> {
        std::mem::take(&mut self.pending)
    }

    /// Whether there is something to be told.
    #[must_use]
    #[inline]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Watcher = (1, 10);
    const B: Watcher = (2, 20);

    fn keys(prefix: Option<&str>, names: &[&str]) -> Told {
        let prefix = prefix.map(|prefix| prefix.as_bytes().to_vec());
        let keys = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Told::Keys(vec![Changed { prefix, keys }])
    }

    #[test]
    fn a_reader_is_told_once_of_each_key_and_not_of_its_own_change_if_it_says_so() {
        let mut tracking = Tracking::default();
        tracking.begin(A, &BTreeSet::new());
        tracking.begin(B, &BTreeSet::new());
        for who in [A, B] {
            tracking.read(who, b"x");
        }
        tracking.read(A, b"y");
        tracking.changed(b"x", Some(B));
        tracking.changed(b"x", None);
        tracking.changed(b"z", None);
        assert_eq!(tracking.take_pending(), BTreeMap::from([(A, keys(None, &["x"]))]));
        tracking.end(A, &Tracks::default());
        tracking.changed(b"y", None);
        assert!(!tracking.has_pending());
    }

    #[test]
    fn who_tracks_by_prefix_is_told_of_every_change() {
        let mut tracking = Tracking::default();
        let prefixes = BTreeSet::from([b"user:".to_vec()]);
        let tracks = Tracks { broadcast: true, prefixes: prefixes.clone(), ..Tracks::default() };
        tracking.begin(A, &prefixes);
        tracking.begin(B, &BTreeSet::from([Vec::new()]));
        tracking.changed(b"user:1", None);
        tracking.changed(b"other", None);
        let told =
            [(A, keys(Some("user:"), &["user:1"])), (B, keys(Some(""), &["user:1", "other"]))];
        let told = BTreeMap::from(told);
        assert_eq!(tracking.take_pending(), told);
        tracking.all_changed();
        assert_eq!(tracking.take_pending(), BTreeMap::from([(A, Told::All), (B, Told::All)]));
        tracking.end(A, &tracks);
        assert_eq!(tracking.counts(), [1, 0, 0, 1]);
    }

    #[test]
    fn who_tracks_by_prefix_now_is_told_once_of_what_it_has_read_before() {
        let mut tracking = Tracking::default();
        tracking.begin(A, &BTreeSet::new());
        tracking.begin(B, &BTreeSet::new());
        tracking.read(A, b"x");
        tracking.end(A, &Tracks::default());
        tracking.begin(A, &BTreeSet::from([Vec::new()]));
        tracking.changed(b"x", None);
        assert_eq!(tracking.take_pending(), BTreeMap::from([(A, keys(Some(""), &["x"]))]));
    }

    #[test]
    fn who_has_a_key_that_is_given_up_is_told() {
        let mut tracking = Tracking::default();
        tracking.begin(A, &BTreeSet::new());
        tracking.limit(2);
        [b"a", b"b", b"c"].into_iter().for_each(|key| tracking.read(A, key));
        assert_eq!(tracking.take_pending(), BTreeMap::from([(A, keys(None, &["a"]))]));
        tracking.limit(1);
        assert_eq!(tracking.take_pending(), BTreeMap::from([(A, keys(None, &["b"]))]));
        assert_eq!(tracking.counts(), [1, 1, 1, 0]);
    }

    #[test]
    fn what_is_chosen_decides_what_is_remembered() {
        let remembers = |opt_in, opt_out, caching| {
            Tracks { opt_in, opt_out, caching, ..Tracks::default() }.remembers()
        };
        assert!(remembers(false, false, None));
        assert!(!remembers(true, false, None) && remembers(true, false, Some(true)));
        assert!(remembers(false, true, None) && !remembers(false, true, Some(false)));
        assert!(!Tracks { broadcast: true, ..Tracks::default() }.remembers());
    }
}
