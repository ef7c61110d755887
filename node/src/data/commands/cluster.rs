//! CLUSTER: what clients and tools ask about routes; changes are refused with Cairn's way.

use crate::data::commands::nodes::{node_name, shard_name};
use crate::data::commands::{help, nodes, word};
use crate::data::server::Server;
use cairn_keyspace::slot_of;
use cairn_logic::ids::{SLOTS, Slot};
use cairn_resp::{Args, number};

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return 0: failures are judged by the global plane.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "LINKS",
    "    Return an empty list: nodes do not gossip.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return cluster configuration seen by node.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "SLOTS",
    "    Return information about slots range mappings.",
    "HELP",
    "    Print this help.",
];

/// What a subcommand that changes a cluster is told.
fn cairns_way(sub: &str) -> Option<&'static str> {
    Some(match sub {
        "meet" | "forget" | "replicate" | "reset" | "saveconfig" | "set-config-epoch"
        | "bumpepoch" => {
            "ERR nodes join and leave through the Keyspace resource; see `cairn status`"
        }
        "addslots" | "addslotsrange" | "delslots" | "delslotsrange" | "flushslots" | "setslot" => {
            "ERR slots are placed by the planner of the global plane and moved by \
             `cairn move SLOTS GROUP`; see `cairn slots`"
        }
        "failover" => "ERR a planned failover is asked for with `cairn failover GROUP`",
        _ => return None,
    })
}

impl Server {
    /// `CLUSTER subcommand …`
    pub fn cluster(&mut self, index: usize, args: Args<'_>) {
        let sub = word(args.get(1));
        let routes = std::sync::Arc::clone(&self.core.view.routes);
        match sub.as_str() {
            "slots" => nodes::slots(&routes, self.out(index)),
            "shards" => {
                let offset = i64::try_from(self.core.last.offset.0).unwrap_or(i64::MAX);
                nodes::shards(&routes, offset, self.out(index));
            }
            "nodes" => {
                let text = nodes::table(&routes, self.core.unix_ms);
                self.out(index).verbatim(*b"txt", text.as_bytes());
            }
            "info" => {
                let text = nodes::info(&self.core.view);
                self.out(index).verbatim(*b"txt", text.as_bytes());
            }
            "myid" => {
                let name = node_name(&routes.me);
                self.out(index).bulk(name.as_bytes());
            }
            "myshardid" => {
                let home = self.core.view.home.and_then(|home| routes.groups.get(home));
                let name = home.map_or_else(|| node_name(&routes.me), |g| shard_name(&g.id));
                self.out(index).bulk(name.as_bytes());
            }
            "links" => self.out(index).array(0),
            "count-failure-reports" => self.out(index).integer(0),
            "replicas" | "slaves" => self.cluster_replicas(index, args.get(2)),
            "keyslot" => {
                let slot = slot_of(args.get(2)).get();
                self.out(index).integer(i64::from(slot));
            }
            "countkeysinslot" => match slot_arg(args.get(2)) {
                Some(slot) => {
                    let hidden = self.core.keyspace.is_hidden(slot);
                    let count = if hidden { 0 } else { self.core.keyspace.slot_len(slot) };
                    self.out(index).count(count);
                }
                None => self.out(index).error("ERR Invalid slot"),
            },
            "getkeysinslot" => self.keys_in_slot(index, args),
            other => match cairns_way(other) {
                Some(text) => self.out(index).error(text),
                // Unknown ones were refused before.
                None => help(self, index, HELP),
            },
        }
    }

    fn cluster_replicas(&mut self, index: usize, name: &[u8]) {
        let routes = std::sync::Arc::clone(&self.core.view.routes);
        match nodes::replicas(&routes, name, self.core.unix_ms) {
            Ok(lines) => {
                let out = self.out(index);
                out.array(lines.len());
                lines.iter().for_each(|line| out.bulk(line.as_bytes()));
            }
            Err(text) => self.out(index).error(&text),
        }
    }

    fn keys_in_slot(&mut self, index: usize, args: Args<'_>) {
        let count = number::parse_i64(args.get(3)).and_then(|count| usize::try_from(count).ok());
        let (Some(slot), Some(count)) = (slot_arg(args.get(2)), count) else {
            return self.out(index).error("ERR Invalid slot or number of keys");
        };
        let mut keys = Vec::new();
        let count = if self.core.keyspace.is_hidden(slot) { 0 } else { count };
        self.core.keyspace.keys_in_slot(slot, count, |key| keys.push(key.to_vec()));
        let out = self.out(index);
        out.array(keys.len());
        keys.iter().for_each(|key| out.bulk(key));
    }
}

fn slot_arg(arg: &[u8]) -> Option<Slot> {
    let number = number::parse_i64(arg).filter(|number| (0..i64::from(SLOTS)).contains(number))?;
    u16::try_from(number).ok().and_then(|number| Slot::try_from(number).ok())
}
