//! How every object is written: a head, then chunks, each with a check of its own.
//!
//! ```text
//! head    magic, crc, format, kind, bytes of a chunk, bytes of all, which key, salt
//! chunk   up to a MiB of the content, then its check
//! ```
//!
//! The check covers the head, the object's name, the chunk's number and its content, so nothing can
//! be changed, left out, put elsewhere or under another name unnoticed. Without a key it is a
//! CRC-32C against accidents. With a key each object has a key of its own (HKDF-SHA256 of the
//! given one with the object's random salt), each chunk is encrypted with AES-256-GCM, its number
//! being the nonce, and the check is the tag. The content's length is not hidden.

use crate::error::{Error, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::Path;

/// The format of objects this program writes and reads.
pub const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"CairnArc";
/// magic, crc of what follows, format, kind, chunk bytes, content bytes, key, salt.
pub(crate) const HEAD_BYTES: usize = 72;
const CHUNK_BYTES: usize = 1 << 20;
/// A chunk of another program's objects may have so many bytes at most.
const CHUNK_BYTES_MAX: usize = 8 << 20;
/// Bytes of a tag, and of a crc.
const CHECK_BYTES: [usize; 2] = [4, 16];

/// Encrypts what goes to the archive; only who has it can read that again.
#[derive(Clone)]
pub struct Key {
    secret: [u8; 32],
    id: [u8; 8],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    /// A key of random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let mut id = [0; 8];
        let prk = Salt::new(HKDF_SHA256, b"cairn archive").extract(&secret);
        let info = [b"which key".as_slice()];
        let filled = prk.expand(&info, Bytes(id.len())).and_then(|okm| okm.fill(&mut id));
        filled.expect("a short output is always there");
        Self { secret, id }
    }

    /// Reads a file of 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if it has another length, [`Error::File`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::file("read key file", path))?;
        let length = bytes.len() as u64;
        let secret = bytes.try_into();
        let secret = secret.map_err(|_| Error::KeyFile { path: path.to_owned(), bytes: length })?;
        Ok(Self::new(secret))
    }

    fn of_object(&self, salt: &[u8]) -> LessSafeKey {
        let prk: Prk = Salt::new(HKDF_SHA256, salt).extract(&self.secret);
        let info = [b"cairn archive object".as_slice()];
        let okm = prk.expand(&info, &AES_256_GCM).expect("a short output is always there");
        LessSafeKey::new(UnboundKey::from(okm))
    }
}

/// What an object of so many bytes of content takes.
#[must_use]
pub fn sealed_bytes(content: u64, with_key: bool) -> u64 {
    let chunks = content.div_ceil(CHUNK_BYTES as u64).max(1);
    HEAD_BYTES as u64 + content + chunks * CHECK_BYTES[usize::from(with_key)] as u64
}

/// The state of writing or reading one object.
struct Chunks {
    key: Option<LessSafeKey>,
    /// What every check covers: head and name, then room for the number.
    covered: Vec<u8>,
    number: u64,
}

impl Chunks {
    fn new(key: Option<LessSafeKey>, head: &[u8], name: &str) -> Self {
        let covered = [head, name.as_bytes(), &[0; 8]].concat();
        Self { key, covered, number: 0 }
    }

    fn check_bytes(&self) -> usize {
        CHECK_BYTES[usize::from(self.key.is_some())]
    }

    fn next(&mut self) -> Nonce {
        let at = self.covered.len() - 8;
        self.covered[at..].copy_from_slice(&self.number.to_le_bytes());
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let nonce = self.next();
        let start = out.len();
        out.extend_from_slice(content);
        match &self.key {
            Some(key) => {
                let aad = Aad::from(&self.covered);
                let tag = key.seal_in_place_separate_tag(nonce, aad, &mut out[start..]);
                let tag = tag.expect("a chunk is short");
                out.extend_from_slice(tag.as_ref());
            }
            None => out.extend_from_slice(&self.crc(content).to_le_bytes()),
        }
    }

    fn crc(&self, content: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.covered), content)
    }

    /// The content of a chunk with its check, in place.
    fn open<'a>(&mut self, chunk: &'a mut [u8]) -> Option<&'a [u8]> {
        let nonce = self.next();
        match &self.key {
            Some(key) => {
                let aad = Aad::from(&self.covered);
                key.open_in_place(nonce, aad, chunk).ok().map(|content| &*content)
            }
            None => {
                let (content, crc) = chunk.split_at(chunk.len() - 4);
                (self.crc(content).to_le_bytes() == *crc).then_some(content)
            }
        }
    }
}

/// Writes an object whose length is known before.
pub struct Sealer {
    chunks: Chunks,
    left: u64,
    begun: bool,
    head: Vec<u8>,
}

impl Sealer {
    /// Begins the object `name` with `content_bytes` of content.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn new(key: Option<&Key>, name: &str, content_bytes: u64) -> Result<Self> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&FORMAT.to_le_bytes());
        head.extend_from_slice(&u32::from(key.is_some()).to_le_bytes());
        head.extend_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
        head.extend_from_slice(&content_bytes.to_le_bytes());
        head.extend_from_slice(&key.map_or([0; 8], |key| key.id));
        let mut salt = [0; 32];
        if key.is_some() {
            SystemRandom::new().fill(&mut salt).map_err(|_| Error::Random)?;
        }
        head.extend_from_slice(&salt);
        let crc = crc32c::crc32c(&head[12..]);
        head[8..12].copy_from_slice(&crc.to_le_bytes());
        let chunks = Chunks::new(key.map(|key| key.of_object(&salt)), &head, name);
        Ok(Self { chunks, left: content_bytes, begun: false, head })
    }

    /// How much content the next chunk takes; `None` once the object is whole.
    #[must_use]
    pub fn wants(&self) -> Option<usize> {
        let most = self.left.min(CHUNK_BYTES as u64);
        (!self.begun || most > 0).then_some(usize::try_from(most).expect("at most a MiB"))
    }

    /// Appends the next chunk to `out`; `content` is as long as [`Sealer::wants`] said.
    pub fn chunk(&mut self, content: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(self.wants(), Some(content.len()));
        if !self.begun {
            out.extend_from_slice(&self.head);
        }
        self.begun = true;
        self.left -= content.len() as u64;
        self.chunks.seal(content, out);
    }
}

/// A whole object.
///
/// # Errors
/// [`Error::Random`].
pub fn seal(key: Option<&Key>, name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut sealer = Sealer::new(key, name, content.len() as u64)?;
    let mut out = Vec::with_capacity(content.len() + content.len() / 1024 + 128);
    let mut rest = content;
    while let Some(wanted) = sealer.wants() {
        let (chunk, more) = rest.split_at(wanted);
        sealer.chunk(chunk, &mut out);
        rest = more;
    }
    Ok(out)
}

/// Reads an object piece by piece, as it comes.
pub struct Opener<'a> {
    key: Option<&'a Key>,
    name: &'a str,
    buffer: Vec<u8>,
    /// Known once the head was read.
    opened: Option<Opened>,
}

struct Opened {
    chunks: Chunks,
    chunk_bytes: usize,
    left: u64,
    done: bool,
}

impl<'a> Opener<'a> {
    /// Reads the object `name`.
    #[must_use]
    pub fn new(key: Option<&'a Key>, name: &'a str) -> Self {
        Self { key, name, buffer: Vec::new(), opened: None }
    }

    fn broken(&self, found: &'static str) -> Error {
        Error::Broken { name: self.name.to_owned(), found }
    }

    /// Takes the next bytes; gives content to `out`, chunk by chunk, each only if it is right.
    ///
    /// # Errors
    /// [`Error::NeedsKey`], [`Error::OtherKey`], [`Error::NotEncrypted`], [`Error::Broken`],
    /// [`Error::Format`]; those of `out`.
    pub fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.opened.is_none() && self.buffer.len() >= HEAD_BYTES {
            let head: Vec<u8> = self.buffer.drain(..HEAD_BYTES).collect();
            self.opened = Some(self.head(&head)?);
        }
        let broken = |found| Error::Broken { name: self.name.to_owned(), found };
        let Some(opened) = &mut self.opened else { return Ok(()) };
        let mut at = 0;
        while !opened.done {
            let content = opened.left.min(opened.chunk_bytes as u64);
            let chunk = usize::try_from(content).expect("a chunk is short");
            let end = at + chunk + opened.chunks.check_bytes();
            let Some(bytes) = self.buffer.get_mut(at..end) else { break };
            let content = opened.chunks.open(bytes);
            out(content.ok_or_else(|| broken("a part of it was changed"))?)?;
            opened.left -= chunk as u64;
            opened.done = opened.left == 0;
            at = end;
        }
        self.buffer.drain(..at);
        if opened.done && !self.buffer.is_empty() {
            return Err(broken("there is something behind its end"));
        }
        Ok(())
    }

    fn head(&self, head: &[u8]) -> Result<Opened> {
        let format = |found| Error::Format { name: self.name.to_owned(), found, known: FORMAT };
        let number = |at: usize| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes of the head"))
        };
        if head[..8] != MAGIC {
            return Err(format(0));
        }
        if crc32c::crc32c(&head[12..]) != number(8) {
            return Err(self.broken("its head was changed"));
        }
        if number(12) != FORMAT {
            return Err(format(number(12)));
        }
        let name = || self.name.to_owned();
        let key = match (number(16), self.key) {
            (0, None) => None,
            (0, Some(_)) => return Err(Error::NotEncrypted { name: name() }),
            (_, None) => return Err(Error::NeedsKey { name: name() }),
            (_, Some(key)) if key.id != head[32..40] => {
                return Err(Error::OtherKey { name: name() });
            }
            (_, Some(key)) => Some(key.of_object(&head[40..HEAD_BYTES])),
        };
        let chunk_bytes = number(20) as usize;
        if !(1..=CHUNK_BYTES_MAX).contains(&chunk_bytes) {
            return Err(self.broken("its head says an impossible length"));
        }
        let left = u64::from_le_bytes(head[24..32].try_into().expect("eight bytes of the head"));
        let chunks = Chunks::new(key, head, self.name);
        Ok(Opened { chunks, chunk_bytes, left, done: false })
    }

    /// There are no further bytes.
    ///
    /// # Errors
    /// [`Error::Broken`] if there should be.
    pub fn finish(self) -> Result<()> {
        match &self.opened {
            Some(opened) if opened.done => Ok(()),
            Some(_) | None => Err(self.broken("it is cut off")),
        }
    }
}

/// The content of a whole object.
///
/// # Errors
/// As [`Opener::feed`] and [`Opener::finish`].
pub fn open(key: Option<&Key>, name: &str, object: &[u8]) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(object.len());
    let mut opener = Opener::new(key, name);
    opener.feed(object, |chunk| {
        content.extend_from_slice(chunk);
        Ok(())
    })?;
    opener.finish()?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn what_was_sealed_is_opened_and_has_the_length_that_was_said() {
        let key = Key::new([7; 32]);
        for key in [None, Some(&key)] {
            for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5] {
                let sealed = seal(key, "a", &content(bytes)).unwrap();
                assert_eq!(sealed.len() as u64, sealed_bytes(bytes as u64, key.is_some()));
                assert_eq!(open(key, "a", &sealed).unwrap(), content(bytes));
            }
        }
    }

    #[test]
    fn nothing_of_the_content_can_be_seen_and_no_two_objects_are_alike() {
        let key = Key::new([7; 32]);
        let text = b"a text that nobody should see".as_slice();
        let [one, two] = [0, 1].map(|_| seal(Some(&key), "a", text).unwrap());
        assert!(!one.windows(6).any(|window| text.windows(6).any(|part| part == window)));
        assert_ne!(one[HEAD_BYTES..], two[HEAD_BYTES..]);
    }

    #[test]
    fn keys_are_told_apart() {
        let (ours, other) = (Key::new([7; 32]), Key::new([8; 32]));
        let sealed = seal(Some(&ours), "a", b"text").unwrap();
        assert!(matches!(open(Some(&other), "a", &sealed), Err(Error::OtherKey { .. })));
        assert!(matches!(open(None, "a", &sealed), Err(Error::NeedsKey { .. })));
        let plain = seal(None, "a", b"text").unwrap();
        assert!(matches!(open(Some(&ours), "a", &plain), Err(Error::NotEncrypted { .. })));
    }

    #[test]
    fn a_key_file_has_exactly_32_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (bytes, good) in [(31, false), (32, true), (33, false)] {
            std::fs::write(&path, vec![1; bytes]).unwrap();
            let read = Key::read(&path);
            assert_eq!(read.is_ok(), good, "{bytes}");
            assert!(good || matches!(read, Err(Error::KeyFile { .. })));
        }
    }

    #[test]
    fn another_name_or_a_chunk_elsewhere_is_found() {
        let key = Key::new([7; 32]);
        for key in [None, Some(&key)] {
            let sealed = seal(key, "a", &content(3 * CHUNK_BYTES)).unwrap();
            assert!(matches!(open(key, "b", &sealed), Err(Error::Broken { .. })));
            let stride = CHUNK_BYTES + CHECK_BYTES[usize::from(key.is_some())];
            let mut swapped = sealed.clone();
            let (one, two) = swapped[HEAD_BYTES..].split_at_mut(stride);
            one.swap_with_slice(&mut two[..stride]);
            assert!(matches!(open(key, "a", &swapped), Err(Error::Broken { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_changed_or_missing_byte_is_found(
            bytes in 0..3000_usize,
            with_key: bool,
            at: prop::sample::Index,
            flip in 1..=255_u8,
            piece in 1..500_usize,
        ) {
            let key = Key::new([7; 32]);
            let key = with_key.then_some(&key);
            let sealed = seal(key, "a", &content(bytes)).unwrap();
            let at = at.index(sealed.len());
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            prop_assert!(open(key, "a", &changed).is_err());
            prop_assert!(open(key, "a", &sealed[..at]).is_err());
            prop_assert!(open(key, "a", &[&sealed[..], &[0]].concat()).is_err());
            // Whatever pieces it comes in.
            let (mut opener, mut out) = (Opener::new(key, "a"), Vec::new());
            for piece in sealed.chunks(piece) {
                opener.feed(piece, |chunk| { out.extend_from_slice(chunk); Ok(()) }).unwrap();
            }
            opener.finish().unwrap();
            prop_assert_eq!(out, content(bytes));
        }
    }
}
