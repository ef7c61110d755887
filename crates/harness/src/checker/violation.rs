//! What can be wrong with a history, in words a person can act on.

use std::fmt;

use crate::history::Operation;

/// The kinds of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged write is gone.
    LostWrite,
    /// A read shows less than was acknowledged before it began.
    StaleRead,
    /// A read shows a value that is gone later, or that was never written.
    DirtyRead,
    /// A connection to a replica saw an older value after a newer one.
    BackwardsRead,
    /// A write took effect more than once.
    Repeated,
    /// A write that was refused took effect.
    RefusedButApplied,
    /// No order of the operations explains the answers.
    NotLinearizable,
    /// The history is too entangled for the search's bounds: nothing is proved.
    Undecided,
}

/// One violation, with the operations that show it.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The key it is about.
    pub key: String,
    /// What is wrong.
    pub kind: Kind,
    /// The same in a sentence, with the values.
    pub what: String,
    /// The operations that prove it, by the time of their call.
    pub window: Vec<Operation>,
}

impl Violation {
    pub(super) fn new(key: &str, kind: Kind, what: String, window: &[&Operation]) -> Self {
        let mut window: Vec<Operation> =
            window.iter().map(|&operation| operation.clone()).collect();
        window.sort_by_key(|operation| operation.called_us);
        Self { key: key.to_owned(), kind, what, window }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of key {:?}: {}", self.kind, self.key, self.what)?;
        for operation in &self.window {
            write!(
                f,
                "\n  {:>10}..{:<10} us client {:<3} {:?} -> {:?}",
                operation.called_us,
                operation.returned_us,
                operation.client,
                operation.action,
                operation.outcome
            )?;
        }
        Ok(())
    }
}
