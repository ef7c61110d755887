//! Our keyspace in this process, with a copy that replays its log.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use cairn_keyspace::command::lookup;
use cairn_keyspace::{Classes, Ctx, EffectLog, Keyspace, unknown_command};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};

use super::{Line, Told};

/// The largest value, as redis-server has it unless told otherwise.
const VALUE_BYTES_MAX: usize = 512 << 20;

/// A master and a copy of it.
pub struct Ours {
    master: Keyspace,
    copy: Keyspace,
    log: EffectLog,
    version: Version,
    now_ms: u64,
}

impl Ours {
    /// Empty ones.
    pub fn new(version: Version) -> Self {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let (mut master, copy) = (Keyspace::new(1), Keyspace::new(2));
        master.set_time(now_ms as u64);
        master.want_events(Classes::parse(Told::CLASSES).unwrap_or_default());
        Self { master, copy, log: EffectLog::new(Offset(1)), version, now_ms: now_ms as u64 }
    }

    /// The replies to commands on empty data, the events of each, and what is there then.
    ///
    /// # Errors
    /// If one is no reply, or the copy holds something else in the end.
    pub fn round(lines: &[Line], version: Version) -> Result<(Vec<Reply>, Vec<Told>, Self)> {
        let mut ours = Self::new(version);
        let (mut replies, mut told) = (Vec::new(), Vec::new());
        for line in lines {
            replies.push(ours.reply(line)?);
            let events = ours.master.take_events().into_iter();
            told.push(Told::new(events.map(|event| (event.name.to_owned(), event.key))));
        }
        let same = ours.master.digest() == ours.copy.digest();
        ensure!(same, "the log makes other data than the commands");
        Ok((replies, told, ours))
    }

    /// The reply to a command.
    ///
    /// # Errors
    /// If it is no reply, or the copy cannot follow.
    pub fn reply(&mut self, line: &Line) -> Result<Reply> {
        let args: ArgsBuf = line.iter().map(Vec::as_slice).collect();
        let args = args.as_args();
        let mut reply = ReplyBuf::new(self.version);
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: VALUE_BYTES_MAX };
        match lookup(args.name()) {
            Some(command) => {
                self.master.execute(&ctx, command, args, None, &mut reply, &mut self.log);
            }
            None => unknown_command(args, &mut reply),
        }
        if let Some(entries) = self.log.take() {
            let applied = self.copy.apply(&entries.body, entries.first);
            applied.with_context(|| format!("after {}", super::show::line(line)))?;
        }
        let parsed = Reply::parse(reply.as_bytes())?;
        let whole = parsed.filter(|(_, len)| *len == reply.len());
        let (reply, _) =
            whole.ok_or_else(|| anyhow!("not one reply to {}", super::show::line(line)))?;
        Ok(reply)
    }
}
