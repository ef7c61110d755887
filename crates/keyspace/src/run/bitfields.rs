//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.

use super::bits::{lengthen, offset, read, write};
use super::strings::text;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use cairn_resp::number::parse_i64;

type Outcome = Result<(), Refusal>;

/// What becomes of a number that its field cannot hold.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// The type of a field.
#[derive(Clone, Copy)]
struct Width {
    signed: bool,
    /// At most 64, or 63 without a sign.
    bits: u8,
}

impl Width {
    fn parse(word: &[u8]) -> Option<Self> {
        let (signed, digits) = match word {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let bits = u8::try_from(parse_i64(digits)?).ok()?;
        let most = if signed { 64 } else { 63 };
        (1..=most).contains(&bits).then_some(Self { signed, bits })
    }

    /// What the lowest bits mean as a number of this type.
    fn number(self, bits: u64) -> i128 {
        let unused = 64 - u32::from(self.bits);
        let shifted = bits << unused;
        if self.signed {
            i128::from(shifted as i64 >> unused)
        } else {
            i128::from(shifted >> unused)
        }
    }

    /// The number that is written for `number`; none if it does not fit and that fails.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        };
        match overflow {
            _ if (min..=max).contains(&number) => Some(number),
            Overflow::Wrap => Some(self.number(number as u64)),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation.
struct Step {
    action: Action,
    width: Width,
    from: u64,
    overflow: Overflow,
}

impl Step {
    /// The bytes that the string must have to hold the field.
    fn end(&self) -> usize {
        (self.from + u64::from(self.width.bits)).div_ceil(8) as usize
    }
}

fn steps(call: &Call<'_>) -> Result<Vec<Step>, Refusal> {
    let (mut steps, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while at < call.argc() {
        let word = call.arg(at).to_ascii_uppercase();
        let left = call.argc() - at - 1;
        if word == b"OVERFLOW" && left >= 1 {
            overflow = match call.arg(at + 1).to_ascii_uppercase().as_slice() {
                b"WRAP" => Overflow::Wrap,
                b"SAT" => Overflow::Saturate,
                b"FAIL" => Overflow::Fail,
                _ => return Err(Refusal::text("ERR Invalid OVERFLOW type specified")),
            };
            at += 2;
            continue;
        }
        let make: Option<fn(i64) -> Action> = match word.as_slice() {
            b"GET" if left >= 2 => None,
            b"SET" if left >= 3 => Some(Action::Set),
            b"INCRBY" if left >= 3 => Some(Action::Add),
            _ => return Err(Refusal::Syntax),
        };
        let width = Width::parse(call.arg(at + 1)).ok_or(Refusal::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        ))?;
        let from = offset(call, at + 2, width.bits, true)?;
        let action = match make {
            None => Action::Get,
            Some(make) => make(call.integer(at + 3)?),
        };
        at += if make.is_some() { 4 } else { 3 };
        steps.push(Step { action, width, from, overflow });
    }
    Ok(steps)
}

/// What an operation did to the string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Did {
    Nothing,
    /// Set a field to what it was.
    Kept,
    Changed,
}

/// Does one operation and replies to it; the string is long enough if it writes.
fn perform(call: &mut Call<'_>, at: At, place: Option<Place>, step: &Step) -> Result<Did, Refusal> {
    let Step { width, from, .. } = *step;
    let old = width.number(read(text(call, at, place)?, from, width.bits));
    let (wanted, shows_old) = match step.action {
        Action::Get => {
            call.reply.integer(old as i64);
            return Ok(Did::Nothing);
        }
        // A negative number is a very large one for a field without a sign.
        Action::Set(value) if !width.signed => (i128::from(value as u64), true),
        Action::Set(value) => (i128::from(value), true),
        Action::Add(delta) => (old + i128::from(delta), false),
    };
    let (Some(new), Some(place)) = (width.fit(wanted, step.overflow), place) else {
        call.reply.null();
        return Ok(Did::Nothing);
    };
    if new != old {
        write(call, (at, call.arg(1), place), from, width.bits, new as u64);
    }
    call.reply.integer(if shows_old { old } else { new } as i64);
    Ok(if new == old { Did::Kept } else { Did::Changed })
}

fn run(call: &mut Call<'_>, reads_only: bool) -> Outcome {
    let steps = steps(call)?;
    let writes = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    let len = writes.map(Step::end).max();
    if reads_only && len.is_some() {
        return Err(Refusal::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let (at, key) = (call.at_first(), call.arg(1));
    call.reads = len.is_none();
    let mut place = call.find(at, key);
    text(call, at, place)?;
    let logged = call.log.open_bytes();
    if let Some(len) = len {
        if len > call.ctx.value_bytes_max {
            return Err(Refusal::TooLarge);
        }
        place = Some(lengthen(call, at, key, place, len)?);
    }
    call.reply.array(steps.len());
    let (longer, mut tells) = (call.log.open_bytes() > logged, false);
    for step in &steps {
        let did = perform(call, at, place, step)?;
        tells |= did == Did::Changed || longer && did == Did::Kept;
    }
    if tells {
        call.tell(Classes::STRING, "setbit", key);
    }
    Ok(())
}

/// BITFIELD key [GET type offset | [OVERFLOW how] SET type offset value | INCRBY type offset by]
pub(crate) fn bitfield(call: &mut Call<'_>) -> Outcome {
    run(call, false)
}

/// BITFIELD_RO key [GET type offset ...]
pub(crate) fn bitfield_ro(call: &mut Call<'_>) -> Outcome {
    run(call, true)
}
