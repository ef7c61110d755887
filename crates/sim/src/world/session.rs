//! A data node's session with the global master: registration, lease, watch, line, records.

use super::desk::succeeded;
use super::{Ev, MS, World};
use crate::desk::Who;
use crate::place::{Down, Local, OnLine, Up, Where};
use crate::scenario::{Scenario, WorldKind};
use crate::session::{Call, Phase, Session};
use cairn_directory::core::{Reply, Request, Response};
use cairn_directory::op::{Compare, Op, Put, RangeQuery, Relation, Target, Txn, TxnOp};
use cairn_directory::watch::{Notice, StreamId, Wish};
use cairn_directory::{Answer, EventKind, KeyRange, LeaseId};
use cairn_global::{Changed, Told};
use cairn_host::Event;
use cairn_logic::ids::{GroupId, Life, Version};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::judge::JudgeInput;
use cairn_logic::message::Sender;
use cairn_logic::record::{Member, Record};
use cairn_settings::directory_keys::{self as keys, Alive, Claim, NodeInfo};
use cairn_settings::{Addresses, NodeRole};
use keys::{KeyspaceConfig, PoolConfig};

/// The node lease: its length as granted, and after which silence a session is over.
const LEASE_SECS: u64 = 2;
const LEASE: u64 = LEASE_SECS * 1000 * MS;
/// For how long a member may be away, and a group keeps a node that it no longer needs.
const REPLACE_AFTER_MS: u64 = 1500;
/// The shortest and longest waits between two looks for the master.
const RETRY: (u64, u64) = (20 * MS, 600 * MS);
/// Answers to the question who is master are waited for so long.
const WHERE: u64 = 60 * MS;
/// A registration and the first reading take no longer.
const OPENING_MAX: u64 = 2000 * MS;
/// Tries of a registration that others change meanwhile.
const REGISTER_TRIES: u32 = 5;

impl World {
    /// Whether this is a data node of a cluster.
    pub(super) fn has_session(&self, place: usize) -> bool {
        let nodes = self.scenario.globals..self.scenario.nodes;
        self.scenario.kind == WorldKind::Cluster && nodes.contains(&place)
    }

    pub(super) fn begin_session(&mut self, place: usize) {
        if self.has_session(place) {
            self.places[place].session = Some(Box::new(Session::new(self.now, RETRY.0)));
        }
    }

    fn session(&mut self, place: usize) -> Option<&mut Session> {
        self.places[place].session.as_deref_mut()
    }

    pub(super) fn tick_session(&mut self, place: usize) -> Held {
        let now = self.now;
        let Some(session) = self.session(place) else { return Ok(()) };
        match session.phase {
            Phase::Resting(until) if now >= until => {
                session.phase = Phase::Seeking { until: now + WHERE, best: None };
                for global in 0..self.scenario.globals {
                    self.transmit(place, global, Local::Where(Where::Asked { from: place }));
                }
            }
            Phase::Seeking { until, best } if now >= until => match best {
                Some((_, master)) => self.open_session(place, master),
                None => self.session_rests(place),
            },
            Phase::Opening(since) if now - since > OPENING_MAX => self.session_ends(place),
            Phase::Open if now - session.kept > LEASE => self.session_ends(place),
            Phase::Open if now >= session.beat => {
                session.beat = now + LEASE / 4;
                let id = session.lease;
                self.call(place, Call::KeepAlive, Request::KeepAlive { id });
            }
            _ => {}
        }
        Ok(())
    }

    /// Somebody asks who is global master, or says so.
    pub(super) fn where_asked(&mut self, place: usize, what: Where) -> Held {
        match what {
            Where::Asked { from } => {
                let Some(desk) = self.desk(place).filter(|desk| desk.serving) else {
                    return Ok(());
                };
                let epoch = desk.epoch;
                self.transmit(place, from, Local::Where(Where::Here { place, epoch }));
            }
            Where::Here { place: master, epoch } => {
                let Some(session) = self.session(place) else { return Ok(()) };
                if let Phase::Seeking { best, .. } = &mut session.phase {
                    *best = (*best).max(Some((epoch, master)));
                }
            }
        }
        Ok(())
    }

    fn open_session(&mut self, place: usize, master: usize) {
        let line = self.open_line(place, master);
        let (now, me) = (self.now, self.places[place].sender());
        let Some(session) = self.session(place) else { return };
        session.phase = Phase::Opening(now);
        (session.line, session.tries, session.lease) = (line, 0, LeaseId::NONE);
        session.calls.clear();
        self.send_up(line, Up::Open(me));
        let request = Request::Grant { id: None, ttl_secs: LEASE_SECS, system: true };
        self.call(place, Call::Grant, request);
    }

    /// The session is over; the node looks for the master again.
    fn session_ends(&mut self, place: usize) {
        let Some(session) = self.session(place) else { return };
        let line = std::mem::take(&mut session.line);
        session.calls.clear();
        self.line_breaks(line, true);
        self.session_rests(place);
    }

    fn session_rests(&mut self, place: usize) {
        let now = self.now;
        let Some(session) = self.session(place) else { return };
        session.phase = Phase::Resting(now + session.wait);
        session.wait = (session.wait * 2).min(RETRY.1);
    }

    fn call(&mut self, place: usize, why: Call, request: Request) {
        let Some(session) = self.session(place) else { return };
        session.next += 1;
        let (line, call) = (session.line, session.next);
        session.calls.insert(call, why);
        self.send_up(line, Up::Call { call, request });
    }

    /// Reports and answers go up the line once the node is registered: a master that is none any
    /// more cannot register anybody, so it hears nothing of what its follower did.
    pub(super) fn say_up(&mut self, place: usize, up: Up) {
        let session = self.session(place).filter(|session| session.phase == Phase::Open);
        let line = session.map_or(0, |session| session.line);
        self.send_up(line, up);
    }

    /// A master's change of its group's record: whoever joins must hold its claim.
    pub(super) fn swap_group(&mut self, place: usize, expected: Version, record: Record) {
        let (Some(key), Some(group)) = (self.group_key(place), self.group_of(place)) else {
            return;
        };
        let Some(session) = self.session(place) else { return };
        if session.phase != Phase::Open {
            return;
        }
        let known = session.view.groups.get(&group).cloned();
        let joins = |m: &&Member| known.as_ref().is_none_or(|k| !k.names(&m.id, m.incarnation));
        let mut compare = vec![version_is(&key, expected.0)];
        for member in record.members.iter().filter(joins) {
            let node = keys::node_key(&member.id);
            let info = session.view.nodes.get(&member.id);
            let claimed = info.is_some_and(|info| info.is_claimed_by(&group, member.incarnation));
            if !claimed {
                self.call(place, Call::Refuse(expected), read(KeyRange::single(key)));
                return;
            }
            compare.push(version_is(&node, session.view.version(&node)));
        }
        let success = vec![TxnOp::Put(Put::new(key, keys::encode_group(&record)))];
        let op = Op::Txn(Txn { compare, success, failure: Vec::new() });
        let request = Request::Propose { op, system: true };
        self.call(place, Call::Swap(Box::new(record)), request);
    }

    pub(super) fn read_group(&mut self, place: usize) {
        let Some(key) = self.group_key(place) else { return };
        if self.session(place).is_some_and(|session| session.phase == Phase::Open) {
            self.call(place, Call::Record, read(KeyRange::single(key)));
        }
    }

    fn group_key(&self, place: usize) -> Option<String> {
        let log = self.places[place].log?;
        Some(keys::group_key(&self.logs[log].group))
    }

    /// Something came over a line.
    pub(super) fn line_says(&mut self, place: usize, line: u64, what: OnLine) -> Held {
        if !self.has_session(place) {
            return self.master_hears(place, line, what);
        }
        if self.session(place).is_none_or(|session| session.line != line) {
            return Ok(());
        }
        match what {
            OnLine::Down(Down::Reply { call, reply }) => {
                let why = self.session(place).and_then(|session| session.calls.remove(&call));
                match (why, reply) {
                    (None, _) => Ok(()),
                    (Some(why), Ok(reply)) => self.called(place, why, &reply),
                    (Some(_), Err(_)) => {
                        self.session_ends(place);
                        Ok(())
                    }
                }
            }
            OnLine::Down(Down::Watched(notice)) => self.watched(place, notice),
            OnLine::Down(Down::Told(group, told)) => self.told(place, &group, told),
            OnLine::Lost => {
                self.session_ends(place);
                Ok(())
            }
            OnLine::Up(_) => Ok(()),
        }
    }

    /// A call was answered.
    fn called(&mut self, place: usize, why: Call, reply: &Reply) -> Held {
        let (key, now) = (keys::node_key(&self.places[place].id), self.now);
        let Some(session) = self.session(place) else { return Ok(()) };
        match (why, &reply.response) {
            (Call::Grant, Response::Answer(Answer::Lease { id, .. })) => {
                session.lease = *id;
                self.call(place, Call::Own, read(KeyRange::single(key)));
            }
            (Call::Own, Response::Range(found)) => {
                let kv = found.kvs.first().cloned();
                let version = kv.as_ref().map_or(0, |kv| kv.version);
                let old = kv.and_then(|kv| NodeInfo::decode(&kv.value).ok());
                self.register(place, old, version);
            }
            (Call::Register, response) if succeeded(response) => {
                self.call(place, Call::All, read(KeyRange::prefix(keys::PREFIX)));
            }
            (Call::Register, _) if session.tries < REGISTER_TRIES => {
                session.tries += 1;
                self.call(place, Call::Own, read(KeyRange::single(key)));
            }
            (Call::All, Response::Range(found)) => {
                session.view = Default::default();
                for kv in &found.kvs {
                    let value = Some((kv.value.to_vec(), kv.version));
                    session.view.change(&Changed { key: kv.key.to_vec(), value });
                }
                (session.phase, session.wait) = (Phase::Open, RETRY.0);
                (session.kept, session.beat) = (now, now + LEASE / 4);
                let (line, start) = (session.line, Some(reply.revision.next()));
                let range = KeyRange::prefix(keys::PREFIX);
                let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
                let stream = StreamId(line);
                let request = Request::Watch { stream, id: 1, wish, start, progress: false };
                self.call(place, Call::Watch, request);
                return self.use_view(place);
            }
            (Call::Watch, Response::Watching) => {}
            (Call::KeepAlive, Response::KeptAlive { ttl_secs }) if *ttl_secs > 0 => {
                session.kept = now;
            }
            (Call::Swap(record), response) if succeeded(response) => {
                return self.saw_record(place, *record);
            }
            (Call::Swap(_), _) => self.read_group(place),
            (Call::Refuse(expected), Response::Range(found)) => {
                let record = found.kvs.first().map(|kv| keys::decode_group(&kv.value));
                return match record {
                    Some(Ok(record)) if record.version == expected => {
                        self.host(place, Event::Refused(expected))
                    }
                    Some(Ok(record)) => self.saw_record(place, record),
                    Some(Err(_)) | None => Ok(()),
                };
            }
            (Call::Record, Response::Range(found)) => {
                let record = found.kvs.first().map(|kv| keys::decode_group(&kv.value));
                if let Some(Ok(record)) = record {
                    return self.saw_record(place, record);
                }
            }
            _ => self.session_ends(place),
        }
        Ok(())
    }

    /// Says who this node is, keeping the claim of its folder, and that it is alive.
    fn register(&mut self, place: usize, old: Option<NodeInfo>, version: u64) {
        let me = self.places[place].sender();
        let process = self.places[place].process.as_ref();
        let life = process.map_or(Life(0), |process| process.host.replica().vote().life);
        let claim = match old {
            Some(old) if old.incarnation == me.incarnation => old.claim,
            _ => Claim::Idle,
        };
        let info = NodeInfo {
            incarnation: me.incarnation,
            life,
            role: NodeRole::Data,
            addresses: Addresses::default(),
            zone: self.scenario.zone(place),
            machine: Some(machine_of(place)),
            preferred_keyspace: None,
            preferred_group: None,
            pool: None,
            priority: 0,
            make: keys::Make { version: "1".to_owned(), ..Default::default() },
            claim,
        };
        let key = keys::node_key(&me.id);
        let compare = version_is(&key, version);
        let Some(session) = self.session(place) else { return };
        let alive = Alive { incarnation: me.incarnation, life };
        let alive =
            Put { lease: session.lease, ..Put::new(keys::alive_key(&me.id), alive.encode()) };
        let success = vec![TxnOp::Put(Put::new(key, info.encode())), TxnOp::Put(alive)];
        let txn = Txn { compare: vec![compare], success, failure: Vec::new() };
        let request = Request::Propose { op: Op::Txn(txn), system: true };
        self.call(place, Call::Register, request);
    }

    fn watched(&mut self, place: usize, notice: Notice) -> Held {
        let Some(session) = self.session(place) else { return Ok(()) };
        match notice {
            Notice::Events { events, .. } => {
                for event in events.iter() {
                    let value = (event.kind == EventKind::Put)
                        .then(|| (event.kv.value.to_vec(), event.kv.version));
                    session.view.change(&Changed { key: event.kv.key.to_vec(), value });
                }
                self.use_view(place)
            }
            Notice::Cancelled { .. } => {
                self.session_ends(place);
                Ok(())
            }
            Notice::Progress { .. } => Ok(()),
        }
    }

    /// Joins the group that has claimed this folder, and shows its host the group's record.
    fn use_view(&mut self, place: usize) -> Held {
        let me = self.places[place].sender();
        let mine = self.group_of(place);
        let Some(session) = self.session(place) else { return Ok(()) };
        let info = session.view.nodes.get(&me.id).filter(|n| n.incarnation == me.incarnation);
        if info.is_some_and(|info| matches!(info.claim, Claim::Releasing { .. })) {
            self.push_own(place, MS, Local::Release);
            return Ok(());
        }
        if let Some(Claim::Claimed { group, .. }) = info.map(|info| info.claim.clone()) {
            match &mine {
                Some(mine) if *mine == group => {}
                Some(mine) => {
                    let facts = format!("{} is of {mine} and claimed by {group}", me.id);
                    return Err(Broken { rule: "I16 NoReuse", facts });
                }
                None => {
                    let log = self.logs.iter().position(|log| log.group == group);
                    self.places[place].log = log;
                    self.note(|| format!("{} joins {:?}", me.id, log));
                    self.join(place)?;
                }
            }
        }
        let Some(group) = self.group_of(place) else { return Ok(()) };
        let Some(session) = self.session(place) else { return Ok(()) };
        match session.view.groups.get(&group).filter(|record| record.version > session.record) {
            Some(record) => {
                let record = record.clone();
                self.saw_record(place, record)
            }
            None => Ok(()),
        }
    }

    fn group_of(&self, place: usize) -> Option<GroupId> {
        self.places[place].log.map(|log| self.logs[log].group.clone())
    }

    fn saw_record(&mut self, place: usize, record: Record) -> Held {
        if let Some(session) = self.session(place) {
            session.record = session.record.max(record.version);
        }
        self.host(place, Event::Record(record))
    }

    /// The group's judge, or the planner, says something.
    fn told(&mut self, place: usize, group: &GroupId, told: Told) -> Held {
        if self.group_of(place).as_ref() != Some(group) {
            return Ok(());
        }
        match told {
            Told::Order(order) => self.host(place, Event::Order(order)),
            Told::Plan(plan) => {
                self.host(place, Event::Learners(plan.learners))?;
                self.host(place, Event::Wish(plan.wish))
            }
        }
    }

    /// A global node hears something on a line.
    fn master_hears(&mut self, place: usize, line: u64, what: OnLine) -> Held {
        match what {
            OnLine::Up(Up::Open(sender)) => self.line_opens(place, line, sender),
            OnLine::Up(Up::Call { call, request }) => {
                if let (Request::Watch { stream, .. }, Some(desk)) = (&request, self.desk(place)) {
                    desk.out.streams.insert(*stream);
                }
                self.request(place, Who::Node { line, call }, request);
            }
            OnLine::Up(Up::Report(report)) => {
                return self.group_hears(place, line, |from| JudgeInput::Report { from, report });
            }
            OnLine::Up(Up::Answer(answer)) => {
                return self.group_hears(place, line, |from| JudgeInput::Answer { from, answer });
            }
            OnLine::Lost => return self.line_lost(place, line),
            OnLine::Down(_) => {}
        }
        self.settle(place)
    }

    fn line_opens(&mut self, place: usize, line: u64, sender: Sender) {
        let Some(desk) = self.desk(place) else { return };
        if desk.serving {
            desk.lines.insert(sender.id.clone(), (line, sender));
        } else {
            self.line_breaks(line, true);
        }
    }

    fn group_hears(
        &mut self,
        place: usize,
        line: u64,
        input: impl FnOnce(Sender) -> JudgeInput,
    ) -> Held {
        let group = self.node_of_line(line).and_then(|node| self.group_of(node));
        let now = self.both_clocks(place);
        let (Some(desk), Some(group)) = (self.desk(place), group) else { return Ok(()) };
        let from = desk.lines.values().find(|(known, _)| *known == line);
        let (Some((_, from)), true) = (from.cloned(), desk.serving) else { return Ok(()) };
        let acts = desk.master.tell(now, &group, input(from));
        self.act(place, acts)?;
        self.settle(place)
    }

    fn line_lost(&mut self, place: usize, line: u64) -> Held {
        let now = self.both_clocks(place);
        let Some(desk) = self.desk(place) else { return Ok(()) };
        let stream = StreamId(line);
        desk.out.streams.remove(&stream);
        let gone = desk.lines.iter().find(|(_, (known, _))| *known == line);
        let gone = gone.map(|(id, _)| id.clone());
        let mut acts = Vec::new();
        if let Some(id) = gone {
            desk.lines.remove(&id);
            acts = desk.master.tell_all(now, &JudgeInput::Gone(id));
        }
        self.act(place, acts)?;
        self.request(place, Who::Nobody, Request::CloseStream { stream });
        self.settle(place)
    }

    /// What is configured of a group's keyspace.
    pub(super) fn config_of(&self, group: &GroupId) -> Option<KeyspaceConfig> {
        let key = keys::keyspace_key(keys::keyspace_of(group)?);
        let kv = self.truth.get(key.as_bytes())?;
        KeyspaceConfig::decode(&kv.value).ok()
    }

    /// The operator: what is wanted of each keyspace is written until the directory says so; and
    /// that members are waited for no longer than a world can bear.
    pub(super) fn operate(&mut self) {
        let (size_class, replace_after_ms) = (String::new(), REPLACE_AFTER_MS);
        let pool =
            PoolConfig { size: 1, size_class, idle_min: 0, min_idle_per_zone: 0, replace_after_ms };
        self.write(keys::pool_key("pool"), pool.encode());
        for at in 0..self.scenario.keyspaces.len() {
            let mut config = self.scenario.keyspaces[at].clone();
            let name = Scenario::keyspace(at);
            let of_it = |log: &&super::Log| keys::keyspace_of(&log.group) == Some(name);
            if let Some(log) = self.logs[1..].iter().find(of_it) {
                let asked = log.asked;
                (config.replicas, config.backups) = (asked.replicas, asked.backups);
                (config.ack, config.durability) = (asked.mode.rule, asked.mode.durability);
            }
            self.write(keys::keyspace_key(name), config.encode());
        }
    }

    fn write(&mut self, key: String, value: Vec<u8>) {
        if self.truth.get(key.as_bytes()).is_some_and(|kv| kv.value == value) {
            return;
        }
        for place in 0..self.scenario.globals {
            let after = self.latency();
            let what = Local::Configure { key: key.clone(), value: value.clone() };
            self.push(after, Ev::Local { place, generation: None, what });
        }
    }

    /// Members that a group may be asked to have: what others hold or want is theirs, for a
    /// claimed node stays claimed.
    pub(super) fn most_members(&self, log: usize) -> u8 {
        let data = self.scenario.globals..self.scenario.nodes;
        let mut free = data.len();
        for (at, other) in self.logs.iter().enumerate().skip(1).filter(|(at, _)| *at != log) {
            let held = data.clone().filter(|place| self.claimed_by(*place) == Some(at)).count();
            free = free.saturating_sub(held.max(usize::from(other.asked.mode.wanted)));
        }
        u8::try_from(free).unwrap_or(2).clamp(2, 5)
    }

    /// The log of the group that holds a claim of the folder at `place`.
    fn claimed_by(&self, place: usize) -> Option<usize> {
        let me = self.places[place].sender();
        let kv = self.truth.get(keys::node_key(&me.id).as_bytes())?;
        let info = NodeInfo::decode(&kv.value).ok()?;
        match info.claim {
            Claim::Claimed { group, .. } if info.incarnation == me.incarnation => {
                self.logs.iter().position(|log| log.group == group)
            }
            _ => None,
        }
    }
}

fn version_is(key: &str, version: u64) -> Compare {
    Compare {
        range: KeyRange::single(key.to_owned()),
        relation: Relation::Equal,
        target: Target::Version(i64::try_from(version).unwrap_or(i64::MAX)),
    }
}

fn read(range: KeyRange) -> Request {
    Request::Range { query: RangeQuery::all(range), serializable: false }
}

/// Data nodes are on a few machines, by turns, for the planner to spread masters over.
pub(super) fn machine_of(place: usize) -> String {
    format!("machine-{}", place % 3)
}
