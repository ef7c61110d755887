//! Commands on hashes.

use crate::decimal::Decimal;
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::hash::Hash;
use cairn_resp::number::{I64_TEXT_MAX, format_i64, parse_i64};

type Outcome = Result<(), Refusal>;

/// Sets the pairs of field and value from argument 2 on; how many are new.
fn set_pairs(call: &mut Call<'_>) -> Result<usize, Refusal> {
    if !call.argc().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.open::<Hash>(at, key)?;
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(Op::HashSet, key);
    let added = call.ks.update(at, place, |hash: &mut Hash, touch| {
        let mut added = 0;
        for index in (2..args.len()).step_by(2) {
            let (field, value) = (args.get(index), args.get(index + 1));
            added += usize::from(hash.set(touch, field, value));
            log.text(field);
            log.text(value);
        }
        added
    });
    log.end_many(many, (args.len() - 2) / 2);
    call.wrote(at.slot);
    call.tell(Classes::HASH, "hset", key);
    Ok(added)
}

/// HSET key field value [field value ...]
pub(crate) fn hset(call: &mut Call<'_>) -> Outcome {
    let added = set_pairs(call)?;
    call.reply.count(added);
    Ok(())
}

/// HMSET key field value [field value ...]
pub(crate) fn hmset(call: &mut Call<'_>) -> Outcome {
    set_pairs(call)?;
    call.reply.ok();
    Ok(())
}

/// HSETNX key field value
pub(crate) fn hsetnx(call: &mut Call<'_>) -> Outcome {
    let (at, key, field) = (call.at_first(), call.arg(1), call.arg(2));
    let place = call.find_as::<Hash>(at, key)?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let absent = hash.is_none_or(|hash| hash.get(call.ks.hasher(), field).is_none());
    if absent {
        set_pairs(call)?;
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

/// HGET key field
pub(crate) fn hget(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    match hash.and_then(|hash| hash.get(call.ks.hasher(), call.args.get(2))) {
        Some(value) => call.reply.bulk(value),
        None => call.reply.null(),
    }
    Ok(())
}

/// HMGET key field [field ...]
pub(crate) fn hmget(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    call.reply.array(call.args.len() - 2);
    for field in call.args.from(2).iter() {
        match hash.and_then(|hash| hash.get(call.ks.hasher(), field)) {
            Some(value) => call.reply.bulk(value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// HSTRLEN key field
pub(crate) fn hstrlen(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let value = hash.and_then(|hash| hash.get(call.ks.hasher(), call.args.get(2)));
    call.reply.count(value.map_or(0, <[u8]>::len));
    Ok(())
}

/// HEXISTS key field
pub(crate) fn hexists(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let value = hash.and_then(|hash| hash.get(call.ks.hasher(), call.args.get(2)));
    call.reply.integer(i64::from(value.is_some()));
    Ok(())
}

/// HLEN key
pub(crate) fn hlen(call: &mut Call<'_>) -> Outcome {
    let len = call.read::<Hash>()?.map_or(0, Hash::len);
    call.reply.count(len);
    Ok(())
}

/// HGETALL key
pub(crate) fn hgetall(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    call.reply.map(hash.map_or(0, Hash::len));
    if let Some(hash) = hash {
        hash.for_each(|field, value| {
            call.reply.bulk(field);
            call.reply.bulk(value);
        });
    }
    Ok(())
}

fn one_side(call: &mut Call<'_>, fields: bool) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    call.reply.array(hash.map_or(0, Hash::len));
    if let Some(hash) = hash {
        hash.for_each(|field, value| call.reply.bulk(if fields { field } else { value }));
    }
    Ok(())
}

/// HKEYS key
pub(crate) fn hkeys(call: &mut Call<'_>) -> Outcome {
    one_side(call, true)
}

/// HVALS key
pub(crate) fn hvals(call: &mut Call<'_>) -> Outcome {
    one_side(call, false)
}

/// HDEL key field [field ...]
pub(crate) fn hdel(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<Hash>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(Op::HashDelete, key);
    let removed = call.ks.update(at, place, |hash: &mut Hash, touch| {
        let mut removed = 0;
        for field in args.from(2).iter() {
            if hash.remove(touch, field) {
                log.text(field);
                removed += 1;
            }
        }
        removed
    });
    if log.end_many(many, removed) {
        call.wrote(at.slot);
        call.tell_taken(Classes::HASH, "hdel", at, key);
    }
    call.reply.count(removed);
    Ok(())
}

/// Sets the field in argument 2 to `value` and logs it, which is this event.
fn set_one(call: &mut Call<'_>, value: &[u8], event: &'static str) -> Outcome {
    let (at, key, field) = (call.at_first(), call.arg(1), call.arg(2));
    let place = call.open::<Hash>(at, key)?;
    call.ks.update(at, place, |hash: &mut Hash, touch| hash.set(touch, field, value));
    let many = call.log.begin_many(Op::HashSet, key);
    call.log.text(field);
    call.log.text(value);
    call.log.end_many(many, 1);
    call.wrote(at.slot);
    call.tell(Classes::HASH, event, key);
    Ok(())
}

/// HINCRBY key field increment
pub(crate) fn hincrby(call: &mut Call<'_>) -> Outcome {
    let delta = call.integer(3)?;
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let old = match hash.and_then(|hash| hash.get(call.ks.hasher(), call.args.get(2))) {
        None => 0,
        Some(text) => parse_i64(text).ok_or(Refusal::text("ERR hash value is not an integer"))?,
    };
    let new = old.checked_add(delta).ok_or(Refusal::Overflow)?;
    let mut room = [0; I64_TEXT_MAX];
    set_one(call, format_i64(new, &mut room), "hincrby")?;
    call.reply.integer(new);
    Ok(())
}

/// HINCRBYFLOAT key field increment
pub(crate) fn hincrbyfloat(call: &mut Call<'_>) -> Outcome {
    let delta = Decimal::parse(call.arg(3)).ok_or(Refusal::NotFloat)?;
    if !delta.is_finite() {
        return Err(Refusal::text("ERR value is NaN or Infinity"));
    }
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let old = match hash.and_then(|hash| hash.get(call.ks.hasher(), call.args.get(2))) {
        None => Decimal::ZERO,
        Some(text) => Decimal::parse(text).ok_or(Refusal::text("ERR hash value is not a float"))?,
    };
    let sum = old.sum(delta);
    let text = sum.ok_or(Refusal::text("ERR increment would produce NaN or Infinity"))?;
    set_one(call, text.as_bytes(), "hincrbyfloat")?;
    call.reply.bulk(text.as_bytes());
    Ok(())
}
