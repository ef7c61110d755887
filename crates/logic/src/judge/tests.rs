//! Rules of the judge, one sentence each.

mod zones;

use super::*;
use crate::ids::Offset;
use crate::message::{Position, Relief, Sealed};
use crate::record::{Durability, Member, Role, Rule};

fn id(number: u64) -> NodeId {
    NodeId::new(format!("n{number}"))
}

fn sender(number: u64) -> Sender {
    Sender { id: id(number), incarnation: Incarnation(number) }
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A group of `n` members mastered by n1 in epoch 1, and a judge that hears it.
struct Group {
    judge: Judge,
    record: Record,
    now: Instant,
}

fn group(n: u64, rule: Rule) -> Group {
    group_with(n, rule, |_| {})
}

fn group_with(n: u64, rule: Rule, change: impl FnOnce(&mut Record)) -> Group {
    let member = |number| Member {
        id: id(number),
        incarnation: Incarnation(number),
        role: if number == 1 { Role::Master } else { Role::Replica },
        zone: None,
    };
    let mut record = Record {
        version: Version(2),
        epoch: Epoch(1),
        master: Some(id(1)),
        members: (1..=n).map(member).collect(),
        rule,
        wanted: u8::try_from(n).expect("few"),
        durability: Durability::default(),
        attempt: Epoch(1),
        open: false,
    };
    change(&mut record);
    let mut judge = Judge::new(Plane::Group, sender(9), Timing::default());
    judge.step(at(0), JudgeInput::Record(record.clone()), &mut Vec::new());
    Group { judge, record, now: at(5000) }
}

fn report(silence: Duration) -> Report {
    Report {
        life: Life(1),
        sealed: Epoch(1),
        intact: true,
        last: EntryId::new(Epoch(1), Offset(10)),
        committed: Offset(9),
        master_silence: silence,
        position: Position::Follower,
        relief: None,
        reaches: 0,
    }
}

impl Group {
    fn input(&mut self, input: JudgeInput) -> Vec<JudgeEffect> {
        let mut effects = Vec::new();
        self.judge.step(self.now, input, &mut effects);
        effects
    }

    fn reports(&mut self, number: u64, report: Report) -> Vec<JudgeEffect> {
        self.input(JudgeInput::Report { from: sender(number), report })
    }

    fn silent(mut self, number: u64) -> Self {
        self.reports(number, report(ms(700)));
        self
    }

    fn master_says(&mut self, change: impl FnOnce(&mut Report)) -> Vec<JudgeEffect> {
        let mut said = report(ms(0));
        said.position = Position::Master(Epoch(1));
        change(&mut said);
        self.reports(1, said)
    }

    fn later(&mut self, millis: u64) -> Vec<JudgeEffect> {
        self.now = self.now + ms(millis);
        self.input(JudgeInput::Tick)
    }

    fn opens(&mut self) -> bool {
        self.judge.attempt.is_some()
    }

    fn win(&mut self) -> Vec<JudgeEffect> {
        let expected = self.judge.attempt.as_ref().and_then(|a| match a.waiting(Plane::Group) {
            Waiting { phase: PhaseName::Opening, .. } => Some(Version(2)),
            Waiting { phase: PhaseName::Committing, .. } => Some(Version(3)),
            _ => None,
        });
        let expected = expected.expect("a compare-and-swap is under way");
        self.input(JudgeInput::CasDone { expected, outcome: CasOutcome::Won })
    }

    fn seals(&mut self, number: u64, offset: u64, intact: bool) -> Vec<JudgeEffect> {
        let sealed = Sealed {
            attempt: Epoch(2),
            life: Life(1),
            last: EntryId::new(Epoch(1), Offset(offset)),
            intact,
            reserved: number * 100,
            was_master: number == 1,
            zones: true,
        };
        self.input(JudgeInput::Answer { from: sender(number), answer: Answer::Sealed(sealed) })
    }

    fn ready(&mut self, number: u64) -> Vec<JudgeEffect> {
        let answer = Answer::Ready { attempt: Epoch(2) };
        self.input(JudgeInput::Answer { from: sender(number), answer })
    }
}

fn orders(effects: &[JudgeEffect]) -> Vec<(NodeId, Order)> {
    let order = |effect: &JudgeEffect| match effect {
        JudgeEffect::Order { to, order } => Some((to.clone(), order.clone())),
        _ => None,
    };
    effects.iter().filter_map(order).collect()
}

fn elected(effects: &[JudgeEffect]) -> Option<(NodeId, Vec<Member>, u64)> {
    orders(effects).into_iter().find_map(|(to, order)| match order {
        Order::Elect { members, above, .. } => Some((to, members, above)),
        _ => None,
    })
}

#[test]
fn one_deaf_member_does_not_depose_a_master() {
    let mut group = group(3, Rule::One).silent(2);
    group.reports(3, report(ms(50)));
    assert!(!group.opens());
}

#[test]
fn two_silences_of_three_depose_a_master() {
    assert!(group(3, Rule::One).silent(2).silent(3).opens());
}

#[test]
fn silence_from_before_an_epoch_does_not_depose_its_master() {
    let mut group = group(3, Rule::One);
    group.reports(2, report(ms(300)));
    let next =
        Record { version: Version(3), epoch: Epoch(2), attempt: Epoch(2), ..group.record.clone() };
    group.input(JudgeInput::Record(next));
    // These members have not heard a master for long, but this one is new.
    assert!(!group.silent(2).silent(3).opens());
}

#[test]
fn a_new_master_that_never_speaks_is_deposed() {
    let mut group = group(3, Rule::One);
    let next =
        Record { version: Version(3), epoch: Epoch(2), attempt: Epoch(2), ..group.record.clone() };
    group.input(JudgeInput::Record(next));
    group.later(650);
    assert!(group.silent(2).silent(3).opens());
}

#[test]
fn a_member_that_may_have_lost_its_tail_does_not_count_as_silent() {
    let mut group = group(3, Rule::One).silent(2);
    group.reports(3, Report { intact: false, ..report(ms(700)) });
    assert!(!group.opens());
}

#[test]
fn a_master_that_reaches_one_of_two_members_stays_although_the_other_is_deaf() {
    let mut group = group(2, Rule::One);
    group.master_says(|said| said.reaches = 0);
    let mut group = group.silent(2);
    assert!(!group.opens(), "one member alone may not write under `one`");
}

#[test]
fn a_heard_master_that_reaches_nobody_is_replaced_by_those_who_can_go_on() {
    let mut group = group(3, Rule::One);
    group.master_says(|said| said.reaches = 0);
    assert!(group.silent(2).silent(3).opens());
}

#[test]
fn a_master_that_asks_for_relief_is_replaced() {
    let mut group = group(3, Rule::One);
    group.reports(2, report(ms(10)));
    group.reports(3, report(ms(10)));
    group.master_says(|said| said.relief = Some(Relief::Disk));
    assert!(group.opens());
}

#[test]
fn relief_of_a_sick_master_waits_for_a_successor() {
    let mut group = group(2, Rule::One);
    group.master_says(|said| said.relief = Some(Relief::Disk));
    assert!(!group.opens());
}

#[test]
fn a_stuck_master_whose_only_other_member_is_lost_may_follow_itself() {
    let mut group = group(2, Rule::One);
    group.master_says(|said| said.relief = Some(Relief::Stuck));
    assert!(group.opens());
}

#[test]
fn a_new_life_of_the_masters_node_is_a_cause_and_releases_its_members() {
    let mut group = group(3, Rule::One);
    group.master_says(|_| {});
    group.reports(1, Report { life: Life(2), ..report(ms(0)) });
    assert!(group.opens());
    let sealed = orders(&group.win());
    assert_eq!(sealed.len(), 3);
    let released =
        |order: &Order| matches!(order, Order::Seal { released: true, forced: true, .. });
    assert!(sealed.iter().all(|(_, order)| released(order)));
}

#[test]
fn an_open_attempt_is_finished_under_a_new_number() {
    let mut group = group(3, Rule::One);
    let record = Record { version: Version(3), attempt: Epoch(2), open: true, ..group.record };
    let mut judge = Judge::new(Plane::Group, sender(9), Timing::default());
    let mut effects = Vec::new();
    judge.step(at(0), JudgeInput::Record(record), &mut effects);
    let asked = effects.iter().find_map(|effect| match effect {
        JudgeEffect::Cas { record, .. } => Some((record.attempt, record.open)),
        _ => None,
    });
    assert_eq!(asked, Some((Epoch(3), true)));
    group.judge = judge;
}

#[test]
fn an_equal_record_of_a_rival_is_not_mistaken_for_ones_own() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    let rival =
        Record { version: Version(3), attempt: Epoch(2), open: true, ..group.record.clone() };
    let effects = group.input(JudgeInput::Record(rival));
    assert_eq!(orders(&effects), [], "only the keeper's answer lets it go on");
    let outcome = CasOutcome::Lost;
    group.input(JudgeInput::CasDone { expected: Version(2), outcome });
    assert!(!group.opens());
}

#[test]
fn nothing_is_sealed_before_the_attempt_is_committed() {
    let mut group = group(3, Rule::One).silent(2);
    let effects = group.reports(3, report(ms(700)));
    assert_eq!(orders(&effects), []);
    assert_eq!(orders(&group.win()).len(), 3);
}

#[test]
fn a_silent_master_is_not_waited_for_and_the_longest_log_is_elected() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    assert_eq!(elected(&group.seals(2, 10, true)), None);
    let (elect, members, above) = elected(&group.seals(3, 11, true)).expect("proof");
    assert_eq!((elect, members.len(), above), (id(3), 2, 0));
}

#[test]
fn the_epoch_of_the_last_entry_counts_before_its_offset() {
    let group = group(3, Rule::One);
    let answer = |epoch, offset| Sealed {
        attempt: Epoch(9),
        life: Life(1),
        last: EntryId::new(Epoch(epoch), Offset(offset)),
        intact: true,
        reserved: 0,
        was_master: false,
        zones: true,
    };
    let sealed = BTreeMap::from([(id(2), answer(7, 20)), (id(3), answer(8, 5))]);
    let chosen = choose(&group.record, &sealed, false, None, None).expect("two answered");
    assert_eq!(chosen.elect, id(3));
}

#[test]
fn an_attempt_without_enough_seals_waits_and_says_for_whom() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    group.seals(2, 10, true);
    group.later(1_000);
    assert!(!group.judge.needs_person(group.now), "the others may yet answer");
    group.later(99_000);
    assert!(group.judge.needs_person(group.now));
    let waiting = group.judge.waiting.clone().expect("an attempt is open");
    assert_eq!((waiting.sealed, waiting.needed), (1, 2));
    assert_eq!(waiting.silent, [id(1), id(3)]);
}

#[test]
fn when_all_answer_and_too_few_are_intact_the_best_of_all_is_elected_and_the_loss_reported() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    group.seals(1, 12, false);
    group.seals(2, 10, true);
    let effects = group.seals(3, 11, false);
    let reported =
        effects.iter().any(|effect| matches!(effect, JudgeEffect::DataLossPossible { .. }));
    let (elect, members, above) = elected(&effects).expect("all answered");
    assert_eq!((reported, elect, members.len(), above), (true, id(1), 3, 300));
}

#[test]
fn a_person_who_accepts_the_loss_lowers_the_proof() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    group.seals(2, 10, true);
    group.input(JudgeInput::Hint(Hint::AcceptLoss([id(2)].into())));
    let effects = group.later(300);
    let (elect, members, above) = elected(&effects).expect("all that are left have answered");
    assert_eq!((elect, members.len(), above), (id(2), 1, 1_000_000_200));
}

#[test]
fn members_that_hear_their_master_again_are_sealed_by_force_after_a_while() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    let forced = |effects: &[JudgeEffect]| {
        orders(effects).iter().any(|(_, o)| matches!(o, Order::Seal { forced: true, .. }))
    };
    assert!(!forced(&group.win()));
    assert!(forced(&group.later(700)));
}

#[test]
fn the_elect_is_recorded_when_it_is_ready_and_told_so() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    group.seals(2, 10, true);
    group.seals(3, 11, true);
    let effects = group.ready(3);
    let asked = effects.iter().find_map(|effect| match effect {
        JudgeEffect::Cas { expected, record } => Some((*expected, record.clone())),
        _ => None,
    });
    let (expected, record) = asked.expect("it asks for the epoch");
    assert_eq!((expected, record.epoch, record.open), (Version(3), Epoch(2), false));
    let effects = group.win();
    assert!(matches!(orders(&effects)[..], [(_, Order::Record(_))]));
    let decided =
        |e: &JudgeEffect| matches!(e, JudgeEffect::Decided(d) if d.cause == Cause::Silence);
    assert!(effects.iter().any(decided));
}

#[test]
fn a_silent_elect_is_given_up_and_another_number_opened() {
    let mut group = group(3, Rule::One).silent(2).silent(3);
    group.win();
    group.seals(2, 10, true);
    group.seals(3, 11, true);
    let mut asked = None;
    for _ in 0..40 {
        let effects = group.later(100);
        asked = asked.or(effects.into_iter().find_map(|effect| match effect {
            JudgeEffect::Cas { record, .. } => Some(record.attempt),
            _ => None,
        }));
    }
    assert_eq!(asked, Some(Epoch(3)));
}

#[test]
fn attempts_back_off_and_start_over_after_a_minute_of_quiet() {
    let mut group = group(3, Rule::One);
    for _ in 0..20 {
        group.judge.back_off(group.now);
    }
    group.judge.trouble = group.now;
    let wait = group.judge.not_before.since(group.now);
    assert!(wait >= Duration::from_secs(30) && wait < Duration::from_secs(50), "{wait:?}");
    group.later(59_000);
    assert_ne!(group.judge.attempts, 0);
    group.later(2_000);
    assert_eq!(group.judge.attempts, 0);
}

#[test]
fn a_master_that_is_heard_for_seconds_ends_the_back_off() {
    let mut group = group(3, Rule::One);
    for _ in 0..20 {
        group.judge.back_off(group.now);
    }
    group.judge.trouble = group.now;
    group.master_says(|_| {});
    group.reports(2, report(ms(0)));
    group.reports(3, report(ms(0)));
    group.later(2_900);
    assert!(group.judge.not_before > group.now);
    group.later(200);
    assert_eq!(group.judge.attempts, 0);
    group.reports(2, report(ms(600)));
    group.reports(3, report(ms(600)));
    assert!(group.judge.attempt.is_some(), "the next fault is answered at once");
}

#[test]
fn a_wished_switchover_hands_over_then_seals_the_master_first() {
    let mut group = group(3, Rule::One);
    group.master_says(|_| {});
    group.reports(2, report(ms(0)));
    group.reports(3, report(ms(0)));
    let effects = group.input(JudgeInput::Wish { target: Some(id(3)) });
    assert!(matches!(&orders(&effects)[..], [(to, Order::HandOver { .. })] if *to == id(1)));
    let last = EntryId::new(Epoch(1), Offset(10));
    let answer = Answer::HandedOver { epoch: Epoch(1), last };
    group.input(JudgeInput::Answer { from: sender(1), answer });
    let first = orders(&group.win());
    assert!(matches!(&first[..], [(to, Order::Seal { .. })] if *to == id(1)));
    let rest = orders(&group.seals(1, 10, true));
    assert!(rest.iter().all(|(_, o)| matches!(o, Order::Seal { released: true, .. })));
    group.seals(2, 10, true);
    let (elect, members, _) = elected(&group.seals(3, 10, true)).expect("all answered");
    let old = members.iter().find(|m| m.id == id(1)).map(|m| m.role);
    assert_eq!((elect, old), (id(3), Some(Role::Replica)));
}

#[test]
fn a_wish_for_the_present_master_brings_back_what_is_handed_over() {
    let mut group = group(3, Rule::One);
    group.master_says(|_| {});
    group.reports(2, report(ms(0)));
    group.reports(3, report(ms(0)));
    let stays = JudgeInput::Wish { target: Some(id(1)) };
    assert!(group.input(stays.clone()).is_empty(), "nothing is under way");
    assert_eq!(orders(&group.input(JudgeInput::Wish { target: Some(id(3)) })).len(), 1);
    assert!(group.input(stays).is_empty(), "it is under way");
    group.later(50);
    let (epoch, master) = (Epoch(2), Some(id(3)));
    let next =
        Record { version: Version(3), epoch, attempt: epoch, master, ..group.record.clone() };
    group.input(JudgeInput::Record(next));
    let position = Position::Master(epoch);
    group.reports(3, Report { position, sealed: epoch, ..report(ms(0)) });
    let effects = group.reports(1, Report { sealed: epoch, ..report(ms(0)) });
    let back = Order::HandOver { epoch, target: id(1) };
    assert_eq!(orders(&effects), [(id(3), back)]);
}

#[test]
fn a_wish_for_who_is_silent_since_the_record_changed_is_dropped() {
    let mut group = group(3, Rule::One);
    group.reports(3, report(ms(0)));
    group.later(50);
    group.input(JudgeInput::Record(Record { version: Version(3), ..group.record.clone() }));
    group.master_says(|_| {});
    let dropped = |effects: &[JudgeEffect]| {
        effects.iter().any(|effect| matches!(effect, JudgeEffect::WishDropped { .. }))
    };
    group.reports(2, report(ms(0)));
    assert!(!dropped(&group.input(JudgeInput::Wish { target: Some(id(3)) })), "it may speak yet");
    group.input(JudgeInput::Gone(id(3)));
    group.later(500);
    assert!(group.judge.wish.is_some());
    assert!(dropped(&group.later(200)));
}

#[test]
fn a_master_that_is_stopped_hands_over_to_one_that_stays() {
    let mut group = group(3, Rule::One);
    let stopping = Report { relief: Some(Relief::Stopping), ..report(ms(0)) };
    group.reports(2, Report { last: EntryId::new(Epoch(1), Offset(11)), ..stopping.clone() });
    group.reports(3, stopping.clone());
    let leaves = |r: &mut Report| r.relief = Some(Relief::Stopping);
    let effects = group.master_says(leaves);
    assert!(orders(&effects).is_empty(), "everybody leaves");
    assert!(!effects.iter().any(|e| matches!(e, JudgeEffect::WishDropped { .. })));
    let effects = group.reports(3, report(ms(0)));
    let [(to, Order::HandOver { target, .. })] = &orders(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((to, target), (&id(1), &id(3)), "n2 has more, and leaves");
}

#[test]
fn a_number_never_given_out_stops_the_judge_and_calls_a_person() {
    let mut group = group(3, Rule::One);
    let effects = group.reports(2, Report { sealed: Epoch(7), ..report(ms(700)) });
    assert!(effects.contains(&JudgeEffect::ReadRecord), "it may only be late");
    group = group.silent(3);
    let effects = group.later(1100);
    assert!(effects.contains(&JudgeEffect::ReadRecord), "it asks until it is answered");
    let effects = group.input(JudgeInput::Record(group.record.clone()));
    assert!(effects.iter().any(|e| matches!(e, JudgeEffect::DirectoryBehind { .. })));
    assert!(!group.opens());
    let left = [id(1), id(2), id(3)].into();
    let effects = group.input(JudgeInput::Hint(Hint::AcceptLoss(left)));
    let asked = effects.iter().find_map(|effect| match effect {
        JudgeEffect::Cas { record, .. } => Some(record.attempt),
        _ => None,
    });
    assert_eq!(asked, Some(Epoch(8)), "a person lets it go on, above what was sealed");
}

#[test]
fn a_backup_takes_the_seat_of_a_promoted_replica() {
    let mut group = group(3, Rule::One);
    group.record.members[2].role = Role::Backup;
    let answer = |offset| Sealed {
        attempt: Epoch(2),
        life: Life(1),
        last: EntryId::new(Epoch(1), Offset(offset)),
        intact: true,
        reserved: 0,
        was_master: false,
        zones: true,
    };
    let sealed = BTreeMap::from([(id(2), answer(10)), (id(3), answer(9))]);
    let chosen = choose(&group.record, &sealed, false, None, None).expect("two answered");
    let roles: Vec<Role> = chosen.members.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::Master, Role::Replica]);
}

#[test]
fn an_empty_group_gets_its_first_master() {
    let mut group = group(3, Rule::One);
    let record =
        Record { master: None, epoch: Epoch(0), attempt: Epoch(0), ..group.record.clone() };
    let mut judge = Judge::new(Plane::Group, sender(9), Timing::default());
    judge.step(at(0), JudgeInput::Record(record), &mut Vec::new());
    group.judge = judge;
    assert!(group.opens());
}

#[test]
fn a_global_replica_outside_the_set_does_not_take_over() {
    let group = group(3, Rule::All);
    let mut judge = Judge::new(Plane::Global, sender(9), Timing::default());
    judge.step(at(0), JudgeInput::Record(group.record), &mut Vec::new());
    let from = sender(2);
    judge.step(at(1), JudgeInput::Report { from, report: report(ms(900)) }, &mut Vec::new());
    assert!(judge.attempt.is_none());
}

#[test]
fn a_global_replica_judges_for_itself() {
    let group = group(3, Rule::All);
    let mut judge = Judge::new(Plane::Global, sender(2), Timing::default());
    judge.step(at(0), JudgeInput::Record(group.record), &mut Vec::new());
    let from = sender(2);
    judge.step(at(1), JudgeInput::Report { from, report: report(ms(900)) }, &mut Vec::new());
    assert!(judge.attempt.is_some());
}
