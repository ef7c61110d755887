//! The expiry cycle of a master: it deletes what has expired, a little at a time.

use crate::effects::{EffectLog, Op};
use crate::events::Classes;
use crate::keyspace::{At, Keyspace};
use cairn_logic::ids::{SLOTS, Slot};

/// What a piece of the cycle did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// How many keys were deleted; each is an entry of the log.
    pub deleted: usize,
    /// Whether nothing that is due is left: the next piece has time. Otherwise call again soon.
    pub finished: bool,
}

impl Keyspace {
    /// Goes on with the cycle: deletes keys whose time is not after `now_ms`, looking at about
    /// `budget` keys. For the master alone, between commands; costs nearly nothing if nothing is
    /// due. Slots in which nothing can have expired are passed over at a glance.
    pub fn expire_some(&mut self, now_ms: u64, budget: usize, log: &mut EffectLog) -> Expired {
        let mut done = Expired { deleted: 0, finished: true };
        if self.expiring == 0 {
            return done;
        }
        let mut left = budget;
        for _ in 0..SLOTS {
            let (number, position) = self.expiry_cursor;
            let slot = Slot::try_from(number).expect("the cursor stays below 16384");
            let sums = self.sums[usize::from(number)];
            let rests = self.rests(slot);
            if !rests && (position > 0 || (sums.expiring > 0 && sums.earliest_ms <= now_ms)) {
                if left == 0 {
                    done.finished = false;
                    return done;
                }
                let (deleted, seen, next) = self.expire_slot(slot, position, now_ms, left, log);
                done.deleted += deleted;
                left = left.saturating_sub(seen.max(1));
                if let Some(next) = next {
                    self.expiry_cursor = (number, next);
                    done.finished = false;
                    return done;
                }
            }
            self.expiry_cursor = ((number + 1) % SLOTS, 0);
        }
        done
    }

    /// Deletes what is due in a slot from `position` on: how many, how many were looked at, and
    /// where to go on.
    fn expire_slot(
        &mut self,
        slot: Slot,
        position: u64,
        now_ms: u64,
        budget: usize,
        log: &mut EffectLog,
    ) -> (usize, usize, Option<u64>) {
        let mut due: Vec<Vec<u8>> = Vec::new();
        // Writes during a pass over the slot lower the bound again by themselves.
        let mut earliest = match position {
            0 => u64::MAX,
            _ => self.sums[usize::from(slot.get())].earliest_ms,
        };
        let (seen, next) =
            self.table(slot).scan_expiring(position, budget, |entry| match entry.expiry() {
                Some(expiry) if expiry <= now_ms => due.push(entry.key().to_vec()),
                Some(expiry) => earliest = earliest.min(expiry),
                None => {}
            });
        self.sums[usize::from(slot.get())].earliest_ms = earliest;
        for key in &due {
            let at = At { slot, hash: self.hasher().hash(key) };
            if let Some(place) = self.find(at, key) {
                self.remove(at, place);
                log.texts(Op::Delete, &[key]);
                self.mark_written(slot, log.next_offset());
                log.command_done();
                self.tell(Classes::EXPIRED, "expired", key);
            }
        }
        (due.len(), seen, next)
    }
}
