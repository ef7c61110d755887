//! What commands cost: measured for a run of quick commands at once, and one by one where they may
//! take long, so that the clock is not read for each of many.

use crate::data::commands::subcommands::named;
use crate::data::dispatch::Item;
use crate::data::server::Server;
use crate::data::turns::Part;
use cairn_keyspace::command::{Command, Flags, Group};
use cairn_logic::time::Duration;
use cairn_resp::Args;

/// Arguments above this, in bytes, may make any command slow.
const LARGE_BYTES: usize = 64 << 10;
/// Whoever asks for commands that took less than this has each of them measured.
const EXACT: Duration = Duration::from_millis(1);

impl Server {
    /// Whether a command is measured by itself, not within a run.
    #[inline]
    pub(in crate::data) fn is_measured_apart(&self, item: Item, args: Args<'_>) -> bool {
        let Some(command) = item.command else { return false };
        let quick = command.flags.has(Flags::FAST) || command.group == Group::String;
        let exact = self.slow.slower_than.is_some_and(|least| least < EXACT);
        exact || !quick || args.total_bytes() > LARGE_BYTES
    }

    /// The time since the last measurement.
    fn lap(&mut self) -> Duration {
        let now = (self.core.clock.now)();
        let took = now.since(self.began);
        self.began = now;
        took
    }

    /// A run of commands was executed since the last measurement.
    pub(in crate::data) fn charge(&mut self, run: &[Item]) {
        let took = self.lap();
        let Ok(count @ 1..) = u32::try_from(run.len()) else { return };
        let commands = run.iter().filter_map(|item| item.command);
        self.figures.called(commands, took / count);
    }

    /// One command was executed since the last measurement.
    pub(in crate::data) fn charge_one(&mut self, index: usize, item: Item, args: Args<'_>) {
        let took = self.lap();
        let Some(command) = item.command else { return };
        self.turns.executed(command.name, took);
        self.note(index, command, args, took);
    }

    /// A command, perhaps a part of another one or one that has waited, took so long.
    pub(in crate::data) fn note(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        took: Duration,
    ) {
        match named(command, args) {
            Some(part) => self.figures.called_part(command.name, part, took),
            None => self.figures.called(std::iter::once(command), took),
        }
        let at_s = self.core.unix_ms / 1000;
        let fast = command.flags.has(Flags::FAST);
        self.latency.note(if fast { "fast-command" } else { "command" }, at_s, took);
        if self.slow.keeps(took) && !command.flags.has(Flags::SKIP_SLOWLOG) {
            let Some(conn) = self.net.get(index) else { return };
            let client = (conn.peer.to_string(), conn.session.name.clone());
            self.slow.add(args, at_s, took, client);
        }
    }

    /// A reply that begins at `from` is an error.
    #[cold]
    pub(in crate::data) fn count_error(
        &mut self,
        index: usize,
        command: Option<&'static Command>,
        from: usize,
        executed: bool,
    ) {
        let Some(conn) = self.net.get(index) else { return };
        let text = conn.replies.buf.as_bytes().get(from + 1..).unwrap_or_default();
        self.figures.failed(command, text, executed);
        self.core.stats.errors += 1;
        self.not_executed |= !executed;
    }

    /// What came since the last part of this turn was one of this kind.
    #[inline]
    pub(in crate::data) fn passed(&mut self, part: Part) {
        let now = (self.core.clock.now)();
        self.turns.passed(part, now);
    }

    /// A turn is over: one that took long is counted, and said once a second at most.
    #[inline]
    pub(in crate::data) fn end_turn(&mut self) {
        let Some(long) = self.turns.end() else { return };
        let ((part, spent), (longest, command)) = (long.part, long.command);
        let at_s = self.core.unix_ms / 1000;
        self.latency.note("turn", at_s, long.took);
        self.latency.note(part.event(), at_s, spent);
        if long.says {
            let ms = |span: Duration| span.as_millis() as u64;
            let (took_ms, part_ms, command_ms) = (ms(long.took), ms(spent), ms(longest));
            let part = part.name();
            tracing::warn!(
                took_ms,
                part,
                part_ms,
                command,
                command_ms,
                "a turn of the data thread took long"
            );
        }
    }
}
