//! A data thread alone: master of all slots, whose every entry is committed at once.

use cairn_acl::Stored;
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, SLOTS};
use cairn_logic::record::Role;
use cairn_logic::replication::Admission;
use cairn_logic::time::Instant;
use cairn_node::clock;
use cairn_node::data::link::{Answers, Clock, Config, FromData, Reads, ToData};
use cairn_node::data::routes::{GroupRoute, NodeRoute, Routes};
use cairn_node::data::{self, Options, Running};
use std::sync::Arc;

/// Starts it.
pub fn start(port: u16, reads: Reads) -> anyhow::Result<Running> {
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
        port: running.addresses[0].port(),
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
    Ok(running)
}

/// Plays its control until it ends.
pub fn control(mut running: Running) {
    let (link, mut users) = (&mut running.link, Stored::default());
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
}
