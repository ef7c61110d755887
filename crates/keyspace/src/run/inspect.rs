//! Commands that tell how a value is kept: OBJECT and MEMORY.

use crate::exec::Call;
use crate::refusal::{Refusal, shown};
use crate::table::View;
use crate::value::Value;
use crate::value::hash::Hash;
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use cairn_resp::number::{I64_TEXT_MAX, format_i64, parse_i64};
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

/// Strings up to this many bytes have the encoding "embstr", as clients expect it.
const EMBEDDED_MAX: usize = 44;

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> ...]. Subcommands are:",
    "ENCODING <key>",
    "    Tells how the value of a key is kept, in the words of Redis.",
    "FREQ <key>",
    "    Tells how often a key is used, as a counter of 8 bits, under an LFU maxmemory-policy.",
    "IDLETIME <key>",
    "    Tells for how many seconds a key was not used. Unless maxmemory-policy is an LRU one,",
    "    uses are noted from the first time on that somebody asks for it.",
    "REFCOUNT <key>",
    "    Tells how many share the value of a key: always 1.",
    "HELP",
    "    Shows this text.",
];

pub(super) fn help(call: &mut Call<'_>, lines: &[&str]) -> Outcome {
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

pub(super) fn wrong_arity(container: &str, subcommand: &str) -> Refusal {
    let text = format!("ERR wrong number of arguments for '{container}|{subcommand}' command");
    Refusal::Text(Cow::Owned(text))
}

pub(super) fn unknown(call: &Call<'_>, container: &str) -> Refusal {
    const SHOWN_MAX: usize = 128;
    let given = shown(call.arg(1), SHOWN_MAX);
    Refusal::Text(Cow::Owned(format!("ERR unknown subcommand '{given}'. Try {container} HELP.")))
}

/// Whether this is a number as INCR would write it.
fn is_integer(text: &[u8]) -> bool {
    let mut room = [0; I64_TEXT_MAX];
    parse_i64(text).is_some_and(|number| format_i64(number, &mut room) == text)
}

/// The encoding of a value in the words of Redis: packed collections are what it calls listpacks.
fn encoding(value: &View<'_, Value>) -> &'static str {
    let text = match value {
        View::Bytes(text) => *text,
        View::Object(Value::Text(text)) => text,
        View::Object(Value::List(_)) => return "quicklist",
        View::Object(Value::Stream(_)) => return "stream",
        View::Object(Value::Hash(Hash::Small(_)) | Value::Set(Set::Small(_))) => return "listpack",
        View::Object(Value::Sorted(Sorted::Small(_))) => return "listpack",
        View::Object(Value::Hash(Hash::Large(_)) | Value::Set(Set::Large(_))) => return "hashtable",
        View::Object(Value::Sorted(Sorted::Large(_))) => return "skiplist",
    };
    match text.len() {
        _ if is_integer(text) => "int",
        ..=EMBEDDED_MAX => "embstr",
        _ => "raw",
    }
}

/// OBJECT ENCODING | FREQ | IDLETIME | REFCOUNT key, OBJECT HELP
pub(crate) fn object(call: &mut Call<'_>) -> Outcome {
    const NOT_LFU: &str = "ERR An LFU maxmemory policy is not selected, access frequency not \
                           tracked. Please note that when switching between policies at runtime \
                           LRU and LFU data will take some time to adjust.";
    const NOT_LRU: &str = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please \
                           note that when switching between policies at runtime LRU and LFU data \
                           will take some time to adjust.";
    let subcommand = call.arg(1).to_ascii_lowercase();
    let name = match subcommand.as_slice() {
        b"help" if call.argc() == 2 => return help(call, OBJECT_HELP),
        b"help" => return Err(wrong_arity("object", "help")),
        b"encoding" => "encoding",
        b"freq" => "freq",
        b"idletime" => "idletime",
        b"refcount" => "refcount",
        _ => return Err(unknown(call, "OBJECT")),
    };
    if call.argc() != 3 {
        return Err(wrong_arity("object", name));
    }
    let key = call.arg(2);
    let at = call.ks.locate(key);
    (call.reads, call.uses) = (false, false);
    let Some(place) = call.find(at, key) else {
        call.reply.null();
        return Ok(());
    };
    match name {
        "encoding" => {
            let encoding = encoding(&call.ks.table(at.slot).entry(place).value());
            call.reply.bulk(encoding.as_bytes());
        }
        "refcount" => call.reply.integer(1),
        "freq" => {
            let often = call.ks.usage.often.ok_or(Refusal::text(NOT_LFU))?;
            let count = call.ks.usage.count(call.ks.usage_of(at, place), often);
            call.reply.integer(i64::from(count));
        }
        _ if call.ks.usage.often.is_some() => return Err(Refusal::text(NOT_LRU)),
        _ => {
            call.ks.note_uses();
            let idle_s = call.ks.usage.idle_s(call.ks.usage_of(at, place));
            call.reply.integer(i64::from(idle_s));
        }
    }
    Ok(())
}
