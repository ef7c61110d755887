//! What commands there are: one static table for all that a node knows.

mod access;
mod describe;
mod docs;
mod table;

use table::LIST;

pub use describe::{categories, describe};

use crate::exec::Call;
use crate::refusal::Refusal;
use cairn_resp::Args;
use cairn_resp::number::parse_i64;
use std::ops::{BitOr, Range};

pub(crate) type Run = fn(&mut Call<'_>) -> Result<(), Refusal>;

/// Properties of a command, as COMMAND tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1);
    /// Reads data.
    pub const READONLY: Self = Self(1 << 1);
    /// May take memory: refused above the limit.
    pub const DENY_OOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Answered while data is being loaded.
    pub const LOADING: Self = Self(1 << 4);
    /// Answered by a member that is behind.
    pub const STALE: Self = Self(1 << 5);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 6);
    /// Not in scripts.
    pub const NO_SCRIPT: Self = Self(1 << 7);
    /// Needs no authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Not inside of MULTI.
    pub const NO_MULTI: Self = Self(1 << 9);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 10);
    /// Its keys depend on its arguments.
    pub const MOVABLE_KEYS: Self = Self(1 << 11);
    /// Its arguments must not be shown.
    pub const SKIP_MONITOR: Self = Self(1 << 12);
    /// About channels and messages.
    pub const PUBSUB: Self = Self(1 << 13);
    /// Not among the slow commands.
    pub const SKIP_SLOWLOG: Self = Self(1 << 15);
    /// Changes no data, and is still meant for other nodes: it waits while writes are paused.
    pub const MAY_REPLICATE: Self = Self(1 << 14);

    /// Whether all of `other` are set.
    #[must_use]
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

/// What family a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Bits of strings.
    Bitmap,
    /// Strings that count what is distinct.
    HyperLogLog,
    /// Hashes.
    Hash,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Sorted sets of places on the earth.
    Geo,
    /// Streams.
    Stream,
    /// The client's connection.
    Connection,
    /// The node.
    Server,
    /// The cluster.
    Cluster,
    /// MULTI and its like.
    Transactions,
    /// Channels and messages.
    PubSub,
    /// Scripts.
    Scripting,
}

/// Where a command's keys stand among its arguments (0 is the name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The first; 0 if there is none.
    pub first: u8,
    /// The last; negative ones count from the end.
    pub last: i8,
    /// The distance between two.
    pub step: u8,
    /// Keys beyond these, whose places depend on the arguments.
    pub more: More,
}

/// Keys of a command whose places depend on its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There are none.
    None,
    /// This argument says how many follow it.
    Counted(u8),
    /// The last one that follows the word STORE or STOREDIST, from this argument on.
    Stored(u8),
    /// The first half of those that follow the word STREAMS behind the options.
    Streams,
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self::between(0, 0, 0);
    /// One key, argument 1.
    pub const ONE: Self = Self::between(1, 1, 1);
    /// One key, argument 2, behind a subcommand.
    pub const SECOND: Self = Self::between(2, 2, 1);
    /// Two keys, arguments 1 and 2.
    pub const TWO: Self = Self::between(1, 2, 1);
    /// All arguments.
    pub const ALL: Self = Self::between(1, -1, 1);
    /// Every other argument.
    pub const PAIRS: Self = Self::between(1, -1, 2);

    /// Every `step`th argument from `first` to `last`.
    #[must_use]
    pub const fn between(first: u8, last: i8, step: u8) -> Self {
        Self { first, last, step, more: More::None }
    }

    /// These, and more.
    #[must_use]
    pub const fn and(self, more: More) -> Self {
        Self { more, ..self }
    }

    /// Whether there is one at most.
    #[must_use]
    #[inline]
    pub const fn at_most_one(self) -> bool {
        self.first as i8 == self.last && matches!(self.more, More::None)
    }
}

impl More {
    /// Where in `args` they are; none if the arguments are too few.
    fn range(self, args: Args<'_>) -> Range<usize> {
        match self {
            More::None => 0..0,
            More::Counted(at) => {
                let at = usize::from(at);
                let count = (at < args.len()).then(|| parse_i64(args.get(at))).flatten();
                let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                match (at + 1).checked_add(count) {
                    Some(end) if end <= args.len() => at + 1..end,
                    _ => 0..0,
                }
            }
            More::Stored(from) => {
                let mut words = usize::from(from)..args.len().saturating_sub(1);
                let stores = |word: &[u8]| {
                    word.eq_ignore_ascii_case(b"STORE") || word.eq_ignore_ascii_case(b"STOREDIST")
                };
                let word = words.rfind(|at| stores(args.get(*at)));
                word.map_or(0..0, |at| at + 1..at + 2)
            }
            More::Streams => {
                let Some(word) = streams_word(args) else { return 0..0 };
                let count = (args.len() - word - 1) / 2;
                word + 1..word + 1 + count
            }
        }
    }
}

/// Where the word STREAMS stands behind the options of XREAD and XREADGROUP.
fn streams_word(args: Args<'_>) -> Option<usize> {
    let mut at = 1;
    while at < args.len() {
        let word = args.get(at).to_ascii_uppercase();
        at += match word.as_slice() {
            b"STREAMS" => return Some(at),
            b"BLOCK" | b"COUNT" => 2,
            b"GROUP" => 3,
            b"NOACK" => 1,
            _ => return None,
        };
    }
    None
}

/// Commands that the session executes, not the keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as its command; Nowhere stands for those refused")]
pub enum Session {
    Acl,
    Asking,
    Auth,
    Client,
    Cluster,
    Command,
    Config,
    Discard,
    Eval,
    Exec,
    Function,
    Hello,
    Info,
    Latency,
    Lolwut,
    Multi,
    Nowhere,
    Psubscribe,
    Publish,
    Pubsub,
    Punsubscribe,
    Quit,
    Readonly,
    Readwrite,
    Reset,
    Role,
    Script,
    Select,
    Slowlog,
    Spublish,
    Ssubscribe,
    Subscribe,
    Sunsubscribe,
    Unsubscribe,
    Unwatch,
    Wait,
    Watch,
}

/// Who executes a command.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The keyspace, by this function.
    Data(RunFn),
    /// The session.
    Session(Session),
}

/// A function that executes a command on data; called by [`crate::Keyspace::execute`].
#[derive(Clone, Copy)]
pub struct RunFn(pub(crate) Run);

/// One command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its place in [`COMMANDS`].
    pub number: u16,
    /// Its name in small letters.
    pub name: &'static str,
    /// How many arguments it takes, its name included; negative: at least so many.
    pub arity: i8,
    /// Its properties.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// Its family.
    pub group: Group,
    /// Who executes it.
    pub kind: Kind,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Command {
    /// Whether it takes `count` arguments, its name included.
    #[must_use]
    #[inline]
    pub fn takes(&self, count: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { count >= wanted } else { count == wanted }
    }

    /// The session command it is, if it is one.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        match self.kind {
            Kind::Session(session) => Some(session),
            Kind::Data(_) => None,
        }
    }

    /// Its keys in `args`, in their order; none if the arguments are too few.
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Keys { first, last, step, more } = self.keys;
        let count = args.len();
        let last = if last < 0 {
            count.checked_sub(usize::from(last.unsigned_abs()))
        } else {
            Some((last as usize).min(count.saturating_sub(1)))
        };
        let range = match last {
            Some(last) if first > 0 => usize::from(first)..last + 1,
            _ => 0..0,
        };
        let fixed = range.step_by(usize::from(step).max(1));
        fixed.chain(more.range(args)).map(move |index| args.get(index))
    }

    /// Its first key in `args`.
    #[must_use]
    #[inline]
    pub fn first_key<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        let first = usize::from(self.keys.first);
        if first == 0 && self.keys.more != More::None {
            return self.keys_of(args).next();
        }
        (first > 0 && first < args.len()).then(|| args.get(first))
    }

    /// The member or field that it looks up in its key's collection, as far as its place tells:
    /// only for loading ahead.
    #[must_use]
    #[inline]
    pub fn likely_member<'a>(&self, args: Args<'a>) -> Option<&'a [u8]> {
        let at = match self.group {
            Group::Hash | Group::Set => 2,
            Group::SortedSet => args.len().saturating_sub(1),
            _ => return None,
        };
        (at >= 2 && at < args.len()).then(|| args.get(at))
    }
}

/// Every command a node knows, each with its number.
pub static COMMANDS: [Command; LIST.len()] = {
    let mut all = [LIST[0]; LIST.len()];
    let mut number = 0;
    while number < LIST.len() {
        all[number] = LIST[number];
        all[number].number = number as u16;
        number += 1;
    }
    all
};

/// The command called `name`, in letters of any case.
#[must_use]
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let mut at = fold_name(name) % INDEX_LEN;
    loop {
        let command = match INDEX[at] {
            0 => return None,
            number => &COMMANDS[usize::from(number) - 1],
        };
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        at = (at + 1) % INDEX_LEN;
    }
}

const INDEX_LEN: usize = 2048;

/// Open addressing over the commands' names: 0 is free, else one more than the position.
static INDEX: [u16; INDEX_LEN] = {
    assert!(LIST.len() < INDEX_LEN / 4, "most places stay free");
    let mut index = [0; INDEX_LEN];
    let mut number = 0;
    while number < LIST.len() {
        let mut at = fold_name(LIST[number].name.as_bytes()) % INDEX_LEN;
        while index[at] != 0 {
            at = (at + 1) % INDEX_LEN;
        }
        index[at] = number as u16 + 1;
        number += 1;
    }
    index
};

const fn fold_name(name: &[u8]) -> usize {
    let mut sum = name.len();
    let mut at = 0;
    // No name is longer than this; more cannot match anyway.
    while at < name.len() && at < 24 {
        sum = sum.wrapping_mul(31).wrapping_add((name[at] | 0x20) as usize);
        at += 1;
    }
    sum ^ (sum >> 10)
}
