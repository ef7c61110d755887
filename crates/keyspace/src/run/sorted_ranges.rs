//! Commands that read ranges of sorted sets, or store them elsewhere: O(log n) and what they give.

use super::sorted_unions::store_sorted;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::snapshot::Touch;
use crate::value::sorted::Sorted;
use cairn_resp::Version;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Text,
}

struct Query {
    by: By,
    reversed: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

/// One end of a range of scores.
pub(super) struct ScoreEnd {
    score: f64,
    open: bool,
}

/// One end of a range of members.
pub(super) enum TextEnd<'a> {
    Lowest,
    Highest,
    At { member: &'a [u8], open: bool },
}

pub(super) fn score_end(text: &[u8]) -> Result<ScoreEnd, Refusal> {
    let (open, text) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    // Unlike elsewhere a zero byte ends the number, none at all is zero, and one that is too large
    // is infinite.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let number = match text.trim_ascii_start() {
        [] => text.is_empty().then_some(0.0),
        text => parse_f64(text).or_else(|| {
            let wide = std::str::from_utf8(text).ok()?.parse::<f64>().ok()?;
            wide.is_infinite().then_some(wide)
        }),
    };
    let score = number.ok_or(Refusal::text("ERR min or max is not a float"))?;
    Ok(ScoreEnd { score, open })
}

pub(super) fn text_end(text: &[u8]) -> Result<TextEnd<'_>, Refusal> {
    match text {
        b"-" => Ok(TextEnd::Lowest),
        b"+" => Ok(TextEnd::Highest),
        [b'(', member @ ..] => Ok(TextEnd::At { member, open: true }),
        [b'[', member @ ..] => Ok(TextEnd::At { member, open: false }),
        _ => Err(Refusal::text("ERR min or max not valid string range item")),
    }
}

/// The ranks, first and behind the last, of the scores between two ends.
pub(super) fn score_ranks(sorted: &Sorted, min: &ScoreEnd, max: &ScoreEnd) -> (usize, usize) {
    let below = |score: f64| if min.open { score <= min.score } else { score < min.score };
    let within = |score: f64| if max.open { score < max.score } else { score <= max.score };
    let first = sorted.rank(|score, _| below(score));
    let end = sorted.rank(|score, _| within(score));
    (first, end.max(first))
}

pub(super) fn text_ranks(sorted: &Sorted, min: &TextEnd<'_>, max: &TextEnd<'_>) -> (usize, usize) {
    let first = match *min {
        TextEnd::Lowest => 0,
        TextEnd::Highest => sorted.len(),
        TextEnd::At { member, open: true } => sorted.rank(|_, name| name <= member),
        TextEnd::At { member, open: false } => sorted.rank(|_, name| name < member),
    };
    let end = match *max {
        TextEnd::Lowest => 0,
        TextEnd::Highest => sorted.len(),
        TextEnd::At { member, open: true } => sorted.rank(|_, name| name < member),
        TextEnd::At { member, open: false } => sorted.rank(|_, name| name <= member),
    };
    (first, end.max(first))
}

/// What the options of a command may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// How it is replied.
    Form,
    /// That, and what kind of range it is.
    All,
    /// Only what kind of range it is.
    Kind,
}

/// Reads the options from argument `first` on.
fn options(
    call: &Call<'_>,
    first: usize,
    mut query: Query,
    allowed: Allowed,
) -> Result<Query, Refusal> {
    let any = allowed != Allowed::Form;
    let mut at = first;
    while at < call.argc() {
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"BYSCORE" if any => query.by = By::Score,
            b"BYLEX" if any => query.by = By::Text,
            b"REV" if any => query.reversed = true,
            b"WITHSCORES" if allowed != Allowed::Kind => query.with_scores = true,
            b"LIMIT" if at + 2 < call.argc() => {
                query.limit = Some((call.integer(at + 1)?, call.integer(at + 2)?));
                at += 2;
            }
            _ => return Err(Refusal::Syntax),
        }
        at += 1;
    }
    if query.by == By::Rank
        && let Some((_, count)) = query.limit.take()
        && count != -1
    {
        return Err(Refusal::text(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if query.with_scores && query.by == By::Text {
        return Err(Refusal::text(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    Ok(query)
}

/// What a query's two ends say, parsed before the key is looked up.
enum Ends<'a> {
    Rank(i64, i64),
    Score(ScoreEnd, ScoreEnd),
    Text(TextEnd<'a>, TextEnd<'a>),
}

/// Reads the two ends, the first of which is argument `at`.
fn ends<'a>(call: &Call<'a>, at: usize, query: &Query) -> Result<Ends<'a>, Refusal> {
    // By rank a reversed range counts from the end; else its first argument is the maximum.
    let swapped = query.reversed && query.by != By::Rank;
    let (min, max) = if swapped { (at + 1, at) } else { (at, at + 1) };
    Ok(match query.by {
        By::Rank => Ends::Rank(call.integer(min)?, call.integer(max)?),
        By::Score => Ends::Score(score_end(call.arg(min))?, score_end(call.arg(max))?),
        By::Text => Ends::Text(text_end(call.arg(min))?, text_end(call.arg(max))?),
    })
}

impl Query {
    /// The first of the range and the one behind its last, counted in the query's direction.
    fn places(&self, ends: &Ends<'_>, sorted: &Sorted) -> (usize, usize) {
        let (mut first, mut end) = match ends {
            Ends::Rank(start, stop) => super::range(*start, *stop, sorted.len()),
            Ends::Score(min, max) => score_ranks(sorted, min, max),
            Ends::Text(min, max) => text_ranks(sorted, min, max),
        };
        if self.reversed && self.by != By::Rank {
            (first, end) = (sorted.len() - end, sorted.len() - first);
        }
        if let Some((skip, count)) = self.limit {
            let Ok(skip) = usize::try_from(skip) else { return (0, 0) };
            first = first.saturating_add(skip).min(end);
            // A negative count means all.
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            end = end.min(first.saturating_add(count));
        }
        (first, end)
    }

    fn visit(&self, sorted: &Sorted, (first, end): (usize, usize), visit: impl FnMut(f64, &[u8])) {
        match self.reversed {
            true => sorted.for_each_back(first, end - first, visit),
            false => sorted.for_each(first, end - first, visit),
        }
    }
}

fn range(call: &mut Call<'_>, query: &Query) -> Outcome {
    let ends = ends(call, 2, query)?;
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let Some(sorted) = place.and_then(|place| call.ks.collection::<Sorted>(at, place)) else {
        call.reply.array(0);
        return Ok(());
    };
    let (first, end) = query.places(&ends, sorted);
    let pairs = query.with_scores && call.reply.version() == Version::Resp3;
    let flat = query.with_scores && !pairs;
    call.reply.array((end - first) * if flat { 2 } else { 1 });
    let reply = &mut *call.reply;
    query.visit(sorted, (first, end), |score, member| {
        if pairs {
            reply.array(2);
        }
        reply.bulk(member);
        if query.with_scores {
            reply.double(score);
        }
    });
    Ok(())
}

/// ZRANGESTORE to from start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count]
pub(crate) fn zrangestore(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 5, query(By::Rank, false), Allowed::Kind)?;
    let ends = ends(call, 3, &query)?;
    let key = call.arg(2);
    let at = call.ks.locate(key);
    call.reads = true;
    let place = call.find_as::<Sorted>(at, key)?;
    let mut found = Sorted::default();
    if let Some(sorted) = place.and_then(|place| call.ks.collection::<Sorted>(at, place)) {
        let mut touch = Touch::nobody(call.ks.hasher());
        query.visit(sorted, query.places(&ends, sorted), |score, member| {
            found.set(&mut touch, member, score);
        });
    }
    store_sorted(call, call.arg(1), found, "zrangestore")
}

fn query(by: By, reversed: bool) -> Query {
    Query { by, reversed, with_scores: false, limit: None }
}

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub(crate) fn zrange(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Rank, false), Allowed::All)?;
    range(call, &query)
}

/// ZREVRANGE key start stop [WITHSCORES]
pub(crate) fn zrevrange(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Rank, true), Allowed::Form)?;
    range(call, &query)
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub(crate) fn zrangebyscore(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Score, false), Allowed::Form)?;
    range(call, &query)
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub(crate) fn zrevrangebyscore(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Score, true), Allowed::Form)?;
    range(call, &query)
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub(crate) fn zrangebylex(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Text, false), Allowed::Form)?;
    range(call, &query)
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub(crate) fn zrevrangebylex(call: &mut Call<'_>) -> Outcome {
    let query = options(call, 4, query(By::Text, true), Allowed::Form)?;
    range(call, &query)
}

/// ZCOUNT key min max
pub(crate) fn zcount(call: &mut Call<'_>) -> Outcome {
    let (min, max) = (score_end(call.arg(2))?, score_end(call.arg(3))?);
    let count = call.read::<Sorted>()?.map_or(0, |sorted| {
        let (first, end) = score_ranks(sorted, &min, &max);
        end - first
    });
    call.reply.count(count);
    Ok(())
}

/// ZLEXCOUNT key min max
pub(crate) fn zlexcount(call: &mut Call<'_>) -> Outcome {
    let (min, max) = (text_end(call.arg(2))?, text_end(call.arg(3))?);
    let count = call.read::<Sorted>()?.map_or(0, |sorted| {
        let (first, end) = text_ranks(sorted, &min, &max);
        end - first
    });
    call.reply.count(count);
    Ok(())
}
