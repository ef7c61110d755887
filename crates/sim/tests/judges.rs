//! Rules of judges that random worlds touch too seldom: each by the few steps that need it.
//!
//! With the feature `mutants` each rule is broken as well, and has to be missed.

use cairn_directory::op::Put;
use cairn_directory::{Directory, Op};
use cairn_global::courts::Now;
use cairn_global::{Act, Asked, GlobalMaster, Why};
use cairn_logic::counting::Plane;
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Life, NodeId, Offset, Version};
use cairn_logic::judge::{Hint, Judge, JudgeEffect, JudgeInput};
use cairn_logic::message::{Position, Report, Sender};
use cairn_logic::record::{Durability, Member, Record, Role, Rule};
use cairn_logic::time::{Duration, Instant};
use cairn_logic::timing::Timing;
use cairn_settings::directory_keys::{self as keys, ClusterInfo};

fn sender(name: &str) -> Sender {
    Sender { id: NodeId::new(name), incarnation: Incarnation(1) }
}

/// A group of three that n1 masters in epoch 1; no other number was ever given out.
fn record() -> Record {
    let member = |name, role| Member {
        id: NodeId::new(name),
        incarnation: Incarnation(1),
        role,
        zone: None,
    };
    Record {
        version: Version(1),
        epoch: Epoch(1),
        master: Some(NodeId::new("n1")),
        members: vec![
            member("n1", Role::Master),
            member("n2", Role::Replica),
            member("n3", Role::Replica),
        ],
        rule: Rule::One,
        wanted: 3,
        durability: Durability::default(),
        attempt: Epoch(1),
        open: false,
    }
}

/// n2 says that it has sealed 7.
fn sealed_seven() -> JudgeInput {
    let report = Report {
        life: Life(1),
        sealed: Epoch(7),
        intact: true,
        last: EntryId::new(Epoch(1), Offset(10)),
        committed: Offset(9),
        master_silence: Duration::from_millis(700),
        position: Position::Follower,
        relief: None,
        reaches: 0,
    };
    JudgeInput::Report { from: sender("n2"), report }
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// A judge that may only be late hears of a number that it does not know; whether it calls a
/// person once its question of the record has ended so.
fn calls_a_person(asked: Asked) -> bool {
    let group = GroupId::new("a-0");
    let mut directory = Directory::new();
    let put = Put::new(keys::group_key(&group), keys::encode_group(&record()));
    directory.apply(&Op::Put(put)).expect("a valid change");
    let cluster = ClusterInfo { uid: "test".to_owned(), format: cairn_settings::FORMAT };
    let mut master = GlobalMaster::new(sender("g0"), Timing::default(), cluster);
    let now = |ms| Now { monotonic: at(ms), unix_ms: 0 };
    master.begin(now(0), &directory, directory.revision());
    let acts = master.tell(now(5000), &group, sealed_seven());
    let why = Why::Read(group.clone());
    let reads = |act: &Act| matches!(act, Act::Propose(of, _) if *of == why);
    assert!(acts.iter().any(reads), "it asks for the record: {acts:?}");
    let acts = master.was_asked(now(7000), why.clone(), asked);
    acts.iter().any(|act| matches!(act, Act::Noted(_, JudgeEffect::DirectoryBehind { .. })))
}

/// A judge takes the record for read only if the directory has proved it.
fn only_a_proved_record_counts() -> bool {
    assert!(calls_a_person(Asked::Held), "a record that went back calls a person");
    !calls_a_person(Asked::Unknown)
}

/// What a person lets go on after a record went back gets numbers above all that were sealed.
fn a_recovery_goes_above_every_seal() -> bool {
    let mut judge = Judge::new(Plane::Group, sender("g0"), Timing::default());
    let mut effects = Vec::new();
    judge.step(at(0), JudgeInput::Record(record()), &mut effects);
    judge.step(at(5000), sealed_seven(), &mut effects);
    judge.step(at(6100), JudgeInput::Record(record()), &mut effects);
    let behind = |effect: &JudgeEffect| matches!(effect, JudgeEffect::DirectoryBehind { .. });
    assert!(effects.iter().any(behind), "a person is called: {effects:?}");
    assert!(judge.needs_person(at(6200)));
    effects.clear();
    let left = ["n1", "n2", "n3"].map(NodeId::new).into();
    judge.step(at(6300), JudgeInput::Hint(Hint::AcceptLoss(left)), &mut effects);
    let asked = effects.iter().find_map(|effect| match effect {
        JudgeEffect::Cas { record, .. } => Some(record.attempt),
        _ => None,
    });
    asked.expect("it goes on") > Epoch(7)
}

#[test]
fn a_judge_believes_only_a_proved_record() {
    assert!(only_a_proved_record_counts());
}

#[test]
fn a_person_lets_go_on_above_every_seal() {
    assert!(a_recovery_goes_above_every_seal());
}

#[cfg(feature = "mutants")]
#[test]
fn the_rules_are_missed_when_they_are_broken() {
    use cairn_logic::mutant::{Mutant, set_broken};
    let rules: [(Mutant, fn() -> bool); 2] = [
        (Mutant::ReadsUnproved, only_a_proved_record_counts),
        (Mutant::RecoversBelowSeals, a_recovery_goes_above_every_seal),
    ];
    for (mutant, holds) in rules {
        set_broken(Some(mutant));
        let missed = !holds();
        set_broken(None);
        assert!(missed, "{mutant:?} changes nothing");
        println!("scenario {mutant:?} judges.rs");
    }
}
