//! Redis's checksum of payloads: CRC-64 with Jones's polynomial, lowest bit first, eight bytes at a
//! time.

/// 0xad93d23594c935a9 with its bits turned round.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// For each distance from the end of eight bytes and each byte what it adds.
static TABLES: [[u64; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut at = 1;
    while at < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[at - 1][byte];
            tables[at][byte] = before >> 8 ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        at += 1;
    }
    tables
};

/// The checksum of bytes.
pub fn of(bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let sum = eights.iter().fold(0, |sum, eight| {
        let mixed = (sum ^ u64::from_le_bytes(*eight)).to_le_bytes();
        (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][usize::from(mixed[at])])
    });
    rest.iter().fold(sum, |sum: u64, byte| sum >> 8 ^ TABLES[0][usize::from(sum as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_redis_s() {
        // As Redis's own test has it.
        assert_eq!(of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let slow = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum: u64, byte| sum >> 8 ^ TABLES[0][usize::from(sum as u8 ^ byte)])
        };
        let bytes: Vec<u8> = (0..100_u8).map(|n| n.wrapping_mul(7)).collect();
        (0..100).for_each(|len| assert_eq!(of(&bytes[..len]), slow(&bytes[..len])));
    }
}
