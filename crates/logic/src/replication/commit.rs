//! When an entry is committed (docs/replication.md §§2, 4).

use super::lead::{Config, Lead};
use super::{Effect, Replica};
use crate::ids::Offset;
use crate::mutant::{Mutant, broken};

/// What the members of one configuration hold.
struct Held {
    /// What enough of them have written.
    written: Offset,
    /// What enough of them have flushed.
    flushed: Offset,
}

impl Replica {
    /// What enough members of `config` hold, this one included.
    fn copies(&self, lead: &Lead, config: &Config) -> Held {
        let mut written = Vec::with_capacity(config.members.len());
        let mut flushed = Vec::with_capacity(config.members.len());
        for member in &config.members {
            let (own, peer) = (member.id == self.me.id, lead.peers.get(&member.id));
            let peer = peer.filter(|peer| peer.incarnation == member.incarnation);
            written.push(if own { Some(self.written) } else { peer.map(|peer| peer.written) });
            flushed.push(if own { Some(self.flushed) } else { peer.map(|peer| peer.flushed) });
        }
        if broken(Mutant::LearnerCounts) {
            for (id, peer) in &lead.peers {
                if !config.members.iter().any(|m| m.id == *id) {
                    written.push(Some(peer.written));
                    flushed.push(Some(peer.flushed));
                }
            }
        }
        let held = |values: &[Option<Offset>]| config.sets.greatest(values).unwrap_or_default();
        Held { written: held(&written), flushed: held(&flushed) }
    }

    /// The greatest offset of which `config` holds the copies it asks for.
    fn covered(&self, lead: &Lead, config: &Config) -> Offset {
        let held = self.copies(lead, config);
        let alone = config.sets.counts.copies == 1 && !config.mode.durability.flushed;
        if config.flush && !(alone && broken(Mutant::AloneUnflushed)) {
            return held.flushed;
        }
        if broken(Mutant::AuthorityUnflushed) {
            return held.written;
        }
        let unflushed = lead.authority.iter().find(|a| a.1 > held.flushed);
        match unflushed {
            Some(&(first, _)) => held.written.min(Offset(first.0.max(held.flushed.0 + 1) - 1)),
            None => held.written,
        }
    }

    /// Whether everything committed has the copies that `config` asks for, which may not yet be in
    /// force (§7.1).
    pub(super) fn holds_committed(&self, lead: &Lead, config: &Config) -> bool {
        let held = self.copies(lead, config);
        let alone = config.sets.counts.copies == 1 && !config.mode.durability.flushed;
        if config.flush && !(alone && broken(Mutant::AloneUnflushed)) {
            return held.flushed >= self.committed;
        }
        held.written >= self.committed && held.flushed >= lead.authority_committed
    }

    /// Whether the epoch record has its copies: flushed, for it carries authority.
    pub(super) fn is_opened(&self, lead: &Lead) -> bool {
        lead.opened.is_some_and(|opened| self.covered(lead, &lead.config) >= opened)
    }

    /// Commits what has its copies now. An entry of an older epoch is committed only by one of
    /// this epoch above it.
    pub(super) fn advance(&mut self) {
        let Some(lead) = self.lead.as_ref().filter(|_| self.is_master()) else { return };
        let old = self.covered(lead, &lead.config);
        let up_to = match &lead.asking {
            Some(_) if broken(Mutant::NoJoint) => old,
            Some(asking) if broken(Mutant::ShrinkBeforeRecord) => {
                self.covered(lead, &asking.config)
            }
            Some(asking) => old.min(self.covered(lead, &asking.config)),
            None => old,
        };
        let own = lead.covers_opening(up_to) || broken(Mutant::OldEpochCount);
        if !own || up_to <= self.committed {
            return;
        }
        assert!(up_to <= self.written, "nothing is sent before it is written here");
        self.committed = up_to;
        let now = self.now;
        if let Some(lead) = &mut self.lead {
            lead.committed(up_to, now);
        }
        self.out.push(Effect::Commit { up_to });
    }
}
