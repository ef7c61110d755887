//! What a data node knows of the global plane: its session with the master, and what it read.

use cairn_directory::LeaseId;
use cairn_global::View;
use cairn_logic::ids::{Epoch, Version};
use cairn_logic::record::Record;
use std::collections::BTreeMap;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits until then before it looks for the master.
    Resting(u64),
    /// Has asked who is master; takes the best answer there is then.
    Seeking { until: u64, best: Option<(Epoch, usize)> },
    /// Registers and reads; began then.
    Opening(u64),
    /// Follows.
    Open,
}

/// What was asked over the line.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Grant,
    Own,
    Register,
    All,
    Watch,
    KeepAlive,
    Swap(Box<Record>),
    /// The record, to see whether a change of this version can still come into force.
    Refuse(Version),
    Record,
}

/// A data node's session with one global master.
#[derive(Debug)]
pub(crate) struct Session {
    pub phase: Phase,
    /// 0 while there is none.
    pub line: u64,
    pub calls: BTreeMap<u64, Call>,
    pub next: u64,
    pub lease: LeaseId,
    /// When the lease was last kept alive, and when to ask for that again.
    pub kept: u64,
    pub beat: u64,
    /// How long it waits after a session that ended.
    pub wait: u64,
    pub tries: u32,
    pub view: View,
    /// The newest record of its group that the host was shown.
    pub record: Version,
}

impl Session {
    pub(crate) fn new(at: u64, wait: u64) -> Self {
        Self {
            phase: Phase::Resting(at),
            line: 0,
            calls: BTreeMap::new(),
            next: 0,
            lease: LeaseId::NONE,
            kept: 0,
            beat: 0,
            wait,
            tries: 0,
            view: View::default(),
            record: Version(0),
        }
    }
}
