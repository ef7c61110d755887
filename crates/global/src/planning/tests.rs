//! What the planner proposes, and that no order of proposals claims or wipes what it must not.

use super::*;
use crate::Changed;
use cairn_logic::ids::{Incarnation, Life, Version};
use cairn_logic::record::{Durability, Rule};
use cairn_settings::{Addresses, Reads};
use keys::{Alive, Make, PoolConfig};

mod race;

/// A directory as the planner sees it, written by hand.
#[derive(Default)]
pub struct Town {
    pub view: View,
    versions: BTreeMap<String, u64>,
}

impl Town {
    pub fn write(&mut self, key: &str, value: Option<Vec<u8>>) {
        let version = self.versions.entry(key.to_owned()).or_default();
        *version = if value.is_some() { *version + 1 } else { 0 };
        let value = value.map(|value| (value, *version));
        self.view.change(&Changed { key: key.as_bytes().to_vec(), value });
    }

    /// A data node, made for a group or for nobody, idle or claimed.
    pub fn registers(&mut self, id: &str, made_for: Option<&str>, claimed: Option<&str>) {
        let claimed = claimed.map(|group| Claim::Claimed { group: GroupId::new(group), claim: 1 });
        let info = NodeInfo {
            incarnation: Incarnation(1),
            life: Life(1),
            role: NodeRole::Data,
            addresses: Addresses::default(),
            zone: None,
            machine: None,
            preferred_keyspace: made_for.map(|_| "t".to_owned()),
            preferred_group: made_for.map(GroupId::new),
            pool: made_for.is_none().then(|| "p".to_owned()),
            priority: 0,
            make: Make { version: "1".to_owned(), ..Make::default() },
            claim: claimed.unwrap_or_default(),
        };
        self.write(&keys::node_key(&NodeId::new(id)), Some(info.encode()));
        self.returns(id);
    }

    /// Its node lease lives.
    pub fn returns(&mut self, id: &str) {
        let alive = Alive { incarnation: Incarnation(1), life: Life(1) };
        self.write(&keys::alive_key(&NodeId::new(id)), Some(alive.encode()));
    }

    /// Its node lease is out.
    pub fn leaves(&mut self, id: &str) {
        self.write(&keys::alive_key(&NodeId::new(id)), None);
    }

    /// A node says that it is in this zone.
    pub fn lies(&mut self, id: &str, zone: &str) {
        let mut info = self.view.nodes[&NodeId::new(id)].clone();
        info.zone = Some(zone.to_owned());
        self.write(&keys::node_key(&NodeId::new(id)), Some(info.encode()));
    }

    /// A node is to be empty, or is not any more.
    pub fn drains(&mut self, id: &str, is: bool) {
        let drain = keys::Drain::default().encode();
        self.write(&keys::Drained::Node(NodeId::new(id)).key(), is.then_some(drain));
    }

    /// A pool that waits so long for members that are away.
    pub fn pool(&mut self, replace_after_ms: u64) {
        self.pool_of(replace_after_ms, 0);
    }

    /// The same, and so many of its nodes should be idle in each zone.
    pub fn pool_of(&mut self, replace_after_ms: u64, min_idle_per_zone: u16) {
        let pool = PoolConfig {
            size: 1,
            size_class: String::new(),
            idle_min: 1,
            min_idle_per_zone,
            replace_after_ms,
        };
        self.write(&keys::pool_key("p"), Some(pool.encode()));
    }

    /// Keyspace t with one group of `members`, the first of them master.
    fn serves(&mut self, members: &[&str]) {
        let config = KeyspaceConfig {
            groups: 1,
            replicas: 1,
            backups: 1,
            ack: Rule::One,
            durability: Durability { flushed: false, zones: 1 },
            reads: Reads::Lease,
            limits: keys::KeyspaceLimits::default(),
            notify_keyspace_events: String::new(),
            password_sha256: None,
            users: BTreeMap::new(),
            masters_interval_ms: keys::masters_interval_ms(),
            autoscale: None,
        };
        self.write("/cairn/keyspaces/t", Some(config.encode()));
        let role = |at| match at {
            0 => Role::Master,
            1 => Role::Replica,
            _ => Role::Backup,
        };
        let member = |(at, id): (usize, &&str)| Member {
            id: NodeId::new(*id),
            incarnation: Incarnation(1),
            role: role(at),
            zone: None,
        };
        let version = self.versions.get("/cairn/groups/t-0").copied().unwrap_or(0) + 1;
        let record = Record {
            version: Version(version),
            epoch: Epoch(version),
            master: members.first().map(NodeId::new),
            members: members.iter().enumerate().map(member).collect(),
            rule: Rule::One,
            wanted: 3,
            durability: Durability { flushed: false, zones: 1 },
            attempt: Epoch(version),
            open: false,
        };
        self.write("/cairn/groups/t-0", Some(keys::encode_group(&record)));
        let range = SlotRange { first: slot(0), last: slot(16383), group: GroupId::new("t-0") };
        let owners = SlotOwners::new(vec![range]).expect("one range");
        self.write("/cairn/slots/t", Some(owners.encode()));
    }

    fn heard(&self) -> Heard {
        self.view.alive.keys().cloned().collect()
    }

    /// The planner's next step.
    pub fn step(&self, planning: &mut Planning, at_secs: u64) -> Option<Step> {
        let now = Instant::ZERO + Duration::from_secs(at_secs);
        planning.next((now, 0), &self.view, 77, |_| self.heard())
    }

    /// Carries out a transaction all of whose comparisons hold.
    pub fn performs(&mut self, op: &Op) {
        let Op::Txn(txn) = op else { panic!("the planner proposes transactions only") };
        for put in &txn.success {
            let TxnOp::Put(put) = put else { panic!("the planner puts only") };
            let key = String::from_utf8(put.key.to_vec()).expect("a name");
            let compare = txn.compare.iter().find(|it| it.range == KeyRange::single(key.clone()));
            let Target::Version(version) = compare.expect("each key is compared").target else {
                panic!("versions are compared")
            };
            let known = self.versions.get(&key).copied().unwrap_or(0);
            assert_eq!(i64::try_from(known), Ok(version), "{key}");
            self.write(&key, Some(put.value.to_vec()));
        }
    }

    fn next(&self, planning: &mut Planning, at_secs: u64) -> Option<String> {
        self.step(planning, at_secs).map(|step| step.what)
    }
}

pub fn slot(number: u16) -> cairn_logic::ids::Slot {
    cairn_logic::ids::Slot::try_from(number).expect("a slot")
}

pub const MEMBERS: [&str; 3] = ["t-0-0", "t-0-1", "t-0-2"];

/// A group of three of its own, and a spare.
pub fn served() -> Town {
    let mut town = Town::default();
    MEMBERS.iter().for_each(|id| town.registers(id, Some("t-0"), Some("t-0")));
    town.registers("p-spare-0", None, None);
    town.serves(&MEMBERS);
    town
}

#[test]
fn a_member_that_is_away_for_too_long_is_replaced_by_a_spare() {
    let (mut town, mut planning) = (served(), Planning::default());
    town.leaves("t-0-1");
    assert_eq!(town.next(&mut planning, 0), None);
    assert_eq!(town.next(&mut planning, 9), None);
    let claim = town.next(&mut planning, 10);
    assert_eq!(claim.as_deref(), Some("claim p-spare-0 for t-0"));
}

#[test]
fn a_master_that_is_away_is_its_judges_business() {
    let (mut town, mut planning) = (served(), Planning::default());
    town.leaves("t-0-0");
    assert_eq!(town.next(&mut planning, 0), None);
    assert_eq!(town.next(&mut planning, 60), None);
    town.serves(&["t-0-1", "t-0-2"]);
    let claim = town.next(&mut planning, 61);
    assert_eq!(claim.as_deref(), Some("claim p-spare-0 for t-0"));
}

#[test]
fn the_surplus_is_released_once_the_group_is_whole_for_a_while() {
    let (mut town, mut planning) = (served(), Planning::default());
    town.registers("p-spare-0", None, Some("t-0"));
    town.leaves("t-0-1");
    assert_eq!(town.next(&mut planning, 0), None);
    town.returns("t-0-1");
    assert_eq!(town.next(&mut planning, 30), None);
    assert_eq!(town.next(&mut planning, 39), None);
    let release = town.next(&mut planning, 40);
    assert_eq!(release.as_deref(), Some("release p-spare-0 from t-0"));
}

#[test]
fn a_node_that_is_being_released_is_no_bodys_until_it_comes_back_idle() {
    let (mut town, mut planning) = (served(), Planning::default());
    let (group, claim) = (GroupId::new("t-0"), 1);
    let mut info = town.view.nodes[&NodeId::new("p-spare-0")].clone();
    info.claim = Claim::Releasing { group, claim };
    town.write("/cairn/nodes/p-spare-0", Some(info.encode()));
    town.leaves("t-0-1");
    assert_eq!(town.next(&mut planning, 0), None);
    assert_eq!(town.next(&mut planning, 60), None);
}

#[test]
fn a_spare_of_a_keyspace_that_is_no_more_goes_back() {
    let (mut town, mut planning) = (served(), Planning::default());
    town.registers("p-spare-0", None, Some("t-0"));
    town.write("/cairn/keyspaces/t", None);
    assert_eq!(town.next(&mut planning, 0), None, "while its group is there");
    town.write("/cairn/groups/t-0", None);
    let release = town.next(&mut planning, 1);
    assert_eq!(release.as_deref(), Some("release p-spare-0 from t-0"));
}

#[test]
fn a_new_group_takes_spares_only_after_it_has_waited_for_its_own_nodes() {
    let (mut town, mut planning) = (served(), Planning::default());
    town.write("/cairn/groups/t-0", None);
    MEMBERS.iter().for_each(|id| town.registers(id, Some("t-0"), None));
    town.leaves("t-0-2");
    assert_eq!(town.next(&mut planning, 0), None);
    let form = town.next(&mut planning, 3);
    assert_eq!(form.as_deref(), Some("form t-0 of p-spare-0, t-0-0, t-0-1"));
}

#[test]
fn a_node_of_the_groups_own_joins_before_a_spare() {
    let mut town = served();
    town.registers("a-spare-0", None, Some("t-0"));
    town.serves(&["t-0-0", "t-0-2"]);
    let plan = plan(&town.view, &GroupId::new("t-0"), &town.heard()).expect("a plan");
    assert!(matches!(plan.wish, Some(Change::Join(member)) if member.id.as_str() == "t-0-1"));
}

#[test]
fn who_has_just_joined_and_was_not_heard_yet_does_not_go_in_the_spares_place() {
    let mut town = served();
    town.registers("p-spare-0", None, Some("t-0"));
    town.serves(&["t-0-0", "p-spare-0", "t-0-2", "t-0-1"]);
    let group = GroupId::new("t-0");
    let wish = |town: &Town, heard: &Heard| plan(&town.view, &group, heard)?.wish;
    let mut heard = town.heard();
    heard.remove(&NodeId::new("t-0-1"));
    assert_eq!(wish(&town, &heard), None, "it is alive");
    assert_eq!(wish(&town, &town.heard()), Some(Change::Remove(NodeId::new("p-spare-0"))));
    town.leaves("t-0-1");
    assert_eq!(wish(&town, &heard), Some(Change::Remove(NodeId::new("t-0-1"))), "it is gone");
}

#[test]
fn a_spare_comes_from_a_zone_that_has_more_than_it_should_where_places_allow_it() {
    let mut town = served();
    for (id, zone) in MEMBERS.iter().zip(["x", "y", "z"]) {
        town.lies(id, zone);
    }
    town.pool_of(2_000, 1);
    for (id, zone) in [("p-spare-0", "x"), ("p-spare-1", "z"), ("p-spare-2", "z")] {
        town.registers(id, None, None);
        town.lies(id, zone);
    }
    let claims = |town: &Town, gone: &str| {
        let mut planning = Planning::default();
        assert_eq!(town.next(&mut planning, 0), None);
        let claim = town.next(&mut planning, 60).unwrap_or_default();
        assert!(claim.ends_with("for t-0"), "{claim} while {gone} is away");
        claim.split(' ').nth(1).map(str::to_owned)
    };
    town.leaves("t-0-1");
    assert_eq!(claims(&town, "t-0-1").as_deref(), Some("p-spare-1"), "x has the last one");
    town.returns("t-0-1");
    town.leaves("t-0-2");
    town.lies("t-0-0", "y");
    assert_eq!(claims(&town, "t-0-2").as_deref(), Some("p-spare-1"), "neither has a member");
    town.lies("t-0-0", "z");
    assert_eq!(claims(&town, "t-0-2").as_deref(), Some("p-spare-0"), "its place comes first");
}
