//! How objects are called.

use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, GroupId};

/// The names of one keyspace's objects; all below `<cluster uid>/<keyspace>/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    uid: String,
    keyspace: String,
}

/// Names are parts of paths and of addresses: only what Kubernetes allows in its own.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    !name.is_empty() && name.len() <= 253 && name.chars().all(plain) && !name.starts_with('.')
}

impl Names {
    /// Those of `keyspace` in the cluster `uid`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be part of a name.
    pub fn new(uid: &str, keyspace: &str) -> Result<Self> {
        for name in [uid, keyspace] {
            if !is_plain(name) {
                return Err(Error::Invalid { what: format!("{name:?} is no plain name") });
            }
        }
        Ok(Self { uid: uid.to_owned(), keyspace: keyspace.to_owned() })
    }

    /// The cluster.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The keyspace.
    #[must_use]
    pub fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// Before the names of all its objects.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}/{}", self.uid, self.keyspace)
    }

    pub(crate) fn backups(&self) -> String {
        format!("{}/backups", self.all())
    }

    pub(crate) fn groups(&self) -> String {
        format!("{}/groups", self.all())
    }

    pub(crate) fn backup(&self, id: &str) -> String {
        format!("{}/{id}{BACKUP}", self.backups())
    }

    pub(crate) fn run(&self, group: &GroupId, first: u64, last: EntryId) -> String {
        let (groups, epoch, last) = (self.groups(), last.epoch.0, last.offset.0);
        format!("{groups}/{group}/log/{first:020}-{last:020}-{epoch}.run")
    }

    pub(crate) fn snapshot(
        &self,
        group: &GroupId,
        from: EntryId,
        made_ms: u64,
        bytes: u64,
    ) -> String {
        let (groups, epoch, offset) = (self.groups(), from.epoch.0, from.offset.0);
        format!("{groups}/{group}/snapshots/{offset:020}-{epoch}-{made_ms}-{bytes}.snap")
    }
}

const BACKUP: &str = ".backup";

/// The backup that an object's name is of.
pub(crate) fn backup_id(name: &str) -> Option<&str> {
    name.rsplit('/').next()?.strip_suffix(BACKUP)
}
