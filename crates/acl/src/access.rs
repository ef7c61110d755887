//! What a request does to which keys, and on which channels it is.

use crate::names::Name;
use crate::pattern::Access;
use cairn_keyspace::command::{Command, Session};
use cairn_resp::Args;

/// The keys of a request, each with what is done to it.
pub(crate) fn keys_of<'a>(
    command: &'a Command,
    name: Name,
    args: Args<'a>,
) -> impl Iterator<Item = (&'a [u8], Access)> {
    let is_about_keys = !matches!(
        command.session(),
        Some(Session::Ssubscribe | Session::Sunsubscribe | Session::Spublish)
    );
    let (first, others) = match command.name {
        "set" => (of_set(args), Access::NONE),
        "bitfield" => (of_bitfield(args), Access::NONE),
        _ => name.row().access,
    };
    let keys = command.keys_of(args).take(if is_about_keys { usize::MAX } else { 0 });
    keys.enumerate().map(move |(at, key)| (key, if at == 0 { first } else { others }))
}

/// SET overwrites, and with GET it tells what was there.
fn of_set(args: Args<'_>) -> Access {
    let tells = args.from(3).iter().any(|word| word.eq_ignore_ascii_case(b"get"));
    if tells { Access::BOTH } else { Access::WRITE }
}

/// BITFIELD changes nothing if all it does is GET.
fn of_bitfield(args: Args<'_>) -> Access {
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        at += match args.get(at).to_ascii_lowercase().as_slice() {
            b"get" if left >= 2 => 3,
            b"overflow" if left >= 1 => 2,
            _ => return Access::BOTH,
        };
    }
    Access::READ
}

/// The channels of a request that hears or speaks, and whether they are patterns.
pub(crate) fn channels_of<'a>(command: &Command, args: Args<'a>) -> Option<(Args<'a>, bool)> {
    match command.session()? {
        Session::Subscribe | Session::Ssubscribe => Some((args.from(1), false)),
        Session::Psubscribe => Some((args.from(1), true)),
        Session::Publish | Session::Spublish => Some((args.from(1).first(1), false)),
        _ => None,
    }
}
