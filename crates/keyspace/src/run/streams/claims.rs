//! XCLAIM and XAUTOCLAIM.

use super::ids::{first, strict};
use super::pending::no_key_or_group;
use super::{Stream, entry};
use crate::effects::{Delivery, Op};
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::{Refusal, shown};
use crate::snapshot::Touch;
use crate::table::Place;
use crate::value::stream::id::Id;
use cairn_resp::ReplyBuf;
use std::borrow::Cow;

type Outcome = Result<(), Refusal>;

/// How an entry is claimed.
struct Claim<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    min_idle_ms: i64,
    now_ms: u64,
    delivered_ms: u64,
    deliveries: Option<u64>,
    /// Also what nobody has got.
    force: bool,
    only_ids: bool,
}

/// What came of it.
#[derive(Default)]
struct Claimed {
    got: Vec<Delivery>,
    /// What is no entry any more.
    gone: Vec<Id>,
    /// Whether the consumer was not there before.
    new: bool,
}

impl Claim<'_> {
    /// Claims an entry and shows it.
    fn one(
        &self,
        stream: &mut Stream,
        touch: &mut Touch<'_>,
        id: Id,
        reply: &mut ReplyBuf,
        claimed: &mut Claimed,
    ) {
        let Some(it) = stream.find(id) else {
            let group = stream.group_mut(self.group);
            if group.is_some_and(|group| group.acknowledge(touch, self.group, id)) {
                claimed.gone.push(id);
            }
            return;
        };
        let known = stream.groups().get(self.group).and_then(|group| group.pending().get(&id));
        let former = match known {
            Some(known) if self.is_fresh(known.delivered_ms) => return,
            Some(known) => known.deliveries,
            None if self.force => 1,
            None => return,
        };
        let again = former.saturating_add(u64::from(!self.only_ids));
        let deliveries = self.deliveries.unwrap_or(again);
        if self.only_ids {
            reply.bulk(&id.text());
        } else {
            entry(&it, reply);
        }
        if let Some(group) = stream.group_mut(self.group) {
            if claimed.got.is_empty() {
                claimed.new = !group.consumers().contains_key(self.consumer);
                group.see(self.consumer, self.now_ms);
            }
            let delivery = (self.consumer, self.delivered_ms, deliveries);
            group.deliver(touch, self.group, id, delivery);
        }
        claimed.got.push((id, self.delivered_ms, deliveries));
    }

    /// Whether something was delivered too short a time ago.
    fn is_fresh(&self, delivered_ms: u64) -> bool {
        let idle = self.now_ms as i64 - delivered_ms as i64;
        self.min_idle_ms > 0 && idle < self.min_idle_ms
    }

    /// Logs what was claimed; whether that was anything.
    fn log(&self, call: &mut Call<'_>, key: &[u8], claimed: &Claimed) -> bool {
        if !claimed.gone.is_empty() {
            call.log.stream_ids(Op::StreamAcknowledge, &[key, self.group], &claimed.gone);
        }
        if !claimed.got.is_empty() {
            let names = [key, self.group, self.consumer];
            call.log.stream_consumer(names, self.now_ms);
            call.log.stream_pending(names, &claimed.got);
            if claimed.new {
                call.tell(Classes::STREAM, "xgroup-createconsumer", key);
            }
        }
        !claimed.gone.is_empty() || !claimed.got.is_empty()
    }
}

/// The stream, which has this group.
fn stream(call: &mut Call<'_>) -> Result<(At, Place), Refusal> {
    let (key, name) = (call.arg(1), call.arg(2));
    call.reads = true;
    let found = call.stream(key)?;
    let stream = found.and_then(|found| call.stream_at(found));
    let known = stream.is_some_and(|stream| stream.groups().contains_key(name));
    found.filter(|_| known).ok_or_else(|| no_key_or_group(key, name))
}

/// Reads the options of XCLAIM from `at` on; gives LASTID, too.
fn options<'a>(
    call: &Call<'a>,
    min_idle_ms: i64,
    mut at: usize,
) -> Result<(Claim<'a>, Id), Refusal> {
    let now_ms = call.ctx.now_ms;
    let (mut last, mut delivered_ms) = (Id::MIN, -1_i64);
    let mut claim = Claim {
        group: call.arg(2),
        consumer: call.arg(3),
        min_idle_ms,
        now_ms,
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        only_ids: false,
    };
    let number = |at: usize, refusal| call.integer(at).map_err(|_| Refusal::text(refusal));
    while at < call.argc() {
        let more = at + 1 < call.argc();
        if call.is_word(at, "FORCE") {
            claim.force = true;
        } else if call.is_word(at, "JUSTID") {
            claim.only_ids = true;
        } else if call.is_word(at, "IDLE") && more {
            at += 1;
            let idle = number(at, "ERR Invalid IDLE option argument for XCLAIM")?;
            delivered_ms = (now_ms as i64).wrapping_sub(idle);
        } else if call.is_word(at, "TIME") && more {
            at += 1;
            delivered_ms = number(at, "ERR Invalid TIME option argument for XCLAIM")?;
        } else if call.is_word(at, "RETRYCOUNT") && more {
            at += 1;
            let count = number(at, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            claim.deliveries = u64::try_from(count).ok();
        } else if call.is_word(at, "LASTID") && more {
            at += 1;
            last = strict(call.arg(at), 0)?;
        } else {
            let given = shown(call.arg(at), usize::MAX);
            let text = format!("ERR Unrecognized XCLAIM option '{given}'");
            return Err(Refusal::Text(Cow::Owned(text)));
        }
        at += 1;
    }
    // A time to come, or none, is now.
    let given = u64::try_from(delivered_ms).ok().filter(|given| *given <= now_ms);
    claim.delivered_ms = given.unwrap_or(now_ms);
    Ok((claim, last))
}

/// XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-ms]
/// [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
pub(crate) fn xclaim(call: &mut Call<'_>) -> Outcome {
    let (at, place) = stream(call)?;
    let refused = Refusal::text("ERR Invalid min-idle-time argument for XCLAIM");
    let min_idle_ms = call.integer(4).map_err(|_| refused)?;
    let mut ids = Vec::new();
    while let Some(id) =
        (5 + ids.len() < call.argc()).then(|| strict(call.arg(5 + ids.len()), 0).ok()).flatten()
    {
        ids.push(id);
    }
    let (claim, last) = options(call, min_idle_ms, 5 + ids.len())?;
    let (key, reply) = (call.arg(1), &mut *call.reply);
    let mark = reply.begin_array();
    let (claimed, moved) = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let mut claimed = Claimed::default();
        let group = stream.group_mut(claim.group).filter(|group| group.last < last);
        let moved = group.map(|group| {
            group.last = last;
            group.read
        });
        for id in ids {
            claim.one(stream, touch, id, reply, &mut claimed);
        }
        (claimed, moved)
    });
    reply.end_array(mark, claimed.got.len());
    if let Some(read) = moved {
        call.log.stream_group(key, claim.group, last, read);
    }
    let any = claim.log(call, key, &claimed) || moved.is_some();
    call.wrote_if(any, at.slot);
    Ok(())
}

/// How many entries XAUTOCLAIM wants, and whether only their IDs.
fn auto_options(call: &Call<'_>) -> Result<(usize, bool), Refusal> {
    /// As many as Redis takes.
    const COUNT_MAX: usize = (i64::MAX / 16) as usize;
    let (mut count, mut only_ids, mut option) = (100, false, 6);
    while option < call.argc() {
        if call.is_word(option, "COUNT") && option + 1 < call.argc() {
            const POSITIVE: &str = "ERR COUNT must be > 0";
            count = call.at_least(option + 1, 1, POSITIVE)?;
            if count > COUNT_MAX {
                return Err(Refusal::text(POSITIVE));
            }
            option += 1;
        } else if call.is_word(option, "JUSTID") {
            only_ids = true;
        } else {
            return Err(Refusal::Syntax);
        }
        option += 1;
    }
    Ok((count, only_ids))
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]
pub(crate) fn xautoclaim(call: &mut Call<'_>) -> Outcome {
    /// So many entries are looked at for each one that is wanted.
    const LOOKS: usize = 10;
    let refused = Refusal::text("ERR Invalid min-idle-time argument for XAUTOCLAIM");
    // A key that is missing is told before anything is refused.
    call.reads = true;
    let at = call.at_first();
    let is_there = call.find(at, call.arg(1)).is_some();
    let min_idle_ms = call.integer(4).map_err(|_| refused)?;
    let start = first(call.arg(5))?;
    let (count, only_ids) = auto_options(call)?;
    let (group, consumer) = (call.arg(2), call.arg(3));
    if !is_there {
        return Err(no_key_or_group(call.arg(1), group));
    }
    let (at, place) = stream(call)?;
    let now_ms = call.ctx.now_ms;
    let claim = Claim {
        group,
        consumer,
        min_idle_ms,
        now_ms,
        delivered_ms: now_ms,
        deliveries: None,
        force: false,
        only_ids,
    };
    let (key, reply) = (call.arg(1), &mut *call.reply);
    // The place to go on comes before the entries and is known after them.
    let mut body = ReplyBuf::new(reply.version());
    let (claimed, next) = call.ks.update(at, place, |stream: &mut Stream, touch| {
        let mut claimed = Claimed::default();
        let (mut looks, mut next) = (count.saturating_mul(LOOKS), Some(start));
        loop {
            let pending = stream.groups().get(group).zip(next);
            let found = pending.and_then(|(it, from)| it.pending_in(from..).next());
            let Some(id) = found.map(|(id, _)| *id) else { return (claimed, Id::MIN) };
            if looks == 0 || claimed.got.len() + claimed.gone.len() >= count {
                return (claimed, id);
            }
            looks -= 1;
            next = id.next();
            claim.one(stream, touch, id, &mut body, &mut claimed);
        }
    });
    reply.array(3);
    reply.bulk(&next.text());
    reply.array(claimed.got.len());
    reply.raw(body.as_bytes());
    reply.array(claimed.gone.len());
    claimed.gone.iter().for_each(|id| reply.bulk(&id.text()));
    let any = claim.log(call, key, &claimed);
    call.wrote_if(any, at.slot);
    Ok(())
}
