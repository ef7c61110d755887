//! Libraries of functions, as texts: part of what the log, snapshots and copies hold, but no keys.
//!
//! What a text means is the business of whoever runs functions. In a snapshot they stand in front
//! of the first slot, whose moments are theirs.

use crate::apply::{Fault, Origin};
use crate::effects::{EffectLog, Op, Reader};
use crate::keyspace::Keyspace;
use cairn_logic::ids::{Offset, Slot};
use std::collections::BTreeMap;

/// All libraries together, in bytes.
pub const LIBRARIES_BYTES_MAX: usize = 8 << 20;

/// The texts by their names, and when they changed.
#[derive(Default)]
pub(crate) struct Libraries {
    texts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Grows with every change.
    version: u64,
    /// The entry that changed them last.
    last_write: Offset,
}

/// The slot whose moments are those of libraries.
fn slot() -> Slot {
    Slot::try_from(0).expect("0 is a slot")
}

impl Libraries {
    fn put(&mut self, name: &[u8], text: &[u8], at: Offset) {
        self.texts.insert(name.to_vec(), text.to_vec());
        self.changed(at);
    }

    fn drop(&mut self, name: &[u8], at: Offset) -> bool {
        let known = self.texts.remove(name).is_some();
        if known {
            self.changed(at);
        }
        known
    }

    fn changed(&mut self, at: Offset) {
        self.version += 1;
        self.last_write = self.last_write.max(at);
    }

    /// Visits all of them.
    pub fn each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        self.texts.iter().for_each(|(name, text)| visit(name, text));
    }

    /// Takes those that were built apart.
    pub fn adopt(&mut self, built: Self) {
        if !built.texts.is_empty() {
            self.texts.extend(built.texts);
            self.changed(built.last_write);
        }
    }
}

impl Keyspace {
    /// The libraries' texts by their names.
    #[must_use]
    pub fn libraries(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.libraries.texts
    }

    /// Another number after every change of them.
    #[must_use]
    pub fn libraries_version(&self) -> u64 {
        self.libraries.version
    }

    /// The entry that changed them last: what a function says depends on it.
    #[must_use]
    pub fn libraries_last_write(&self) -> Offset {
        self.libraries.last_write
    }

    /// What all of them take, in bytes.
    #[must_use]
    pub fn libraries_bytes(&self) -> usize {
        self.libraries.texts.iter().map(|(name, text)| name.len() + text.len()).sum()
    }

    /// Keeps a library in place of the one of that name, and logs it. For the master.
    pub fn put_library(&mut self, name: &[u8], text: &[u8], log: &mut EffectLog) {
        log.texts(Op::Library, &[name, text]);
        self.libraries.put(name, text, log.next_offset());
        log.command_done();
    }

    /// Gives a library up, and logs it; whether there was one. For the master.
    pub fn drop_library(&mut self, name: &[u8], log: &mut EffectLog) -> bool {
        let known = self.libraries.drop(name, log.next_offset());
        if known {
            log.texts(Op::LibraryDrop, &[name]);
            log.command_done();
        }
        known
    }

    /// Applies a change of libraries.
    pub(crate) fn apply_library(
        &mut self,
        op: Op,
        effects: &mut Reader<'_>,
        offset: Offset,
        origin: Origin<'_>,
    ) -> Result<(), Fault> {
        let passes = match origin {
            Origin::Log => self.holds(slot(), offset),
            Origin::Slots(slots) if slots.contains(&0) && op == Op::Library => false,
            Origin::Slots(_) => return Err(Fault::Malformed),
            // Each group has its own.
            Origin::Piece(_) => true,
        };
        let name = effects.text().ok_or(Fault::Malformed)?;
        let text = match op {
            Op::Library => Some(effects.text().ok_or(Fault::Malformed)?),
            _ => None,
        };
        if passes {
            return Ok(());
        }
        match text {
            Some(text) => self.libraries.put(name, text, offset),
            None if self.libraries.drop(name, offset) => {}
            None => return Err(Fault::Diverged),
        }
        Ok(())
    }
}
