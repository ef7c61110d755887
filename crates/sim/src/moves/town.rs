//! The directory of this world: what is committed, in order, and what is proposed.

use crate::rng::Rng;
use cairn_global::moving::Swap;
use cairn_global::{Changed, View};
use cairn_logic::ids::{Epoch, GroupId, Incarnation, Life, NodeId, Slot, Version};
use cairn_logic::record::{Durability, Record, Rule};
use cairn_settings::directory_keys::{self as keys, NodeInfo, SlotOwners, SlotRange};
use cairn_settings::{Addresses, NodeRole};

/// What is committed, and what is on its way.
pub(super) struct Town {
    view: View,
    /// Everything that was committed, in order; what one transaction has changed is read at once.
    pub history: Vec<Vec<Changed>>,
    proposed: Vec<Swap>,
    /// What comes when nobody expects it any more.
    late: Vec<Swap>,
}

fn group(at: usize) -> GroupId {
    GroupId::new(format!("t-{at}"))
}

impl Town {
    /// Group 0 owns all slots, or all up to `last`; the first member of each group is its master in
    /// epoch 1.
    pub fn new(last: u16) -> Self {
        let (view, history) = (View::default(), Vec::new());
        let mut town = Self { view, history, proposed: Vec::new(), late: Vec::new() };
        for at in 0..2 {
            let master = Some(NodeId::new(format!("n-{}", at * 2)));
            town.write_record(at, Epoch(1), master, false);
        }
        let slot = |number| Slot::try_from(number).expect("a number below 16384");
        let mut ranges = vec![SlotRange { first: slot(0), last: slot(last), group: group(0) }];
        if last < 16383 {
            ranges.push(SlotRange { first: slot(last + 1), last: slot(16383), group: group(1) });
        }
        let owners = SlotOwners::new(ranges).expect("they meet");
        town.write(vec![(keys::slots_key("t"), owners.encode())]);
        town
    }

    /// Every node is registered and lives, as the planner wants it of masters.
    pub fn registers(&mut self) {
        for at in 0..4 {
            let (id, incarnation, life) = (NodeId::new(format!("n-{at}")), Incarnation(1), Life(1));
            let info = NodeInfo {
                incarnation,
                life,
                role: NodeRole::Data,
                addresses: Addresses::default(),
                zone: None,
                machine: None,
                preferred_keyspace: None,
                preferred_group: None,
                pool: None,
                priority: 0,
                make: keys::Make::default(),
                claim: keys::Claim::default(),
            };
            let alive = keys::Alive { incarnation, life };
            self.write(vec![
                (keys::node_key(&id), info.encode()),
                (keys::alive_key(&id), alive.encode()),
            ]);
        }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    fn write(&mut self, puts: Vec<(String, Vec<u8>)>) {
        let changed = puts.into_iter().map(|(key, value)| {
            let version = self.view.version(&key) + 1;
            Changed { key: key.into_bytes(), value: Some((value, version)) }
        });
        let changed: Vec<Changed> = changed.collect();
        changed.iter().for_each(|one| self.view.change(one));
        self.history.push(changed);
    }

    fn write_record(&mut self, at: usize, epoch: Epoch, master: Option<NodeId>, open: bool) {
        let version = Version(self.view.version(&keys::group_key(&group(at))) + 1);
        let record = Record {
            version,
            epoch,
            master,
            members: Vec::new(),
            rule: Rule::One,
            wanted: 2,
            durability: Durability::default(),
            attempt: if open { epoch.next() } else { epoch },
            open,
        };
        self.write(vec![(keys::group_key(&group(at)), keys::encode_group(&record))]);
    }

    fn record(&self, at: usize) -> &Record {
        &self.view.groups[&group(at)]
    }

    /// Whether an attempt is open.
    pub fn is_open(&self, at: usize) -> bool {
        self.record(at).open
    }

    /// An attempt is opened.
    pub fn opens(&mut self, at: usize) {
        let (epoch, master) = (self.record(at).epoch, self.record(at).master.clone());
        self.write_record(at, epoch, master, true);
    }

    /// It becomes an epoch.
    pub fn settles(&mut self, at: usize, epoch: Epoch, master: &NodeId) {
        self.write_record(at, epoch, Some(master.clone()), false);
    }

    pub fn owner(&self, slot: Slot) -> usize {
        usize::from(self.view.slots["t"].owner(slot) == Some(&group(1)))
    }

    pub fn propose(&mut self, swap: Swap) {
        self.proposed.push(swap);
    }

    /// One of the proposals comes, perhaps very late; what it changed, if it did.
    pub fn commits(&mut self, rng: &mut Rng) -> Option<String> {
        let late = rng.chance(30) && !self.late.is_empty();
        let from = if late { &mut self.late } else { &mut self.proposed };
        if from.is_empty() {
            return None;
        }
        let swap = from.remove(rng.index(from.len()));
        match rng.below(10) {
            // Some are lost, some are under way for long.
            0 => return None,
            1..4 if !late => {
                self.late.push(swap);
                return None;
            }
            _ => {}
        }
        let holds = swap.compare.iter().all(|(key, version)| self.view.version(key) == *version);
        if !holds {
            return None;
        }
        let before = self.view.slots.get("t").cloned();
        self.write(swap.put);
        let moves = self.view.moves.get("t").map(|moves| moves.all().to_vec());
        let switched = before.as_ref() != self.view.slots.get("t");
        Some(format!("the directory has {moves:?}{}", if switched { ", switched" } else { "" }))
    }
}
