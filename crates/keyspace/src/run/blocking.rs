//! Commands that wait: each takes what is there as its kind without waiting does, or says how long
//! it may wait for more. Who waits, and in which order, is the caller's business.

use super::list_moves::{self, Many};
use super::sorted_removals::{self, From, pop_one_of};
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::list::{List, Side};
use cairn_logic::time::Duration;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

/// Argument `index` as a span in seconds; none: as long as it takes.
fn timeout(call: &Call<'_>, index: usize) -> Result<Option<Duration>, Refusal> {
    let text = |text| Err(Refusal::text(text));
    let Some(seconds) = parse_f64(call.arg(index)) else {
        return text("ERR timeout is not a float or out of range");
    };
    let ms = (seconds * 1000.0).ceil();
    if ms < 0.0 {
        return text("ERR timeout is negative");
    }
    // What no number holds becomes the greatest, which is out of range as well.
    let ms = ms as u64;
    if ms > (i64::MAX as u64).saturating_sub(call.ctx.now_ms) {
        return text("ERR timeout is out of range");
    }
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

fn pop_any(call: &mut Call<'_>, side: Side) -> Outcome {
    let last = call.argc() - 1;
    let timeout = timeout(call, last)?;
    for index in 1..last {
        let key = call.arg(index);
        let at = call.ks.locate(key);
        let Some(place) = call.find_waited::<List>(at, key)? else { continue };
        let item = list_moves::take(call, (at, key, place), side, 1).pop();
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.bulk(&item.unwrap_or_default());
        return Ok(());
    }
    call.reply.null_array();
    call.wait(timeout);
    Ok(())
}

/// BLPOP key [key ...] timeout
pub(crate) fn blpop(call: &mut Call<'_>) -> Outcome {
    pop_any(call, Side::Front)
}

/// BRPOP key [key ...] timeout
pub(crate) fn brpop(call: &mut Call<'_>) -> Outcome {
    pop_any(call, Side::Back)
}

/// BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout
pub(crate) fn blmove(call: &mut Call<'_>) -> Outcome {
    let (from, to) = (list_moves::side(call, 3)?, list_moves::side(call, 4)?);
    let timeout = timeout(call, 5)?;
    move_or_wait(call, (from, to), timeout)
}

/// BRPOPLPUSH source destination timeout
pub(crate) fn brpoplpush(call: &mut Call<'_>) -> Outcome {
    let timeout = timeout(call, 3)?;
    move_or_wait(call, (Side::Back, Side::Front), timeout)
}

fn move_or_wait(
    call: &mut Call<'_>,
    (from, to): (Side, Side),
    timeout: Option<Duration>,
) -> Outcome {
    if !list_moves::move_item(call, from, to)? {
        call.wait(timeout);
    }
    Ok(())
}

/// BLMPOP timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]
pub(crate) fn blmpop(call: &mut Call<'_>) -> Outcome {
    let timeout = timeout(call, 1)?;
    let many = Many::read(call, 2)?;
    if !many.pop(call)? {
        call.wait(timeout);
    }
    Ok(())
}

fn pop_any_sorted(call: &mut Call<'_>, from: From) -> Outcome {
    let last = call.argc() - 1;
    let timeout = timeout(call, last)?;
    if !pop_one_of(call, 1..last, from)? {
        call.reply.null_array();
        call.wait(timeout);
    }
    Ok(())
}

/// BZPOPMIN key [key ...] timeout
pub(crate) fn bzpopmin(call: &mut Call<'_>) -> Outcome {
    pop_any_sorted(call, From::Lowest)
}

/// BZPOPMAX key [key ...] timeout
pub(crate) fn bzpopmax(call: &mut Call<'_>) -> Outcome {
    pop_any_sorted(call, From::Highest)
}

/// BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count]
pub(crate) fn bzmpop(call: &mut Call<'_>) -> Outcome {
    let timeout = timeout(call, 1)?;
    let many = sorted_removals::Many::read(call, 2)?;
    if !many.pop(call)? {
        call.wait(timeout);
    }
    Ok(())
}
