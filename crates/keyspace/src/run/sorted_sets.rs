//! Commands on sorted sets, those that read ranges apart.

use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::sorted::Sorted;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

/// Which members are added, and what is replied.
#[derive(Default)]
pub(super) struct AddOptions {
    /// Only new ones.
    pub absent: bool,
    /// Only those that are there.
    pub present: bool,
    greater: bool,
    less: bool,
    /// The reply counts changed ones, too.
    pub changed: bool,
    increment: bool,
}

impl AddOptions {
    /// The score to set, if the options let it.
    fn decide(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, Refusal> {
        let Some(old) = old else { return Ok((!self.present).then_some(given)) };
        if self.absent {
            return Ok(None);
        }
        let new = if self.increment { old + given } else { given };
        if new.is_nan() {
            return Err(Refusal::text("ERR resulting score is not a number (NaN)"));
        }
        let refused = (self.greater && new <= old) || (self.less && new >= old);
        Ok((!refused).then_some(new))
    }
}

/// Reads the options of ZADD; gives them and the index of the first score.
fn add_options(call: &Call<'_>, mut options: AddOptions) -> Result<(AddOptions, usize), Refusal> {
    let mut at = 2;
    while at < call.argc() {
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"NX" => options.absent = true,
            b"XX" => options.present = true,
            b"GT" => options.greater = true,
            b"LT" => options.less = true,
            b"CH" => options.changed = true,
            b"INCR" => options.increment = true,
            _ => break,
        }
        at += 1;
    }
    let rest = call.argc() - at;
    if rest == 0 || !rest.is_multiple_of(2) {
        return Err(Refusal::Syntax);
    }
    if options.absent && options.present {
        return Err(Refusal::text("ERR XX and NX options at the same time are not compatible"));
    }
    let one_of = [options.absent, options.greater, options.less];
    if one_of.into_iter().filter(|given| *given).count() > 1 {
        return Err(Refusal::text(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if options.increment && rest > 2 {
        return Err(Refusal::text("ERR INCR option supports a single increment-element pair"));
    }
    Ok((options, at))
}

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]
pub(crate) fn zadd(call: &mut Call<'_>) -> Outcome {
    // Most calls have no options, and then nothing to look for.
    let plain = call.argc() == 4 && parse_f64(call.arg(2)).is_some();
    let options = AddOptions::default();
    let (options, first) = if plain { (options, 2) } else { add_options(call, options)? };
    for index in (first..call.argc()).step_by(2) {
        parse_f64(call.arg(index)).ok_or(Refusal::NotFloat)?;
    }
    add_scores(call, &options, pairs(call, first))
}

/// The pairs of score and member from argument `first` on, whose scores have been read before.
fn pairs<'a>(call: &Call<'a>, first: usize) -> impl Iterator<Item = (f64, &'a [u8])> + use<'a> {
    let args = call.args;
    (first..args.len()).step_by(2).map(move |index| {
        let score = parse_f64(args.get(index)).expect("it was read before");
        (score, args.get(index + 1))
    })
}

/// ZINCRBY key increment member
pub(crate) fn zincrby(call: &mut Call<'_>) -> Outcome {
    // As in ZADD, what stands before the score may be options.
    let options = AddOptions { increment: true, ..AddOptions::default() };
    let (options, first) = add_options(call, options)?;
    parse_f64(call.arg(first)).ok_or(Refusal::NotFloat)?;
    add_scores(call, &options, pairs(call, first))
}

struct Added {
    new: usize,
    changed: usize,
    /// The score of the last pair, if it was let.
    score: Option<f64>,
}

/// Adds members to the sorted set under the first key and replies as ZADD does.
pub(super) fn add_scores<'a>(
    call: &mut Call<'_>,
    options: &AddOptions,
    pairs: impl Iterator<Item = (f64, &'a [u8])>,
) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = match call.find_as::<Sorted>(at, key)? {
        Some(place) => place,
        None if options.present => {
            if options.increment {
                call.reply.null()
            } else {
                call.reply.integer(0)
            }
            return Ok(());
        }
        None => {
            call.tell_new(key);
            call.ks.put_collection::<Sorted>(at, key)
        }
    };
    let log = &mut *call.log;
    let many = log.begin_many(Op::SortedAdd, key);
    let outcome: Result<Added, Refusal> =
        call.ks.update(at, place, |sorted: &mut Sorted, touch| {
            let mut added = Added { new: 0, changed: 0, score: None };
            for (given, member) in pairs {
                let old = match options.needs_old() {
                    true => sorted.score(touch.hasher(), member),
                    false => None,
                };
                let Some(score) = options.decide(old, given)? else { continue };
                let old = sorted.set(touch, member, score);
                added.score = Some(score);
                if old != Some(score) {
                    added.new += usize::from(old.is_none());
                    added.changed += 1;
                    log.score(score);
                    log.text(member);
                }
            }
            Ok(added)
        });
    // Only INCR can fail inside, with one pair and before it has changed anything.
    let changed = outcome.as_ref().map_or(0, |added| added.changed);
    if log.end_many(many, changed) {
        call.wrote(at.slot);
        call.tell(Classes::SORTED, if options.increment { "zincr" } else { "zadd" }, key);
    }
    let added = outcome?;
    match (options.increment, added.score) {
        (true, Some(score)) => call.reply.double(score),
        (true, None) => call.reply.null(),
        (false, _) if options.changed => call.reply.count(added.changed),
        (false, _) => call.reply.count(added.new),
    }
    Ok(())
}

impl AddOptions {
    fn needs_old(&self) -> bool {
        self.absent || self.present || self.greater || self.less || self.increment
    }
}

/// ZREM key member [member ...]
pub(crate) fn zrem(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let Some(place) = call.find_as::<Sorted>(at, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let (args, log) = (call.args, &mut *call.log);
    let many = log.begin_many(Op::SortedRemove, key);
    let removed = call.ks.update(at, place, |sorted: &mut Sorted, touch| {
        let mut removed = 0;
        for member in args.from(2).iter() {
            if sorted.remove(touch, member).is_some() {
                log.text(member);
                removed += 1;
            }
        }
        removed
    });
    if log.end_many(many, removed) {
        call.wrote(at.slot);
        call.tell_taken(Classes::SORTED, "zrem", at, key);
    }
    call.reply.count(removed);
    Ok(())
}

/// ZCARD key
pub(crate) fn zcard(call: &mut Call<'_>) -> Outcome {
    let len = call.read::<Sorted>()?.map_or(0, Sorted::len);
    call.reply.count(len);
    Ok(())
}

/// ZSCORE key member
pub(crate) fn zscore(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let sorted = place.and_then(|place| call.ks.collection::<Sorted>(at, place));
    match sorted.and_then(|sorted| sorted.score(call.ks.hasher(), call.args.get(2))) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

/// ZMSCORE key member [member ...]
pub(crate) fn zmscore(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let sorted = place.and_then(|place| call.ks.collection::<Sorted>(at, place));
    call.reply.array(call.args.len() - 2);
    for member in call.args.from(2).iter() {
        match sorted.and_then(|sorted| sorted.score(call.ks.hasher(), member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn rank(call: &mut Call<'_>, reversed: bool) -> Outcome {
    let with_score = match call.argc() {
        3 => false,
        4 if call.arg(3).eq_ignore_ascii_case(b"WITHSCORE") => true,
        4 => return Err(Refusal::Syntax),
        _ => return Err(Refusal::Arity),
    };
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let sorted = place.and_then(|place| call.ks.collection::<Sorted>(at, place));
    let found = sorted.and_then(|sorted| {
        let (rank, score) = sorted.rank_of(call.ks.hasher(), call.args.get(2))?;
        Some((if reversed { sorted.len() - 1 - rank } else { rank }, score))
    });
    match found {
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
        Some((rank, score)) => {
            if with_score {
                call.reply.array(2);
            }
            call.reply.count(rank);
            if with_score {
                call.reply.double(score);
            }
        }
    }
    Ok(())
}

/// ZRANK key member [WITHSCORE]
pub(crate) fn zrank(call: &mut Call<'_>) -> Outcome {
    rank(call, false)
}

/// ZREVRANK key member [WITHSCORE]
pub(crate) fn zrevrank(call: &mut Call<'_>) -> Outcome {
    rank(call, true)
}
