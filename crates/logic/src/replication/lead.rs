//! What an elect or master keeps about its epoch.

use super::Admission;
use super::index::Index;
use super::progress::Progress;
use crate::batch::BatchHead;
use crate::counting::{Plane, Sets};
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset, Version};
use crate::message::{Mode, Sender};
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Record, Rule};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};

/// Who counts, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub members: Vec<Member>,
    pub mode: Mode,
    pub sets: Sets,
    /// Whether every copy counts only when flushed.
    pub flush: bool,
}

impl Config {
    pub(super) fn new(plane: Plane, members: Vec<Member>, mode: Mode) -> Self {
        let mut counted = mode;
        if broken(Mutant::ZonesUncounted) {
            counted.durability.zones = 1;
        }
        let sets = Sets::new(plane, &members, &counted);
        let flush = mode.durability.flushed || sets.counts.copies == 1;
        Self { members, mode, sets, flush }
    }

    /// Whether someone may wait for an entry to be flushed. Who writes by `async` without asking
    /// for flushed copies has an answer already: the host's own flushes are enough.
    fn hurries(&self) -> bool {
        self.flush && (self.mode.durability.flushed || self.mode.rule != Rule::Async)
    }

    pub(super) fn of(plane: Plane, record: &Record) -> Self {
        Self::new(plane, record.members.clone(), mode_of(record))
    }
}

/// What a record asks of acknowledgements.
pub(super) fn mode_of(record: &Record) -> Mode {
    Mode { rule: record.rule, wanted: record.wanted, durability: record.durability }
}

/// Elect or master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Streams until its epoch record has the copies; `ready` once it has.
    Elect { ready: bool },
    /// The record names it.
    Master,
}

/// A change that was asked for and whose outcome is not known: both configurations count.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub expected: Version,
    pub record: Record,
    pub config: Config,
    pub asked_at: Instant,
}

/// A planned switchover under way.
#[derive(Clone, Debug)]
pub(super) struct Handing {
    pub target: NodeId,
    /// Admission resumes then unless this master was sealed.
    pub until: Instant,
    pub answered: bool,
}

/// How far the log had grown at a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// End of the log before this mark's first batch.
    before: Offset,
    bytes: u64,
    at: Instant,
}

/// Marks that are kept at most, and how much time one covers at least.
const MARKS_MAX: usize = 4096;
const MARK_SPAN: Duration = Duration::from_millis(1);

/// The position of elect or master of one epoch.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub epoch: Epoch,
    pub stage: Stage,
    /// Its former epoch, whose batches the appender may still make until the record is appended.
    pub previous: Option<Epoch>,
    /// The offset of the epoch record, once appended.
    pub opened: Option<Offset>,
    pub config: Config,
    pub asking: Option<Asking>,
    pub peers: BTreeMap<NodeId, Progress>,
    /// The newest lives of folders that were peers: should they return, older ones do not count.
    left: BTreeMap<NodeId, (Incarnation, Life)>,
    /// First and last offsets of uncommitted batches with authority.
    pub authority: VecDeque<(Offset, Offset)>,
    /// The last committed offset with authority.
    pub authority_committed: Offset,
    marks: VecDeque<Mark>,
    /// When `committed` last moved, or nothing waited.
    pub moved_at: Instant,
    pub beat_at: Option<Instant>,
    /// What the last heartbeats said is committed.
    pub beat_committed: Offset,
    pub handing: Option<Handing>,
    pub admission: Option<Admission>,
    pub read_until: Option<Instant>,
    /// Reads that wait for a round of acknowledgements, and since when.
    pub confirming: Option<(u64, Instant)>,
    /// Reads that came meanwhile: the next round.
    pub confirm_next: Option<u64>,
    /// The record that names this elect, when it came before the copies (it never should).
    pub recorded: Option<Record>,
}

impl Lead {
    /// The elect of `epoch`.
    pub(super) fn new(epoch: Epoch, config: Config, now: Instant) -> Self {
        Self {
            epoch,
            stage: Stage::Elect { ready: false },
            previous: None,
            opened: None,
            config,
            asking: None,
            peers: BTreeMap::new(),
            left: BTreeMap::new(),
            authority: VecDeque::new(),
            authority_committed: Offset::ZERO,
            marks: VecDeque::new(),
            moved_at: now,
            beat_at: None,
            beat_committed: Offset::ZERO,
            handing: None,
            admission: None,
            read_until: None,
            confirming: None,
            confirm_next: None,
            recorded: None,
        }
    }

    /// Goes on as master of `epoch` with `config`; all is counted afresh.
    pub(super) fn reopen(&mut self, epoch: Epoch, config: Config, now: Instant) {
        self.previous = Some(self.epoch);
        self.epoch = epoch;
        self.opened = None;
        self.config = config;
        self.asking = None;
        self.moved_at = now;
        self.beat_at = None;
        for peer in self.peers.values_mut() {
            peer.reopen(now);
        }
    }

    /// The configurations that must agree: the present one, and the one asked for.
    pub(super) fn configs(&self) -> impl Iterator<Item = &Config> {
        std::iter::once(&self.config).chain(self.asking.iter().map(|a| &a.config))
    }

    /// Whether every entry needs flushed copies.
    pub(super) fn flushes_all(&self) -> bool {
        self.configs().any(|c| c.flush)
    }

    /// Whether entries are to be flushed as soon as they are appended.
    pub(super) fn hurries(&self) -> bool {
        self.configs().any(Config::hurries)
    }

    /// Keeps exactly the peers that count now or may soon, each with the folder that is meant.
    pub(super) fn set_peers(
        &mut self,
        me: &Sender,
        learners: &[Member],
        index: &Index,
        now: Instant,
    ) {
        let mut wanted: BTreeMap<NodeId, Incarnation> = BTreeMap::new();
        for member in learners {
            wanted.insert(member.id.clone(), member.incarnation);
        }
        for config in self.configs() {
            for member in &config.members {
                wanted.insert(member.id.clone(), member.incarnation);
            }
        }
        wanted.remove(&me.id);
        for (id, peer) in &self.peers {
            if wanted.get(id) != Some(&peer.incarnation) {
                self.left.insert(id.clone(), (peer.incarnation, peer.life));
            }
        }
        self.peers.retain(|id, peer| wanted.get(id) == Some(&peer.incarnation));
        let next = self.opening(index);
        for (id, incarnation) in wanted {
            let left = self.left.get(&id).filter(|l| l.0 == incarnation);
            let life = left.map_or(Life::ZERO, |l| l.1);
            self.peers.entry(id).or_insert_with(|| Progress::new(incarnation, life, next, now));
        }
    }

    /// The entry before the epoch record, where streams begin: most members hold all up to it. The
    /// begin of the log once that lies behind it.
    pub(super) fn opening(&self, index: &Index) -> EntryId {
        let before = index.before();
        match self.opened {
            Some(opened) if opened <= before.offset => before,
            Some(opened) => index.entry(Offset(opened.0 - 1)),
            None => index.last(),
        }
    }

    /// Notes an appended batch.
    pub(super) fn appended(&mut self, head: &BatchHead, bytes: u64, now: Instant) {
        if head.opens_epoch {
            self.opened = Some(head.first);
            self.previous = None;
        }
        if head.authority || head.opens_epoch {
            match self.authority.back_mut() {
                Some(back) if back.1.next() == head.first => back.1 = head.last_offset(),
                _ => self.authority.push_back((head.first, head.last_offset())),
            }
        }
        match self.marks.back_mut() {
            Some(mark) if now.since(mark.at) < MARK_SPAN => mark.bytes += bytes,
            _ => {
                if self.marks.len() == MARKS_MAX {
                    self.marks.pop_front();
                }
                let before = Offset(head.first.0 - 1);
                self.marks.push_back(Mark { before, bytes, at: now });
            }
        }
    }

    /// The offset from which on a member is within the lag bounds: all it lacks is younger and
    /// smaller than they say.
    pub(super) fn near_from(
        &self,
        last: Offset,
        lag: Duration,
        bytes_max: u64,
        now: Instant,
    ) -> Offset {
        let mut bytes = 0;
        let mut near = last;
        for mark in self.marks.iter().rev() {
            bytes += mark.bytes;
            if now.since(mark.at) >= lag || bytes >= bytes_max {
                break;
            }
            near = mark.before;
        }
        near
    }

    /// Whether this entry, if committed, opened or follows the opening of this epoch.
    pub(super) fn covers_opening(&self, offset: Offset) -> bool {
        self.opened.is_some_and(|opened| offset >= opened)
    }

    /// Drops what is committed from the list of authority.
    pub(super) fn committed(&mut self, up_to: Offset, now: Instant) {
        self.moved_at = now;
        while let Some(&(first, last)) = self.authority.front() {
            if first > up_to {
                break;
            }
            self.authority_committed = self.authority_committed.max(last.min(up_to));
            self.authority.pop_front();
            if last > up_to {
                self.authority.push_front((up_to.next(), last));
                break;
            }
        }
    }

    /// Whether something after `after` up to `up_to` counts only when flushed.
    pub(super) fn needs_flush(&self, after: EntryId, up_to: Offset) -> bool {
        self.flushes_all()
            || self.opened.is_none_or(|opened| after.offset < opened)
            || self.authority.iter().any(|a| a.1 > after.offset && a.0 <= up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Durability, Role};

    fn member(name: &str) -> Member {
        let incarnation = Incarnation(1);
        Member { id: NodeId::new(name), incarnation, role: Role::Replica, zone: None }
    }

    fn lead() -> Lead {
        let mode = Mode { rule: Rule::One, wanted: 3, durability: Durability::default() };
        let members = vec![member("n1"), member("n2"), member("n3")];
        Lead::new(Epoch(3), Config::new(Plane::Group, members, mode), Instant::ZERO)
    }

    fn head(first: u64, count: u32, authority: bool, opens_epoch: bool) -> BatchHead {
        let (epoch, first) = (Epoch(3), Offset(first));
        BatchHead { epoch, first, count, time_ms: 0, authority, opens_epoch }
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_member_is_near_while_what_it_lacks_is_young_and_small() {
        let mut lead = lead();
        lead.appended(&head(10, 1, true, true), 400, at(0));
        lead.appended(&head(11, 5, false, false), 400, at(600));
        lead.appended(&head(16, 5, false, false), 400, at(900));
        let lag = Duration::from_secs(1);
        let near = |bytes, now| lead.near_from(Offset(20), lag, bytes, now);
        assert_eq!(near(10_000, at(950)), Offset(9), "all of it is young");
        assert_eq!(near(10_000, at(1000)), Offset(10), "the first is a second old");
        assert_eq!(near(1000, at(950)), Offset(10), "three are too many bytes");
        assert_eq!(near(400, at(950)), Offset(20), "even the last is too large");
        assert_eq!(near(10_000, at(5000)), Offset(20), "everything is old");
    }

    #[test]
    fn a_flush_is_hurried_where_someone_may_wait_for_it() {
        let config = |rule, flushed, members: &[&str]| {
            let durability = Durability { flushed, zones: 1 };
            let members = members.iter().map(|name| member(name)).collect();
            Config::new(Plane::Group, members, Mode { rule, wanted: 3, durability })
        };
        assert!(config(Rule::One, false, &["a"]).hurries(), "the only copy");
        assert!(!config(Rule::One, false, &["a", "b"]).hurries(), "two copies in memory");
        assert!(config(Rule::One, true, &["a", "b"]).hurries());
        let early = config(Rule::Async, false, &["a"]);
        assert!(early.flush && !early.hurries(), "flushed before it counts, but nobody waits");
        assert!(config(Rule::Async, true, &["a", "b"]).hurries(), "asked for");
    }

    #[test]
    fn only_what_carries_authority_or_opens_needs_a_flush() {
        let mut lead = lead();
        lead.appended(&head(10, 1, true, true), 1, at(0));
        lead.appended(&head(11, 2, false, false), 1, at(0));
        lead.appended(&head(13, 2, true, false), 1, at(0));
        let after = |offset| EntryId::new(Epoch(3), Offset(offset));
        assert!(lead.needs_flush(after(9), Offset(9)), "the opening is not behind");
        assert!(!lead.needs_flush(after(10), Offset(12)));
        assert!(lead.needs_flush(after(12), Offset(14)));
        lead.committed(Offset(13), at(1));
        assert!(lead.needs_flush(after(13), Offset(14)), "half of it is still uncommitted");
        assert_eq!(lead.authority_committed, Offset(13));
        lead.committed(Offset(14), at(1));
        assert!(!lead.needs_flush(after(13), Offset(14)));
    }
}
