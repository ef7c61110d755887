//! Values that get another key of the same slot, or come from outside.

use super::{At, Keyspace};
use crate::payload::Loaded;
use crate::snapshot::address_of;
use crate::table::{Payload, View};
use crate::value::Value;

/// What is to stand under a key.
enum Copied {
    Text(Vec<u8>),
    Object(Value),
}

impl Keyspace {
    /// Moves a value with its expiry, which is there, to another key of the same slot, in place of
    /// what is there. Takes the same time for any value.
    pub(crate) fn rename(&mut self, from: (At, &[u8]), to: (At, &[u8])) {
        debug_assert_eq!(from.0.slot, to.0.slot, "both keys are of one slot");
        self.give_up(to);
        self.before(from.0);
        self.before(to.0);
        let Some(place) = self.find(from.0, from.1) else { return };
        let slot = to.0.slot;
        let entry = self.table(slot).entry(place);
        let (expiry, usage) = (entry.expiry(), entry.usage());
        if let View::Bytes(text) = entry.value() {
            let text = text.to_vec();
            self.remove(from.0, place);
            let place = self.put_text(to.0, to.1, None, &text, expiry);
            return self.put_usage(to.0, place, usage);
        }
        let Some(value) = self.change(slot, |table, _| table.remove(place)) else { return };
        if slot.get() == self.watched
            && let Some(export) = &mut self.export
        {
            export.renamed(address_of(&value), to.1);
        }
        let place = self.change(slot, |table, hasher| {
            table.insert(hasher, to.0.hash, to.1, Payload::Object(value), expiry)
        });
        self.put_usage(to.0, place, usage);
    }

    /// Copies a value with its expiry, which is there, to another key, in place of what is there.
    /// Takes time by its size.
    pub(crate) fn copy(&mut self, from: (At, &[u8]), to: (At, &[u8])) {
        let Some(place) = self.find(from.0, from.1) else { return };
        let entry = self.table(from.0.slot).entry(place);
        let (expiry, copied) = match (entry.expiry(), entry.value()) {
            (expiry, View::Bytes(text)) => (expiry, Copied::Text(text.to_vec())),
            (expiry, View::Object(value)) => {
                (expiry, Copied::Object(value.duplicate(self.hasher())))
            }
        };
        self.give_up(to);
        match copied {
            Copied::Text(text) => self.put_text(to.0, to.1, None, &text, expiry),
            Copied::Object(value) => self.put_object(to.0, to.1, None, value, expiry),
        };
    }

    /// Puts what a payload has made in place of what is there; 0 is no expiry.
    pub(crate) fn put_loaded(&mut self, at: At, key: &[u8], loaded: Loaded, expiry: u64) {
        self.give_up((at, key));
        let expiry = (expiry > 0).then_some(expiry);
        match loaded {
            Loaded::Text(text) => self.put_text(at, key, None, &text, expiry),
            Loaded::Object(value) => self.put_object(at, key, None, value, expiry),
        };
    }

    fn give_up(&mut self, (at, key): (At, &[u8])) {
        if let Some(place) = self.find(at, key) {
            self.remove(at, place);
        }
    }

    /// A number nobody can foresee who does not know the seed; for random choices of the master.
    pub(crate) fn draw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}
