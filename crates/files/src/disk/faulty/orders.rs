//! What a disk is ordered to do wrong: one order a line.
//!
//! `write error`, `read error`: each one fails. `flush error-once`: the next flush fails.
//! `flush stall`: flushes do not return as long as that is ordered. `disk slow-ms N`: writes and
//! flushes take so long. `disk full`: no file grows. `clock N`: the wall clock is off by so many
//! milliseconds. `power lost`: the process loses what it did not flush, and ends.

use std::time::Duration;

/// All orders in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Every write fails.
    pub write_error: bool,
    /// Every read fails.
    pub read_error: bool,
    /// The next flush fails.
    pub flush_error_once: bool,
    /// It has failed.
    pub flush_error_spent: bool,
    /// Flushes wait.
    pub stall: bool,
    /// How long writes and flushes take.
    pub slow: Duration,
    /// No file grows.
    pub full: bool,
    /// How far the wall clock is off, in milliseconds.
    pub clock_ms: i64,
    /// Power is lost.
    pub power_lost: bool,
}

impl Orders {
    /// Reads orders; what is none of them is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut orders = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("write"), Some("error"), None) => orders.write_error = true,
                (Some("read"), Some("error"), None) => orders.read_error = true,
                (Some("flush"), Some("error-once"), None) => orders.flush_error_once = true,
                (Some("flush"), Some("stall"), None) => orders.stall = true,
                (Some("disk"), Some("full"), None) => orders.full = true,
                (Some("disk"), Some("slow-ms"), Some(ms)) => {
                    orders.slow = Duration::from_millis(ms.parse().unwrap_or(0));
                }
                (Some("clock"), Some(ms), None) => orders.clock_ms = ms.parse().unwrap_or(0),
                (Some("power"), Some("lost"), None) => orders.power_lost = true,
                _ => {}
            }
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_understood_and_nothing_else() {
        let text = "write error\nread error\nflush error-once\nflush stall\ndisk full\n\
                    disk slow-ms 150\nclock -70\npower lost\n";
        let all = Orders {
            write_error: true,
            read_error: true,
            flush_error_once: true,
            flush_error_spent: false,
            stall: true,
            slow: Duration::from_millis(150),
            full: true,
            clock_ms: -70,
            power_lost: true,
        };
        assert_eq!(Orders::parse(text), all);
        assert_eq!(Orders::parse("writeerror\nclock\nflush\n\n"), Orders::default());
    }
}
