//! What a command does to its keys, as COMMAND tells it: RO (reads), RW, OW (overwrites) or RM
//! (removes), then whether data are returned or copied (`access`) and how they change.

use super::{Command, Flags};
use cairn_resp::Args;

/// What is done to a key, in Redis's words.
pub(super) type Access = &'static [&'static str];

const LOOK: Access = &["RO"];
const READ: Access = &["RO", "access"];
const OVERWRITE: Access = &["OW", "update"];
const FILL: Access = &["OW", "insert"];
const REMOVE: Access = &["RM", "delete"];
const TAKE: Access = &["RW", "access", "delete"];
const DELETE: Access = &["RW", "delete"];
const INSERT: Access = &["RW", "insert"];
const UPDATE: Access = &["RW", "update"];
const CHANGE: Access = &["RW", "access", "update"];
const NO_KEY: Access = &["not_key"];

/// What a command may do to its first key, and to all others.
pub(super) fn access(command: &Command) -> (Access, Access) {
    let all: Access = match command.name {
        "copy" | "georadius" | "georadiusbymember" | "sort" => return (READ, OVERWRITE),
        "rename" => return (TAKE, OVERWRITE),
        "renamenx" => return (TAKE, FILL),
        "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "smove" => return (TAKE, INSERT),
        "bitop" | "geosearchstore" | "sdiffstore" | "sunionstore" | "zdiffstore"
        | "zinterstore" | "zunionstore" | "zrangestore" => return (OVERWRITE, READ),
        "sinterstore" => return (UPDATE, READ),
        "pfmerge" => return (&["RW", "access", "insert"], READ),
        "set" | "bitfield" => &["RW", "access", "update", "variable_flags"],
        "pfcount" => &["RW", "access"],
        "mset" | "setex" | "psetex" | "restore" => OVERWRITE,
        "setnx" | "msetnx" => FILL,
        "del" | "unlink" => REMOVE,
        "exists" | "touch" | "type" | "strlen" | "hlen" | "hstrlen" | "llen" | "scard"
        | "zcard" | "hexists" | "sismember" | "smismember" | "watch" | "xlen" | "object"
        | "memory" => LOOK,
        "spublish" | "ssubscribe" | "sunsubscribe" => NO_KEY,
        "getdel" | "lpop" | "rpop" | "lmpop" | "blpop" | "brpop" | "blmpop" | "zpopmin"
        | "zpopmax" | "zmpop" | "bzpopmin" | "bzpopmax" | "bzmpop" | "spop" => TAKE,
        "hdel" | "srem" | "zrem" | "lrem" | "ltrim" | "xautoclaim" | "xdel" | "xtrim"
        | "zremrangebylex" | "zremrangebyrank" | "zremrangebyscore" => DELETE,
        "lpush" | "rpush" | "lpushx" | "rpushx" | "linsert" | "sadd" | "append" | "hsetnx"
        | "pfadd" => INSERT,
        "hset" | "hmset" | "lset" | "zadd" | "geoadd" | "setrange" | "expire" | "pexpire"
        | "expireat" | "pexpireat" | "persist" | "xack" | "xadd" | "xclaim" | "xsetid" => UPDATE,
        "xgroup" => INSERT,
        "eval_ro" | "evalsha_ro" | "xreadgroup" => READ,
        "eval" | "evalsha" => CHANGE,
        _ if command.flags.has(Flags::WRITE) => CHANGE,
        _ => READ,
    };
    (all, all)
}

/// What a request does to its `nth` key.
pub(super) fn of_request(command: &Command, args: Args<'_>, nth: usize) -> Access {
    let has = |word: &str, from: usize| {
        args.from(from).iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    match command.name {
        "set" if has("GET", 3) => CHANGE,
        "set" => OVERWRITE,
        "bitfield" if has("SET", 2) || has("INCRBY", 2) => CHANGE,
        "bitfield" => READ,
        "xgroup" if args.get(1).eq_ignore_ascii_case(b"SETID") => UPDATE,
        "xgroup" if has("DESTROY", 1) || has("DELCONSUMER", 1) => DELETE,
        _ if nth == 0 => access(command).0,
        _ => access(command).1,
    }
}
