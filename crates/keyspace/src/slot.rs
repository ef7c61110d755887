//! Which slot a key belongs to: CRC16 of the key, or of its `{hash tag}`.

use cairn_logic::ids::{SLOTS, Slot};

/// The polynomial x^16 + x^12 + x^5 + 1, most significant bit first, starting from 0 (XMODEM).
const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[n][b]` is the remainder of byte `b` followed by `n` zero bytes.
const TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0_u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[n - 1][byte];
            tables[n][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
};

/// The CRC16 (XMODEM) of `bytes`.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        crc = TABLES[7][usize::from(chunk[0] ^ (crc >> 8) as u8)]
            ^ TABLES[6][usize::from(chunk[1] ^ crc as u8)]
            ^ TABLES[5][usize::from(chunk[2])]
            ^ TABLES[4][usize::from(chunk[3])]
            ^ TABLES[3][usize::from(chunk[4])]
            ^ TABLES[2][usize::from(chunk[5])]
            ^ TABLES[1][usize::from(chunk[6])]
            ^ TABLES[0][usize::from(chunk[7])];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The part of a key that decides its slot: what stands between the first `{` and the first `}`
/// after it, if that is not empty; else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|b| *b == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|b| *b == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// The slot of a key.
#[must_use]
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    let number = crc16(hash_tag(key)) & (SLOTS - 1);
    Slot::try_from(number).expect("a number below 16384 is a slot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_every_client_computes() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            ("", 0),
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("somekey", 11058),
            ("foo{hash_tag}", 2515),
            ("bar{hash_tag}", 2515),
        ] {
            assert_eq!(slot_of(key.as_bytes()).get(), slot, "{key}");
        }
    }

    #[test]
    fn only_a_closed_tag_with_content_counts() {
        assert_eq!(hash_tag(b"a{b}c{d}"), b"b");
        assert_eq!(hash_tag(b"a{}{d}"), b"a{}{d}");
        assert_eq!(hash_tag(b"a{b"), b"a{b");
        assert_eq!(hash_tag(b"{{b}}"), b"{b");
    }

    #[test]
    fn eight_bytes_at_once_equal_one_at_a_time() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..256 {
            let slow = bytes[..len].iter().fold(0_u16, |crc, byte| {
                (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
            });
            assert_eq!(crc16(&bytes[..len]), slow, "{len}");
        }
    }
}
