//! Spans of time as people write them: `100ms`, `1s`, `5m`, `2h`, `1m30s`.

use serde::{Deserialize, Deserializer, Serializer, de};
use std::time::Duration;

/// Text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no duration: write a number and a unit (ms, s, m, h), for example \"100ms\"")]
pub struct NotADuration {
    /// What was written.
    pub text: String,
}

/// Reads `100ms`, `1s`, `1m30s`; whole milliseconds, at most 10 parts.
///
/// # Errors
/// [`NotADuration`] for anything else, also for what does not fit 64 bits of milliseconds.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    parts(text).ok_or_else(|| NotADuration { text: text.to_owned() })
}

fn parts(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis: u64 = 0;
    for _ in 0..10 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[letters..];
        if rest.is_empty() {
            return Some(Duration::from_millis(millis));
        }
    }
    None
}

/// Writes a span with its greatest whole unit: `100ms`, `15s`, `2m`.
#[must_use]
pub fn format(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0 => "0s".to_owned(),
        m if m % 3_600_000 == 0 => format!("{}h", m / 3_600_000),
        m if m % 60_000 == 0 => format!("{}m", m / 60_000),
        m if m % 1_000 == 0 => format!("{}s", m / 1_000),
        m => format!("{m}ms"),
    }
}

/// For `#[serde(with = "duration_text")]`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*span))
}

/// For `#[serde(with = "duration_text")]`.
///
/// # Errors
/// Text that is no span of time.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_numbers_with_units() {
        let ms = Duration::from_millis;
        for (text, span) in
            [("100ms", 100), ("1s", 1000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(ms(span)), "{text}");
        }
        for text in ["", "5", "ms", "-1s", "1.5s", "1S", "1 s", "1d", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0u64..10_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
