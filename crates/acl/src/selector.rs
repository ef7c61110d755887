//! One set of permissions: which commands, on which keys and channels.

use crate::commands::Commands;
use crate::names::Name;
use crate::pattern::{Access, KeyPattern};
use cairn_keyspace::fits;

/// Which commands may be executed on which keys and channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub(crate) commands: Commands,
    pub(crate) all_keys: bool,
    pub(crate) keys: Vec<KeyPattern>,
    pub(crate) all_channels: bool,
    pub(crate) channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self { commands: Commands::all(), all_keys: true, all_channels: true, ..Self::default() }
    }

    /// Whether it allows everything, now and later.
    pub(crate) fn is_all(&self) -> bool {
        self.commands.is_all() && self.all_keys && self.all_channels
    }

    pub(crate) fn allows_command(&self, name: Name, first_arg: Option<&[u8]>) -> bool {
        self.commands.allows(name, first_arg)
    }

    pub(crate) fn allows_key(&self, key: &[u8], wanted: Access) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.allows(key, wanted))
    }

    /// Whether a channel may be used; a pattern of channels has to be the same as an allowed one.
    pub(crate) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let allows = |allowed: &Vec<u8>| match is_pattern {
            true => allowed == channel,
            false => fits(allowed, channel),
        };
        self.all_channels || self.channels.iter().any(allows)
    }

    pub(crate) fn add_key(&mut self, text: &[u8], access: Access) {
        match self.keys.iter_mut().find(|known| known.text == text) {
            Some(known) => known.access = known.access.and(access),
            None => self.keys.push(KeyPattern { text: text.to_vec(), access }),
        }
        if self.keys.iter().any(|known| known.text == b"*" && known.access == Access::BOTH) {
            self.all_keys = true;
            self.keys.clear();
        }
    }

    pub(crate) fn add_channel(&mut self, text: &[u8]) {
        if !self.channels.iter().any(|known| known == text) {
            self.channels.push(text.to_vec());
        }
    }

    /// The rules of commands that make it.
    #[must_use]
    pub fn command_rules(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.commands.describe(&mut out);
        out
    }

    /// The rules of keys that make it.
    #[must_use]
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut out = Vec::new();
        for pattern in &self.keys {
            separate(&mut out);
            pattern.describe(&mut out);
        }
        out
    }

    /// The rules of channels that make it.
    #[must_use]
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let mut out = Vec::new();
        for channel in &self.channels {
            separate(&mut out);
            out.push(b'&');
            out.extend_from_slice(channel);
        }
        out
    }

    /// All rules that make it.
    pub(crate) fn describe(&self, out: &mut Vec<u8>) {
        let keys = self.key_rules();
        if !keys.is_empty() {
            out.extend_from_slice(&keys);
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend_from_slice(b"resetchannels ");
        }
        let channels = self.channel_rules();
        if !channels.is_empty() {
            out.extend_from_slice(&channels);
            out.push(b' ');
        }
        self.commands.describe(out);
    }
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b' ');
    }
}
