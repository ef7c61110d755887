//! DUMP and RESTORE.

use crate::exec::Call;
use crate::keyspace::At;
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
    /// For how many seconds it was not used.
    idle_s: Option<u64>,
    /// The counter of its uses.
    count: Option<u8>,
}

fn options(call: &Call<'_>) -> Result<Options, Refusal> {
    let mut options = Options { replace: false, absolute: false, idle_s: None, count: None };
    let mut at = 4;
    while at < call.argc() {
        let more = at + 1 < call.argc();
        if call.is_word(at, "REPLACE") {
            options.replace = true;
        } else if call.is_word(at, "ABSTTL") {
            options.absolute = true;
        } else if call.is_word(at, "IDLETIME") && more && options.count.is_none() {
            let refused = Refusal::text("ERR Invalid IDLETIME value, must be >= 0");
            let idle_s = u64::try_from(call.integer(at + 1)?).map_err(|_| refused)?;
            (options.idle_s, at) = (Some(idle_s), at + 1);
        } else if call.is_word(at, "FREQ") && more && options.idle_s.is_none() {
            let refused = Refusal::text("ERR Invalid FREQ value, must be >= 0 and <= 255");
            let count = u8::try_from(call.integer(at + 1)?).map_err(|_| refused)?;
            (options.count, at) = (Some(count), at + 1);
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// Notes what was said of a key's use, if that is what is noted here.
fn note_use(call: &mut Call<'_>, at: At, key: &[u8], options: &Options) {
    let usage = &call.ks.usage;
    let noted = match (usage.often, options.count, options.idle_s) {
        (Some(_), Some(count), _) => Some(usage.of_count(count)),
        (None, _, Some(idle_s)) => Some(usage.of_idle(idle_s)),
        _ => None,
    };
    if let (Some(noted), Some(place)) = (noted, call.ks.find(at, key)) {
        call.ks.put_usage(at, place, noted);
    }
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
            call.tell_generic("del", key);
        }
    } else {
        call.ks.put_loaded(at, key, loaded, expiry);
        note_use(call, at, key, &options);
        call.log.restore(key, expiry, body);
        call.wrote(at.slot);
        call.tell_new(key);
        call.tell_generic("restore", key);
    }
    call.reply.ok();
    Ok(())
}
