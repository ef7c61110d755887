//! Each step brings masters nearer to where nothing gets better, and it ends there.

use super::*;

fn seat(node: &str, machine: usize, zone: Option<usize>) -> Seat {
    Seat {
        node: NodeId::new(node),
        machine: format!("m{machine}"),
        zone: zone.map(|zone| format!("z{zone}")),
        own: true,
        rank: Rank { priority: 0, serves: true },
    }
}

/// A group with a member on each of these machines, mastered by the first one; machines are in
/// `zones` zones by turns.
fn group(n: usize, machines: &[usize], zones: usize) -> Candidate {
    let zone = |machine: usize| (zones > 0).then(|| machine % zones.max(1));
    let id = format!("t-{n}");
    let seats = machines.iter().enumerate();
    let mut seats = seats.map(|(at, m)| seat(&format!("{id}-{at}"), *m, zone(*m)));
    let master = seats.next().expect("a member");
    Candidate { id: GroupId::new(&id), master, able: seats.collect() }
}

fn does(groups: &mut [Candidate], step: &Handover) {
    let group = groups.iter_mut().find(|group| group.id == step.group).expect("a group of it");
    assert_eq!(group.master.node, step.from);
    let able = group.able.iter_mut().find(|seat| seat.node == step.to).expect("a member of it");
    std::mem::swap(able, &mut group.master);
}

fn cost(groups: &[Candidate]) -> Cost {
    Assignment::of(groups, &Places::of(groups)).cost()
}

fn masters(groups: &[Candidate]) -> Vec<&str> {
    groups.iter().map(|group| group.master.machine.as_str()).collect()
}

#[test]
fn two_masters_of_one_machine_are_spread_and_then_nothing_is_left() {
    let mut groups = vec![group(0, &[0, 1, 2], 0), group(1, &[0, 1, 2], 0)];
    let step = next(&groups).expect("uneven");
    assert_eq!((step.good, step.left), (Good::Machines, 1));
    assert_eq!(step.why, "machine m0 has 2 masters, m1 has 0");
    does(&mut groups, &step);
    assert_eq!((masters(&groups), next(&groups)), (vec!["m1", "m0"], None));
}

#[test]
fn a_chain_of_handovers_makes_even_what_no_single_one_does() {
    // m0 has two; only m1 could take one of them, and only from there one can go to m2.
    let mut groups = vec![group(0, &[0, 1], 0), group(1, &[0, 1], 0), group(2, &[1, 2], 0)];
    let steps = outlook(&groups);
    assert_eq!(steps.iter().map(|step| step.left).collect::<Vec<_>>(), [2, 1]);
    steps.iter().for_each(|step| does(&mut groups, step));
    assert_eq!(masters(&groups), ["m1", "m0", "m2"]);
}

#[test]
fn a_difference_of_one_is_left_alone() {
    let groups = vec![group(0, &[0, 1], 0), group(1, &[0, 1], 0), group(2, &[1, 0], 0)];
    assert_eq!(next(&groups), None);
}

#[test]
fn zones_count_where_machines_are_even() {
    // Four machines in two zones.
    let groups = vec![group(0, &[0, 1], 2), group(1, &[2, 3], 2)];
    let step = next(&groups).expect("both are in zone z0");
    assert_eq!((step.good, step.why.as_str()), (Good::Zones, "zone z0 has 2 masters, z1 has 0"));
    let pinned = Candidate { able: Vec::new(), ..groups[0].clone() };
    let step = next(&[pinned, groups[1].clone()]).expect("the other one can go");
    assert_eq!(step.group, GroupId::new("t-1"));
}

#[test]
fn a_spare_gives_way_to_a_node_of_the_groups_own_wherever_that_is() {
    let mut groups = vec![group(0, &[0, 1], 0), group(1, &[1, 0], 0)];
    groups[0].master.own = false;
    let step = next(&groups).expect("a spare masters");
    assert_eq!((step.good, step.left), (Good::Spare, 2), "{step:?}");
    assert_eq!(step.why, "t-0-0 is a spare, and t-0-1 was made for the group");
    let steps = outlook(&groups);
    steps.iter().for_each(|step| does(&mut groups, step));
    assert_eq!((masters(&groups), next(&groups)), (vec!["m1", "m0"], None));
}

#[test]
fn of_equals_the_greater_priority_masters_and_a_reader_s_node_is_not_taken() {
    let mut groups = vec![group(0, &[0, 1, 2], 0)];
    groups[0].able[1].rank.priority = 7;
    groups[0].able[1].rank.serves = false;
    let step = next(&groups).expect("it has a greater priority");
    assert_eq!((step.good, step.to.as_str()), (Good::Rank, "t-0-2"));
    assert_eq!(step.why, "t-0-2 has priority 7, t-0-0 has 0");
    groups[0].able[1].rank.priority = 0;
    assert_eq!(next(&groups), None);
    let mut two = vec![group(0, &[0, 1, 2], 0), group(1, &[0, 2, 1], 0)];
    two[0].able[0].rank.serves = false;
    two[1].able[1].rank.serves = false;
    let step = next(&two).expect("uneven");
    assert_eq!(step.to.as_str(), "t-0-2", "a replica rather than a backup");
}

/// Numbers that look arbitrary and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }
}

/// Groups of one to four members anywhere, some of which must be left alone.
fn world(dice: &mut Dice, groups: usize) -> Vec<Candidate> {
    let (machines, zones) = (1 + dice.below(5), dice.below(4));
    let mut made = |n: usize| {
        let places: Vec<usize> = (0..=dice.below(4)).map(|_| dice.below(machines)).collect();
        let mut group = group(n, &places, zones);
        for seat in group.able.iter_mut().chain([&mut group.master]) {
            seat.own = dice.below(6) > 0;
            seat.rank = Rank { priority: u8::from(dice.below(8) == 0), serves: dice.below(3) > 0 };
        }
        if dice.below(6) == 0 {
            group.able.clear();
        }
        group
    };
    (0..groups).map(&mut made).collect()
}

/// The least cost of all assignments, without counting changes.
fn least(groups: &[Candidate]) -> Cost {
    let places = Places::of(groups);
    let mut all = vec![Assignment::of(groups, &places)];
    for (at, group) in groups.iter().enumerate() {
        let seats = 0..=group.able.len();
        all = all
            .iter()
            .flat_map(|it| {
                seats.clone().map(|seat| {
                    let mut it = it.clone();
                    it.takes(at, seat);
                    it
                })
            })
            .collect();
    }
    let cost = |it: &Assignment<'_>| Cost { changes: 0, ..it.cost() };
    all.iter().map(cost).min().expect("the present one")
}

#[test]
fn wherever_members_are_each_step_comes_nearer_and_the_end_is_the_best_there_is() {
    let (mut chains, mut swaps) = (0, 0);
    for seed in 1..400 {
        let mut dice = Dice(seed * 7919);
        let count = 1 + dice.below(5);
        let mut groups = world(&mut dice, count);
        let (first, best) = (cost(&groups), least(&groups));
        let mut left = None;
        while let Some(step) = next(&groups) {
            assert_eq!(Some(&step), next(&groups).as_ref(), "the same facts, the same step");
            assert!(left.is_none_or(|left| step.left + 1 == left), "seed {seed}: {step:?}");
            let before = cost(&groups);
            does(&mut groups, &step);
            assert!(cost(&groups).is_no_worse_than(&before), "seed {seed}: {step:?}: {before:?}");
            left = Some(step.left);
            chains += usize::from(step.left > 1);
        }
        let (end, even) = (cost(&groups), |it: &Cost| (it.spares, it.machines, it.zones));
        assert_eq!(even(&end), even(&best), "seed {seed}");
        // But for two groups that would have to change places.
        swaps += usize::from(end.rank > best.rank);
        assert!(left.is_none() || end < first, "seed {seed}");
    }
    assert!(chains > 50 && swaps < 10, "{chains} {swaps}");
}

#[test]
fn many_groups_on_many_machines_differ_by_one_at_most_in_the_end() {
    for seed in [3, 4] {
        let mut dice = Dice(seed * 104_729);
        let mut machines = |_| {
            let first = dice.below(40);
            [first, (first + 1 + dice.below(39)) % 40, (first + 7) % 40]
        };
        let mut groups: Vec<Candidate> = (0..120).map(|n| group(n, &machines(n), 3)).collect();
        let steps = outlook(&groups);
        steps.iter().for_each(|step| does(&mut groups, step));
        let mut loads = BTreeMap::new();
        groups.iter().for_each(|it| *loads.entry(&it.master.machine).or_insert(0) += 1);
        assert!(loads.values().all(|load| *load == 3), "{loads:?}");
        assert_eq!(next(&groups), None);
    }
}
