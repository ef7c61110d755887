//! XPENDING.

use super::ids::bounds;
use crate::exec::Call;
use crate::refusal::{Refusal, shown};
use crate::value::stream::group::{Group, Pending};
use crate::value::stream::id::Id;
use cairn_resp::ReplyBuf;
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

/// The refusal of a key or group that is not there.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8]) -> Refusal {
    let (key, group) = (shown(key, usize::MAX), shown(group, usize::MAX));
    Refusal::Text(Cow::Owned(format!("NOGROUP No such key '{key}' or consumer group '{group}'")))
}

/// Which of the entries are asked for.
struct Wanted<'a> {
    min_idle_ms: i64,
    from: Id,
    to: Id,
    most: usize,
    consumer: Option<&'a [u8]>,
}

fn wanted<'a>(call: &Call<'a>) -> Result<Wanted<'a>, Refusal> {
    let (mut min_idle_ms, mut at) = (0, 3);
    if call.is_word(3, "IDLE") {
        min_idle_ms = call.integer(4)?;
        if call.argc() < 8 {
            return Err(Refusal::Syntax);
        }
        at += 2;
    }
    let most = usize::try_from(call.integer(at + 2)?.max(0)).unwrap_or(usize::MAX);
    let (from, to) = bounds(call.arg(at), call.arg(at + 1))?;
    let consumer = (at + 3 < call.argc()).then(|| call.arg(at + 3));
    Ok(Wanted { min_idle_ms, from, to, most, consumer })
}

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]]
pub(crate) fn xpending(call: &mut Call<'_>) -> Outcome {
    let wanted = match call.argc() {
        3 => None,
        6..=9 => Some(wanted(call)?),
        _ => return Err(Refusal::Syntax),
    };
    let (key, name) = (call.arg(1), call.arg(2));
    let found = call.stream(key)?;
    let stream = found.and_then(|(at, place)| call.ks.collection(at, place));
    let group = stream.and_then(|stream: &super::Stream| stream.groups().get(name));
    let group = group.ok_or_else(|| no_key_or_group(key, name))?;
    match wanted {
        None => summary(group, call.reply),
        Some(wanted) => entries(group, &wanted, call.ctx.now_ms, call.reply),
    }
    Ok(())
}

fn summary(group: &Group, reply: &mut ReplyBuf) {
    let pending = group.pending();
    reply.array(4);
    reply.count(pending.len());
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value())
    else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply.bulk(&first.text());
    reply.bulk(&last.text());
    let busy = || group.consumers().iter().filter(|(_, it)| !it.pending().is_empty());
    reply.array(busy().count());
    for (name, consumer) in busy() {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(consumer.pending().len() as i64);
    }
}

fn entries(group: &Group, wanted: &Wanted<'_>, now_ms: u64, reply: &mut ReplyBuf) {
    let Wanted { min_idle_ms, from, to, most, consumer } = wanted;
    let mark = reply.begin_array();
    if from > to {
        return reply.end_array(mark, 0);
    }
    let all: Box<dyn Iterator<Item = (&Id, &Pending)>> = match consumer {
        None => Box::new(group.pending_in(*from..=*to)),
        Some(name) => {
            let consumer = group.consumers().get(*name).into_iter();
            let ids = consumer.flat_map(|it| it.pending().range(*from..=*to));
            Box::new(ids.filter_map(|id| Some((id, group.pending().get(id)?))))
        }
    };
    let idle = |it: &Pending| now_ms as i64 - it.delivered_ms as i64;
    let old = all.filter(|(_, it)| *min_idle_ms == 0 || idle(it) >= *min_idle_ms);
    let mut shown = 0;
    for (id, it) in old.take(*most) {
        reply.array(4);
        reply.bulk(&id.text());
        reply.bulk(&it.consumer);
        reply.integer(idle(it).max(0));
        reply.integer(i64::try_from(it.deliveries).unwrap_or(i64::MAX));
        shown += 1;
    }
    reply.end_array(mark, shown);
}
