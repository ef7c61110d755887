//! The users that ACL SETUSER has made or changed, as the directory keeps them.

use crate::rule::Invalid;
use crate::text::{bytes_of, text_of};
use crate::user::User;
use crate::users::{DEFAULT, Fixed};
use std::collections::BTreeMap;

/// What all names and rules of a keyspace's users may take, in bytes: they are one value.
const BYTES_MAX: usize = 512 << 10;

/// Users by name, each with its rules in one line. Both are escaped to be text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored(BTreeMap<String, String>);

/// What an ACL command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives rules to a user, which is made if it is not there.
    Set {
        /// Its name.
        name: Vec<u8>,
        /// The rules, in their order.
        rules: Vec<Vec<u8>>,
    },
    /// Deletes users.
    Delete {
        /// Their names; those that are not there are not counted.
        names: Vec<Vec<u8>>,
    },
}

/// A change that is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A user cannot be called so.
    Name,
    /// The rules are wrong.
    Invalid(Invalid),
    /// The default user cannot be deleted.
    Default,
    /// The resource decides about the passwords of this user, and whether it is there.
    Fixed(Vec<u8>),
    /// They would take more than may be kept.
    TooMany,
}

impl Refused {
    /// As clients are told.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Name => "ERR Usernames can't contain spaces or null characters".to_owned(),
            Self::Invalid(invalid) => invalid.text(),
            Self::Default => "ERR The 'default' user cannot be removed".to_owned(),
            Self::Fixed(name) => {
                let name = String::from_utf8_lossy(name);
                format!(
                    "ERR the passwords of user '{name}', and whether it is there, are in \
                     spec.auth of the Keyspace: change them in the resource"
                )
            }
            Self::TooMany => format!(
                "ERR the users of a keyspace take {} KiB at most: delete some, or shorten rules",
                BYTES_MAX >> 10
            ),
        }
    }
}

impl Stored {
    /// Reads what the directory keeps.
    #[must_use]
    pub fn from_texts(texts: BTreeMap<String, String>) -> Self {
        Self(texts)
    }

    /// What the directory keeps.
    #[must_use]
    pub fn into_texts(self) -> BTreeMap<String, String> {
        self.0
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.keys().map(|name| bytes_of(name))
    }

    /// The user of that name as it is in force.
    pub(crate) fn user(&self, name: &[u8], fixed: &Fixed) -> Option<User> {
        let unruled = fixed.unruled(name);
        let Some(line) = self.0.get(&text_of(name)) else { return unruled };
        let ruled = User::read(name, &bytes_of(line));
        Some(match unruled.filter(|_| fixed.has(name)) {
            Some(unruled) => ruled.with_passwords(unruled.passwords().iter().cloned()),
            None => ruled,
        })
    }

    /// Makes a change: the users after it, and how many were deleted.
    ///
    /// # Errors
    /// Why nothing changes.
    pub fn change(&self, fixed: &Fixed, change: &Change) -> Result<(Self, usize), Refused> {
        match change {
            Change::Set { name, rules } => Ok((self.set(fixed, name, rules)?, 0)),
            Change::Delete { names } => self.delete(fixed, names),
        }
    }

    fn set(&self, fixed: &Fixed, name: &[u8], rules: &[Vec<u8>]) -> Result<Self, Refused> {
        if !User::is_name(name) {
            return Err(Refused::Name);
        }
        let is_fixed = fixed.has(name);
        let mut user = self.user(name, fixed).unwrap_or_else(|| User::new(name));
        user.apply_all(rules).map_err(Refused::Invalid)?;
        if is_fixed && rules.iter().any(|rule| User::is_about_passwords(rule)) {
            return Err(Refused::Fixed(name.to_vec()));
        }
        if is_fixed {
            // They are never kept beside the resource.
            user = user.with_passwords(std::iter::empty());
        }
        let mut after = self.clone();
        after.0.insert(text_of(name), text_of(&user.describe()));
        let bytes: usize = after.0.iter().map(|(name, line)| name.len() + line.len()).sum();
        if bytes > BYTES_MAX { Err(Refused::TooMany) } else { Ok(after) }
    }

    fn delete(&self, fixed: &Fixed, names: &[Vec<u8>]) -> Result<(Self, usize), Refused> {
        if names.iter().any(|name| name == DEFAULT) {
            return Err(Refused::Default);
        }
        if let Some(name) = names.iter().find(|name| fixed.has(name)) {
            return Err(Refused::Fixed(name.clone()));
        }
        let mut after = self.clone();
        let deleted = names.iter().filter(|name| after.0.remove(&text_of(name)).is_some()).count();
        Ok((after, deleted))
    }
}
