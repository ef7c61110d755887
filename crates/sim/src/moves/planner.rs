//! The planner of a world of moves: what it decides is the product's, by loads that change.

use super::town::Town;
use super::{TAGS, World, slot_of_tag};
use crate::rng::Rng;
use cairn_global::moving::Swap;
use cairn_global::planning::{Said, next_move};
use cairn_logic::balance::{Load, PART_SLOTS, Top, part_of};
use cairn_logic::ids::GroupId;
use cairn_settings::directory_keys::KeyspaceConfig;

/// A keyspace that asks for two groups, and loads of the slots that have keys, in bytes; all others
/// have nothing.
pub(super) struct Planner {
    config: KeyspaceConfig,
    loads: [u64; TAGS.len()],
}

impl Planner {
    pub fn new() -> Self {
        let text = br#"{"groups":2,"replicas":1,"backups":0,"ack":"one"}"#;
        let config = KeyspaceConfig::decode(text).expect("all else has defaults");
        Self { config, loads: [1 << 30; TAGS.len()] }
    }

    /// One of the slots gets more to carry, or less.
    pub fn changes(&mut self, rng: &mut Rng) {
        self.loads[rng.index(TAGS.len())] = (1 + rng.below(4)) << 30;
    }

    /// The next step, if one is due, and in words.
    pub fn next(&self, town: &Town) -> Option<(Swap, String)> {
        next_move(town.view(), ("t", &self.config), 0, &self.said(town))
    }

    /// As both masters would say it.
    fn said(&self, town: &Town) -> Said {
        let mut said = Said::new();
        for range in town.view().slots["t"].ranges() {
            for part in part_of(range.first)..=part_of(range.last) {
                let begin = u16::from(part) * PART_SLOTS;
                let own =
                    range.first.get().max(begin)..=range.last.get().min(begin + (PART_SLOTS - 1));
                let group: GroupId = range.group.clone();
                let load: &mut Load = said.entry(group).or_default().entry(part).or_default();
                load.slots += own.end() - own.start() + 1;
                for (tag, bytes) in self.loads.iter().enumerate() {
                    let slot = slot_of_tag(tag);
                    if !own.contains(&slot.get()) {
                        continue;
                    }
                    load.bytes += bytes;
                    if load.top.is_none_or(|top| top.bytes < *bytes) {
                        load.top = Some(Top { slot, bytes: *bytes, commands: 0 });
                    }
                }
            }
        }
        said
    }
}

impl World {
    /// The planner begins a move or gives one up, if it finds that good.
    pub(super) fn plans(&mut self) {
        let Some(planner) = &self.planner else { return };
        if let Some((swap, what)) = planner.next(&self.town) {
            self.note(format!("planner: {what}"));
            self.town.propose(swap);
        }
    }
}
