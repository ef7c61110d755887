//! Changes of configuration in which the master stays (docs/replication.md §7).
//!
//! From asking until the outcome is known both configurations count, for commits and for reads. A
//! change may take out several silent members at once: joint counting makes that as safe as one,
//! and one by one the first epoch record could wait for ever for the second silent member.

use super::lead::{Asking, Config, Lead};
use super::progress::Progress;
use super::{Change, Effect, Replica};
use crate::counting::Plane;
use crate::ids::NodeId;
use crate::message::Mode;
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Record, Role, Rule};
use crate::time::{Duration, Instant};

/// How often a change is asked for again while its outcome is unknown.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// After so long without a removal a member that returns waits no longer than any other.
const QUIET: Duration = Duration::from_secs(60);
/// The wait of a returning member doubles up to so many times `join_after`.
const REJOIN_MAX: u32 = 8;

/// A member that was removed, and how long it must keep up before it may return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flap {
    wait: Duration,
    at: Instant,
}

impl Replica {
    /// Asks for the next change, or again for the one whose outcome is unknown.
    pub(super) fn change_when_due(&mut self) {
        let now = self.now;
        let Some(lead) = self.lead.as_mut().filter(|_| self.seal.is_none()) else { return };
        if let Some(asking) = &mut lead.asking {
            if now.since(asking.asked_at) >= ASK_AGAIN {
                asking.asked_at = now;
                let (expected, record) = (asking.expected, asking.record.clone());
                self.out.push(Effect::AskRecord { expected, record });
            }
            return;
        }
        let Some((record, config)) = self.next_config() else { return };
        if config.flush {
            self.want_flush(self.index.last().offset);
        }
        let Some(lead) = &self.lead else { return };
        let unchecked = broken(Mutant::NoJointCondition) || broken(Mutant::ShrinkBeforeRecord);
        if unchecked || self.holds_committed(lead, &config) {
            self.ask(&record, config);
        }
    }

    /// Asks for `config`; from here on it counts beside the present one.
    fn ask(&mut self, present: &Record, config: Config) {
        let epoch = present.attempt.next();
        let record = Record {
            version: present.version.next(),
            epoch,
            attempt: epoch,
            open: false,
            master: Some(self.me.id.clone()),
            members: config.members.clone(),
            rule: config.mode.rule,
            wanted: config.mode.wanted,
            durability: config.mode.durability,
        };
        let expected = present.version;
        let asking = Asking { expected, record: record.clone(), config, asked_at: self.now };
        if let Some(lead) = &mut self.lead {
            lead.asking = Some(asking);
        }
        self.set_peers();
        self.after_acks();
        self.out.push(Effect::AskRecord { expected, record });
    }

    /// The record in force and the configuration to ask for next, if this master may ask at all.
    fn next_config(&self) -> Option<(Record, Config)> {
        let lead = self.lead.as_ref().filter(|_| self.is_master())?;
        let record = self.record.as_ref()?;
        let mine = record.epoch == lead.epoch && record.master.as_ref() == Some(&self.me.id);
        if !mine || record.open || lead.handing.is_some() || !lead.covers_opening(self.committed) {
            return None;
        }
        let removal = self.removal(lead).map(|members| (members, lead.config.mode));
        let (mut members, mode) =
            removal.or_else(|| self.wished(lead)).or_else(|| self.rejoin(lead))?;
        members.sort_unstable();
        Some((record.clone(), Config::new(self.plane, members, mode)))
    }

    /// The members without those that are silent, or behind, for too long.
    fn removal(&self, lead: &Lead) -> Option<Vec<Member>> {
        let timing = &self.timing;
        let silence = |m: &Member| self.silence(lead, m);
        let gone = |m: &Member| silence(m) >= timing.remove_after || self.is_behind(lead, m);
        let (out, stay): (Vec<Member>, Vec<Member>) =
            lead.config.members.iter().cloned().partition(|m| gone(m));
        if out.is_empty() {
            return None;
        }
        // Whoever has just fallen silent is waited for: without it the next epoch could not begin.
        if stay.iter().any(|m| silence(m) >= timing.silence_max) {
            return None;
        }
        let next = Config::new(self.plane, stay, lead.config.mode);
        if !next.sets.admits_writes() {
            // Only reads would go on: not worth a member that may return in a moment, nor one that
            // is merely slow.
            let lost = out.iter().all(|m| silence(m) >= timing.stuck_max);
            return lost.then_some(next.members);
        }
        Some(next.members)
    }

    /// How long a member has not been heard; zero for this one.
    fn silence(&self, lead: &Lead, member: &Member) -> Duration {
        if member.id == self.me.id {
            return Duration::ZERO;
        }
        lead.peers.get(&member.id).map_or(Duration::ZERO, |peer| self.now.since(peer.heard))
    }

    /// Whether a member has been beyond the lag bounds for so long that it harms: at once where
    /// every commit waits for it, much later where none does.
    fn is_behind(&self, lead: &Lead, member: &Member) -> bool {
        let patience = match lead.config.mode.rule {
            Rule::All => self.timing.remove_after,
            Rule::Async | Rule::One | Rule::Quorum => self.timing.stuck_max,
        };
        let far = lead.peers.get(&member.id).and_then(|peer| peer.far_since);
        far.is_some_and(|since| self.now.since(since) >= patience)
    }

    /// What the planner wishes, if it can be asked for now.
    fn wished(&self, lead: &Lead) -> Option<(Vec<Member>, Mode)> {
        let members = &lead.config.members;
        let mode = lead.config.mode;
        let other = |id: &NodeId| *id != self.me.id && members.iter().any(|m| m.id == *id);
        match self.wish.as_ref()? {
            Change::Join(member) => Some((self.joined(lead, member)?, mode)),
            Change::Remove(id) if other(id) => {
                Some((members.iter().filter(|m| m.id != *id).cloned().collect(), mode))
            }
            Change::Role(wanted) => {
                let same = |m: &Member| m.id == wanted.id && m.incarnation == wanted.incarnation;
                let keeps = |m: &Member| (m.role == Role::Master) == (wanted.role == Role::Master);
                let differs = members.iter().any(|m| same(m) && keeps(m) && m != wanted);
                let change = |m: &Member| if same(m) { wanted.clone() } else { m.clone() };
                differs.then(|| (members.iter().map(change).collect(), mode))
            }
            Change::Mode(wanted) if *wanted != mode => Some((members.clone(), *wanted)),
            Change::Remove(_) | Change::Mode(_) => None,
        }
    }

    /// The in-sync set of the global plane takes back whoever keeps up again (§9), but no backup:
    /// those only follow (checkpoint nodes).
    fn rejoin(&self, lead: &Lead) -> Option<(Vec<Member>, Mode)> {
        if self.plane != Plane::Global {
            return None;
        }
        let mut learners = self.learners.iter().filter(|member| member.role != Role::Backup);
        let members = learners.find_map(|member| self.joined(lead, member))?;
        Some((members, lead.config.mode))
    }

    /// The members with `member`, which holds a claim, is intact and has kept up long enough.
    fn joined(&self, lead: &Lead, member: &Member) -> Option<Vec<Member>> {
        let claims = |m: &Member| m.id == member.id && m.incarnation == member.incarnation;
        let claimed = self.learners.iter().any(claims);
        let named = lead.config.members.iter().any(|m| m.id == member.id);
        let peer = lead.peers.get(&member.id)?;
        if !claimed || named || peer.incarnation != member.incarnation {
            return None;
        }
        if !self.keeps_up(peer, self.join_wait(&member.id)) {
            return None;
        }
        let role = if member.role == Role::Master { Role::Replica } else { member.role };
        let mut members = lead.config.members.clone();
        members.push(Member { role, ..member.clone() });
        Some(members)
    }

    fn keeps_up(&self, peer: &Progress, wait: Duration) -> bool {
        let near = peer.near_since.is_some_and(|since| self.now.since(since) >= wait);
        let heard = peer.answered && peer.heard_within(self.timing.silence_max, self.now);
        near && heard && peer.intact
    }

    fn join_wait(&self, id: &NodeId) -> Duration {
        let flap = self.flaps.get(id).filter(|f| self.now.since(f.at) < QUIET + f.wait);
        flap.map_or(self.timing.join_after, |f| f.wait)
    }

    /// Remembers who leaves the configuration: who comes and goes waits twice as long each time.
    pub(super) fn note_removed(&mut self, stay: &[Member]) {
        let Some(lead) = &self.lead else { return };
        let now = self.now;
        self.flaps.retain(|_, f| now.since(f.at) < QUIET + f.wait);
        let out = lead.config.members.iter().filter(|m| !stay.iter().any(|s| s.id == m.id));
        for member in out {
            let base = self.timing.join_after;
            let former = self.flaps.get(&member.id).map(|f| f.wait * 2);
            let wait = former.map_or(base, |wait| wait.min(base * REJOIN_MAX));
            self.flaps.insert(member.id.clone(), Flap { wait, at: now });
        }
    }

    /// Notes since when each peer has been within, or beyond, the lag bounds.
    pub(super) fn measure_lag(&mut self) {
        let now = self.now;
        let last = self.index.last().offset;
        let timing = self.timing;
        let Some(lead) = &mut self.lead else { return };
        let near_from = lead.near_from(last, timing.lag_max, timing.lag_bytes_max, now);
        for peer in lead.peers.values_mut() {
            if !peer.heard_within(timing.silence_max, now) {
                peer.near_since = None;
                continue;
            }
            // Nothing is known until the first frame of an epoch is acknowledged.
            if peer.written.0 == 0 && last.0 > 0 {
                continue;
            }
            if peer.written >= near_from {
                peer.near_since.get_or_insert(now);
                peer.far_since = None;
            } else {
                peer.far_since.get_or_insert(now);
                peer.near_since = None;
            }
        }
    }
}
