//! CLIENT PAUSE and UNPAUSE: commands wait, all of them or those meant to change something.

use crate::data::conn::Pause;
use crate::data::server::Server;
use cairn_keyspace::command::{Command, Flags, Session, lookup};
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{Args, ArgsBuf, number};

/// A pause that a client has asked for.
#[derive(Clone, Copy, Debug)]
pub struct Paused {
    /// Its end.
    pub until: Instant,
    /// Whether reads wait, too.
    pub all: bool,
}

impl Server {
    /// `CLIENT PAUSE timeout [WRITE | ALL]`; a pause is never made shorter or narrower.
    pub fn client_pause(&mut self, index: usize, args: Args<'_>) {
        let all = match (args.len(), args.len() > 3 && super::word(args.get(3)) == "write") {
            (3, _) => true,
            (4, true) => false,
            (4, false) if super::word(args.get(3)) == "all" => true,
            (4, false) => {
                let text = "ERR CLIENT PAUSE mode must be WRITE or ALL";
                return self.out(index).error(text);
            }
            _ => return self.out(index).error("ERR syntax error"),
        };
        let Some(ms) = number::parse_i64(args.get(2)) else {
            return self.out(index).error("ERR timeout is not an integer or out of range");
        };
        let Ok(ms) = u64::try_from(ms) else {
            return self.out(index).error("ERR timeout is negative");
        };
        let until = self.core.now + Duration::from_millis(ms);
        let before = self.paused.unwrap_or(Paused { until, all });
        self.paused = Some(Paused { until: until.max(before.until), all: all || before.all });
        self.out(index).ok();
    }

    /// `CLIENT UNPAUSE`
    pub fn client_unpause(&mut self, index: usize) {
        self.paused = None;
        self.resume_stalled();
        self.out(index).ok();
    }

    /// Keeps a command for later, if it is paused; whether it is.
    pub(in crate::data) fn is_paused(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
    ) -> bool {
        let Some(paused) = self.paused else { return false };
        if !paused.all && !self.may_change(command, args) && !self.queue_may_change(index, command)
        {
            return false;
        }
        self.conn(index).pause = Pause::HandOver { until: paused.until };
        self.stalled.push(index);
        true
    }

    /// Whether a command is meant to change something.
    fn may_change(&mut self, command: &Command, args: Args<'_>) -> bool {
        let changes = command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE);
        changes && !self.only_reads(command, args)
    }

    /// Whether EXEC would execute such a command.
    fn queue_may_change(&mut self, index: usize, command: &Command) -> bool {
        if command.session() != Some(Session::Exec) {
            return false;
        }
        let Some(multi) = self.session(index).multi.take() else { return false };
        let mut queue = multi.queue.iter().map(ArgsBuf::as_args);
        let changes =
            queue.any(|args| lookup(args.name()).is_some_and(|it| self.may_change(it, args)));
        self.session(index).multi = Some(multi);
        changes
    }

    /// Ends a pause in time.
    pub(in crate::data) fn look_at_pause(&mut self) {
        if self.paused.is_some_and(|paused| paused.until <= self.core.now) {
            self.paused = None;
            self.resume_stalled();
        }
    }
}
