//! ACL: users and what they may do. Reads are answered from what this node knows; a change goes to
//! the directory, by way of control, and comes back to all nodes of the keyspace.

use crate::data::commands::client::describe;
use crate::data::commands::subcommands::check;
use crate::data::commands::{help, too_many, word, wrong_arity};
use crate::data::denials::{Entry, Refusal};
use crate::data::server::Server;
use cairn_acl::{
    CATEGORIES, Category, Change, Reason, Refused, Selector, User, full_name, rules_of,
};
use cairn_keyspace::command::lookup;
use cairn_resp::{Args, ReplyBuf, number};

/// Entries of ACL LOG that are told where nobody says how many.
const LOG_DEFAULT: usize = 10;
/// The longest password that is made, in bits, and the usual one.
const PASSWORD_BITS: (i64, i64) = (4096, 256);

const NO_FILE: &str = "ERR users are in the directory, which keeps them at every change: there is \
    no ACL file to load or save";
const BAD_LENGTH: &str = "ERR ACL GENPASS argument must be the number of bits for the output \
    password, a positive number up to 4096";

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Not here: users are in the directory.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Not here: users are in the directory.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
    "HELP",
    "    Print this help.",
];

/// Whether a request changes users, which nothing else can wait for.
pub(in crate::data) fn changes(args: Args<'_>) -> bool {
    args.len() > 1 && matches!(word(args.get(1)).as_str(), "setuser" | "deluser")
}

impl Server {
    /// `ACL subcommand …`
    pub fn acl(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "cat" => self.acl_cat(index, args),
            "deluser" => {
                let names = args.from(2).iter().map(<[u8]>::to_vec).collect();
                self.begin_change(index, Change::Delete { names });
            }
            "dryrun" => self.acl_dryrun(index, args),
            "genpass" => self.acl_genpass(index, args),
            "getuser" => self.acl_getuser(index, args.get(2)),
            "list" => {
                let lines: Vec<_> = self.core.doors.users.iter().map(|user| line(user)).collect();
                bulks(self.out(index), lines.iter().map(Vec::as_slice));
            }
            "load" | "save" => self.out(index).error(NO_FILE),
            "log" => self.acl_log(index, args),
            "setuser" => self.acl_setuser(index, args.get(2), args.from(3)),
            "users" => {
                let users = self.core.doors.users.iter();
                let names: Vec<Vec<u8>> = users.map(|user| user.name().to_vec()).collect();
                bulks(self.out(index), names.iter().map(Vec::as_slice));
            }
            "whoami" => {
                let name = self.session(index).user().to_vec();
                self.out(index).bulk(&name);
            }
            // Unknown ones were refused before.
            _ => help(self, index, HELP),
        }
    }

    fn acl_setuser(&mut self, index: usize, name: &[u8], rules: Args<'_>) {
        if !User::is_name(name) {
            return self.out(index).error(&Refused::Name.text());
        }
        match rules_of(rules.iter()) {
            Ok(rules) => self.begin_change(index, Change::Set { name: name.to_vec(), rules }),
            Err(invalid) => self.out(index).error(&invalid.text()),
        }
    }

    fn acl_cat(&mut self, index: usize, args: Args<'_>) {
        match args.len() {
            2 => {
                let names = CATEGORIES.iter().map(|category| category.name.as_bytes());
                bulks(self.out(index), names);
            }
            3 => match Category::named(args.get(2)) {
                Some(category) => {
                    let names: Vec<_> = category.names().map(|name| name.text()).collect();
                    bulks(self.out(index), names.iter().map(|name| name.as_bytes()));
                }
                None => {
                    let given = String::from_utf8_lossy(args.get(2));
                    self.out(index).error(&format!("ERR Unknown category '{given}'"));
                }
            },
            _ => too_many(self, index, args, "ACL"),
        }
    }

    fn acl_dryrun(&mut self, index: usize, args: Args<'_>) {
        let lossy = |at: usize| String::from_utf8_lossy(args.get(at)).into_owned();
        let Some(user) = self.core.doors.users.get(args.get(2)).cloned() else {
            return self.out(index).error(&format!("ERR User '{}' not found", lossy(2)));
        };
        let request = args.from(3);
        let Some(command) = lookup(request.name()) else {
            return self.out(index).error(&format!("ERR Command '{}' not found", lossy(3)));
        };
        if !command.takes(request.len()) {
            return wrong_arity(self, index, full_name(command, request));
        }
        if let Some(Err(text)) = command.session().map(|session| check(session, request)) {
            let text = match full_name(command, request).contains('|') {
                true => text,
                false => format!("ERR Command '{}' not found", lossy(3)),
            };
            return self.out(index).error(&text);
        }
        let Err(denied) = user.check(command, request) else { return self.out(index).ok() };
        let object = String::from_utf8_lossy(&denied.object);
        let text = match denied.reason {
            Reason::Command => {
                format!("This user has no permissions to run the '{object}' command")
            }
            Reason::Key => format!("This user has no permissions to access the '{object}' key"),
            Reason::Channel => {
                format!("This user has no permissions to access the '{object}' channel")
            }
        };
        self.out(index).bulk(text.as_bytes());
    }

    fn acl_genpass(&mut self, index: usize, args: Args<'_>) {
        let bits = match args.len() {
            2 => PASSWORD_BITS.1,
            3 => match number::parse_i64(args.get(2)) {
                Some(bits) if (1..=PASSWORD_BITS.0).contains(&bits) => bits,
                Some(_) => return self.out(index).error(BAD_LENGTH),
                None => {
                    let text = "ERR value is not an integer or out of range";
                    return self.out(index).error(text);
                }
            },
            _ => return too_many(self, index, args, "ACL"),
        };
        let digits = usize::try_from((bits + 3) / 4).unwrap_or(0);
        let mut bytes = vec![0; digits.div_ceil(2)];
        rand::fill(&mut bytes[..]);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.out(index).bulk(&text.as_bytes()[..digits]);
    }

    fn acl_getuser(&mut self, index: usize, name: &[u8]) {
        let Some(user) = self.core.doors.users.get(name).cloned() else {
            return self.out(index).null();
        };
        let out = self.out(index);
        out.map(6);
        out.bulk(b"flags");
        let flags = user.flags();
        out.set(flags.len());
        flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
        out.bulk(b"passwords");
        bulks(out, user.passwords().iter().map(String::as_bytes));
        let mut selectors = user.selectors();
        if let Some(root) = selectors.next() {
            tell_selector(root, out);
        }
        out.bulk(b"selectors");
        let others: Vec<_> = selectors.collect();
        out.array(others.len());
        for selector in others {
            out.map(3);
            tell_selector(selector, out);
        }
    }

    fn acl_log(&mut self, index: usize, args: Args<'_>) {
        let count = match args.len() {
            2 => LOG_DEFAULT,
            3 if word(args.get(2)) == "reset" => {
                self.denials.clear();
                return self.out(index).ok();
            }
            3 => match number::parse_i64(args.get(2)) {
                Some(count) => usize::try_from(count).unwrap_or(0),
                None => {
                    let text = "ERR value is not an integer or out of range";
                    return self.out(index).error(text);
                }
            },
            _ => return too_many(self, index, args, "ACL"),
        };
        let now_ms = self.core.unix_ms;
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let out = &mut conn.replies.buf;
        let entries = self.denials.entries();
        out.array(entries.len().min(count));
        entries.take(count).for_each(|entry| tell_denial(entry, now_ms, out));
    }

    /// Keeps a refusal for ACL LOG.
    pub(in crate::data) fn note_refusal(&mut self, index: usize, refusal: Refusal) {
        let now = self.core.now;
        let Some(conn) = self.net.get(index) else { return };
        let client = describe(conn, now).trim_end().to_owned();
        self.denials.add(refusal, self.core.unix_ms, client);
    }

    /// What a script is told that asks whether it may have this executed.
    pub(in crate::data) fn script_may(
        &mut self,
        index: usize,
        args: Args<'_>,
    ) -> Result<bool, String> {
        let unknown = || "ERR Invalid command passed to redis.acl_check_cmd()".to_owned();
        let command = lookup(args.name()).ok_or_else(unknown)?;
        Ok(self.denied(index, command, args).is_none())
    }
}

/// A user's line of ACL LIST.
fn line(user: &User) -> Vec<u8> {
    let mut line = b"user ".to_vec();
    line.extend_from_slice(user.name());
    line.push(b' ');
    line.extend_from_slice(&user.describe());
    line
}

fn bulks<'a>(out: &mut ReplyBuf, texts: impl ExactSizeIterator<Item = &'a [u8]>) {
    out.array(texts.len());
    texts.for_each(|text| out.bulk(text));
}

fn tell_selector(selector: &Selector, out: &mut ReplyBuf) {
    out.bulk(b"commands");
    out.bulk(&selector.command_rules());
    out.bulk(b"keys");
    out.bulk(&selector.key_rules());
    out.bulk(b"channels");
    out.bulk(&selector.channel_rules());
}

fn tell_denial(entry: &Entry, now_ms: u64, out: &mut ReplyBuf) {
    out.map(7);
    out.bulk(b"count");
    out.integer(i64::try_from(entry.count).unwrap_or(i64::MAX));
    out.bulk(b"reason");
    out.bulk(entry.refusal.reason.name().as_bytes());
    out.bulk(b"context");
    out.bulk(entry.refusal.context.name().as_bytes());
    out.bulk(b"object");
    out.bulk(&entry.refusal.object);
    out.bulk(b"username");
    out.bulk(&entry.refusal.user);
    out.bulk(b"age-seconds");
    out.double(now_ms.saturating_sub(entry.at_ms) as f64 / 1000.0);
    out.bulk(b"client-info");
    out.bulk(entry.client.as_bytes());
}
