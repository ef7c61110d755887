//! Sums of decimal numbers, for HINCRBYFLOAT and INCRBYFLOAT: exact where 17 places behind the
//! point are enough, so that 0.1 and 0.2 are 0.3.

use cairn_resp::number::parse_f64;

/// Places behind the point that are kept.
const PLACES: usize = 17;
const ONE: i128 = 10_i128.pow(PLACES as u32);
/// Exact sums stay below this many units; beyond it, doubles are as good as any.
const UNITS_MAX: i128 = 10_i128.pow(19) * ONE;

/// A number, exact if it can be.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    exact: Option<i128>,
    near: f64,
}

impl Decimal {
    pub const ZERO: Self = Self { exact: Some(0), near: 0.0 };

    /// Reads a number as clients write one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let near = parse_f64(text)?;
        // The standard text of a double has no exponent, whatever it was read from.
        let exact = units(text).or_else(|| units(format!("{near}").as_bytes()));
        Some(Self { near, exact })
    }

    /// Whether it is not infinite.
    pub fn is_finite(self) -> bool {
        self.near.is_finite()
    }

    /// The text of the sum: no exponent, no zeros at the end; none if it is not finite.
    pub fn sum(self, other: Self) -> Option<String> {
        if let (Some(a), Some(b)) = (self.exact, other.exact) {
            let sum = a + b;
            let sign = if sum < 0 { "-" } else { "" };
            let (whole, rest) =
                (sum.unsigned_abs() / ONE as u128, sum.unsigned_abs() % ONE as u128);
            return Some(trimmed(&format!("{sign}{whole}.{rest:017}")));
        }
        let sum = self.near + other.near;
        sum.is_finite().then(|| trimmed(&format!("{sum:.17}")))
    }
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A plain decimal text in units of the last place; none if it does not fit.
fn units(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() > 19 || rest.len() > PLACES || whole.len() + rest.len() == 0 {
        return None;
    }
    let mut sum = 0_i128;
    for digit in whole.bytes().chain(rest.bytes()) {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        sum = sum * 10 + i128::from(value);
    }
    let sum = sum * 10_i128.pow((PLACES - rest.len()) as u32);
    (sum < UNITS_MAX).then_some(if negative { -sum } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_a_person_expects() {
        for (a, b, want) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("-1", "0.5", "-0.5"),
            ("5.0e3", "200", "5200"),
            ("1", "-1", "0"),
            ("4", "1e-5", "4.00001"),
            ("3", "0.00000000000000001", "3.00000000000000001"),
            ("1e20", "0", "100000000000000000000"),
        ] {
            let number = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
            assert_eq!(number(a).sum(number(b)).as_deref(), Some(want), "{a} + {b}");
        }
        let huge = Decimal::parse(b"1.7e308").unwrap();
        assert_eq!(huge.sum(huge), None);
        assert!(Decimal::parse(b"x").is_none());
    }
}
