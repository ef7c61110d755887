//! XINFO.

use super::groups::no_group;
use super::{Entry, Stream, entry};
use crate::exec::Call;
use crate::refusal::{Refusal, shown};
use crate::run::inspect::{help, unknown, wrong_arity};
use crate::value::stream::group::{Group, UNKNOWN};
use crate::value::stream::id::Id;
use cairn_resp::ReplyBuf;
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
    "HELP",
    "    Prints this help.",
];

/// Entries and what is pending that FULL shows unless told otherwise.
const SHOWN: i64 = 10;

/// XINFO STREAM key [FULL [COUNT count]] | GROUPS key | CONSUMERS key group | HELP
pub(crate) fn xinfo(call: &mut Call<'_>) -> Outcome {
    let subcommand = call.arg(1).to_ascii_lowercase();
    let (name, arity): (_, i64) = match subcommand.as_slice() {
        b"stream" => ("stream", -3),
        b"groups" => ("groups", 3),
        b"consumers" => ("consumers", 4),
        b"help" => ("help", 2),
        _ => return Err(unknown(call, "XINFO")),
    };
    let (count, least) = (call.argc() as u64, arity.unsigned_abs());
    if count < least || (arity > 0 && count > least) {
        return Err(wrong_arity("xinfo", name));
    }
    if name == "help" {
        return help(call, HELP);
    }
    let key = call.arg(2);
    let found = call.stream(key)?.ok_or(Refusal::text("ERR no such key"))?;
    let full = if name == "stream" { full(call)? } else { None };
    let Some(stream) = call.ks.collection::<Stream>(found.0, found.1) else { return Ok(()) };
    let reply = &mut *call.reply;
    match name {
        "stream" => about(stream, full, reply),
        "groups" => {
            reply.array(stream.groups().len());
            stream.groups().iter().for_each(|(name, it)| about_group(stream, name, it, reply));
        }
        _ => {
            let name = call.args.get(3);
            let group = stream.groups().get(name).ok_or_else(|| no_group(name, key))?;
            consumers(group, call.ctx.now_ms, reply);
        }
    }
    Ok(())
}

/// How much FULL shows of each thing; none without it.
fn full(call: &Call<'_>) -> Result<Option<usize>, Refusal> {
    let options = call.argc() - 3;
    if options == 0 {
        return Ok(None);
    }
    let counts = options == 3 && call.is_word(4, "COUNT");
    if !call.is_word(3, "FULL") || !(options == 1 || counts) {
        let given = shown(call.arg(1), 128);
        let text = "ERR unknown subcommand or wrong number of arguments for";
        return Err(Refusal::Text(Cow::Owned(format!("{text} '{given}'. Try XINFO HELP."))));
    }
    let count = if counts { call.integer(5)? } else { SHOWN };
    Ok(Some(match count {
        ..0 => SHOWN as usize,
        0 => usize::MAX,
        _ => usize::try_from(count).unwrap_or(usize::MAX),
    }))
}

fn id(name: &[u8], id: Id, reply: &mut ReplyBuf) {
    reply.bulk(name);
    reply.bulk(&id.text());
}

fn count(name: &[u8], count: usize, reply: &mut ReplyBuf) {
    reply.bulk(name);
    reply.count(count);
}

fn about(stream: &Stream, full: Option<usize>, reply: &mut ReplyBuf) {
    let head = stream.head;
    reply.map(if full.is_some() { 9 } else { 10 });
    count(b"length", stream.len(), reply);
    count(b"radix-tree-keys", stream.blocks().len(), reply);
    // Blocks stand in no radix tree: each one, and a root.
    count(b"radix-tree-nodes", stream.blocks().len() + 1, reply);
    id(b"last-generated-id", head.last, reply);
    id(b"max-deleted-entry-id", head.max_deleted, reply);
    reply.bulk(b"entries-added");
    reply.integer(head.added as i64);
    id(b"recorded-first-entry-id", stream.first().unwrap_or(Id::MIN), reply);
    match full {
        None => {
            count(b"groups", stream.groups().len(), reply);
            reply.bulk(b"first-entry");
            entry_or_null(stream.range(Id::MIN, Id::MAX).next(), reply);
            reply.bulk(b"last-entry");
            entry_or_null(stream.range_back(Id::MIN, Id::MAX).next(), reply);
        }
        Some(most) => {
            reply.bulk(b"entries");
            reply.array(stream.len().min(most));
            stream.range(Id::MIN, Id::MAX).take(most).for_each(|it| entry(&it, reply));
            reply.bulk(b"groups");
            reply.array(stream.groups().len());
            for (name, group) in stream.groups() {
                full_group(stream, name, group, most, reply);
            }
        }
    }
}

fn entry_or_null(it: Option<Entry<'_>>, reply: &mut ReplyBuf) {
    match it {
        Some(it) => entry(&it, reply),
        None => reply.null(),
    }
}

/// Up to where a group has read.
fn progress(stream: &Stream, group: &Group, reply: &mut ReplyBuf) {
    id(b"last-delivered-id", group.last, reply);
    reply.bulk(b"entries-read");
    match group.read {
        UNKNOWN => reply.null(),
        read => reply.integer(read),
    }
    reply.bulk(b"lag");
    match stream.lag(group) {
        Some(lag) => reply.integer(lag),
        None => reply.null(),
    }
}

fn about_group(stream: &Stream, name: &[u8], group: &Group, reply: &mut ReplyBuf) {
    reply.map(6);
    reply.bulk(b"name");
    reply.bulk(name);
    count(b"consumers", group.consumers().len(), reply);
    count(b"pending", group.pending().len(), reply);
    progress(stream, group, reply);
}

fn full_group(stream: &Stream, name: &[u8], group: &Group, most: usize, reply: &mut ReplyBuf) {
    let deliveries = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    progress(stream, group, reply);
    count(b"pel-count", group.pending().len(), reply);
    reply.bulk(b"pending");
    reply.array(group.pending().len().min(most));
    for (id, it) in group.pending().iter().take(most) {
        reply.array(4);
        reply.bulk(&id.text());
        reply.bulk(&it.consumer);
        reply.integer(it.delivered_ms as i64);
        reply.integer(deliveries(it.deliveries));
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"seen-time");
        reply.integer(consumer.seen_ms as i64);
        count(b"pel-count", consumer.pending().len(), reply);
        reply.bulk(b"pending");
        reply.array(consumer.pending().len().min(most));
        let known = |id: &Id| group.pending().get(id);
        for id in consumer.pending().iter().take(most) {
            reply.array(3);
            reply.bulk(&id.text());
            reply.integer(known(id).map_or(0, |it| it.delivered_ms as i64));
            reply.integer(known(id).map_or(0, |it| deliveries(it.deliveries)));
        }
    }
}

fn consumers(group: &Group, now_ms: u64, reply: &mut ReplyBuf) {
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(name);
        count(b"pending", consumer.pending().len(), reply);
        reply.bulk(b"idle");
        reply.integer(now_ms.saturating_sub(consumer.seen_ms) as i64);
    }
}
