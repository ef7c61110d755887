//! LOLWUT: a cairn, another one each time.

use crate::data::server::Server;
use cairn_resp::Args;
use cairn_resp::number::parse_i64;

/// Stones that are drawn unless it is said how many, and at most.
const STONES: (i64, i64) = (7, 40);
/// The widest stone.
const WIDTH_MAX: usize = 39;

impl Server {
    /// `LOLWUT [VERSION version] [stones]`
    pub fn lolwut(&mut self, index: usize, args: Args<'_>) {
        const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
        let versioned = args.len() >= 3 && args.get(1).eq_ignore_ascii_case(b"VERSION");
        if versioned && parse_i64(args.get(2)).is_none() {
            return self.out(index).error(NOT_INTEGER);
        }
        let first = if versioned { 3 } else { 1 };
        let wanted = match (args.len() > first).then(|| parse_i64(args.get(first))) {
            None => STONES.0,
            Some(Some(wanted)) => wanted.clamp(1, STONES.1),
            Some(None) => return self.out(index).error(NOT_INTEGER),
        };
        let mut text = cairn(wanted as usize, self.core.unix_ms);
        text.push_str(&format!("\nCairn ver. {}\n", env!("CARGO_PKG_VERSION")));
        self.out(index).verbatim(*b"txt", text.as_bytes());
    }
}

/// A pile of `stones`, the widest at the bottom, each a little out of the middle.
fn cairn(stones: usize, seed: u64) -> String {
    let mut dice = seed | 1;
    let mut draw = |below: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % below
    };
    let mut text = String::new();
    for stone in 1..=stones {
        let width = (3 + stone * WIDTH_MAX.saturating_sub(3) / stones).max(3);
        let width = width - draw(3).min(width as u64 - 3) as usize;
        let left = (WIDTH_MAX + 4 - width) / 2 + draw(3) as usize;
        let fill = ['.', ':', ' ', '\''][draw(4) as usize];
        text.push_str(&" ".repeat(left));
        text.push('(');
        (0..width).for_each(|_| text.push(fill));
        text.push_str(")\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cairn_has_as_many_stones_as_were_asked_for_and_stands_on_the_widest() {
        for seed in 0..200 {
            for stones in [1, 2, 7, 40] {
                let text = cairn(stones, seed);
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines.len(), stones);
                assert!(lines.iter().all(|line| line.len() <= WIDTH_MAX + 8), "{text}");
                let width = |line: &str| line.trim().len();
                assert!(width(lines[0]) <= width(lines[stones - 1]) + 3, "{text}");
            }
        }
    }
}
