//! ROLE: what the node is in its group, for clients that look for a master.

use crate::data::server::Server;
use cairn_logic::record::Role;

impl Server {
    /// `ROLE`
    pub(in crate::data) fn role(&mut self, index: usize) {
        let routes = self.core.view.routes.clone();
        let group = self.core.view.home.and_then(|home| routes.groups.get(home));
        let (applied, committed) = (self.core.last.offset.0, self.core.committed.0);
        let (master, loading) = (self.core.mastership.is_some(), self.core.loading);
        let out = self.out(index);
        if master {
            let nodes = group.map(|group| &group.nodes[..]).unwrap_or_default();
            let others = || nodes.iter().filter(|node| node.role != Role::Master && node.alive);
            out.array(3);
            out.bulk(b"master");
            out.count(applied as usize);
            out.array(others().count());
            for node in others() {
                out.array(3);
                out.bulk(node.host.as_bytes());
                out.bulk(node.port.to_string().as_bytes());
                out.bulk(committed.to_string().as_bytes());
            }
            return;
        }
        let master = group.and_then(|group| group.master());
        let state = match master {
            _ if loading => "sync",
            Some(_) => "connected",
            None => "connect",
        };
        out.array(5);
        out.bulk(b"slave");
        out.bulk(master.map_or("", |node| node.host.as_str()).as_bytes());
        out.integer(master.map_or(0, |node| i64::from(node.port)));
        out.bulk(state.as_bytes());
        out.count(applied as usize);
    }
}
