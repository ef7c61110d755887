//! RESP2 and RESP3 frames: bytes in, frames out.
//!
//! Pure: no sockets, no clock. Three parts, in reading order:
//! * [`Parser`] reads requests (multibulk and inline) as ranges into the caller's buffer, a whole
//!   pipeline at once, without an allocation per command; [`Args`] is one command.
//! * [`ReplyBuf`] writes replies in the protocol version a client asked for.
//! * [`Reply`] reads replies, for clients and tests.
//!
//! [`number`] has the strict integer and double texts that both sides share.

pub mod number;

mod args;
mod inline;
mod parse;
mod reply;
mod request;

pub use args::{Args, ArgsBuf, Span};
pub use parse::{MalformedReply, Reply};
pub use reply::{ArrayMark, ReplyBuf, Version};
pub use request::{Limits, Parser, ProtocolError};
