//! The closed list of condition types and reasons.
//!
//! Nothing else may stand in a status. [`ConditionType::meaning`] and [`Reason::meaning`] are what
//! the user's guide says of each.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in a status.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// What it means, in one sentence or two.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names!(
    /// What a condition is about.
    ConditionType {
        /// It serves all that its spec asks for.
        Ready,
        /// It is on its way to what its spec asks for.
        Progressing,
        /// It serves, with less redundancy than its spec asks for.
        Degraded,
        /// Clients' writes are refused.
        WritesRefused,
        /// Nothing goes on before a person decides.
        NeedsPerson,
        /// Of a SparePool: fewer spares are idle than should be.
        PoolExhausted,
        /// Of a Keyspace with `autoscale`: its load needs more groups than it may have.
        AutoscaleLimited,
        /// Of a Restore: it is over, and all is in the keyspace.
        Complete,
        /// Of a Restore: it is over, and did not do what it was for.
        Failed,
    }
);

names!(
    /// Why a condition is as it is.
    Reason {
        /// Every node is in sync and every slot is served.
        AllServing,
        /// Everything is served, by fewer nodes than asked for; Degraded says who is missing.
        ServingWithLess,
        /// The spec breaks a rule; the message names the fields.
        SpecInvalid,
        /// The Cluster that the Keyspace names does not exist.
        ClusterMissing,
        /// The Keyspace that a Backup or Restore names does not exist.
        KeyspaceMissing,
        /// A Secret or PersistentVolumeClaim that the spec names is not there, or holds something
        /// else; the message says which.
        ReferenceMissing,
        /// The global plane does not answer the operator; what is shown may be old.
        PlaneUnreachable,
        /// An object that has to be made is there already and belongs to somebody else.
        NameTaken,
        /// The first record is being made.
        Founding,
        /// Nodes were made and have not registered yet.
        WaitingForNodes,
        /// Pods wait for a machine, a volume or an image, or end again and again; the message says
        /// which.
        PodsPending,
        /// Certificates that pods need are not there yet; the message names their Secrets.
        CertificatesPending,
        /// A certificate ends within two weeks and was not renewed; the message names its Secret.
        CertificateEnds,
        /// A failover is under way.
        WaitingForMaster,
        /// Some slots have no master that serves them.
        SlotsUnserved,
        /// Nodes are being replaced one at a time.
        RollingOut,
        /// A node that was replaced did not come back in sync; no other one is touched.
        RolloutStuck,
        /// Groups or members are being added or removed.
        Scaling,
        /// Members on machines that are drained are replaced by nodes elsewhere; the message says
        /// who waits.
        Draining,
        /// Volumes are being made larger.
        VolumesGrowing,
        /// Nothing is left to do.
        Settled,
        /// Every node of the pool runs and has registered.
        SparesThere,
        /// As many spares are idle as should be.
        EnoughIdle,
        /// Fewer spares are idle than `idleMin`, or none is and a group waits for one: the next
        /// lost member may not be replaced.
        TooFewIdle,
        /// Fewer spares are idle in a zone than `minIdlePerZone`; the message names the zone.
        TooFewIdleInZone,
        /// The load needs more groups than `autoscale.max`.
        LoadAboveMax,
        /// The load needs no more groups than `autoscale.max`.
        LoadWithinMax,
        /// Nodes that are to go belong to groups; they go when these have members of their own.
        SparesClaimed,
        /// A member is silent, behind or not there.
        MemberMissing,
        /// One member is left: an acknowledged write survives a restart, not the loss of its disk.
        SingleCopy,
        /// One of the arbiter's acceptors is away, or has lost its folder and does not count yet.
        AcceptorMissing,
        /// A checkpoint node does not follow the log: the others write snapshots.
        CheckpointMissing,
        /// A log is above three quarters of the bound on its size, for its front waits for a
        /// snapshot.
        LogNearBound,
        /// The master's log is at the bound on its size; reads go on.
        LogFull,
        /// Fewer members are left than the durability needs; reads go on.
        TooFewMembers,
        /// The members are in fewer zones than `durability.zones` asks for, as far as their zones
        /// are known; reads go on.
        TooFewZones,
        /// The disk is nearly full; reads go on.
        DiskNearlyFull,
        /// No further cut tail may be kept aside: the log waits until a person has removed some
        /// (`cairn tails`).
        CutTailsFull,
        /// The memory limit is reached; reads go on.
        MemoryFull,
        /// The members that are left cannot prove that they hold every acknowledged write.
        DataLossPossible,
        /// A member has sealed a number that the directory never gave out.
        DirectoryBehind,
        /// A snapshot of the directory holds another state than the node had that compared it, or
        /// parts of a member's copy differ from its master's: one of the two copies is wrong.
        CopiesDiffer,
        /// The arbiter's value is missing after the cluster was founded.
        RecordMissing,
        /// A Backup has begun, and nothing is in the archive yet.
        Beginning,
        /// The log goes to the archive as it grows.
        Archiving,
        /// What was committed since does not get into the archive; the message says why.
        ArchivingFails,
        /// The pod that archives does not answer the operator; what is shown may be old.
        NoAnswer,
        /// The spec says that nothing is to be sent.
        Suspended,
        /// A Restore waits for its Keyspace to be ready.
        WaitingForKeyspace,
        /// Data are read from the archive and written into the keyspace.
        Restoring,
        /// All of it is in the keyspace, and the digests are equal.
        Restored,
        /// It broke off; the message says why, and what to do.
        RestoreFailed,
    }
);

/// `docs/conditions.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for about in ConditionType::ALL {
        page.push_str(&format!("| `{about}` | {} |\n", about.meaning()));
    }
    page.push_str("\n## Reasons\n\n| reason | why a condition is as it is |\n|---|---|\n");
    for reason in Reason::ALL {
        page.push_str(&format!("| `{reason}` | {} |\n", reason.meaning()));
    }
    page
}

const HEAD: &str = "\
<!-- Generated by `cargo xtask codegen`. -->
# Conditions

What `kubectl describe` shows below `status.conditions` of a Cluster, Keyspace, Group, SparePool,
Backup or Restore. Nothing else ever stands there: both lists are closed, and a test produces every
reason.
Each condition has the generation of the spec that it is about; while `observedGeneration` is
smaller than `metadata.generation`, the operator has not looked at the change yet.

Wait for a keyspace with `kubectl wait --for=condition=Ready keyspace/NAME`. `Ready` is `True` as
soon as everything is served; `Degraded` says whether all copies are there. A Backup is `Ready`
while all that is committed gets into its archive. A Restore ends as a Job does: `kubectl wait
--for=condition=Complete restore/NAME`. A SparePool is `Ready` while all its nodes are there, idle
or claimed; `PoolExhausted` says whether enough of them are idle.

| condition | what it says when it is `True` |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_kubernetes_reason_and_has_a_meaning() {
        let names = ConditionType::ALL.iter().map(|c| (c.as_str(), c.meaning()));
        for (name, meaning) in names.chain(Reason::ALL.iter().map(|r| (r.as_str(), r.meaning()))) {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
            assert!(meaning.ends_with('.') && !meaning.starts_with(' '), "{name}: {meaning:?}");
        }
    }
}
