//! Rules of one selector, and what is wrong with a rule.

use crate::category::Category;
use crate::commands::Commands;
use crate::names::Name;
use crate::pattern::Access;
use crate::selector::Selector;

/// Why a rule is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no rule.
    Syntax,
    /// There is no such command or category.
    Unknown,
    /// All keys are allowed already.
    AllKeys,
    /// All channels are allowed already.
    AllChannels,
    /// The password to remove is not there.
    NoPassword,
    /// That is not a digest.
    Digest,
    /// A subcommand with an argument.
    FirstArg,
}

impl Problem {
    /// As clients are told.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Syntax => "Syntax error",
            Self::Unknown => "Unknown command or category name in ACL",
            Self::AllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
                 and does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            Self::NoPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            Self::Digest => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            Self::FirstArg => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// Rules that cannot be taken: none of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// This one is wrong.
    Rule {
        /// As it was given.
        rule: Vec<u8>,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The selector that begins with this is never closed.
    Unmatched(Vec<u8>),
}

impl Invalid {
    /// As clients are told.
    #[must_use]
    pub fn text(&self) -> String {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Rule { rule, problem } => {
                let (rule, why) = (lossy(rule), problem.text());
                format!("ERR Error in ACL SETUSER modifier '{rule}': {why}")
            }
            Self::Unmatched(begin) => {
                let begin = lossy(begin);
                format!("ERR Unmatched parenthesis in acl selector starting at '{begin}'.")
            }
        }
    }
}

/// Puts arguments together to rules: a selector in parentheses may be several of them.
///
/// # Errors
/// A selector that is not closed.
pub fn rules_of<'a>(args: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Invalid> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for arg in args {
        open = match open.take() {
            None if arg.starts_with(b"(") && !arg.ends_with(b")") => Some((arg.to_vec(), arg)),
            None => {
                rules.push(arg.to_vec());
                None
            }
            Some((mut rule, begin)) => {
                rule.push(b' ');
                rule.extend_from_slice(arg);
                if arg.ends_with(b")") {
                    rules.push(rule);
                    None
                } else {
                    Some((rule, begin))
                }
            }
        };
    }
    match open {
        Some((_, begin)) => Err(Invalid::Unmatched(begin.to_vec())),
        None => Ok(rules),
    }
}

/// Whether a text may stand in a list of rules that are parted by spaces.
pub(crate) fn is_one_word(text: &[u8]) -> bool {
    // As C's isspace, which knows the vertical tab, too.
    !text.iter().any(|byte| matches!(byte, 0 | b' ' | b'\t'..=b'\r'))
}

impl Selector {
    /// Takes a rule; one that is wrong changes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), Problem> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.commands = Commands::all(),
            b"nocommands" | b"-@all" => self.commands = Commands::default(),
            _ => return self.apply_pattern(rule),
        }
        Ok(())
    }

    fn apply_pattern(&mut self, rule: &[u8]) -> Result<(), Problem> {
        match rule {
            [b'~' | b'%', ..] if self.all_keys => Err(Problem::AllKeys),
            [b'~', pattern @ ..] => self.apply_key(pattern, Access::BOTH),
            [b'%', rest @ ..] => {
                let (access, pattern) = access_of(rest).ok_or(Problem::Syntax)?;
                self.apply_key(pattern, access)
            }
            [b'&', ..] if self.all_channels => Err(Problem::AllChannels),
            [b'&', pattern @ ..] if is_one_word(pattern) => {
                self.add_channel(pattern);
                Ok(())
            }
            [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                let category = Category::named(name).ok_or(Problem::Unknown)?;
                self.commands.set_category(category, *sign == b'+');
                Ok(())
            }
            [b'+', name @ ..] => self.apply_command(name),
            [b'-', name @ ..] => {
                let name = Name::find(name).ok_or(Problem::Unknown)?;
                self.commands.set(name, false);
                Ok(())
            }
            _ => Err(Problem::Syntax),
        }
    }

    fn apply_key(&mut self, pattern: &[u8], access: Access) -> Result<(), Problem> {
        if !is_one_word(pattern) {
            return Err(Problem::Syntax);
        }
        self.add_key(pattern, access);
        Ok(())
    }

    /// `+command`, `+command|subcommand`, or `+command|argument` of one without subcommands.
    fn apply_command(&mut self, text: &[u8]) -> Result<(), Problem> {
        let Some(bar) = text.iter().rposition(|byte| *byte == b'|') else {
            let name = Name::find(text).ok_or(Problem::Unknown)?;
            self.commands.set(name, true);
            return Ok(());
        };
        let (container, sub) = (&text[..bar], &text[bar + 1..]);
        let command = Name::find(container).ok_or(Problem::Unknown)?;
        if command.is_subcommand() {
            return Err(Problem::FirstArg);
        }
        if sub.is_empty() || !is_one_word(sub) {
            return Err(Problem::Syntax);
        }
        if command.row().container {
            let name = Name::find(text).ok_or(Problem::Unknown)?;
            self.commands.set(name, true);
        } else {
            self.commands.allow_first_arg(command, sub);
        }
        Ok(())
    }
}

/// Reads `R~pattern`, `W~pattern` or `RW~pattern`.
fn access_of(rest: &[u8]) -> Option<(Access, &[u8])> {
    let tilde = rest.iter().position(|byte| *byte == b'~')?;
    let mut access = Access::NONE;
    for letter in &rest[..tilde] {
        let one = match letter.to_ascii_uppercase() {
            b'R' => Access::READ,
            b'W' => Access::WRITE,
            _ => return None,
        };
        if access.covers(one) {
            return None;
        }
        access = access.and(one);
    }
    (access != Access::NONE).then_some((access, &rest[tilde + 1..]))
}
