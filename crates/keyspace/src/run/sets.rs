//! Commands on sets.

use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::set::Set;

type Outcome = Result<(), Refusal>;

/// SADD key member [member ...]
pub(crate) fn sadd(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.open::<Set>(at, key)?;
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(Op::SetAdd, key);
    let added = call.ks.update(at, place, |set: &mut Set, touch| {
        let mut added = 0;
        for member in args.from(2).iter() {
            if set.add(touch, member) {
                log.text(member);
                added += 1;
            }
        }
        added
    });
    if log.end_many(many, added) {
        call.wrote(at.slot);
        call.tell(Classes::SET, "sadd", key);
    }
    call.reply.count(added);
    Ok(())
}

/// SREM key member [member ...]
pub(crate) fn srem(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<Set>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(Op::SetRemove, key);
    let removed = call.ks.update(at, place, |set: &mut Set, touch| {
        let mut removed = 0;
        for member in args.from(2).iter() {
            if set.remove(touch, member) {
                log.text(member);
                removed += 1;
            }
        }
        removed
    });
    if log.end_many(many, removed) {
        call.wrote(at.slot);
        call.tell_taken(Classes::SET, "srem", at, key);
    }
    call.reply.count(removed);
    Ok(())
}

/// SMEMBERS key
pub(crate) fn smembers(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Set>(at, call.arg(1))?;
    let set = place.and_then(|place| call.ks.collection::<Set>(at, place));
    call.reply.set(set.map_or(0, Set::len));
    if let Some(set) = set {
        set.for_each(|member| call.reply.bulk(member));
    }
    Ok(())
}

/// SCARD key
pub(crate) fn scard(call: &mut Call<'_>) -> Outcome {
    let len = call.read::<Set>()?.map_or(0, Set::len);
    call.reply.count(len);
    Ok(())
}

/// SISMEMBER key member
pub(crate) fn sismember(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Set>(at, call.arg(1))?;
    let set = place.and_then(|place| call.ks.collection::<Set>(at, place));
    let is_in = set.is_some_and(|set| set.contains(call.ks.hasher(), call.args.get(2)));
    call.reply.integer(i64::from(is_in));
    Ok(())
}

/// SMISMEMBER key member [member ...]
pub(crate) fn smismember(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Set>(at, call.arg(1))?;
    let set = place.and_then(|place| call.ks.collection::<Set>(at, place));
    call.reply.array(call.args.len() - 2);
    for member in call.args.from(2).iter() {
        let is_in = set.is_some_and(|set| set.contains(call.ks.hasher(), member));
        call.reply.integer(i64::from(is_in));
    }
    Ok(())
}
