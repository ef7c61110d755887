//! Routes of the keyspace this node belongs to, from the directory's view.

use crate::data::routes::{GroupRoute, NOBODY, NodeRoute, Routes};
use cairn_global::View;
use cairn_logic::ids::{GroupId, NodeId, SLOTS};
use cairn_logic::record::{Member, Record};
use cairn_settings::directory_keys::keyspace_of;

/// The routes that `me`, a node of `group`, shows to clients.
pub fn routes(view: &View, me: &NodeId, group: &GroupId) -> Routes {
    let mut routes = Routes { revision: view.revision, ..Routes::none(me.clone()) };
    let Some(keyspace) = keyspace_of(group) else { return routes };
    let of_keyspace = |id: &&GroupId| keyspace_of(id) == Some(keyspace);
    for id in view.groups.keys().filter(of_keyspace) {
        routes.groups.push(group_route(view, id, &view.groups[id]));
    }
    if let Some(moves) = view.moves.get(keyspace) {
        routes.moves = moves.all().to_vec();
    }
    let Some(owners) = view.slots.get(keyspace) else { return routes };
    routes.slots = vec![NOBODY; usize::from(SLOTS)];
    for range in owners.ranges() {
        let Some(index) = routes.groups.iter().position(|g| g.id == range.group) else { continue };
        let slots = usize::from(range.first.get())..=usize::from(range.last.get());
        let owner = u16::try_from(index).unwrap_or(NOBODY);
        routes.slots[slots].fill(owner);
    }
    routes
}

fn group_route(view: &View, id: &GroupId, record: &Record) -> GroupRoute {
    let nodes = record.members.iter().filter_map(|member| node_route(view, member)).collect();
    GroupRoute { id: id.clone(), epoch: record.epoch, nodes }
}

fn node_route(view: &View, member: &Member) -> Option<NodeRoute> {
    let info = view.nodes.get(&member.id)?;
    let (host, port) = host_and_port(&info.addresses.client)?;
    let (_, peer_port) = host_and_port(&info.addresses.peer)?;
    Some(NodeRoute {
        id: member.id.clone(),
        role: member.role,
        host: host.to_owned(),
        port,
        peer_port,
        alive: view.is_alive(&member.id) && info.incarnation == member.incarnation,
    })
}

/// `host:port`; an IPv6 address in brackets loses them.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_last_colon() {
        assert_eq!(host_and_port("a.b:6379"), Some(("a.b", 6379)));
        assert_eq!(host_and_port("[::1]:6379"), Some(("::1", 6379)));
        assert_eq!(host_and_port("a.b"), None);
        assert_eq!(host_and_port("a.b:x"), None);
    }
}
