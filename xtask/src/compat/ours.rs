//! Our keyspace in this process, with a copy that replays its log.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Keyspace, unknown_command};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};

use super::Line;

/// The largest value, as redis-server has it unless told otherwise.
const VALUE_BYTES_MAX: usize = 512 << 20;

/// A master and a copy of it.
pub struct Ours;

impl Ours {
    /// The replies to commands on empty data.
    ///
    /// # Errors
    /// If one is no reply, or the copy holds something else in the end.
    pub fn round(lines: &[Line], version: Version) -> Result<Vec<Reply>> {
        let (mut master, mut copy) = (Keyspace::new(1), Keyspace::new(2));
        let mut log = EffectLog::new(Offset(1));
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let ctx = Ctx { now_ms: now_ms as u64, may_write: true, value_bytes_max: VALUE_BYTES_MAX };
        let mut replies = Vec::with_capacity(lines.len());
        for line in lines {
            let args: ArgsBuf = line.iter().map(Vec::as_slice).collect();
            let args = args.as_args();
            let mut reply = ReplyBuf::new(version);
            match lookup(args.name()) {
                Some(command) => {
                    master.execute(&ctx, command, args, None, &mut reply, &mut log);
                }
                None => unknown_command(args, &mut reply),
            }
            if let Some(entries) = log.take() {
                let applied = copy.apply(&entries.body, entries.first);
                applied.with_context(|| format!("after {}", super::show::line(line)))?;
            }
            let parsed = Reply::parse(reply.as_bytes())?;
            let whole = parsed.filter(|(_, len)| *len == reply.len());
            let (reply, _) =
                whole.ok_or_else(|| anyhow!("not one reply to {}", super::show::line(line)))?;
            replies.push(reply);
        }
        ensure!(master.digest() == copy.digest(), "the log makes other data than the commands");
        Ok(replies)
    }
}
