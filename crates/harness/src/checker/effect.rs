//! Operations as what they demand of, and do to, one number: the state of the key.
//!
//! A register's state is the number of its value (0 if absent), a counter's its sum, a list's its
//! length. A list needs no more than that because its longest read fixes the place of each item.
//! Register values that nobody saw or expected are all the same to everybody: one number stands
//! for them, which keeps a history with many unknown writes from having as many states.
//!
//! What is done to several keys of one slot at once is a [`Compound`] of such effects.

use std::collections::{HashMap, HashSet};

use super::Object;
use super::search::Change;
use crate::history::{Action, Operation, Outcome, Reply};

/// What one operation demands and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The state is this; nothing changes.
    Is(i64),
    /// The state is not this; nothing changes.
    IsNot(i64),
    /// The state becomes this.
    Becomes(i64),
    /// The state is the first and becomes the second.
    Swaps(i64, i64),
    /// The state becomes the second if it is the first, and stays if not.
    MaySwap(i64, i64),
    /// The state is not 0 and becomes 0.
    Clears,
    /// The state grows by this, to the given sum if one was answered.
    Grows(i64, Option<i64>),
    /// The state is this and grows by one, to the given length if one was answered.
    TakesPlace(i64, Option<i64>),
    /// The state is at least this and grows by one, to the given length if one was answered.
    Follows(i64, Option<i64>),
    /// Cannot have happened in any state.
    Impossible,
}

impl Change for Effect {
    type State = i64;

    fn apply(&self, state: &i64) -> Option<i64> {
        let state = *state;
        let next = match *self {
            Self::Is(value) => (state == value).then_some(state),
            Self::IsNot(value) => (state != value).then_some(state),
            Self::Becomes(value) => Some(value),
            Self::Swaps(expected, value) => (state == expected).then_some(value),
            Self::MaySwap(expected, value) => Some(if state == expected { value } else { state }),
            Self::Clears => (state != 0).then_some(0),
            Self::Grows(by, _) => Some(state + by),
            Self::TakesPlace(at, _) => (state == at).then_some(state + 1),
            Self::Follows(from, _) => (state >= from).then_some(state + 1),
            Self::Impossible => None,
        };
        match *self {
            Self::Grows(_, answer) | Self::TakesPlace(_, answer) | Self::Follows(_, answer) => {
                next.filter(|next| answer.is_none_or(|answer| answer == *next))
            }
            _ => next,
        }
    }
}

/// What one operation demands of, and does to, the keys of a slot, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compound(pub Vec<(usize, Effect)>);

impl Change for Compound {
    type State = Vec<i64>;

    /// One after the other, each seeing what those before it did.
    fn apply(&self, states: &Vec<i64>) -> Option<Vec<i64>> {
        let mut states = states.clone();
        for (key, effect) in &self.0 {
            states[*key] = effect.apply(&states[*key])?;
        }
        Some(states)
    }
}

/// Stands for every register value that was written and that nobody saw or expected.
const UNSEEN: i64 = -1;

/// Turns the operations of one key into effects.
#[derive(Debug)]
pub struct Translator<'a> {
    object: Object,
    /// Numbers of register values; places of list items.
    numbers: HashMap<&'a str, i64>,
    /// The longest read of a list.
    longest: &'a [String],
}

impl<'a> Translator<'a> {
    /// Reads all operations of a key once, to know its values or the order of its items.
    pub fn new(object: Object, operations: &[&'a Operation]) -> Self {
        let longest = longest_read(operations);
        let mut numbers = HashMap::new();
        for (at, item) in longest.iter().enumerate() {
            numbers.insert(item.as_str(), number_of(at));
        }
        let mut translator = Self { object, numbers, longest };
        if object == Object::Register {
            let seen = seen_values(operations);
            operations.iter().for_each(|operation| translator.number_values(operation, &seen));
        }
        translator
    }

    /// A value's text, for messages.
    pub fn describe(&self, state: i64) -> String {
        match self.object {
            Object::Register if state == UNSEEN => "a value that nobody saw".to_owned(),
            Object::Register => {
                let named = self.numbers.iter().find(|(_, number)| **number == state);
                named.map_or("absent".to_owned(), |(value, _)| format!("{value:?}"))
            }
            Object::Counter => state.to_string(),
            Object::List => format!("{state} items"),
        }
    }

    /// The effect of an operation; none if it did, and will do, nothing that anyone can see.
    pub fn effect(&self, operation: &Operation) -> Option<Effect> {
        let reply = match &operation.outcome {
            Outcome::Ok(reply) => Some(reply),
            Outcome::Unknown(_) if !operation.action.is_read() => None,
            Outcome::Failed(_) | Outcome::Unknown(_) => return None,
        };
        let number = match reply {
            Some(Reply::Number(number)) => Some(*number),
            _ => None,
        };
        Some(match &operation.action {
            Action::Get => self.read(reply),
            Action::GetItems => self.read_items(reply),
            Action::Set { value } => Effect::Becomes(self.number(Some(value))),
            Action::SetIf { expected, value } => {
                let expected = self.number(expected.as_deref());
                match reply {
                    Some(Reply::Applied(false)) => Effect::IsNot(expected),
                    _ => Effect::Swaps(expected, self.number(Some(value))),
                }
            }
            Action::Delete => match number {
                Some(0) => Effect::Is(0),
                Some(_) => Effect::Clears,
                None => Effect::Becomes(0),
            },
            Action::Together { .. } => Effect::Impossible,
            Action::Add { by } => Effect::Grows(*by, number),
            Action::Append { item } => match self.numbers.get(item.as_str()) {
                Some(at) => Effect::TakesPlace(*at, number),
                None => Effect::Follows(number_of(self.longest.len()), number),
            },
        })
    }

    fn read(&self, reply: Option<&Reply>) -> Effect {
        let Some(Reply::Value(value)) = reply else { return Effect::Impossible };
        match (self.object, value) {
            (Object::Counter, None) => Effect::Is(0),
            (Object::Counter, Some(text)) => text.parse().map_or(Effect::Impossible, Effect::Is),
            (_, value) => match value.as_deref() {
                Some(value) if !self.numbers.contains_key(value) => Effect::Impossible,
                value => Effect::Is(self.number(value)),
            },
        }
    }

    fn read_items(&self, reply: Option<&Reply>) -> Effect {
        match reply {
            Some(Reply::Items(items)) if self.longest.starts_with(items) => {
                Effect::Is(number_of(items.len()))
            }
            _ => Effect::Impossible,
        }
    }

    /// Gives each value that a write may have left its own number, if anybody saw it.
    fn number_values(&mut self, operation: &'a Operation, seen: &HashSet<&str>) {
        if let Action::Set { value } | Action::SetIf { value, .. } = &operation.action {
            let next = number_of(self.numbers.len()) + 1;
            let number = if seen.contains(value.as_str()) { next } else { UNSEEN };
            self.numbers.entry(value).or_insert(number);
        }
    }

    /// The number of a value; one that nobody wrote has a number that no state ever is.
    fn number(&self, value: Option<&str>) -> i64 {
        value.map_or(0, |value| self.numbers.get(value).copied().unwrap_or(i64::MIN))
    }
}

/// Register values that a read showed or a conditional write expected.
fn seen_values<'a>(operations: &[&'a Operation]) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for operation in operations {
        if let Some(Reply::Value(Some(value))) = operation.reply() {
            seen.insert(value.as_str());
        }
        if let Action::SetIf { expected: Some(expected), .. } = &operation.action {
            seen.insert(expected.as_str());
        }
    }
    seen
}

/// The longest answer to a read of a list.
pub fn longest_read<'a>(operations: &[&'a Operation]) -> &'a [String] {
    let answers = operations.iter().filter_map(|operation| match operation.reply() {
        Some(Reply::Items(items)) => Some(items.as_slice()),
        _ => None,
    });
    answers.max_by_key(|items| items.len()).unwrap_or_default()
}

fn number_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
