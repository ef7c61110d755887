//! `/cairn/moves/<keyspace>`: which slots are on their way from one group to another.
//!
//! Never deleted: the last number given out is in it.

use super::{DecodeError, MOVES, decode, encode, name_after};
use cairn_logic::moves::Moves;

/// The key of a keyspace's moves.
#[must_use]
pub fn moves_key(keyspace: &str) -> String {
    format!("{MOVES}{keyspace}")
}

/// The keyspace whose moves are at `key`.
#[must_use]
pub fn moves_of_key(key: &[u8]) -> Option<&str> {
    name_after(MOVES, key)
}

/// The value's bytes.
#[must_use]
pub fn encode_moves(moves: &Moves) -> Vec<u8> {
    encode(moves)
}

/// Reads the value.
///
/// # Errors
/// Bytes that are no such value.
pub fn decode_moves(bytes: &[u8]) -> Result<Moves, DecodeError> {
    decode("moves", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{GroupId, Slot};

    #[test]
    fn moves_read_back_what_was_written() {
        let mut moves = Moves::default();
        let slot = |n| Slot::try_from(n).unwrap();
        let (a, b) = (GroupId::new("t-0"), GroupId::new("t-1"));
        moves.begin((slot(5), slot(9)), &a, &b).unwrap();
        let one = r#"{"id":1,"first":5,"last":9,"source":"t-0","target":"t-1","phase":"copy"}"#;
        let text = format!(r#"{{"last_id":1,"moves":[{one}]}}"#);
        let text = text.as_bytes();
        assert_eq!(encode_moves(&moves), text);
        assert_eq!(decode_moves(text).unwrap(), moves);
        assert_eq!(moves_of_key(b"/cairn/moves/t"), Some("t"));
    }
}
