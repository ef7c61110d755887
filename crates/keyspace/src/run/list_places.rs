//! Commands on places in the middle of a list. All of them pass over the items before that place.

use crate::effects::Op;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::list::{List, Side};

type Outcome = Result<(), Refusal>;

/// LINSERT key BEFORE | AFTER pivot element
pub(crate) fn linsert(call: &mut Call<'_>) -> Outcome {
    let after = call.is_word(2, "AFTER");
    if !after && !call.is_word(2, "BEFORE") {
        return Err(Refusal::Syntax);
    }
    let (at, key, item) = (call.at_first(), call.arg(1), call.arg(4));
    let Some(place) = call.find_as::<List>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let pivot = call.arg(3);
    let list = call.ks.collection::<List>(at, place);
    let found = list.and_then(|list| list.iter_from(0).position(|item| item == pivot));
    let Some(found) = found else {
        call.reply.integer(-1);
        return Ok(());
    };
    let index = found + usize::from(after);
    let len = call.ks.update(at, place, |list: &mut List, touch| {
        list.insert(touch, index, item);
        list.len()
    });
    if index + 1 == len {
        let many = call.log.begin_many(Op::PushBack, key);
        call.log.text(item);
        call.log.end_many(many, 1);
    } else {
        call.log.list_item(Op::ListInsert, key, index, item);
    }
    call.wrote(at.slot);
    call.reply.count(len);
    Ok(())
}

/// LSET key index element
pub(crate) fn lset(call: &mut Call<'_>) -> Outcome {
    let (at, key, item) = (call.at_first(), call.arg(1), call.arg(3));
    let Some(place) = call.find_as::<List>(at, key)? else {
        return Err(Refusal::text("ERR no such key"));
    };
    let index = call.integer(2)?;
    let len = call.ks.collection::<List>(at, place).map_or(0, List::len);
    let index = if index < 0 { index.saturating_add(len as i64) } else { index };
    let index = usize::try_from(index).ok().filter(|index| *index < len);
    let index = index.ok_or(Refusal::text("ERR index out of range"))?;
    call.ks.update(at, place, |list: &mut List, touch| list.set(touch, index, item));
    call.log.list_item(Op::ListSet, key, index, item);
    call.wrote(at.slot);
    call.reply.ok();
    Ok(())
}

/// LREM key count element
pub(crate) fn lrem(call: &mut Call<'_>) -> Outcome {
    let count = call.integer(2)?;
    let (at, key, item) = (call.at_first(), call.arg(1), call.arg(3));
    let Some(place) = call.find_as::<List>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let list = call.ks.collection::<List>(at, place);
    let indexes = list.map_or_else(Vec::new, |list| places_of(list, item, count));
    if !indexes.is_empty() {
        call.ks.update(at, place, |list: &mut List, touch| list.remove_all(touch, &indexes));
        call.log.list_remove(key, &indexes);
        call.wrote(at.slot);
    }
    call.reply.count(indexes.len());
    Ok(())
}

/// Where in the list `item` is: the first `count` places, the last ones if it is negative, all if
/// it is 0.
fn places_of(list: &List, item: &[u8], count: i64) -> Vec<usize> {
    let most = match usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) {
        0 => usize::MAX,
        most => most,
    };
    let same = |(_, other): &(usize, &[u8])| *other == item;
    if count >= 0 {
        return list.iter_from(0).enumerate().filter(same).map(|(at, _)| at).take(most).collect();
    }
    let from_back = list.iter_back().enumerate().filter(same).map(|(at, _)| list.len() - 1 - at);
    let mut places: Vec<usize> = from_back.take(most).collect();
    places.reverse();
    places
}

/// LTRIM key start stop
pub(crate) fn ltrim(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (call.integer(2)?, call.integer(3)?);
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<List>(at, key)? else {
        call.reply.ok();
        return Ok(());
    };
    let len = call.ks.collection::<List>(at, place).map_or(0, List::len);
    let (start, end) = super::range(start, stop, len);
    if start == end {
        call.delete(at, key, place);
    } else {
        let (front, back) = (start, len - end);
        call.ks.update(at, place, |list: &mut List, touch| {
            for (side, count) in [(Side::Front, front), (Side::Back, back)] {
                for _ in 0..count {
                    list.pop(touch, side, |_| {});
                }
            }
        });
        for (op, count) in [(Op::PopFront, front), (Op::PopBack, back)] {
            if count > 0 {
                call.log.number(op, key, count as u64);
            }
        }
        call.wrote_if(front + back > 0, at.slot);
    }
    call.reply.ok();
    Ok(())
}

/// What LPOS looks for.
struct Wanted {
    /// From the back if negative; the first is 1.
    rank: i64,
    /// None for the first alone, 0 for all.
    count: Option<usize>,
    /// How many items are compared at most; 0 for all.
    compared: usize,
}

impl Wanted {
    fn parse(call: &Call<'_>) -> Result<Self, Refusal> {
        const NO_RANK: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from \
                               the second ... or use negative to start from the end of the list";
        const NO_SUCH_RANK: &str = "ERR value is out of range, value must between \
                                    -9223372036854775807 and 9223372036854775807";
        let mut wanted = Self { rank: 1, count: None, compared: 0 };
        let mut at = 3;
        while at < call.argc() {
            if at + 1 == call.argc() {
                return Err(Refusal::Syntax);
            }
            if call.is_word(at, "RANK") {
                wanted.rank = call.integer(at + 1)?;
                // Ranks count from both ends alike, as in Redis 7.2.
                if wanted.rank == i64::MIN {
                    return Err(Refusal::text(NO_SUCH_RANK));
                }
                if wanted.rank == 0 {
                    return Err(Refusal::text(NO_RANK));
                }
            } else if call.is_word(at, "COUNT") {
                wanted.count = Some(call.at_least(at + 1, 0, "ERR COUNT can't be negative")?);
            } else if call.is_word(at, "MAXLEN") {
                wanted.compared = call.at_least(at + 1, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(Refusal::Syntax);
            }
            at += 2;
        }
        Ok(wanted)
    }

    fn places(&self, list: &List, item: &[u8]) -> Vec<usize> {
        let all_if_none = |count: usize| if count == 0 { usize::MAX } else { count };
        let count = all_if_none(self.count.unwrap_or(1));
        let compared = all_if_none(self.compared);
        let skipped = usize::try_from(self.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let same = |(_, other): &(usize, &[u8])| *other == item;
        if self.rank > 0 {
            let found = list.iter_from(0).enumerate().take(compared).filter(same);
            return found.skip(skipped).take(count).map(|(at, _)| at).collect();
        }
        let found = list.iter_back().enumerate().take(compared).filter(same);
        found.skip(skipped).take(count).map(|(at, _)| list.len() - 1 - at).collect()
    }
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub(crate) fn lpos(call: &mut Call<'_>) -> Outcome {
    let wanted = Wanted::parse(call)?;
    let item = call.arg(2);
    let places = call.read::<List>()?.map_or_else(Vec::new, |list| wanted.places(list, item));
    if wanted.count.is_some() {
        call.reply.array(places.len());
        places.iter().for_each(|at| call.reply.count(*at));
    } else {
        match places.first() {
            Some(at) => call.reply.count(*at),
            None => call.reply.null(),
        }
    }
    Ok(())
}
