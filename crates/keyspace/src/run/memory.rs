//! MEMORY: what keys take, and what is known of the whole.

use super::inspect::{help, unknown, wrong_arity};
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::table::View;

type Outcome = Result<(), Refusal>;

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> ...]. Subcommands are:",
    "DOCTOR",
    "    Tells what is wrong with the memory of this node, if anything.",
    "MALLOC-STATS",
    "    Tells that the allocator has nothing to say.",
    "PURGE",
    "    Accepted: the allocator gives back by itself what is free.",
    "STATS",
    "    Tells what keys and functions take, and what the process has.",
    "USAGE <key> [SAMPLES <count>]",
    "    Tells how many bytes a key and its value take; nothing is estimated from samples.",
    "HELP",
    "    Shows this text.",
];

/// Below this, in bytes, nothing can be said.
const LITTLE: u64 = 5 << 20;
/// A process that has so many percent of what its data take has more than it should.
const WIDE_PERCENT: u64 = 150;

/// MEMORY DOCTOR | MALLOC-STATS | PURGE | STATS | USAGE key [SAMPLES count] | HELP
pub(crate) fn memory(call: &mut Call<'_>) -> Outcome {
    let subcommand = call.arg(1).to_ascii_lowercase();
    let name = match subcommand.as_slice() {
        b"doctor" => "doctor",
        b"help" => "help",
        b"malloc-stats" => "malloc-stats",
        b"purge" => "purge",
        b"stats" => "stats",
        b"usage" => "usage",
        _ => return Err(unknown(call, "MEMORY")),
    };
    let fits = if name == "usage" { call.argc() > 2 } else { call.argc() == 2 };
    if !fits {
        return Err(wrong_arity("memory", name));
    }
    match name {
        "doctor" => doctor(call),
        "help" => return help(call, HELP),
        "malloc-stats" => call.reply.bulk(b"Stats not supported for the current allocator"),
        "purge" => call.reply.ok(),
        "stats" => stats(call),
        _ => return usage(call),
    }
    Ok(())
}

fn doctor(call: &mut Call<'_>) {
    let (used, resident) = (call.ks.used_bytes() as u64, (call.ks.resident_bytes)());
    let wide = resident.saturating_mul(100) > used.saturating_mul(WIDE_PERCENT);
    let text = if used < LITTLE {
        "There is too little data here to say anything about memory."
    } else if wide {
        "The process has much more memory than its data take: clients' buffers, a snapshot that \
         was loaded, or holes that deleted keys have left. INFO memory has the figures; holes are \
         used by what is written next."
    } else {
        "Nothing is wrong with the memory of this node."
    };
    call.reply.verbatim(*b"txt", text.as_bytes());
}

fn stats(call: &mut Call<'_>) {
    let ks = &*call.ks;
    let (used, resident) = (ks.used_bytes() as u64, (ks.resident_bytes)());
    let (keys, functions) = (ks.len() as u64, ks.libraries_bytes() as u64);
    let total = used + functions;
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let reply = &mut *call.reply;
    reply.map(8);
    for (name, number) in [
        ("total.allocated", total),
        ("functions.caches", functions),
        ("keys.count", keys),
        ("keys.bytes-per-key", used.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", used),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    for (name, number) in [
        ("dataset.percentage", ratio(used, total) * 100.0),
        ("fragmentation", ratio(resident, total)),
    ] {
        reply.bulk(name.as_bytes());
        reply.double(number);
    }
    reply.bulk(b"fragmentation.bytes");
    reply.integer(resident as i64 - total as i64);
}

/// MEMORY USAGE key [SAMPLES count]
fn usage(call: &mut Call<'_>) -> Outcome {
    let mut option = 3;
    while option < call.argc() {
        if !call.is_word(option, "SAMPLES") || option + 1 == call.argc() {
            return Err(Refusal::Syntax);
        }
        if call.integer(option + 1)? < 0 {
            return Err(Refusal::Syntax);
        }
        option += 2;
    }
    let key = call.arg(2);
    let at = call.ks.locate(key);
    (call.reads, call.uses) = (false, false);
    match call.find(at, key) {
        Some(place) => {
            let bytes = call.ks.table(at.slot).entry(place).memory_bytes();
            let object = match call.ks.table(at.slot).entry(place).value() {
                View::Bytes(_) => 0,
                View::Object(value) => value.memory_bytes(),
            };
            call.reply.count(bytes + object);
        }
        None => call.reply.null(),
    }
    Ok(())
}
