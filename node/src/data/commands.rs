//! Commands about the connection, the transaction, the cluster and the node; data commands are in
//! `cairn-keyspace`.

pub mod acl;
pub mod blocking;
pub mod client;
pub mod cluster;
pub mod command;
pub mod config;
pub mod connection;
mod debug;
mod events;
pub mod function;
pub mod info;
mod kill;
pub mod listen;
mod lolwut;
pub mod measure;
pub mod nodes;
pub mod pause;
pub mod publish;
pub mod refused;
pub mod role;
pub mod script;
pub mod slowlog;
pub mod subcommands;
pub mod tracking;
pub mod transaction;
pub mod wait;

use crate::data::server::Server;
use cairn_resp::Args;

/// Writes the usual error for a wrong number of arguments; `name` is in lower case, with a bar
/// before a subcommand.
pub fn wrong_arity(server: &mut Server, index: usize, name: &str) {
    let text = format!("ERR wrong number of arguments for '{name}' command");
    server.out(index).error(&text);
}

/// Writes the error of a subcommand with more arguments than it takes; `name` is in upper case.
pub fn too_many(server: &mut Server, index: usize, args: Args<'_>, name: &str) {
    let given: String = String::from_utf8_lossy(args.get(1)).chars().take(128).collect();
    let text = format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {name} HELP."
    );
    server.out(index).error(&text);
}

/// The text of an argument, in lower case; for matching words of commands only.
#[must_use]
pub fn word(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).to_ascii_lowercase()
}

/// Writes the lines of a HELP subcommand.
pub fn help(server: &mut Server, index: usize, lines: &[&str]) {
    let out = server.out(index);
    out.array(lines.len());
    lines.iter().for_each(|line| out.simple(line));
}
