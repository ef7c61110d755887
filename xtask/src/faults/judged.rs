//! What must be true of slots and copies when all moves have ended.

use std::time::Duration;

use anyhow::Result;
use cairn_harness::client::{Client, Patience, SLOTS, slot_of};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::{Cluster, Node, Role};
use cairn_harness::history::Operation;
use cairn_harness::moves::Moved;
use cairn_harness::slots::SlotMap;
use cairn_harness::status::Status;

/// How long copies may take to be the same, and nodes to know who owns what.
const LIMIT: Duration = Duration::from_secs(30);
/// How long after a fault a pause may begin and still be its doing.
const PAUSE_BEGINS_US: u64 = 3_000_000;

/// Slots and copies at the end.
#[derive(Debug, Default)]
pub struct Ends {
    /// Slots that nobody owns or more than one, and slots that a node sends clients astray for,
    /// summed over all nodes.
    pub slots_wrong: usize,
    /// Moves of which something is left.
    pub moves_left: usize,
    /// Groups whose copies differ.
    pub different: usize,
}

/// Looks until all is well, or for a while.
///
/// # Errors
/// If the cluster does not answer in the end.
pub fn ends(cluster: &Cluster, keyspace: &str) -> Result<Ends> {
    let mut found = Ok(Ends::default());
    wait_until(LIMIT, Duration::from_millis(500), || {
        found = look(cluster, keyspace);
        found.as_ref().is_ok_and(|it| it.slots_wrong + it.moves_left + it.different == 0)
    });
    found
}

fn look(cluster: &Cluster, keyspace: &str) -> Result<Ends> {
    let map = cluster.slots()?.of(keyspace);
    let status = cluster.status_with_digests()?;
    let data = cluster.nodes().iter().filter(|node| node.role == Role::Data);
    let astray: usize = data.map(|node| astray(cluster, &status, &map, node)).sum();
    Ok(Ends {
        slots_wrong: map.unowned() + astray,
        moves_left: map.moves.len(),
        different: status.different().len(),
    })
}

/// For how many slots a node sends clients to somebody else than the owner's master.
fn astray(cluster: &Cluster, status: &Status, map: &SlotMap, node: &Node) -> usize {
    let mut client = Client::new(&[node.redis()], Patience::default());
    if !client.refresh() {
        return usize::from(SLOTS);
    }
    let address = |id: &str| Some(cluster.nodes().iter().find(|node| node.id == id)?.redis());
    let masters: Vec<(&str, Option<String>)> = status
        .groups
        .iter()
        .map(|group| (group.id.as_str(), group.master.as_deref().and_then(address)))
        .collect();
    let right = |slot: u16| {
        let owner = map.owner(slot)?;
        let (_, master) = masters.iter().find(|(group, _)| *group == owner)?;
        (client.routes().master(slot) == master.as_deref()).then_some(())
    };
    (0..SLOTS).filter(|slot| right(*slot).is_none()).count()
}

/// For how long at most, in microseconds, no write of the moving slots was acknowledged around the
/// fault of each move.
pub fn pauses_us(history: &[Operation], moves: &[Moved]) -> Vec<u64> {
    let acknowledged = history.iter().filter(|operation| operation.is_acknowledged_write());
    let mut writes: Vec<(u64, u16)> =
        acknowledged.map(|it| (it.returned_us, slot_of(it.key.as_bytes()))).collect();
    writes.sort_unstable();
    moves.iter().map(|it| pause_us(&writes, it)).collect()
}

fn pause_us(writes: &[(u64, u16)], it: &Moved) -> u64 {
    let (first, last) = it.slots;
    let mine = writes.iter().filter(|(_, slot)| (first..=last).contains(slot));
    let mine: Vec<u64> = mine.map(|(at_us, _)| *at_us).collect();
    let until_us = it.at_us + PAUSE_BEGINS_US;
    let pairs = mine.windows(2).filter(|pair| pair[1] > it.at_us && pair[0] < until_us);
    pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_harness::moves::schedule;

    #[test]
    fn a_pause_is_that_of_the_slots_that_move() {
        let asked = schedule(1, 1)[0];
        let (source, target) = ("t-0".to_owned(), "t-1".to_owned());
        let it = Moved {
            asked,
            slots: (0, 4095),
            source,
            target,
            victims: Vec::new(),
            at_us: 1_000,
            moved: 7,
            under_way: 3,
            took: Duration::ZERO,
        };
        let writes = [(10, 5), (900, 5), (1_500, 9_000), (2_900, 4_095), (3_000, 5)];
        assert_eq!(pause_us(&writes, &it), 2_000);
        assert_eq!(pause_us(&writes[..2], &it), u64::MAX, "nothing was written any more");
    }
}
