//! Looks for an order of one key's operations that a single copy could have executed.
//!
//! The history is read as a sequence of calls and returns. The search carries every
//! *configuration* that is still possible: the state of the key, and which of the operations in
//! flight have already taken effect. A call only adds to what is in flight. A return demands that
//! its operation has taken effect: each configuration is carried on by letting operations in
//! flight take effect until that one has; configurations where it cannot are dropped. None left:
//! no order exists.
//!
//! Operations of unknown outcome stay in flight for ever and may never take effect. Of two
//! configurations that differ only in that one has used up more of them, the one that used fewer
//! can do all that the other can, so the other is dropped; equal ones (say, adding one to a
//! counter) are counted, not told apart. This keeps the search near linear for real histories.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

use super::effect::{Effect, Translator};
use super::{Kind, Object, Violation};
use crate::history::{Operation, Outcome};

/// Most configurations carried at a time before the search gives up.
pub const CONFIGURATIONS_MAX: usize = 200_000;
/// Most operations of known outcome that may be in flight at a time on one key.
pub const CONCURRENT_MAX: usize = 64;

/// How many possible states are kept for the message about a failure.
const STATES_SHOWN_MAX: usize = 8;

/// What one operation demands of, and does to, a state.
pub trait Change: Clone + PartialEq + Debug {
    /// What is changed.
    type State: Clone + Eq + Hash + Ord;

    /// The state after, or none if the operation cannot have happened in `state`.
    fn apply(&self, state: &Self::State) -> Option<Self::State>;
}

/// What is possible at a point of the history, but for the use of unknown operations.
type Place<S> = (S, u64);
/// For each class of unknown operations, how many of them have taken effect.
type Used = Vec<u16>;

/// Possible configurations; for each place the least uses, none covering another.
#[derive(Debug, Clone)]
struct Possible<S> {
    places: HashMap<Place<S>, Vec<Used>>,
    count: usize,
}

impl<S: Clone + Eq + Hash + Ord> Possible<S> {
    fn none() -> Self {
        Self { places: HashMap::new(), count: 0 }
    }

    /// Adds a configuration unless one that can do as much is there already.
    fn insert(&mut self, place: Place<S>, used: Used) -> bool {
        let uses = self.places.entry(place).or_default();
        if uses.iter().any(|fewer| covers(fewer, &used)) {
            return false;
        }
        let before = uses.len();
        uses.retain(|more| !covers(&used, more));
        uses.push(used);
        self.count = self.count + uses.len() - before;
        true
    }

    fn into_each(self) -> impl Iterator<Item = (Place<S>, Used)> {
        self.places
            .into_iter()
            .flat_map(|(place, uses)| uses.into_iter().map(move |used| (place.clone(), used)))
    }

    fn states(&self) -> Vec<S> {
        let mut states: Vec<S> = self.places.keys().map(|(state, _)| state.clone()).collect();
        states.sort_unstable();
        states.dedup();
        states.truncate(STATES_SHOWN_MAX);
        states
    }
}

/// Whether `fewer` uses at most what `more` uses, in every class.
fn covers(fewer: &[u16], more: &[u16]) -> bool {
    let at = |used: &[u16], class: usize| used.get(class).copied().unwrap_or(0);
    (0..fewer.len()).all(|class| fewer[class] <= at(more, class))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call(usize),
    Return(usize),
}

/// Operations in flight: those that will return, by slot, and those of unknown outcome, by class.
#[derive(Debug)]
struct InFlight<C> {
    slots: Vec<Option<(usize, C)>>,
    classes: Vec<(C, u16)>,
}

impl<C: Change> InFlight<C> {
    fn call(&mut self, operation: usize, effect: C) -> Option<usize> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        if slot == CONCURRENT_MAX {
            return None;
        }
        self.slots.resize(self.slots.len().max(slot + 1), None);
        self.slots[slot] = Some((operation, effect));
        Some(slot)
    }

    fn call_unknown(&mut self, effect: C) {
        match self.classes.iter_mut().find(|class| class.0 == effect) {
            Some(class) => class.1 = class.1.saturating_add(1),
            None => self.classes.push((effect, 1)),
        }
    }

    /// Every configuration one effect further than the given one.
    fn further(
        &self,
        (state, done): &Place<C::State>,
        used: &Used,
        each: &mut impl FnMut(Place<C::State>, Used),
    ) {
        let done = *done;
        for (slot, held) in self.slots.iter().enumerate() {
            let Some((_, effect)) = held else { continue };
            if done & (1 << slot) == 0
                && let Some(next) = effect.apply(state)
            {
                each((next, done | (1 << slot)), used.clone());
            }
        }
        for (class, (effect, count)) in self.classes.iter().enumerate() {
            let spent = used.get(class).copied().unwrap_or(0);
            if spent < *count
                && let Some(next) = effect.apply(state)
            {
                let mut used = used.clone();
                used.resize(used.len().max(class + 1), 0);
                used[class] += 1;
                each((next, done), used);
            }
        }
    }
}

/// The violation that a key's operations show, if no order explains them.
pub fn check(key: &str, object: Object, operations: &[&Operation]) -> Option<Violation> {
    let translator = Translator::new(object, operations);
    let effects = operations.iter().enumerate();
    let visible: BTreeMap<usize, Effect> =
        effects.filter_map(|(at, operation)| Some((at, translator.effect(operation)?))).collect();
    run(key, operations, &visible, 0, |_, _| true, |state| translator.describe(*state))
}

/// The same for operations whose effects, `visible`, change a state that begins as `first`.
///
/// `lives` may say that a state at a time, in microseconds, leads nowhere: that it contradicts
/// what is asked for and answered later. `describe` is for messages.
pub fn run<C: Change>(
    key: &str,
    operations: &[&Operation],
    visible: &BTreeMap<usize, C>,
    first: C::State,
    lives: impl Fn(u64, &C::State) -> bool,
    describe: impl Fn(&C::State) -> String,
) -> Option<Violation> {
    let mut flight = InFlight { slots: Vec::new(), classes: Vec::new() };
    let mut slot_of = BTreeMap::new();
    let mut states_at_call = BTreeMap::new();
    let mut possible = Possible::none();
    possible.insert((first, 0), Used::new());
    for event in events(operations, visible.keys()) {
        match event {
            Event::Call(at) if is_unknown(operations[at]) => {
                flight.call_unknown(visible[&at].clone());
            }
            Event::Call(at) => {
                let Some(slot) = flight.call(at, visible[&at].clone()) else {
                    let what = format!("more than {CONCURRENT_MAX} operations at a time");
                    return Some(Violation::new(key, Kind::Undecided, what, &[operations[at]]));
                };
                slot_of.insert(at, slot);
                states_at_call.insert(at, possible.states());
            }
            Event::Return(at) => {
                let slot = slot_of.remove(&at).expect("each return follows its call");
                let now_us = operations[at].returned_us;
                let alive = |state: &C::State| lives(now_us, state);
                let Some(next) = carry_on(possible, slot, &flight, alive) else {
                    let what = format!("more than {CONFIGURATIONS_MAX} configurations");
                    return Some(Violation::new(key, Kind::Undecided, what, &[operations[at]]));
                };
                possible = next;
                flight.slots[slot] = None;
                let before = states_at_call.remove(&at).unwrap_or_default();
                if possible.count == 0 {
                    let before: Vec<String> = before.iter().map(&describe).collect();
                    return Some(failure(key, operations, at, &before));
                }
            }
        }
    }
    None
}

/// Lets operations take effect in every way until that of `slot` has, and forgets that slot.
///
/// None if there are more ways than may be looked at.
fn carry_on<C: Change>(
    possible: Possible<C::State>,
    slot: usize,
    flight: &InFlight<C>,
    alive: impl Fn(&C::State) -> bool,
) -> Option<Possible<C::State>> {
    let bit = 1 << slot;
    let mut done = Possible::none();
    let mut seen = Possible::none();
    let mut queue = VecDeque::new();
    for ((state, mask), used) in possible.into_each() {
        if mask & bit != 0 {
            done.insert((state, mask & !bit), used);
        } else if seen.insert((state.clone(), mask), used.clone()) {
            queue.push_back(((state, mask), used));
        }
    }
    // First in, first out: what uses fewer effects is seen first and keeps the rest out.
    while let Some((place, used)) = queue.pop_front() {
        flight.further(&place, &used, &mut |(state, mask), used| {
            if !alive(&state) {
                return;
            }
            if mask & bit != 0 {
                done.insert((state, mask & !bit), used);
            } else if seen.insert((state.clone(), mask), used.clone()) {
                queue.push_back(((state, mask), used));
            }
        });
        if seen.count + done.count > CONFIGURATIONS_MAX {
            return None;
        }
    }
    Some(done)
}

fn is_unknown(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Unknown(_))
}

/// Calls and returns in the order of time; at the same instant calls first, which demands less.
fn events<'a>(
    operations: &[&Operation],
    visible: impl ExactSizeIterator<Item = &'a usize>,
) -> Vec<Event> {
    let mut events = Vec::with_capacity(visible.len() * 2);
    for &at in visible {
        let operation = operations[at];
        events.push((operation.called_us, Event::Call(at)));
        if !is_unknown(operation) {
            events.push((operation.returned_us.max(operation.called_us), Event::Return(at)));
        }
    }
    events.sort_unstable();
    events.into_iter().map(|(_, event)| event).collect()
}

/// Names the operation that cannot be placed, and those that were in flight with it.
fn failure(key: &str, operations: &[&Operation], at: usize, before: &[String]) -> Violation {
    let failing = operations[at];
    let meets = |operation: &&&Operation| {
        let ends = if is_unknown(operation) { u64::MAX } else { operation.returned_us };
        let refused = matches!(operation.outcome, Outcome::Failed(_));
        !refused && operation.called_us <= failing.returned_us && ends >= failing.called_us
    };
    let mut window: Vec<&Operation> = operations.iter().filter(meets).copied().collect();
    let concurrent = window.len() - 1;
    let ended = operations.iter().filter(|operation| {
        operation.is_acknowledged_write() && operation.returned_us < failing.called_us
    });
    window.extend(ended.max_by_key(|operation| operation.returned_us));
    let what = format!(
        "client {} cannot have got its answer at {} us: at its call the key was {}, \
         and the {concurrent} operations in flight with it do not explain it",
        failing.client,
        failing.returned_us,
        before.join(" or ")
    );
    Violation::new(key, Kind::NotLinearizable, what, &window)
}
