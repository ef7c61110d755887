//! Applies what changes a list in its middle, what gives a value another key, and what puts one
//! that came from outside.

use super::{Fault, Target};
use crate::effects::{Op, Reader};
use crate::payload;
use crate::value::list::List;

fn index(effects: &mut Reader<'_>) -> Result<usize, Fault> {
    let number = effects.varint().ok_or(Fault::Malformed)?;
    usize::try_from(number).map_err(|_| Fault::Malformed)
}

impl Target<'_> {
    pub(super) fn list_item(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let index = index(effects)?;
        let item = effects.text().ok_or(Fault::Malformed)?;
        let place = self.collection::<List>(false)?;
        self.ks.update(self.at, place, |list: &mut List, touch| {
            if index >= list.len() {
                return Err(Fault::Diverged);
            }
            match op {
                Op::ListSet => list.set(touch, index, item),
                _ => list.insert(touch, index, item),
            }
            Ok(())
        })
    }

    pub(super) fn list_remove(&mut self, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let count = effects.count().filter(|count| *count > 0).ok_or(Fault::Malformed)?;
        let (mut indexes, mut next) = (Vec::with_capacity(count), 0_usize);
        for _ in 0..count {
            let at = next.checked_add(index(effects)?).ok_or(Fault::Malformed)?;
            indexes.push(at);
            next = at.checked_add(1).ok_or(Fault::Malformed)?;
        }
        let place = self.collection::<List>(false)?;
        self.ks.update(self.at, place, |list: &mut List, touch| {
            if next > list.len() {
                return Err(Fault::Diverged);
            }
            list.remove_all(touch, &indexes);
            Ok(())
        })
    }

    pub(super) fn restore(&mut self, effects: &mut Reader<'_>) -> Result<(), Fault> {
        /// Whoever wrote the entry has bounded what is compressed in it.
        const ROOM: usize = 1 << 31;
        let expiry = effects.varint().ok_or(Fault::Malformed)?;
        let body = effects.text().ok_or(Fault::Malformed)?;
        let loaded = payload::load(body, ROOM, self.ks.hasher()).map_err(|_| Fault::Malformed)?;
        self.ks.put_loaded(self.at, self.key, loaded, expiry);
        Ok(())
    }

    pub(super) fn elsewhere(&mut self, op: Op, effects: &mut Reader<'_>) -> Result<(), Fault> {
        let key = effects.text().ok_or(Fault::Malformed)?;
        let to = self.ks.locate(key);
        if to.slot != self.at.slot || key == self.key {
            return Err(Fault::Malformed);
        }
        if self.place.is_none() {
            return Err(Fault::Diverged);
        }
        match op {
            Op::Rename => self.ks.rename((self.at, self.key), (to, key)),
            _ => self.ks.copy((self.at, self.key), (to, key)),
        }
        Ok(())
    }
}
