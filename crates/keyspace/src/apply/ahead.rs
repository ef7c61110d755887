//! What the next entries of a log will look up is loaded before they are applied.

use crate::effects::{Op, Reader};
use crate::keyspace::{At, Keyspace};
use crate::slot::slot_of;
use cairn_logic::ids::Slot;

/// So many entries are looked at together: more loads than go on at a time, and few enough that
/// what they bring is still there when it is read.
pub(super) const ENTRIES: u32 = 32;

impl Keyspace {
    /// Loads what the first effects of the next [`ENTRIES`] entries look up in slots that are
    /// `wanted`; nothing for an entry alone. What is malformed is told when it is applied.
    pub(super) fn load_ahead<'a>(
        &self,
        entries: impl Iterator<Item = &'a [u8]>,
        wanted: impl Fn(Slot) -> bool,
    ) {
        let mut entries = entries.take(ENTRIES as usize);
        let (Some(first), Some(second)) = (entries.next(), entries.next()) else {
            return;
        };
        let nowhere = At { slot: slot_of(&[]), hash: 0 };
        let (mut found, mut count) = ([nowhere; ENTRIES as usize], 0);
        for key in [first, second].into_iter().chain(entries).filter_map(first_key) {
            let slot = slot_of(key);
            if wanted(slot) {
                found[count] = At { slot, hash: self.hasher().hash(key) };
                count += 1;
            }
        }
        self.prefetch(&found[..count]);
    }
}

/// The key of an entry's first effect, if that is one on a key.
fn first_key(entry: &[u8]) -> Option<&[u8]> {
    let mut effects = Reader::new(entry);
    let op = Op::from_code(effects.byte()?)?;
    if op.is_on_key() { effects.text() } else { None }
}

/// The entries of a body, one after the other, up to its end or to what is none.
pub(super) fn entries(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(body);
    std::iter::from_fn(move || reader.text())
}
