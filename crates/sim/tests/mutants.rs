//! The world notices broken rules (needs the feature `mutants`).
#![cfg(feature = "mutants")]

use cairn_logic::mutant::Mutant;
use cairn_sim::mutants::hunt;

#[test]
fn broken_rules_are_noticed_within_forty_seeds() {
    let quick = [
        Mutant::NoTransfer,
        Mutant::NoJoint,
        Mutant::NoJointCondition,
        Mutant::ShrinkBeforeRecord,
        Mutant::VoteNotDurable,
        Mutant::MasterSurvivesRestart,
        Mutant::AckLogEnd,
        Mutant::CommitUnverified,
        Mutant::LearnerCounts,
        Mutant::LeaseFromReceive,
        Mutant::NoEpochCheck,
        Mutant::ReadBeforeActive,
        Mutant::FollowerAppliesAll,
        Mutant::AloneUnflushed,
        Mutant::ActBeforeRecord,
        Mutant::NoRebuild,
        Mutant::AuthorityUnflushed,
        Mutant::AnswerAtAppend,
        Mutant::DirtyRead,
        Mutant::LeavesUnfinished,
        Mutant::TruncatesEarly,
        Mutant::FetchUnflushed,
        Mutant::RestartsAtEnd,
        Mutant::ComparesNothing,
        Mutant::ChecksOutOfPlace,
        Mutant::MendsUnkept,
        Mutant::SnapshotsUnkept,
        Mutant::MendsWithOwn,
        Mutant::BelievesAnyState,
        Mutant::ZonesUncounted,
    ];
    for mutant in quick {
        let found = hunt(mutant, 1, 40, None);
        assert!(found.by.is_some(), "{found}");
    }
}

#[test]
fn broken_rules_of_moves_are_noticed() {
    let hunt = |mutant: &Mutant| hunt(*mutant, 1, 500, None);
    let hunts: Vec<_> = Mutant::OF_MOVES.iter().map(hunt).collect();
    hunts.iter().for_each(|found| eprintln!("{:?}: {} seeds", found.mutant, found.seeds));
    let missed: Vec<Mutant> =
        hunts.iter().filter(|it| it.by.is_none()).map(|it| it.mutant).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
