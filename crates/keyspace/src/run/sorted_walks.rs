//! Commands that show members of sorted sets in no order: some at random, or all in pieces.

use super::draws::{Draw, draw_of};
use super::scan::scan_items;
use crate::dice::{Dice, sample};
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::sorted::Sorted;
use cairn_resp::Version;
use cairn_resp::number::push_f64;

type Outcome = Result<(), Refusal>;

/// The ranks that were drawn among `len`.
fn ranks(dice: &mut Dice, len: usize, draw: Draw) -> Vec<usize> {
    match draw {
        Draw::Any(count) => (0..count).map(|_| dice.below(len)).collect(),
        Draw::Different(count) => sample((count, len), dice, 0..len, |dice| Some(dice.below(len))),
    }
}

/// ZRANDMEMBER key [count [WITHSCORES]]; O(log n) for each member that is given.
pub(crate) fn zrandmember(call: &mut Call<'_>) -> Outcome {
    let count = if call.argc() > 2 { Some(call.mirrored(2)?) } else { None };
    let with_scores = match call.argc() {
        2 | 3 => false,
        4 if call.arg(3).eq_ignore_ascii_case(b"WITHSCORES") => true,
        _ => return Err(Refusal::Syntax),
    };
    let draw = draw_of(count.unwrap_or(1))?;
    if with_scores && count.is_some_and(|count| count > i64::MAX / 2) {
        return Err(Refusal::text("ERR value is out of range"));
    }
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let len = place.and_then(|place| call.ks.collection::<Sorted>(at, place)).map(Sorted::len);
    let (Some(place), Some(len)) = (place, len) else {
        match count {
            None => call.reply.null(),
            Some(_) => call.reply.array(0),
        }
        return Ok(());
    };
    let mut dice = Dice::new(call.ks.draw());
    let ranks = ranks(&mut dice, len, draw);
    let pairs = with_scores && call.reply.version() == Version::Resp3;
    if count.is_some() {
        call.reply.array(ranks.len() * if with_scores && !pairs { 2 } else { 1 });
    }
    let (ks, reply) = (&*call.ks, &mut *call.reply);
    let Some(sorted) = ks.collection::<Sorted>(at, place) else { return Ok(()) };
    for rank in ranks {
        sorted.for_each(rank, 1, |score, member| {
            if pairs {
                reply.array(2);
            }
            reply.bulk(member);
            if with_scores {
                reply.double(score);
            }
        });
    }
    Ok(())
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]
pub(crate) fn zscan(call: &mut Call<'_>) -> Outcome {
    scan_items(call, Some("NOSCORES"), |sorted: &Sorted, from, count, visit| {
        sorted.scan(from, count, |score, member| {
            let mut text = Vec::new();
            push_f64(&mut text, score);
            visit(&[member, &text]);
        })
    })
}
