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
    "    Refused: how often a key is used is not counted.",
    "IDLETIME <key>",
    "    Refused: when a key was last used is not kept.",
    "REFCOUNT <key>",
    "    Tells how many share the value of a key: always 1.",
    "HELP",
    "    Shows this text.",
];

const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Tells how many bytes a key and its value take; nothing is estimated from samples.",
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
    const NOT_LRU: &str = "ERR idle time is not tracked";
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
        "freq" => return Err(Refusal::text(NOT_LFU)),
        _ => return Err(Refusal::text(NOT_LRU)),
    }
    Ok(())
}

/// MEMORY USAGE key [SAMPLES count], MEMORY HELP
pub(crate) fn memory(call: &mut Call<'_>) -> Outcome {
    match call.arg(1).to_ascii_lowercase().as_slice() {
        b"help" if call.argc() == 2 => return help(call, MEMORY_HELP),
        b"help" => return Err(wrong_arity("memory", "help")),
        b"usage" if call.argc() > 2 => {}
        b"usage" => return Err(wrong_arity("memory", "usage")),
        _ => return Err(unknown(call, "MEMORY")),
    }
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
