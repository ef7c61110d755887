//! Commands on expiry times.

use crate::effects::Op;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::{Refusal, shown};
use crate::table::Place;
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

/// The absolute time, in milliseconds, that a unit and a positive amount mean.
pub(crate) fn deadline_of(now_ms: u64, unit: &[u8], amount: i64) -> Result<u64, Refusal> {
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let amount = Some(amount).filter(|amount| *amount > 0);
    let at = match unit {
        b"EX" => amount.and_then(|s| s.checked_mul(1000)).and_then(|ms| ms.checked_add(now)),
        b"PX" => amount.and_then(|ms| ms.checked_add(now)),
        b"EXAT" => amount.and_then(|s| s.checked_mul(1000)),
        b"PXAT" => amount,
        _ => return Err(Refusal::Syntax),
    };
    at.map(|at| at as u64).ok_or(Refusal::InvalidExpire)
}

/// The absolute time that the option at `unit` and the argument at `amount` mean.
pub(crate) fn deadline(call: &Call<'_>, unit: usize, amount: usize) -> Result<u64, Refusal> {
    let unit = call.arg(unit).to_ascii_uppercase();
    if !matches!(unit.as_slice(), b"EX" | b"PX" | b"EXAT" | b"PXAT") {
        return Err(Refusal::Syntax);
    }
    deadline_of(call.ctx.now_ms, &unit, call.integer(amount)?)
}

/// Gives a live key another expiry, or none, and logs it; one in the past deletes the key.
pub(crate) fn change(call: &mut Call<'_>, at: At, key: &[u8], place: Place, expiry: Option<u64>) {
    match expiry {
        Some(expiry) if expiry <= call.ctx.now_ms => {
            call.delete(at, key, place);
            return call.tell_generic("del", key);
        }
        Some(expiry) => {
            call.ks.put_expiry(at, place, Some(expiry));
            call.log.number(Op::ExpireAt, key, expiry);
        }
        None => {
            if call.ks.expiry(at, place).is_none() {
                return;
            }
            call.ks.put_expiry(at, place, None);
            call.log.texts(Op::Persist, &[key]);
        }
    }
    call.wrote(at.slot);
    call.tell_generic(if expiry.is_some() { "expire" } else { "persist" }, key);
}

#[derive(Default)]
struct Conditions {
    absent: bool,
    present: bool,
    later: bool,
    earlier: bool,
}

fn conditions(call: &Call<'_>) -> Result<Conditions, Refusal> {
    let mut found = Conditions::default();
    for option in call.args.from(3).iter() {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" => found.absent = true,
            b"XX" => found.present = true,
            b"GT" => found.later = true,
            b"LT" => found.earlier = true,
            _ => {
                let option = shown(option, usize::MAX);
                return Err(Refusal::Text(Cow::Owned(format!("ERR Unsupported option {option}"))));
            }
        }
    }
    if found.absent && (found.present || found.later || found.earlier) {
        return Err(Refusal::text(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if found.later && found.earlier {
        return Err(Refusal::text("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(found)
}

fn expire_generic(call: &mut Call<'_>, unit_ms: i64, absolute: bool) -> Outcome {
    let conditions = conditions(call)?;
    let base = if absolute { 0 } else { i64::try_from(call.ctx.now_ms).unwrap_or(i64::MAX) };
    let wanted = call.integer(2)?.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base));
    let wanted = wanted.ok_or(Refusal::InvalidExpire)?;
    // A time before 1970 is as much in the past as any.
    let wanted = u64::try_from(wanted).unwrap_or(0);
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find(at, key) else {
        call.reply.integer(0);
        return Ok(());
    };
    let current = call.ks.expiry(at, place);
    let refused = (conditions.absent && current.is_some())
        || (conditions.present && current.is_none())
        || (conditions.later && current.is_none_or(|current| wanted <= current))
        || (conditions.earlier && current.is_some_and(|current| wanted >= current));
    if !refused {
        change(call, at, key, place, Some(wanted));
    }
    call.reply.integer(i64::from(!refused));
    Ok(())
}

/// EXPIRE key seconds [NX | XX | GT | LT]
pub(crate) fn expire(call: &mut Call<'_>) -> Outcome {
    expire_generic(call, 1000, false)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub(crate) fn pexpire(call: &mut Call<'_>) -> Outcome {
    expire_generic(call, 1, false)
}

/// EXPIREAT key seconds [NX | XX | GT | LT]
pub(crate) fn expireat(call: &mut Call<'_>) -> Outcome {
    expire_generic(call, 1000, true)
}

/// PEXPIREAT key milliseconds [NX | XX | GT | LT]
pub(crate) fn pexpireat(call: &mut Call<'_>) -> Outcome {
    expire_generic(call, 1, true)
}

/// PERSIST key
pub(crate) fn persist(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let had = place.filter(|place| call.ks.expiry(at, *place).is_some());
    if let Some(place) = had {
        change(call, at, key, place, None);
    }
    call.reply.integer(i64::from(had.is_some()));
    Ok(())
}

/// -2 without a key, -1 without an expiry, else what `show` makes of the expiry.
fn show(call: &mut Call<'_>, show: impl FnOnce(u64, u64) -> u64) -> Outcome {
    let at = call.at_first();
    let now = call.ctx.now_ms;
    call.uses = false;
    let value = match call.find(at, call.arg(1)) {
        None => -2,
        Some(place) => match call.ks.expiry(at, place) {
            None => -1,
            Some(expiry) => i64::try_from(show(expiry, now)).unwrap_or(i64::MAX),
        },
    };
    call.reply.integer(value);
    Ok(())
}

/// TTL key
pub(crate) fn ttl(call: &mut Call<'_>) -> Outcome {
    show(call, |expiry, now| (expiry.saturating_sub(now) + 500) / 1000)
}

/// PTTL key
pub(crate) fn pttl(call: &mut Call<'_>) -> Outcome {
    show(call, u64::saturating_sub)
}

/// EXPIRETIME key
pub(crate) fn expiretime(call: &mut Call<'_>) -> Outcome {
    show(call, |expiry, _| expiry.saturating_add(500) / 1000)
}

/// PEXPIRETIME key
pub(crate) fn pexpiretime(call: &mut Call<'_>) -> Outcome {
    show(call, |expiry, _| expiry)
}
