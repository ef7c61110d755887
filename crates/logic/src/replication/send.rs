//! What an elect or master sends, and what its peers answer.

use super::index::Index;
use super::progress::Progress;
use super::{Alarm, Effect, Replica};
use crate::ids::{EntryId, Epoch, NodeId, Offset};
use crate::message::{Ack, Heartbeat, Message, Refuse, Sender};
use crate::mutant::{Mutant, broken};
use crate::time::{Duration, Instant};

/// How soon the record is read again after a refusal.
const READ_AGAIN: Duration = Duration::from_millis(100);

impl Replica {
    /// Sends entries to every peer that is heard and has room.
    pub(super) fn pump_all(&mut self) {
        let Some(lead) = &mut self.lead else { return };
        let mut peers = std::mem::take(&mut lead.peers);
        for (to, peer) in &mut peers {
            self.pump_to(to, peer);
        }
        if let Some(lead) = &mut self.lead {
            lead.peers = peers;
        }
    }

    /// Sends entries to one peer if it is heard and has room.
    fn pump(&mut self, to: &NodeId) {
        let Some(lead) = &mut self.lead else { return };
        let Some((to, mut peer)) = lead.peers.remove_entry(to) else { return };
        self.pump_to(&to, &mut peer);
        if let Some(lead) = &mut self.lead {
            lead.peers.insert(to, peer);
        }
    }

    /// Asks for the next frame to one peer.
    fn pump_to(&mut self, to: &NodeId, peer: &mut Progress) {
        let Some(lead) = &self.lead else { return };
        let begins = self.index.before().offset;
        if !peer.heard_within(self.timing.silence_max, self.now) || peer.is_behind(begins) {
            return;
        }
        let Some(prev) = peer.ready(self.written, self.now) else { return };
        self.out.push(Effect::Replicate {
            to: to.clone(),
            epoch: lead.epoch,
            prev,
            up_to: self.written,
            committed: self.committed,
            flush: lead.needs_flush(prev, self.written),
        });
    }

    /// One frame left.
    pub(super) fn on_sent(&mut self, to: &NodeId, epoch: Epoch, last: EntryId) {
        let now = self.now;
        let Some(lead) = self.lead.as_mut().filter(|l| l.epoch == epoch) else { return };
        let Some(peer) = lead.peers.get_mut(to) else { return };
        if peer.sent(last, now) {
            self.pump(to);
        }
    }

    /// Heartbeats when they are due, at once after a commit nobody was told of.
    pub(super) fn beat_when_due(&mut self) {
        let Some(lead) = &self.lead else { return };
        let due = lead.beat_at.is_none_or(|at| self.now.since(at) >= self.timing.heartbeat);
        if due || lead.beat_committed < self.committed {
            self.beat();
        }
    }

    /// Sends heartbeats to all peers now.
    pub(super) fn beat(&mut self) {
        let (now, committed) = (self.now, self.committed);
        let (before, last) = (self.index.before(), self.index.last());
        let Some(lead) = &mut self.lead else { return };
        lead.beat_at = Some(now);
        lead.beat_committed = committed;
        let waited = now.since(lead.moved_at);
        let beat = Heartbeat {
            epoch: lead.epoch,
            before,
            last,
            committed,
            progressing: committed == last.offset || waited < self.timing.silence_max,
            sent_at: now,
        };
        for to in lead.peers.keys() {
            let body = Message::Heartbeat(beat.clone());
            self.out.push(Effect::Send { to: to.clone(), body });
        }
    }

    /// Steps back whoever has not acknowledged for a while.
    pub(super) fn retry_all(&mut self) {
        let (now, patience) = (self.now, self.timing.silence_max);
        let Some(lead) = &mut self.lead else { return };
        let opening = lead.opening(&self.index);
        let begins = self.index.before().offset;
        for peer in lead.peers.values_mut() {
            let held = (peer.written > Offset::ZERO).then(|| match peer.written >= begins {
                true => self.index.entry(peer.written),
                // It was given up behind this peer, which says where it can go on.
                false => EntryId::ZERO,
            });
            peer.retry(held, opening, patience, now);
        }
    }

    /// Takes an acknowledgement, if it is of this epoch, of the folder that is meant and of its
    /// newest life.
    pub(super) fn on_ack(&mut self, from: &Sender, ack: &Ack) {
        let (now, last) = (self.now, self.index.last().offset);
        if !self.is_meant(from) {
            return;
        }
        let Some(lead) = self.lead.as_mut().filter(|l| l.epoch == ack.epoch) else { return };
        let opening = lead.opening(&self.index);
        let Some(peer) = lead.peers.get_mut(&from.id) else { return };
        let stale_counts = broken(Mutant::StaleLives);
        if ack.life < peer.life && !stale_counts {
            return;
        }
        if ack.life > peer.life {
            if peer.life.0 > 0 && !stale_counts {
                peer.reborn(ack.life, opening, now);
            }
            peer.life = ack.life;
        }
        if ack.sent_at > now {
            return;
        }
        peer.acked(ack, last, now);
        if let Some(place) = place_of(&self.index, peer, self.timing.silence_max, now) {
            peer.step_back(place, now);
        }
        if ack.promise {
            let from = if broken(Mutant::LeaseFromReceive) { now } else { ack.sent_at };
            let until = from + usable_lease(&self.timing);
            peer.promised_until = peer.promised_until.max(Some(until));
        }
        if !ack.intact && peer.heal_at.is_none() {
            peer.heal_at = Some(last);
        }
        self.heal(&from.id);
        self.ready_when_opened();
        self.advance();
        self.after_acks();
        self.pump(&from.id);
    }

    /// Says that a life holds all it may have lost.
    fn heal(&mut self, id: &NodeId) {
        let is_master = self.is_master();
        let Some(lead) = self.lead.as_mut().filter(|_| is_master) else { return };
        let epoch = lead.epoch;
        let Some(peer) = lead.peers.get_mut(id) else { return };
        let Some(target) = peer.heal_at else { return };
        if peer.intact {
            peer.heal_at = None;
        } else if peer.flushed >= target || broken(Mutant::HealedAtOnce) {
            let body = Message::Healed { epoch, life: peer.life };
            self.out.push(Effect::Send { to: id.clone(), body });
        }
    }

    /// Takes a refusal: a newer seal means that the record has moved on or will; else step back.
    pub(super) fn on_refuse(&mut self, from: &Sender, refuse: &Refuse) {
        let now = self.now;
        if !self.is_meant(from) {
            return;
        }
        let target = target_of(&self.index, refuse.hint);
        let Some(lead) = &mut self.lead else { return };
        if refuse.sealed > lead.epoch {
            if self.record_read_at.is_none_or(|at| now.since(at) >= READ_AGAIN) {
                self.record_read_at = Some(now);
                self.out.push(Effect::ReadRecord);
            }
            return;
        }
        let opening = lead.opening(&self.index);
        let Some(peer) = lead.peers.get_mut(&from.id) else { return };
        if refuse.life < peer.life {
            return;
        }
        if refuse.life > peer.life {
            if peer.life.0 > 0 {
                peer.reborn(refuse.life, opening, now);
            }
            peer.life = refuse.life;
        }
        peer.refused(target, now);
        self.pump(&from.id);
    }

    /// Whether the sender's folder is the one this master counts (or streams to).
    fn is_meant(&mut self, from: &Sender) -> bool {
        let Some(peer) = self.lead.as_ref().and_then(|l| l.peers.get(&from.id)) else {
            return false;
        };
        if peer.incarnation == from.incarnation {
            return true;
        }
        let (id, incarnation) = (from.id.clone(), from.incarnation);
        if self.foreign.insert(id.clone(), incarnation) != Some(incarnation) {
            self.out.push(Effect::Alarm(Alarm::ForeignIncarnation { id, incarnation }));
        }
        false
    }
}

/// Where to go on with a peer that has refused an entry and has `hint`, the greatest before that.
///
/// A peer that holds the entry before this log's first would have named that one or a greater: one
/// that has not is behind, whatever it has at higher offsets, and no entry here can help it. The
/// answer then is below this log, and names no entry.
fn target_of(index: &Index, hint: EntryId) -> EntryId {
    let before = index.before();
    if hint.offset >= before.offset && !index.contradicts(hint) {
        return index.at_or_before(hint);
    }
    let below = Offset(before.offset.0.saturating_sub(1));
    EntryId::new(Epoch::ZERO, hint.offset.min(below))
}

/// Where a peer can go on, if it is behind or its place is not known yet: at its log's end, if this
/// log has that entry; else, for who is behind, now and then, where the two may part.
fn place_of(index: &Index, peer: &Progress, patience: Duration, now: Instant) -> Option<EntryId> {
    let (before, end) = (index.before(), peer.last);
    let behind = peer.is_behind(before.offset);
    let ahead = end.offset >= before.offset && index.has(end);
    if ahead && (behind || peer.is_found_at(end)) {
        return Some(end);
    }
    if !behind {
        return None;
    }
    if peer.written >= before.offset {
        return Some(index.entry(peer.written));
    }
    let may_hold = end.offset >= before.offset && end.epoch >= before.epoch;
    (may_hold && peer.rested(patience * 4, now)).then(|| index.at_or_before(end))
}

/// For how long a promise may be used: both clocks may be wrong by the drift (§5).
pub(super) fn usable_lease(timing: &crate::timing::Timing) -> Duration {
    timing.read_lease * (100 - 2 * timing.clock_drift_percent.min(50)) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    #[test]
    fn who_has_refused_and_has_less_than_the_log_begins_with_is_behind() {
        let index = Index::new(id(5, 40), vec![(Epoch(5), Offset(41))], id(5, 50));
        for hint in [id(5, 39), id(3, 20), EntryId::ZERO, id(4, 60), id(4, 40), id(6, 30)] {
            assert!(target_of(&index, hint).offset < Offset(40), "{hint}");
        }
        for hint in [id(5, 40), id(5, 45), id(6, 44), id(9, 90)] {
            assert!(target_of(&index, hint) >= id(5, 40), "{hint}");
        }
    }
}
