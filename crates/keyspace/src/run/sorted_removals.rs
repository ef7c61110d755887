//! Commands that take members out of sorted sets by their place: O(log n) for each of them.

use super::sorted_ranges::{score_end, score_ranks, text_end, text_ranks};
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::sorted::Sorted;
use cairn_resp::Version;
use std::ops::Range;

type Outcome = Result<(), Refusal>;

/// So many members are logged by name, so that a copy that differs notices; more by their ranks.
const NAMED_MAX: usize = 128;

/// Removes the members with ranks in `first..end` and logs it, which is this event; how many they
/// are.
fn remove_ranks(
    call: &mut Call<'_>,
    (at, key, place): (At, &[u8], Place),
    (first, end): (usize, usize),
    event: &'static str,
) -> usize {
    let count = end - first;
    let Some(sorted) = call.ks.collection::<Sorted>(at, place).filter(|_| count > 0) else {
        return 0;
    };
    if count == sorted.len() {
        call.delete(at, key, place);
        call.tell_taken(Classes::SORTED, event, at, key);
        return count;
    }
    if count <= NAMED_MAX {
        let log = &mut *call.log;
        let many = log.begin_many(Op::SortedRemove, key);
        sorted.for_each(first, count, |_, member| log.text(member));
        log.end_many(many, count);
    } else {
        call.log.remove_ranks(key, first, count);
    }
    call.ks.update(at, place, |it: &mut Sorted, touch| it.remove_ranks(touch, first, count));
    call.wrote(at.slot);
    call.tell(Classes::SORTED, event, key);
    count
}

fn remove_range(
    call: &mut Call<'_>,
    event: &'static str,
    ranks: impl FnOnce(&Sorted) -> (usize, usize),
) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find_as::<Sorted>(at, key)?;
    let sorted = place.and_then(|place| call.ks.collection::<Sorted>(at, place));
    let (Some(place), Some(ranks)) = (place, sorted.map(ranks)) else {
        call.reply.integer(0);
        return Ok(());
    };
    let removed = remove_ranks(call, (at, key, place), ranks, event);
    call.reply.count(removed);
    Ok(())
}

/// ZREMRANGEBYRANK key start stop
pub(crate) fn zremrangebyrank(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (call.integer(2)?, call.integer(3)?);
    remove_range(call, "zremrangebyrank", |sorted| super::range(start, stop, sorted.len()))
}

/// ZREMRANGEBYSCORE key min max
pub(crate) fn zremrangebyscore(call: &mut Call<'_>) -> Outcome {
    let (min, max) = (score_end(call.arg(2))?, score_end(call.arg(3))?);
    remove_range(call, "zremrangebyscore", |sorted| score_ranks(sorted, &min, &max))
}

/// ZREMRANGEBYLEX key min max
pub(crate) fn zremrangebylex(call: &mut Call<'_>) -> Outcome {
    let (min, max) = (text_end(call.arg(2))?, text_end(call.arg(3))?);
    remove_range(call, "zremrangebylex", |sorted| text_ranks(sorted, &min, &max))
}

/// Which end members are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Lowest,
    Highest,
}

impl From {
    fn event(self) -> &'static str {
        if self == Self::Lowest { "zpopmin" } else { "zpopmax" }
    }
}

/// Takes up to `count` members and replies with them, in pairs or flat; the head of the array is
/// written here.
fn pop(
    call: &mut Call<'_>,
    (at, key, place): (At, &[u8], Place),
    from: From,
    count: usize,
    pairs: bool,
) {
    let Some(sorted) = call.ks.collection::<Sorted>(at, place) else { return };
    let (len, reply) = (sorted.len(), &mut *call.reply);
    let count = count.min(len);
    reply.array(if pairs { count } else { count * 2 });
    let visit = |score: f64, member: &[u8]| {
        if pairs {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(score);
    };
    let ranks = match from {
        From::Lowest => {
            sorted.for_each(0, count, visit);
            (0, count)
        }
        From::Highest => {
            sorted.for_each_back(0, count, visit);
            (len - count, len)
        }
    };
    remove_ranks(call, (at, key, place), ranks, from.event());
}

fn pop_one_key(call: &mut Call<'_>, from: From) -> Outcome {
    let count = match call.argc() {
        2 => None,
        3 => {
            let refused = "ERR value is out of range, must be positive";
            Some(call.at_least(2, 0, refused)?)
        }
        _ => return Err(Refusal::Syntax),
    };
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find_as::<Sorted>(at, key)?;
    let Some(place) = place.filter(|_| count != Some(0)) else {
        call.reply.array(0);
        return Ok(());
    };
    let pairs = count.is_some() && call.reply.version() == Version::Resp3;
    pop(call, (at, key, place), from, count.unwrap_or(1), pairs);
    Ok(())
}

/// ZPOPMIN key [count]
pub(crate) fn zpopmin(call: &mut Call<'_>) -> Outcome {
    pop_one_key(call, From::Lowest)
}

/// ZPOPMAX key [count]
pub(crate) fn zpopmax(call: &mut Call<'_>) -> Outcome {
    pop_one_key(call, From::Highest)
}

/// Takes a member from the first sorted set among the keys that has any, and replies with its key,
/// itself and its score; whether there was one.
pub(super) fn pop_one_of(
    call: &mut Call<'_>,
    keys: Range<usize>,
    from: From,
) -> Result<bool, Refusal> {
    for index in keys {
        let key = call.arg(index);
        let at = call.ks.locate(key);
        let Some(place) = call.find_waited::<Sorted>(at, key)? else { continue };
        let Some(sorted) = call.ks.collection::<Sorted>(at, place) else { continue };
        let (len, reply) = (sorted.len(), &mut *call.reply);
        reply.array(3);
        reply.bulk(key);
        let visit = |score: f64, member: &[u8]| {
            reply.bulk(member);
            reply.double(score);
        };
        let ranks = match from {
            From::Lowest => {
                sorted.for_each(0, 1, visit);
                (0, 1)
            }
            From::Highest => {
                sorted.for_each_back(0, 1, visit);
                (len - 1, len)
            }
        };
        remove_ranks(call, (at, key, place), ranks, from.event());
        return Ok(true);
    }
    Ok(false)
}

/// What ZMPOP and BZMPOP ask for.
pub(super) struct Many {
    keys: Range<usize>,
    from: From,
    count: usize,
}

impl Many {
    /// Reads `numkeys key [key ...] MIN | MAX [COUNT count]` from argument `first` on.
    pub(super) fn read(call: &Call<'_>, first: usize) -> Result<Self, Refusal> {
        let keys = call.at_least(first, 1, "ERR numkeys should be greater than 0")?;
        let side = keys.saturating_add(first + 1);
        if side >= call.argc() {
            return Err(Refusal::Syntax);
        }
        let from = match call.arg(side).to_ascii_uppercase().as_slice() {
            b"MIN" => From::Lowest,
            b"MAX" => From::Highest,
            _ => return Err(Refusal::Syntax),
        };
        let count = match call.argc() - side {
            1 => 1,
            3.. if call.arg(side + 1).eq_ignore_ascii_case(b"COUNT") => {
                let count = call.at_least(side + 2, 1, "ERR count should be greater than 0")?;
                if call.argc() > side + 3 {
                    return Err(Refusal::Syntax);
                }
                count
            }
            _ => return Err(Refusal::Syntax),
        };
        Ok(Self { keys: first + 1..side, from, count })
    }

    /// Takes members from the first sorted set that has any, and replies; whether there was one.
    pub(super) fn pop(self, call: &mut Call<'_>) -> Result<bool, Refusal> {
        for index in self.keys {
            let key = call.arg(index);
            let at = call.ks.locate(key);
            if let Some(place) = call.find_waited::<Sorted>(at, key)? {
                call.reply.array(2);
                call.reply.bulk(key);
                pop(call, (at, key, place), self.from, self.count, true);
                return Ok(true);
            }
        }
        call.reply.null_array();
        Ok(false)
    }
}

/// ZMPOP numkeys key [key ...] MIN | MAX [COUNT count]
pub(crate) fn zmpop(call: &mut Call<'_>) -> Outcome {
    Many::read(call, 1)?.pop(call).map(drop)
}
