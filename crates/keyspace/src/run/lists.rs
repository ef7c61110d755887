//! Commands on lists.

use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::list::{List, Side};

type Outcome = Result<(), Refusal>;

/// The event of items that were pushed.
pub(super) fn pushed(side: Side) -> &'static str {
    if side == Side::Front { "lpush" } else { "rpush" }
}

/// The event of items that were taken.
pub(super) fn taken(side: Side) -> &'static str {
    if side == Side::Front { "lpop" } else { "rpop" }
}

fn push(call: &mut Call<'_>, side: Side, only_present: bool) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = if only_present {
        let Some(place) = call.find_as::<List>(at, key)? else {
            call.reply.integer(0);
            return Ok(());
        };
        place
    } else {
        call.open::<List>(at, key)?
    };
    let op = if side == Side::Front { Op::PushFront } else { Op::PushBack };
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(op, key);
    let len = call.ks.update(at, place, |list: &mut List, touch| {
        for item in args.from(2).iter() {
            list.push(touch, side, item);
            log.text(item);
        }
        list.len()
    });
    log.end_many(many, args.len() - 2);
    call.wrote(at.slot);
    call.tell(Classes::LIST, pushed(side), key);
    call.reply.count(len);
    Ok(())
}

/// LPUSH key element [element ...]
pub(crate) fn lpush(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Front, false)
}

/// RPUSH key element [element ...]
pub(crate) fn rpush(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Back, false)
}

/// LPUSHX key element [element ...]
pub(crate) fn lpushx(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Front, true)
}

/// RPUSHX key element [element ...]
pub(crate) fn rpushx(call: &mut Call<'_>) -> Outcome {
    push(call, Side::Back, true)
}

fn pop(call: &mut Call<'_>, side: Side) -> Outcome {
    if call.argc() > 3 {
        return Err(Refusal::Arity);
    }
    let counted = call.argc() == 3;
    let count = match counted {
        true => usize::try_from(call.integer(2).map_err(|_| Refusal::NotPositive)?)
            .map_err(|_| Refusal::NotPositive)?,
        false => 1,
    };
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<List>(at, key)? else {
        if counted {
            call.reply.null_array()
        } else {
            call.reply.null()
        }
        return Ok(());
    };
    let reply = &mut *call.reply;
    let popped = call.ks.update(at, place, |list: &mut List, touch| {
        let popped = count.min(list.len());
        if counted {
            reply.array(popped);
        }
        for _ in 0..popped {
            list.pop(touch, side, |item| reply.bulk(item));
        }
        popped
    });
    if popped > 0 {
        let op = if side == Side::Front { Op::PopFront } else { Op::PopBack };
        call.log.number(op, key, popped as u64);
        call.wrote(at.slot);
        call.tell_taken(Classes::LIST, taken(side), at, key);
    }
    Ok(())
}

/// LPOP key [count]
pub(crate) fn lpop(call: &mut Call<'_>) -> Outcome {
    pop(call, Side::Front)
}

/// RPOP key [count]
pub(crate) fn rpop(call: &mut Call<'_>) -> Outcome {
    pop(call, Side::Back)
}

/// LLEN key
pub(crate) fn llen(call: &mut Call<'_>) -> Outcome {
    let len = call.read::<List>()?.map_or(0, List::len);
    call.reply.count(len);
    Ok(())
}

/// LRANGE key start stop
pub(crate) fn lrange(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (call.integer(2)?, call.integer(3)?);
    let at = call.at_first();
    let place = call.find_as::<List>(at, call.arg(1))?;
    let Some(list) = place.and_then(|place| call.ks.collection::<List>(at, place)) else {
        call.reply.array(0);
        return Ok(());
    };
    let (start, end) = super::range(start, stop, list.len());
    call.reply.array(end - start);
    list.iter_from(start).take(end - start).for_each(|item| call.reply.bulk(item));
    Ok(())
}

/// LINDEX key index
pub(crate) fn lindex(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<List>(at, call.arg(1))?;
    let Some(list) = place.and_then(|place| call.ks.collection::<List>(at, place)) else {
        call.reply.null();
        return Ok(());
    };
    let index = call.integer(2)?;
    let item = Some(list).and_then(|list| {
        let index = if index < 0 { index + list.len() as i64 } else { index };
        let index = usize::try_from(index).ok().filter(|index| *index < list.len())?;
        list.iter_from(index).next()
    });
    match item {
        Some(item) => call.reply.bulk(item),
        None => call.reply.null(),
    }
    Ok(())
}
