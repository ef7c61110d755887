//! XGROUP and XACK.

use super::ids::{any, strict};
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::{Refusal, shown};
use crate::run::inspect::{help, unknown, wrong_arity};
use crate::table::Place;
use crate::value::Value;
use crate::value::stream::Stream;
use crate::value::stream::group::UNKNOWN;
use crate::value::stream::id::Id;
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
    "HELP",
    "    Prints this help.",
];

/// The refusal of what is not there.
pub(super) fn no_group(group: &[u8], key: &[u8]) -> Refusal {
    let (group, key) = (shown(group, usize::MAX), shown(key, usize::MAX));
    Refusal::Text(Cow::Owned(format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    )))
}

/// XGROUP CREATE | SETID | DESTROY | CREATECONSUMER | DELCONSUMER | HELP
pub(crate) fn xgroup(call: &mut Call<'_>) -> Outcome {
    let subcommand = call.arg(1).to_ascii_lowercase();
    let (name, arity): (_, i64) = match subcommand.as_slice() {
        b"create" => ("create", -5),
        b"setid" => ("setid", -5),
        b"destroy" => ("destroy", 4),
        b"createconsumer" => ("createconsumer", 5),
        b"delconsumer" => ("delconsumer", 5),
        b"help" => ("help", 2),
        _ => return Err(unknown(call, "XGROUP")),
    };
    let (count, least) = (call.argc() as u64, arity.unsigned_abs());
    if count < least || (arity > 0 && count > least) {
        return Err(wrong_arity("xgroup", name));
    }
    match name {
        "help" => help(call, HELP),
        "create" | "setid" => place_group(call, name == "create"),
        "destroy" => destroy(call),
        _ => change_consumer(call, name == "createconsumer"),
    }
}

fn syntax(call: &Call<'_>) -> Refusal {
    let given = shown(call.arg(1), 128);
    let text = "ERR unknown subcommand or wrong number of arguments for";
    Refusal::Text(Cow::Owned(format!("{text} '{given}'. Try XGROUP HELP.")))
}

/// The stream, unless it may be missing.
fn stream(call: &mut Call<'_>, may_miss: bool) -> Result<Option<(At, Place)>, Refusal> {
    const NO_KEY: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for \
                          CREATE you may want to use the MKSTREAM option to create an empty \
                          stream automatically.";
    let found = call.stream(call.arg(2))?;
    if found.is_none() && !may_miss {
        return Err(Refusal::text(NO_KEY));
    }
    Ok(found)
}

/// XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read], XGROUP SETID …
fn place_group(call: &mut Call<'_>, creates: bool) -> Outcome {
    let (mut makes, mut read, mut option) = (false, UNKNOWN, 5);
    while option < call.argc() {
        if creates && call.is_word(option, "MKSTREAM") {
            makes = true;
            option += 1;
        } else if call.is_word(option, "ENTRIESREAD") && option + 1 < call.argc() {
            read = call.integer(option + 1)?;
            if read < UNKNOWN {
                return Err(Refusal::text("ERR value for ENTRIESREAD must be positive or -1"));
            }
            option += 2;
        } else {
            return Err(syntax(call));
        }
    }
    let (key, name, id) = (call.arg(2), call.arg(3), call.arg(4));
    let found = stream(call, makes)?;
    let there = found.and_then(|found| call.stream_at(found));
    let known = there.is_some_and(|stream| stream.groups().contains_key(name));
    if !creates && !known {
        return Err(no_group(name, key));
    }
    if call.argc() > 8 || (!creates && !matches!(call.argc(), 5 | 7)) {
        return Err(syntax(call));
    }
    let id = match id {
        b"$" => there.map_or(Id::MIN, |stream| stream.head.last),
        _ if creates => strict(id, 0)?,
        _ => any(id, 0)?,
    };
    let at = call.ks.locate(key);
    let place = match found {
        Some((_, place)) => place,
        None => {
            call.tell_new(key);
            let place = call.ks.put_collection::<Stream>(at, key);
            call.log.stream_head(key, &Default::default());
            place
        }
    };
    if creates && known {
        return Err(Refusal::text("BUSYGROUP Consumer Group name already exists"));
    }
    call.ks.update(at, place, |stream: &mut Stream, _| stream.put_group(name, id, read));
    call.log.stream_group(key, name, id, read);
    call.wrote(at.slot);
    let event = if creates { "xgroup-create" } else { "xgroup-setid" };
    call.tell(Classes::STREAM, event, key);
    call.reply.ok();
    Ok(())
}

/// XGROUP DESTROY key group
fn destroy(call: &mut Call<'_>) -> Outcome {
    let (key, name) = (call.arg(2), call.arg(3));
    let Some((at, place)) = stream(call, false)? else { return Ok(()) };
    let dropped =
        call.ks.update(at, place, |stream: &mut Stream, touch| stream.drop_group(touch, name));
    call.reply.integer(i64::from(dropped.is_some()));
    if let Some(left) = dropped {
        call.log.texts(Op::StreamGroupDrop, &[key, name]);
        call.wrote(at.slot);
        call.tell(Classes::STREAM, "xgroup-destroy", key);
        if let Some(left) = left {
            call.ks.trash.value(Value::Stream(left));
        }
    }
    Ok(())
}

/// XGROUP CREATECONSUMER key group consumer, XGROUP DELCONSUMER key group consumer
fn change_consumer(call: &mut Call<'_>, creates: bool) -> Outcome {
    let (key, name, consumer) = (call.arg(2), call.arg(3), call.arg(4));
    let Some((at, place)) = stream(call, false)? else { return Ok(()) };
    let group = call.stream_at((at, place)).and_then(|stream| stream.groups().get(name));
    let group = group.ok_or_else(|| no_group(name, key))?;
    let known = group.consumers().contains_key(consumer);
    let now_ms = call.ctx.now_ms;
    if creates == known {
        call.reply.integer(0);
        return Ok(());
    }
    let count = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let group = stream.group_mut(name)?;
        if creates {
            group.see(consumer, now_ms);
            return Some(1);
        }
        group.drop_consumer(touch, name, consumer)
    });
    match creates {
        true => call.log.stream_consumer([key, name, consumer], now_ms),
        false => call.log.texts(Op::StreamConsumerDrop, &[key, name, consumer]),
    }
    call.wrote(at.slot);
    let event = if creates { "xgroup-createconsumer" } else { "xgroup-delconsumer" };
    call.tell(Classes::STREAM, event, key);
    call.reply.count(count.unwrap_or(0));
    Ok(())
}

/// XACK key group id [id ...]
pub(crate) fn xack(call: &mut Call<'_>) -> Outcome {
    let (key, name) = (call.arg(1), call.arg(2));
    call.reads = true;
    let found = call.stream(key)?;
    let stream = found.and_then(|found| call.stream_at(found));
    let known = stream.is_some_and(|stream| stream.groups().contains_key(name));
    let Some((at, place)) = found.filter(|_| known) else {
        call.reply.integer(0);
        return Ok(());
    };
    let ids =
        call.args.from(3).iter().map(|text| strict(text, 0)).collect::<Result<Vec<_>, _>>()?;
    let gone = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let group = stream.group_mut(name);
        let acknowledged = group.into_iter().flat_map(|group| {
            let gone = ids.iter().filter(|id| group.acknowledge(touch, name, **id));
            gone.copied().collect::<Vec<Id>>()
        });
        acknowledged.collect::<Vec<Id>>()
    });
    if !gone.is_empty() {
        call.log.stream_ids(Op::StreamAcknowledge, &[key, name], &gone);
        call.wrote(at.slot);
    }
    call.reply.count(gone.len());
    Ok(())
}
