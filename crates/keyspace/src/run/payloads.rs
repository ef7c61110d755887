//! DUMP and RESTORE.

use crate::exec::Call;
use crate::payload::{self, Bad};
use crate::refusal::Refusal;

type Outcome = Result<(), Refusal>;

/// DUMP key
///
/// Takes time by the size of the value.
pub(crate) fn dump(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    match call.find(at, call.arg(1)) {
        Some(place) => {
            let payload = payload::dump(&call.ks.table(at.slot).entry(place).value());
            call.reply.bulk(&payload);
        }
        None => call.reply.null(),
    }
    Ok(())
}

struct Options {
    replace: bool,
    absolute: bool,
}

fn options(call: &Call<'_>) -> Result<Options, Refusal> {
    let mut options = Options { replace: false, absolute: false };
    // How often or when a key was used is not kept: that it is said is taken.
    let (mut idle, mut often, mut at) = (false, false, 4);
    while at < call.argc() {
        let more = at + 1 < call.argc();
        if call.is_word(at, "REPLACE") {
            options.replace = true;
        } else if call.is_word(at, "ABSTTL") {
            options.absolute = true;
        } else if call.is_word(at, "IDLETIME") && more && !often {
            if call.integer(at + 1)? < 0 {
                return Err(Refusal::text("ERR Invalid IDLETIME value, must be >= 0"));
            }
            (idle, at) = (true, at + 1);
        } else if call.is_word(at, "FREQ") && more && !idle {
            if !(0..=255).contains(&call.integer(at + 1)?) {
                return Err(Refusal::text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
            (often, at) = (true, at + 1);
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
///
/// Takes time by the size of the value.
pub(crate) fn restore(call: &mut Call<'_>) -> Outcome {
    let options = options(call)?;
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    if place.is_some() && !options.replace {
        return Err(Refusal::text("BUSYKEY Target key name already exists."));
    }
    let negative = Refusal::text("ERR Invalid TTL value, must be >= 0");
    let ttl = u64::try_from(call.integer(2)?).map_err(|_| negative)?;
    let wrong = Refusal::text("ERR DUMP payload version or checksum are wrong");
    let body = payload::body(call.arg(3)).ok_or(wrong)?;
    let loaded = payload::load(body, call.ctx.value_bytes_max, call.ks.hasher());
    let loaded = loaded.map_err(|bad| match bad {
        Bad::Malformed => Refusal::text("ERR Bad data format"),
        Bad::Large => Refusal::text("ERR the result is larger than one command may store"),
    })?;
    let expiry = match (ttl, options.absolute) {
        (0, _) => 0,
        (_, true) => ttl,
        (_, false) => ttl.saturating_add(call.ctx.now_ms),
    };
    if expiry > 0 && expiry <= call.ctx.now_ms {
        if let Some(place) = place {
            call.delete(at, key, place);
        }
    } else {
        call.ks.put_loaded(at, key, loaded, expiry);
        call.log.restore(key, expiry, body);
        call.wrote(at.slot);
    }
    call.reply.ok();
    Ok(())
}
