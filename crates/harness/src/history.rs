//! What clients did and saw: one [`Operation`] each, with the times of its call and its answer.
//!
//! A history is the only witness that the checker hears, so it is written by the clients, not by
//! the servers. An operation whose answer never came, or came as an error that leaves its effect
//! open, is [`Outcome::Unknown`]: it may take effect at any time after its call, or never.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What a client asked for. A key is used with one kind of action besides reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read a register or a counter.
    Get,
    /// Read all items of a list.
    GetItems,
    /// Write a register.
    Set {
        /// What to write; never the same twice for one key.
        value: String,
    },
    /// Write a register if it holds `expected`; none stands for an absent key.
    SetIf {
        /// What the register must hold.
        expected: Option<String>,
        /// What to write; never the same twice for one key.
        value: String,
    },
    /// Remove a register.
    Delete,
    /// Add to a counter and return the sum.
    Add {
        /// How much to add.
        by: i64,
    },
    /// Put an item at the end of a list and return the number of items.
    Append {
        /// What to append; never the same twice for one key.
        item: String,
    },
    /// Do several things to keys of one slot, all of them at one instant (`MULTI … EXEC`).
    Together {
        /// What, in order; none of them is itself a [`Action::Together`].
        steps: Vec<Step>,
    },
}

/// One part of [`Action::Together`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is about; its `{tag}` is that of the whole operation's key.
    pub key: String,
    /// What is done.
    pub action: Action,
}

impl Step {
    /// This, done to `key`.
    pub fn new(key: &str, action: Action) -> Self {
        Self { key: key.to_owned(), action }
    }
}

impl Action {
    /// Whether the action changes nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Get | Self::GetItems => true,
            Self::Together { steps } => steps.iter().all(|step| step.action.is_read()),
            _ => false,
        }
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, and nothing more is said.
    Done,
    /// The content of a register or counter; none if there is no such key.
    Value(Option<String>),
    /// The items of a list, first one first; empty if there is no such key.
    Items(Vec<String>),
    /// A counter's sum, or a list's length, right after the operation; how many registers were
    /// there to be removed.
    Number(i64),
    /// Whether a conditional write was done.
    Applied(bool),
    /// The answers to the steps of [`Action::Together`], in order.
    Each(Vec<Reply>),
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect between its call and its answer.
    Ok(Reply),
    /// It had no effect and never will; why.
    Failed(String),
    /// It may take effect at any time after its call, or never; why that is not known.
    Unknown(String),
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked; one client asks one thing at a time.
    pub client: u32,
    /// The connection that carried it; a client takes a new number for each one it opens.
    pub connection: u64,
    /// Whether the answer may be stale, because the client asked for that (`READONLY`).
    pub readonly: bool,
    /// What it was about.
    pub key: String,
    /// What was asked for.
    pub action: Action,
    /// When it was asked, in microseconds since the history began.
    pub called_us: u64,
    /// When its fate was known to the client, in microseconds since the history began.
    pub returned_us: u64,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer of an operation that took effect.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Ok(reply) => Some(reply),
            Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }

    /// Whether it changed something, and was told so.
    pub fn is_acknowledged_write(&self) -> bool {
        match (&self.action, self.reply()) {
            (_, None) => false,
            (Action::Together { steps }, Some(Reply::Each(replies))) => {
                let changes = |(step, reply): (&Step, &Reply)| is_change(&step.action, reply);
                steps.iter().zip(replies).any(changes)
            }
            (action, Some(reply)) => is_change(action, reply),
        }
    }

    /// The keys it is about.
    pub fn keys(&self) -> Vec<&str> {
        match &self.action {
            Action::Together { steps } => steps.iter().map(|step| step.key.as_str()).collect(),
            _ => vec![&self.key],
        }
    }

    /// Its steps as operations of their own, at the same time and with the same end; of any other
    /// operation, itself.
    pub fn parts(&self) -> Vec<Self> {
        let Action::Together { steps } = &self.action else { return vec![self.clone()] };
        let part = |(at, step): (usize, &Step)| {
            let outcome = match &self.outcome {
                Outcome::Ok(Reply::Each(replies)) => match replies.get(at) {
                    Some(reply) => Outcome::Ok(reply.clone()),
                    None => Outcome::Unknown("this part was not answered".into()),
                },
                Outcome::Ok(reply) => Outcome::Unknown(format!("no answer to this: {reply:?}")),
                outcome => outcome.clone(),
            };
            Self { key: step.key.clone(), action: step.action.clone(), outcome, ..self.clone() }
        };
        steps.iter().enumerate().map(part).collect()
    }
}

fn is_change(action: &Action, reply: &Reply) -> bool {
    !action.is_read() && *reply != Reply::Applied(false)
}

/// Collects the operations of many clients, in memory and, if wanted, as JSON lines in a file.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    operations: Vec<Operation>,
    file: Option<BufWriter<File>>,
}

impl Recorder {
    /// A recorder that keeps operations in memory only.
    pub fn in_memory() -> Self {
        Self::with(None)
    }

    /// A recorder that also writes each operation to the file `path`, which it replaces.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn to_file(path: &Path) -> std::io::Result<Self> {
        Ok(Self::with(Some(BufWriter::new(File::create(path)?))))
    }

    fn with(file: Option<BufWriter<File>>) -> Self {
        let kept = Mutex::new(Kept { operations: Vec::new(), file });
        Self { began: Instant::now(), kept }
    }

    /// Microseconds since the history began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Adds one operation that has ended.
    pub fn add(&self, operation: Operation) {
        let mut kept = self.lock();
        if let Some(file) = &mut kept.file {
            // A test whose evidence cannot be written must not go on as if it were.
            let line = serde_json::to_string(&operation).expect("an operation is plain data");
            writeln!(file, "{line}").expect("the history file can be written");
        }
        kept.operations.push(operation);
    }

    /// How many operations were acknowledged writes.
    pub fn acknowledged_writes(&self) -> usize {
        self.lock().operations.iter().filter(|operation| operation.is_acknowledged_write()).count()
    }

    /// All operations so far, by the time of their call.
    pub fn operations(&self) -> Vec<Operation> {
        let mut kept = self.lock();
        if let Some(file) = &mut kept.file {
            file.flush().expect("the history file can be written");
        }
        let mut operations = kept.operations.clone();
        operations.sort_by_key(|operation| operation.called_us);
        operations
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("no recorder panics while it holds the lock")
    }
}

/// Reads a history that a [`Recorder`] wrote.
///
/// # Errors
/// If the file cannot be read, or a line is not an operation.
pub fn read_file(path: &Path) -> std::io::Result<Vec<Operation>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(serde_json::from_str::<Operation>);
    lines.map(|line| line.map_err(std::io::Error::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_file_holds_what_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::to_file(&path).unwrap();
        for (called_us, outcome) in [
            (9, Outcome::Ok(Reply::Number(1))),
            (5, Outcome::Unknown("connection closed".into())),
            (7, Outcome::Failed("CLUSTERDOWN".into())),
        ] {
            let action = Action::Add { by: 1 };
            recorder.add(Operation {
                client: 1,
                connection: 2,
                readonly: false,
                key: "k".into(),
                action,
                called_us,
                returned_us: 10,
                outcome,
            });
        }
        let mut read = read_file(&path).unwrap_or_default();
        assert!(read.len() < 3, "nothing is promised before operations() flushes");
        let kept = recorder.operations();
        read = read_file(&path).unwrap();
        read.sort_by_key(|operation| operation.called_us);
        assert_eq!(read, kept);
        assert_eq!(recorder.acknowledged_writes(), 1);
    }
}
