//! The directory of a simulated global node: who waits for it, and what it does as global master.

use cairn_directory::core::{Core, Limits, Outbox, Refusal, Reply};
use cairn_directory::watch::{Notice, Sink, StreamId};
use cairn_global::{GlobalMaster, Why};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Epoch, NodeId};
use cairn_logic::invariants::{self, Broken, Held};
use cairn_logic::message::Sender;
use cairn_logic::record::EpochRecord;
use cairn_logic::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The stream of the system's own watch; lines' streams are numbered like the lines, from 1.
pub(crate) const SYSTEM_STREAM: StreamId = StreamId(0);
/// A request that is not committed for so long is answered with an error.
pub(crate) const COMMIT_WAIT_MAX: Duration = Duration::from_millis(1500);

/// What a client of the directory wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its own value in a key, on a condition or not.
    Write { serial: u64, key: u64 },
    /// A lease, or its end.
    Lease,
    /// To see what was answered when it began.
    Read { began: u64 },
    /// To see something that was so once.
    Stale,
}

/// Who waits for a reply.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Client(Wanted),
    /// A data node, by a line.
    Node {
        line: u64,
        call: u64,
    },
    /// Judges and the planner.
    System(Why),
    Nobody,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub since: Instant,
    pub who: Who,
}

/// Where replies and notices go until the world takes them.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub replies: Vec<(u64, Result<Reply, Refusal>)>,
    pub notices: Vec<(StreamId, Notice)>,
    /// Open streams.
    pub streams: BTreeSet<StreamId>,
}

impl Sink for Out {
    fn is_ready(&self, stream: StreamId) -> bool {
        self.streams.contains(&stream)
    }

    fn notify(&mut self, stream: StreamId, notice: Notice) -> bool {
        let open = self.streams.contains(&stream);
        if open {
            self.notices.push((stream, notice));
        }
        open
    }
}

impl Outbox for Out {
    type Token = u64;

    fn reply(&mut self, token: u64, reply: Result<Reply, Refusal>) {
        self.replies.push((token, reply));
    }
}

/// What is to be done after an event, because the world may not call back into the host.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub open: Option<EpochRecord>,
    pub began: bool,
    pub ended: bool,
    pub astray: bool,
}

/// The directory and its surroundings on one global node.
pub(crate) struct Desk {
    pub core: Core<u64>,
    pub out: Out,
    pub todo: Todo,
    pub read_until: Option<Instant>,
    /// The epoch in which the directory appends, while master.
    pub epoch: Epoch,
    /// Revisions go on above it.
    pub above: u64,
    pub master: GlobalMaster,
    pub serving: bool,
    pub watches: i64,
    pub asks: BTreeMap<u64, Ask>,
    pub token: u64,
    /// Lines of data nodes that said who they are.
    pub lines: BTreeMap<NodeId, (u64, Sender)>,
    /// Global nodes that are being stopped.
    pub leaving: BTreeSet<NodeId>,
    pub planned_at: u64,
}

impl Desk {
    pub(crate) fn new(master: GlobalMaster) -> Self {
        let limits = Limits { commit_wait_max: COMMIT_WAIT_MAX, ..Limits::default() };
        Self {
            core: Core::new(limits),
            out: Out::default(),
            todo: Todo::default(),
            read_until: None,
            epoch: Epoch::ZERO,
            above: 0,
            master,
            serving: false,
            watches: 0,
            asks: BTreeMap::new(),
            token: 0,
            lines: BTreeMap::new(),
            leaving: BTreeSet::new(),
            planned_at: 0,
        }
    }

    /// Applies a committed batch.
    pub(crate) fn apply(&mut self, batch: &Batch, name: &invariants::Folder) -> Held {
        if batch.head.opens_epoch {
            let above = EpochRecord::decode(&batch.body).map_or(0, |record| record.above);
            self.above = self.above.max(above);
        }
        match self.core.apply_batch(batch, &mut self.out) {
            Ok(_) => Ok(()),
            Err(error) => {
                let facts = format!("{}: {error}", name.0);
                Err(Broken { rule: "I2 OneContent", facts })
            }
        }
    }

    /// Releases the reads for which mastership is proved at `now`.
    pub(crate) fn release_reads(&mut self, now: Instant) {
        let Some(reads) = self.core.take_unproven() else { return };
        if self.read_until.is_some_and(|until| now < until) {
            reads.release(&mut self.out);
        } else {
            self.core.keep_unproven(reads);
        }
    }
}
