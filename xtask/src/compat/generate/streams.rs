//! Arguments of commands on streams.

use super::{Line, Maker};
use crate::compat::shapes::Kind;

/// What is no ID as clients should write one, or is an extreme one.
const ODD: &[&str] = &[
    "",
    "-",
    "+",
    "$",
    ">",
    "(",
    "0",
    "0-0",
    "(0-0",
    "5-",
    "-5",
    " 5-1",
    "05-01",
    "5--1",
    "5-*",
    "x-1",
    "18446744073709551615",
    "18446744073709551615-18446744073709551615",
    "(18446744073709551615-18446744073709551615",
    "18446744073709551616-1",
];

impl Maker {
    /// Adds an argument of one of these kinds.
    pub(super) fn streamed(&mut self, kind: Kind, line: &mut Line) {
        let word = match kind {
            Kind::Group => self.dice.one(&["g1", "g2", "g3", ""]).as_bytes().to_vec(),
            Kind::Consumer => {
                self.dice.one(&["ada", "bob", "cy", "a longer name of one"]).as_bytes().to_vec()
            }
            Kind::Few => self.few(),
            Kind::Idle => {
                self.dice.one(&["0", "0", "0", "50000", "100000", "-1"]).as_bytes().to_vec()
            }
            Kind::NewId => self.new_id(),
            Kind::LastId => self.near(self.ticks).into_bytes(),
            Kind::IdEnd => match self.dice.below(3) {
                0 => b"$".to_vec(),
                _ => self.id(),
            },
            Kind::IdReach => match self.dice.below(6) {
                0 | 1 => b"-".to_vec(),
                2 | 3 => b"+".to_vec(),
                4 => [b"(".to_vec(), self.id()].concat(),
                _ => self.id(),
            },
            Kind::Entry => return self.entry(line),
            _ => self.id(),
        };
        line.push(word);
    }

    fn few(&mut self) -> Vec<u8> {
        match self.dice.percent(5) {
            true => self.dice.one(&["-1", "x", "9223372036854775807", ""]).as_bytes().to_vec(),
            false => self.dice.one(&["0", "1", "2", "3", "10", "90", "150"]).as_bytes().to_vec(),
        }
    }

    /// An ID near a time, with a number or without.
    fn near(&mut self, ticks: usize) -> String {
        match self.dice.below(4) {
            0 => format!("{ticks}"),
            number => format!("{ticks}-{}", number - 1),
        }
    }

    /// An ID behind most others.
    fn new_id(&mut self) -> Vec<u8> {
        self.ticks += self.dice.below(3);
        match self.dice.below(4) {
            0 => format!("{}-*", self.ticks).into_bytes(),
            _ => {
                self.ticks += 1;
                self.near(self.ticks).into_bytes()
            }
        }
    }

    /// An ID that may be there.
    fn id(&mut self) -> Vec<u8> {
        match self.dice.below(20) {
            0 => self.dice.one(ODD).as_bytes().to_vec(),
            1..8 => {
                let back = self.dice.below(6);
                self.near(self.ticks.saturating_sub(back)).into_bytes()
            }
            _ => {
                let ticks = self.dice.below(self.ticks + 2);
                self.near(ticks).into_bytes()
            }
        }
    }

    /// Fields and values, mostly with the same names.
    fn entry(&mut self, line: &mut Line) {
        if self.dice.percent(70) {
            for name in ["name", "5"] {
                line.push(name.as_bytes().to_vec());
                line.push(self.item());
            }
            return;
        }
        for _ in 0..1 + self.dice.below(3) {
            line.push(self.field());
            line.push(self.item());
        }
    }
}
