//! Honest histories pass; each planted violation is found, and called by its name.

use super::*;
use crate::history::Reply;

/// A short way to write histories: `k(client).from(a).to(b).add(1)` and so on.
struct Draft {
    client: u32,
    connection: u64,
    readonly: bool,
    called_us: u64,
    returned_us: u64,
}

fn at(called_us: u64, returned_us: u64) -> Draft {
    Draft { client: 1, connection: 1, readonly: false, called_us, returned_us }
}

impl Draft {
    fn replica(mut self, connection: u64) -> Self {
        self.readonly = true;
        self.connection = connection;
        self
    }

    fn make(self, action: Action, outcome: Outcome) -> Operation {
        let Self { client, connection, readonly, called_us, returned_us } = self;
        let key = "k".to_owned();
        Operation { client, connection, readonly, key, action, called_us, returned_us, outcome }
    }

    fn ok(self, action: Action, reply: Reply) -> Operation {
        self.make(action, Outcome::Ok(reply))
    }

    fn unknown(self, action: Action) -> Operation {
        self.make(action, Outcome::Unknown("NOACK".into()))
    }

    fn failed(self, action: Action) -> Operation {
        self.make(action, Outcome::Failed("CLUSTERDOWN".into()))
    }

    fn add(self, sum: i64) -> Operation {
        self.ok(Action::Add { by: 1 }, Reply::Number(sum))
    }

    fn get(self, value: &str) -> Operation {
        let value = (!value.is_empty()).then(|| value.to_owned());
        self.ok(Action::Get, Reply::Value(value))
    }

    fn set(self, value: &str) -> Operation {
        self.ok(set(value), Reply::Done)
    }

    fn swap(self, expected: &str, value: &str, applied: bool) -> Operation {
        let expected = (!expected.is_empty()).then(|| expected.to_owned());
        self.ok(Action::SetIf { expected, value: value.into() }, Reply::Applied(applied))
    }

    fn append(self, item: &str, length: i64) -> Operation {
        self.ok(append(item), Reply::Number(length))
    }

    fn items(self, items: &str) -> Operation {
        let items = items.split_whitespace().map(str::to_owned).collect();
        self.ok(Action::GetItems, Reply::Items(items))
    }
}

const ADD: Action = Action::Add { by: 1 };

fn set(value: &str) -> Action {
    Action::Set { value: value.into() }
}

fn append(item: &str) -> Action {
    Action::Append { item: item.into() }
}

fn kinds(history: &[Operation]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> =
        check(history).violations.into_iter().map(|violation| violation.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn passes(history: &[Operation]) {
    let report = check(history);
    let list: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn an_honest_register_passes() {
    passes(&[
        at(0, 1).get(""),
        at(2, 9).set("a"),
        at(3, 4).get(""),
        at(5, 6).get("a"),
        at(10, 20).set("b"),
        at(11, 19).set("c"),
        at(21, 22).get("b"),
        at(23, 24).swap("b", "d", true),
        at(25, 26).swap("b", "e", false),
        at(27, 28).get("d"),
        at(29, 30).ok(Action::Delete, Reply::Done),
        at(31, 32).swap("", "f", true),
        at(33, 34).get("f"),
    ]);
}

#[test]
fn a_stale_read_of_a_register_is_found() {
    let history = [at(0, 1).set("a"), at(2, 3).set("b"), at(4, 5).get("a")];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
    let text = check(&history).violations[0].to_string();
    assert!(text.contains("at its call the key was a value that nobody saw"), "{text}");
    assert!(text.contains("Set { value: \"b\" }"), "{text}");
}

#[test]
fn a_value_may_not_be_read_and_then_be_gone() {
    let history = [at(0, 1).set("a"), at(2, 9).unknown(set("b")), at(4, 5).get("b")];
    passes(&history);
    let mut lost = history.to_vec();
    lost.push(at(6, 7).get("a"));
    assert_eq!(kinds(&lost), [Kind::NotLinearizable]);
}

#[test]
fn a_lost_write_of_a_register_is_found() {
    assert_eq!(kinds(&[at(0, 1).set("a"), at(2, 3).get("")]), [Kind::NotLinearizable]);
}

#[test]
fn two_swaps_of_the_same_value_cannot_both_succeed() {
    let first = at(0, 1).set("a");
    let history = [first, at(2, 9).swap("a", "b", true), at(3, 8).swap("a", "c", true)];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
}

#[test]
fn a_swap_that_was_refused_must_have_had_a_reason() {
    let history = [at(0, 1).set("a"), at(2, 3).swap("a", "b", false)];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
    let reason = [at(0, 1).set("a"), at(1, 9).unknown(set("x")), at(2, 3).swap("a", "b", false)];
    passes(&reason);
}

#[test]
fn an_unknown_write_may_show_late_or_never() {
    let unknown = || at(0, 1).unknown(set("late"));
    passes(&[unknown(), at(2, 3).set("a"), at(4, 5).get("a"), at(6, 7).get("late")]);
    passes(&[unknown(), at(2, 3).set("a"), at(4, 5).get("a")]);
    let twice = [
        unknown(),
        at(2, 3).get("late"),
        at(4, 5).set("a"),
        at(6, 7).get("a"),
        at(8, 9).get("late"),
    ];
    assert_eq!(kinds(&twice), [Kind::NotLinearizable]);
}

#[test]
fn a_refused_write_never_shows() {
    let history = [at(0, 1).failed(set("a")), at(2, 3).get("a")];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    assert_eq!(kinds(&[at(0, 1).set("a"), at(2, 3).get("z")]), [Kind::NotLinearizable]);
}

#[test]
fn an_honest_counter_passes() {
    passes(&[
        at(0, 5).add(2),
        at(1, 4).add(1),
        at(6, 7).unknown(ADD),
        at(8, 9).failed(ADD),
        at(10, 11).get("2"),
        at(12, 13).add(4),
        at(14, 15).get("4"),
    ]);
}

#[test]
fn a_lost_addition_is_found_and_counted() {
    let history = [at(0, 1).add(1), at(2, 3).add(2), at(4, 5).add(3), at(9, 10).get("1")];
    assert_eq!(kinds(&history), [Kind::LostWrite, Kind::StaleRead]);
    assert_eq!(check(&history).lost(), 2);
}

#[test]
fn a_sum_given_twice_is_a_lost_addition() {
    assert_eq!(kinds(&[at(0, 5).add(1), at(1, 6).add(1)]), [Kind::LostWrite]);
}

#[test]
fn an_addition_that_counts_twice_is_found() {
    assert_eq!(kinds(&[at(0, 1).add(1), at(2, 3).add(3)]), [Kind::Repeated]);
    assert_eq!(kinds(&[at(0, 1).failed(ADD), at(2, 3).get("1")]), [Kind::Repeated]);
}

#[test]
fn a_sum_read_and_then_lost_is_found() {
    let history = [at(0, 9).unknown(ADD), at(2, 3).get("1"), at(10, 11).get("0")];
    assert_eq!(kinds(&history), [Kind::StaleRead, Kind::DirtyRead]);
}

#[test]
fn an_honest_list_passes() {
    passes(&[
        at(0, 5).append("a", 2),
        at(1, 4).append("b", 1),
        at(2, 3).items("b"),
        at(6, 7).unknown(append("c")),
        at(8, 9).failed(append("d")),
        at(10, 11).items("b a"),
        at(12, 13).append("e", 4),
        at(14, 15).items("b a c e"),
    ]);
}

#[test]
fn a_lost_item_is_found() {
    let history = [at(0, 1).append("a", 1), at(2, 3).append("b", 2), at(4, 5).items("a")];
    assert_eq!(kinds(&history), [Kind::LostWrite]);
}

#[test]
fn an_item_in_two_places_is_found() {
    assert_eq!(kinds(&[at(0, 1).append("a", 1), at(2, 3).items("a a")]), [Kind::Repeated]);
}

#[test]
fn a_refused_item_never_shows() {
    let history = [at(0, 1).failed(append("a")), at(2, 3).items("a")];
    assert_eq!(kinds(&history), [Kind::RefusedButApplied]);
}

#[test]
fn items_read_and_then_gone_are_found() {
    let history = [at(0, 9).unknown(append("a")), at(2, 3).items("a"), at(10, 11).items("")];
    assert_eq!(kinds(&history), [Kind::StaleRead, Kind::DirtyRead]);
}

#[test]
fn a_stale_read_of_a_list_is_found() {
    let history = [at(0, 1).append("a", 1), at(2, 3).items(""), at(4, 5).items("a")];
    assert_eq!(kinds(&history), [Kind::StaleRead]);
}

#[test]
fn items_in_an_order_that_time_forbids_are_found() {
    let history = [at(0, 1).append("a", 1), at(2, 3).append("b", 2), at(4, 5).items("b a")];
    assert!(kinds(&history).contains(&Kind::NotLinearizable));
}

#[test]
fn a_length_that_does_not_fit_is_found() {
    let history = [at(0, 1).append("a", 1), at(2, 3).append("b", 3), at(4, 5).items("a b")];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
}

#[test]
fn replicas_may_be_old_but_not_go_back() {
    let mut history = vec![
        at(0, 1).add(1),
        at(2, 3).add(2),
        at(4, 5).replica(7).get("1"),
        at(6, 7).replica(8).get("2"),
        at(8, 9).replica(7).get("2"),
        at(20, 21).get("2"),
    ];
    passes(&history);
    history.push(at(10, 11).replica(8).get("1"));
    assert_eq!(kinds(&history), [Kind::BackwardsRead]);
}

#[test]
fn replicas_show_no_uncommitted_data() {
    let sum = [at(0, 9).unknown(ADD), at(2, 3).replica(1).get("1"), at(10, 11).get("0")];
    assert_eq!(kinds(&sum), [Kind::DirtyRead]);
    let items =
        [at(0, 9).unknown(append("a")), at(2, 3).replica(1).items("a"), at(10, 11).items("")];
    assert_eq!(kinds(&items), [Kind::DirtyRead]);
    let value = [at(0, 1).failed(set("a")), at(2, 3).replica(1).get("a")];
    assert_eq!(kinds(&value), [Kind::DirtyRead]);
}
