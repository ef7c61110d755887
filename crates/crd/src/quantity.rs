//! Sizes and spans as resources write them: `10Gi`, `100ms`.
//!
//! Narrower than what Kubernetes and Go accept (whole numbers, few digits), so that nothing
//! overflows in a rule; [`SIZE_PATTERN`] and [`SPAN_PATTERN`] say the same to the API server.

/// Whole bytes with an optional unit.
pub const SIZE_PATTERN: &str = "^[0-9]{1,6}(Ki|Mi|Gi|Ti|k|M|G|T)?$";
/// One or two whole numbers with units.
pub const SPAN_PATTERN: &str = "^([0-9]{1,6}(ms|s|m|h)){1,2}$";

/// Bytes of `512`, `64Ki`, `10Gi`, `1G`; `None` if it is written in another way.
#[must_use]
pub fn size_bytes(text: &str) -> Option<u64> {
    let (count, unit) = number(text)?;
    let scale: u64 = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    Some(count * scale)
}

/// Milliseconds of `100ms`, `1s`, `1m30s`; `None` if it is written in another way.
#[must_use]
pub fn span_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0;
    for _ in 0..2 {
        let end = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let unit_len = end.bytes().take_while(u8::is_ascii_lowercase).count();
        let (part, after) = rest.split_at(rest.len() - end.len() + unit_len);
        let (count, unit) = number(part)?;
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total += count * scale;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// Milliseconds as people write them.
#[must_use]
pub fn span_text(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=6).contains(&digits) {
        return None;
    }
    let count = text[..digits].parse().ok()?;
    Some((count, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_bytes_with_a_unit() {
        assert_eq!(size_bytes("64Ki"), Some(65_536));
        assert_eq!(size_bytes("10Gi"), Some(10 << 30));
        assert_eq!(size_bytes("7"), Some(7));
        assert_eq!(size_bytes("1G"), Some(1_000_000_000));
        for text in ["", "Gi", "1.5Gi", "1gb", "-1", "1 Gi", "1000000Ti", "1GiB"] {
            assert_eq!(size_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_whole_numbers_with_units() {
        assert_eq!(span_ms("100ms"), Some(100));
        assert_eq!(span_ms("1m30s"), Some(90_000));
        assert_eq!(span_ms("0s"), Some(0));
        for text in ["", "5", "s", "1.5s", "1m1s1ms", "1d", "1000000s", "1S", "é1s"] {
            assert_eq!(span_ms(text), None, "{text}");
        }
        for ms in [0, 1, 600, 1_000, 15_000, 60_000, 90_000] {
            assert_eq!(span_ms(&span_text(ms)), Some(ms));
        }
    }
}
