//! `cairn pool`: the spares there are, and what each of them is for now.

use crate::args::Output;
use crate::place::Place;
use crate::status::table;
use crate::view::Topology;
use anyhow::{Context, Result};
use cairn_logic::ids::NodeId;
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::{Claim, NodeInfo};
use serde::Serialize;
use std::collections::BTreeSet;

/// What `-o json` prints; keys are only ever added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spare {
    pool: String,
    node: String,
    state: &'static str,
    group: Option<String>,
    zone: Option<String>,
    size_class: String,
    version: String,
}

/// Every spare of every pool, as the directory has it.
pub async fn pool(place: &Place, output: Output) -> Result<String> {
    let (_, plane) = place.open().await?;
    let topology = Topology::read(&plane).await?;
    match output {
        Output::Json => {
            Ok(serde_json::to_string_pretty(&spares(&topology)).context("cannot encode")? + "\n")
        }
        Output::Table => Ok(tables(&topology)),
    }
}

fn spares(topology: &Topology) -> Vec<Spare> {
    topology.nodes.iter().filter_map(|(id, info)| spare(topology, id, info)).collect()
}

fn tables(topology: &Topology) -> String {
    let spares = spares(topology);
    if topology.pools.is_empty() {
        return "no pools: write a SparePool, so that members that are lost are replaced\n".into();
    }
    let of = |name: &str, state: &str| {
        spares.iter().filter(|spare| spare.pool == name && spare.state == state).count()
    };
    let row = |(name, config): (&String, &cairn_settings::directory_keys::PoolConfig)| {
        let idle = of(name, "idle");
        let short = idle < usize::from(config.idle_min);
        [
            name.clone(),
            config.size.to_string(),
            if short {
                format!("{idle} (of {} wanted)", config.idle_min)
            } else {
                idle.to_string()
            },
            of(name, "claimed").to_string(),
            of(name, "releasing").to_string(),
            of(name, "away").to_string(),
            of(name, "drained").to_string(),
        ]
    };
    let pools: Vec<[String; 7]> = topology.pools.iter().map(row).collect();
    let nodes: Vec<[String; 6]> = spares.iter().map(line).collect();
    let short = short_zones(topology, &spares);
    table(&["POOL", "SIZE", "IDLE", "CLAIMED", "RELEASING", "AWAY", "DRAINED"], &pools)
        + &short
        + "\n"
        + &table(&["NODE", "STATE", "GROUP", "ZONE", "CLASS", "VERSION"], &nodes)
}

/// Zones with data nodes in which a pool has fewer idle spares than it should, a line each.
fn short_zones(topology: &Topology, spares: &[Spare]) -> String {
    let data = topology.nodes.values().filter(|info| info.role == NodeRole::Data);
    let zones: BTreeSet<&String> = data.filter_map(|info| info.zone.as_ref()).collect();
    let mut lines = String::new();
    for (name, config) in &topology.pools {
        let wanted = usize::from(config.min_idle_per_zone);
        for zone in &zones {
            let idle = spares.iter().filter(|spare| {
                spare.pool == *name && spare.state == "idle" && spare.zone.as_ref() == Some(*zone)
            });
            let idle = idle.count();
            if idle < wanted {
                lines += &format!("{name}: {idle} idle (of {wanted} wanted) in zone {zone}\n");
            }
        }
    }
    lines
}

fn spare(topology: &Topology, id: &NodeId, info: &NodeInfo) -> Option<Spare> {
    let alive = topology.alive.get(id).is_some_and(|a| a.incarnation == info.incarnation);
    let (state, group) = match &info.claim {
        Claim::Claimed { group, .. } => ("claimed", Some(group)),
        Claim::Releasing { group, .. } => ("releasing", Some(group)),
        Claim::Idle => ("idle", None),
    };
    let drained = topology.is_drained(id) && info.claim == Claim::Idle;
    Some(Spare {
        pool: info.pool.clone()?,
        node: id.to_string(),
        state: match alive {
            true if drained => "drained",
            true => state,
            false => "away",
        },
        group: group.map(ToString::to_string),
        zone: info.zone.clone(),
        size_class: info.make.size_class.clone(),
        version: info.make.version.clone(),
    })
}

fn line(spare: &Spare) -> [String; 6] {
    let or_dash = |text: Option<&str>| text.filter(|t| !t.is_empty()).unwrap_or("-").to_owned();
    [
        spare.node.clone(),
        spare.state.to_owned(),
        or_dash(spare.group.as_deref()),
        or_dash(spare.zone.as_deref()),
        or_dash(Some(&spare.size_class)),
        or_dash(Some(&spare.version)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_settings::directory_keys::{Alive, Drain, Drained, PoolConfig};

    fn topology() -> Topology {
        let mut topology = Topology::default();
        let pool = PoolConfig::decode(br#"{"size":3,"idleMin":2}"#).unwrap();
        topology.pools.insert("warm".to_owned(), pool);
        for (id, claim) in [
            ("t-0-0", r#"{"state":"claimed","group":"t-0","claim":4}"#),
            ("warm-spare-0", r#"{"state":"claimed","group":"t-0","claim":9}"#),
            ("warm-spare-1", r#"{"state":"idle"}"#),
            ("warm-spare-2", r#"{"state":"releasing","group":"t-0","claim":7}"#),
        ] {
            let pool = if id.starts_with("warm") { r#""pool":"warm","# } else { "" };
            let json = format!(
                r#"{{"incarnation":1,"role":"data",{pool}"make":{{"version":"1.2.3"}},
                    "addresses":{{"client":"","etcd":"","peer":"","heartbeat":"","metrics":""}},
                    "claim":{claim}}}"#
            );
            let info = NodeInfo::decode(json.as_bytes()).unwrap();
            let alive = Alive { incarnation: info.incarnation, life: info.life };
            topology.alive.insert(NodeId::new(id), alive);
            topology.nodes.insert(NodeId::new(id), info);
        }
        topology
    }

    #[test]
    fn spares_are_listed_with_what_they_are_for_and_a_pool_says_what_it_lacks() {
        let mut topology = topology();
        let text = tables(&topology);
        assert!(
            text.contains("warm  3     1 (of 2 wanted)  1        1          0     0\n"),
            "{text}"
        );
        assert!(text.contains("warm-spare-0  claimed    t-0    -     -      1.2.3\n"), "{text}");
        assert!(!text.contains("t-0-0"), "members that are no spares are not listed: {text}");
        let pool = PoolConfig::decode(br#"{"size":3,"minIdlePerZone":1}"#).unwrap();
        topology.pools.insert("warm".to_owned(), pool);
        let zone = |topology: &mut Topology, id: &str, zone: &str| {
            topology.nodes.get_mut(&NodeId::new(id)).unwrap().zone = Some(zone.to_owned());
        };
        zone(&mut topology, "warm-spare-1", "a");
        zone(&mut topology, "t-0-0", "b");
        let text = tables(&topology);
        assert!(text.contains("\nwarm: 0 idle (of 1 wanted) in zone b\n"), "{text}");
        assert!(!text.contains("in zone a"), "{text}");
        let spare = Drained::Node(NodeId::new("warm-spare-1"));
        topology.drains.insert(spare, Drain::default());
        assert_eq!(spares(&topology)[1].state, "drained");
        topology.alive.clear();
        assert!(spares(&topology).iter().all(|spare| spare.state == "away"));
    }
}
