//! Commands on the entries of a stream.

pub(crate) mod claims;
pub(crate) mod groups;
mod ids;
pub(crate) mod info;
pub(crate) mod pending;
pub(crate) mod reads;
mod trims;

use crate::effects::Op;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::listpack::Item;
use crate::value::stream::Stream;
use crate::value::stream::block::Entry;
use crate::value::stream::id::Id;
use cairn_resp::ReplyBuf;
use ids::{bounds, strict};
use trims::Options;

type Outcome = Result<(), Refusal>;

/// The texts of an entry may have so many bytes, as in Redis.
const ENTRY_BYTES_MAX: usize = 1 << 30;

impl Call<'_> {
    /// The live stream under a key.
    fn stream(&mut self, key: &[u8]) -> Result<Option<(At, Place)>, Refusal> {
        let at = self.ks.locate(key);
        Ok(self.find_as::<Stream>(at, key)?.map(|place| (at, place)))
    }

    /// What is under a key, for reading.
    fn stream_at(&self, (at, place): (At, Place)) -> Option<&Stream> {
        self.ks.collection::<Stream>(at, place)
    }
}

fn item(item: Item<'_>, reply: &mut ReplyBuf) {
    match item {
        Item::Text(text) => reply.bulk(text),
        Item::Int(number) => reply.bulk_integer(number),
    }
}

/// An entry: its ID, and its fields and values.
fn entry(entry: &Entry<'_>, reply: &mut ReplyBuf) {
    reply.array(2);
    reply.bulk(&entry.id.text());
    reply.array(entry.fields * 2);
    for (name, value) in entry.pairs() {
        item(name, reply);
        item(value, reply);
    }
}

/// XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value …
pub(crate) fn xadd(call: &mut Call<'_>) -> Outcome {
    const TOO_SMALL: &str =
        "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    const EXHAUSTED: &str =
        "ERR The stream has exhausted the last possible ID, unable to add more items";
    let options = Options::read(call, true)?;
    let texts = call.argc().saturating_sub(options.rest);
    if texts < 2 || !texts.is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    if options.id == Some((Id::MIN, true)) {
        return Err(Refusal::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find_as::<Stream>(at, key)?;
    if place.is_none() && options.no_stream {
        call.reply.null();
        return Ok(());
    }
    let stream = place.and_then(|place| call.ks.collection::<Stream>(at, place));
    let last = stream.map_or(Id::MIN, |stream| stream.head.last);
    if last == Id::MAX {
        return Err(Refusal::text(EXHAUSTED));
    }
    let now = Id::new(call.ctx.now_ms, 0);
    let id = match options.id {
        None if now.ms > last.ms => Some(now),
        None => last.next(),
        Some((id, true)) => Some(id),
        Some((id, false)) if id.ms == last.ms => last.next().filter(|next| next.ms == id.ms),
        Some((id, false)) => Some(id),
    };
    let id = id.filter(|id| *id > last).ok_or(Refusal::text(TOO_SMALL))?;
    if call.args.from(options.rest).iter().map(<[u8]>::len).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(Refusal::text("ERR Elements are too large to be stored"));
    }
    let args = call.args;
    let pairs = (options.rest..args.len()).step_by(2);
    let pairs: Vec<_> =
        pairs.map(|at| (Item::of(args.get(at)), Item::of(args.get(at + 1)))).collect();
    let place = match place {
        Some(place) => place,
        None => call.ks.put_collection::<Stream>(at, key),
    };
    call.ks.update(at, place, |stream: &mut Stream, touch| stream.push(touch, id, &pairs));
    call.log.stream_add(key, id, &pairs);
    trims::trim(call, (at, key, place), &options);
    call.wrote(at.slot);
    call.reply.bulk(&id.text());
    Ok(())
}

/// XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]
pub(crate) fn xtrim(call: &mut Call<'_>) -> Outcome {
    let options = Options::read(call, false)?;
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find_as::<Stream>(at, key)?;
    let gone = place.map_or(0, |place| trims::trim(call, (at, key, place), &options));
    call.wrote_if(gone > 0, at.slot);
    call.reply.count(gone);
    Ok(())
}

/// XLEN key
pub(crate) fn xlen(call: &mut Call<'_>) -> Outcome {
    let len = call.read::<Stream>()?.map_or(0, Stream::len);
    call.reply.count(len);
    Ok(())
}

/// XDEL key id [id ...]
pub(crate) fn xdel(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<Stream>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let ids =
        call.args.from(2).iter().map(|text| strict(text, 0)).collect::<Result<Vec<_>, _>>()?;
    let gone = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let mut gone = Vec::new();
        for id in ids {
            if stream.delete(touch, id) {
                stream.head.max_deleted = stream.head.max_deleted.max(id);
                gone.push(id);
            }
        }
        gone
    });
    if !gone.is_empty() {
        call.log.stream_ids(Op::StreamDelete, &[key], &gone);
        call.wrote(at.slot);
    }
    call.reply.count(gone.len());
    Ok(())
}

fn range(call: &mut Call<'_>, backwards: bool) -> Outcome {
    let (from, to) = if backwards { (3, 2) } else { (2, 3) };
    let (from, to) = bounds(call.arg(from), call.arg(to))?;
    let (mut count, mut at) = (None, 4);
    while at < call.argc() {
        if !call.is_word(at, "COUNT") || at + 1 == call.argc() {
            return Err(Refusal::Syntax);
        }
        count = Some(call.integer(at + 1)?);
        at += 2;
    }
    let key = call.arg(1);
    let Some(found) = call.stream(key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let most = match count.map(|count| count.max(0)) {
        Some(0) => {
            call.reply.null_array();
            return Ok(());
        }
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let Some(stream) = call.ks.collection::<Stream>(found.0, found.1) else { return Ok(()) };
    let mark = call.reply.begin_array();
    let (mut shown, reply) = (0, &mut *call.reply);
    let mut show = |it: &Entry<'_>| {
        entry(it, reply);
        shown += 1;
    };
    match backwards {
        true => stream.range_back(from, to).take(most).for_each(|it| show(&it)),
        false => stream.range(from, to).take(most).for_each(|it| show(&it)),
    }
    call.reply.end_array(mark, shown);
    Ok(())
}

/// XRANGE key start end [COUNT count]
pub(crate) fn xrange(call: &mut Call<'_>) -> Outcome {
    range(call, false)
}

/// XREVRANGE key end start [COUNT count]
pub(crate) fn xrevrange(call: &mut Call<'_>) -> Outcome {
    range(call, true)
}

/// XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]
pub(crate) fn xsetid(call: &mut Call<'_>) -> Outcome {
    const BELOW_DELETED: &str =
        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
    const BELOW_CURRENT: &str =
        "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    const BELOW_TOP: &str =
        "ERR The ID specified in XSETID is smaller than the target stream top item";
    const BELOW_LENGTH: &str = "ERR The entries_added specified in XSETID is smaller than the \
                                target stream length";
    let id = strict(call.arg(2), 0)?;
    let (mut added, mut deleted, mut option) = (None, Id::MIN, 3);
    while option < call.argc() {
        let more = option + 1 < call.argc();
        if call.is_word(option, "ENTRIESADDED") && more {
            let negative = Refusal::text("ERR entries_added must be positive");
            added = Some(u64::try_from(call.integer(option + 1)?).map_err(|_| negative)?);
        } else if call.is_word(option, "MAXDELETEDID") && more {
            deleted = strict(call.arg(option + 1), 0)?;
            if id < deleted {
                return Err(Refusal::text(BELOW_DELETED));
            }
        } else {
            return Err(Refusal::Syntax);
        }
        option += 2;
    }
    let key = call.arg(1);
    let found = call.stream(key)?.ok_or(Refusal::text("ERR no such key"))?;
    let Some(stream) = call.stream_at(found) else { return Ok(()) };
    // IDs of entries that were deleted are not given again, as in Redis 7.2.
    if id < stream.head.max_deleted {
        return Err(Refusal::text(BELOW_CURRENT));
    }
    if let Some(top) = stream.top() {
        if id < top {
            return Err(Refusal::text(BELOW_TOP));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(Refusal::text(BELOW_LENGTH));
        }
    }
    let mut head = stream.head;
    (head.last, head.added) = (id, added.unwrap_or(head.added));
    if deleted > Id::MIN {
        head.max_deleted = deleted;
    }
    call.ks.update(found.0, found.1, |stream: &mut Stream, _| stream.head = head);
    call.log.stream_head(key, &head);
    call.wrote(found.0.slot);
    call.reply.ok();
    Ok(())
}
