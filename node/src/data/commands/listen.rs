//! SUBSCRIBE and its like: who listens to which channels, in a mode of its own in RESP2.

use crate::data::channels::Scope;
use crate::data::dispatch::{CROSSSLOT, Refused};
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use cairn_keyspace::command::{Command, Session};
use cairn_keyspace::slot_of;
use cairn_logic::ids::Slot;
use cairn_resp::{Args, ReplyBuf, Version};

/// Names one client may listen to.
const LISTENS_MAX: usize = 65_536;

/// What a client of RESP2 that listens may still ask for.
fn is_allowed(session: Session) -> bool {
    matches!(
        session,
        Session::Subscribe
            | Session::Psubscribe
            | Session::Ssubscribe
            | Session::Unsubscribe
            | Session::Punsubscribe
            | Session::Sunsubscribe
            | Session::Quit
            | Session::Reset
    )
}

/// The confirmation that begins with `word`.
fn confirm(out: &mut ReplyBuf, word: &str, name: Option<&[u8]>, count: usize) {
    out.push(3);
    out.bulk(word.as_bytes());
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.count(count);
}

fn words(scope: Scope) -> (&'static str, &'static str) {
    match scope {
        Scope::Channel => ("subscribe", "unsubscribe"),
        Scope::Pattern => ("psubscribe", "punsubscribe"),
        Scope::Shard => ("ssubscribe", "sunsubscribe"),
    }
}

impl Server {
    /// `SUBSCRIBE channel …`, `PSUBSCRIBE pattern …`, `SSUBSCRIBE channel …`
    pub fn subscribe(&mut self, index: usize, scope: Scope, args: Args<'_>) {
        if scope == Scope::Shard {
            if self.in_unit {
                let text = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
                return self.out(index).error(text);
            }
            if let Err(Refused::Error(text)) = self.core.admit_channels(args.from(1).iter()) {
                return self.out(index).error(&text);
            }
        }
        let listener = (index, self.conn(index).id);
        for name in args.from(1).iter() {
            let conn = self.net.conn(index).expect("a connection is open while it is served");
            let listens = conn.session.listens.get_or_insert_default();
            if listens.len() >= LISTENS_MAX && !listens.of(scope).contains(name) {
                conn.replies.buf.error("ERR too many channels are listened to");
                break;
            }
            if listens.add(scope, name) {
                self.channels.add(scope, name, listener);
            }
            confirm(&mut conn.replies.buf, words(scope).0, Some(name), listens.shown(scope));
        }
        self.end_listening(index);
    }

    /// `UNSUBSCRIBE [channel …]`, `PUNSUBSCRIBE [pattern …]`, `SUNSUBSCRIBE [channel …]`
    pub fn unsubscribe(&mut self, index: usize, scope: Scope, args: Args<'_>) {
        let names: Vec<Vec<u8>> = match args.len() {
            1 => {
                let listens = self.session(index).listens.as_ref();
                listens.map_or(Vec::new(), |it| it.of(scope).iter().cloned().collect())
            }
            _ => args.from(1).iter().map(<[u8]>::to_vec).collect(),
        };
        for name in &names {
            self.forget_channel(index, scope, name);
        }
        if names.is_empty() {
            let shown = self.session(index).listens.as_ref().map_or(0, |it| it.shown(scope));
            confirm(self.out(index), words(scope).1, None, shown);
        }
        self.end_listening(index);
    }

    /// Ends listening to one name, and says so.
    fn forget_channel(&mut self, index: usize, scope: Scope, name: &[u8]) {
        let Some(conn) = self.net.conn(index) else { return };
        let mut shown = 0;
        if let Some(listens) = &mut conn.session.listens {
            if listens.remove(scope, name) {
                self.channels.remove(scope, name, (index, conn.id));
            }
            shown = listens.shown(scope);
        }
        confirm(&mut conn.replies.buf, words(scope).1, Some(name), shown);
    }

    /// Who listens to nothing is as any other client.
    fn end_listening(&mut self, index: usize) {
        let session = self.session(index);
        session.listens.take_if(|listens| listens.is_empty());
    }

    /// Ends all listening of a connection and says nothing.
    pub(in crate::data) fn stop_listening(&mut self, index: usize) {
        let conn = self.conn(index);
        let listener = (index, conn.id);
        if let Some(listens) = conn.session.listens.take() {
            self.channels.remove_all(&listens, listener);
        }
    }

    /// Answers what a client of RESP2 that listens must not ask for, or hears otherwise; whether it
    /// did.
    pub(in crate::data) fn answered_listener(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
    ) -> bool {
        let conn = self.conn(index);
        if conn.session.listens.is_none() || conn.replies.buf.version() == Version::Resp3 {
            return false;
        }
        if command.name == "ping" {
            let out = &mut conn.replies.buf;
            out.array(2);
            out.bulk(b"pong");
            out.bulk(if args.len() > 1 { args.get(1) } else { b"" });
            return true;
        }
        if command.session().is_some_and(is_allowed) {
            return false;
        }
        let mut name = command.name.to_owned();
        if args.len() > 1 && super::subcommands::has_subcommands(command) {
            name = format!("{name}|{}", super::word(args.get(1)));
        }
        conn.replies.buf.error(&format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context"
        ));
        true
    }

    /// Slots have moved away: their channels are not listened to here any more.
    pub(in crate::data) fn forget_moved_channels(&mut self) {
        let moved: Vec<Vec<u8>> = self
            .channels
            .names(Scope::Shard)
            .filter(|name| !self.core.serves_channels(slot_of(name)))
            .map(<[u8]>::to_vec)
            .collect();
        for name in moved {
            let listeners: Vec<_> = self.channels.listeners(Scope::Shard, &name).collect();
            for (index, id) in listeners {
                let Some(conn) = self.net.conn(index).filter(|conn| conn.id == id) else {
                    self.channels.remove(Scope::Shard, &name, (index, id));
                    continue;
                };
                let from = conn.replies.buf.len();
                self.forget_channel(index, Scope::Shard, &name);
                self.conn(index).replies.free(from);
                self.end_listening(index);
                self.net.list_flush(index);
            }
        }
    }
}

impl crate::data::core::Core {
    /// Whether channels of `slot` are this group's, at its master or a replica.
    fn serves_channels(&self, slot: Slot) -> bool {
        // A group without a master still is where its channels are.
        let ask = Ask { write: false, readonly: true };
        matches!(self.view.of_slot(slot, ask), Verdict::Here | Verdict::Down)
    }

    /// Whether channels are of one slot, and of this group.
    pub(in crate::data) fn admit_channels<'a>(
        &self,
        mut names: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), Refused> {
        let Some(first) = names.next() else { return Ok(()) };
        let slot = slot_of(first);
        if names.any(|name| slot_of(name) != slot) {
            return Err(Refused::Error(CROSSSLOT.into()));
        }
        if self.serves_channels(slot) {
            return Ok(());
        }
        let verdict = self.view.of_slot(slot, Ask { write: false, readonly: true });
        Err(Refused::Error(self.view.error(verdict, slot.get())))
    }
}
