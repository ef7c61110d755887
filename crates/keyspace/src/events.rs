//! What keys undergo, as `notify-keyspace-events` asks for it: classes and names are Redis's.
//!
//! A command collects events here while it is executed, if anybody wants any; whoever executes it
//! takes them afterwards and tells those who listen. Entries that are applied make none.

use crate::exec::Call;
use crate::keyspace::{At, Keyspace};

/// Classes of events, and which of the two channels of an event are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    /// None: nothing is told.
    pub const NONE: Self = Self(0);
    /// `K`: told on the channel of the key.
    pub const KEYSPACE: Self = Self(1);
    /// `E`: told on the channel of the event.
    pub const KEYEVENT: Self = Self(1 << 1);
    pub(crate) const GENERIC: Self = Self(1 << 2);
    pub(crate) const STRING: Self = Self(1 << 3);
    pub(crate) const LIST: Self = Self(1 << 4);
    pub(crate) const SET: Self = Self(1 << 5);
    pub(crate) const HASH: Self = Self(1 << 6);
    pub(crate) const SORTED: Self = Self(1 << 7);
    pub(crate) const EXPIRED: Self = Self(1 << 8);
    pub(crate) const EVICTED: Self = Self(1 << 9);
    pub(crate) const STREAM: Self = Self(1 << 10);
    pub(crate) const MISS: Self = Self(1 << 11);
    const MODULE: Self = Self(1 << 13);
    pub(crate) const NEW: Self = Self(1 << 14);

    /// Letters in the order in which they are shown.
    const LETTERS: [(u8, Self); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::SORTED),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::MISS),
    ];
    /// How many of them `A` stands for.
    const ALL: usize = 10;
    /// How many are not shown beside `A`.
    const HIDDEN: usize = 11;

    /// Reads letters in any order; none if one has no meaning.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let one = |letter: &u8| match letter {
            b'A' => Some(Self::all()),
            letter => Self::LETTERS.iter().find(|(it, _)| it == letter).map(|(_, class)| *class),
        };
        text.iter().try_fold(Self::NONE, |sum, letter| Some(Self(sum.0 | one(letter)?.0)))
    }

    fn all() -> Self {
        Self(Self::LETTERS[..Self::ALL].iter().fold(0, |sum, (_, class)| sum | class.0))
    }

    /// The letters, as CONFIG GET shows them.
    #[must_use]
    pub fn text(self) -> String {
        let all = self.has(Self::all());
        let shown = &Self::LETTERS[if all { Self::HIDDEN } else { 0 }..];
        let letters = shown.iter().filter(|(_, class)| self.has(*class));
        let letters = letters.map(|(letter, _)| char::from(*letter));
        all.then_some('A').into_iter().chain(letters).collect()
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Something that a key underwent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What, in Redis's words.
    pub name: &'static str,
    /// The key.
    pub key: Vec<u8>,
}

/// What is wanted, and what happened since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Events {
    wanted: Classes,
    seen: Vec<Event>,
}

impl Keyspace {
    /// From now on events of these classes are collected, for [`Keyspace::take_events`].
    pub fn want_events(&mut self, wanted: Classes) {
        let some = wanted != Classes::NONE;
        self.events = some.then(|| Box::new(Events { wanted, seen: Vec::new() }));
    }

    /// The classes that are collected.
    #[must_use]
    pub fn wanted_events(&self) -> Classes {
        self.events.as_ref().map_or(Classes::NONE, |events| events.wanted)
    }

    /// Whether there is something to take.
    #[must_use]
    #[inline]
    pub fn has_events(&self) -> bool {
        self.events.as_ref().is_some_and(|events| !events.seen.is_empty())
    }

    /// What has happened since this was last called, in its order.
    #[must_use]
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.as_mut().map_or_else(Vec::new, |events| std::mem::take(&mut events.seen))
    }

    /// Notes an event if it is wanted.
    #[inline]
    pub(crate) fn tell(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        if let Some(events) = &mut self.events {
            events.add(class, name, key);
        }
    }
}

impl Events {
    /// What was collected elsewhere comes behind.
    pub fn append(&mut self, mut others: Vec<Event>) {
        self.seen.append(&mut others);
    }

    #[cold]
    fn add(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        if self.wanted.has(class) {
            self.seen.push(Event { name, key: key.to_vec() });
        }
    }
}

impl Call<'_> {
    /// Notes an event if it is wanted.
    #[inline]
    pub fn tell(&mut self, class: Classes, name: &'static str, key: &[u8]) {
        self.ks.tell(class, name, key);
    }

    /// Notes an event of all keys alike.
    #[inline]
    pub fn tell_generic(&mut self, name: &'static str, key: &[u8]) {
        self.ks.tell(Classes::GENERIC, name, key);
    }

    /// Notes that a key is new, before what made it is.
    #[inline]
    pub fn tell_new(&mut self, key: &[u8]) {
        self.ks.tell(Classes::NEW, "new", key);
    }

    /// Notes an event that took items away, and perhaps the key with the last of them.
    #[inline]
    pub fn tell_taken(&mut self, class: Classes, name: &'static str, at: At, key: &[u8]) {
        if self.ks.events.is_some() {
            self.ks.tell(class, name, key);
            if self.ks.find(at, key).is_none() {
                self.tell_generic("del", key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 answers to CONFIG GET after CONFIG SET.
    #[test]
    fn letters_are_shown_as_redis_shows_them() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("AKEmn", "AKEm"),
            ("g$lshzxetd", "A"),
            ("Ex", "xE"),
            ("mnK", "nKm"),
            ("$ssKK", "$sK"),
        ] {
            let read = Classes::parse(given.as_bytes()).map(Classes::text);
            assert_eq!(read.as_deref(), Some(shown), "{given}");
        }
        assert_eq!(Classes::parse(b"KEq"), None);
        assert_eq!(Classes::parse(b"K E"), None);
    }

    #[test]
    fn what_is_not_wanted_costs_nothing_and_is_not_kept() {
        let mut keyspace = Keyspace::new(1);
        keyspace.tell(Classes::GENERIC, "del", b"k");
        assert!(!keyspace.has_events());
        keyspace.want_events(Classes::parse(b"Kg").unwrap());
        keyspace.tell(Classes::STRING, "set", b"k");
        keyspace.tell(Classes::GENERIC, "del", b"k");
        let events = [Event { name: "del", key: b"k".to_vec() }];
        assert!(keyspace.has_events() && keyspace.take_events() == events);
        assert!(!keyspace.has_events());
    }
}
