//! What keeps a directory from being known, and what a person may do about it.

use cairn_logic::ids::{Epoch, GroupId, NodeId, Version};
use std::fmt;

/// Something that only a person can decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// No data node has ever read the directory, and there is no snapshot.
    NothingKnown,
    /// Two views of one revision differ.
    Views {
        /// Which revision.
        revision: u64,
        /// Who has one.
        one: String,
        /// Who has the other.
        other: String,
    },
    /// The directory that nodes know is another cluster's.
    Foreign {
        /// That cluster.
        uid: String,
    },
    /// A group without a record that anybody could read.
    NoRecord {
        /// Which.
        group: GroupId,
    },
    /// Two records of a group that cannot be of one history: who has each, its version and epoch.
    Records {
        /// The group.
        group: GroupId,
        /// The older one.
        one: (String, Version, Epoch),
        /// The newer one.
        other: (String, Version, Epoch),
    },
    /// A log has entries of an epoch whose record nobody has read.
    Beyond {
        /// The group.
        group: GroupId,
        /// Whose log.
        node: NodeId,
        /// Its last epoch.
        epoch: Epoch,
        /// The newest epoch of a record.
        known: Epoch,
    },
    /// So many members do not answer that they may know a newer record.
    TooFew {
        /// The group.
        group: GroupId,
        /// Who does not answer.
        silent: Vec<NodeId>,
    },
    /// Two nodes say other owners of a keyspace's slots, in the same version.
    Slots {
        /// The keyspace.
        keyspace: String,
        /// Who says one.
        one: String,
        /// Who says the other.
        other: String,
    },
    /// Slots that no group has.
    Unowned {
        /// The keyspace.
        keyspace: String,
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingKnown => write!(
                f,
                "no data node that answers has ever read the directory, and no snapshot of it was \
                 given: there is nothing to rebuild it from"
            ),
            Self::Views { revision, one, other } => write!(
                f,
                "{one} and {other} have read other things at revision {revision}: --trust NODE \
                 says whose word counts"
            ),
            Self::Foreign { uid } => write!(f, "what is known is the directory of cluster {uid}"),
            Self::NoRecord { group } => write!(f, "{group}: nobody can read its record"),
            Self::Records { group, one, other } => write!(
                f,
                "{group}: {} has a record of version {} and epoch {}, {} one of version {} and \
                 epoch {}; one cannot have followed the other: --trust NODE says whose word counts",
                one.0, one.1, one.2, other.0, other.1, other.2
            ),
            Self::Beyond { group, node, epoch, known } => write!(
                f,
                "{group}: the log of {node} has entries of epoch {epoch}, and the newest record \
                 that anybody has read is of epoch {known}, so nobody knows who counts; --trust \
                 {node} goes on with the members of that record and all their logs"
            ),
            Self::TooFew { group, silent } => {
                let names: Vec<&str> = silent.iter().map(NodeId::as_str).collect();
                let lost: Vec<String> = names.iter().map(|name| format!("--lost {name}")).collect();
                write!(
                    f,
                    "{group}: {} with the folder that counts does not answer, and may know a newer \
                     record than anybody else; bring it back, or stop it for good and say {}",
                    names.join(", "),
                    lost.join(" ")
                )
            }
            Self::Slots { keyspace, one, other } => write!(
                f,
                "{keyspace}: {one} and {other} know other owners of its slots: --trust NODE says \
                 whose word counts"
            ),
            Self::Unowned { keyspace, count } => write!(
                f,
                "{keyspace}: {count} of 16384 slots have no group that anybody knows of; \
                 --unowned-slots {keyspace} goes on without (a keyspace without any gets them \
                 placed as a new one)"
            ),
        }
    }
}
