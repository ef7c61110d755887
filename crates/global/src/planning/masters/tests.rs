//! Masters are handed over in quiet, one at a time, and by nobody against a person.

use super::*;
use crate::moving;
use crate::planning::tests::{Town, served, slot};
use crate::planning::{plan, version_is};
use cairn_directory::Op;
use cairn_directory::op::Txn;
use cairn_logic::ids::{EntryId, Incarnation, Life};
use cairn_logic::judge::JudgeInput;
use cairn_logic::masters::Pin;
use cairn_logic::message::{Report, Sender};
use cairn_logic::timing::Timing;
use keys::KeyspaceConfig;

/// Groups with three members each, by turns on three machines; each is mastered by its first one,
/// and its judge hears from all.
struct Stage {
    town: Town,
    courts: Courts,
    masters: Masters,
    ms: u64,
    /// Who does not follow.
    lags: Option<NodeId>,
    /// Nobody hands over what is wished.
    deaf: bool,
}

impl Stage {
    fn new(groups: u16) -> Self {
        let mut town = served();
        let config = KeyspaceConfig { groups, ..town.view.keyspaces["t"].clone() };
        town.write("/cairn/keyspaces/t", Some(config.encode()));
        let first = town.view.groups[&GroupId::new("t-0")].clone();
        for group in (0..groups).map(|n| format!("t-{n}")) {
            let mut record = first.clone();
            record.version = Version(town.view.version(&format!("/cairn/groups/{group}")) + 1);
            for (at, member) in record.members.iter_mut().enumerate() {
                let id = format!("{group}-{at}");
                member.id = NodeId::new(&id);
                town.registers(&id, Some(&group), Some(&group));
                let mut info = town.view.nodes[&member.id].clone();
                info.machine = Some(format!("m{at}"));
                town.write(&keys::node_key(&member.id), Some(info.encode()));
            }
            record.master = Some(NodeId::new(format!("{group}-0")));
            town.write(&format!("/cairn/groups/{group}"), Some(keys::encode_group(&record)));
        }
        let me = Sender { id: NodeId::new("global-0"), incarnation: Incarnation(1) };
        let courts = Courts::new(me, Timing::default());
        let masters = Masters::default();
        Self { town, courts, masters, ms: 0, lags: None, deaf: false }
    }

    fn now(&self) -> Now {
        let monotonic = Instant::ZERO + Duration::from_millis(self.ms);
        Now { monotonic, unix_ms: self.ms }
    }

    fn plans(&self) -> BTreeMap<GroupId, Plan> {
        let heard = self.town.view.alive.keys().cloned().collect();
        let groups = self.town.view.groups.keys();
        groups.filter_map(|it| Some((it.clone(), plan(&self.town.view, it, &heard)?))).collect()
    }

    fn look<R>(&mut self, does: impl FnOnce(&mut Masters, &Look<'_>) -> R) -> R {
        let (now, plans) = (self.now(), self.plans());
        let look = Look { now, view: &self.town.view, courts: &self.courts, plans: &plans };
        does(&mut self.masters, &look)
    }

    /// All nodes that are there say how far they are.
    fn reports(&mut self) {
        let now = self.now();
        self.courts.records(now, &self.town.view);
        for (group, record) in &self.town.view.groups {
            for member in record.members.iter().filter(|it| self.town.view.is_alive(&it.id)) {
                let masters = record.master.as_ref() == Some(&member.id);
                let behind = if self.lags.as_ref() == Some(&member.id) { 3_500 } else { 0 };
                let offset = Offset(self.ms.saturating_sub(behind));
                let report = Report {
                    life: Life(1),
                    sealed: record.epoch,
                    intact: true,
                    last: EntryId::new(record.epoch, offset),
                    committed: offset,
                    master_silence: Duration::ZERO,
                    position: match masters {
                        true => Position::Master(record.epoch),
                        false => Position::Follower,
                    },
                    relief: None,
                    reaches: 2,
                };
                let from = Sender { id: member.id.clone(), incarnation: member.incarnation };
                self.courts.tell(now, group, JudgeInput::Report { from, report });
            }
        }
    }

    fn masters(&mut self, group: &GroupId, master: &NodeId) {
        let mut record = self.town.view.groups[group].clone();
        record.version = record.version.next();
        record.attempt = record.attempt.next();
        record.epoch = record.attempt;
        // Its former master gets its seat.
        let seat = record.member(master).expect("a member").role;
        for member in &mut record.members {
            match &member.id {
                id if id == master => member.role = Role::Master,
                _ if member.role == Role::Master => member.role = seat,
                _ => {}
            }
        }
        record.master = Some(master.clone());
        self.town.write(&keys::group_key(group), Some(keys::encode_group(&record)));
    }

    /// What is handed over in so many seconds, and when.
    fn runs(&mut self, secs: u64) -> Vec<(u64, String)> {
        let mut done = Vec::new();
        for _ in 0..secs {
            self.ms += 1_000;
            self.reports();
            if let Some(step) = self.look(|masters, look| masters.next(look, false)) {
                if !self.deaf {
                    self.masters(&step.group, &step.to);
                }
                done.push((self.ms / 1_000, format!("{} to {}", step.group, step.to)));
            }
        }
        done
    }

    fn lines(&mut self) -> Vec<String> {
        self.look(|masters, look| masters.outlook(look, "t"))
    }
}

#[test]
fn two_masters_of_one_machine_are_spread_once_the_group_was_quiet_for_a_while() {
    let mut stage = Stage::new(2);
    assert_eq!(stage.runs(10), []);
    let planned = stage.lines();
    assert!(planned[0].contains("t-0 is left alone: it is to be quiet for 15 s"), "{planned:?}");
    assert_eq!(stage.runs(50), [(16, "t-0 to t-0-1".to_owned())]);
    assert_eq!(stage.lines(), ["masters: t-0 is left alone: it was handed over: again in 17 s"]);
    assert_eq!(stage.runs(600), [], "and stay");
    assert_eq!(stage.lines(), ["masters: as even as members' places allow"]);
}

#[test]
fn all_masters_of_one_machine_are_spread_within_a_minute_one_at_a_time() {
    let mut stage = Stage::new(6);
    let done = stage.runs(60);
    assert_eq!(done.len(), 4, "{done:?}");
    assert!(done.windows(2).all(|two| two[1].0 - two[0].0 >= 5), "{done:?}");
    assert_eq!(stage.runs(600), []);
}

#[test]
fn preferred_masters_are_restored_one_group_a_minute() {
    let mut stage = Stage::new(3);
    for group in ["t-0", "t-1", "t-2"] {
        for at in 0..3 {
            let id = NodeId::new(format!("{group}-{at}"));
            let mut info = stage.town.view.nodes[&id].clone();
            (info.priority, info.machine) = (u8::from(at == 2), None);
            stage.town.write(&keys::node_key(&id), Some(info.encode()));
        }
    }
    let done: Vec<u64> = stage.runs(300).into_iter().map(|(at, _)| at).collect();
    assert_eq!(done, [16, 76, 136]);
}

#[test]
fn who_is_behind_away_or_moving_is_left_alone_and_so_is_what_a_person_did() {
    let mut stage = Stage::new(2);
    let (t0, t1) = (GroupId::new("t-0"), GroupId::new("t-1"));
    // A person has handed over the first one, to where it is.
    let pin = Pin::after(None, None, 0);
    stage.town.write(&keys::pin_key(&t0), Some(keys::encode_pin(&pin)));
    stage.town.leaves("t-1-2");
    assert_eq!(stage.runs(40), []);
    let planned = stage.lines();
    let holds = "t-0 is left alone: it was handed over by hand, which holds for 10 min more";
    assert!(planned[0].ends_with(holds), "{planned:?}");
    assert!(planned[1].ends_with("t-1 is left alone: a member is away"), "{planned:?}");
    stage.town.returns("t-1-2");
    let slots = (slot(5), slot(9));
    let (swap, _) = moving::begin(&stage.town.view, "t", slots, &t1).expect("it begins");
    stage.town.performs(&swap.op());
    assert_eq!(stage.runs(40), []);
    assert!(stage.lines()[1].ends_with("its slots move"), "{:?}", stage.lines());
    let id = stage.town.view.moves["t"].all()[0].id;
    let swap = moving::cancel(&stage.town.view, "t", &[id]).expect("it may");
    stage.town.performs(&swap.op());
    stage.lags = Some(NodeId::new("t-1-1"));
    let done = stage.runs(40);
    assert_eq!(done.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>(), ["t-1 to t-1-2"]);
}

#[test]
fn a_pause_stops_it_and_going_on_forgets_what_people_did() {
    let mut stage = Stage::new(2);
    for group in ["t-0", "t-1"].map(GroupId::new) {
        let pin = Pin::after(None, None, 0);
        stage.town.write(&keys::pin_key(&group), Some(keys::encode_pin(&pin)));
    }
    let swap = moving::pause(&stage.town.view, "t", true);
    stage.town.performs(&swap.op());
    assert_eq!(stage.runs(60), []);
    assert!(stage.lines()[0].ends_with("the planner is paused"));
    let swap = moving::pause(&stage.town.view, "t", false);
    let Op::Txn(Txn { compare, .. }) = swap.op() else { panic!("a transaction") };
    assert_eq!(compare, [version_is("/cairn/moves/t", 1)], "pins are written whatever they are");
    for (key, value) in swap.put {
        stage.town.write(&key, Some(value));
    }
    assert_eq!(stage.runs(2).len(), 1);
}

#[test]
fn what_fails_is_tried_again_later_each_time() {
    let mut stage = Stage::new(2);
    stage.deaf = true;
    let done: Vec<u64> = stage.runs(900).into_iter().map(|(at, _)| at).collect();
    // Both groups by turns, each twice as late every time.
    assert_eq!(done[..3], [16, 21, 138], "{done:?}");
    assert!(done.len() <= 8, "{done:?}");
    stage.deaf = false;
    assert_eq!(stage.runs(4_000).len(), 1);
}

#[test]
fn a_master_leaves_a_drained_node_at_once_and_is_given_to_no_other_one() {
    let mut stage = Stage::new(2);
    let drained = |stage: &mut Stage, machine: &str, is: bool| {
        let key = keys::Drained::Machine(machine.to_owned()).key();
        stage.town.write(&key, is.then(|| keys::Drain::default().encode()));
    };
    let swap = moving::pause(&stage.town.view, "t", true);
    stage.town.performs(&swap.op());
    stage.runs(2);
    drained(&mut stage, "m0", true);
    assert_eq!(
        stage.lines()[0],
        "masters: hand t-0 over from t-0-0 to t-0-1: machine m0 is drained"
    );
    let done: Vec<String> = stage.runs(4).into_iter().map(|(_, what)| what).collect();
    assert_eq!(done, ["t-0 to t-0-1", "t-1 to t-1-1"], "a pause is about balance");
    drained(&mut stage, "m1", true);
    let done: Vec<String> = stage.runs(4).into_iter().map(|(_, what)| what).collect();
    assert_eq!(done, ["t-0 to t-0-2", "t-1 to t-1-2"], "a backup is better than that");
    drained(&mut stage, "m2", true);
    let swap = moving::pause(&stage.town.view, "t", false);
    stage.town.performs(&swap.op());
    assert_eq!(stage.runs(300), [], "there is no place that is better");
    ["m0", "m1"].iter().for_each(|machine| drained(&mut stage, machine, false));
    let done: Vec<String> = stage.runs(4).into_iter().map(|(_, what)| what).collect();
    assert_eq!(done, ["t-0 to t-0-0", "t-1 to t-1-0"]);
}

#[test]
fn a_master_that_cannot_leave_is_asked_later_each_time() {
    let mut stage = Stage::new(1);
    stage.deaf = true;
    stage.town.drains("t-0-0", true);
    let done: Vec<u64> = stage.runs(60).into_iter().map(|(at, _)| at).collect();
    assert!(done.windows(3).all(|three| three[2] - three[1] >= three[1] - three[0]), "{done:?}");
    assert!((3..=6).contains(&done.len()), "{done:?}");
}
