//! Commands that take items from one of several lists, or move them to another.

use super::lists::{pushed, taken};
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::list::{List, Side};
use std::ops::Range;

type Outcome = Result<(), Refusal>;

/// The side that argument `index` names.
pub(super) fn side(call: &Call<'_>, index: usize) -> Result<Side, Refusal> {
    if call.is_word(index, "LEFT") {
        Ok(Side::Front)
    } else if call.is_word(index, "RIGHT") {
        Ok(Side::Back)
    } else {
        Err(Refusal::Syntax)
    }
}

/// Takes items from a list that has as many, and logs it.
pub(super) fn take(
    call: &mut Call<'_>,
    (at, key, place): (At, &[u8], Place),
    side: Side,
    count: usize,
) -> Vec<Vec<u8>> {
    let mut items = Vec::with_capacity(count);
    call.ks.update(at, place, |list: &mut List, touch| {
        for _ in 0..count {
            list.pop(touch, side, |item| items.push(item.to_vec()));
        }
    });
    let op = if side == Side::Front { Op::PopFront } else { Op::PopBack };
    call.log.number(op, key, count as u64);
    call.wrote(at.slot);
    items
}

fn push(call: &mut Call<'_>, key: &[u8], side: Side, item: &[u8]) -> Outcome {
    let at = call.ks.locate(key);
    let place = call.open::<List>(at, key)?;
    call.ks.update(at, place, |list: &mut List, touch| list.push(touch, side, item));
    let op = if side == Side::Front { Op::PushFront } else { Op::PushBack };
    let many = call.log.begin_many(op, key);
    call.log.text(item);
    call.log.end_many(many, 1);
    call.wrote(at.slot);
    Ok(())
}

/// Moves an item and replies with it, or with nothing; whether there was one.
pub(super) fn move_item(call: &mut Call<'_>, from: Side, to: Side) -> Result<bool, Refusal> {
    let (source, target) = (call.arg(1), call.arg(2));
    let at = call.ks.locate(source);
    if call.find_waited::<List>(at, source)?.is_none() {
        call.reply.null();
        return Ok(false);
    }
    let to_at = call.ks.locate(target);
    call.find_as::<List>(to_at, target)?;
    // The target may have expired just now, and be of the same table.
    let Some(place) = call.find_as::<List>(at, source)? else {
        call.reply.null();
        return Ok(false);
    };
    let len = call.ks.collection::<List>(at, place).map_or(0, List::len);
    // Its only item stays where it is, and its key must not lose its expiry.
    let stays = source == target && (len == 1 || from == to);
    let item = if stays {
        let list = call.ks.collection::<List>(at, place);
        let item = list.and_then(|list| match from {
            Side::Front => list.iter_from(0).next(),
            Side::Back => list.iter_back().next(),
        });
        item.map(<[u8]>::to_vec)
    } else {
        take(call, (at, source, place), from, 1).pop()
    };
    let item = item.unwrap_or_default();
    if !stays {
        push(call, target, to, &item)?;
    }
    call.tell(Classes::LIST, pushed(to), target);
    call.tell_taken(Classes::LIST, taken(from), at, source);
    call.reply.bulk(&item);
    Ok(true)
}

/// LMOVE source destination LEFT | RIGHT LEFT | RIGHT
pub(crate) fn lmove(call: &mut Call<'_>) -> Outcome {
    let (from, to) = (side(call, 3)?, side(call, 4)?);
    move_item(call, from, to).map(drop)
}

/// RPOPLPUSH source destination
pub(crate) fn rpoplpush(call: &mut Call<'_>) -> Outcome {
    move_item(call, Side::Back, Side::Front).map(drop)
}

/// What LMPOP and BLMPOP ask for.
pub(super) struct Many {
    keys: Range<usize>,
    side: Side,
    count: usize,
}

impl Many {
    /// Reads `numkeys key [key ...] LEFT | RIGHT [COUNT count]` from argument `first` on.
    pub(super) fn read(call: &Call<'_>, first: usize) -> Result<Self, Refusal> {
        let keys = call.at_least(first, 1, "ERR numkeys should be greater than 0")?;
        let from = first + 1;
        let end = keys.checked_add(from).filter(|end| *end < call.argc());
        let end = end.ok_or(Refusal::Syntax)?;
        let side = side(call, end)?;
        let mut count = None;
        let mut option = end + 1;
        while option < call.argc() {
            let named = count.is_none() && call.is_word(option, "COUNT");
            if !named || option + 1 >= call.argc() {
                return Err(Refusal::Syntax);
            }
            count = Some(call.at_least(option + 1, 1, "ERR count should be greater than 0")?);
            option += 2;
        }
        Ok(Self { keys: from..end, side, count: count.unwrap_or(1) })
    }

    /// Takes items from the first list that has any, and replies; whether there was one.
    pub(super) fn pop(self, call: &mut Call<'_>) -> Result<bool, Refusal> {
        for index in self.keys {
            let key = call.arg(index);
            let at = call.ks.locate(key);
            let Some(place) = call.find_waited::<List>(at, key)? else { continue };
            let len = call.ks.collection::<List>(at, place).map_or(0, List::len);
            let items = take(call, (at, key, place), self.side, self.count.min(len));
            call.tell_taken(Classes::LIST, taken(self.side), at, key);
            call.reply.array(2);
            call.reply.bulk(key);
            call.reply.array(items.len());
            items.iter().for_each(|item| call.reply.bulk(item));
            return Ok(true);
        }
        call.reply.null_array();
        Ok(false)
    }
}

/// LMPOP numkeys key [key ...] LEFT | RIGHT [COUNT count]
pub(crate) fn lmpop(call: &mut Call<'_>) -> Outcome {
    Many::read(call, 1)?.pop(call).map(drop)
}
