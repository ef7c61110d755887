//! Keys that share a slot, and transactions over them: each is one operation on all its keys.
//!
//! The ledgers look at each key alone, where a step of a transaction is an operation like any
//! other. The search looks at all keys at once: its state is that of every key of the slot, so a
//! transaction that is done or seen by halves has no place in any order.

use std::collections::BTreeMap;

use super::effect::{Compound, Effect, Translator};
use super::{Object, Violation, check_ledgers, counter, search};
use crate::history::{Action, Operation, Outcome};

/// The operations of one key, with the number of the operation that each is a part of.
type Parts<'a> = Vec<(usize, &'a Operation)>;

/// Checks the keys of one `{tag}`; `operations` are sorted by the time of their call.
pub fn check(tag: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let parts: Vec<(usize, Operation)> = operations
        .iter()
        .enumerate()
        .flat_map(|(at, operation)| operation.parts().into_iter().map(move |part| (at, part)))
        .collect();
    let mut keys: BTreeMap<&str, Parts<'_>> = BTreeMap::new();
    for (at, part) in &parts {
        keys.entry(&part.key).or_default().push((*at, part));
    }
    let before = violations.len();
    let (mut translators, mut ceilings) = (Vec::new(), Vec::new());
    for (key, parts) in &keys {
        let alone: Vec<&Operation> = parts.iter().map(|(_, part)| *part).collect();
        let (object, master) = check_ledgers(key, &alone, violations);
        ceilings.push(Ceiling::new(object, &master));
        translators.push((*key, Translator::new(object, &master)));
    }
    if violations.len() > before {
        return;
    }
    let visible = operations.iter().enumerate().filter(|(_, operation)| !operation.readonly);
    let mine = |at: usize| parts[parts.partition_point(|(of, _)| *of < at)..].iter();
    let visible: BTreeMap<usize, Compound> = visible
        .filter_map(|(at, operation)| {
            let own = mine(at).take_while(|(of, _)| *of == at).map(|(_, part)| part);
            Some((at, compound(operation, own, &translators)?))
        })
        .collect();
    let describe = |states: &Vec<i64>| {
        let each = translators.iter().zip(states);
        let each =
            each.map(|((key, translator), state)| format!("{key} {}", translator.describe(*state)));
        format!("({})", each.collect::<Vec<_>>().join(", "))
    };
    let lives = |now_us: u64, states: &Vec<i64>| {
        ceilings.iter().zip(states).all(|(ceiling, state)| *state <= ceiling.at(now_us))
    };
    let first = vec![0; translators.len()];
    violations.extend(search::run(tag, operations, &visible, first, lives, describe));
}

/// How high the sum of a counter that only grows can be: what is asked for later shows at least
/// as much. Without this the search would let all that is unknown take effect in every way.
#[derive(Debug, Default)]
struct Ceiling {
    /// When something was asked for, ascending, and the least sum shown from then on.
    least: Vec<(u64, i64)>,
}

impl Ceiling {
    /// Of a key's operations, sorted by the time of their call; none if it is no such counter.
    fn new(object: Object, operations: &[&Operation]) -> Self {
        let grows = |operation: &&Operation| match operation.action {
            Action::Add { by } => by >= 0,
            _ => operation.action.is_read(),
        };
        if object != Object::Counter || !operations.iter().all(grows) {
            return Self::default();
        }
        let mut least = Vec::new();
        let mut now = i64::MAX;
        for operation in operations.iter().rev() {
            now = now.min(counter::shown(operation).unwrap_or(i64::MAX));
            least.push((operation.called_us, now));
        }
        least.reverse();
        Self { least }
    }

    /// The highest possible sum once all that was called by `now_us` is in flight.
    fn at(&self, now_us: u64) -> i64 {
        let later = self.least.partition_point(|(called_us, _)| *called_us <= now_us);
        self.least.get(later).map_or(i64::MAX, |(_, sum)| *sum)
    }
}

/// The effect of an operation on all keys; none if nobody could see it.
fn compound<'a>(
    operation: &Operation,
    parts: impl Iterator<Item = &'a Operation>,
    translators: &[(&str, Translator<'_>)],
) -> Option<Compound> {
    let unknown = matches!(operation.outcome, Outcome::Unknown(_));
    let whole = matches!(operation.action, Action::Together { .. });
    let mut effects = Vec::new();
    for part in parts {
        let key = translators.iter().position(|(key, _)| *key == part.key)?;
        let Some(effect) = translators[key].1.effect(part) else { continue };
        // The other steps are done whether or not this one found what it expected.
        let effect = match effect {
            Effect::Swaps(expected, value) if unknown && whole => Effect::MaySwap(expected, value),
            effect => effect,
        };
        effects.push((key, effect));
    }
    (!effects.is_empty()).then_some(Compound(effects))
}
