//! Serves all slots from one data thread that commits at once and writes nothing: to measure the
//! hot path, apart from replication and files.
//!
//! `cargo run --profile fast --example data_thread -- [port] [confirm]`

use cairn_acl::Stored;
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, SLOTS};
use cairn_logic::record::Role;
use cairn_logic::replication::Admission;
use cairn_logic::time::Instant;
use cairn_node::clock;
use cairn_node::data::link::{Answers, Clock, Config, FromData, Reads, ToData};
use cairn_node::data::routes::{GroupRoute, NodeRoute, Routes};
use cairn_node::data::{self, Options};
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().map_or(Ok(7777), |text| text.parse())?;
    let reads = if args.next().is_some() { Reads::Confirm } else { Reads::Lease };
    let me = NodeId::new("alone");
    let options = Options {
        listen: vec![([127, 0, 0, 1], port).into()],
        me: me.clone(),
        seed: 42,
        config: Config::default(),
        clock: Clock { now: clock::now, unix_ms: clock::unix_ms },
        tls: None,
    };
    let mut running = data::start(options)?;
    let node = NodeRoute {
        id: me.clone(),
        role: Role::Master,
        host: "127.0.0.1".into(),
        port,
        peer_port: 0,
        alive: true,
    };
    let group = GroupRoute { id: GroupId::new("k-0"), epoch: Epoch(1), nodes: vec![node] };
    let slots = vec![0; usize::from(SLOTS)];
    let routes = Routes { me, revision: 1, groups: vec![group], slots, moves: Vec::new() };
    let link = &mut running.link;
    link.send(ToData::Routes(Arc::new(routes)));
    let (epoch, next) = (Epoch(1), Offset(1));
    link.send(ToData::BecomeMaster { epoch, next, reads, answers: Answers::AtCommit });
    link.send(ToData::Admission(Admission::Open));
    link.read_until(Some(Instant::from_nanos(u64::MAX)));
    link.send(ToData::Loading(false));
    let mut users = Stored::default();
    while let Some(message) = running.from.blocking_recv() {
        match message {
            FromData::Appended(batch) => link.commit(batch.head.last_offset()),
            FromData::NeedConfirm { token } => link.send(ToData::ReadsConfirmed { token }),
            FromData::Compared(_) | FromData::Move(_) => {}
            FromData::ChangeUsers { token, fixed, change } => {
                let outcome = users.change(&fixed, &change).map_err(|refused| refused.text());
                let outcome = outcome.map(|(after, deleted)| {
                    users = after;
                    link.send(ToData::Users(users.clone()));
                    deleted
                });
                link.send(ToData::UsersChanged { token, outcome });
            }
            FromData::SteppedDown { .. } | FromData::Gap { .. } | FromData::Stopped => break,
        }
    }
    Ok(())
}
