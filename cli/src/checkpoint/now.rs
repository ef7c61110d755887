//! `cairn checkpoint now`: a snapshot of the directory or of a group, written at once.

use crate::place::Place;
use crate::print;
use crate::view::View;
use anyhow::{Result, ensure};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Role;
use cairn_settings::NodeRole;
use cairn_wire::peer::pb::{WriteSnapshot, wish_request::Body};
use std::time::Duration;

/// The node answers after a minute at the latest.
pub const ANSWER_MAX: Duration = Duration::from_secs(70);

/// Has `node` write one, or whoever writes them, and says what came of it.
pub async fn now(place: &Place, group: &str, node: Option<&str>) -> Result<()> {
    let (roster, plane) = place.open().await?;
    if let Some(node) = node {
        roster.node(node)?;
    }
    let group = GroupId::new(group);
    let view = View::take(None, &plane).await;
    let master = view.master_of(group.as_str()).map(|(_, master)| master);
    let known = plane.nodes().iter().filter(|known| view.nodes.contains_key(&known.id));
    let roles: Vec<(NodeRole, &NodeId)> = known.map(|known| (known.role, &known.id)).collect();
    let writers = match node {
        Some(node) => vec![node],
        None if group == GroupId::global() => writers(&roles, master.as_deref()),
        None => members(&view, &group, master.as_deref()),
    };
    ensure!(
        !writers.is_empty(),
        "no node that has the log of {group} answers; `cairn status` says what runs"
    );
    let mut refused = None;
    for writer in writers {
        let wish = Body::WriteSnapshot(WriteSnapshot { group: group.to_string() });
        match plane.wish_within(writer, wish, ANSWER_MAX).await {
            Ok(lines) => {
                lines.iter().for_each(|line| print::line(format_args!("{writer}: {line}")));
                return Ok(());
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| anyhow::anyhow!("nobody was asked")))
}

/// Who may write one of a group: its backups, then replicas; the master does it only where it is
/// alone, and says so.
fn members<'a>(view: &'a View, group: &GroupId, master: Option<&str>) -> Vec<&'a str> {
    let record = view.topology.as_ref().ok().and_then(|topology| topology.groups.get(group));
    let role = |id: &str| record.and_then(|r| r.member(&NodeId::new(id))).map(|m| m.role);
    let has_it = |id: &&NodeId| view.log(id, group.as_str()).is_some();
    let mut members: Vec<&str> = view.nodes.keys().filter(has_it).map(NodeId::as_str).collect();
    members.sort_by_key(|id| (Some(*id) == master, role(id) != Some(Role::Backup)));
    members
}

/// Who may write one of the directory: checkpoint nodes, else those that follow the master; the
/// master does it only where it is alone, and says so.
fn writers<'a>(nodes: &[(NodeRole, &'a NodeId)], master: Option<&str>) -> Vec<&'a str> {
    let of = |role: NodeRole| {
        let nodes = nodes.iter().filter(move |(its, _)| *its == role);
        nodes.map(|(_, id)| id.as_str()).collect::<Vec<_>>()
    };
    let mut global = of(NodeRole::Global);
    global.sort_by_key(|id| Some(*id) == master);
    [of(NodeRole::Checkpoint), global].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_nodes_are_asked_first_and_the_master_last() {
        let ids = ["g-0", "g-1", "c-0", "a-0", "t-0"].map(NodeId::new);
        let roles = [
            NodeRole::Global,
            NodeRole::Global,
            NodeRole::Checkpoint,
            NodeRole::Acceptor,
            NodeRole::Data,
        ];
        let nodes: Vec<_> = roles.into_iter().zip(&ids).collect();
        assert_eq!(writers(&nodes, Some("g-0")), ["c-0", "g-1", "g-0"]);
        assert_eq!(writers(&nodes[..2], None), ["g-0", "g-1"]);
        assert_eq!(writers(&nodes[3..], None), [""; 0]);
    }
}
