//! Commands of Redis that ask for what is done in another way here: each is told which.

use crate::data::server::Server;
use cairn_resp::Args;

const RECORD: &str = "the directory's record says who masters a group and who follows: `cairn \
    failover GROUP` hands mastership over";
const SNAPSHOTS: &str = "members write snapshots while they go on: `snapshotInterval` of the \
    Keyspace says how often";
const PROCESS: &str = "nodes are started and ended by Kubernetes or by `cairn up` and `cairn down`";
const STREAM: &str = "members of a group follow its log on the peer port, which clients cannot";
const MOVES: &str = "`cairn move` moves slots between groups; between keyspaces `cairn backup` and \
    `cairn restore` carry data over, and a single key goes by DUMP and RESTORE";
const ONE_DATABASE: &str = "a keyspace has one database; another Keyspace is another one";

/// What the command called `name` is told.
fn instead(name: &str) -> Option<&'static str> {
    Some(match name {
        "replicaof" | "slaveof" | "failover" => RECORD,
        "save" | "bgsave" | "bgrewriteaof" | "lastsave" => SNAPSHOTS,
        "shutdown" => PROCESS,
        "sync" | "psync" | "replconf" => STREAM,
        "swapdb" | "move" => ONE_DATABASE,
        "debug" => "`cairn status`, `cairn why` and `cairn inspect` show what is inside",
        "migrate" => MOVES,
        "pfdebug" | "pfselftest" => "it looks into Redis itself",
        "module" => "nodes load no foreign code",
        "monitor" => "SLOWLOG, LATENCY and INFO commandstats tell what clients do",
        _ => return None,
    })
}

impl Server {
    /// Refuses a command with the way that is Cairn's.
    pub fn refuse_command(&mut self, index: usize, args: Args<'_>) {
        let name = super::word(args.name());
        if name == "debug" && super::debug::answered(args, self.out(index)) {
            return;
        }
        let why = instead(&name).unwrap_or("it is done in another way");
        let text = format!("ERR {} is not for clients of Cairn: {why}", name.to_ascii_uppercase());
        self.out(index).error(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_keyspace::command::{COMMANDS, Session};

    #[test]
    fn every_command_that_is_refused_is_told_what_to_do_instead() {
        let refused = COMMANDS.iter().filter(|it| it.session() == Some(Session::Nowhere));
        let names: Vec<&str> = refused.map(|command| command.name).collect();
        assert_eq!(names.len(), 19);
        assert!(names.iter().all(|name| instead(name).is_some()), "{names:?}");
    }
}
