//! All users of a keyspace, as a node knows them.

use crate::stored::Stored;
use crate::user::{User, is_digest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The user that clients are before they say another name.
pub const DEFAULT: &[u8] = b"default";

/// What the keyspace's resource says: who comes in by which passwords, as digests. ACL commands
/// decide what they may do, and have users of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The password of the default user. What is no digest fits to no password.
    pub default: Option<String>,
    /// Other passwords, by user; the default one may be among them.
    pub users: BTreeMap<String, BTreeSet<String>>,
}

impl Fixed {
    /// Whether the passwords of a user are the resource's; all are its, once it has any.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        let is_default = name == DEFAULT;
        (is_default && (self.default.is_some() || !self.users.is_empty()))
            || self.users.keys().any(|known| known.as_bytes() == name)
    }

    fn passwords<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = String> + use<'a> {
        let own = self.default.iter().filter(move |_| name == DEFAULT);
        let listed = self.users.iter().filter(move |(known, _)| known.as_bytes() == name);
        let all: BTreeSet<&String> = own.chain(listed.flat_map(|(_, all)| all)).collect();
        all.into_iter().filter(|text| is_digest(text.as_bytes())).cloned()
    }

    /// A user that nobody has given rules to: it may do everything.
    pub(crate) fn unruled(&self, name: &[u8]) -> Option<User> {
        if self.has(name) {
            let user = User::of_all(name).with_passwords(self.passwords(name));
            return Some(if user.passwords().is_empty() { user.turned_off() } else { user });
        }
        (name == DEFAULT).then(|| User::of_all(name))
    }
}

/// All users of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    all: BTreeMap<Vec<u8>, Arc<User>>,
    default: Arc<User>,
}

impl Default for Users {
    fn default() -> Self {
        Self::new(&Fixed::default(), &Stored::default())
    }
}

impl Users {
    /// Those of the resource and those of ACL SETUSER.
    #[must_use]
    pub fn new(fixed: &Fixed, stored: &Stored) -> Self {
        let fixed_names = fixed.users.keys().map(|name| name.as_bytes().to_vec());
        let names: BTreeSet<Vec<u8>> =
            stored.names().chain(fixed_names).chain([DEFAULT.to_vec()]).collect();
        let user = |name: Vec<u8>| {
            let user = stored.user(&name, fixed)?;
            Some((name, Arc::new(user)))
        };
        let all: BTreeMap<_, _> = names.into_iter().filter_map(user).collect();
        let default = all.get(DEFAULT).cloned();
        let default = default.unwrap_or_else(|| Arc::new(User::of_all(DEFAULT).turned_off()));
        Self { all, default }
    }

    /// The user of that name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.all.get(name)
    }

    /// The user that clients are before they say another name.
    #[must_use]
    pub const fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.all.values()
    }

    /// Whoever comes in by this name and password.
    #[must_use]
    pub fn coming_in(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.comes_in_with(password))
    }
}
