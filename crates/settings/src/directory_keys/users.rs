//! `/cairn/users/<keyspace>`: the users that clients of a keyspace have made or changed.

use super::{DecodeError, USERS, decode, encode, name_after};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of a keyspace's users.
#[must_use]
pub fn users_key(keyspace: &str) -> String {
    format!("{USERS}{keyspace}")
}

/// The keyspace whose users are at `key`.
#[must_use]
pub fn users_of_key(key: &[u8]) -> Option<&str> {
    name_after(USERS, key)
}

/// Users by name, each with its rules in one line, as ACL LIST tells them. In both, `%` and bytes
/// that are no UTF-8 are `%` and two hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyspaceUsers {
    /// The rules by name.
    pub users: BTreeMap<String, String>,
}

impl KeyspaceUsers {
    /// Those of a keyspace whose users cannot be read: whoever says no name does not come in.
    #[must_use]
    pub fn nobody() -> Self {
        Self { users: [("default".to_owned(), "off".to_owned())].into() }
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("users", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_read_back_what_was_written() {
        let users = [("app".to_owned(), "on ~app:* -@all +@read".to_owned())].into();
        let users = KeyspaceUsers { users };
        assert_eq!(KeyspaceUsers::decode(&users.encode()).unwrap(), users);
        assert_eq!(users_of_key(users_key("tweets").as_bytes()), Some("tweets"));
    }
}
