//! A global node's directory at work: requests, mastership, and what a global master does with it.

use super::truth::client_key;
use super::{MS, US, World};
use crate::desk::{Ask, COMMIT_WAIT_MAX, Desk, SYSTEM_STREAM, Wanted, Who};
use crate::place::{ClientOp, Down, Local};
use crate::scenario::WorldKind;
use crate::shell::DataCommand;
use bytes::Bytes;
use cairn_directory::core::{Request, Response};
use cairn_directory::op::{Compare, Put, RangeQuery, Relation, Target, Txn, TxnOp};
use cairn_directory::watch::{Notice, StreamId, Wish};
use cairn_directory::{Answer, KeyRange, LeaseId, Op};
use cairn_global::courts::Now;
use cairn_global::{Act, Asked, GlobalMaster, Why, members_wish, planning};
use cairn_host::Event;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Offset, Revision};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::judge::{Hint, JudgeEffect, JudgeInput};
use cairn_logic::message::Relief;
use cairn_logic::record::{EpochRecord, Member, Role};
use cairn_settings::directory_keys::{self as keys, ClusterInfo};

/// Keys of clients.
const KEYS: u64 = 6;
/// Revisions are reserved so far ahead.
const RESERVED_AHEAD: u64 = 1 << 12;
/// How long what the system hears of its own directory is on the way.
const WITHIN: u64 = 20 * US;

impl World {
    pub(super) fn new_desk(&self, place: usize, log: usize) -> Option<Box<Desk>> {
        if self.scenario.kind != WorldKind::Cluster || log != 0 {
            return None;
        }
        let cluster = ClusterInfo { uid: "simulated".to_owned(), format: cairn_settings::FORMAT };
        let me = self.places[place].sender();
        let master = GlobalMaster::new(me, self.scenario.timing, cluster);
        Some(Box::new(Desk::new(master)))
    }

    pub(super) fn desk(&mut self, place: usize) -> Option<&mut Desk> {
        self.places[place].process.as_mut()?.desk.as_deref_mut()
    }

    pub(super) fn both_clocks(&self, place: usize) -> Now {
        let monotonic = self.places[place].clock.read(self.now);
        Now { monotonic, unix_ms: self.unix_ms(place) }
    }

    /// Performs what the host asks of its state machine, at once and in order.
    pub(super) fn desk_hears(&mut self, place: usize, command: DataCommand) -> Held {
        let name = self.places[place].folder_name();
        let now = self.places[place].clock.read(self.now);
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &there.folder) else {
            return Ok(());
        };
        let Some(desk) = process.desk.as_deref_mut() else { return Ok(()) };
        match command {
            DataCommand::Rebuild { from, .. } => {
                desk.core.reset();
                for batch in &folder.log[..folder.copies_to(from).len()] {
                    desk.apply(batch, &name)?;
                }
            }
            DataCommand::Apply(batch) => {
                let copy = folder.copies_to(batch.head.last_offset()).last().copied();
                if let Some(copy) = copy.filter(|copy| copy.last == batch.head.last()) {
                    self.logs[0].witness.applies(&name, &copy)?;
                }
                desk.apply(&batch, &name)?;
            }
            DataCommand::Committed(up_to) if desk.core.is_master() => {
                desk.core.committed(up_to, &mut desk.out);
            }
            DataCommand::Committed(_) => {}
            DataCommand::BecomeMaster { epoch, last } => {
                desk.epoch = epoch;
                desk.core.loaded(&mut desk.out);
                desk.core.became_master(now, epoch, last.offset);
                if desk.above > desk.core.directory().revision().0 {
                    desk.core.jump_revision(now, Revision(desk.above));
                }
                desk.todo.began = true;
            }
            DataCommand::OpenEpoch(record) => desk.todo.open = Some(record),
            DataCommand::StepDown(_) => {
                desk.todo.astray |= desk.core.lost_mastership(&mut desk.out);
                desk.todo.ended = true;
            }
            DataCommand::ReadUntil(until) => desk.read_until = until,
            DataCommand::Admission(_) | DataCommand::ReadsConfirmed(_) => {}
        }
        Ok(())
    }

    /// Repeats until nothing is left: what the directory made goes to the log, what it was told
    /// has its consequences, replies go out.
    pub(super) fn settle(&mut self, place: usize) -> Held {
        loop {
            self.append(place)?;
            let Some(desk) = self.desk(place) else { return Ok(()) };
            let todo = std::mem::take(&mut desk.todo);
            if todo.open.is_none() && !todo.began && !todo.ended && !todo.astray {
                break;
            }
            if let Some(record) = todo.open {
                self.open_epoch(place, &record)?;
            }
            if todo.ended {
                self.plane_ended(place);
            }
            if todo.astray {
                self.host_alone(place, Event::Astray)?;
            }
            if todo.began {
                self.plane_began(place)?;
            }
        }
        let now = self.places[place].clock.read(self.now);
        if let Some(desk) = self.desk(place) {
            desk.release_reads(now);
        }
        self.deliver(place)
    }

    /// Hands the directory's batches to the log.
    fn append(&mut self, place: usize) -> Held {
        let time_ms = self.unix_ms(place);
        loop {
            let Some(process) = &mut self.places[place].process else { return Ok(()) };
            let Some(desk) = process.desk.as_deref_mut() else { return Ok(()) };
            let first = process.host.replica().last().offset.next();
            if !desk.core.is_master() {
                return Ok(());
            }
            let Some(proposed) = desk.core.take_batch(first) else { return Ok(()) };
            let head = BatchHead {
                epoch: desk.epoch,
                first,
                count: proposed.count,
                time_ms,
                authority: proposed.authority,
                opens_epoch: false,
            };
            let batch = Batch { head, body: proposed.body };
            self.host_alone(place, Event::Appended(batch))?;
        }
    }

    fn open_epoch(&mut self, place: usize, record: &EpochRecord) -> Held {
        self.append(place)?;
        let time_ms = self.unix_ms(place);
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        let first = process.host.replica().last().offset.next();
        let Some(desk) = process.desk.as_deref_mut() else { return Ok(()) };
        let head = BatchHead {
            epoch: record.epoch,
            first,
            count: 1,
            time_ms,
            authority: true,
            opens_epoch: true,
        };
        desk.epoch = record.epoch;
        desk.core.changed_epoch(record.epoch, first);
        let batch = Batch { head, body: Bytes::from(record.encode()) };
        self.host_alone(place, Event::Appended(batch))
    }

    fn plane_began(&mut self, place: usize) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        desk.serving = true;
        let (directory, at) = (desk.core.directory(), desk.core.committed_revision());
        let acts = desk.master.begin(now, directory, at);
        self.act(place, acts)
    }

    fn plane_ended(&mut self, place: usize) {
        let Some(desk) = self.desk(place) else { return };
        desk.serving = false;
        let lines = std::mem::take(&mut desk.lines);
        for (line, _) in lines.into_values() {
            self.line_breaks(line, true);
        }
    }

    /// Asks the directory something in somebody's name.
    pub(super) fn request(&mut self, place: usize, who: Who, request: Request) {
        let now = self.places[place].clock.read(self.now);
        let Some(desk) = self.desk(place) else { return };
        desk.token += 1;
        desk.asks.insert(desk.token, Ask { since: now, who });
        desk.core.request(now, desk.token, request, &mut desk.out);
    }

    /// Brings replies and notices to whom they are for.
    fn deliver(&mut self, place: usize) -> Held {
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let notices = std::mem::take(&mut desk.out.notices);
        for (token, reply) in std::mem::take(&mut desk.out.replies) {
            let Some(ask) = self.desk(place).and_then(|desk| desk.asks.remove(&token)) else {
                let facts = format!("request {token} is answered again: {reply:?}");
                return Err(Broken { rule: "I19 OneAnswer", facts });
            };
            match ask.who {
                Who::Nobody => {}
                Who::Client(wanted) => self.client_hears(wanted, &reply)?,
                Who::Node { line, call } => self.send_down(line, Down::Reply { call, reply }),
                Who::System(why) => {
                    let asked = Asked::of(Some(&reply));
                    self.push_own(place, WITHIN, Local::Asked(why, asked));
                }
            }
        }
        for (stream, notice) in notices {
            match stream {
                SYSTEM_STREAM => self.push_own(place, WITHIN, Local::Noticed(notice)),
                StreamId(line) => self.send_down(line, Down::Watched(notice)),
            }
        }
        Ok(())
    }

    /// Performs what groups' judges and the planner want.
    pub(super) fn act(&mut self, place: usize, acts: Vec<Act>) -> Held {
        for act in acts {
            match act {
                Act::Propose(why, op) => {
                    self.rests(&why, &op)?;
                    let request = Request::Propose { op, system: true };
                    self.request(place, Who::System(why), request);
                }
                Act::Watch(start) => self.watch_system(place, start),
                Act::Noted(group, effect) => self.noted(place, &group, effect)?,
                Act::Tell { to, group, told } => {
                    let line = self.desk(place).and_then(|desk| desk.lines.get(&to));
                    if let Some((line, _)) = line.cloned() {
                        self.send_down(line, Down::Told(group, told));
                    }
                }
            }
        }
        Ok(())
    }

    /// I20: what a group's judge asks for rests on a committed record.
    fn rests(&mut self, why: &Why, op: &Op) -> Held {
        let (Why::Judge(group, expected), Op::Txn(txn)) = (why, op) else { return Ok(()) };
        let Some(TxnOp::Put(put)) = txn.success.first() else { return Ok(()) };
        let log = self.logs.iter().find(|log| log.group == *group);
        match (log, keys::decode_group(&put.value)) {
            (Some(log), Ok(record)) => log.witness.rests_on(*expected, &record),
            _ => {
                let facts = format!("{group} has no record");
                Err(Broken { rule: "I20 Committed effects", facts })
            }
        }
    }

    fn noted(
        &mut self,
        place: usize,
        group: &cairn_logic::ids::GroupId,
        effect: JudgeEffect,
    ) -> Held {
        let Some(log) = self.logs.iter().position(|log| log.group == *group) else {
            return Ok(());
        };
        let who = format!("{} of {group}", self.places[place].id);
        self.judge_says(log, &who, effect)
    }

    fn watch_system(&mut self, place: usize, start: Revision) {
        let Some(desk) = self.desk(place) else { return };
        desk.out.streams.insert(SYSTEM_STREAM);
        let (id, before) = (desk.watches + 1, desk.watches);
        desk.watches = id;
        let cancel = Request::CancelWatch { stream: SYSTEM_STREAM, id: before };
        self.request(place, Who::Nobody, cancel);
        let range = KeyRange::prefix(keys::PREFIX);
        let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
        let (stream, start) = (SYSTEM_STREAM, Some(start));
        let request = Request::Watch { stream, id, wish, start, progress: false };
        self.request(place, Who::Nobody, request);
    }

    /// The system's watch says something.
    pub(super) fn noticed(&mut self, place: usize, notice: Notice) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        match notice {
            Notice::Events { watches, revision, events } => {
                if !watches.contains(&desk.watches) || !desk.serving {
                    return Ok(());
                }
                let acts = desk.master.changed(now, revision, &events);
                self.act(place, acts)?;
                self.plan_groups(place)?;
            }
            Notice::Cancelled { .. } => {
                let (directory, at) = (desk.core.directory(), desk.core.committed_revision());
                let acts = desk.master.read(now, directory, at);
                self.act(place, acts)?;
            }
            Notice::Progress { .. } => {}
        }
        self.settle(place)
    }

    pub(super) fn was_asked(&mut self, place: usize, why: Why, asked: Asked) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let acts = desk.master.was_asked(now, why, asked);
        self.act(place, acts)?;
        self.settle(place)
    }

    fn plan_groups(&mut self, place: usize) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        if !desk.serving || !desk.core.is_master() {
            return Ok(());
        }
        let claim = desk.core.directory().revision().next();
        let acts = desk.master.plan(now, claim);
        self.act(place, acts)
    }

    /// A wish for a group, or a hint for all judges.
    pub(super) fn desk_wish(
        &mut self,
        place: usize,
        (group, input): &(Option<cairn_logic::ids::GroupId>, JudgeInput),
    ) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let serving = desk.serving;
        let acts = match group {
            _ if !serving => Vec::new(),
            Some(group) => desk.master.tell(now, group, input.clone()),
            None => desk.master.tell_all(now, input),
        };
        self.act(place, acts)?;
        if matches!(input, JudgeInput::Hint(Hint::Gone(_))) {
            self.judge(place, input.clone())?;
        }
        self.settle(place)
    }

    /// What a global node does every few milliseconds beside its host's tick.
    pub(super) fn tick_desk(&mut self, place: usize) -> Held {
        let (now, world_now) = (self.both_clocks(place), self.now);
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        let committed = process.host.replica().committed();
        let loaded = committed > Offset::ZERO && process.host.applied() >= committed;
        let Some(desk) = process.desk.as_deref_mut() else { return Ok(()) };
        desk.core.tick(now.monotonic, &mut desk.out);
        if loaded && !desk.serving {
            desk.core.loaded(&mut desk.out);
        }
        self.settle(place)?;
        self.is_bounded(place)?;
        let Some(desk) = self.desk(place) else { return Ok(()) };
        if desk.serving {
            let acts = desk.master.tell_all(now, &JudgeInput::Tick);
            let due = world_now >= desk.planned_at;
            self.act(place, acts)?;
            if due {
                let wait = self.rng.between(100, 300) * MS;
                if let Some(desk) = self.desk(place) {
                    desk.planned_at = world_now + wait;
                }
                self.plan_groups(place)?;
                self.tend_members(place)?;
            }
            self.keep_history(place);
        }
        self.settle(place)
    }

    /// L2 Bounded: after a tick nothing waits longer than its bound.
    fn is_bounded(&mut self, place: usize) -> Held {
        let now = self.places[place].clock.read(self.now);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let late = desk.asks.iter().find(|(_, ask)| now.since(ask.since) > COMMIT_WAIT_MAX);
        match late {
            None => Ok(()),
            Some((token, ask)) => {
                let facts = format!("request {token} waits: {:?}", ask.who);
                Err(Broken { rule: "L2 Bounded", facts })
            }
        }
    }

    /// What judges decided goes into the directory, for people.
    fn keep_history(&mut self, place: usize) {
        let Some(desk) = self.desk(place) else { return };
        for (group, made) in desk.master.transitions() {
            let op = planning::remember(&group, &made);
            let request = Request::Propose { op, system: true };
            self.request(place, Who::System(Why::History), request);
        }
    }

    /// Which global nodes follow without counting, and that they count again.
    fn tend_members(&mut self, place: usize) -> Held {
        let globals = (0..self.scenario.globals).filter(|at| *at != place);
        let reached = |at: &usize| {
            self.places[*at].up && self.links.works(place, *at) && self.links.works(*at, place)
        };
        let member = |at: usize| {
            let sender = self.places[at].sender();
            Member {
                id: sender.id,
                incarnation: sender.incarnation,
                role: Role::Replica,
                zone: None,
            }
        };
        let present = globals.filter(reached).map(member).collect();
        let Some(process) = &self.places[place].process else { return Ok(()) };
        let (Some(record), Some(desk)) = (process.host.replica().record(), &process.desk) else {
            return Ok(());
        };
        let (outside, wish) = members_wish(record, present, &desk.leaving);
        self.host(place, Event::Learners(outside))?;
        self.host(place, Event::Wish(wish))
    }

    /// Takes note of whether a global node is being stopped, from its reports.
    pub(super) fn may_leave(&mut self, place: usize, input: &JudgeInput) -> Held {
        let JudgeInput::Report { from, report } = input else { return Ok(()) };
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let changed = match report.relief {
            Some(Relief::Stopping) => desk.leaving.insert(from.id.clone()),
            _ => desk.leaving.remove(&from.id),
        };
        if changed && desk.serving { self.tend_members(place) } else { Ok(()) }
    }

    /// Keeps the flushed bound above every revision in use.
    pub(super) fn reserve_revisions(&mut self, place: usize) -> Held {
        let Some(process) = &self.places[place].process else { return Ok(()) };
        let Some(desk) = &process.desk else { return Ok(()) };
        let used = desk.core.directory().revision().0;
        if !process.host.has_begun()
            || used + RESERVED_AHEAD / 2 <= process.host.replica().vote().reserved
        {
            return Ok(());
        }
        self.host(place, Event::Reserve(used + RESERVED_AHEAD))
    }

    /// A client of the directory, on any global node.
    pub(super) fn serve_directory(&mut self, place: usize, op: ClientOp) -> Held {
        let (serial, key) = (self.serial, self.rng.below(KEYS));
        let (wanted, request) = match op {
            ClientOp::Write => self.some_write(serial, key),
            ClientOp::Read { began } => {
                let query = RangeQuery::all(KeyRange::prefix(super::truth::CLIENTS));
                let request = Request::Range { query, serializable: false };
                (Wanted::Read { began: began.0 }, request)
            }
            ClientOp::Stale => {
                let query = RangeQuery::all(KeyRange::prefix(super::truth::CLIENTS));
                (Wanted::Stale, Request::Range { query, serializable: true })
            }
        };
        self.request(place, Who::Client(wanted), request);
        self.settle(place)
    }

    /// A put, a change of what the client has seen, or something about leases.
    fn some_write(&mut self, serial: u64, key: u64) -> (Wanted, Request) {
        let name = client_key(key);
        let value = Bytes::copy_from_slice(&serial.to_le_bytes());
        let wanted = Wanted::Write { serial, key };
        let lease = LeaseId(i64::try_from(1 + self.rng.below(4)).expect("few"));
        let seen = self.truth.get(name.as_bytes()).map_or(0, |kv| kv.version);
        let propose = |op| Request::Propose { op, system: false };
        match self.rng.below(12) {
            0..=6 => (wanted, propose(Op::Put(Put::new(name, value)))),
            7..=8 => {
                let compare = vec![Compare {
                    range: KeyRange::single(name.clone()),
                    relation: Relation::Equal,
                    target: Target::Version(i64::try_from(seen).unwrap_or(i64::MAX)),
                }];
                let success = vec![TxnOp::Put(Put::new(name, value))];
                (wanted, propose(Op::Txn(Txn { compare, success, failure: Vec::new() })))
            }
            9 => {
                let put = Put { lease, ..Put::new(name, value) };
                (wanted, propose(Op::Put(put)))
            }
            10 => {
                let ttl_secs = self.rng.between(1, 3);
                (Wanted::Lease, Request::Grant { id: Some(lease), ttl_secs, system: false })
            }
            _ => (Wanted::Lease, Request::KeepAlive { id: lease }),
        }
    }

    /// The operator writes what is wanted of a keyspace, wherever the global master is.
    pub(super) fn configure(&mut self, place: usize, key: String, value: Vec<u8>) -> Held {
        let put = Put::new(key, value);
        let request = Request::Propose { op: Op::Put(put), system: true };
        self.request(place, Who::Nobody, request);
        self.settle(place)
    }
}

/// Whether a transaction succeeded.
pub(super) fn succeeded(response: &Response) -> bool {
    matches!(response, Response::Answer(Answer::Txn { succeeded: true, .. }))
}
