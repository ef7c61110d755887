//! SORT and SORT_RO. They hold all that is sorted in memory and take time by how many items there
//! are, more than in proportion.

use crate::effects::{EffectLog, LENGTH_BYTES, Op};
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::slot::{hash_tag, slot_of};
use crate::snapshot::Touch;
use crate::value::Type;
use crate::value::hash::Hash;
use crate::value::list::{List, Side};
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use cairn_resp::number::parse_f64;
use std::cmp::Ordering;
use std::ops::Range;

type Outcome = Result<(), Refusal>;

const BY_ELSEWHERE: &str = "ERR BY option of SORT denied in cluster mode when keys formed by the \
                            pattern may be in different slots.";
const GET_ELSEWHERE: &str = "ERR GET option of SORT denied in cluster mode when keys formed by the \
                             pattern may be in different slots.";

/// What is asked for.
struct Options<'a> {
    descending: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    store: Option<&'a [u8]>,
    by: Option<&'a [u8]>,
    /// What is shown of each item; the item itself if there is nothing.
    get: Vec<&'a [u8]>,
}

impl Options<'_> {
    /// Whether the items keep their order: what they would be sorted by is the same for all.
    fn unsorted(&self) -> bool {
        self.by.is_some_and(|by| !by.contains(&b'*'))
    }
}

/// Whether all keys that a pattern forms are of the slot of `key`: a hash tag says so that stands
/// before whatever is put in.
fn stays(pattern: &[u8], key: &[u8]) -> bool {
    let star = pattern.iter().position(|byte| *byte == b'*').unwrap_or(pattern.len());
    let tag = hash_tag(&pattern[..star]);
    star == pattern.len() || (tag.len() < star && slot_of(tag) == slot_of(key))
}

fn options<'a>(call: &Call<'a>, may_store: bool) -> Result<Options<'a>, Refusal> {
    let mut options = Options {
        descending: false,
        alpha: false,
        limit: None,
        store: None,
        by: None,
        get: Vec::new(),
    };
    let (key, mut at) = (call.arg(1), 2);
    while at < call.argc() {
        let left = call.argc() - at - 1;
        if call.is_word(at, "ASC") {
            options.descending = false;
        } else if call.is_word(at, "DESC") {
            options.descending = true;
        } else if call.is_word(at, "ALPHA") {
            options.alpha = true;
        } else if call.is_word(at, "LIMIT") && left >= 2 {
            options.limit = Some((call.integer(at + 1)?, call.integer(at + 2)?));
            at += 2;
        } else if may_store && call.is_word(at, "STORE") && left >= 1 {
            at += 1;
            options.store = Some(call.arg(at));
        } else if call.is_word(at, "BY") && left >= 1 {
            at += 1;
            options.by = Some(call.arg(at));
            if !stays(call.arg(at), key) {
                return Err(Refusal::text(BY_ELSEWHERE));
            }
        } else if call.is_word(at, "GET") && left >= 1 {
            at += 1;
            options.get.push(call.arg(at));
            if !stays(call.arg(at), key) {
                return Err(Refusal::text(GET_ELSEWHERE));
            }
        } else {
            return Err(Refusal::Syntax);
        }
        at += 1;
    }
    Ok(options)
}

/// The items under the key in argument 1, in their own order, and of what type they are.
fn items(call: &mut Call<'_>, descending: bool) -> Result<(Vec<Vec<u8>>, Type), Refusal> {
    let at = call.at_first();
    call.reads = true;
    let Some(place) = call.find(at, call.arg(1)) else { return Ok((Vec::new(), Type::List)) };
    let kind = call.ks.kind(at, place);
    let mut items = Vec::new();
    match kind {
        Type::List => {
            let list = call.ks.collection::<List>(at, place);
            list.into_iter().for_each(|list| items.extend(list.iter_from(0).map(<[u8]>::to_vec)));
        }
        Type::Set => {
            let set = call.ks.collection::<Set>(at, place);
            set.into_iter().for_each(|set| items.extend(set.members().map(<[u8]>::to_vec)));
        }
        Type::Sorted => {
            if let Some(sorted) = call.ks.collection::<Sorted>(at, place) {
                sorted.for_each(0, sorted.len(), |_, member| items.push(member.to_vec()));
            }
        }
        Type::String | Type::Hash | Type::Stream => return Err(Refusal::WrongType),
    }
    if descending {
        items.reverse();
    }
    Ok((items, kind))
}

/// Which of `len` items are shown.
fn shown(limit: Option<(i64, i64)>, len: usize) -> Range<usize> {
    let Some((start, count)) = limit else { return 0..len };
    let start = usize::try_from(start).unwrap_or(0).min(len);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    start..start.saturating_add(count).min(len)
}

/// What a pattern leads to for an item: `#` is the item itself, `*` stands for it in a key, and
/// `->` before a field of a hash.
fn looked_up(call: &Call<'_>, pattern: &[u8], item: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(item.to_vec());
    }
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let rest = &pattern[star + 1..];
    let arrow = rest.windows(2).position(|pair| pair == b"->");
    let arrow = arrow.filter(|at| at + 2 < rest.len());
    let (rest, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    let key = [&pattern[..star], item, rest].concat();
    let Some(field) = field else {
        let at = call.ks.locate(&key);
        let place = call.ks.find(at, &key)?;
        let live = !call.ks.is_expired(at, place, call.ctx.now_ms);
        return live.then(|| call.ks.text(at, place).map(<[u8]>::to_vec)).flatten();
    };
    let value = call.look::<Hash>(&key)?.get(call.ks.hasher(), field)?;
    Some(value.to_vec())
}

/// What an item is sorted by.
struct Sorting {
    item: Vec<u8>,
    /// None is before all others.
    text: Option<Vec<u8>>,
    score: f64,
}

/// A number as the C library reads one: up to a zero byte; no text at all is 0.
fn score(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = text[..end].trim_ascii_start();
    if end == 0 { Some(0.0) } else { parse_f64(text) }
}

fn sorted(
    call: &Call<'_>,
    items: Vec<Vec<u8>>,
    options: &Options<'_>,
) -> Result<Vec<Vec<u8>>, Refusal> {
    const NO_SCORE: &str = "ERR One or more scores can't be converted into double";
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let by = options.by.map(|pattern| looked_up(call, pattern, &item));
        let (mut text, mut number) = (None, 0.0);
        match (options.alpha, by) {
            (true, by) => text = by.flatten(),
            (false, Some(None)) => {}
            (false, Some(Some(by))) => {
                number = score(&by).ok_or(Refusal::text(NO_SCORE))?;
            }
            (false, None) => number = score(&item).ok_or(Refusal::text(NO_SCORE))?,
        }
        rows.push(Sorting { item, text, score: number });
    }
    let by_text = options.alpha && options.by.is_some();
    rows.sort_by(|a, b| {
        let ordering = match (options.alpha, by_text) {
            (_, true) => a.text.cmp(&b.text),
            (true, false) => a.item.cmp(&b.item),
            (false, _) => {
                let scores = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
                scores.then_with(|| a.item.cmp(&b.item))
            }
        };
        if options.descending { ordering.reverse() } else { ordering }
    });
    Ok(rows.into_iter().map(|row| row.item).collect())
}

fn perform(call: &mut Call<'_>, may_store: bool) -> Outcome {
    let mut options = options(call, may_store)?;
    let unsorted = options.unsorted();
    let (mut items, kind) = items(call, unsorted && options.descending)?;
    if !unsorted {
        items = sorted(call, items, &options)?;
    } else if kind == Type::Set && options.store.is_some() {
        // A set has no order, and what is kept should not depend on how it is.
        (options.alpha, options.by) = (true, None);
        items = sorted(call, items, &options)?;
    }
    let range = shown(options.limit, items.len());
    let mut rows: Vec<Option<Vec<u8>>> = Vec::new();
    for item in items.drain(range) {
        if options.get.is_empty() {
            rows.push(Some(item));
        } else {
            rows.extend(options.get.iter().map(|pattern| looked_up(call, pattern, &item)));
        }
    }
    let Some(target) = options.store else {
        call.reply.array(rows.len());
        for row in rows {
            match row {
                Some(text) => call.reply.bulk(&text),
                None => call.reply.null(),
            }
        }
        return Ok(());
    };
    let mut list = List::default();
    let touch = &mut Touch::nobody(call.ks.hasher());
    let mut bytes = 0;
    for row in rows.iter().map(|row| row.as_deref().unwrap_or_default()) {
        list.push(touch, Side::Back, row);
        bytes += row.len() + LENGTH_BYTES;
    }
    let log = |list: &List, log: &mut EffectLog| list.iter_from(0).for_each(|item| log.text(item));
    let kept = (Op::PushBack, Classes::LIST, "sortstore");
    let count = call.store(target, (list, bytes), kept, log)?;
    call.reply.count(count);
    Ok(())
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]
/// [STORE destination]
pub(crate) fn sort(call: &mut Call<'_>) -> Outcome {
    perform(call, true)
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC]
/// [ALPHA]
pub(crate) fn sort_ro(call: &mut Call<'_>) -> Outcome {
    perform(call, false)
}
