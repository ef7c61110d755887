//! What a connection has told about itself, and its open transaction.

use crate::data::channels::Listens;
use crate::data::doors::Entry;
use crate::data::tracking::Tracks;
use cairn_acl::User;
use cairn_logic::ids::Offset;
use cairn_resp::ArgsBuf;
use std::sync::Arc;

/// The state of one client's session; reset by RESET.
#[derive(Debug, Default)]
pub struct Session {
    /// Whether it gave the password, or none was needed when it came.
    pub authenticated: bool,
    /// The user it came in as, as it is now; none: the default one.
    pub user: Option<Arc<User>>,
    /// Whether it has come in, as a user who may do everything: nothing it asks for is checked.
    pub free: bool,
    /// Whether its user is gone: it is closed once it has heard of that.
    pub expelled: bool,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
    /// Whether reads that may be old are welcome (READONLY).
    pub readonly: bool,
    /// Whether the next command may touch a slot that is being moved here (ASKING).
    pub asking: bool,
    /// Which replies it wants.
    pub reply: ReplyMode,
    /// The transaction being queued.
    pub multi: Option<Box<Multi>>,
    /// What WATCH watches.
    pub watched: Option<Box<Watched>>,
    /// What it listens to, if anything.
    pub listens: Option<Box<Listens>>,
    /// How it is told of changes to what it keeps, if it is.
    pub tracks: Option<Box<Tracks>>,
    /// The offset of its last write; what WAIT waits for.
    pub last_write: Offset,
    /// The last command's name, for CLIENT LIST.
    pub last_command: &'static str,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not this command's: SKIP was just given.
    SkipThis,
    /// Not the next command's.
    SkipNext,
}

impl ReplyMode {
    /// Whether the command being executed is answered.
    #[must_use]
    pub fn answers(self) -> bool {
        self == Self::On
    }
}

/// A transaction between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Multi {
    /// The commands, in order.
    pub queue: Vec<ArgsBuf>,
    /// What they take, in bytes.
    pub bytes: usize,
    /// Whether a command was refused: EXEC will abort.
    pub refused: bool,
}

/// The keys a client watches.
#[derive(Debug, Default)]
pub struct Watched {
    /// The keys.
    pub keys: Vec<WatchedKey>,
    /// Whether one of them was touched since.
    pub dirty: bool,
}

/// One watched key.
#[derive(Debug)]
pub struct WatchedKey {
    /// The key.
    pub key: Vec<u8>,
    /// Its fingerprint when the watch began: its lowest bit says whether the key was there, the
    /// others change with every write to its slot.
    pub version: u64,
}

impl Session {
    /// The name of its user.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        self.user.as_ref().map_or(cairn_acl::DEFAULT, |user| user.name())
    }

    /// Back to the beginning, as RESET asks; the authentication is asked for anew. Which library
    /// it is stays known, as in Redis 7.2.
    pub fn reset(&mut self, entry: Entry) {
        let library = std::mem::take(&mut self.library);
        let library_version = std::mem::take(&mut self.library_version);
        *self = Self { last_command: "reset", library, library_version, ..Self::default() };
        self.enter(entry);
    }

    /// A client that has said nothing yet comes in.
    pub fn enter(&mut self, Entry { authenticated, free }: Entry) {
        (self.authenticated, self.free) = (authenticated, free);
    }
}
