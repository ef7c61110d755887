//! `/cairn/groups/<id>`: the record of a group, as `cairn_logic` defines it and nothing else.
//!
//! Its `version` always equals the key's version in the directory, so a compare-and-swap is a Txn
//! that compares the key's version.

use super::{DecodeError, GROUPS, decode, encode, name_after};
use cairn_logic::ids::GroupId;
use cairn_logic::record::Record;

/// The key of a group's record.
#[must_use]
pub fn group_key(id: &GroupId) -> String {
    format!("{GROUPS}{id}")
}

/// The group whose record is at `key`.
#[must_use]
pub fn group_of_key(key: &[u8]) -> Option<GroupId> {
    name_after(GROUPS, key).map(GroupId::new)
}

/// The keyspace a group belongs to: groups are named `<keyspace>-<n>`.
#[must_use]
pub fn keyspace_of(group: &GroupId) -> Option<&str> {
    group.as_str().rsplit_once('-').map(|(keyspace, _)| keyspace)
}

/// The group `number` of a keyspace.
#[must_use]
pub fn group_of(keyspace: &str, number: u16) -> GroupId {
    GroupId::new(format!("{keyspace}-{number}"))
}

/// Which of the keyspace's groups has this name; `None`: another keyspace's.
#[must_use]
pub fn number_of(keyspace: &str, group: &str) -> Option<u16> {
    group.strip_prefix(keyspace)?.strip_prefix('-')?.parse().ok()
}

/// The record's bytes.
#[must_use]
pub fn encode_group(record: &Record) -> Vec<u8> {
    encode(record)
}

/// Reads a record.
///
/// # Errors
/// Bytes that are no record.
pub fn decode_group(bytes: &[u8]) -> Result<Record, DecodeError> {
    decode("group", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{Epoch, Incarnation, NodeId, Version};
    use cairn_logic::record::{Durability, Member, Role, Rule};

    #[test]
    fn a_record_reads_back_what_was_written() {
        let id = NodeId::new("tweets-0-0");
        let record = Record {
            version: Version(3),
            epoch: Epoch(2),
            master: Some(id.clone()),
            members: vec![Member {
                id,
                incarnation: Incarnation(u64::MAX),
                role: Role::Master,
                zone: None,
            }],
            rule: Rule::One,
            wanted: 3,
            durability: Durability { flushed: false, zones: 1 },
            attempt: Epoch(2),
            open: false,
        };
        assert_eq!(decode_group(&encode_group(&record)).unwrap(), record);
    }

    #[test]
    fn a_key_names_its_group_and_no_other_key_does() {
        let id = GroupId::new("tweets-0");
        assert_eq!(group_key(&id), "/cairn/groups/tweets-0");
        assert_eq!(group_of_key(group_key(&id).as_bytes()), Some(id));
        for key in ["/cairn/groups/", "/cairn/groups/a/b", "/cairn/nodes/a", "tweets-0"] {
            assert_eq!(group_of_key(key.as_bytes()), None, "{key}");
        }
        assert_eq!(keyspace_of(&GroupId::new("tweets-b-0")), Some("tweets-b"));
    }
}
