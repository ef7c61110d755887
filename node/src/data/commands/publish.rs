//! PUBLISH, SPUBLISH, PUBSUB: messages to those who listen, here and at other nodes.
//!
//! A message is no data: nobody keeps it, nobody acknowledges it. docs/clients.md says what is
//! promised.

use crate::data::channels::Scope;
use crate::data::commands::{help, too_many, word};
use crate::data::dispatch::Refused;
use crate::data::net::Net;
use crate::data::post::Publication;
use crate::data::server::Server;
use crate::data::watchers::Watcher;
use cairn_keyspace::fits;
use cairn_logic::ids::GroupId;
use cairn_resp::{Args, ReplyBuf, Version};
use std::sync::Arc;

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Print this help.",
];

/// Unread bytes of a listener above which its socket is tried at once, before more is added.
const EAGER_BYTES: usize = 64 << 10;

/// A message in both protocols, each written when the first listener needs it.
struct Frames<'a> {
    parts: Vec<&'a [u8]>,
    written: [Option<Vec<u8>>; 2],
}

impl<'a> Frames<'a> {
    fn new(parts: Vec<&'a [u8]>) -> Self {
        Self { parts, written: [None, None] }
    }

    fn of(&mut self, version: Version) -> &[u8] {
        let place = usize::from(version == Version::Resp3);
        let parts = &self.parts;
        self.written[place].get_or_insert_with(|| {
            let mut out = ReplyBuf::new(version);
            out.push(parts.len());
            parts.iter().for_each(|part| out.bulk(part));
            out.take()
        })
    }
}

/// Hands a message to a listener; one that leaves too much unread will be closed.
fn hand(net: &mut Net, (index, id): Watcher, frames: &mut Frames<'_>) {
    let Some(conn) = net.conn(index).filter(|conn| conn.id == id && !conn.overrun) else { return };
    if conn.replies.pending_bytes() > EAGER_BYTES && !conn.choked && !conn.flush() {
        conn.hung_up = true;
    }
    let frame = frames.of(conn.replies.buf.version());
    conn.tell(frame);
    net.list_flush(index);
}

impl Server {
    /// `PUBLISH channel message`, `SPUBLISH channel message`; tells how many heard it at this node.
    pub fn publish(&mut self, index: usize, sharded: bool, args: Args<'_>) {
        if sharded
            && let Err(Refused::Error(text)) =
                self.core.admit_channels(std::iter::once(args.get(1)))
        {
            return self.out(index).error(&text);
        }
        self.forget_gone();
        let (channel, message) = (args.get(1).to_vec(), args.get(2).to_vec());
        let heard = self.channels.count(&channel, sharded);
        self.published.push(Arc::new(Publication { channel, message, sharded }));
        self.out(index).count(heard);
    }

    /// Hands out what was published since this was last done, here and to other nodes.
    pub(in crate::data) fn deliver(&mut self) {
        for publication in std::mem::take(&mut self.published) {
            self.tell_listeners(&publication);
            if !self.post.send(&publication) {
                self.core.stats.lost_messages += 1;
            }
        }
    }

    /// Messages from another node of `group`.
    pub(in crate::data) fn arrived(&mut self, group: &GroupId, all: &[Publication]) {
        // A node that was given to another keyspace meanwhile hears nothing of this one.
        if !self.core.view.routes.groups.iter().any(|known| known.id == *group) {
            return;
        }
        self.forget_gone();
        all.iter().for_each(|publication| self.tell_listeners(publication));
    }

    pub(super) fn tell_listeners(&mut self, publication: &Publication) {
        let Publication { channel, message, sharded } = publication;
        let (scope, name) = match sharded {
            true => (Scope::Shard, &b"smessage"[..]),
            false => (Scope::Channel, &b"message"[..]),
        };
        let mut frames = Frames::new(vec![name, channel, message]);
        for listener in self.channels.listeners(scope, channel) {
            hand(&mut self.net, listener, &mut frames);
        }
        if *sharded {
            return;
        }
        for (pattern, listeners) in self.channels.patterns_of(channel) {
            let mut frames = Frames::new(vec![b"pmessage", pattern, channel, message]);
            listeners.iter().for_each(|listener| hand(&mut self.net, *listener, &mut frames));
        }
    }

    /// `PUBSUB subcommand …`
    pub fn pubsub(&mut self, index: usize, args: Args<'_>) {
        self.forget_gone();
        let rest = args.from(2);
        match word(args.get(1)).as_str() {
            "channels" if args.len() <= 3 => self.pubsub_channels(index, Scope::Channel, rest),
            "shardchannels" if args.len() <= 3 => self.pubsub_channels(index, Scope::Shard, rest),
            "numsub" => self.pubsub_counts(index, Scope::Channel, rest),
            "shardnumsub" => self.pubsub_counts(index, Scope::Shard, rest),
            "numpat" => {
                let count = self.channels.names(Scope::Pattern).count();
                self.out(index).count(count);
            }
            "channels" | "shardchannels" => too_many(self, index, args, "PUBSUB"),
            // Unknown ones were refused before.
            _ => help(self, index, HELP),
        }
    }

    fn pubsub_channels(&mut self, index: usize, scope: Scope, patterns: Args<'_>) {
        let pattern = patterns.iter().next();
        let fitting = |name: &&[u8]| pattern.is_none_or(|pattern| fits(pattern, name));
        let names: Vec<_> = self.channels.names(scope).filter(fitting).collect();
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        conn.replies.buf.array(names.len());
        names.iter().for_each(|name| conn.replies.buf.bulk(name));
    }

    fn pubsub_counts(&mut self, index: usize, scope: Scope, names: Args<'_>) {
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let out = &mut conn.replies.buf;
        out.array(names.len() * 2);
        for name in names.iter() {
            out.bulk(name);
            out.count(self.channels.listeners(scope, name).count());
        }
    }
}
