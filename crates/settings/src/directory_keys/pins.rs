//! `/cairn/pins/<group>`: who handed a group over by hand, so that the planner lets it be.

use super::{DecodeError, PINS, decode, encode, name_after};
use cairn_logic::ids::GroupId;
use cairn_logic::masters::Pin;

/// The key of a group's pin.
#[must_use]
pub fn pin_key(group: &GroupId) -> String {
    format!("{PINS}{group}")
}

/// The group whose pin is at `key`.
#[must_use]
pub fn pin_of_key(key: &[u8]) -> Option<GroupId> {
    name_after(PINS, key).map(GroupId::new)
}

/// The value's bytes.
#[must_use]
pub fn encode_pin(pin: &Pin) -> Vec<u8> {
    encode(pin)
}

/// Reads the value.
///
/// # Errors
/// Bytes that are no such value.
pub fn decode_pin(bytes: &[u8]) -> Result<Pin, DecodeError> {
    decode("pin", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::NodeId;

    #[test]
    fn a_pin_reads_back_what_was_written() {
        let pin = Pin { to: Some(NodeId::new("t-0-1")), at_ms: 7, for_ms: 600_000 };
        let text = br#"{"to":"t-0-1","atMs":7,"forMs":600000}"#;
        assert_eq!(encode_pin(&pin), text);
        assert_eq!(decode_pin(text).unwrap(), pin);
        assert_eq!(pin_of_key(pin_key(&GroupId::new("t-0")).as_bytes()), Some(GroupId::new("t-0")));
    }
}
