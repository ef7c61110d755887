//! Whom to elect, and who counts in the new epoch (docs/replication.md §6.5).

use super::Heard;
use crate::ids::{EntryId, Life, NodeId};
use crate::message::{Position, Sealed};
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Record, Role};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The elect and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Who becomes master.
    pub elect: NodeId,
    /// The life that answered the seal.
    pub life: Life,
    /// Where its log ends.
    pub last: EntryId,
    /// Who counts, sorted by id.
    pub members: Vec<Member>,
}

/// Chooses among those that answered; `everybody` counts those that are not intact, too.
///
/// The epoch of the *last entry* comes first, then the offset; `preferred` and `avoided` only
/// break ties between equal logs.
#[must_use]
pub fn choose(
    record: &Record,
    sealed: &BTreeMap<NodeId, Sealed>,
    everybody: bool,
    preferred: Option<&NodeId>,
    avoided: Option<&NodeId>,
) -> Option<Chosen> {
    let pool = record.members.iter().filter_map(|member| {
        let answer = sealed.get(&member.id)?;
        let counts = everybody || answer.intact || broken(Mutant::CountUnintact);
        counts.then_some((member, answer))
    });
    let pool: Vec<(&Member, &Sealed)> = pool.collect();
    let (elect, answer) = pool.iter().max_by_key(|(member, answer)| {
        let ties = (
            preferred == Some(&member.id),
            avoided != Some(&member.id),
            record.master.as_ref() == Some(&member.id),
            member.role != Role::Backup,
            Reverse(&member.id),
        );
        (rank(answer), ties)
    })?;
    // Who would not count by zones must not be recorded with any: nobody may rely on them.
    let counted = |member: &Member| Member {
        zone: member.zone.clone().filter(|_| answer.zones),
        ..member.clone()
    };
    let left: Vec<Member> = pool.iter().map(|(member, _)| counted(member)).collect();
    Some(Chosen {
        elect: elect.id.clone(),
        life: answer.life,
        last: answer.last,
        members: seats(record, &left, elect),
    })
}

fn rank(answer: &Sealed) -> (u64, u64) {
    if broken(Mutant::ChooseByOffset) {
        return (answer.last.offset.0, 0);
    }
    if broken(Mutant::SealedEpochChoice) {
        return (answer.attempt.0, 0);
    }
    (answer.last.epoch.0, answer.last.offset.0)
}

/// Gives everybody a role: the elect's former seat goes to the former master, or else to a backup.
fn seats(record: &Record, left: &[Member], elect: &Member) -> Vec<Member> {
    let master_stays = left.iter().any(|m| m.role == Role::Master && m.id != elect.id);
    let master_lost = record.master.is_some() && !master_stays;
    let mut vacant = elect.role == Role::Replica && master_lost;
    let mut members: Vec<Member> = Vec::with_capacity(left.len());
    for member in left {
        let role = if member.id == elect.id {
            Role::Master
        } else if member.role == Role::Master {
            if elect.role == Role::Master { Role::Replica } else { elect.role }
        } else if member.role == Role::Backup && vacant {
            vacant = false;
            Role::Replica
        } else {
            member.role
        };
        members.push(Member { role, ..member.clone() });
    }
    members.sort();
    members
}

/// Who a wished switchover goes to: the one named, or whoever has the most; nobody who is being
/// stopped.
pub(super) fn target(
    record: &Record,
    reports: &BTreeMap<NodeId, Heard>,
    wished: Option<&NodeId>,
) -> Option<NodeId> {
    let could = |id: &NodeId| {
        let heard = reports.get(id)?;
        let follows = heard.report.position == Position::Follower && heard.report.intact;
        let follows = follows && heard.report.relief.is_none();
        (follows && record.master.as_ref() != Some(id)).then_some(heard.report.last)
    };
    if let Some(id) = wished {
        return could(id).map(|_| id.clone());
    }
    let able = record.members.iter().filter_map(|m| Some((could(&m.id)?, m)));
    let best = able.max_by_key(|(last, m)| (m.role != Role::Backup, *last, Reverse(&m.id)));
    best.map(|(_, member)| member.id.clone())
}
