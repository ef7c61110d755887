//! COMMAND: the table of commands, for clients that route by it.

use crate::data::commands::{help, word};
use crate::data::server::Server;
use cairn_acl::{Category, Name};
use cairn_keyspace::command::{COMMANDS, Command, describe};
use cairn_keyspace::fits;
use cairn_resp::Args;

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about the given commands, or of all.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about the given commands, or all of them.",
    "LIST [FILTERBY (MODULE <name> | ACLCAT <category> | PATTERN <pattern>)]",
    "    Return a list of all commands in this server, or of those that fit.",
    "HELP",
    "    Print this help.",
];

impl Server {
    /// `COMMAND [subcommand …]`
    pub fn command(&mut self, index: usize, args: Args<'_>) {
        if args.len() == 2 && word(args.get(1)) == "help" {
            return help(self, index, HELP);
        }
        if args.len() > 1 && word(args.get(1)) == "list" {
            let out = self.out(index);
            return match names(args.from(2)) {
                Some(names) => {
                    out.array(names.len());
                    names.iter().for_each(|name| out.bulk(name.as_bytes()));
                }
                None => out.error("ERR syntax error"),
            };
        }
        describe(args, self.out(index));
    }
}

/// The names of all commands and their subcommands, or of those that fit to `FILTERBY MODULE |
/// ACLCAT | PATTERN` and a word; none if the filter is no such.
fn names(filter: Args<'_>) -> Option<Vec<&'static str>> {
    let with_parts = |command: &'static Command| {
        let parts = Name::find(command.name.as_bytes()).into_iter().flat_map(Name::subcommands);
        std::iter::once(command.name).chain(parts.map(Name::text))
    };
    let all = COMMANDS.iter().flat_map(with_parts);
    if filter.is_empty() {
        return Some(all.collect());
    }
    if filter.len() != 3 || !filter.get(0).eq_ignore_ascii_case(b"FILTERBY") {
        return None;
    }
    let wanted = filter.get(2);
    match word(filter.get(1)).as_str() {
        "module" => Some(Vec::new()),
        "aclcat" => {
            let category = Category::named(wanted);
            let is_in = |name: &&str| {
                let name = Name::find(name.as_bytes());
                category.is_some_and(|it| name.is_some_and(|name| name.is_in(it)))
            };
            Some(all.filter(is_in).collect())
        }
        "pattern" => {
            let pattern = wanted.to_ascii_lowercase();
            Some(all.filter(|name| fits(&pattern, name.as_bytes())).collect())
        }
        _ => None,
    }
}
