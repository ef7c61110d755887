//! The COMMAND command: what commands there are, where their keys stand, what they are for.

use super::access;
use super::docs::{Doc, doc};
use super::{COMMANDS, Command, Flags, Group, Keys, More, lookup};
use cairn_resp::{Args, ReplyBuf};

/// Executes COMMAND [COUNT | INFO | DOCS | GETKEYS] with all its arguments; LIST also names what
/// this table does not know, and is not here.
pub fn describe(args: Args<'_>, reply: &mut ReplyBuf) {
    if args.len() < 2 {
        reply.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| entry(command, reply));
        return;
    }
    let subcommand = args.get(1).to_ascii_lowercase();
    match (subcommand.as_slice(), args.len()) {
        (b"count", 2) => reply.count(COMMANDS.len()),
        (b"info", 2) => {
            reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| entry(command, reply));
        }
        (b"info", _) => {
            reply.array(args.len() - 2);
            for name in args.from(2).iter() {
                match lookup(name) {
                    Some(command) => entry(command, reply),
                    None => reply.null_array(),
                }
            }
        }
        (b"docs", 2) => docs(COMMANDS.iter(), COMMANDS.len(), reply),
        (b"docs", _) => {
            let found: Vec<_> = args.from(2).iter().filter_map(lookup).collect();
            docs(found.iter().copied(), found.len(), reply);
        }
        (b"getkeys", 3..) => get_keys(args.from(2), false, reply),
        (b"getkeysandflags", 3..) => get_keys(args.from(2), true, reply),
        (b"count" | b"getkeys" | b"getkeysandflags", _) => {
            let name = String::from_utf8_lossy(&subcommand).into_owned();
            crate::wrong_arity(&format!("command|{name}"), reply);
        }
        _ => {
            let given = String::from_utf8_lossy(args.get(1)).into_owned();
            reply.error(&format!("ERR unknown subcommand '{given}'. Try COMMAND HELP."));
        }
    }
}

fn get_keys(args: Args<'_>, flags: bool, reply: &mut ReplyBuf) {
    let Some(command) = lookup(args.name()) else {
        return reply.error("ERR Invalid command specified");
    };
    if command.keys == Keys::NONE {
        return reply.error("ERR The command has no key arguments");
    }
    if !command.takes(args.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<_> = command.keys_of(args).collect();
    reply.array(keys.len());
    for (nth, key) in keys.into_iter().enumerate() {
        if flags {
            reply.array(2);
        }
        reply.bulk(key);
        if flags {
            words(access::of_request(command, args, nth), reply);
        }
    }
}

/// The entry of a command: ten parts.
fn entry(command: &Command, reply: &mut ReplyBuf) {
    let Keys { first, last, step, more: _ } = command.keys;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    words(&flags(command.flags), reply);
    reply.integer(i64::from(first));
    reply.integer(i64::from(last));
    reply.integer(i64::from(step));
    words(&categories(command), reply);
    reply.array(0);
    key_specs(command, reply);
    reply.array(0);
}

fn words(words: &[&str], reply: &mut ReplyBuf) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

fn flags(flags: Flags) -> Vec<&'static str> {
    [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENY_OOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NO_SCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.has(*flag))
    .map(|(_, name)| name)
    .collect()
}

/// The ACL categories of a command, each with its `@`.
#[must_use]
pub fn categories(command: &Command) -> Vec<&'static str> {
    let mut found = Vec::new();
    if command.flags.has(Flags::WRITE) {
        found.push("@write");
    }
    if command.flags.has(Flags::READONLY) {
        found.push("@read");
    }
    match command.group {
        Group::Generic if matches!(command.name, "sort" | "sort_ro") => {
            found.extend(["@set", "@sortedset", "@list"]);
        }
        Group::Generic => found.push("@keyspace"),
        Group::String => found.push("@string"),
        Group::Bitmap => found.push("@bitmap"),
        Group::HyperLogLog => found.push("@hyperloglog"),
        Group::Hash => found.push("@hash"),
        Group::List => found.push("@list"),
        Group::Set => found.push("@set"),
        Group::SortedSet => found.push("@sortedset"),
        Group::Geo => found.push("@geo"),
        Group::Stream => found.push("@stream"),
        Group::Connection => found.push("@connection"),
        Group::Transactions => found.push("@transaction"),
        Group::PubSub => found.push("@pubsub"),
        Group::Scripting => found.push("@scripting"),
        Group::Server | Group::Cluster => {}
    }
    if matches!(command.name, "flushall" | "flushdb" | "dbsize") {
        found.push("@keyspace");
    }
    if command.flags.has(Flags::ADMIN) {
        found.push("@admin");
    }
    let dangerous = matches!(
        command.name,
        "flushall"
            | "flushdb"
            | "keys"
            | "info"
            | "restore"
            | "restore-asking"
            | "sort"
            | "sort_ro"
    );
    if dangerous || command.flags.has(Flags::ADMIN) {
        found.push("@dangerous");
    }
    found.push(if command.flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    if command.flags.has(Flags::BLOCKING) {
        found.push("@blocking");
    }
    found
}

fn key_specs(command: &Command, reply: &mut ReplyBuf) {
    let Keys { first, last, step, more } = command.keys;
    let (to_first, to_others) = access::access(command);
    // Keys in a row that are not treated alike are told one and the rest.
    let apart = first > 0 && last != first as i8 && to_first != to_others;
    let count = usize::from(first > 0) + usize::from(apart) + usize::from(more != More::None);
    reply.array(count);
    if first > 0 {
        let last = if apart { first as i8 } else { last };
        key_row(first, last, step, to_first, reply);
    }
    if apart {
        key_row(first + 1, last, step, to_others, reply);
    }
    let to_more = if first > 0 { to_others } else { to_first };
    more_keys(command, to_more, reply);
}

/// Keys from one argument to another.
fn key_row(first: u8, last: i8, step: u8, access: &[&str], reply: &mut ReplyBuf) {
    key_spec(access, reply);
    found_by(reply, b"index", &[(b"index", Word::Number(i64::from(first)))]);
    // Counted from the first key; negative ones from the last argument.
    let last = if last < 0 { i64::from(last) } else { i64::from(last) - i64::from(first) };
    key_range(reply, last, i64::from(step), 0);
}

fn more_keys(command: &Command, access: &[&str], reply: &mut ReplyBuf) {
    match command.keys.more {
        More::None => {}
        More::Counted(at) => {
            key_spec(access, reply);
            found_by(reply, b"index", &[(b"index", Word::Number(i64::from(at)))]);
            reply.bulk(b"find_keys");
            let parts: [(&[u8], _); 3] = [
                (b"keynumidx", Word::Number(0)),
                (b"firstkey", Word::Number(1)),
                (b"keystep", Word::Number(1)),
            ];
            spec(reply, b"keynum", &parts);
        }
        More::Stored(from) => {
            key_spec(access, reply);
            let from = Word::Number(i64::from(from));
            let parts: [(&[u8], _); 2] = [(b"keyword", Word::Text(b"STORE")), (b"startfrom", from)];
            found_by(reply, b"keyword", &parts);
            key_range(reply, 0, 1, 0);
        }
        More::Streams => {
            key_spec(access, reply);
            // Behind GROUP, a group and a consumer, if it has to have them.
            let from = Word::Number(if command.name == "xreadgroup" { 4 } else { 1 });
            let parts: [(&[u8], _); 2] =
                [(b"keyword", Word::Text(b"STREAMS")), (b"startfrom", from)];
            found_by(reply, b"keyword", &parts);
            // One of two: the other half is IDs.
            key_range(reply, -1, 1, 2);
        }
    }
}

/// A value in a specification of keys.
enum Word {
    Number(i64),
    Text(&'static [u8]),
}

fn key_spec(access: &[&str], reply: &mut ReplyBuf) {
    reply.map(3);
    reply.bulk(b"flags");
    words(access, reply);
}

fn found_by(reply: &mut ReplyBuf, kind: &[u8], parts: &[(&[u8], Word)]) {
    reply.bulk(b"begin_search");
    spec(reply, kind, parts);
}

fn key_range(reply: &mut ReplyBuf, last: i64, step: i64, limit: i64) {
    reply.bulk(b"find_keys");
    let parts: [(&[u8], _); 3] = [
        (b"lastkey", Word::Number(last)),
        (b"keystep", Word::Number(step)),
        (b"limit", Word::Number(limit)),
    ];
    spec(reply, b"range", &parts);
}

fn spec(reply: &mut ReplyBuf, kind: &[u8], parts: &[(&[u8], Word)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind);
    reply.bulk(b"spec");
    reply.map(parts.len());
    for (name, value) in parts {
        reply.bulk(name);
        match value {
            Word::Number(number) => reply.integer(*number),
            Word::Text(text) => reply.bulk(text),
        }
    }
}

fn docs<'a>(commands: impl Iterator<Item = &'a Command>, count: usize, reply: &mut ReplyBuf) {
    reply.map(count);
    for command in commands {
        let Doc { since, summary } = doc(command.name);
        reply.bulk(command.name.as_bytes());
        reply.map(3);
        reply.bulk(b"summary");
        reply.bulk(summary.as_bytes());
        reply.bulk(b"since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"group");
        reply.bulk(group_name(command.group).as_bytes());
    }
}

fn group_name(group: Group) -> &'static str {
    match group {
        Group::Generic => "generic",
        Group::String => "string",
        Group::Bitmap => "bitmap",
        Group::HyperLogLog => "hyperloglog",
        Group::Hash => "hash",
        Group::List => "list",
        Group::Set => "set",
        Group::SortedSet => "sorted-set",
        Group::Geo => "geo",
        Group::Stream => "stream",
        Group::Connection => "connection",
        Group::Server => "server",
        Group::Cluster => "cluster",
        Group::Transactions => "transactions",
        Group::PubSub => "pubsub",
        Group::Scripting => "scripting",
    }
}
