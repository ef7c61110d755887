//! Unions, intersections and differences of sorted sets and sets.
//!
//! All of them look at every member of what they combine (an intersection, of its smallest part):
//! O(n) as in Redis, and O(log n) for each member of the result.

use crate::effects::{LENGTH_BYTES, Op, SCORE_BYTES};
use crate::events::Classes;
use crate::exec::Call;
use crate::hash::Hasher;
use crate::refusal::Refusal;
use crate::snapshot::Touch;
use crate::value::Type;
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use cairn_resp::Version;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How the scores of a member in several sets become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

/// What is no number counts as zero: opposite infinities, and an infinite score of no weight.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A set, with or without scores; members without one have 1.
#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Plain(&'a Set),
    Scored(&'a Sorted),
}

impl<'a> Members<'a> {
    fn of(call: &'a Call<'_>, key: &[u8]) -> Self {
        match (call.look::<Set>(key), call.look::<Sorted>(key)) {
            (Some(set), _) => Members::Plain(set),
            (None, Some(sorted)) => Members::Scored(sorted),
            (None, None) => Members::None,
        }
    }

    fn len(self) -> usize {
        match self {
            Members::None => 0,
            Members::Plain(set) => set.len(),
            Members::Scored(sorted) => sorted.len(),
        }
    }

    fn score(self, hasher: &Hasher, member: &[u8]) -> Option<f64> {
        match self {
            Members::None => None,
            Members::Plain(set) => set.contains(hasher, member).then_some(1.0),
            Members::Scored(sorted) => sorted.score(hasher, member),
        }
    }

    fn for_each(self, mut visit: impl FnMut(f64, &[u8])) {
        match self {
            Members::None => {}
            Members::Plain(set) => set.for_each(|member| visit(1.0, member)),
            Members::Scored(sorted) => sorted.for_each(0, sorted.len(), visit),
        }
    }
}

/// What a command says.
struct Request {
    operation: Operation,
    /// The arguments that are keys begin here.
    first: usize,
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// How many keys follow argument `at`.
fn key_count(call: &Call<'_>, at: usize) -> Result<usize, Refusal> {
    let count = call.integer(at)?;
    if count < 1 {
        let name = String::from_utf8_lossy(call.arg(0)).to_ascii_lowercase();
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(Refusal::Text(text.into()));
    }
    let count = usize::try_from(count).ok().filter(|count| *count < call.argc() - at);
    count.ok_or(Refusal::Syntax)
}

/// Looks at the keys from argument `first` on: what has expired goes, and all must be sets.
fn check_keys(call: &mut Call<'_>, first: usize, count: usize) -> Outcome {
    for index in first..first + count {
        let key = call.arg(index);
        let at = call.ks.locate(key);
        if let Some(place) = call.find(at, key)
            && !matches!(call.ks.kind(at, place), Type::Set | Type::Sorted)
        {
            return Err(Refusal::WrongType);
        }
    }
    Ok(())
}

/// Reads a command whose number of keys is argument `at`.
fn request(
    call: &mut Call<'_>,
    operation: Operation,
    at: usize,
    stores: bool,
) -> Result<Request, Refusal> {
    let (first, keys) = (at + 1, key_count(call, at)?);
    check_keys(call, first, keys)?;
    let mut request = Request {
        operation,
        first,
        weights: vec![1.0; keys],
        aggregate: Aggregate::Sum,
        with_scores: false,
    };
    let combines = operation != Operation::Difference;
    let mut at = first + keys;
    while at < call.argc() {
        let left = call.argc() - at;
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"WEIGHTS" if combines && left > keys => {
                for weight in &mut request.weights {
                    at += 1;
                    let refused = Refusal::text("ERR weight value is not a float");
                    *weight = parse_f64(call.arg(at)).ok_or(refused)?;
                }
            }
            b"AGGREGATE" if combines && left > 1 => {
                at += 1;
                request.aggregate = match call.arg(at).to_ascii_uppercase().as_slice() {
                    b"SUM" => Aggregate::Sum,
                    b"MIN" => Aggregate::Min,
                    b"MAX" => Aggregate::Max,
                    _ => return Err(Refusal::Syntax),
                };
            }
            b"WITHSCORES" if !stores => request.with_scores = true,
            _ => return Err(Refusal::Syntax),
        }
        at += 1;
    }
    Ok(request)
}

impl Request {
    fn result(&self, call: &Call<'_>) -> Sorted {
        let (hasher, keys) = (call.ks.hasher(), self.weights.len());
        let members = (self.first..self.first + keys).map(|at| Members::of(call, call.arg(at)));
        let mut parts: Vec<_> = members.zip(self.weights.iter().copied()).collect();
        if self.operation != Operation::Difference {
            // Sums of doubles depend on their order, which is that of Redis.
            parts.sort_by_key(|(members, _)| members.len());
        }
        let mut result = Sorted::default();
        let mut touch = Touch::nobody(hasher);
        match self.operation {
            Operation::Union => {
                for (members, weight) in parts {
                    members.for_each(|score, member| {
                        let score = number(weight * score);
                        let old = result.score(hasher, member);
                        let new = old.map_or(score, |old| self.aggregate.of(old, score));
                        result.set(&mut touch, member, new);
                    });
                }
            }
            Operation::Intersection => {
                let (smallest, weight) = parts[0];
                smallest.for_each(|score, member| {
                    let of_part = |sum: f64, (members, weight): &(Members<'_>, f64)| {
                        let score = members.score(hasher, member)?;
                        Some(self.aggregate.of(sum, weight * score))
                    };
                    let first = number(weight * score);
                    if let Some(score) = parts[1..].iter().try_fold(first, of_part) {
                        result.set(&mut touch, member, score);
                    }
                });
            }
            Operation::Difference => parts[0].0.for_each(|score, member| {
                let is_in = |part: &(Members<'_>, f64)| part.0.score(hasher, member).is_some();
                if !parts[1..].iter().any(is_in) {
                    result.set(&mut touch, member, score);
                }
            }),
        }
        result
    }
}

fn combine(call: &mut Call<'_>, operation: Operation) -> Outcome {
    let request = request(call, operation, 1, false)?;
    let result = request.result(call);
    let pairs = request.with_scores && call.reply.version() == Version::Resp3;
    let flat = request.with_scores && !pairs;
    call.reply.array(result.len() * if flat { 2 } else { 1 });
    let reply = &mut *call.reply;
    result.for_each(0, result.len(), |score, member| {
        if pairs {
            reply.array(2);
        }
        reply.bulk(member);
        if request.with_scores {
            reply.double(score);
        }
    });
    Ok(())
}

fn combine_and_store(call: &mut Call<'_>, operation: Operation) -> Outcome {
    call.reads = true;
    let result = request(call, operation, 2, true)?.result(call);
    let event = match operation {
        Operation::Union => "zunionstore",
        Operation::Intersection => "zinterstore",
        Operation::Difference => "zdiffstore",
    };
    store_sorted(call, call.arg(1), result, event)
}

/// Puts a sorted set under a key, whatever was there before, and replies with its length; an empty
/// one leaves nothing there. Otherwise that is this event.
pub(super) fn store_sorted(
    call: &mut Call<'_>,
    key: &[u8],
    sorted: Sorted,
    event: &'static str,
) -> Outcome {
    let len = sorted.len();
    let mut bytes = 0;
    sorted.for_each(0, len, |_, member| bytes += member.len() + SCORE_BYTES + LENGTH_BYTES);
    let kept = (Op::SortedAdd, Classes::SORTED, event);
    let len = call.store(key, (sorted, bytes), kept, |sorted, log| {
        sorted.for_each(0, len, |score, member| {
            log.score(score);
            log.text(member);
        });
    })?;
    call.reply.count(len);
    Ok(())
}

/// ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]
pub(crate) fn zunion(call: &mut Call<'_>) -> Outcome {
    combine(call, Operation::Union)
}

/// ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]
pub(crate) fn zinter(call: &mut Call<'_>) -> Outcome {
    combine(call, Operation::Intersection)
}

/// ZDIFF numkeys key [key ...] [WITHSCORES]
pub(crate) fn zdiff(call: &mut Call<'_>) -> Outcome {
    combine(call, Operation::Difference)
}

/// ZUNIONSTORE to numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX]
pub(crate) fn zunionstore(call: &mut Call<'_>) -> Outcome {
    combine_and_store(call, Operation::Union)
}

/// ZINTERSTORE to numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX]
pub(crate) fn zinterstore(call: &mut Call<'_>) -> Outcome {
    combine_and_store(call, Operation::Intersection)
}

/// ZDIFFSTORE to numkeys key [key ...]
pub(crate) fn zdiffstore(call: &mut Call<'_>) -> Outcome {
    combine_and_store(call, Operation::Difference)
}

/// The LIMIT of ZINTERCARD, whose keys end before argument `at`; 0 if there is none.
fn limit(call: &Call<'_>, mut at: usize) -> Result<usize, Refusal> {
    let mut limit = 0;
    while at < call.argc() {
        if at + 1 == call.argc() || !call.arg(at).eq_ignore_ascii_case(b"LIMIT") {
            return Err(Refusal::Syntax);
        }
        limit = call.at_least(at + 1, 0, "ERR LIMIT can't be negative")?;
        at += 2;
    }
    Ok(limit)
}

/// ZINTERCARD numkeys key [key ...] [LIMIT limit]
pub(crate) fn zintercard(call: &mut Call<'_>) -> Outcome {
    let keys = key_count(call, 1)?;
    check_keys(call, 2, keys)?;
    let limit = limit(call, 2 + keys)?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut parts: Vec<_> = (2..2 + keys).map(|at| Members::of(call, call.arg(at))).collect();
    parts.sort_by_key(|members| members.len());
    let mut count = 0;
    parts[0].for_each(|_, member| {
        let is_in = |members: &Members<'_>| members.score(call.ks.hasher(), member).is_some();
        if count < limit && parts[1..].iter().all(is_in) {
            count += 1;
        }
    });
    call.reply.count(count);
    Ok(())
}
