//! Commands that wait for keys: they are served in the turn in which a key changes, in the order
//! they came, and what they take is logged as any other change.

use crate::data::blocked::Waiting;
use crate::data::conn::{Conn, Pause};
use crate::data::dispatch::{Flow, NO_SLOT};
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use crate::data::watchers::Watcher;
use cairn_keyspace::command::{Command, Flags};
use cairn_keyspace::{Wait, slot_of};
use cairn_logic::ids::Offset;
use cairn_logic::replication::Admission;
use cairn_logic::time::Duration;
use cairn_resp::{Args, ArgsBuf, number};

/// What all waiting commands may take together, in bytes.
const BLOCKED_BYTES_MAX: usize = 256 << 20;

const CHANGED_ROLE: &str = "UNBLOCKED force unblock from blocking operation, instance state \
    changed (master -> replica?)";
const BY_A_CLIENT: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// How a wait ends without what was waited for.
enum End {
    /// As if it had waited long enough.
    InVain,
    /// With an error.
    Error(String),
}

impl Server {
    /// A command found nothing and waits; its reply since `from` is for those that may not wait.
    #[cold]
    pub(in crate::data) fn block(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        wait: Wait,
        from: usize,
    ) -> Flow {
        let number = self.blocked.next_number();
        let now = self.core.now;
        let conn = self.conn(index);
        let mut keys: Vec<Vec<u8>> = command.keys_of(args).map(<[u8]>::to_vec).collect();
        keys.sort_unstable();
        keys.dedup();
        let waiting = Waiting {
            number,
            command,
            args: wait.again.unwrap_or_else(|| ArgsBuf::from(args)),
            keys,
            until: wait.timeout.map(|timeout| now + timeout),
            mute: !conn.session.reply.answers(),
        };
        conn.replies.buf.truncate(from);
        if self.blocked.bytes() + waiting.bytes() > BLOCKED_BYTES_MAX {
            let conn = self.conn(index);
            conn.replies.buf.error("ERR too much is waited for at this node");
            conn.replies.free(from);
            return Flow::Next;
        }
        // It counts once it is served.
        self.not_executed = true;
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        self.blocked.add(&waiting, (index, conn.id));
        conn.pause = Pause::Blocked;
        conn.waiting = Some(Box::new(waiting));
        Flow::Next
    }

    /// Serves those who wait for keys that have changed, as far as there is something for them.
    #[cold]
    pub(in crate::data) fn serve_blocked(&mut self) {
        let master = self.core.mastership.is_some();
        if master && self.core.admission != Admission::Open {
            // What is ready stays so until writes are admitted.
            return;
        }
        loop {
            let ready = self.blocked.take_ready();
            if ready.is_empty() {
                return;
            }
            for key in ready {
                if self.core.holds(slot_of(&key)) {
                    // All are looked at once the move is over.
                    continue;
                }
                for family in self.blocked.families(&key) {
                    let mut last = 0;
                    while self.core.keyspace.may_serve(family, &key, self.core.unix_ms) {
                        let Some((number, who)) = self.blocked.next(&key, family, last) else {
                            break;
                        };
                        last = number;
                        self.try_again(who);
                    }
                }
            }
        }
    }

    /// Executes a waiting command again; it goes on waiting if it still finds nothing.
    fn try_again(&mut self, (index, id): Watcher) {
        let Some(conn) = blocked_conn(self.net.conn(index), id) else { return };
        let Some(waiting) = conn.waiting.take() else { return };
        let (command, args) = (waiting.command, waiting.args.as_args());
        if command.flags.has(Flags::WRITE) && self.core.mastership.is_none() {
            // It is sent to the next master once that is known.
            conn.waiting = Some(waiting);
            return;
        }
        let (ctx, from) = (self.core.ctx(), conn.replies.buf.len());
        let core = &mut self.core;
        let logged = core.log.body_bytes();
        let out = &mut conn.replies.buf;
        let began = (core.clock.now)();
        let done = core.keyspace.execute_again(&ctx, command, args, out, &mut core.log);
        let took = (core.clock.now)().since(began);
        if done.waits.is_some() {
            conn.replies.buf.truncate(from);
            conn.waiting = Some(waiting);
            return;
        }
        if done.wrote {
            conn.session.last_write = Offset(core.log.next_offset().0 - 1);
        }
        self.blocked.remove(&waiting);
        self.note(index, command, args, took);
        self.conn(index).commands += 1;
        if self.conn(index).replies.buf.as_bytes().get(from) == Some(&b'-') {
            self.count_error(index, Some(command), from, true);
        }
        self.go_on(index, &waiting, from, done.wrote, done.depends_on);
        if done.wrote {
            self.touch_since(logged, Some(index));
        }
    }

    /// A wait is over: its reply stands behind `from`.
    fn go_on(
        &mut self,
        index: usize,
        waiting: &Waiting,
        from: usize,
        wrote: bool,
        depends_on: Offset,
    ) {
        let slot = waiting.keys.first().map_or(NO_SLOT, |key| slot_of(key).get());
        let mark = self.core.mark(wrote, depends_on, slot);
        let conn = self.conn(index);
        conn.pause = Pause::None;
        if waiting.mute {
            conn.replies.buf.truncate(from);
        }
        match mark {
            Some(mark) => {
                conn.replies.held(from, mark);
                // Mastership may end before this turn writes anything.
                self.net.list_held(index);
            }
            None => conn.replies.free(from),
        }
        self.net.list_flush(index);
        self.net.list_ready(index);
    }

    /// Ends a wait that its client may not go on with.
    pub(in crate::data) fn refuse_wait(&mut self, who: Watcher, text: String) {
        self.end_wait(who, End::Error(text));
    }

    fn end_wait(&mut self, (index, id): Watcher, end: End) -> bool {
        let Some(conn) = blocked_conn(self.net.conn(index), id) else { return false };
        let Some(waiting) = conn.waiting.take() else { return false };
        let from = conn.replies.buf.len();
        let in_vain = matches!(end, End::InVain);
        match end {
            End::InVain => conn.replies.buf.null_array(),
            End::Error(text) => conn.replies.buf.error(&text),
        }
        self.blocked.remove(&waiting);
        if in_vain {
            self.note(index, waiting.command, waiting.args.as_args(), Duration::ZERO);
            self.conn(index).commands += 1;
        }
        // That nothing came shows what the keys' slots held until now.
        let slots = waiting.keys.iter().map(|key| slot_of(key));
        let last = slots.map(|slot| self.core.keyspace.slot_last_write(slot)).max();
        self.go_on(index, &waiting, from, false, last.unwrap_or_default());
        true
    }

    /// Ends the waits that have lasted long enough.
    pub(in crate::data) fn look_at_blocked(&mut self) {
        if self.blocked_recheck.is_some_and(|at| at <= self.core.now) {
            self.blocked_recheck = None;
            self.redirect_blocked();
        }
        while let Some(who) = self.blocked.late(self.core.now) {
            // Only a master can say that there was nothing.
            let writes = |conn: &Conn| {
                conn.waiting.as_ref().is_some_and(|it| it.command.flags.has(Flags::WRITE))
            };
            let writes = self.net.conn(who.0).is_some_and(|conn| writes(conn));
            let end = match writes && self.core.mastership.is_none() {
                true => End::Error(CHANGED_ROLE.to_owned()),
                false => End::InVain,
            };
            if !self.end_wait(who, end) {
                // Its connection is gone and forgotten at the next turn's begin.
                self.forget_gone();
                break;
            }
        }
    }

    /// Mastership or routes have changed: sends those away whose keys are served elsewhere, and
    /// keeps those whose group is about to have a master again.
    pub(in crate::data) fn redirect_blocked(&mut self) {
        for (index, id) in self.blocked.everyone() {
            let Some(conn) = blocked_conn(self.net.conn(index), id) else { continue };
            let readonly = conn.session.readonly;
            let Some(waiting) = &conn.waiting else { continue };
            let Some(key) = waiting.keys.first() else { continue };
            let write = waiting.command.flags.has(Flags::WRITE);
            let slot = slot_of(key);
            let end = match self.core.view.of_slot(slot, Ask { write, readonly }) {
                Verdict::Here => continue,
                Verdict::Down if self.core.now < self.core.limbo_until => {
                    self.blocked_recheck = Some(self.core.limbo_until);
                    continue;
                }
                Verdict::Down => CHANGED_ROLE.to_owned(),
                elsewhere => self.core.view.error(elsewhere, slot.get()),
            };
            self.end_wait((index, id), End::Error(end));
        }
    }

    /// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`
    pub(in crate::data) fn client_unblock(&mut self, index: usize, args: Args<'_>) {
        let mode = (args.len() > 3).then(|| super::word(args.get(3)));
        let error = match mode.as_deref() {
            None | Some("timeout") => false,
            Some("error") => true,
            Some(_) => {
                let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
                return self.out(index).error(text);
            }
        };
        let Some(id) = number::parse_i64(args.get(2)) else {
            return self.out(index).error("ERR value is not an integer or out of range");
        };
        let found = self.net.conns().find(|(_, conn)| i64::try_from(conn.id) == Ok(id));
        let found = found.map(|(place, conn)| ((place, conn.id), conn.pause));
        let done = match found {
            Some((who, Pause::Blocked)) => {
                let end = match error {
                    true => End::Error(BY_A_CLIENT.to_owned()),
                    false => End::InVain,
                };
                self.end_wait(who, end)
            }
            Some(((place, _), Pause::Copies { .. })) => {
                self.end_copies(place, error.then_some(BY_A_CLIENT));
                true
            }
            _ => false,
        };
        self.out(index).integer(i64::from(done));
    }
}

/// The connection, if it is the one that waits and still there.
fn blocked_conn(conn: Option<&mut Conn>, id: u64) -> Option<&mut Conn> {
    conn.filter(|conn| conn.id == id && conn.pause == Pause::Blocked && !conn.hung_up)
}
