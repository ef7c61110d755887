//! IDs as clients write them.

use crate::refusal::Refusal;
use crate::value::stream::id::Id;
use cairn_resp::number::parse_i64;

/// Longer texts are no IDs.
const TEXT_MAX: usize = 127;

fn invalid() -> Refusal {
    Refusal::text("ERR Invalid stream ID specified as stream command argument")
}

/// A number as C's `strtoull` reads it, which is what clients of Redis know: spaces before it and a
/// sign are allowed, and a negative one counts from the end, unless it is an integer as Redis
/// writes them.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | 9..=13)).count();
    let (negative, digits) = match &text[spaces..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let digit = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    let number = digits.iter().try_fold(0, digit)?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// What a text ends with for C.
fn to_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn parts(text: &[u8]) -> Result<(u64, Option<&[u8]>), Refusal> {
    let (ms, seq) = match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    Ok((number(ms).ok_or_else(invalid)?, seq))
}

/// An ID; a number that is missing is `seq`.
pub fn strict(text: &[u8], seq: u64) -> Result<Id, Refusal> {
    if text.len() > TEXT_MAX {
        return Err(invalid());
    }
    let (ms, rest) = parts(to_zero(text))?;
    let seq = rest.map_or(Some(seq), number).ok_or_else(invalid)?;
    Ok(Id::new(ms, seq))
}

/// An ID to be given to an entry, and whether its number was said: `ms-*` leaves that open.
pub fn given(text: &[u8]) -> Result<(Id, bool), Refusal> {
    if text.len() <= TEXT_MAX
        && let (ms, Some(b"*")) = parts(to_zero(text))?
    {
        return Ok((Id::new(ms, 0), false));
    }
    Ok((strict(text, 0)?, true))
}

/// An ID, or one of both ends.
pub fn any(text: &[u8], seq: u64) -> Result<Id, Refusal> {
    match to_zero(text) {
        _ if text.len() > TEXT_MAX => Err(invalid()),
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => strict(text, seq),
    }
}

/// The first ID of a range.
pub fn first(text: &[u8]) -> Result<Id, Refusal> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = strict(rest, 0)?.next();
            id.ok_or(Refusal::text("ERR invalid start ID for the interval"))
        }
        _ => any(text, 0),
    }
}

/// The last ID of a range.
pub fn last(text: &[u8]) -> Result<Id, Refusal> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = strict(rest, u64::MAX)?.before();
            id.ok_or(Refusal::text("ERR invalid end ID for the interval"))
        }
        _ => any(text, u64::MAX),
    }
}

/// Both ends of a range.
pub fn bounds(from: &[u8], to: &[u8]) -> Result<(Id, Id), Refusal> {
    Ok((first(from)?, last(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(strict(b"5", 7), Ok(Id::new(5, 7)));
        assert_eq!(strict(b"5-6", 7), Ok(Id::new(5, 6)));
        assert_eq!(strict(b"05- 6", 7), Ok(Id::new(5, 6)));
        assert_eq!(strict(b"+5-6", 7), Ok(Id::new(5, 6)));
        assert_eq!(strict(b"1--01", 7), Ok(Id::new(1, u64::MAX)));
        assert_eq!(strict(b"18446744073709551615-18446744073709551615", 7), Ok(Id::MAX));
        let long = [b"1".repeat(128), b"5-6x".to_vec()].concat();
        let bad: [&[u8]; 11] = [
            b"",
            b"-",
            b"+",
            b"-5",
            b"x",
            b"5-",
            b"5--3",
            b"5-6-7",
            b"18446744073709551616",
            b"5 ",
            &long,
        ];
        for text in bad {
            assert_eq!(strict(text, 0), Err(invalid()), "{}", text.escape_ascii());
        }
        assert_eq!(given(b"5-*"), Ok((Id::new(5, 0), false)));
        assert_eq!(given(b"5"), Ok((Id::new(5, 0), true)));
        assert_eq!(bounds(b"-", b"+"), Ok((Id::MIN, Id::MAX)));
        assert_eq!(bounds(b"(1", b"(2"), Ok((Id::new(1, 1), Id::new(2, u64::MAX - 1))));
        assert!(first(b"(+").is_err() && last(b"(0-0").is_err() && first(b"(").is_err());
    }
}
