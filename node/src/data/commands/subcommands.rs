//! Subcommands: which there are and how many arguments each takes, so that a wrong one is refused
//! before it is queued in a transaction, and by one text.

use crate::data::commands::word;
use cairn_keyspace::command::{Command, Session};
use cairn_resp::Args;

/// A name in lower case, and its arity as COMMAND would tell it: negative ones are a minimum.
type Subcommand = (&'static str, i8);

const ACL: &[Subcommand] = &[
    ("cat", -2),
    ("deluser", -3),
    ("dryrun", -4),
    ("genpass", -2),
    ("getuser", 3),
    ("help", 2),
    ("list", 2),
    ("load", 2),
    ("log", -2),
    ("save", 2),
    ("setuser", -3),
    ("users", 2),
    ("whoami", 2),
];

const CLIENT: &[Subcommand] = &[
    ("caching", 3),
    ("getname", 2),
    ("getredir", 2),
    ("help", 2),
    ("id", 2),
    ("info", 2),
    ("kill", -3),
    ("list", -2),
    ("no-evict", 3),
    ("no-touch", 3),
    ("pause", -3),
    ("reply", 3),
    ("setinfo", 4),
    ("setname", 3),
    ("tracking", -3),
    ("trackinginfo", 2),
    ("unblock", -3),
    ("unpause", 2),
];

const CLUSTER: &[Subcommand] = &[
    ("addslots", -2),
    ("addslotsrange", -2),
    ("bumpepoch", -2),
    ("count-failure-reports", 3),
    ("countkeysinslot", 3),
    ("delslots", -2),
    ("delslotsrange", -2),
    ("failover", -2),
    ("flushslots", -2),
    ("forget", -2),
    ("getkeysinslot", 4),
    ("help", 2),
    ("info", 2),
    ("keyslot", 3),
    ("links", 2),
    ("meet", -2),
    ("myid", 2),
    ("myshardid", 2),
    ("nodes", 2),
    ("replicas", 3),
    ("replicate", -2),
    ("reset", -2),
    ("saveconfig", -2),
    ("set-config-epoch", -2),
    ("setslot", -2),
    ("shards", 2),
    ("slaves", 3),
    ("slots", 2),
];

const COMMAND: &[Subcommand] = &[
    ("count", 2),
    ("docs", -2),
    ("getkeys", -4),
    ("getkeysandflags", -4),
    ("help", 2),
    ("info", -2),
    ("list", -2),
];

const CONFIG: &[Subcommand] =
    &[("get", -3), ("help", 2), ("resetstat", 2), ("rewrite", 2), ("set", -4)];

const PUBSUB: &[Subcommand] = &[
    ("channels", -2),
    ("help", 2),
    ("numpat", 2),
    ("numsub", -2),
    ("shardchannels", -2),
    ("shardnumsub", -2),
];

const SLOWLOG: &[Subcommand] = &[("get", -2), ("help", 2), ("len", 2), ("reset", 2)];

const LATENCY: &[Subcommand] = &[
    ("doctor", 2),
    ("graph", 3),
    ("help", 2),
    ("histogram", -2),
    ("history", 3),
    ("latest", 2),
    ("reset", -2),
];

const SCRIPT: &[Subcommand] =
    &[("debug", 3), ("exists", -3), ("flush", -2), ("help", 2), ("kill", 2), ("load", 3)];

fn known(session: Session) -> Option<(&'static str, &'static [Subcommand])> {
    Some(match session {
        Session::Acl => ("acl", ACL),
        Session::Client => ("client", CLIENT),
        Session::Cluster => ("cluster", CLUSTER),
        Session::Command => ("command", COMMAND),
        Session::Config => ("config", CONFIG),
        Session::Latency => ("latency", LATENCY),
        Session::Script => ("script", SCRIPT),
        Session::Pubsub => ("pubsub", PUBSUB),
        Session::Slowlog => ("slowlog", SLOWLOG),
        _ => return None,
    })
}

/// Whether a command has subcommands.
#[must_use]
pub fn has_subcommands(command: &Command) -> bool {
    command.session().and_then(known).is_some()
}

/// The subcommand that a request names, if it can be executed.
#[must_use]
pub fn named(command: &Command, args: Args<'_>) -> Option<&'static str> {
    let session = command.session()?;
    let (_, known) = known(session).filter(|_| args.len() > 1)?;
    check(session, args).ok()?;
    let is_it = |(name, _): &&Subcommand| args.get(1).eq_ignore_ascii_case(name.as_bytes());
    known.iter().find(is_it).map(|(name, _)| *name)
}

/// Whether a command that has subcommands names one, with enough arguments.
///
/// # Errors
/// The text of the error reply.
pub fn check(session: Session, args: Args<'_>) -> Result<(), String> {
    let Some((name, known)) = known(session) else { return Ok(()) };
    if args.len() == 1 {
        return Ok(());
    }
    let sub = word(args.get(1));
    let Some((_, arity)) = known.iter().find(|(known, _)| *known == sub) else {
        let given: String = String::from_utf8_lossy(args.get(1)).chars().take(128).collect();
        let name = name.to_ascii_uppercase();
        return Err(format!("ERR unknown subcommand '{given}'. Try {name} HELP."));
    };
    let least = usize::from(arity.unsigned_abs());
    if args.len() == least || (*arity < 0 && args.len() > least) {
        return Ok(());
    }
    Err(format!("ERR wrong number of arguments for '{name}|{sub}' command"))
}
