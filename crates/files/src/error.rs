//! What can go wrong with files, and what a caller may do about it.

use cairn_logic::ids::{Epoch, Offset};
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file operation did not happen. Facts only; what to do stands with each variant.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused; if it was a write or a flush, the file is untrusted from now on.
    #[error("cannot {what} {path:?}")]
    Io {
        /// What was attempted, a verb ("open").
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room for what is needed next; nothing was written, trust goes on. Refuse admission.
    #[error("no room on disk for {needed_bytes} bytes at {path:?}")]
    Full {
        /// Where room was looked for.
        path: PathBuf,
        /// How much was asked.
        needed_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write or flush failed: what is on disk is unknown. End the process.
    #[error("an earlier write or flush of {path:?} failed; this process must end")]
    Untrusted {
        /// The file or log folder.
        path: PathBuf,
    },
    /// A log cannot be read below what is known to be flushed. Nothing was changed; stop.
    #[error(
        "log file {path:?} is damaged at byte {position}: entries up to {flushed} were flushed, \
         but entry {offset} cannot be read ({found}); nothing was changed; keep this folder for \
         inspection and either repair the file or start the node on an empty folder, so that it \
         copies the data from its group"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The byte in it where the first unreadable record begins.
        position: u64,
        /// The first entry that cannot be read.
        offset: Offset,
        /// What is known to have been flushed.
        flushed: Offset,
        /// What was found there.
        found: &'static str,
    },
    /// A snapshot is not whole. Nothing was taken from it: set it aside and use another one.
    #[error("snapshot {path:?} cannot be used: {found}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: &'static str,
    },
    /// A snapshot that another node sent is of no use. It was removed; nothing else was changed.
    #[error("the snapshot that was received as {path:?} cannot be used and was removed")]
    Refused {
        /// Where it was received.
        path: PathBuf,
        /// Why: [`Error::Broken`], [`Error::Foreign`], [`Error::Format`] or [`Error::Content`].
        source: Box<Self>,
    },
    /// A snapshot was not received as a whole. What there is stays; go on receiving.
    #[error("only {bytes} of {of_bytes} bytes of the snapshot {path:?} were received")]
    Partial {
        /// Where it is received.
        path: PathBuf,
        /// How much is there.
        bytes: u64,
        /// How long it is.
        of_bytes: u64,
    },
    /// A snapshot's records are written in another way than this program's state machine reads.
    #[error("snapshot {path:?} has content of kind {found}, this program reads kind {known}")]
    Content {
        /// The file.
        path: PathBuf,
        /// As found.
        found: u32,
        /// As read by this program.
        known: u32,
    },
    /// No snapshot can be called so; nothing was looked for.
    #[error("{name:?} is not the name of a snapshot")]
    Name {
        /// What was given.
        name: String,
    },
    /// A snapshot is no longer kept. Ask again which there are.
    #[error("there is no snapshot {path:?} any more")]
    Gone {
        /// Where it would be.
        path: PathBuf,
    },
    /// Both copies of a small file are unreadable. Stop; a person decides.
    #[error(
        "both copies in {path:?} are unreadable; keep this folder for inspection and restore the \
         file, or start the node on an empty folder"
    )]
    BothCopiesBad {
        /// The file.
        path: PathBuf,
    },
    /// A file that must be there is missing. Stop; a person decides.
    #[error("{path:?} is missing although {because}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why it must exist.
        because: &'static str,
    },
    /// The file or folder belongs to somebody else. Check the path; do not start on it.
    #[error("{path:?} belongs to another {what}: found {found}, expected {expected}")]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is: cluster, node, group or incarnation.
        what: &'static str,
        /// As found.
        found: String,
        /// As asked.
        expected: String,
    },
    /// Written by another version of the program, or by another program.
    #[error("{path:?} has format {found}, this program reads format {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// As found; 0 if it is no file of ours at all.
        found: u32,
        /// What this program writes and reads.
        known: u32,
    },
    /// Another process has this folder.
    #[error("folder {path:?} is in use by another process")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A batch does not follow the last one; the caller is wrong, nothing was written.
    #[error("batch begins at offset {got}, expected {expected}")]
    NotNext {
        /// The offset after the last.
        expected: Offset,
        /// What was given.
        got: Offset,
    },
    /// A batch is of an older epoch than the last one; the caller is wrong, nothing was written.
    #[error("batch has epoch {got}, the log has reached {last}")]
    EpochWentBack {
        /// The epoch of the last entry.
        last: Epoch,
        /// What was given.
        got: Epoch,
    },
    /// Empty, or larger than what can be stored; nothing was written.
    #[error("{what} of {bytes} bytes is not within 1 and {limit_bytes}")]
    Size {
        /// What was given ("batch body").
        what: &'static str,
        /// Its size (for a batch without entries: 0).
        bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// A cut or clean mark that names no batch's end; the caller is wrong, nothing was changed.
    #[error("offset {after} is not the end of a batch in the log")]
    NotABoundary {
        /// What was given.
        after: Offset,
    },
    /// These entries are no longer kept; copy a snapshot instead.
    #[error("entry {from} is no longer kept, the log begins at {first}")]
    Truncated {
        /// What was asked.
        from: Offset,
        /// The first that is kept.
        first: Offset,
    },
    /// No room is allowed for another cut tail; nothing was cut. A person removes old ones.
    #[error(
        "{path:?} keeps {files} cut tails with {bytes} bytes, which is the limit; look at them \
         with `cairn tails` and remove those that nobody needs"
    )]
    TailsFull {
        /// The folder of the tails.
        path: PathBuf,
        /// How many are kept.
        files: u64,
        /// How much they hold.
        bytes: u64,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// `Full` if the system said so, else `Io`.
    pub(crate) fn room(path: &Path, needed_bytes: u64) -> impl FnOnce(io::Error) -> Self {
        Self::full_or("make room in", path, needed_bytes)
    }

    /// `Full` if the system said so, else that it cannot do `what`.
    pub(crate) fn full_or(
        what: &'static str,
        path: &Path,
        needed_bytes: u64,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, needed_bytes, source }
            }
            _ => Self::Io { what, path, source },
        }
    }

    /// Whether the process must end: what is on disk is unknown or cannot be used.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::Untrusted { .. }
            | Self::Damaged { .. }
            | Self::BothCopiesBad { .. }
            | Self::Missing { .. }
            | Self::Foreign { .. }
            | Self::Format { .. }
            | Self::Locked { .. } => true,
            Self::Full { .. }
            | Self::Broken { .. }
            | Self::Refused { .. }
            | Self::Partial { .. }
            | Self::Content { .. }
            | Self::Name { .. }
            | Self::Gone { .. }
            | Self::NotNext { .. }
            | Self::EpochWentBack { .. }
            | Self::Size { .. }
            | Self::NotABoundary { .. }
            | Self::Truncated { .. }
            | Self::TailsFull { .. } => false,
        }
    }
}
