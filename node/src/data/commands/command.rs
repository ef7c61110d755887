//! COMMAND: the table of commands, for clients that route by it.

use crate::data::commands::{help, word};
use crate::data::server::Server;
use cairn_keyspace::command::describe;
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
        describe(args, self.out(index));
    }
}
