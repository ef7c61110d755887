//! COMMAND: the table of commands, for clients that route by it.

use crate::data::commands::{help, word};
use crate::data::server::Server;
use cairn_keyspace::command::{COMMANDS, Command, Flags, Group, Keys, lookup};
use cairn_resp::{Args, ReplyBuf};

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "DOCS [<command-name> ...]",
    "    Return the summary's frame of the given commands, or of all.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about the given commands, or all of them.",
    "LIST",
    "    Return a list of all commands in this server.",
    "HELP",
    "    Print this help.",
];

const FLAGS: [(Flags, &str); 12] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENY_OOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::NO_SCRIPT, "noscript"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::BLOCKING, "blocking"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
];

impl Server {
    /// `COMMAND [subcommand …]`
    pub fn command(&mut self, index: usize, args: Args<'_>) {
        if args.len() == 1 {
            return list(self.out(index), COMMANDS.iter().map(Some));
        }
        match word(args.get(1)).as_str() {
            "count" => self.out(index).count(COMMANDS.len()),
            "info" if args.len() == 2 => list(self.out(index), COMMANDS.iter().map(Some)),
            "info" => list(self.out(index), args.from(2).iter().map(lookup)),
            "docs" if args.len() == 2 => docs(self.out(index), COMMANDS.iter()),
            "docs" => docs(self.out(index), args.from(2).iter().filter_map(lookup)),
            "list" => {
                let out = self.out(index);
                out.array(COMMANDS.len());
                COMMANDS.iter().for_each(|command| out.bulk(command.name.as_bytes()));
            }
            "getkeys" => get_keys(self.out(index), args.from(2)),
            // Unknown ones were refused before.
            _ => help(self, index, HELP),
        }
    }
}

fn get_keys(out: &mut ReplyBuf, args: Args<'_>) {
    let Some(command) = lookup(args.name()) else {
        return out.error("ERR Invalid command specified");
    };
    if command.keys == Keys::NONE {
        return out.error("ERR The command has no key arguments");
    }
    if !command.takes(args.len()) {
        return out.error("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<&[u8]> = command.keys_of(args).collect();
    out.array(keys.len());
    keys.iter().for_each(|key| out.bulk(key));
}

fn list<'a, I>(out: &mut ReplyBuf, commands: I)
where
    I: ExactSizeIterator<Item = Option<&'a Command>>,
{
    out.array(commands.len());
    for command in commands {
        match command {
            Some(command) => describe(out, command),
            None => out.null_array(),
        }
    }
}

fn describe(out: &mut ReplyBuf, command: &Command) {
    let Keys { first, last, step } = command.keys;
    out.array(10);
    out.bulk(command.name.as_bytes());
    out.integer(i64::from(command.arity));
    let flags: Vec<_> = FLAGS.iter().filter(|(flag, _)| command.flags.has(*flag)).collect();
    out.set(flags.len());
    flags.iter().for_each(|(_, name)| out.simple(name));
    out.integer(i64::from(first));
    out.integer(i64::from(last));
    out.integer(i64::from(step));
    let categories = categories(command);
    out.set(categories.len());
    categories.iter().for_each(|name| out.simple(name));
    out.array(0);
    key_specs(out, command);
    out.array(0);
}

fn categories(command: &Command) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (flag, name) in [
        (Flags::WRITE, "@write"),
        (Flags::READONLY, "@read"),
        (Flags::ADMIN, "@admin"),
        (Flags::ADMIN, "@dangerous"),
        (Flags::BLOCKING, "@blocking"),
    ] {
        if command.flags.has(flag) {
            names.push(name);
        }
    }
    names.push(match command.group {
        Group::Generic => "@keyspace",
        Group::String => "@string",
        Group::Hash => "@hash",
        Group::List => "@list",
        Group::Set => "@set",
        Group::SortedSet => "@sortedset",
        Group::Connection | Group::Server | Group::Cluster => "@connection",
        Group::Transactions => "@transaction",
    });
    names.push(if command.flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    names
}

fn key_specs(out: &mut ReplyBuf, command: &Command) {
    let Keys { first, last, step } = command.keys;
    if command.keys == Keys::NONE {
        return out.array(0);
    }
    // Relative to the first key, as a range wants it; negative ones count from the end already.
    let last = if last >= 0 { i64::from(last) - i64::from(first) } else { i64::from(last) };
    out.array(1);
    out.map(3);
    out.bulk(b"flags");
    let write = command.flags.has(Flags::WRITE);
    out.set(1);
    out.simple(if write { "RW" } else { "RO" });
    out.bulk(b"begin_search");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"index");
    out.bulk(b"spec");
    out.map(1);
    out.bulk(b"index");
    out.integer(i64::from(first));
    out.bulk(b"find_keys");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"range");
    out.bulk(b"spec");
    out.map(3);
    out.bulk(b"lastkey");
    out.integer(last);
    out.bulk(b"keystep");
    out.integer(i64::from(step));
    out.bulk(b"limit");
    out.integer(0);
}

fn docs<'a>(out: &mut ReplyBuf, commands: impl Iterator<Item = &'a Command>) {
    let commands: Vec<_> = commands.collect();
    out.map(commands.len());
    for command in commands {
        let group = match command.group {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::Transactions => "transactions",
        };
        out.bulk(command.name.as_bytes());
        out.map(1);
        out.bulk(b"group");
        out.bulk(group.as_bytes());
    }
}
