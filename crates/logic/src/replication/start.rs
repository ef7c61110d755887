//! What a new life knows and may be (docs/replication.md §8).

use super::index::Index;
use super::{Alarm, Effect, Following, Reads, Recovered, Replica};
use crate::counting::Plane;
use crate::ids::{Epoch, Offset};
use crate::message::Sender;
use crate::mutant::{Mutant, broken};
use crate::time::Instant;
use crate::timing::Timing;
use std::collections::BTreeMap;

/// Whether a folder can still vouch for the tail of its log.
///
/// Page cache survives the process, not the machine; a flush that failed once proves nothing ever
/// after; and what was not intact before is made so only by a master.
fn is_intact(recovered: &Recovered) -> bool {
    if !recovered.vote.intact || recovered.failed_disk {
        return false;
    }
    let clean = recovered.clean == Some(recovered.last);
    clean || recovered.same_boot || !recovered.vote.unflushed
}

impl Replica {
    /// Begins a new life of the replica in folder `me`: always a follower (or learner), never
    /// master or elect of an epoch this folder had sealed.
    ///
    /// The first effect persists the raised life; nothing is said before that is flushed.
    ///
    /// # Panics
    /// If `recovered` contradicts itself (its epochs do not end at its last entry).
    #[must_use]
    #[allow(clippy::too_many_arguments)]
    pub fn start(
        me: Sender,
        plane: Plane,
        recovered: Recovered,
        timing: Timing,
        reads: Reads,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let intact = is_intact(&recovered);
        let clean = recovered.clean == Some(recovered.last);
        let mut vote = recovered.vote;
        vote.life = vote.life.next();
        vote.intact = intact;
        // Whoever lost its vote's last seconds has at least followed the epochs in its log.
        vote.sealed = vote.sealed.max(recovered.last.epoch);
        effects.push(Effect::Persist(vote.clone()));
        if !intact {
            effects.push(Effect::Alarm(Alarm::NotIntact { life: vote.life }));
        }
        let last = recovered.last.offset;
        let before = recovered.before;
        let forgets = broken(Mutant::RestartForgetsPromise);
        let promised_until = if forgets { now } else { now + timing.read_lease };
        let heard = if forgets { now - timing.silence_max } else { now };
        Self {
            me,
            plane,
            timing,
            reads,
            now,
            out: Vec::new(),
            sealed_at_start: vote.sealed,
            vote,
            index: Index::new(before, recovered.epochs, recovered.last),
            written: last,
            flushed: if clean { last } else { recovered.flushed.clamp(before.offset, last) },
            flush_wanted: Offset::ZERO,
            flush_open: false,
            committed: before.offset,
            snapshot: None,
            fetching: None,
            applied: before.offset,
            record: None,
            record_read_at: None,
            learners: Vec::new(),
            wish: None,
            relief: None,
            following: Following {
                epoch: Epoch::ZERO,
                master: None,
                verified: Offset::ZERO,
                told: Offset::ZERO,
                heard,
                stuck_since: None,
                promised_until,
                pending: Default::default(),
                fetch_at: None,
            },
            seal: None,
            sealed_as_master: false,
            lead: None,
            flaps: BTreeMap::new(),
            foreign: BTreeMap::new(),
            halted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntryId, Life};
    use crate::replication::Vote;

    fn recovered(same_boot: bool, unflushed: bool, clean: bool) -> Recovered {
        let last = EntryId::new(Epoch(3), Offset(9));
        let vote = Vote { sealed: Epoch(3), intact: true, life: Life(4), reserved: 0, unflushed };
        Recovered {
            vote,
            before: EntryId::ZERO,
            epochs: vec![(Epoch(3), Offset(1))],
            last,
            flushed: Offset(5),
            clean: clean.then_some(last),
            same_boot,
            failed_disk: false,
            torn: false,
        }
    }

    #[test]
    fn the_table_of_restarts_holds() {
        assert!(is_intact(&recovered(true, true, false)), "process crash, page cache");
        assert!(!is_intact(&recovered(false, true, false)), "machine crash, page cache");
        assert!(is_intact(&recovered(false, true, true)), "clean stop");
        assert!(is_intact(&recovered(false, false, false)), "machine crash, all flushed");
        let failed = Recovered { failed_disk: true, ..recovered(true, false, false) };
        assert!(!is_intact(&failed), "failed flush");
        let mut before = recovered(true, true, true);
        before.vote.intact = false;
        assert!(!is_intact(&before), "only a master heals");
    }

    #[test]
    fn a_clean_mark_of_another_end_proves_nothing() {
        let mut old = recovered(false, true, true);
        old.clean = Some(EntryId::new(Epoch(3), Offset(7)));
        assert!(!is_intact(&old));
    }
}
