//! Claims, joins and releases in any order, by planners and masters that see the past.
//!
//! A real directory orders the transactions. Everybody else has a view that lags behind by as much
//! as the dice say, and acts on it: two planners (one of them was deposed and does not know it),
//! the groups' masters, the nodes. After every transaction no folder is in two records, claimed
//! twice, or named while its node may set it aside.

use super::*;
use cairn_directory::op::RangeQuery;
use cairn_directory::{Answer, Directory};
use proptest::prelude::*;

const SPARES: usize = 4;
const GROUPS: u16 = 2;
const PLANNERS: usize = 2;

/// Who sees what of the past.
#[derive(Default)]
struct Eye {
    view: View,
    seen: usize,
}

/// A directory, the changes it made, and those who watch them: planners, then groups' masters.
struct Race {
    directory: Directory,
    changes: Vec<Changed>,
    truth: View,
    eyes: Vec<Eye>,
    plannings: Vec<Planning>,
    now: Instant,
    folders: u64,
    claims: BTreeSet<u64>,
    tried: usize,
    claimed: usize,
    released: usize,
    /// While all is quiet: the fewest members there were, and the most groups that changed at once.
    least: usize,
    most_under_way: usize,
}

impl Race {
    fn new() -> Self {
        let mut town = Town::default();
        for (group, n) in (0..GROUPS).flat_map(|group| (0..3).map(move |n| (group, n))) {
            let made_for = format!("t-{group}");
            town.registers(&format!("t-{group}-{n}"), Some(&made_for), None);
        }
        (0..SPARES).for_each(|n| town.registers(&format!("p-spare-{n}"), None, None));
        town.serves(&[]);
        let mut config = town.view.keyspaces["t"].clone();
        config.groups = GROUPS;
        let mut race = Self {
            directory: Directory::new(),
            changes: Vec::new(),
            truth: View::default(),
            eyes: (0..PLANNERS + usize::from(GROUPS)).map(|_| Eye::default()).collect(),
            plannings: (0..PLANNERS).map(|_| Planning::default()).collect(),
            now: Instant::ZERO,
            folders: 1,
            claims: BTreeSet::new(),
            tried: 0,
            claimed: 0,
            released: 0,
            least: usize::MAX,
            most_under_way: 0,
        };
        for (key, value, _) in town.view.raw() {
            if key.starts_with(b"/cairn/nodes/") || key.starts_with(b"/cairn/alive/") {
                let key = String::from_utf8_lossy(key);
                race.propose(&swap(&key, 0, value.to_vec()));
            }
        }
        race.propose(&swap("/cairn/keyspaces/t", 0, config.encode()));
        race
    }

    /// Applies a transaction; true if it came into force.
    fn propose(&mut self, op: &Op) -> bool {
        let applied = self.directory.apply(op).expect("a transaction that can be");
        let Op::Txn(txn) = op else { return false };
        let held = matches!(applied.answer, Answer::Txn { succeeded: true, .. });
        for done in txn.success.iter().filter(|_| held) {
            let range = match done {
                TxnOp::Put(put) => KeyRange::single(put.key.clone()),
                TxnOp::DeleteRange(gone) => gone.range.clone(),
                other => unreachable!("nobody proposes {other:?}"),
            };
            let key = range.start.to_vec();
            let query = RangeQuery::all(range);
            let found = self.directory.range(&query, applied.revision).expect("a key");
            let value = found.kvs.first().map(|kv| (kv.value.to_vec(), kv.version));
            let changed = Changed { key, value };
            self.truth.change(&changed);
            self.changes.push(changed);
        }
        held
    }

    /// The eye sees so many changes more.
    fn look(&mut self, eye: usize, more: usize) {
        let eye = &mut self.eyes[eye];
        let end = self.changes.len().min(eye.seen.saturating_add(more));
        self.changes[eye.seen..end].iter().for_each(|change| eye.view.change(change));
        eye.seen = end;
    }

    fn plan(&mut self, planner: usize) {
        let view = &self.eyes[planner].view;
        let all = all_report(view);
        let claim = self.directory.revision().0 + 1;
        let step = self.plannings[planner].next((self.now, 0), view, claim, |_| all.clone());
        let Some(step) = step else { return };
        let claims = step.what.starts_with("claim") || step.what.starts_with("form");
        self.tried += usize::from(claims);
        if self.propose(&step.op) {
            assert!(!claims || self.claims.insert(claim), "claim {claim} was given before");
            self.claimed += usize::from(step.what.starts_with("claim"));
            self.released += usize::from(step.what.starts_with("release"));
        }
    }

    /// The master of a group changes the record as it was told to, and compares the claim of
    /// whoever joins. A member that is gone is removed; a master that is gone is replaced.
    fn change(&mut self, group: u16) {
        let id = GroupId::new(format!("t-{group}"));
        let view = &self.eyes[PLANNERS + usize::from(group)].view;
        let Some(old) = view.groups.get(&id) else { return };
        let mut compare = vec![version_is(&keys::group_key(&id), old.version.0)];
        let Some(new) = next_record(view, &id, old, &mut compare) else { return };
        let success = vec![put(&keys::group_key(&id), keys::encode_group(&new))];
        self.propose(&Op::Txn(Txn { compare, success, failure: Vec::new() }));
    }

    /// A node's lease ends, or it registers: with the claim of its folder, or with a new folder
    /// once its claim is being released, or when its disk was lost.
    fn node(&mut self, n: usize, stays: bool, lost: bool) {
        let id = self.truth.nodes.keys().nth(n % self.truth.nodes.len()).expect("nodes").clone();
        let (key, alive) = (keys::node_key(&id), keys::alive_key(&id));
        let mut info = self.truth.nodes[&id].clone();
        if lost || matches!(info.claim, Claim::Releasing { .. }) {
            self.folders += 1;
            (info.incarnation, info.claim) = (Incarnation(self.folders), Claim::Idle);
        }
        let sign = Alive { incarnation: info.incarnation, life: info.life };
        let range = KeyRange::single(alive.clone());
        let success = match stays {
            true => vec![put(&key, info.encode()), put(&alive, sign.encode())],
            false => vec![TxnOp::DeleteRange(DeleteRange { range, prev_kv: false })],
        };
        self.propose(&Op::Txn(Txn { compare: Vec::new(), success, failure: Vec::new() }));
    }

    /// A node is to be empty, or is not any more.
    fn drains(&mut self, n: usize, is: bool) {
        let id = self.truth.nodes.keys().nth(n % self.truth.nodes.len()).expect("nodes").clone();
        self.drained(keys::Drained::Node(id), is);
    }

    fn drained(&mut self, what: keys::Drained, is: bool) {
        let key = what.key();
        let range = KeyRange::single(key.clone());
        let success = match is {
            true => vec![put(&key, keys::Drain::default().encode())],
            false => vec![TxnOp::DeleteRange(DeleteRange { range, prev_kv: false })],
        };
        self.propose(&Op::Txn(Txn { compare: Vec::new(), success, failure: Vec::new() }));
    }

    /// People want so many replicas from now on.
    fn wants(&mut self, replicas: u8) {
        let mut config = self.truth.keyspaces["t"].clone();
        config.replicas = replicas;
        let success = vec![put("/cairn/keyspaces/t", config.encode())];
        self.propose(&Op::Txn(Txn { compare: Vec::new(), success, failure: Vec::new() }));
    }

    /// No folder is named twice, and none that is named may be set aside (I18).
    fn check(&self) {
        let mut named = BTreeSet::new();
        for (group, record) in &self.truth.groups {
            for member in &record.members {
                assert!(named.insert((&member.id, member.incarnation)), "{member:?} twice");
                let info = &self.truth.nodes[&member.id];
                let there = info.incarnation == member.incarnation;
                assert!(
                    !there || info.is_claimed_by(group, member.incarnation),
                    "{group} names {member:?}, whose claim is {:?}",
                    info.claim
                );
            }
        }
    }

    fn members(&self) -> usize {
        self.truth.groups.values().map(|record| record.members.len()).sum()
    }

    /// Groups whose members or claims are on their way, and members that are to be empty.
    fn under_way(&self) -> (usize, usize) {
        let busy = |(group, record): &(&GroupId, &Record)| {
            let claimed = self.truth.claimed(group).filter(|(id, _)| !self.truth.is_drained(id));
            let mut learns = claimed.filter(|(id, info)| !record.names(id, info.incarnation));
            record.members.len() != 3 || learns.next().is_some()
        };
        let members = || self.truth.groups.values().flat_map(|record| &record.members);
        let drained = members().filter(|member| self.truth.is_drained(&member.id)).count();
        (self.truth.groups.iter().filter(busy).count(), drained)
    }

    /// Everybody sees everything and does what is due, for so long.
    fn settle(&mut self, secs: usize) {
        for _ in 0..secs {
            self.now = self.now + Duration::from_secs(1);
            for step in 0..4 {
                (0..self.eyes.len()).for_each(|eye| self.look(eye, usize::MAX));
                self.plan(0);
                self.change(step % GROUPS);
                self.check();
                self.least = self.least.min(self.members());
                self.most_under_way = self.most_under_way.max(self.under_way().0);
            }
        }
    }

    /// Every node registers.
    fn all_return(&mut self) {
        (0..self.truth.nodes.len()).for_each(|n| self.node(n, true, false));
    }
}

fn all_report(view: &View) -> Heard {
    view.alive.keys().cloned().collect()
}

fn next_record(
    view: &View,
    group: &GroupId,
    old: &Record,
    compare: &mut Vec<Compare>,
) -> Option<Record> {
    let (mut members, mut wanted) = (old.members.clone(), old.wanted);
    let is_there =
        |m: &Member| view.is_alive(&m.id) && view.nodes[&m.id].incarnation == m.incarnation;
    let gone = members.iter().position(|member| !is_there(member));
    if let Some(gone) = gone.filter(|_| members.len() > 1) {
        members.remove(gone);
    } else if old.master.is_some() {
        match plan(view, group, &all_report(view))?.wish? {
            Change::Join(member) => {
                let key = keys::node_key(&member.id);
                compare.push(version_is(&key, view.version(&key)));
                members.push(member);
            }
            Change::Remove(id) => members.retain(|member| member.id != id),
            Change::Mode(mode) => wanted = mode.wanted,
            Change::Role(_) => return None,
        }
    }
    members.sort();
    let known = members.iter().position(|m| Some(&m.id) == old.master.as_ref());
    for (at, member) in members.iter_mut().enumerate() {
        let masters = at == known.unwrap_or(0);
        let was = if member.role == Role::Master { Role::Replica } else { member.role };
        member.role = if masters { Role::Master } else { was };
    }
    let (version, epoch) = (old.version.next(), old.attempt.next());
    let master = members.get(known.unwrap_or(0)).map(|master| master.id.clone());
    Some(Record { version, epoch, attempt: epoch, master, members, wanted, ..old.clone() })
}

/// So much happens in one race.
const STEPS: usize = 600;

impl Race {
    /// Somebody does something; `what`, `n` and `more` are dice below 10, 256 and 12.
    fn step(&mut self, what: usize, n: usize, more: usize) {
        self.now = self.now + Duration::from_secs(1);
        match what {
            0..=3 => self.look(n % self.eyes.len(), more),
            4 | 5 => self.plan(n % PLANNERS),
            6 | 7 => self.change(u16::from(n % 2 == 1)),
            8 => self.node(n, true, more == 0),
            // A planner starts anew: it remembers nothing.
            _ if n == 0 => self.plannings[more % PLANNERS] = Planning::default(),
            _ if n < 40 => self.wants(1 + u8::from(n % 2 == 1)),
            _ if n < 90 => self.drains(more, n < 65),
            _ => self.node(n, more > 3, false),
        }
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_order_of_transactions_claims_twice_or_wipes_a_member(
        steps in prop::collection::vec((0usize..10, 0usize..256, 0usize..12), STEPS),
    ) {
        let mut race = Race::new();
        steps.into_iter().for_each(|(what, n, more)| race.step(what, n, more));
    }
}

/// A whole race; its steps follow from `seed`.
fn run_race(seed: u64) -> Race {
    let mut dice = seed;
    let mut throw = |below: u64| {
        // Knuth's MMIX generator; its upper bits are good enough for dice.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from((dice >> 33) % below).expect("small")
    };
    let mut race = Race::new();
    for _ in 0..STEPS {
        race.step(throw(10), throw(256), throw(12));
    }
    race
}

#[cfg(feature = "mutants")]
#[test]
fn a_broken_rule_is_noticed_by_a_race() {
    use cairn_logic::mutant::{Mutant, set_broken};
    for mutant in [Mutant::ClaimsUncompared, Mutant::ReleasesNamed] {
        set_broken(Some(mutant));
        let fails = |seed: &u64| std::panic::catch_unwind(|| run_race(*seed)).is_err();
        let noticed = (1..=100).find(fails);
        set_broken(None);
        let seed = noticed.unwrap_or_else(|| panic!("no race notices {mutant:?}"));
        println!("scenario {mutant:?} race-{seed}");
    }
}

#[test]
#[ignore = "takes minutes: 100,000 transactions that claim, in races"]
fn no_claim_of_a_long_campaign_is_double() {
    let (mut tried, mut won, mut released, mut races) = (0, 0, 0, 0_u64);
    while tried < 100_000 {
        races += 1;
        let race = run_race(races);
        tried += race.tried;
        won += race.claims.len();
        released += race.released;
    }
    println!("races={races} claims_tried={tried} claims_won={won} released={released} double=0");
}

#[test]
fn a_quiet_race_heals_and_gives_everything_back() {
    let mut race = Race::new();
    race.settle(20);
    assert_eq!((race.claimed, race.released, race.members()), (0, 0, 6));
    for gone in ["t-0-1", "t-1-1"] {
        let mut ids = race.truth.nodes.keys();
        let at = ids.position(|id| id.as_str() == gone).expect("a node");
        race.node(at, false, false);
    }
    race.settle(60);
    assert_eq!((race.claimed, race.released, race.members()), (2, 0, 6));
    race.all_return();
    race.settle(60);
    assert_eq!((race.claimed, race.released, race.members()), (2, 2, 6));
    race.all_return();
    let idle = race.truth.nodes.values().filter(|info| info.claim == Claim::Idle);
    assert_eq!(idle.count(), SPARES);
}

/// All that is numbered 1 is on one machine.
fn with_machines() -> Race {
    let mut race = Race::new();
    for id in race.truth.nodes.keys().cloned().collect::<Vec<_>>() {
        let mut info = race.truth.nodes[&id].clone();
        info.machine = id.as_str().rsplit('-').next().map(|n| format!("m{n}"));
        let success = vec![put(&keys::node_key(&id), info.encode())];
        race.propose(&Op::Txn(Txn { compare: Vec::new(), success, failure: Vec::new() }));
    }
    race.settle(20);
    (race.least, race.most_under_way) = (usize::MAX, 0);
    race
}

#[test]
fn a_drained_machine_is_emptied_group_by_group_and_taken_back_when_that_is_over() {
    let mut race = with_machines();
    let machine = keys::Drained::Machine("m1".to_owned());
    race.drained(machine.clone(), true);
    assert_eq!(race.under_way(), (0, 2));
    race.settle(60);
    assert_eq!((race.under_way().1, race.claimed, race.released), (0, 2, 0));
    assert_eq!((race.least, race.most_under_way), (6, 1), "never a member less, one at a time");
    let idle = |race: &Race| {
        let nodes = race.truth.nodes.iter();
        let idle = nodes.filter(|(_, info)| info.claim == Claim::Idle);
        idle.map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(idle(&race), ["p-spare-1", "p-spare-3"], "the drained one is taken by nobody");
    race.drained(machine, false);
    race.settle(60);
    assert_eq!((race.claimed, race.released, race.least), (2, 2, 6));
    let own = |it: &Member| it.id.as_str().starts_with("t-");
    assert!(race.truth.groups.values().flat_map(|it| &it.members).all(own));
}

#[test]
fn without_a_node_elsewhere_nothing_is_reduced_and_it_is_said() {
    let mut race = with_machines();
    (0..SPARES)
        .for_each(|n| race.drained(keys::Drained::Node(NodeId::new(format!("p-spare-{n}"))), true));
    race.drained(keys::Drained::Node(NodeId::new("t-1-2")), true);
    race.settle(60);
    assert_eq!((race.claimed, race.released, race.least, race.under_way()), (0, 0, 6, (0, 1)));
    let said = |race: &Race| {
        let drains = race.plannings[0].draining(race.now, &race.truth);
        drains.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of = "t-1-2 is member of t-1, ";
    assert_eq!(said(&race), [format!("{of}no idle node elsewhere may take its place")]);
    race.drained(keys::Drained::Node(NodeId::new("p-spare-2")), false);
    assert_eq!(said(&race), [format!("{of}waits for its turn")]);
    race.look(0, usize::MAX);
    race.plan(0);
    assert_eq!(said(&race), [format!("{of}p-spare-2 takes its place")]);
    race.drained(keys::Drained::Node(NodeId::new("t-1-2")), false);
    race.settle(60);
    assert_eq!((race.claimed, race.released, race.least, said(&race)), (1, 1, 6, vec![]));
}
