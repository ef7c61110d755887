//! What is rebuilt from which reports, and what is refused: a table, and random histories.

use super::*;
use crate::Changed;
use cairn_logic::ids::{Life, Slot, Version};
use cairn_logic::moves::Moves;
use cairn_logic::record::{Durability, Member, Role, Rule};
use cairn_settings::{Addresses, NodeRole};
use keys::{SlotOwners, SlotRange};
use proptest::prelude::*;

const UID: &str = "c0ffee00";
const GROUP: &str = "t-0";
const NODES: [&str; 3] = ["t-0-0", "t-0-1", "t-0-2"];

fn record(version: u64, epoch: u64, attempt: u64, members: &[&str]) -> Record {
    let role = |at| if at == 0 { Role::Master } else { Role::Replica };
    let members = members.iter().enumerate();
    let members = members.map(|(at, id)| Member {
        id: NodeId::new(id),
        incarnation: Incarnation(1),
        role: role(at),
        zone: None,
    });
    let members: Vec<Member> = members.collect();
    Record {
        version: Version(version),
        epoch: Epoch(epoch),
        master: members.first().map(|member| member.id.clone()),
        members,
        rule: Rule::One,
        wanted: 3,
        durability: Durability { flushed: false, zones: 1 },
        attempt: Epoch(attempt),
        open: attempt > epoch,
    }
}

fn info(claim: Claim) -> NodeInfo {
    NodeInfo {
        incarnation: Incarnation(1),
        life: Life(1),
        role: NodeRole::Data,
        addresses: Addresses::default(),
        zone: None,
        machine: None,
        preferred_keyspace: None,
        preferred_group: None,
        pool: None,
        priority: 0,
        make: keys::Make::default(),
        claim,
    }
}

fn claimed() -> Claim {
    Claim::Claimed { group: GroupId::new(GROUP), claim: 4 }
}

fn slots(last: u16, group: &str) -> SlotOwners {
    let slot = |n: u16| Slot::try_from(n).unwrap();
    let range = SlotRange { first: slot(0), last: slot(last), group: GroupId::new(group) };
    SlotOwners::new(vec![range]).unwrap()
}

/// The directory at `revision`, with this record of the only group.
fn view(revision: u64, record: &Record) -> View {
    let mut view = View::default();
    view.revision = revision;
    let mut put = |key: String, value: Vec<u8>, version: u64| {
        let value = Some((value, version));
        view.change(&Changed { key: key.into_bytes(), value });
    };
    let cluster = ClusterInfo { uid: UID.to_owned(), format: 1 };
    put(keys::CLUSTER.to_owned(), cluster.encode(), 1);
    for id in NODES {
        put(keys::node_key(&NodeId::new(id)), info(claimed()).encode(), 2);
    }
    put(keys::slots_key("t"), slots(16383, GROUP).encode(), 1);
    put(keys::group_key(&GroupId::new(GROUP)), keys::encode_group(record), record.version.0);
    view
}

fn report(node: &str, view: View, record: &Record, sealed: u64, last_epoch: u64) -> Report {
    Report {
        node: NodeId::new(node),
        incarnation: Incarnation(1),
        info: Some(info(Claim::Idle)),
        log: Some(OwnLog {
            group: GroupId::new(GROUP),
            record: Some(record.clone()),
            sealed: Epoch(sealed),
            last: EntryId::new(Epoch(last_epoch), Offset(9)),
        }),
        view,
    }
}

/// Three members that have all read version 8, of epoch 5.
fn calm() -> Found {
    let record = record(8, 5, 5, &NODES);
    let reports = NODES.map(|id| report(id, view(100, &record), &record, 5, 5));
    Found { uid: UID.to_owned(), reports: reports.into(), saved: None, plane: EntryId::ZERO }
}

fn lost(nodes: &[&str]) -> Decided {
    let lost = nodes.iter().map(NodeId::new).collect();
    Decided { lost, ..Decided::default() }
}

fn trusted(nodes: &[&str]) -> Decided {
    let trusted = nodes.iter().map(NodeId::new).collect();
    Decided { trusted, ..Decided::default() }
}

fn refused(found: &Found, decided: &Decided) -> String {
    let wrong = rebuild(found, decided).expect_err("it is refused");
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn value<'a>(rebuilt: &'a Rebuilt, key: &str) -> Option<&'a (Vec<u8>, u64)> {
    let found = rebuilt.keys.iter().find(|(its, _)| its == key.as_bytes());
    found.and_then(|(_, value)| value.as_ref())
}

#[test]
fn a_calm_group_goes_on_with_the_very_record_that_it_has() {
    let rebuilt = rebuild(&calm(), &Decided::default()).unwrap();
    let expected = record(8, 5, 5, &NODES);
    assert_eq!(rebuilt.groups[0].record, expected);
    assert_eq!((rebuilt.groups[0].reopened, rebuilt.groups[0].short), (false, false));
    assert_eq!(rebuilt.groups[0].sources, NODES);
    let (bytes, version) = value(&rebuilt, "/cairn/groups/t-0").unwrap();
    assert_eq!((keys::decode_group(bytes).unwrap(), *version), (expected, 8));
    assert_eq!(value(&rebuilt, "/cairn/nodes/t-0-1").unwrap().1, 2, "claims stay as they are");
    assert_eq!((rebuilt.revision, rebuilt.above), (Revision(100), Revision(100 + BUMP)));
    assert_eq!(rebuilt.at, EntryId::new(Epoch(BUMP), Offset(BUMP)));
}

#[test]
fn moves_go_on_and_no_number_of_theirs_comes_again() {
    let (mut found, mut moves) = (calm(), Moves::default());
    let slot = |n: u16| Slot::try_from(n).unwrap();
    let (from, to) = (GroupId::new(GROUP), GroupId::new("t-1"));
    moves.begin((slot(5), slot(9)), &from, &to).unwrap();
    for report in &mut found.reports {
        let key = keys::moves_key("t").into_bytes();
        report.view.change(&Changed { key, value: Some((keys::encode_moves(&moves), 3)) });
    }
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    let (bytes, version) = value(&rebuilt, "/cairn/moves/t").unwrap();
    let mut after = keys::decode_moves(bytes).unwrap();
    assert_eq!((after.all(), *version), (moves.all(), 4));
    assert!(after.begin((slot(20), slot(20)), &from, &to).unwrap().0 > BUMP);
}

#[test]
fn the_newest_record_wins_whoever_has_read_it() {
    let mut found = calm();
    let newer = record(9, 6, 6, &["t-0-1", "t-0-0", "t-0-2"]);
    found.reports[1] = report("t-0-1", view(90, &record(8, 5, 5, &NODES)), &newer, 6, 6);
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    assert_eq!(rebuilt.groups[0].record, newer);
    assert_eq!(rebuilt.groups[0].sources, ["t-0-1"]);
}

#[test]
fn a_seal_that_no_record_knows_opens_an_attempt_above_it() {
    let mut found = calm();
    found.reports[2].log.as_mut().unwrap().sealed = Epoch(7);
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    let record = &rebuilt.groups[0].record;
    assert_eq!((record.version, record.attempt, record.open), (Version(9), Epoch(7), true));
    assert!(rebuilt.groups[0].reopened);
}

#[test]
fn one_silent_member_of_three_knows_no_newer_record() {
    let mut found = calm();
    found.reports.remove(2);
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    let group = &rebuilt.groups[0];
    assert_eq!((group.silent.clone(), group.short), (vec![NodeId::new("t-0-2")], false));
    // It may have sealed numbers and read versions of which nobody knows.
    assert_eq!((group.record.version, group.record.attempt), (Version(8 + BUMP), Epoch(5 + BUMP)));
    assert_eq!((group.record.epoch, group.record.open), (Epoch(5), false));
}

#[test]
fn too_few_members_are_refused_until_a_person_gives_the_others_up() {
    let mut found = calm();
    found.reports.truncate(1);
    let text = refused(&found, &Decided::default());
    assert!(text.contains("t-0: t-0-1, t-0-2 with the folder that counts"), "{text}");
    assert!(text.contains("--lost t-0-1 --lost t-0-2"), "{text}");
    let rebuilt = rebuild(&found, &lost(&["t-0-1"])).unwrap();
    assert!(rebuilt.groups[0].short, "one of two seals is left: the judge will wait");
}

#[test]
fn a_member_with_another_folder_says_nothing() {
    let mut found = calm();
    found.reports.remove(0);
    found.reports[0].incarnation = Incarnation(2);
    found.reports[0].log = None;
    let text = refused(&found, &Decided::default());
    assert!(text.contains("t-0-0, t-0-1"), "{text}");
}

#[test]
fn two_records_that_are_not_of_one_history_are_refused() {
    let cases = [
        // The same version; the same epoch with others; a later version of an earlier epoch.
        record(8, 6, 6, &["t-0-1", "t-0-0"]),
        record(9, 5, 5, &["t-0-0", "t-0-1"]),
        record(9, 4, 4, &NODES),
    ];
    for other in cases {
        let mut found = calm();
        found.reports[1].log.as_mut().unwrap().record = Some(other.clone());
        let text = refused(&found, &Decided::default());
        assert!(text.contains("--trust NODE"), "{text}");
        let rebuilt = rebuild(&found, &trusted(&["t-0-2"])).unwrap();
        let chosen = &rebuilt.groups[0].record;
        assert_eq!((chosen.epoch, &chosen.members[0].id), (Epoch(5), &NodeId::new("t-0-0")));
        assert_eq!(chosen.members.len(), 3);
        // Whoever has read the other one must take the new one for newer.
        let newer = chosen.version > other.version;
        assert!(newer && chosen.attempt >= other.attempt && chosen.open, "{chosen:?}");
        // In its view it has read the first one, too: its word decides nothing.
        assert!(rebuild(&found, &trusted(&["t-0-1"])).is_err());
    }
}

#[test]
fn entries_of_an_epoch_without_a_record_are_refused() {
    let mut found = calm();
    let log = found.reports[1].log.as_mut().unwrap();
    (log.sealed, log.last.epoch) = (Epoch(6), Epoch(6));
    let text = refused(&found, &Decided::default());
    assert!(text.contains("the log of t-0-1 has entries of epoch 6"), "{text}");
    let rebuilt = rebuild(&found, &trusted(&["t-0-1"])).unwrap();
    assert_eq!(rebuilt.groups[0].record.attempt, Epoch(6));
    assert!(rebuilt.groups[0].record.open);
}

#[test]
fn views_of_one_revision_that_differ_are_refused() {
    let mut found = calm();
    let key = b"/cairn/keyspaces/other".to_vec();
    found.reports[1].view.change(&Changed { key, value: Some((b"{}".to_vec(), 1)) });
    let text = refused(&found, &Decided::default());
    assert!(text.contains("t-0-0 and t-0-1 have read other things at revision 100"), "{text}");
    let rebuilt = rebuild(&found, &trusted(&["t-0-1"])).unwrap();
    assert_eq!(rebuilt.base, "t-0-1");
    assert!(value(&rebuilt, "/cairn/keyspaces/other").is_some());
}

/// As [`calm`], but everybody has read these owners of slots.
fn with_slots(owners: Option<&SlotOwners>, version: u64) -> Found {
    let mut found = calm();
    for report in &mut found.reports {
        let value = owners.map(|owners| (owners.encode(), version));
        let key = keys::slots_key("t").into_bytes();
        report.view.change(&Changed { key, value });
    }
    found
}

#[test]
fn slots_that_nobody_has_are_refused() {
    let some = slots(8191, GROUP);
    let nobodys = slots(16383, "t-9");
    for (owners, count) in [(None, 16384), (Some(&some), 8192), (Some(&nobodys), 16384)] {
        let found = with_slots(owners, 1);
        let text = refused(&found, &Decided::default());
        assert!(text.contains(&format!("t: {count} of 16384 slots")), "{text}");
        let unowned = ["t".to_owned()].into();
        let rebuilt = rebuild(&found, &Decided { unowned, ..Decided::default() }).unwrap();
        let written = value(&rebuilt, "/cairn/slots/t").map(|(bytes, _)| bytes.clone());
        assert_eq!(written, owners.map(SlotOwners::encode));
    }
}

#[test]
fn slots_claimed_by_two_groups_at_once_are_refused() {
    let mut found = with_slots(Some(&slots(16383, GROUP)), 3);
    found.reports[1].view.revision = 99;
    let (key, other) = (keys::slots_key("t").into_bytes(), slots(16382, GROUP));
    found.reports[1].view.change(&Changed { key, value: Some((other.encode(), 3)) });
    let text = refused(&found, &Decided::default());
    assert!(text.contains("t: t-0-0 and t-0-1 know other owners of its slots"), "{text}");
    assert!(rebuild(&found, &trusted(&["t-0-0"])).is_ok());
}

#[test]
fn nothing_known_or_another_cluster_is_refused() {
    let nothing = Found { uid: UID.to_owned(), ..Found::default() };
    assert!(refused(&nothing, &Decided::default()).contains("nothing to rebuild it from"));
    let foreign = Found { uid: "beef".to_owned(), ..calm() };
    assert!(refused(&foreign, &Decided::default()).contains("directory of cluster c0ffee00"));
}

#[test]
fn a_claim_that_came_after_the_newest_view_is_made_up_for() {
    let mut found = calm();
    for report in &mut found.reports {
        let key = keys::node_key(&NodeId::new("t-0-2")).into_bytes();
        report.view.change(&Changed { key, value: Some((info(Claim::Idle).encode(), 2)) });
        let key = keys::node_key(&NodeId::new("t-0-1")).into_bytes();
        report.view.change(&Changed { key, value: None });
    }
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    let mut numbers = Vec::new();
    for id in ["t-0-1", "t-0-2"] {
        let (bytes, _) = value(&rebuilt, &keys::node_key(&NodeId::new(id))).unwrap();
        let Claim::Claimed { group, claim } = NodeInfo::decode(bytes).unwrap().claim else {
            panic!("{id} is idle");
        };
        assert_eq!(group.as_str(), GROUP);
        numbers.push(claim);
    }
    assert!(numbers.iter().all(|claim| (101..=100 + BUMP).contains(claim)));
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn groups_win_over_a_snapshot_and_what_it_has_beside_goes() {
    let mut found = calm();
    let mut old = view(60, &record(3, 2, 2, &NODES));
    let mut put = |key: &str, value: &[u8]| {
        let (key, value) = (key.as_bytes().to_vec(), Some((value.to_vec(), 1)));
        old.change(&Changed { key, value });
    };
    put("/cairn/alive/t-0-0", br#"{"incarnation":1,"life":1}"#);
    put("/cairn/keyspaces/gone", b"{}");
    found.saved = Some(Saved { view: old, at: EntryId::new(Epoch(3), Offset(500)) });
    found.plane = EntryId::new(Epoch(4), Offset(400));
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    assert_eq!(rebuilt.groups[0].record.version, Version(8));
    let gone: Vec<_> = rebuilt.keys.iter().filter(|(_, value)| value.is_none()).collect();
    let names: Vec<_> = gone.iter().map(|(key, _)| String::from_utf8_lossy(key)).collect();
    assert_eq!(names, ["/cairn/alive/t-0-0", "/cairn/keyspaces/gone"]);
    assert_eq!(rebuilt.at, EntryId::new(Epoch(4 + BUMP), Offset(500 + BUMP)));

    // One that is newer than all that nodes have read is the base, with the newest records.
    let saved = found.saved.as_mut().unwrap();
    saved.view = view(400, &record(9, 6, 6, &NODES));
    let rebuilt = rebuild(&found, &Decided::default()).unwrap();
    assert_eq!((rebuilt.base.as_str(), rebuilt.revision), (SNAPSHOT, Revision(400)));
    assert_eq!(rebuilt.groups[0].record.version, Version(9));
}

/// A history of one group's records: each step opens an attempt, or begins an epoch.
fn history(steps: &[(bool, usize)]) -> Vec<Record> {
    let mut all = vec![record(1, 1, 1, &NODES)];
    for (opens, first) in steps {
        let last = all.last().expect("there is one").clone();
        let version = last.version.0 + 1;
        let mut members = NODES;
        members.rotate_left(*first);
        all.push(if *opens {
            Record { version: Version(version), attempt: last.attempt.next(), open: true, ..last }
        } else {
            let epoch = last.attempt.next().0;
            record(version, epoch, epoch, &members)
        });
    }
    all
}

/// What each node has read and sealed: at most a step more than it has read.
fn read(all: &[Record], at: [usize; 3], seals: [bool; 3]) -> Found {
    let mut found = Found { uid: UID.to_owned(), ..Found::default() };
    for (node, name) in NODES.into_iter().enumerate() {
        let known = &all[at[node] % all.len()];
        let sealed = known.attempt.0 + u64::from(seals[node]);
        let revision = 10 + known.version.0;
        found.reports.push(report(name, view(revision, known), known, sealed, known.epoch.0));
    }
    found
}

fn steps() -> impl Strategy<Value = Vec<(bool, usize)>> {
    prop::collection::vec((any::<bool>(), 0_usize..3), 1..12)
}

proptest! {
    #[test]
    fn of_one_history_the_newest_record_that_was_read_comes_back(
        steps in steps(),
        at in prop::array::uniform3(0_usize..12),
        seals in prop::array::uniform3(any::<bool>()),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let all = history(&steps);
        let mut found = read(&all, at, seals);
        let rebuilt = rebuild(&found, &Decided::default()).unwrap();
        let newest = at.iter().map(|at| &all[at % all.len()]).max_by_key(|r| r.version).unwrap();
        let record = &rebuilt.groups[0].record;
        prop_assert_eq!((&record.members, record.epoch), (&newest.members, newest.epoch));
        for report in &found.reports {
            let log = report.log.as_ref().unwrap();
            let read = log.record.as_ref().unwrap();
            prop_assert!(record.version >= read.version && record.attempt >= read.attempt);
            prop_assert!(record.attempt >= log.sealed && record.epoch >= log.last.epoch);
            prop_assert!(rebuilt.revision.0 >= report.view.revision);
            let same = record.version == read.version;
            prop_assert!(!same || record == read, "one version, one record");
        }
        prop_assert!(record.attempt >= record.epoch);
        // Who is asked first does not matter.
        found.reports = order.iter().map(|at| found.reports[*at].clone()).collect();
        prop_assert_eq!(rebuild(&found, &Decided::default()).unwrap(), rebuilt);
    }

    #[test]
    fn of_two_histories_nothing_is_rebuilt_without_a_person(
        steps in steps(),
        at in prop::array::uniform3(0_usize..12),
    ) {
        let all = history(&steps);
        let mut found = read(&all, at, [false; 3]);
        // The same version with other members, in the log of one node.
        let log = found.reports[1].log.as_mut().unwrap();
        let mut other = log.record.clone().unwrap();
        other.members.pop();
        log.record = Some(other);
        let wrong = rebuild(&found, &Decided::default()).unwrap_err();
        let is_it = matches!(wrong[..], [Contradiction::Records { .. }]);
        prop_assert!(is_it, "{:?}", wrong);
    }
}
