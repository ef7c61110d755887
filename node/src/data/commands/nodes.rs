//! The routes in the forms of CLUSTER SLOTS, SHARDS, NODES and INFO. Pure.

use crate::data::routes::{GroupRoute, NodeRoute, Routes};
use crate::data::routing::View;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Role;
use cairn_resp::ReplyBuf;
use std::fmt::Write;

/// 40 hexadecimal digits that stand for `kind` and `text`, always the same.
///
/// FNV-1a over 64 bits, three times with other starts: names, not secrets.
fn hex40(kind: u8, text: &str) -> String {
    let mut name = String::with_capacity(48);
    for start in 0..3_u8 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in [start, kind].into_iter().chain(text.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 29;
        write!(name, "{hash:016x}").expect("writing to a string succeeds");
    }
    name.truncate(40);
    name
}

/// The 40 digits that stand for a node in the Redis Cluster protocol.
#[must_use]
pub fn node_name(id: &NodeId) -> String {
    hex40(b'n', id.as_str())
}

/// The 40 digits that stand for a group.
#[must_use]
pub fn shard_name(id: &GroupId) -> String {
    hex40(b'g', id.as_str())
}

/// Nodes that clients may be sent to: the master first; backups and dead ones are left out.
fn served(group: &GroupRoute) -> impl Iterator<Item = &NodeRoute> {
    let replicas = group.nodes.iter().filter(|node| node.role == Role::Replica && node.alive);
    group.master().into_iter().chain(replicas)
}

/// CLUSTER SLOTS.
pub fn slots(routes: &Routes, out: &mut ReplyBuf) {
    let mut ranges = routes.ranges();
    ranges.retain(|range| routes.groups[range.2].master().is_some());
    out.array(ranges.len());
    for (first, last, group) in ranges {
        let nodes: Vec<_> = served(&routes.groups[group]).collect();
        out.array(2 + nodes.len());
        out.integer(i64::from(first));
        out.integer(i64::from(last));
        for node in nodes {
            out.array(4);
            out.bulk(node.host.as_bytes());
            out.integer(i64::from(node.port));
            out.bulk(node_name(&node.id).as_bytes());
            out.array(0);
        }
    }
}

/// CLUSTER SHARDS; `offset` is this node's own end of the log.
pub fn shards(routes: &Routes, offset: i64, out: &mut ReplyBuf) {
    let ranges = routes.ranges();
    out.array(routes.groups.len());
    for (index, group) in routes.groups.iter().enumerate() {
        let own: Vec<_> = ranges.iter().filter(|range| range.2 == index).collect();
        out.map(2);
        out.bulk(b"slots");
        out.array(own.len() * 2);
        for (first, last, _) in own {
            out.integer(i64::from(*first));
            out.integer(i64::from(*last));
        }
        out.bulk(b"nodes");
        let nodes: Vec<_> = group.nodes.iter().filter(|node| node.role != Role::Backup).collect();
        out.array(nodes.len());
        for node in nodes {
            shard_node(node, if node.id == routes.me { offset } else { 0 }, out);
        }
    }
}

fn shard_node(node: &NodeRoute, offset: i64, out: &mut ReplyBuf) {
    let role: &[u8] = if node.role == Role::Master { b"master" } else { b"replica" };
    let health: &[u8] = if node.alive { b"online" } else { b"fail" };
    out.map(7);
    out.bulk(b"id");
    out.bulk(node_name(&node.id).as_bytes());
    out.bulk(b"port");
    out.integer(i64::from(node.port));
    out.bulk(b"ip");
    out.bulk(node.host.as_bytes());
    out.bulk(b"endpoint");
    out.bulk(node.host.as_bytes());
    out.bulk(b"role");
    out.bulk(role);
    out.bulk(b"replication-offset");
    out.integer(offset);
    out.bulk(b"health");
    out.bulk(health);
}

/// CLUSTER NODES. Backups are shown only to themselves: clients would read from them.
#[must_use]
pub fn table(routes: &Routes, now_ms: u64) -> String {
    let ranges = routes.ranges();
    let mut text = String::new();
    for (index, group) in routes.groups.iter().enumerate() {
        for node in &group.nodes {
            if node.role == Role::Backup && node.id != routes.me {
                continue;
            }
            let own = ranges.iter().filter(|range| range.2 == index);
            text.push_str(&line(routes, group, node, now_ms));
            for (first, last, _) in own.filter(|_| node.role == Role::Master) {
                match first == last {
                    true => write!(text, " {first}"),
                    false => write!(text, " {first}-{last}"),
                }
                .expect("writing to a string succeeds");
            }
            text.push('\n');
        }
    }
    if routes.home().is_none() {
        let name = node_name(&routes.me);
        writeln!(text, "{name} :0@0 myself,noaddr,slave - 0 0 0 connected")
            .expect("writing to a string succeeds");
    }
    text
}

fn line(routes: &Routes, group: &GroupRoute, node: &NodeRoute, now_ms: u64) -> String {
    let mut flags = String::new();
    if node.id == routes.me {
        flags.push_str("myself,");
    }
    flags.push_str(if node.role == Role::Master { "master" } else { "slave" });
    if !node.alive && node.id != routes.me {
        flags.push_str(",fail");
    }
    let master = match group.master() {
        Some(master) if master.id != node.id => node_name(&master.id),
        _ => "-".into(),
    };
    let link = if node.alive || node.id == routes.me { "connected" } else { "disconnected" };
    let pong = if node.id == routes.me { 0 } else { now_ms };
    format!(
        "{} {}:{}@{} {flags} {master} 0 {pong} {} {link}",
        node_name(&node.id),
        node.host,
        node.port,
        node.peer_port,
        group.epoch
    )
}

/// The lines of CLUSTER REPLICAS.
///
/// # Errors
/// The text of the reply, if the name is unknown or not a master's.
pub fn replicas(routes: &Routes, name: &[u8], now_ms: u64) -> Result<Vec<String>, String> {
    for group in &routes.groups {
        let found = group.nodes.iter().find(|node| node_name(&node.id).as_bytes() == name);
        match found {
            None => {}
            Some(node) if node.role == Role::Master => {
                let replicas = group.nodes.iter().filter(|node| node.role == Role::Replica);
                return Ok(replicas.map(|node| line(routes, group, node, now_ms)).collect());
            }
            Some(_) => return Err("ERR The specified node is not a master".into()),
        }
    }
    Err(format!("ERR Unknown node {}", String::from_utf8_lossy(name)))
}

/// CLUSTER INFO.
#[must_use]
pub fn info(view: &View) -> String {
    let routes = &view.routes;
    let served = |range: &&(u16, u16, usize)| {
        routes.groups[range.2].master().is_some_and(|master| master.alive)
    };
    let count = |range: &(u16, u16, usize)| u32::from(range.1 - range.0) + 1;
    let ranges = routes.ranges();
    let assigned: u32 = ranges.iter().map(count).sum();
    let ok: u32 = ranges.iter().filter(served).map(count).sum();
    let visible = |node: &&NodeRoute| node.role != Role::Backup;
    let known = routes.groups.iter().flat_map(|group| &group.nodes).filter(visible).count();
    let size = routes.groups.iter().filter(|group| group.master().is_some()).count();
    let epoch = routes.groups.iter().map(|group| group.epoch.0).max().unwrap_or(0);
    let my_epoch = view.home.map_or(0, |home| routes.groups[home].epoch.0);
    let state = if ok == 16384 { "ok" } else { "fail" };
    let lines = [
        ("cluster_enabled", "1".into()),
        ("cluster_state", state.to_owned()),
        ("cluster_slots_assigned", assigned.to_string()),
        ("cluster_slots_ok", ok.to_string()),
        ("cluster_slots_pfail", "0".into()),
        ("cluster_slots_fail", (assigned - ok).to_string()),
        ("cluster_known_nodes", known.to_string()),
        ("cluster_size", size.to_string()),
        ("cluster_current_epoch", epoch.to_string()),
        ("cluster_my_epoch", my_epoch.to_string()),
        ("cluster_stats_messages_sent", "0".into()),
        ("cluster_stats_messages_received", "0".into()),
        ("total_cluster_links_buffer_limit_exceeded", "0".into()),
    ];
    lines.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_forty_digits_and_differ() {
        let a = node_name(&NodeId::new("k-0-0"));
        assert_eq!(a.len(), 40);
        assert!(a.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(a, node_name(&NodeId::new("k-0-0")));
        assert_ne!(a, node_name(&NodeId::new("k-0-1")));
        assert_ne!(a, shard_name(&GroupId::new("k-0-0")));
    }
}
