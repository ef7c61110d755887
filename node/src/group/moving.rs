//! The move of slots that this node's group gives away, while this node is master: the directory's
//! word and the target's reports go to [`Source`], what it wants goes to the data thread, to the
//! target's master and to the directory.

mod line;

use super::role::Role;
use crate::clock;
use crate::data::link::{Arrived, MoveNews, MoveOrder, ToData};
use crate::follow::Ask;
use cairn_global::moving::{self, Swap};
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, Version};
use cairn_logic::message::Position;
use cairn_logic::moves::{Facts, Move, MoveId, Report, Source, SourceEffect, SourceInput};
use cairn_logic::record::Record;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::directory_keys::{group_key, keyspace_of, moves_key};
use cairn_wire::peer::pb;
use line::Line;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use line::{LineNews, Said};

/// Frames that may wait for the line.
const QUEUE: usize = 8;
/// After so long what was asked is asked again.
const FORGET_AGAIN: Duration = Duration::from_millis(200);

/// What is under way.
pub struct Moving {
    current: Option<Current>,
    /// When, and at which version of the moves, it was last asked to forget one that has ended.
    forgot: Option<(u64, Instant)>,
    /// Where lines say what became of them.
    said: mpsc::Sender<LineNews>,
    /// One change of the directory is asked for at a time: what waits behind another one would be
    /// old when its turn comes. Where an answer takes longer than the next try, slots were held
    /// until a whole queue of such changes had been refused.
    turn: Arc<Semaphore>,
}

struct Current {
    it: Move,
    source: Source,
    line: Option<Line>,
    began: Instant,
    /// Since when its slots are held.
    held: Option<Instant>,
    /// Why the last try has come to nothing, until one goes well.
    why: Option<String>,
    /// Whether it is to begin anew under another number.
    renews: bool,
}

impl Current {
    /// A move begins, or goes on under another number.
    fn begin(it: Move, old: Option<&Self>) -> Self {
        let same = |old: &&Self| old.it.first == it.first && old.it.target == it.target;
        let began = old.filter(same).map_or_else(clock::now, |old| old.began);
        tracing::info!(
            id = %it.id, first = it.first.get(), last = it.last.get(), target = %it.target,
            "moving slots"
        );
        let source = Source::new(it.id);
        Self { it, source, line: None, began, held: None, why: None, renews: false }
    }
}

impl Moving {
    /// The mastership is over; the next one begins anew.
    pub fn end(&mut self) {
        self.current = None;
    }

    /// Nothing; lines speak by `said`.
    pub fn new(said: mpsc::Sender<LineNews>) -> Self {
        Self { current: None, forgot: None, said, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Goes with a change until it is answered or dropped; `None` while there is one.
    fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).try_acquire_owned().ok()
    }
}

impl Role {
    fn is_master(&self) -> Option<Epoch> {
        match self.host.as_ref()?.replica().position() {
            Position::Master(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// Looks at what the directory says of moves; routes were told before.
    pub(super) fn tend_moves(&mut self) {
        let (Some(mine), Some(group)) = (self.is_master(), self.group.clone()) else {
            // The data thread has heard of the end of the mastership.
            self.moving.current = None;
            return;
        };
        let moves = keyspace_of(&group).and_then(|keyspace| self.view.moves.get(keyspace));
        let due = moves.and_then(|moves| moves.current(&group)).cloned();
        if let Some(current) = &self.moving.current {
            let id = current.it.id;
            let phase = moves.and_then(|moves| moves.get(id)).map(|it| it.phase);
            let facts = Facts { phase, ..self.facts_of(&current.it) };
            self.step_move(SourceInput::Read { facts, mine });
        }
        let over = self.moving.current.as_ref().is_none_or(|current| current.source.is_over());
        if !over {
            return;
        }
        let old = self.moving.current.take();
        self.moving.current = due.map(|it| Current::begin(it, old.as_ref()));
        if let Some(current) = &self.moving.current {
            let facts = Facts { phase: Some(current.it.phase), ..self.facts_of(&current.it) };
            self.step_move(SourceInput::Read { facts, mine });
        }
    }

    fn facts_of(&self, it: &Move) -> Facts {
        let record = |group: &GroupId| self.view.groups.get(group);
        let target = record(&it.target);
        Facts {
            phase: None,
            source: record(&it.source).map_or(Epoch::ZERO, |record| record.epoch),
            target: target.map_or(Epoch::ZERO, |record| record.epoch),
            to: target.filter(|record| !record.open).and_then(|record| record.master.clone()),
        }
    }

    pub(super) fn tick_moves(&mut self) {
        if self.moving.current.is_some() || !self.view.moves.is_empty() {
            self.tend_moves();
            self.step_move(SourceInput::Tick);
        }
    }

    fn step_move(&mut self, input: SourceInput) {
        let Some(current) = &mut self.moving.current else { return };
        let mut effects = Vec::new();
        current.source.step(clock::now(), input, &mut effects);
        for effect in effects {
            self.perform_move(effect);
        }
    }

    fn perform_move(&mut self, effect: SourceEffect) {
        let Some(current) = &mut self.moving.current else { return };
        let it = current.it.clone();
        match effect {
            SourceEffect::Begin { session, to } => {
                let (frames, queue) = mpsc::channel(QUEUE);
                let epoch = self.is_master().unwrap_or_default();
                let said = self.moving.said.clone();
                let (identity, book) = (self.boot.identity.clone(), self.book.clone());
                let line =
                    Line::open((identity, book), (it.clone(), epoch, session), to, (queue, said));
                let slots = (it.first, it.last);
                let order = MoveOrder::Carry { id: it.id, session, slots, to: frames };
                if let Some(current) = &mut self.moving.current {
                    current.line = Some(line);
                }
                self.order_move(order);
            }
            SourceEffect::Hold => {
                let session = current.source.session();
                current.held = Some(clock::now());
                self.order_move(MoveOrder::Hold { session });
            }
            SourceEffect::Switch { source, target } => {
                self.ask_swap(moving::switch(&self.view, &it, source, target));
            }
            SourceEffect::Renew => {
                if !std::mem::replace(&mut current.renews, true) {
                    tracing::warn!(id = %it.id, "a hold takes too long: the move begins anew");
                }
                let keyspace = keyspace_of(&it.source).unwrap_or_default();
                self.ask_swap(moving::renew(&self.view, keyspace, it.id));
            }
            SourceEffect::End => {
                let now = clock::now();
                let took_ms = now.since(current.began).as_millis() as u64;
                let held_us = current.held.map_or(0, |held| now.since(held).as_micros() as u64);
                current.line = None;
                tracing::info!(id = %it.id, took_ms, held_us, "the move has ended here");
                self.order_move(MoveOrder::End);
            }
        }
    }

    fn order_move(&mut self, order: MoveOrder) {
        self.data.send(ToData::Move(order));
    }

    fn ask_swap(&self, swap: Option<Swap>) {
        // Whatever is not asked now is asked again.
        let Some(swap) = swap else { return };
        if let Some(asked) = self.moving.turn() {
            // A full queue means that the global plane is away.
            self.asks.try_send(Ask::Swap { swap, asked }).ok();
        }
    }

    /// What the data thread says of moves.
    pub(super) fn hear_move(&mut self, news: MoveNews) {
        let (of, input) = match news {
            MoveNews::Copied { id, session } => (id, SourceInput::Copied { session }),
            MoveNews::Held { id, at } => (id, SourceInput::Held { at }),
            MoveNews::Failed { id, session, why } => return self.lose_try(id, session, why.into()),
            MoveNews::Ended(id) => return self.forget_move(id),
        };
        // What is said of one move must not count for the next.
        let current = self.moving.current.as_mut().filter(|current| current.it.id == of);
        let Some(current) = current else { return };
        if matches!(input, SourceInput::Copied { .. }) {
            current.why = None;
        }
        self.step_move(input);
    }

    /// Nothing is left of a move. All moves are one key, so one is forgotten after the other; the
    /// data thread says it again.
    fn forget_move(&mut self, id: MoveId) {
        let Some(keyspace) = self.group.as_ref().and_then(keyspace_of).map(str::to_owned) else {
            return;
        };
        let (version, now) = (self.view.version(&moves_key(&keyspace)), clock::now());
        let asked = |(of, at): (u64, Instant)| of == version && now.since(at) < FORGET_AGAIN;
        if !self.moving.forgot.is_some_and(asked) {
            self.moving.forgot = Some((version, now));
            self.ask_swap(moving::forget(&self.view, &keyspace, id));
        }
    }

    /// A try has come to nothing.
    fn lose_try(&mut self, id: MoveId, session: u64, why: String) {
        let current = self.moving.current.as_mut();
        let mine = |it: &&mut Current| it.it.id == id && it.source.session() == session;
        let Some(current) = current.filter(mine) else { return };
        if current.why.as_ref() != Some(&why) {
            tracing::warn!(%id, why, "slots are carried again from the beginning");
            current.why = Some(why);
        }
        self.step_move(SourceInput::Lost { session });
    }

    /// What a line to a target's master says.
    pub(super) fn hear_line(&mut self, LineNews { id, session, said }: LineNews) {
        let current = self.moving.current.as_ref();
        if current.is_none_or(|it| it.it.id != id || it.source.session() != session) {
            return;
        }
        match said {
            Said::Safe { epoch, covered, frames } => {
                self.order_move(MoveOrder::Safe { session, frames });
                let last = self.host.as_ref().map_or(Offset::ZERO, |it| it.replica().last().offset);
                let report = Report { session, epoch, covered, last };
                self.step_move(SourceInput::Report(report));
            }
            Said::Lost(why) => self.lose_try(id, session, why),
        }
    }

    /// A part of a move to this group has come.
    pub(super) fn carried(&mut self, frame: pb::MoveFrame, back: mpsc::Sender<pb::MoveReply>) {
        if self.group.as_ref().map(GroupId::as_str) == Some(frame.group.as_str()) {
            let arrived = Box::new(Arrived { frame, back });
            return self.order_move(MoveOrder::Arrived(arrived));
        }
        let refused = "this node is not in that group".to_owned();
        back.try_send(pb::MoveReply { refused, ..Default::default() }).ok();
    }

    /// For status.
    pub(super) fn move_status(&self) -> Vec<pb::MoveStatus> {
        let status = |current: &Current| pb::MoveStatus {
            r#move: current.it.id.0,
            step: match &current.why {
                Some(why) => format!("{} (again: {why})", current.source.words()),
                None => current.source.words().to_owned(),
            },
            bytes: current.line.as_ref().map_or(0, Line::bytes),
            since_ms: clock::now().since(current.began).as_millis() as u64,
        };
        self.moving.current.iter().map(status).collect()
    }

    /// Whether a record that came by itself has to wait until the watch has brought it, with all
    /// that was written before it: whoever begins to master must not serve by older slots
    /// (docs/replication.md §6.7).
    pub(super) fn waits_for_view(&self, group: &GroupId, record: &Record) -> bool {
        let me = &self.boot.identity.me.id;
        let seen = Version(self.view.version(&group_key(group)));
        begins_unseen(record, me, self.is_master().is_some(), seen)
    }
}

/// Whether `me` would begin to master by a record of which the watch has only brought version
/// `seen`. It will bring the rest: a record that was read is committed.
fn begins_unseen(record: &Record, me: &NodeId, is_master: bool, seen: Version) -> bool {
    record.master.as_ref() == Some(me) && !is_master && seen < record.version
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::record::{Durability, Rule};

    #[test]
    fn a_change_is_asked_for_when_the_last_one_is_answered() {
        let moving = Moving::new(mpsc::channel(1).0);
        let asked = moving.turn();
        assert!(asked.is_some());
        assert!(moving.turn().is_none(), "it waits for its answer");
        drop(asked);
        assert!(moving.turn().is_some());
    }

    #[test]
    fn who_is_to_master_waits_for_what_was_written_before_its_record() {
        let (me, other) = (NodeId::new("t-0-1"), NodeId::new("t-0-0"));
        let record = Record {
            version: Version(7),
            epoch: Epoch(3),
            master: Some(me.clone()),
            members: Vec::new(),
            rule: Rule::One,
            wanted: 2,
            durability: Durability::default(),
            attempt: Epoch(3),
            open: false,
        };
        let waits = |me, is_master, seen| begins_unseen(&record, me, is_master, Version(seen));
        assert!(waits(&me, false, 6), "slots may have moved before");
        assert!(!waits(&me, false, 7), "the watch has brought all of it");
        assert!(!waits(&me, true, 6), "a change of its own group: it has its slots");
        assert!(!waits(&other, false, 6), "another one's begins nothing here");
    }
}
