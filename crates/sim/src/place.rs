//! One machine of the world: its clock, its process, its folder.

use crate::data::{Data, ToControl};
use crate::desk::Desk;
use crate::folder::{Folder, Received};
use crate::session::Session;
use crate::shell::{DataCommand, Shell};
use crate::world::MS;
use cairn_directory::core::{Refusal, Reply as Answered, Request as Asking};
use cairn_directory::watch::Notice;
use cairn_global::{Asked, Told, Why};
use cairn_host::{Event, Host, ReadFor};
use cairn_keyspace::{Pace, Part};
use cairn_logic::arbiter::{Acceptor, AcceptorState, Proposer, Reply, Request, Seat, Token};
use cairn_logic::ids::{EntryId, Epoch, GroupId, NodeId, Offset, Version};
use cairn_logic::judge::{Judge, JudgeInput};
use cairn_logic::message::{Answer, Report, Sender};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// Something that happens at one place.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    /// The node's control loop and data thread look around.
    Tick,
    /// For the host.
    Host(Box<Event>),
    /// For the host, from a node that has a copy of this log.
    Peer { log: usize, event: Box<Event> },
    /// The disk has done the first of its queue.
    DiskDone,
    /// The flush under way is done.
    FlushDone,
    /// A write that found no room is tried again.
    DiskRetry,
    /// The log was read.
    ReadLog { from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor },
    /// A snapshot that was begun there is written.
    Snapshot(EntryId),
    /// A snapshot has come from another place; for the log's master, which only wants to have one.
    Arrived { from: usize, received: Box<Received>, spare: bool },
    /// It is flushed, too.
    Received { from: EntryId, spare: bool },
    /// A member whose copy differs wants a part written anew.
    WantsPart { log: usize, part: Part },
    /// What a repair replaced is durable.
    KeptAside(Offset),
    /// It ends, cleanly if it can.
    Stop,
    /// Its group has given its folder back.
    Release,
    /// For the data thread.
    Data(DataCommand),
    /// The data thread's word reaches the control loop.
    ToControl(ToControl),
    /// A client asks the data thread.
    Client(ClientOp),
    /// For the judge.
    Judge(Box<JudgeInput>),
    /// For the acceptor, from the proposer at a place.
    Ask { from: usize, request: Box<Request> },
    /// The acceptor's state is flushed.
    Stored { state: Box<AcceptorState>, to: usize, reply: Box<Reply> },
    /// For the proposer.
    Reply { from: Seat, reply: Box<Reply> },
    /// Who is global master?
    Where(Where),
    /// Something came over a line between a data node and a global one.
    Line { line: u64, what: Box<OnLine> },
    /// The directory's watch of what is the system's says something.
    Noticed(Notice),
    /// A change that the system proposed has ended.
    Asked(Why, Asked),
    /// A wish or a hint about groups, for whoever is global master.
    Wish(Box<(Option<GroupId>, JudgeInput)>),
    /// The operator writes what is wanted of a keyspace.
    Configure { key: String, value: Vec<u8> },
}

/// The question who is global master, and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    Asked { from: usize },
    Here { place: usize, epoch: Epoch },
}

/// What a line carries.
#[derive(Clone, Debug)]
pub(crate) enum OnLine {
    Up(Up),
    Down(Down),
    /// It is over.
    Lost,
}

/// From a data node.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Open(Sender),
    Call { call: u64, request: Asking },
    Report(Report),
    Answer(Answer),
}

/// From the global master.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Reply { call: u64, reply: Result<Answered, Refusal> },
    Watched(Notice),
    Told(GroupId, Told),
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOp {
    Write,
    /// A linearizable read; it must see what was answered when it began.
    Read {
        began: Offset,
    },
    /// A read that may be stale.
    Stale,
}

/// A monotonic clock with a rate of its own, and a wall clock that may be anywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// True time and what the clock showed then.
    since: u64,
    showed: u64,
    /// Thousandths of the true rate.
    rate: u64,
    /// By how much the wall clock is ahead.
    pub wall_ms: i64,
}

impl Clock {
    pub(crate) fn new(offset: u64, rate: u64, wall_ms: i64) -> Self {
        Self { since: 0, showed: offset, rate, wall_ms }
    }

    pub(crate) fn read(&self, now: u64) -> Instant {
        Instant::from_nanos(self.nanos(now))
    }

    fn nanos(&self, now: u64) -> u64 {
        let run = u128::from(now - self.since) * u128::from(self.rate) / 1000;
        self.showed + u64::try_from(run).expect("runs are short")
    }

    pub(crate) fn unix_ms(&self, now: u64) -> u64 {
        (1_700_000_000_000 + now / MS).saturating_add_signed(self.wall_ms)
    }

    /// From `now` on it runs at this rate.
    pub(crate) fn runs_at(&mut self, now: u64, rate: u64) {
        (self.showed, self.since, self.rate) = (self.nanos(now), now, rate);
    }

    /// The monotonic clock stood still for the last `span`, as in a virtual machine that was
    /// stopped.
    pub(crate) fn stood(&mut self, now: u64, span: u64) {
        let then = self.nanos(now - span.min(now - self.since));
        (self.showed, self.since) = (then, now);
    }

    /// The monotonic clock leaps ahead.
    pub(crate) fn leaps(&mut self, now: u64, by: u64) {
        (self.showed, self.since) = (self.nanos(now) + by, now);
    }
}

/// What is wrong with a disk, and until when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// The next write or flush fails.
    pub fails: bool,
    /// No flush ends.
    pub flushes_stall: u64,
    /// Nothing ends.
    pub stalls: u64,
    /// Everything takes long.
    pub slow: u64,
    /// There is no room for the log.
    pub full: u64,
}

/// What a proposer's operation is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Found,
    /// For the replica and the judge alike.
    Read,
    /// The master's change.
    Change,
    /// The judge's.
    Attempt(Version),
    /// Another acceptor for one that lost its folder.
    Seat,
}

/// What runs on a node of the world.
pub(crate) struct Process {
    pub host: Host<Shell>,
    pub data: Data,
    /// A global node of a cluster: its directory, instead of `data`.
    pub desk: Option<Box<Desk>>,
    /// Neither thread hears the other out of order: the time of the last word each way.
    pub to_control: u64,
    pub to_data: u64,
    pub report_at: u64,
    /// A snapshot is being written.
    pub writes_snapshot: bool,
    /// A snapshot is being fetched.
    pub fetches: bool,
    /// The snapshot that its state began with.
    pub used: Option<EntryId>,
    /// What it writes into snapshots of its directory is something else, until it ends.
    pub wrong: bool,
    /// When it may ask its master for a part, and when, as master, it writes one anew.
    pub asking: Pace,
    pub granting: Pace,
}

/// The global plane's part of a process.
pub(crate) struct Register {
    pub proposer: Proposer,
    pub asked: BTreeMap<Token, Purpose>,
    pub token: Token,
}

/// One machine.
pub(crate) struct Place {
    pub id: NodeId,
    pub clock: Clock,
    /// Counts its processes: what was meant for an older one is dropped.
    pub generation: u64,
    pub up: bool,
    /// What comes while it is paused, in order.
    pub paused: Option<VecDeque<Local>>,
    /// The log it has a copy of; none on an idle node. Survives the process.
    pub log: Option<usize>,
    /// A data node's way to the directory.
    pub session: Option<Box<Session>>,
    /// Data and global nodes.
    pub folder: Option<Folder>,
    pub process: Option<Process>,
    pub judge: Option<Judge>,
    pub has_judge: bool,
    pub register: Option<Register>,
    /// Acceptors: what is flushed, and what runs.
    pub kept: Option<AcceptorState>,
    pub acceptor: Option<Acceptor>,
    pub acceptor_free: u64,
    /// Counts the folders of its acceptor.
    pub seat_incarnation: u64,
    /// When it reads the record again, though nothing tells it to.
    pub read_at: u64,
    /// What is wrong with its disk.
    pub disk: Trouble,
    /// The log's writer has asked for relief because there is no room.
    pub waits_for_room: bool,
    /// When it was paused.
    pub paused_at: u64,
    /// What its acceptor had flushed some time ago.
    pub kept_before: Option<AcceptorState>,
}

impl Place {
    pub(crate) fn new(id: &str, clock: Clock) -> Self {
        Self {
            id: NodeId::new(id),
            clock,
            generation: 0,
            up: false,
            paused: None,
            log: None,
            session: None,
            folder: None,
            process: None,
            judge: None,
            has_judge: false,
            register: None,
            kept: None,
            acceptor: None,
            acceptor_free: 0,
            seat_incarnation: 1,
            read_at: 0,
            disk: Trouble::default(),
            waits_for_room: false,
            paused_at: 0,
            kept_before: None,
        }
    }

    /// Its name and folder; a machine without a log has incarnation 0.
    pub(crate) fn sender(&self) -> Sender {
        let incarnation = self.folder.as_ref().map(|folder| folder.incarnation);
        let incarnation = incarnation.unwrap_or(cairn_logic::ids::Incarnation(0));
        Sender { id: self.id.clone(), incarnation }
    }

    /// Whether its life is not flushed yet: nothing is said in its name.
    pub(crate) fn is_beginning(&self) -> bool {
        let begun = |process: &Process| process.host.has_begun() || broken(Mutant::SpeaksUnflushed);
        self.process.as_ref().is_some_and(|process| !begun(process))
    }

    pub(crate) fn folder_name(&self) -> cairn_logic::invariants::Folder {
        let sender = self.sender();
        (sender.id, sender.incarnation)
    }

    /// Its acceptor's identity; the acceptor's file survives the log's.
    pub(crate) fn seat(&self) -> Seat {
        let incarnation = cairn_logic::ids::Incarnation(self.seat_incarnation);
        Seat { id: self.id.clone(), incarnation }
    }
}

impl Process {
    /// Whether it believes that it serves.
    pub(crate) fn is_master(&self) -> bool {
        match &self.desk {
            Some(desk) => desk.core.is_master(),
            None => self.data.is_master(),
        }
    }
}
