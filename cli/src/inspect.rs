//! `cairn inspect FILE`: what a file of a node's folder holds, and whether it is whole.

use crate::print;
use anyhow::{Context, Result, bail};
use cairn_files::inspect::{Inspected, Segment, Small};
use cairn_files::{RealDisk, Snapshot};
use cairn_keyspace::Note;
use cairn_logic::batch::BatchHead;
use cairn_logic::ids::GroupId;
use std::fmt::Write as _;
use std::path::Path;

/// Reads all of it and prints what it is; with `list`, also each batch or key in it.
pub fn inspect(file: &Path, list: bool) -> Result<()> {
    let found = cairn_files::inspect(&RealDisk, file);
    if let Err(cairn_files::Error::Format { found: 0, .. }) = found {
        bail!("{file:?} is no segment, snapshot or small file of Cairn, or its beginning is lost");
    }
    match found? {
        Inspected::Snapshot(found) => snapshot(&found, list),
        Inspected::Segment(found) => segment(&found, list.then_some(file)),
        Inspected::Small(found) => small(&found),
    }
}

fn field(name: &str, value: impl std::fmt::Display) {
    print::line(format_args!("{name:<10}{value}"));
}

fn snapshot(found: &Snapshot<RealDisk>, list: bool) -> Result<()> {
    let (head, end) = (found.head(), found.end());
    let sections = found.sections();
    let unpacked: u64 = sections.iter().map(|section| u64::from(section.raw_bytes)).sum();
    field("file", "a snapshot");
    field("of", of(&head.group, head.uid));
    field("written", format_args!("by {} at {} ms since 1970", head.program, head.made_ms));
    field(
        "entries",
        match end.from == end.upto {
            true => format!("all up to {}", end.upto),
            false => format!("all up to {}, some of those up to {}", end.from, end.upto),
        },
    );
    field("records", format_args!("{} in {} sections", end.records, sections.len()));
    field("bytes", format_args!("{}, {unpacked} unpacked", found.bytes()));
    if end.hash != 0 {
        field("hash", format_args!("{:016x}", end.hash));
    }
    for section in sections {
        let records = found.read(section)?;
        if !list {
            continue;
        }
        let (at, count) = (section.at, section.records);
        let (stored, raw) = (section.stored_bytes, section.raw_bytes);
        field("section", format_args!("{count} records at {at}, {stored} of {raw} bytes"));
        keys(&head.group, records)?;
    }
    field("checked", "whole");
    Ok(())
}

fn keys(group: &GroupId, records: Vec<u8>) -> Result<()> {
    let show = |key: &[u8], more: String| {
        print::line(format_args!("  {}{more}", key.escape_ascii()));
    };
    if *group == GroupId::global() {
        let visit = |key: &[u8], revision| show(key, format!("  @{revision}"));
        cairn_directory::directory::keys_of(records.into(), visit)?;
    } else {
        cairn_keyspace::keys_of(&records, |key| show(key, String::new()))?;
    }
    Ok(())
}

fn segment(found: &Segment, list: Option<&Path>) -> Result<()> {
    field("file", "a segment of a log");
    field("of", of(&found.group, found.uid));
    field("folder", format_args!("incarnation {}", found.incarnation));
    field("behind", format_args!("entry {}", found.before));
    let (first, last) = (found.batches.first(), found.batches.last());
    match first.zip(last) {
        Some(((first, _), (last, _))) => {
            let bytes: u64 = found.batches.iter().map(|(_, bytes)| bytes).sum();
            let count = found.batches.len();
            field("entries", format_args!("{}/{} to {}", first.epoch, first.first, last.last()));
            field("batches", format_args!("{count}, {bytes} bytes"));
        }
        None => field("entries", "none"),
    }
    field("flushed", format_args!("up to offset {} at least", found.flushed));
    if let Some(path) = list {
        let of_group = found.group != GroupId::global();
        cairn_files::inspect::bodies(&RealDisk, path, |head, body| batch(head, body, of_group))?;
    }
    let (stopped, position) = (found.stopped, found.position);
    if !found.whole {
        bail!("it can be read up to byte {position}: {stopped}");
    }
    field("checked", format_args!("whole up to byte {position}: {stopped}"));
    Ok(())
}

/// One batch; of a group's also its checks and repairs.
fn batch(head: &BatchHead, body: &[u8], of_group: bool) {
    let mut text = format!("  {}/{}", head.epoch, head.first);
    let bytes = body.len();
    let _ = write!(text, " {} entries, {bytes} bytes, {} ms", head.count, head.time_ms);
    text += if head.opens_epoch { ", opens the epoch" } else { "" };
    print::line(text);
    if !of_group || head.opens_epoch {
        return;
    }
    let read = cairn_keyspace::notes_of(body, head.first, |note| {
        let (kind, Note { at, part, digest, .. }) =
            (if note.repairs { "repair" } else { "check" }, &note);
        print::line(format_args!("    {at} {kind} of {part}: {digest:016x}"));
    });
    if let Err(error) = read {
        print::line(format_args!("    {error}"));
    }
}

fn small(found: &Small) -> Result<()> {
    let kind = if found.double { "written twice" } else { "written in turn with another one" };
    field("file", format_args!("a small file, {kind}"));
    field("written", format_args!("{} times", found.number));
    let json: Option<serde_json::Value> = serde_json::from_slice(&found.payload).ok();
    match json {
        Some(json) => {
            let text = serde_json::to_string_pretty(&json).context("JSON is text")?;
            print::line(text);
        }
        None => field("content", found.payload.escape_ascii()),
    }
    let (good, all) = found.copies;
    if good < all {
        bail!("{good} of {all} copies can be read; the node uses that one and repairs the other");
    }
    field("checked", "whole");
    Ok(())
}

fn of(group: &GroupId, uid: u128) -> String {
    match *group == GroupId::global() {
        true => format!("the global plane of cluster {uid:032x}"),
        false => format!("group {group} of cluster {uid:032x}"),
    }
}
