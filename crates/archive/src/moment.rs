//! Moments as people write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in milliseconds since 1970 as RFC 3339, in UTC.
#[must_use]
pub fn show(ms: u64) -> String {
    let nanos = i128::from(ms) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ms} ms"))
}

/// Reads RFC 3339 ("2026-11-28T20:15:00Z", also with fractions and other zones) as milliseconds
/// since 1970. A moment within a millisecond counts as that millisecond.
#[must_use]
pub fn read(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_shown() {
        let ms = read("2026-11-28T20:15:00Z").unwrap();
        assert_eq!(show(ms), "2026-11-28T20:15:00Z");
        assert_eq!(read("2026-11-28T21:15:00+01:00"), Some(ms));
        assert_eq!(read("2026-11-28T20:15:00.250Z"), Some(ms + 250));
        assert_eq!(show(ms + 250), "2026-11-28T20:15:00.25Z");
        for text in ["", "yesterday", "2026-11-28", "2026-11-28 20:15:00", "1969-12-31T00:00:00Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
