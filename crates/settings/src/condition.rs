//! The closed list of things a node says of itself that a person should know.

/// A node's condition; its text is the reason that status, metrics and events carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeCondition {
    /// The disk has less room than the reserve: as master, the node refuses clients' writes.
    DiskLow,
    /// The disk has no room for what must be written next: the log waits.
    DiskFull,
    /// No further cut tail may be kept aside: the log waits until a person removes some.
    CutTailsFull,
    /// The log is above three quarters of the bound on its size: its front waits for a snapshot.
    LogNearBound,
    /// The log is at that bound: as master, the node refuses clients' writes.
    LogFull,
    /// A snapshot of the global plane holds another state than this node had after the same entry,
    /// or parts of this node's copy of a group differ from the master's.
    CopiesDiffer,
    /// An acceptor of the arbiter lost its folder, and its new one does not count yet.
    AcceptorMissing,
    /// One member is left of those wanted: its disk is the only copy.
    RedundancyLost,
    /// Fewer members count than are wanted.
    TooFewMembers,
    /// The members are in fewer zones than the durability asks for: writes are refused, or not yet
    /// promised in so many zones.
    TooFewZones,
    /// Fewer spares of a pool are idle than should be: the next lost member may not be replaced.
    PoolExhausted,
    /// Nodes that are to be empty still count: others take their places one after the other.
    Draining,
    /// The load of a keyspace needs more groups than its autoscale allows.
    AutoscaleLimited,
    /// A node keeps many folders of former groups aside, which take room until they are removed.
    FoldersAside,
}

impl NodeCondition {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::DiskLow,
        Self::DiskFull,
        Self::CutTailsFull,
        Self::LogNearBound,
        Self::LogFull,
        Self::CopiesDiffer,
        Self::AcceptorMissing,
        Self::RedundancyLost,
        Self::TooFewMembers,
        Self::TooFewZones,
        Self::PoolExhausted,
        Self::Draining,
        Self::AutoscaleLimited,
        Self::FoldersAside,
    ];

    /// The reason, one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskLow => "DiskLow",
            Self::DiskFull => "DiskFull",
            Self::CutTailsFull => "CutTailsFull",
            Self::LogNearBound => "LogNearBound",
            Self::LogFull => "LogFull",
            Self::CopiesDiffer => "CopiesDiffer",
            Self::AcceptorMissing => "AcceptorMissing",
            Self::RedundancyLost => "RedundancyLost",
            Self::TooFewMembers => "TooFewMembers",
            Self::TooFewZones => "TooFewZones",
            Self::PoolExhausted => "PoolExhausted",
            Self::Draining => "Draining",
            Self::AutoscaleLimited => "AutoscaleLimited",
            Self::FoldersAside => "FoldersAside",
        }
    }
}

impl std::fmt::Display for NodeCondition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
