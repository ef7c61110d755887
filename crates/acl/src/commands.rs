//! The commands that a selector allows.

use crate::category::Category;
use crate::names::{COUNT, Name};
use std::collections::BTreeMap;

const WORDS: usize = COUNT.div_ceil(64);

/// Commands, each allowed or not, and the rules that made it so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    bits: [u64; WORDS],
    /// Commands that are allowed with these first arguments alone.
    first_args: BTreeMap<Name, Vec<Vec<u8>>>,
    /// Whether the rules begin with all: then commands of later versions are allowed, too.
    from_all: bool,
    /// The rules after that, in their order, as far as none is outdone by a later one.
    rules: Vec<Vec<u8>>,
}

impl Commands {
    /// All of them.
    pub fn all() -> Self {
        let mut bits = [0; WORDS];
        for name in Name::all() {
            bits[name.index() / 64] |= 1 << (name.index() % 64);
        }
        Self { bits, from_all: true, ..Self::default() }
    }

    pub fn is_all(&self) -> bool {
        self.from_all && self.rules.iter().all(|rule| rule[0] == b'+')
    }

    /// Whether a request for `name` with this first argument is allowed.
    pub fn allows(&self, name: Name, first_arg: Option<&[u8]>) -> bool {
        if self.bits[name.index() / 64] & (1 << (name.index() % 64)) != 0 {
            return true;
        }
        let (Some(allowed), Some(given)) = (self.first_args.get(&name), first_arg) else {
            return false;
        };
        allowed.iter().any(|known| known.eq_ignore_ascii_case(given))
    }

    /// Allows or forbids a command with its subcommands.
    pub fn set(&mut self, name: Name, allow: bool) {
        self.set_bits(name, allow);
        self.add_rule(name.text().as_bytes(), allow);
    }

    /// The same with all commands of a category.
    pub fn set_category(&mut self, category: Category, allow: bool) {
        category.names().for_each(|name| self.set_bits(name, allow));
        self.add_rule(format!("@{}", category.name).as_bytes(), allow);
    }

    /// Allows a command with this first argument.
    pub fn allow_first_arg(&mut self, name: Name, arg: &[u8]) {
        let arg = arg.to_ascii_lowercase();
        let mut rule = name.text().as_bytes().to_vec();
        rule.push(b'|');
        rule.extend_from_slice(&arg);
        let known = self.first_args.entry(name).or_default();
        if !known.contains(&arg) {
            known.push(arg);
        }
        self.add_rule(&rule, true);
    }

    fn set_bits(&mut self, name: Name, allow: bool) {
        self.first_args.remove(&name);
        for name in std::iter::once(name).chain(name.subcommands()) {
            let (word, bit) = (&mut self.bits[name.index() / 64], 1 << (name.index() % 64));
            if allow { *word |= bit } else { *word &= !bit }
        }
    }

    /// Keeps a rule, and none of those before that speak of the same, or of a part of it.
    fn add_rule(&mut self, about: &[u8], allow: bool) {
        let outdone = |rule: &Vec<u8>| {
            let rest = rule[1..].strip_prefix(about);
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        };
        self.rules.retain(|rule| !outdone(rule));
        let mut rule = vec![if allow { b'+' } else { b'-' }];
        rule.extend_from_slice(about);
        self.rules.push(rule);
    }

    /// As rules.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.from_all { b"+@all" } else { b"-@all" });
        for rule in &self.rules {
            out.push(b' ');
            out.extend_from_slice(rule);
        }
    }
}
