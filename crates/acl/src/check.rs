//! Whether a user may have a request executed.

use crate::access::{channels_of, keys_of};
use crate::names::Name;
use crate::selector::Selector;
use crate::user::User;
use cairn_keyspace::command::{Command, Flags};
use cairn_resp::Args;

/// What a request is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The command.
    Command,
    /// One of its keys.
    Key,
    /// One of its channels.
    Channel,
}

/// A request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// For what.
    pub reason: Reason,
    /// The command with its subcommand, or the key or channel.
    pub object: Vec<u8>,
    /// Which of the keys or channels it is.
    place: usize,
}

impl User {
    /// Whether it may have `command` with all of `args` executed.
    ///
    /// # Errors
    /// What it may not: of several selectors, of the one that goes the farthest with it.
    pub fn check(&self, command: &Command, args: Args<'_>) -> Result<(), Denied> {
        let mut worst: Option<Denied> = None;
        for selector in self.selectors() {
            let Err(denied) = selector.check(command, args) else { return Ok(()) };
            let is_farther = worst
                .as_ref()
                .is_none_or(|known| (denied.reason, denied.place) > (known.reason, known.place));
            if is_farther {
                worst = Some(denied);
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// Whether it may hear a channel, or those that fit to a pattern.
    #[must_use]
    pub fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.allows_channel(channel, is_pattern))
    }
}

impl Selector {
    fn check(&self, command: &Command, args: Args<'_>) -> Result<(), Denied> {
        let denied =
            |reason, object: &[u8], place| Err(Denied { reason, object: object.to_vec(), place });
        // A command that no table knows is nobody's.
        let Some(name) = Name::of(command, args) else {
            return denied(Reason::Command, command.name.as_bytes(), 0);
        };
        let first_arg = (args.len() > 1).then(|| args.get(1));
        if !command.flags.has(Flags::NO_AUTH) && !self.allows_command(name, first_arg) {
            return denied(Reason::Command, name.text().as_bytes(), 0);
        }
        if !self.all_keys {
            for (place, (key, access)) in keys_of(command, name, args).enumerate() {
                if !self.allows_key(key, access) {
                    return denied(Reason::Key, key, place);
                }
            }
        }
        if !self.all_channels
            && let Some((channels, is_pattern)) = channels_of(command, args)
        {
            for (place, channel) in channels.iter().enumerate() {
                if !self.allows_channel(channel, is_pattern) {
                    return denied(Reason::Channel, channel, place);
                }
            }
        }
        Ok(())
    }
}
