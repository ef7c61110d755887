//! Texts of numbers: strict integers as the protocol wants them, fast decimal output, doubles.

/// The longest text of an `i64`, in bytes.
pub const I64_TEXT_MAX: usize = 20;

/// Reads an integer the strict way: optional `-`, no `+`, no leading zeros, no spaces, no overflow.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits: below 10^19, so no overflow of 64 bits.
        value = value * 10 + u64::from(digit);
    }
    if negative {
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}

const PAIRS: [u8; 200] = {
    let mut table = [0; 200];
    let mut i = 0;
    while i < 100 {
        table[2 * i] = b'0' + (i / 10) as u8;
        table[2 * i + 1] = b'0' + (i % 10) as u8;
        i += 1;
    }
    table
};

/// Writes `value` in decimal into the end of `room` and returns the text.
pub fn format_i64(value: i64, room: &mut [u8; I64_TEXT_MAX]) -> &[u8] {
    let mut at = format_tail(value.unsigned_abs(), room);
    if value < 0 {
        at -= 1;
        room[at] = b'-';
    }
    &room[at..]
}

/// Appends `value` in decimal.
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut room = [0; I64_TEXT_MAX];
    let at = format_tail(value, &mut room);
    out.extend_from_slice(&room[at..]);
}

/// Appends `value` in decimal.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

fn format_tail(mut value: u64, room: &mut [u8; I64_TEXT_MAX]) -> usize {
    let mut at = room.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        room[at] = b'0' + value as u8;
    }
    at
}

/// Appends the shortest text that reads back as `value`: `3`, `3.1`, `1e+21`, `inf`, `-inf`, `nan`.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    }
    if value == 0.0 {
        return out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    // Whole numbers that a double holds exactly are written as integers.
    if value.fract() == 0.0 && value.abs() < 4_611_686_018_427_387_904.0 {
        return push_i64(out, value as i64);
    }
    push_fraction(out, value);
}

fn push_fraction(out: &mut Vec<u8>, value: f64) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').expect("an exponent is always written");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
    let count = digits.len() as i32;
    // value = digits * 10^scale
    let scale = exponent - (count - 1);
    if value < 0.0 {
        out.push(b'-');
    }
    if scale >= 0 && exponent < count + 7 {
        out.extend_from_slice(&digits);
        out.extend(std::iter::repeat_n(b'0', scale as usize));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let whole = count + scale;
        if whole <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', whole.unsigned_abs() as usize));
            out.extend_from_slice(&digits);
        } else {
            out.extend_from_slice(&digits[..whole as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole as usize..]);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        push_u64(out, u64::from(exponent.unsigned_abs()));
    }
}

/// Reads a double as clients write one: decimal or exponent form, `inf`, `+inf`, `-inf`,
/// `infinity`, `0x1f`; never `nan`, never with spaces.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || text.len() > 512 {
        return None;
    }
    let value: f64 = match text.parse() {
        Ok(value) => value,
        Err(_) => parse_hex(text)?,
    };
    // A number too large to be held is no infinity.
    let overflown = value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!value.is_nan() && !overflown).then_some(value)
}

/// Reads a whole number in hexadecimal.
fn parse_hex(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    // The standard parser would take a second sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u64::from_str_radix(digits, 16).ok().filter(|_| plain)?;
    Some(sign * value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        push_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_read_strictly() {
        for (input, want) in [
            ("0", Some(0)),
            ("-0", None),
            ("01", None),
            ("+1", None),
            ("", None),
            ("-", None),
            (" 1", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("12a", None),
        ] {
            assert_eq!(parse_i64(input.as_bytes()), want, "{input}");
        }
    }

    #[test]
    fn integers_survive_a_round_trip() {
        for value in [0, 1, 9, 10, 99, 100, 12345, i64::MAX, i64::MIN, -1, -10] {
            let mut room = [0; I64_TEXT_MAX];
            assert_eq!(format_i64(value, &mut room), value.to_string().as_bytes());
            let mut out = Vec::new();
            push_i64(&mut out, value);
            assert_eq!(parse_i64(&out), Some(value));
        }
    }

    #[test]
    fn doubles_are_written_shortest() {
        for (value, want) in [
            (3.0, "3"),
            (3.1, "3.1"),
            (-0.5, "-0.5"),
            (1e20, "1e+20"),
            (1e17, "100000000000000000"),
            (1e22, "1e+22"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (0.0001, "0.0001"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-0.0, "-0"),
            (17_179_869_184.5, "17179869184.5"),
        ] {
            assert_eq!(text(value), want);
        }
    }
}
