//! Commands that draw from a set or a hash at random. The master draws; the log says what it drew.

use crate::dice::Dice;
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::refusal::Refusal;
use crate::value::hash::Hash;
use crate::value::set::Set;
use cairn_resp::Version;

type Outcome = Result<(), Refusal>;

/// A draw that may repeat itself gives at most so many: more would hold up all others.
const REPEATED_MAX: u64 = 1 << 20;

/// SPOP key [count]
pub(crate) fn spop(call: &mut Call<'_>) -> Outcome {
    let counted = call.argc() > 2;
    if call.argc() > 3 {
        return Err(Refusal::Syntax);
    }
    let count = match counted {
        true => call.at_least(2, 0, "ERR value is out of range, must be positive")?,
        false => 1,
    };
    let (at, key) = (call.at_first(), call.arg(1));
    let found = call.find_as::<Set>(at, key)?.filter(|_| count > 0);
    let Some(place) = found else {
        if counted {
            call.reply.set(0);
        } else {
            call.reply.null();
        }
        return Ok(());
    };
    let mut dice = Dice::new(call.ks.draw());
    let set = call.ks.collection::<Set>(at, place);
    let (len, members) =
        set.map_or((0, Vec::new()), |set| (set.len(), set.sample(count, &mut dice)));
    if counted {
        call.reply.set(members.len());
    }
    members.iter().for_each(|member| call.reply.bulk(member));
    if members.len() == len {
        call.delete(at, key, place);
        call.tell_taken(Classes::SET, "spop", at, key);
        return Ok(());
    }
    let members: Vec<Vec<u8>> = members.into_iter().map(<[u8]>::to_vec).collect();
    let many = call.log.begin_many(Op::SetRemove, key);
    call.ks.update(at, place, |set: &mut Set, touch| {
        for member in &members {
            set.remove(touch, member);
        }
    });
    members.iter().for_each(|member| call.log.text(member));
    call.log.end_many(many, members.len());
    call.wrote(at.slot);
    call.tell(Classes::SET, "spop", key);
    Ok(())
}

/// How many are drawn: different ones, or, if it is negative, so many that may be the same.
pub(super) enum Draw {
    Different(usize),
    Any(usize),
}

/// What a count asks for.
pub(super) fn draw_of(count: i64) -> Result<Draw, Refusal> {
    let number = count.unsigned_abs();
    if count < 0 && number > REPEATED_MAX {
        return Err(Refusal::text("ERR value is out of range"));
    }
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    Ok(if count < 0 { Draw::Any(number) } else { Draw::Different(number) })
}

/// SRANDMEMBER key [count]
pub(crate) fn srandmember(call: &mut Call<'_>) -> Outcome {
    if call.argc() > 3 {
        return Err(Refusal::Syntax);
    }
    let draw = match call.argc() {
        3 => Some(draw_of(call.mirrored(2)?)?),
        _ => None,
    };
    let at = call.at_first();
    let place = call.find_as::<Set>(at, call.arg(1))?;
    let mut dice = Dice::new(call.ks.draw());
    let set = place.and_then(|place| call.ks.collection::<Set>(at, place));
    match (draw, set) {
        (None, None) => call.reply.null(),
        (None, Some(set)) => call.reply.bulk(set.random(&mut dice).unwrap_or_default()),
        (Some(_), None) => call.reply.array(0),
        (Some(Draw::Any(count)), Some(set)) => {
            call.reply.array(count);
            for _ in 0..count {
                call.reply.bulk(set.random(&mut dice).unwrap_or_default());
            }
        }
        (Some(Draw::Different(count)), Some(set)) => {
            let members = set.sample(count, &mut dice);
            call.reply.array(members.len());
            members.iter().for_each(|member| call.reply.bulk(member));
        }
    }
    Ok(())
}

/// HRANDFIELD key [count [WITHVALUES]]
pub(crate) fn hrandfield(call: &mut Call<'_>) -> Outcome {
    let mut draw = None;
    let values = call.argc() == 4;
    if call.argc() > 2 {
        let count = call.mirrored(2)?;
        if call.argc() > 4 || (values && !call.is_word(3, "WITHVALUES")) {
            return Err(Refusal::Syntax);
        }
        if values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(Refusal::text("ERR value is out of range"));
        }
        draw = Some(draw_of(count)?);
    }
    let at = call.at_first();
    let place = call.find_as::<Hash>(at, call.arg(1))?;
    let mut dice = Dice::new(call.ks.draw());
    let hash = place.and_then(|place| call.ks.collection::<Hash>(at, place));
    let pairs: Vec<(&[u8], &[u8])> = match (&draw, hash) {
        (_, None) => Vec::new(),
        (None, Some(hash)) => hash.random(&mut dice).into_iter().collect(),
        (Some(Draw::Any(count)), Some(hash)) => {
            (0..*count).filter_map(|_| hash.random(&mut dice)).collect()
        }
        (Some(Draw::Different(count)), Some(hash)) => hash.sample(*count, &mut dice),
    };
    let reply = &mut *call.reply;
    if draw.is_none() {
        match pairs.first() {
            Some((field, _)) => reply.bulk(field),
            None => reply.null(),
        }
        return Ok(());
    }
    let nested = values && reply.version() == Version::Resp3;
    reply.array(if values && !nested { pairs.len() * 2 } else { pairs.len() });
    for (field, value) in pairs {
        if nested {
            reply.array(2);
        }
        reply.bulk(field);
        if values {
            reply.bulk(value);
        }
    }
    Ok(())
}
