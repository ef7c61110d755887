//! Arguments of commands on sorted sets, bits, HyperLogLogs and places.

use super::{KEYS, Line, Maker, key};
use crate::compat::shapes::Kind;

/// One end of a range of scores.
const BOUNDS: &[&str] =
    &["0", "(1", "1", "-inf", "+inf", "(2", "5", "(inf", "-1", "(1.5", "100", "(40", "", "x"];
/// One end of a range of texts.
const REACHES: &[&str] =
    &["-", "+", "[a", "(a", "[m1", "(m15", "[", "(", "[b", "(c", "[m7", "(m2", "x", ""];
const BITS: &[&str] = &["0", "1", "7", "8", "15", "31", "100", "#1", "#3", "63", "2000", "#x"];
const WIDTHS: &[&str] =
    &["u8", "i8", "u1", "i1", "u63", "i64", "i5", "u7", "i33", "u64", "i0", "none"];
const FAR: &[&str] = &["0", "1", "10", "100.5", "1000", "5000", "20000", "-1"];
/// Without those below zero: no score of ours is zero from below.
const WEIGHTS: &[&str] = &["1", "2", "0.5", "3", "0", "inf", "abc"];

impl Maker {
    /// Adds an argument of one of these kinds.
    pub(super) fn scored(&mut self, kind: Kind, line: &mut Line) {
        match kind {
            Kind::Levels => {
                let start = self.dice.below(60);
                let names = (start..start + 8).map(|number| format!("m{number}"));
                line.extend(names.flat_map(|name| ["0".to_owned(), name].map(String::into_bytes)));
            }
            Kind::SortedSets | Kind::Weighted => self.sorted_sets(kind == Kind::Weighted, line),
            Kind::Place => {
                self.degrees(line);
                line.push(self.name());
            }
            Kind::Degrees => self.degrees(line),
            Kind::Name => line.push(self.name()),
            // Never one of another family: texts have no order among different scores.
            Kind::Level => line.push(key("level", 1 + self.dice.below(KEYS))),
            _ => {
                let words = match kind {
                    Kind::Bound => BOUNDS,
                    Kind::Reach => REACHES,
                    Kind::Bit => BITS,
                    Kind::Width => WIDTHS,
                    _ => FAR,
                };
                line.push(self.mostly(words));
            }
        }
    }

    /// One of several, seldom one of the last two.
    fn mostly(&mut self, words: &[&str]) -> Vec<u8> {
        let most = if self.dice.percent(5) { words.len() } else { words.len() - 2 };
        words[self.dice.below(most)].as_bytes().to_vec()
    }

    fn sorted_sets(&mut self, weighted: bool, line: &mut Line) {
        let count = 1 + self.dice.below(3);
        let said = if self.dice.percent(95) { count } else { self.dice.below(6) };
        line.push(said.to_string().into_bytes());
        for _ in 0..count {
            // Sets may stand among them.
            let family = if self.dice.percent(15) { 2 } else { 4 };
            line.push(self.key(family));
        }
        if weighted && self.dice.percent(40) {
            line.push(b"WEIGHTS".to_vec());
            (0..count).for_each(|_| line.push(self.mostly(WEIGHTS)));
        }
    }

    fn name(&mut self) -> Vec<u8> {
        format!("place{}", self.dice.below(40)).into_bytes()
    }

    /// A longitude and a latitude: anywhere, near one town, or off the map.
    fn degrees(&mut self, line: &mut Line) {
        let mut around = |middle: f64, far: f64| {
            let share = self.dice.below(2_000_001) as f64 / 1_000_000.0 - 1.0;
            format!("{:.6}", middle + share * far).into_bytes()
        };
        let (longitude, latitude) = match around(0.0, 1.0)[0] {
            b'-' => (around(0.0, 180.0), around(0.0, 85.0)),
            _ => (around(13.0, 4.0), around(38.0, 3.0)),
        };
        let off = self.dice.percent(2);
        line.push(if off { b"200".to_vec() } else { longitude });
        line.push(latitude);
    }
}
