//! What clients of the directory did and saw, with the times of their questions and answers.
//!
//! All times are microseconds since the clients began, taken before a question is asked and after
//! its answer is there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// A key's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its value.
    pub value: String,
    /// The revision that gave it this value.
    pub changed: i64,
    /// The revision that made the key.
    pub created: i64,
    /// How often it was written since.
    pub version: i64,
}

/// What was asked of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Write it.
    Put {
        /// What; never the same twice.
        value: String,
    },
    /// Write it if it was last changed at a revision.
    Swap {
        /// Which; 0 if there was no such key.
        seen: i64,
        /// What; never the same twice.
        value: String,
    },
    /// Write it if a lock is still the one that was taken.
    Guarded {
        /// Which lock.
        lock: String,
        /// The revision at which it was taken.
        token: i64,
        /// What; never the same twice.
        value: String,
    },
    /// Read it.
    Get {
        /// Whether an older state will do.
        stale: bool,
    },
}

impl Deed {
    /// What it would write.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Put { value } | Self::Swap { value, .. } | Self::Guarded { value, .. } => {
                Some(value)
            }
            Self::Get { .. } => None,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The revision of what was written, or as of which was read.
    pub revision: i64,
    /// The epoch of the master that answered.
    pub term: u64,
    /// Whether something was written.
    pub applied: bool,
    /// What the key held right before what was written, or as of `revision` if nothing was.
    pub state: Option<State>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect between question and answer.
    Done(Told),
    /// It had no effect and never will; why.
    Failed(String),
    /// It may take effect at any time after the question, or never; why that is not known.
    Unknown(String),
}

/// One question about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Who asked; each asks one thing at a time.
    pub client: usize,
    /// About which key.
    pub key: String,
    /// What.
    pub deed: Deed,
    /// When it was asked.
    pub called_us: u64,
    /// When its fate was known.
    pub returned_us: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer, if there was one.
    pub fn told(&self) -> Option<&Told> {
        match &self.outcome {
            Outcome::Done(told) => Some(told),
            Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }

    /// The revision of what it wrote, if it is known that it did.
    pub fn written(&self) -> Option<i64> {
        let told = self.told().filter(|told| told.applied)?;
        (!matches!(self.deed, Deed::Get { .. })).then_some(told.revision)
    }
}

/// What happened to a lease, or was seen of the key that hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// It was granted or kept alive: it lives for so long after the question at least.
    Promised {
        /// When that was asked for.
        asked_us: u64,
        /// When the answer came.
        answered_us: u64,
        /// For how long.
        ttl_us: u64,
    },
    /// It may have been kept alive: there was no answer.
    Touched {
        /// When the client gave up.
        returned_us: u64,
    },
    /// Its key was read, and no older state would have done.
    Seen {
        /// When that was asked.
        called_us: u64,
        /// When the answer came.
        returned_us: u64,
        /// The epoch of the master that answered.
        term: u64,
        /// Whether the key was there.
        there: bool,
    },
    /// The client ended it.
    Ended {
        /// When it began to.
        called_us: u64,
    },
}

/// A lease with one key on it, from its beginning on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Life {
    /// Whose.
    pub client: usize,
    /// The key.
    pub key: String,
    /// How long it lives by itself.
    pub ttl_us: u64,
    /// In the order in which the client learned of it.
    pub signs: Vec<Sign>,
}

impl Life {
    /// Up to when the lease lives for certain: its promises, cut by the client's own end.
    pub fn certain_us(&self) -> u64 {
        let (mut until, mut ended) = (0, u64::MAX);
        for sign in &self.signs {
            match *sign {
                Sign::Promised { asked_us, ttl_us, .. } => until = until.max(asked_us + ttl_us),
                Sign::Ended { called_us } => ended = ended.min(called_us),
                Sign::Touched { .. } | Sign::Seen { .. } => {}
            }
        }
        until.min(ended)
    }
}

/// A lock that a client had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Which lock.
    pub lock: String,
    /// The revision at which it was taken.
    pub token: i64,
    /// From when on the client knew.
    pub from_us: u64,
    /// Its lease; while it lives for certain, the lock is held.
    pub life: Life,
}

/// Everything that clients of the directory saw.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Reads and writes.
    pub operations: Vec<Operation>,
    /// Leases.
    pub lives: Vec<Life>,
    /// Locks.
    pub holdings: Vec<Holding>,
    /// From when on nothing disturbed the cluster.
    pub calm_us: Option<u64>,
    /// How many keys could not be read at the end.
    pub unread: usize,
}

impl History {
    /// Writes it to the file `path`, a line of JSON for each thing.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for operation in &self.operations {
            line(&mut file, operation)?;
        }
        for life in &self.lives {
            line(&mut file, life)?;
        }
        for holding in &self.holdings {
            line(&mut file, holding)?;
        }
        file.flush()
    }
}

fn line(file: &mut impl Write, thing: &impl Serialize) -> std::io::Result<()> {
    writeln!(file, "{}", serde_json::to_string(thing)?)
}
