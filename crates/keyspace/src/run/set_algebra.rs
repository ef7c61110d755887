//! Commands on several sets: what is in all of them, in any of them, in the first alone. They take
//! time by the sizes of the sets they read.

use crate::effects::{EffectLog, LENGTH_BYTES, Op};
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::snapshot::Touch;
use crate::value::set::Set;
use std::ops::Range;

type Outcome = Result<(), Refusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inter,
    Union,
    Diff,
}

/// Sees that all keys hold sets or nothing; what has expired is deleted.
fn check(call: &mut Call<'_>, keys: Range<usize>) -> Outcome {
    for index in keys {
        let key = call.arg(index);
        let at = call.ks.locate(key);
        call.find_as::<Set>(at, key)?;
    }
    Ok(())
}

/// Visits the members that all sets have, until `visit` says that it is enough.
fn each_common(call: &Call<'_>, keys: Range<usize>, mut visit: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = keys.map(|index| call.look::<Set>(call.arg(index))).collect() else {
        return;
    };
    let sets: &mut Vec<&Set> = &mut sets;
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    let hasher = call.ks.hasher();
    for member in smallest.members() {
        if others.iter().all(|set| set.contains(hasher, member)) && !visit(member) {
            return;
        }
    }
}

fn combined(call: &mut Call<'_>, kind: Kind, keys: Range<usize>) -> Result<Set, Refusal> {
    check(call, keys.clone())?;
    let hasher = call.ks.hasher();
    let (touch, mut result) = (&mut Touch::nobody(hasher), Set::default());
    let mut sets = keys.clone().map(|index| call.look::<Set>(call.arg(index)));
    match kind {
        Kind::Inter => each_common(call, keys, |member| {
            result.add(touch, member);
            true
        }),
        Kind::Union => sets.flatten().for_each(|set| {
            set.for_each(|member| {
                result.add(touch, member);
            });
        }),
        Kind::Diff => {
            let first = sets.next().flatten();
            let others: Vec<&Set> = sets.flatten().collect();
            for member in first.into_iter().flat_map(Set::members) {
                if !others.iter().any(|set| set.contains(hasher, member)) {
                    result.add(touch, member);
                }
            }
        }
    }
    Ok(result)
}

fn show(call: &mut Call<'_>, kind: Kind) -> Outcome {
    let result = combined(call, kind, 1..call.argc())?;
    call.reply.set(result.len());
    result.for_each(|member| call.reply.bulk(member));
    Ok(())
}

fn store(call: &mut Call<'_>, kind: Kind) -> Outcome {
    call.reads = true;
    let result = combined(call, kind, 2..call.argc())?;
    let mut bytes = 0;
    result.for_each(|member| bytes += member.len() + LENGTH_BYTES);
    let log = |set: &Set, log: &mut EffectLog| set.for_each(|member| log.text(member));
    let event = match kind {
        Kind::Inter => "sinterstore",
        Kind::Union => "sunionstore",
        Kind::Diff => "sdiffstore",
    };
    let kept = (Op::SetAdd, Classes::SET, event);
    let count = call.store(call.arg(1), (result, bytes), kept, log)?;
    call.reply.count(count);
    Ok(())
}

/// SINTER key [key ...]
pub(crate) fn sinter(call: &mut Call<'_>) -> Outcome {
    show(call, Kind::Inter)
}

/// SUNION key [key ...]
pub(crate) fn sunion(call: &mut Call<'_>) -> Outcome {
    show(call, Kind::Union)
}

/// SDIFF key [key ...]
pub(crate) fn sdiff(call: &mut Call<'_>) -> Outcome {
    show(call, Kind::Diff)
}

/// SINTERSTORE destination key [key ...]
pub(crate) fn sinterstore(call: &mut Call<'_>) -> Outcome {
    store(call, Kind::Inter)
}

/// SUNIONSTORE destination key [key ...]
pub(crate) fn sunionstore(call: &mut Call<'_>) -> Outcome {
    store(call, Kind::Union)
}

/// SDIFFSTORE destination key [key ...]
pub(crate) fn sdiffstore(call: &mut Call<'_>) -> Outcome {
    store(call, Kind::Diff)
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit]
pub(crate) fn sintercard(call: &mut Call<'_>) -> Outcome {
    const TOO_MANY: &str = "ERR Number of keys can't be greater than number of args";
    let keys = call.at_least(1, 1, "ERR numkeys should be greater than 0")?;
    if keys > call.argc() - 2 {
        return Err(Refusal::text(TOO_MANY));
    }
    let (mut limit, mut option) = (0, keys + 2);
    while option < call.argc() {
        if !call.is_word(option, "LIMIT") || option + 1 == call.argc() {
            return Err(Refusal::Syntax);
        }
        limit = call.at_least(option + 1, 0, "ERR LIMIT can't be negative")?;
        option += 2;
    }
    check(call, 2..keys + 2)?;
    let mut count = 0;
    each_common(call, 2..keys + 2, |_| {
        count += 1;
        count != limit
    });
    call.reply.count(count);
    Ok(())
}

/// SMOVE source destination member
pub(crate) fn smove(call: &mut Call<'_>) -> Outcome {
    let (source, target, member) = (call.arg(1), call.arg(2), call.arg(3));
    let (at, to) = (call.ks.locate(source), call.ks.locate(target));
    if call.find_as::<Set>(at, source)?.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    call.find_as::<Set>(to, target)?;
    let set = call.look::<Set>(source);
    let is_in = set.is_some_and(|set| set.contains(call.ks.hasher(), member));
    if is_in && source != target {
        if let Some(place) = call.ks.find(at, source) {
            call.ks.update(at, place, |set: &mut Set, touch| set.remove(touch, member));
            let many = call.log.begin_many(Op::SetRemove, source);
            call.log.text(member);
            call.log.end_many(many, 1);
            call.wrote(at.slot);
            call.tell_taken(Classes::SET, "srem", at, source);
        }
        let place = call.open::<Set>(to, target)?;
        let new = call.ks.update(to, place, |set: &mut Set, touch| set.add(touch, member));
        let many = call.log.begin_many(Op::SetAdd, target);
        if new {
            call.log.text(member);
        }
        if call.log.end_many(many, usize::from(new)) {
            call.wrote(to.slot);
            call.tell(Classes::SET, "sadd", target);
        }
    }
    call.reply.integer(i64::from(is_in));
    Ok(())
}
