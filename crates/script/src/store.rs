//! Compiled scripts by the SHA-1 of their text, bounded.

use crate::shebang::Declared;
use mlua::Function;
use std::collections::{HashMap, VecDeque};

/// The SHA-1 of a script's text, in 40 hexadecimal digits of lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sha([u8; 40]);

impl Sha {
    /// That of `text`.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text);
        let mut digits = [0; 40];
        for (at, byte) in digest.as_ref().iter().enumerate() {
            digits[2 * at] = b"0123456789abcdef"[usize::from(byte >> 4)];
            digits[2 * at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        Self(digits)
    }

    /// One that a client names; in letters of any case.
    #[must_use]
    pub fn read(digits: &[u8]) -> Option<Self> {
        let digits: [u8; 40] = digits.to_ascii_lowercase().try_into().ok()?;
        Some(Self(digits))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A script that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub function: Function,
    pub declared: Declared,
    bytes: usize,
}

impl Script {
    pub fn new(function: Function, declared: Declared, bytes: usize) -> Self {
        Self { function, declared, bytes }
    }
}

/// The scripts there are. When there are too many, those that came first go.
#[derive(Debug, Default)]
pub(crate) struct Store {
    scripts: HashMap<Sha, Script>,
    order: VecDeque<Sha>,
    bytes: usize,
}

impl Store {
    pub fn get(&self, sha: &Sha) -> Option<&Script> {
        self.scripts.get(sha)
    }

    pub fn put(&mut self, sha: Sha, script: Script, count_max: usize, bytes_max: usize) {
        self.bytes += script.bytes;
        self.scripts.insert(sha, script);
        self.order.push_back(sha);
        while self.order.len() > 1 && (self.order.len() > count_max || self.bytes > bytes_max) {
            let Some(first) = self.order.pop_front() else { return };
            let gone = self.scripts.remove(&first);
            self.bytes -= gone.map_or(0, |gone| gone.bytes);
        }
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
