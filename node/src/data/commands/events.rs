//! What keys underwent, told to those who listen to it at this node: `notify-keyspace-events`.
//!
//! As in Redis, it is told when it has been executed, before it is committed, and by the node that
//! executed it: the master of the key's group. It is no data (docs/clients.md).

use crate::data::post::Publication;
use crate::data::server::Server;
use cairn_keyspace::{Classes, Event};

/// The channel of a key, or of an event, in the one database there is.
fn channel(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    [prefix, b"@0__:", name].concat()
}

/// The messages of an event, in their order.
fn messages(wanted: Classes, event: Event) -> impl Iterator<Item = Publication> {
    let Event { name, key } = event;
    let of_key = wanted.has(Classes::KEYSPACE).then(|| Publication {
        channel: channel(b"__keyspace", &key),
        message: name.as_bytes().to_vec(),
        sharded: false,
    });
    let of_event = wanted.has(Classes::KEYEVENT).then(|| Publication {
        channel: channel(b"__keyevent", name.as_bytes()),
        message: key,
        sharded: false,
    });
    of_key.into_iter().chain(of_event)
}

impl Server {
    /// Tells what keys underwent since this was last done.
    #[cold]
    pub(in crate::data) fn tell_events(&mut self) {
        let wanted = self.core.keyspace.wanted_events();
        let events = self.core.keyspace.take_events();
        self.forget_gone();
        if self.channels.is_empty() {
            return;
        }
        for message in events.into_iter().flat_map(|event| messages(wanted, event)) {
            self.tell_listeners(&message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_channel_of_its_key_and_one_of_its_own() {
        let event = Event { name: "set", key: b"k\xff".to_vec() };
        let both = Classes::parse(b"KEA").unwrap();
        let told: Vec<_> = messages(both, event.clone()).collect();
        assert_eq!(told[0].channel, b"__keyspace@0__:k\xff");
        assert_eq!(told[0].message, b"set");
        assert_eq!(told[1].channel, b"__keyevent@0__:set");
        assert_eq!(told[1].message, b"k\xff");
        assert_eq!(messages(Classes::parse(b"A").unwrap(), event).count(), 0);
    }
}
