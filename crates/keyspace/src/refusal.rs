//! Why a command is refused, in the words clients know.

use cairn_resp::{Args, ReplyBuf};
use std::borrow::Cow;

/// A refused command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Arity,
    NotHere,
    ReadOnly,
    WrongType,
    Syntax,
    NotInteger,
    NotFloat,
    OutOfRange,
    Overflow,
    InvalidExpire,
    TooLarge,
    NotPositive,
    Text(Cow<'static, str>),
}

impl Refusal {
    pub fn text(text: &'static str) -> Self {
        Refusal::Text(Cow::Borrowed(text))
    }

    /// Writes it as the reply of command `name`.
    pub fn write(&self, name: &str, reply: &mut ReplyBuf) {
        let text = match self {
            Refusal::Arity => return wrong_arity(name, reply),
            Refusal::InvalidExpire => {
                return reply.error(&format!("ERR invalid expire time in '{name}' command"));
            }
            Refusal::NotHere => "ERR this command is not executed on data",
            Refusal::ReadOnly => "READONLY You can't write against a read only replica.",
            Refusal::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            Refusal::Syntax => "ERR syntax error",
            Refusal::NotInteger => "ERR value is not an integer or out of range",
            Refusal::NotFloat => "ERR value is not a valid float",
            Refusal::OutOfRange => "ERR offset is out of range",
            Refusal::Overflow => "ERR increment or decrement would overflow",
            Refusal::TooLarge => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Refusal::NotPositive => "ERR value is out of range, must be positive",
            Refusal::Text(text) => text,
        };
        reply.error(text);
    }
}

/// The reply to a known command with too few or too many arguments.
pub fn wrong_arity(name: &str, reply: &mut ReplyBuf) {
    reply.error(&format!("ERR wrong number of arguments for '{name}' command"));
}

/// An argument as an error shows it: up to its first zero, and no more than `max` bytes.
pub(crate) fn shown(arg: &[u8], max: usize) -> String {
    let end = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    String::from_utf8_lossy(&arg[..end.min(max)]).into_owned()
}

/// The reply to an unknown command.
pub fn unknown_command(args: Args<'_>, reply: &mut ReplyBuf) {
    const SHOWN_MAX: usize = 128;
    let mut rest = String::new();
    for arg in args.from(1).iter() {
        if rest.len() >= SHOWN_MAX {
            break;
        }
        rest.push('\'');
        rest.push_str(&shown(arg, SHOWN_MAX - rest.len()));
        rest.push_str("' ");
    }
    let name = shown(args.name(), SHOWN_MAX);
    reply.error(&format!("ERR unknown command '{name}', with args beginning with: {rest}"));
}
