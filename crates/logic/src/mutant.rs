//! Rules that can be broken on purpose, to prove that the simulator would notice.
//!
//! Without the feature `mutants` every rule holds and [`broken`] is a constant.

/// One rule switched off (the names are those of docs/findings.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// F1: the elect says Ready before its epoch record has the copies.
    NoTransfer,
    /// F1: entries of older epochs are committed by counting them.
    OldEpochCount,
    /// F4: a member that may have lost its tail counts as proof (judge).
    CountUnintact,
    /// F6: one sealed member too few is proof (judge).
    SealMinusOne,
    /// F8: commits count by the old configuration alone while a change is asked for.
    NoJoint,
    /// F8: a change is asked for before the new members hold what is committed.
    NoJointCondition,
    /// F8: the master counts by the new configuration before it is recorded.
    ShrinkBeforeRecord,
    /// F8: lease reads ask the old configuration only while a change is asked for.
    JointReadsOnlyOld,
    /// F4: a seal is answered without being flushed.
    VoteNotDurable,
    /// F5: a restarted process goes on as the master the record names.
    MasterSurvivesRestart,
    /// F5: an elect does not check life and log end.
    NoElectCheck,
    /// F5: an elect does not check its life.
    ElectNoLife,
    /// F13: a member acknowledges its log's end.
    AckLogEnd,
    /// F13: a member commits beyond what was verified.
    CommitUnverified,
    /// F13: learners count as copies.
    LearnerCounts,
    /// F11: a promise runs from the arrival of the acknowledgement.
    LeaseFromReceive,
    /// F11: a seal is answered while a promise is live.
    SealIgnoresPromise,
    /// F11: a restarted member forgets that it promised.
    RestartForgetsPromise,
    /// F6: the longest log is chosen, whatever its epoch (judge).
    ChooseByOffset,
    /// F6: the greatest sealed epoch is chosen (judge).
    SealedEpochChoice,
    /// F4: acknowledgements of a former life count.
    StaleLives,
    /// F4: a member is declared intact by its first acknowledgement.
    HealedAtOnce,
    /// A member takes appends of an epoch below its seal.
    NoEpochCheck,
    /// F9: an elect already answers reads.
    ReadBeforeActive,
    /// F9: a member applies all it receives.
    FollowerAppliesAll,
    /// F12: a single copy counts before it is flushed.
    AloneUnflushed,
    /// F2: an elect acts before the record names it.
    ActBeforeRecord,
    /// F2: authority entries count before they are flushed.
    AuthorityUnflushed,
    /// F9: a former master keeps the state of entries that were cut.
    NoRebuild,
    /// The judge says `released` without proof (judge).
    ReleasedLie,
    /// F8: a compare-and-swap does not compare (keeper).
    CasIgnoresVersion,
    /// A late request to replace an acceptor puts a folder in that may be lost since (arbiter).
    ReplacesAnyFolder,
    /// F22: a member does not mind that its master commits nothing.
    StuckIsWell,
    /// F17: after a start without proof revisions go on where the log ends (shell).
    ForgetsReserved,
    /// F4: a process speaks in the name of a life that is not flushed yet (shell).
    SpeaksUnflushed,
    /// F10: a master answers OK when it has appended (shell).
    AnswerAtAppend,
    /// F9: linearizable reads do not wait for the write they saw (shell).
    DirtyRead,
    /// F6: an attempt that somebody left open is never finished (judge).
    LeavesUnfinished,
    /// F6: one seal more than the rule needs is waited for, and a person called (judge).
    SealPlusOne,
    /// F6: a choice that may lose something is not reported as one (judge).
    LossUnsaid,
    /// F2: a judge takes what its global master last saw for the record (global master).
    ReadsUnproved,
    /// F5: what a person lets go on does so below numbers that were sealed (judge).
    RecoversBelowSeals,
    /// A set that is too small refuses writes while it is only asked for.
    AskedSetRefuses,
    /// The time in which a process stood still is the silence of all others.
    StandstillIsSilence,
    /// A log is cut at the front up to what is committed, whatever its snapshot holds.
    TruncatesEarly,
    /// An entry before the log's first is believed whatever its epoch.
    BelowFrontByOffset,
    /// A fetched snapshot is used before it is flushed (shell).
    FetchUnflushed,
    /// The log begins anew after the last entry a snapshot has seen, not after its first (shell).
    RestartsAtEnd,
    /// A part of a copy is said to be the same whatever its digest (keyspace).
    ComparesNothing,
    /// A check is written behind an entry that it has not seen (shell).
    ChecksOutOfPlace,
    /// What a repair replaces is not handed out to be kept (keyspace).
    MendsUnkept,
    /// A snapshot is written before what was replaced is kept aside (keyspace).
    SnapshotsUnkept,
    /// A repair puts back what was there, not what the master has (keyspace).
    MendsWithOwn,
    /// A directory's snapshot counts whatever state it holds (global node).
    BelievesAnyState,
    /// F15: a claim does not compare what it rests on (planner).
    ClaimsUncompared,
    /// F15: a node is released while its group's record names it (planner).
    ReleasesNamed,
    /// F3: slots change their owner whatever the epochs of both groups are (moves).
    MovesWithoutEpoch,
    /// F3: a slot is in two moves at a time (moves).
    MovesTwice,
    /// F3: slots change their owner before the target has all of them (moves).
    SwitchesEarly,
    /// F3: a master that may have proposed a switch carries the slots again (moves).
    CarriesAfterSwitch,
    /// F3: a hold ends by itself (moves).
    HoldEnds,
    /// F3: reads go on during a hold (moves).
    ReadsInHold,
    /// F3: a new master goes by routes that it has read before it was one (moves).
    OldRoutes,
    /// A group keeps and shows what it gave away (moves).
    KeepsMoved,
    /// A member shows what is not whole (moves).
    ShowsHalf,
    /// A master counts copies, not the zones that they are in.
    ZonesUncounted,
    /// Lease reads count promises, not the zones that they come from.
    PromisesAnywhere,
}

impl Mutant {
    /// Those of a replica: a scenario can tell of each. All others are noticed by seeds alone.
    pub const OF_REPLICA: &[Self] = &[
        Self::NoTransfer,
        Self::OldEpochCount,
        Self::CountUnintact,
        Self::NoJoint,
        Self::NoJointCondition,
        Self::ShrinkBeforeRecord,
        Self::JointReadsOnlyOld,
        Self::VoteNotDurable,
        Self::MasterSurvivesRestart,
        Self::NoElectCheck,
        Self::ElectNoLife,
        Self::AckLogEnd,
        Self::CommitUnverified,
        Self::LearnerCounts,
        Self::LeaseFromReceive,
        Self::SealIgnoresPromise,
        Self::RestartForgetsPromise,
        Self::ChooseByOffset,
        Self::SealedEpochChoice,
        Self::StaleLives,
        Self::HealedAtOnce,
        Self::NoEpochCheck,
        Self::ReadBeforeActive,
        Self::FollowerAppliesAll,
        Self::AloneUnflushed,
        Self::ActBeforeRecord,
        Self::AuthorityUnflushed,
        Self::NoRebuild,
        Self::ReplacesAnyFolder,
        Self::StuckIsWell,
        Self::AskedSetRefuses,
        Self::StandstillIsSilence,
        Self::TruncatesEarly,
        Self::BelowFrontByOffset,
        Self::ZonesUncounted,
        Self::PromisesAnywhere,
    ];

    /// Those of slots that move.
    pub const OF_MOVES: &[Self] = &[
        Self::MovesWithoutEpoch,
        Self::MovesTwice,
        Self::SwitchesEarly,
        Self::CarriesAfterSwitch,
        Self::HoldEnds,
        Self::ReadsInHold,
        Self::OldRoutes,
        Self::KeepsMoved,
        Self::ShowsHalf,
    ];

    /// Those of the judge, the keeper, the shell, the keyspace and the planner.
    const OF_OTHERS: &[Self] = &[
        Self::SealMinusOne,
        Self::ReleasedLie,
        Self::CasIgnoresVersion,
        Self::ForgetsReserved,
        Self::SpeaksUnflushed,
        Self::AnswerAtAppend,
        Self::DirtyRead,
        Self::LeavesUnfinished,
        Self::SealPlusOne,
        Self::LossUnsaid,
        Self::ReadsUnproved,
        Self::RecoversBelowSeals,
        Self::FetchUnflushed,
        Self::RestartsAtEnd,
        Self::ComparesNothing,
        Self::ChecksOutOfPlace,
        Self::MendsUnkept,
        Self::SnapshotsUnkept,
        Self::MendsWithOwn,
        Self::BelievesAnyState,
        Self::ClaimsUncompared,
        Self::ReleasesNamed,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::OF_REPLICA, Self::OF_MOVES, Self::OF_OTHERS].into_iter().flatten().copied()
    }
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Breaks one rule on this thread, or none.
    pub fn set_broken(mutant: Option<Mutant>) {
        BROKEN.with(|b| b.set(mutant));
    }

    /// Whether this rule is broken on this thread.
    #[must_use]
    pub fn broken(mutant: Mutant) -> bool {
        BROKEN.with(|b| b.get() == Some(mutant))
    }
}

#[cfg(feature = "mutants")]
pub use switch::{broken, set_broken};

/// Whether this rule is broken: never, in a product build.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn broken(_: Mutant) -> bool {
    false
}
