//! XREAD and XREADGROUP.

use super::entry;
use super::ids::strict;
use crate::command::Command;
use crate::effects::Delivery;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::{At, Keyspace};
use crate::refusal::{Refusal, shown};
use crate::table::Place;
use crate::value::stream::Stream;
use crate::value::stream::group::Group;
use crate::value::stream::id::Id;
use cairn_logic::time::Duration;
use cairn_resp::number::parse_i64;
use cairn_resp::{Args, ArgsBuf, Version};
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

/// Entries that a command gets which has waited, unless it says how many.
const WAITED_MAX: &[u8] = b"1000";

/// Blocks that are counted before a command is executed: more say no more.
const BLOCKS_MAX: usize = 1000;

/// What a command asks for.
struct Wanted<'a> {
    group: Option<Reader<'a>>,
    /// At most so many entries of each stream, if that was said.
    most: Option<usize>,
    /// Whether it may wait, and for how long; none: as long as it takes.
    block: Option<Option<Duration>>,
    /// Where the keys begin, and how many there are.
    keys: usize,
    count: usize,
}

/// Who reads for a group.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// What is read counts as acknowledged.
    acknowledges: bool,
}

/// From where on a stream is read.
#[derive(Clone, Copy)]
enum From {
    /// Behind this ID.
    Behind(Id),
    /// What the group has not got yet.
    New,
}

/// Reads the options.
fn wanted<'a>(call: &Call<'a>, grouped: bool) -> Result<Wanted<'a>, Refusal> {
    const UNBALANCED: &str = "ERR Unbalanced XREAD list of streams: for each stream key an ID or \
                              '$' must be specified.";
    const GROUP: &str =
        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
    const NOACK: &str =
        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
    let (mut group, mut acknowledges, mut at) = (None, false, 1);
    let (mut most, mut block) = (None, None);
    while at < call.argc() {
        let more = call.argc() - at - 1;
        if call.is_word(at, "BLOCK") && more > 0 {
            at += 1;
            block = Some(timeout(call, at)?);
        } else if call.is_word(at, "COUNT") && more > 0 {
            at += 1;
            let count = usize::try_from(call.integer(at)?).unwrap_or(0);
            most = (count > 0).then_some(count);
        } else if call.is_word(at, "STREAMS") && more > 0 {
            if !more.is_multiple_of(2) {
                return Err(Refusal::text(UNBALANCED));
            }
            let group = match (grouped, group) {
                (true, None) => {
                    return Err(Refusal::text("ERR Missing GROUP option for XREADGROUP"));
                }
                (_, group) => group,
            };
            let group = group.map(|(group, consumer)| Reader { group, consumer, acknowledges });
            return Ok(Wanted { group, most, block, keys: at + 1, count: more / 2 });
        } else if call.is_word(at, "GROUP") && more > 1 {
            if !grouped {
                return Err(Refusal::text(GROUP));
            }
            group = Some((call.arg(at + 1), call.arg(at + 2)));
            at += 2;
        } else if call.is_word(at, "NOACK") {
            if !grouped {
                return Err(Refusal::text(NOACK));
            }
            acknowledges = true;
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    Err(Refusal::Syntax)
}

/// How many entries a command of well-formed arguments may give, without counting exactly.
pub fn behind(keyspace: &Keyspace, command: &Command, args: Args<'_>) -> usize {
    let word = |at: usize, word: &[u8]| args.get(at).eq_ignore_ascii_case(word);
    let (mut at, mut most, mut group) = (1, usize::MAX, None);
    while at + 1 < args.len() && !word(at, b"STREAMS") {
        if word(at, b"COUNT") {
            let count = parse_i64(args.get(at + 1)).and_then(|count| usize::try_from(count).ok());
            most = count.filter(|count| *count > 0).unwrap_or(usize::MAX);
        } else if word(at, b"GROUP") {
            (group, at) = (Some(args.get(at + 1)), at + 1);
        }
        at += if word(at, b"NOACK") { 1 } else { 2 };
    }
    let keys = args.len().saturating_sub(at + 1) / 2;
    let each = command.keys_of(args).enumerate().map(|(index, key)| {
        let (at, id) = (keyspace.locate(key), args.get(args.len() - keys + index));
        let place = keyspace.find(at, key);
        let Some(stream) = place.and_then(|place| keyspace.collection::<Stream>(at, place)) else {
            return 0;
        };
        let of_group = group.and_then(|name| stream.groups().get(name));
        let from = match id {
            b"$" | b"+" => return 0,
            b">" => of_group.map_or(Id::MAX, |group| group.last),
            // What a consumer has not acknowledged.
            _ if group.is_some() => return of_group.map_or(0, |it| it.pending().len()).min(most),
            id => strict(id, 0).unwrap_or(Id::MAX),
        };
        // A block more than there are entries for: the first one may begin before.
        let blocks = stream.blocks().range(from..).take(BLOCKS_MAX).count() + 1;
        let of_block = stream.len() / stream.blocks().len().max(1) + 1;
        most.min(blocks.saturating_mul(of_block)).min(stream.len())
    });
    each.fold(0, usize::saturating_add)
}

/// Argument `index` as a span in milliseconds; none: as long as it takes.
fn timeout(call: &Call<'_>, index: usize) -> Result<Option<Duration>, Refusal> {
    let Ok(ms) = call.integer(index) else {
        return Err(Refusal::text("ERR timeout is not an integer or out of range"));
    };
    let ms = u64::try_from(ms).map_err(|_| Refusal::text("ERR timeout is negative"))?;
    if ms > i64::MAX as u64 - call.ctx.now_ms {
        return Err(Refusal::text("ERR timeout is out of range"));
    }
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

/// The refusal of a stream or group that is not there.
fn missing(key: &[u8], group: &[u8]) -> Refusal {
    let (key, group) = (shown(key, usize::MAX), shown(group, usize::MAX));
    Refusal::Text(Cow::Owned(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
    )))
}

/// From where on the stream in place `index` is read.
fn from(call: &mut Call<'_>, wanted: &Wanted<'_>, index: usize) -> Result<From, Refusal> {
    const MEANINGLESS: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want \
        to read the history of this consumer by specifying a proper ID, or use the > ID to get \
        new messages. The $ ID would just return an empty result set.";
    const NEW: &str = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                       <group> <consumer> option.";
    let (key, id) = (call.arg(wanted.keys + index), call.arg(wanted.keys + wanted.count + index));
    let at = call.ks.locate(key);
    // Who reads for a group has nothing to wait for once the stream is another value.
    let place = match wanted.group {
        Some(_) => call.find_as::<Stream>(at, key)?,
        None => call.find_waited::<Stream>(at, key)?,
    };
    let stream = place.and_then(|place| call.stream_at((at, place)));
    if let Some(reader) = &wanted.group
        && !stream.is_some_and(|stream| stream.groups().contains_key(reader.group))
    {
        return Err(missing(key, reader.group));
    }
    match id {
        b"$" if wanted.group.is_some() => Err(Refusal::text(MEANINGLESS)),
        b"$" => Ok(From::Behind(stream.map_or(Id::MIN, |stream| stream.head.last))),
        // The last entry, as in Valkey 8; without any, what comes.
        b"+" if wanted.group.is_none() => {
            let before = stream.and_then(|stream| stream.top()?.before());
            Ok(From::Behind(before.unwrap_or_else(|| stream.map_or(Id::MIN, |it| it.head.last))))
        }
        b">" if wanted.group.is_none() => Err(Refusal::text(NEW)),
        b">" => Ok(From::New),
        _ => match strict(id, 0)? {
            // What Redis keeps for what is new.
            Id::MAX if wanted.group.is_some() => Ok(From::New),
            id => Ok(From::Behind(id)),
        },
    }
}

fn read(call: &mut Call<'_>, grouped: bool) -> Outcome {
    let wanted = wanted(call, grouped)?;
    call.reads = !call.has_waited();
    let all = (0..wanted.count).map(|index| from(call, &wanted, index));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let mark = call.reply.begin_array();
    let (mut shown, most) = (0, wanted.most.unwrap_or(usize::MAX));
    for (index, from) in all.iter().enumerate() {
        let key = call.arg(wanted.keys + index);
        let at = call.ks.locate(key);
        let Some(place) = call.find_waited::<Stream>(at, key)? else { continue };
        shown += usize::from(match wanted.group {
            Some(reader) => read_group(call, key, (at, place), reader, (*from, most)),
            None => read_plain(call, key, (at, place), (*from, most)),
        });
    }
    match (shown, call.reply.version()) {
        (0, _) => {
            call.reply.null_array();
            if let Some(timeout) = wanted.block {
                let again = again(call, &wanted, &all);
                call.wait_with(timeout, again);
            }
        }
        (_, Version::Resp2) => call.reply.end_array(mark, shown),
        (_, Version::Resp3) => call.reply.end_map(mark, shown),
    }
    Ok(())
}

/// What is executed when one of the streams has changed: behind the ID that was the last one when
/// the wait began, and not without a bound.
fn again(call: &Call<'_>, wanted: &Wanted<'_>, all: &[From]) -> ArgsBuf {
    let mut again = ArgsBuf::new();
    let ids = wanted.keys + wanted.count;
    (0..wanted.keys - 1).for_each(|at| again.push(call.arg(at)));
    if wanted.most.is_none() {
        again.push(b"COUNT");
        again.push(WAITED_MAX);
    }
    (wanted.keys - 1..ids).for_each(|at| again.push(call.arg(at)));
    for (index, from) in all.iter().enumerate() {
        match from {
            From::Behind(id) => again.push(&id.text()),
            From::New => again.push(call.arg(ids + index)),
        }
    }
    again
}

/// Begins with a stream: its key, and its entries come.
fn begin(call: &mut Call<'_>, key: &[u8]) {
    if call.reply.version() == Version::Resp2 {
        call.reply.array(2);
    }
    call.reply.bulk(key);
}

fn read_plain(
    call: &mut Call<'_>,
    key: &[u8],
    found: (At, Place),
    (from, most): (From, usize),
) -> bool {
    let stream = call.stream_at(found);
    let (Some(stream), From::Behind(id)) = (stream, from) else { return false };
    let Some(next) = id.next().filter(|_| stream.top().is_some_and(|top| top > id)) else {
        return false;
    };
    begin(call, key);
    show(call, found, (next, most));
    true
}

/// Shows entries; those that were shown.
fn show(call: &mut Call<'_>, found: (At, Place), (next, most): (Id, usize)) -> Vec<Id> {
    let stream = call.ks.collection::<Stream>(found.0, found.1);
    let mark = call.reply.begin_array();
    let mut ids = Vec::new();
    for it in stream.into_iter().flat_map(|it| it.range(next, Id::MAX)).take(most) {
        entry(&it, call.reply);
        ids.push(it.id);
    }
    call.reply.end_array(mark, ids.len());
    ids
}

fn read_group(
    call: &mut Call<'_>,
    key: &[u8],
    found: (At, Place),
    reader: Reader<'_>,
    (from, most): (From, usize),
) -> bool {
    let Some(stream) = call.stream_at(found) else { return false };
    let Some(group) = stream.groups().get(reader.group) else { return false };
    match from {
        From::Behind(id) => {
            begin(call, key);
            see(call, key, found, reader);
            show_pending(call, key, found, reader, (id, most));
        }
        From::New => {
            let last = group.last;
            let Some(next) = last.next().filter(|_| stream.top().is_some_and(|top| top > last))
            else {
                return false;
            };
            begin(call, key);
            see(call, key, found, reader);
            let ids = show(call, found, (next, most));
            deliver(call, key, found, reader, &ids);
        }
    }
    call.wrote(found.0.slot);
    true
}

/// The consumer is there, and was seen now.
fn see(call: &mut Call<'_>, key: &[u8], found: (At, Place), reader: Reader<'_>) {
    let now_ms = call.ctx.now_ms;
    let new = call.ks.update(found.0, found.1, |stream: &mut Stream, _| {
        let Some(group) = stream.group_mut(reader.group) else { return false };
        let new = !group.consumers().contains_key(reader.consumer);
        group.see(reader.consumer, now_ms);
        new
    });
    call.log.stream_consumer([key, reader.group, reader.consumer], now_ms);
    if new {
        call.tell(Classes::STREAM, "xgroup-createconsumer", key);
    }
}

/// These entries, which are new to the group, were shown.
fn deliver(
    call: &mut Call<'_>,
    key: &[u8],
    (at, place): (At, Place),
    reader: Reader<'_>,
    ids: &[Id],
) {
    let now_ms = call.ctx.now_ms;
    let Some(last) = ids.last().copied() else { return };
    let head = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let read = stream.groups().get(reader.group)?.read;
        let read = ids.iter().fold(read, |read, id| stream.read_after(read, *id));
        let group: &mut Group = stream.group_mut(reader.group)?;
        (group.last, group.read) = (last, read);
        if !reader.acknowledges {
            for id in ids {
                group.deliver(touch, reader.group, *id, (reader.consumer, now_ms, 1));
            }
        }
        Some((last, read))
    });
    let Some((last, read)) = head else { return };
    call.log.stream_group(key, reader.group, last, read);
    if !reader.acknowledges {
        let all: Vec<Delivery> = ids.iter().map(|id| (*id, now_ms, 1)).collect();
        call.log.stream_pending([key, reader.group, reader.consumer], &all);
    }
}

/// Shows what the consumer has got behind an ID and not acknowledged, which is so delivered once
/// more; what is no entry any more has no fields.
fn show_pending(
    call: &mut Call<'_>,
    key: &[u8],
    (at, place): (At, Place),
    reader: Reader<'_>,
    (id, most): (Id, usize),
) {
    let next = id.next().unwrap_or(id);
    let now_ms = call.ctx.now_ms;
    let Some(stream) = call.ks.collection::<Stream>(at, place) else { return };
    let Some(group) = stream.groups().get(reader.group) else { return };
    let consumer = group.consumers().get(reader.consumer);
    let mark = call.reply.begin_array();
    let (mut shown, mut again) = (0, Vec::<Delivery>::new());
    for id in consumer.into_iter().flat_map(|it| it.pending().range(next..)).take(most) {
        match stream.find(*id) {
            Some(it) => {
                entry(&it, call.reply);
                let deliveries = group.pending().get(id).map_or(0, |it| it.deliveries);
                again.push((*id, now_ms, deliveries.saturating_add(1)));
            }
            None => {
                call.reply.array(2);
                call.reply.bulk(&id.text());
                call.reply.null_array();
            }
        }
        shown += 1;
    }
    call.reply.end_array(mark, shown);
    if again.is_empty() {
        return;
    }
    call.ks.update(at, place, |stream: &mut Stream, touch| {
        let Some(group) = stream.group_mut(reader.group) else { return };
        for (id, now_ms, deliveries) in &again {
            let delivery = (reader.consumer, *now_ms, *deliveries);
            group.deliver(touch, reader.group, *id, delivery);
        }
    });
    call.log.stream_pending([key, reader.group, reader.consumer], &again);
}

/// XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]
pub(crate) fn xread(call: &mut Call<'_>) -> Outcome {
    read(call, false)
}

/// XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...]
/// id [id ...]
pub(crate) fn xreadgroup(call: &mut Call<'_>) -> Outcome {
    read(call, true)
}
