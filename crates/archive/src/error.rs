//! What can go wrong with an archive.

use std::path::PathBuf;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something about an archive did not happen. Nothing in it was lost by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given as a place is none.
    #[error("{place:?} is no place for an archive: {problem}")]
    Place {
        /// As given.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The storage refused, could not be reached, or was too slow, each as often as is bearable.
    #[error("cannot {what} {name:?} in the archive")]
    Store {
        /// What was attempted, a verb ("write").
        what: &'static str,
        /// The object.
        name: String,
        /// What the storage said.
        source: object_store::Error,
    },
    /// A file on this machine.
    #[error("cannot {what} {path:?}")]
    File {
        /// What was attempted, a verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key file that holds no key.
    #[error("key file {path:?} has {bytes} bytes, a key has exactly 32")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// The system gave no random numbers.
    #[error("the system has no random numbers")]
    Random,
    /// Encrypted, and no key was given.
    #[error("{name:?} in the archive is encrypted; a key file is needed")]
    NeedsKey {
        /// The object.
        name: String,
    },
    /// Encrypted with another key.
    #[error("{name:?} in the archive is encrypted with another key than the one given")]
    OtherKey {
        /// The object.
        name: String,
    },
    /// A key was given, and this object could have been written by anybody.
    #[error("{name:?} in the archive is not encrypted although a key was given")]
    NotEncrypted {
        /// The object.
        name: String,
    },
    /// Not as it was written.
    #[error("{name:?} in the archive is damaged: {found}")]
    Broken {
        /// The object.
        name: String,
        /// What is wrong with it.
        found: &'static str,
    },
    /// Written by a newer program, or by none of ours.
    #[error("{name:?} in the archive has format {found}, this program reads format {known}")]
    Format {
        /// The object.
        name: String,
        /// As found; 0 if it is no object of ours at all.
        found: u32,
        /// What this program writes and reads.
        known: u32,
    },
    /// A backup names it, and it is not there.
    #[error("{name:?} is missing in the archive although a backup needs it")]
    Missing {
        /// The object.
        name: String,
    },
    /// Nothing to restore.
    #[error("there is no backup of keyspace {keyspace:?} here")]
    NoBackup {
        /// The keyspace.
        keyspace: String,
    },
    /// Several clusters have a keyspace of that name.
    #[error("several clusters have a keyspace {keyspace:?} here: {uids}; say which")]
    WhichCluster {
        /// The keyspace.
        keyspace: String,
        /// The clusters.
        uids: String,
    },
    /// The moment is before, between or after what the backups cover.
    #[error("no backup reaches that moment; covered are: {covered}")]
    NotCovered {
        /// From when to when, for each backup.
        covered: String,
    },
    /// Numbers or names that no cluster makes.
    #[error("cannot keep this in an archive: {what}")]
    Invalid {
        /// What is wrong.
        what: String,
    },
    /// A snapshot file.
    #[error("a snapshot cannot be read")]
    Snapshot(#[from] cairn_files::Error),
    /// Effects that do not fit to the state they are for.
    #[error("group {group}: what is in the archive does not fit together")]
    Apply {
        /// Whose.
        group: String,
        /// Why.
        source: cairn_keyspace::Error,
    },
}

impl Error {
    pub(crate) fn store(
        what: &'static str,
        name: &str,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let name = name.to_owned();
        move |source| match source {
            object_store::Error::NotFound { .. } => Self::Missing { name },
            source => Self::Store { what, name, source },
        }
    }

    pub(crate) fn file(
        what: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
