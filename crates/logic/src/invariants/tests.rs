//! Each check notices the trace it is there for.

use super::*;
use crate::ids::Version;
use crate::record::{Durability, Member, Role};

fn folder(number: u64) -> Folder {
    (NodeId::new(format!("n{number}")), Incarnation(number))
}

fn record(members: u64) -> Record {
    let member = |number| Member {
        id: folder(number).0,
        incarnation: Incarnation(number),
        role: if number == 1 { Role::Master } else { Role::Replica },
        zone: None,
    };
    Record {
        version: Version(2),
        epoch: Epoch(1),
        master: Some(folder(1).0),
        members: (1..=members).map(member).collect(),
        rule: Rule::One,
        wanted: 3,
        durability: Durability::default(),
        attempt: Epoch(1),
        open: false,
    }
}

fn copy(epoch: u64, offset: u64) -> Copy {
    let last = EntryId::new(Epoch(epoch), Offset(offset));
    Copy { last, chain: epoch * 1000 + offset, authority: false }
}

/// Three members, n1 masters epoch 1, its record is on n1 and n2 and committed.
fn witness() -> Witness {
    let mut witness = Witness::new(Plane::Group, record(3));
    for number in [1, 2] {
        witness.written(&folder(number), copy(1, 1)).expect("the first");
    }
    witness.becomes_master(&folder(1), Life(1), Epoch(1), &[copy(1, 1)]).expect("the first");
    witness.commits(&folder(1), Epoch(1), &[copy(1, 1)]).expect("two have it");
    witness
}

fn rule(held: Held) -> &'static str {
    held.expect_err("a rule is broken").rule
}

#[test]
fn a_second_master_of_an_epoch_is_noticed() {
    let held = witness().becomes_master(&folder(2), Life(1), Epoch(1), &[copy(1, 1)]);
    assert_eq!(rule(held), "I1 OneMaster");
}

#[test]
fn a_second_life_of_the_master_is_another_master() {
    let held = witness().becomes_master(&folder(1), Life(2), Epoch(1), &[copy(1, 1)]);
    assert_eq!(rule(held), "I1 OneMaster");
}

#[test]
fn two_contents_of_one_entry_are_noticed() {
    let mut witness = witness();
    let other = Copy { chain: 7, ..copy(1, 1) };
    assert_eq!(rule(witness.written(&folder(3), other)), "I2 OneContent");
}

#[test]
fn a_master_without_a_committed_entry_is_noticed() {
    let mut witness = witness();
    let held = witness.becomes_master(&folder(3), Life(1), Epoch(2), &[copy(2, 1)]);
    assert_eq!(rule(held), "I3 Durable");
}

#[test]
fn a_commit_on_one_copy_is_noticed() {
    let mut witness = witness();
    witness.written(&folder(1), copy(1, 2)).expect("new");
    let held = witness.commits(&folder(1), Epoch(1), &[copy(1, 1), copy(1, 2)]);
    assert_eq!(rule(held), "I4 HonestAck");
}

#[test]
fn a_copy_of_another_incarnation_does_not_count() {
    let mut witness = witness();
    witness.written(&folder(1), copy(1, 2)).expect("new");
    witness.written(&(folder(2).0, Incarnation(9)), copy(1, 2)).expect("new");
    let held = witness.commits(&folder(1), Epoch(1), &[copy(1, 1), copy(1, 2)]);
    assert_eq!(rule(held), "I4 HonestAck");
}

#[test]
fn authority_counts_only_when_flushed() {
    let mut witness = witness();
    let grant = Copy { authority: true, ..copy(1, 2) };
    let log = [copy(1, 1), grant];
    for number in [1, 2] {
        witness.written(&folder(number), grant).expect("new");
    }
    assert_eq!(rule(witness.clone().commits(&folder(1), Epoch(1), &log)), "I4 HonestAck");
    witness.flushed(&folder(1), grant);
    witness.flushed(&folder(2), grant);
    witness.commits(&folder(1), Epoch(1), &log).expect("both flushed it");
}

#[test]
fn an_answer_before_the_commit_is_noticed() {
    assert_eq!(rule(witness().answers_write(&copy(1, 2))), "I4 HonestAck");
}

#[test]
fn an_acknowledgement_below_a_seal_is_noticed() {
    let mut witness = witness();
    witness.answers_seal(&folder(2), Epoch(5), Epoch(5)).expect("flushed");
    assert_eq!(rule(witness.acknowledges(&folder(2), Epoch(1))), "I5 Sealed");
}

#[test]
fn a_seal_that_is_not_flushed_is_noticed() {
    assert_eq!(rule(witness().answers_seal(&folder(2), Epoch(5), Epoch(1))), "I7 Grounded");
}

#[test]
fn cutting_a_committed_entry_is_noticed() {
    assert_eq!(rule(witness().cuts(&folder(2), Offset(0), &[copy(1, 1)])), "I8 NoCut");
}

#[test]
fn applying_what_is_not_committed_is_noticed() {
    assert_eq!(rule(witness().applies(&folder(2), &copy(1, 2))), "I9 Applied");
}

#[test]
fn showing_what_is_not_committed_is_noticed() {
    let witness = witness();
    assert_eq!(rule(witness.answers_read(Some(&copy(1, 2)), Offset(0))), "I10 NoDirty");
    assert_eq!(rule(witness.answers_stale_read(Some(&copy(1, 2)))), "I10 NoDirty");
}

#[test]
fn a_read_that_misses_an_answered_write_is_noticed() {
    let mut witness = witness();
    witness.answers_write(&copy(1, 1)).expect("committed");
    let began = witness.read_begins();
    assert_eq!(rule(witness.answers_read(None, began)), "I11 Fresh");
}

#[test]
fn a_record_that_goes_back_is_noticed() {
    let old = record(3);
    assert_eq!(rule(witness().record_changes(&old)), "I12 Monotone");
}

#[test]
fn a_seal_of_a_number_nobody_gave_out_is_noticed() {
    assert_eq!(rule(witness().votes(&folder(2), Epoch(7))), "I12 Monotone");
}

#[test]
fn a_configuration_without_the_copies_it_needs_is_noticed() {
    let mut new = record(3);
    new.members.remove(1);
    (new.version, new.epoch, new.attempt) = (Version(3), Epoch(2), Epoch(2));
    assert_eq!(rule(witness().record_changes(&new)), "I13 Handover");
}

#[test]
fn too_few_intact_seals_are_noticed_unless_a_loss_is_reported() {
    let mut witness = witness();
    let open = Record { version: Version(3), attempt: Epoch(2), open: true, ..record(3) };
    witness.record_changes(&open).expect("an attempt is opened");
    let new = Record { version: Version(4), epoch: Epoch(2), open: false, ..open };
    let sealed = |intact: bool| {
        let last = EntryId::new(Epoch(1), Offset(1));
        [(folder(1).0, last, true), (folder(2).0, last, intact), (folder(7).0, last, true)]
    };
    witness.decides(&new, &sealed(true), false).expect("two of three are proof");
    witness.decides(&new, &sealed(false), true).expect("it was said");
    assert_eq!(rule(witness.decides(&new, &sealed(false), false)), "I14 Counted");
}

#[test]
fn a_decision_on_a_record_that_never_was_is_noticed() {
    let witness = witness();
    let next = Record { version: Version(3), attempt: Epoch(2), open: true, ..record(3) };
    witness.rests_on(Version(2), &next).expect("it is the record");
    let other = Record { version: Version(10), ..next };
    assert_eq!(rule(witness.rests_on(Version(9), &other)), "I20 Committed effects");
}

#[test]
fn a_revision_given_out_twice_is_noticed() {
    let mut witness = witness();
    witness.gives_out(7, &copy(1, 1)).expect("the first");
    witness.gives_out(7, &copy(1, 1)).expect("the same again");
    assert_eq!(rule(witness.gives_out(7, &copy(2, 2))), "I16 NoReuse");
}
