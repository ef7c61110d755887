//! What a replica says of itself to its judge and to people.

use super::Replica;
use super::lead::{Lead, Stage};
use crate::counting::Plane;
use crate::ids::{EntryId, Epoch, Life, NodeId, Offset, Version};
use crate::message::{Position, Relief, Report};
use crate::mutant::{Mutant, broken};
use crate::time::{Duration, Instant};

/// For `cairn status`: everything a person asks about one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub position: Position,
    /// The epoch it masters, is elect of or follows; 0 before the first.
    pub epoch: Epoch,
    /// Whom it follows; itself when master.
    pub master: Option<NodeId>,
    /// The version of the record it has read.
    pub version: Version,
    /// The greatest epoch it has sealed.
    pub sealed: Epoch,
    /// Its life.
    pub life: Life,
    /// Whether it can vouch for its tail.
    pub intact: bool,
    /// Whether it stopped taking part after an alarm.
    pub halted: bool,
    /// Its last entry.
    pub last: EntryId,
    /// The end of what is in the page cache.
    pub written: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// What it knows to be committed.
    pub committed: Offset,
    /// Whether a change was asked for whose outcome is unknown.
    pub changing: bool,
    /// The others, as a master or elect sees them.
    pub peers: Vec<PeerStatus>,
}

/// One other member or learner, as its master sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub id: NodeId,
    /// Whether it counts; learners do not.
    pub member: bool,
    /// Whether it can vouch for its tail.
    pub intact: bool,
    /// End of what it verifiably has in its page cache.
    pub written: Offset,
    /// End of what it has verifiably flushed.
    pub flushed: Offset,
    /// Entries it lacks.
    pub lag_entries: u64,
    /// Since when it has been within the lag bounds; `None` when it is not.
    pub near_for: Option<Duration>,
    /// How long ago it was heard; `None` before it first answered.
    pub heard: Option<Duration>,
}

impl Replica {
    /// What the judge is told.
    #[must_use]
    pub fn report(&self, now: Instant) -> Report {
        let lead = self.lead.as_ref();
        let master_silence = match self.is_master() {
            true => Duration::ZERO,
            false => self.master_silence(now),
        };
        let stuck = || lead.is_some_and(|l| self.is_stuck(l, now)).then_some(Relief::Stuck);
        Report {
            life: self.vote.life,
            sealed: self.vote.sealed,
            intact: self.vote.intact,
            last: self.index.last(),
            committed: self.committed,
            master_silence,
            position: self.position(),
            relief: self.relief.filter(|relief| self.may_say(*relief)).or_else(stuck),
            reaches: lead.map_or(0, |l| self.reaches(l, now)),
        }
    }

    /// What ails a member concerns nobody while it does not master; that it leaves does.
    fn may_say(&self, relief: Relief) -> bool {
        self.is_master() || relief == Relief::Stopping
    }

    /// How long the master has not been heard. One that says for `stuck_max` that nothing commits
    /// is as good as silent: it may be heard by its members and not by its judge.
    fn master_silence(&self, now: Instant) -> Duration {
        let silence = now.since(self.following.heard);
        let stuck = self.following.stuck_since.map(|since| now.since(since));
        let stuck = stuck.filter(|stuck| *stuck >= self.timing.stuck_max);
        match stuck.filter(|_| !broken(Mutant::StuckIsWell)) {
            Some(stuck) => silence.max(stuck),
            None => silence,
        }
    }

    /// Other members heard lately.
    fn reaches(&self, lead: &Lead, now: Instant) -> u32 {
        let members = &lead.config.members;
        let heard = |id: &NodeId| {
            let peer = lead.peers.get(id);
            peer.is_some_and(|p| p.answered && p.heard_within(self.timing.silence_max, now))
        };
        let count = members.iter().filter(|m| heard(&m.id)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether commits have been stuck for too long though members are heard, or though no change
    /// can help: without its epoch record committed a master may not ask for one.
    fn is_stuck(&self, lead: &Lead, now: Instant) -> bool {
        let waits = self.committed < self.index.last().offset || lead.opened.is_none();
        if lead.stage != Stage::Master || !waits {
            return false;
        }
        let helpless = self.plane == Plane::Global || !lead.covers_opening(self.committed);
        (helpless || self.is_heard(lead, &lead.config))
            && now.since(lead.moved_at) >= self.timing.stuck_max
    }

    /// What people are told.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let lead = self.lead.as_ref();
        Status {
            position: self.position(),
            epoch: lead.map_or(self.following.epoch, |l| l.epoch),
            master: match self.is_master() {
                true => Some(self.me.id.clone()),
                false => self.following.master.clone(),
            },
            version: self.record.as_ref().map_or(Version::ZERO, |r| r.version),
            sealed: self.vote.sealed,
            life: self.vote.life,
            intact: self.vote.intact,
            halted: self.halted,
            last: self.index.last(),
            written: self.written,
            flushed: self.flushed,
            committed: self.committed,
            changing: lead.is_some_and(|l| l.asking.is_some()),
            peers: lead.map(|l| self.peer_statuses(l, now)).unwrap_or_default(),
        }
    }

    fn peer_statuses(&self, lead: &Lead, now: Instant) -> Vec<PeerStatus> {
        let last = self.index.last().offset.0;
        let named = |id: &NodeId| lead.config.members.iter().any(|m| m.id == *id);
        lead.peers
            .iter()
            .map(|(id, peer)| PeerStatus {
                id: id.clone(),
                member: named(id),
                intact: peer.intact,
                written: peer.written,
                flushed: peer.flushed,
                lag_entries: last.saturating_sub(peer.written.0),
                near_for: peer.near_since.map(|since| now.since(since)),
                heard: peer.answered.then(|| now.since(peer.heard)),
            })
            .collect()
    }
}
