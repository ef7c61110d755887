//! Libraries of functions as FUNCTION DUMP gives them and FUNCTION RESTORE takes them.

use super::body;
use super::read::Reader;
use super::write::Writer;
use crate::libraries::LIBRARIES_BYTES_MAX;

/// A library's text follows.
const LIBRARY: u8 = 245;
/// One of before Redis 7.0 was done follows.
const OLD_LIBRARY: u8 = 246;

/// The payload of libraries with these texts.
#[must_use]
pub fn dump_libraries<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Writer::default();
    for text in texts {
        out.bytes(&[LIBRARY]);
        out.text(text);
    }
    out.done()
}

/// The texts in a payload.
///
/// # Errors
/// What is wrong with it, as Redis says it.
pub fn load_libraries(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let body = body(payload).ok_or("DUMP payload version or checksum are wrong")?;
    let mut reader = Reader::new(body, LIBRARIES_BYTES_MAX);
    let mut texts = Vec::new();
    while !reader.is_empty() {
        match reader.array() {
            Ok([LIBRARY]) => {
                let text = reader.text();
                texts.push(text.map_err(|_| "Failed loading library data")?.into_owned());
            }
            Ok([OLD_LIBRARY]) => return Err("Pre-release function format not supported."),
            _ => return Err("given type is not a function"),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_dumped_is_loaded_and_nothing_else() {
        let texts: [&[u8]; 3] = [b"#!lua name=a\n", b"", &[7; 100_000]];
        let payload = dump_libraries(texts.into_iter());
        assert_eq!(load_libraries(&payload).unwrap(), texts);
        assert_eq!(load_libraries(&dump_libraries([].into_iter())).unwrap(), [b""; 0]);
        let mut other = payload.clone();
        other[0] = 246;
        assert!(load_libraries(&other).unwrap_err().contains("checksum"));
    }

    /// As redis-server 7.0.15 gives it without any library.
    #[test]
    fn no_library_is_what_it_is_in_redis() {
        let empty = dump_libraries(std::iter::empty());
        assert_eq!(&empty[..2], [10, 0]);
        assert_eq!(empty.len(), 10);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_loaded_or_refused(
            body in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            let mut out = Writer::default();
            out.bytes(&body);
            let _ = load_libraries(&out.done());
            let _ = load_libraries(&body);
        }
    }
}
