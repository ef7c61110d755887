//! Reports, answers and orders between data nodes and the global master.

use super::frame::entry;
use super::{Malformed, malformed, pb};
use bytes::Bytes;
use cairn_logic::balance;
use cairn_logic::ids::{Epoch, Life, NodeId, Offset, Slot};
use cairn_logic::message::{Answer, Order, Position, Relief, Report, Sealed};
use cairn_logic::record::Member;
use cairn_logic::replication::Change;
use cairn_logic::time::Duration;
use serde::de::DeserializeOwned;

impl From<Position> for pb::Position {
    fn from(position: Position) -> Self {
        let (kind, epoch) = match position {
            Position::Follower => (pb::PositionKind::Follower, Epoch::ZERO),
            Position::Learner => (pb::PositionKind::Learner, Epoch::ZERO),
            Position::Elect(epoch) => (pb::PositionKind::Elect, epoch),
            Position::Master(epoch) => (pb::PositionKind::Master, epoch),
        };
        Self { kind: kind.into(), epoch: epoch.0 }
    }
}

impl From<pb::Position> for Position {
    fn from(position: pb::Position) -> Self {
        match position.kind() {
            pb::PositionKind::Follower => Self::Follower,
            pb::PositionKind::Learner => Self::Learner,
            pb::PositionKind::Elect => Self::Elect(Epoch(position.epoch)),
            pb::PositionKind::Master => Self::Master(Epoch(position.epoch)),
        }
    }
}

/// A report with the load that travels beside it.
#[must_use]
pub fn report_out(report: &Report, load: pb::Load) -> pb::Report {
    let relief = match report.relief {
        None => pb::Relief::None,
        Some(Relief::Disk) => pb::Relief::Disk,
        Some(Relief::Stuck) => pb::Relief::Stuck,
        Some(Relief::Stopping) => pb::Relief::Stopping,
    };
    pb::Report {
        life: report.life.0,
        sealed: report.sealed.0,
        intact: report.intact,
        last: Some(report.last.into()),
        committed: report.committed.0,
        master_silence_ns: u64::try_from(report.master_silence.as_nanos()).unwrap_or(u64::MAX),
        position: Some(report.position.into()),
        relief: relief.into(),
        reaches: report.reaches,
        load: Some(load),
        parts: Vec::new(),
    }
}

/// What a master says of the slots of one part.
#[must_use]
pub fn part_out(part: u8, load: &balance::Load) -> pb::PartLoad {
    let top = load.top.as_ref();
    pb::PartLoad {
        part: part.into(),
        slots: load.slots.into(),
        bytes: load.bytes,
        commands_per_sec: load.commands,
        top_slot: top.map_or(0, |top| top.slot.get().into()),
        top_bytes: top.map_or(0, |top| top.bytes),
        top_commands_per_sec: top.map_or(0, |top| top.commands),
    }
}

/// Reads what a master says of its slots; what cannot be is left out.
#[must_use]
pub fn parts_in(parts: &[pb::PartLoad]) -> balance::Parts {
    let read = |it: &pb::PartLoad| {
        let part = u8::try_from(it.part).ok().filter(|part| *part < balance::PARTS)?;
        let slots = u16::try_from(it.slots).ok().filter(|slots| *slots <= balance::PART_SLOTS)?;
        let slot = u16::try_from(it.top_slot).ok().and_then(|number| Slot::try_from(number).ok());
        let slot = slot.filter(|slot| balance::part_of(*slot) == part);
        let (bytes, commands) = (it.top_bytes, it.top_commands_per_sec);
        let top = slot.filter(|_| bytes + commands > 0);
        let top = top.map(|slot| balance::Top { slot, bytes, commands });
        let load = balance::Load { slots, bytes: it.bytes, commands: it.commands_per_sec, top };
        Some((part, load))
    };
    parts.iter().filter_map(read).collect()
}

/// Reads a report; its load stays beside it.
#[must_use]
pub fn report_in(report: &pb::Report) -> Report {
    let relief = match report.relief() {
        pb::Relief::None => None,
        pb::Relief::Disk => Some(Relief::Disk),
        pb::Relief::Stuck => Some(Relief::Stuck),
        pb::Relief::Stopping => Some(Relief::Stopping),
    };
    Report {
        life: Life(report.life),
        sealed: Epoch(report.sealed),
        intact: report.intact,
        last: entry(report.last.as_ref()),
        committed: Offset(report.committed),
        master_silence: Duration::from_nanos(report.master_silence_ns),
        position: report.position.map_or(Position::Follower, Position::from),
        relief,
        reaches: report.reaches,
    }
}

/// An answer to a judge.
#[must_use]
pub fn answer_out(answer: &Answer) -> pb::Answer {
    use pb::answer::Body;
    let body = match answer {
        Answer::Sealed(sealed) => Body::Sealed(pb::Sealed {
            attempt: sealed.attempt.0,
            life: sealed.life.0,
            last: Some(sealed.last.into()),
            intact: sealed.intact,
            reserved: sealed.reserved,
            was_master: sealed.was_master,
            zones: sealed.zones,
        }),
        Answer::Ready { attempt } => Body::Ready(attempt.0),
        Answer::NotElect { attempt } => Body::NotElect(attempt.0),
        Answer::HandedOver { epoch, last } => {
            Body::HandedOver(pb::HandedOver { epoch: epoch.0, last: Some((*last).into()) })
        }
    };
    pb::Answer { body: Some(body) }
}

/// Reads an answer.
///
/// # Errors
/// An answer without a body.
pub fn answer_in(answer: &pb::Answer) -> Result<Answer, Malformed> {
    use pb::answer::Body;
    Ok(match answer.body.as_ref().ok_or(malformed("answer without body"))? {
        Body::Sealed(sealed) => Answer::Sealed(Sealed {
            attempt: Epoch(sealed.attempt),
            life: Life(sealed.life),
            last: entry(sealed.last.as_ref()),
            intact: sealed.intact,
            reserved: sealed.reserved,
            was_master: sealed.was_master,
            zones: sealed.zones,
        }),
        Body::Ready(attempt) => Answer::Ready { attempt: Epoch(*attempt) },
        Body::NotElect(attempt) => Answer::NotElect { attempt: Epoch(*attempt) },
        Body::HandedOver(over) => {
            Answer::HandedOver { epoch: Epoch(over.epoch), last: entry(over.last.as_ref()) }
        }
    })
}

/// An order to a member of `group`.
///
/// # Panics
/// Never: members, modes and records are plain data.
#[must_use]
pub fn order_out(group: &str, order: &Order) -> pb::Down {
    use pb::down::Body;
    let json = "plain data has a JSON form";
    let body = match order {
        Order::Seal { attempt, forced, released } => {
            Body::Seal(pb::SealOrder { attempt: attempt.0, forced: *forced, released: *released })
        }
        Order::Elect { attempt, life, last, members, mode, above } => Body::Elect(pb::ElectOrder {
            attempt: attempt.0,
            life: life.0,
            last: Some((*last).into()),
            members: Bytes::from(serde_json::to_vec(members).expect(json)),
            mode: Bytes::from(serde_json::to_vec(mode).expect(json)),
            above: *above,
        }),
        Order::HandOver { epoch, target } => {
            Body::HandOver(pb::HandOverOrder { epoch: epoch.0, target: target.as_str().to_owned() })
        }
        Order::Record(record) => Body::Record(Bytes::from(serde_json::to_vec(record).expect(json))),
    };
    pb::Down { group: group.to_owned(), body: Some(body) }
}

/// What comes down a data node's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// From the judge.
    Order(Order),
    /// From the planner, to the group's master.
    Plan(Plan),
}

/// What the planner wants of a group's master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that hold a claim of the group and do not count yet.
    pub learners: Vec<Member>,
    /// The change to ask for.
    pub wish: Option<Change>,
}

/// A plan for the master of `group`.
///
/// # Panics
/// Never: members and changes are plain data.
#[must_use]
pub fn plan_out(group: &str, plan: &Plan) -> pb::Down {
    let json = "plain data has a JSON form";
    let learners = Bytes::from(serde_json::to_vec(&plan.learners).expect(json));
    let wish = plan.wish.as_ref().map(|wish| serde_json::to_vec(wish).expect(json));
    let wish = Bytes::from(wish.unwrap_or_default());
    let body = pb::down::Body::Plan(pb::Plan { learners, wish });
    pb::Down { group: group.to_owned(), body: Some(body) }
}

/// Reads what came down a line.
///
/// # Errors
/// No body, or JSON that is not what it should be.
pub fn instruction_in(down: &pb::Down) -> Result<Instruction, Malformed> {
    use pb::down::Body;
    let order = match down.body.as_ref().ok_or(malformed("order without body"))? {
        Body::Seal(seal) => Order::Seal {
            attempt: Epoch(seal.attempt),
            forced: seal.forced,
            released: seal.released,
        },
        Body::Elect(elect) => Order::Elect {
            attempt: Epoch(elect.attempt),
            life: Life(elect.life),
            last: entry(elect.last.as_ref()),
            members: json(&elect.members, "elect's members are not JSON of members")?,
            mode: json(&elect.mode, "elect's mode is not JSON of a mode")?,
            above: elect.above,
        },
        Body::HandOver(over) => {
            Order::HandOver { epoch: Epoch(over.epoch), target: NodeId::new(&over.target) }
        }
        Body::Record(record) => {
            Order::Record(json(record, "order's record is not JSON of a record")?)
        }
        Body::Plan(plan) => return plan_in(plan).map(Instruction::Plan),
    };
    Ok(Instruction::Order(order))
}

fn plan_in(plan: &pb::Plan) -> Result<Plan, Malformed> {
    let learners = json(&plan.learners, "plan's learners are not JSON of members")?;
    let wish = match &plan.wish[..] {
        [] => None,
        wish => Some(json(wish, "plan's wish is not JSON of a change")?),
    };
    Ok(Plan { learners, wish })
}

fn json<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|_| malformed(what))
}
