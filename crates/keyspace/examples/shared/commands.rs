//! How examples fill a keyspace: by commands, as clients do.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Keyspace};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};

/// Executes one command.
pub fn run(keyspace: &mut Keyspace, log: &mut EffectLog, words: &[&[u8]]) {
    let args: ArgsBuf = words.iter().copied().collect();
    let command = lookup(words[0]).expect("a command");
    let ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 32 << 20 };
    let mut reply = ReplyBuf::new(Version::Resp2);
    keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, log);
}
