//! A member of a group of this world.

use super::{Line, Town};
use cairn_global::View;
use cairn_global::moving;
use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Export, Keyspace, Verb, entries_about};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset, Slot};
use cairn_logic::moves::{
    Duty, Facts, Move, MoveId, Order, Phase, Source, SourceEffect, SourceInput, Target, coming,
    duties,
};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::time::Instant;
use cairn_resp::{ArgsBuf, ReplyBuf};
use std::collections::{BTreeMap, VecDeque};

/// An entry of a group's log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub epoch: Epoch,
    body: Vec<u8>,
    /// The client's write that it is.
    pub write: Option<(Vec<u8>, u64)>,
}

/// A part of what a move brings.
pub(super) struct Frame {
    begins: bool,
    number: u64,
    entries: Vec<u8>,
    covers: Offset,
}

/// What a source hands over in one try.
struct Carrying {
    id: MoveId,
    order: Order,
    slots: (Slot, Slot),
    /// What the slots held, after this entry.
    at: usize,
    copied: Option<Vec<u8>>,
    /// Entries up to this one are told.
    told: usize,
    /// Frames so far.
    sent: u64,
}

/// A try that is to be carried: of which move, to whom, beginning with what.
type Opens = (MoveId, Order, usize, VecDeque<Frame>);

pub(super) struct Member {
    at: usize,
    group: GroupId,
    pub log: Vec<Entry>,
    /// The epoch of its log's end as a follower, and how far it equals its master's.
    verified: (Epoch, usize),
    pub keyspace: Keyspace,
    pub applied: usize,
    pub committed: usize,
    /// Set while it believes that it is master.
    pub epoch: Option<Epoch>,
    pub view: View,
    pub seen: usize,
    source: Option<(Move, Source)>,
    carrying: Option<Carrying>,
    incoming: BTreeMap<MoveId, Target>,
    slots_written: usize,
}

/// The state after these entries.
pub(super) fn replay(log: &[Entry]) -> Keyspace {
    let mut keyspace = Keyspace::new(1);
    for (at, entry) in log.iter().enumerate() {
        let applied = keyspace.apply(&entry.body, Offset(at as u64 + 1));
        applied.expect("what a master wrote is applied");
    }
    keyspace
}

fn ask(keyspace: &mut Keyspace, log: &mut EffectLog, args: &[&[u8]]) -> Vec<u8> {
    let args: ArgsBuf = args.iter().copied().collect();
    let (mut reply, ctx) =
        (ReplyBuf::default(), Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 20 });
    let command = lookup(args.as_args().name()).expect("it is a command");
    keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, log);
    reply.as_bytes().to_vec()
}

/// The numbers in a list.
pub(super) fn list(keyspace: &Keyspace, key: &[u8]) -> Vec<u64> {
    let slot = cairn_keyspace::slot_of(key).get();
    let mut export = Export::of((slot, slot), 1 << 30);
    export.advance(keyspace, EntryId::ZERO, usize::MAX);
    let mut found = Vec::new();
    for (_, portion) in export.take() {
        let read = cairn_keyspace::commands_of(&portion.records, |of, words| {
            let numbers = words.iter().skip(2).filter_map(|word| std::str::from_utf8(word).ok());
            if of == key && words.first() == Some(&&b"RPUSH"[..]) {
                found.extend(numbers.filter_map(|number| number.parse::<u64>().ok()));
            }
        });
        read.expect("what was exported is read");
    }
    found
}

impl Member {
    pub fn new(at: usize, town: &Town) -> Self {
        let mut view = View::default();
        town.history.iter().flatten().for_each(|changed| view.change(changed));
        Self {
            at,
            group: GroupId::new(format!("t-{}", at / 2)),
            log: Vec::new(),
            verified: (Epoch(1), 0),
            keyspace: Keyspace::new(1),
            applied: 0,
            committed: 0,
            epoch: at.is_multiple_of(2).then_some(Epoch(1)),
            view,
            seen: town.history.len(),
            source: None,
            carrying: None,
            incoming: BTreeMap::new(),
            slots_written: 0,
        }
    }

    fn moves(&self) -> Vec<Move> {
        self.view.moves.get("t").map_or(Vec::new(), |moves| moves.all().to_vec())
    }

    /// Whether its routes give its group the slot.
    pub fn owns(&self, slot: Slot) -> bool {
        self.view.slots["t"].owner(slot) == Some(&self.group)
    }

    pub fn list(&self, key: &[u8]) -> Vec<u64> {
        list(&self.keyspace, key)
    }

    /// Whether it holds slots.
    pub fn is_holding(&self) -> bool {
        self.source.as_ref().is_some_and(|(_, source)| source.holds())
    }

    /// Whether it answers commands on the slot as a master.
    pub fn may_serve(&self, slot: Slot, write: bool) -> bool {
        let held = self.source.as_ref().is_some_and(|(it, source)| it.has(slot) && source.holds());
        let held = held && (write || !broken(Mutant::ReadsInHold));
        self.epoch.is_some() && self.owns(slot) && !held && !self.keyspace.is_hidden(slot)
    }

    /// Does something as a master, and appends it.
    fn append(
        &mut self,
        write: Option<(Vec<u8>, u64)>,
        work: impl FnOnce(&mut Keyspace, &mut EffectLog),
    ) {
        let Some(epoch) = self.epoch else { return };
        let mut log = EffectLog::new(Offset(self.log.len() as u64 + 1));
        work(&mut self.keyspace, &mut log);
        if let Some(entries) = log.take() {
            assert_eq!(entries.count, 1, "one entry at a time");
            self.log.push(Entry { epoch, body: entries.body, write });
            self.applied = self.log.len();
        }
        drop(self.keyspace.take_trash());
    }

    pub fn write(&mut self, key: &[u8], serial: u64) {
        let text = serial.to_string();
        self.append(Some((key.to_vec(), serial)), |keyspace, log| {
            ask(keyspace, log, &[b"RPUSH", key, text.as_bytes()]);
        });
    }

    /// Takes up to `most` entries of a master's log, and cuts what differs.
    pub fn follows(&mut self, from: &[Entry], epoch: Epoch, most: usize) {
        if self.epoch.is_some_and(|mine| mine < epoch) {
            self.steps_down();
        }
        let same = self.log.iter().zip(from).take_while(|(a, b)| a == b).count();
        if same < self.log.len() && self.verified.0 < epoch {
            self.log.truncate(same);
            if self.applied > same {
                (self.keyspace, self.applied) = (replay(&self.log), same);
            }
        }
        if same < self.log.len() {
            return;
        }
        let more = from.get(same..).unwrap_or_default().iter().take(most).cloned();
        self.log.extend(more);
        self.verified = (epoch, self.log.len());
    }

    /// Applies what is committed; how much that is.
    pub fn applies(&mut self, committed: usize) -> usize {
        let to = committed.min(self.verified.1).min(self.log.len());
        while self.epoch.is_none() && self.applied < to {
            let (offset, entry) = (Offset(self.applied as u64 + 1), &self.log[self.applied]);
            self.keyspace.apply(&entry.body, offset).expect("it follows");
            self.applied += 1;
        }
        drop(self.keyspace.take_trash());
        committed
    }

    pub fn verified(&self, epoch: Epoch) -> usize {
        if self.verified.0 == epoch { self.verified.1 } else { 0 }
    }

    /// It is chosen: its log is the group's.
    pub fn verify(&mut self, epoch: Epoch) {
        self.verified = (epoch, self.log.len());
    }

    pub fn steps_down(&mut self) {
        self.epoch = None;
        (self.source, self.carrying) = (None, None);
        self.incoming.clear();
    }

    /// A former master hears that it is none.
    pub fn hears(&mut self, sealed: Epoch) {
        if self.epoch.is_some_and(|epoch| epoch < sealed) {
            self.steps_down();
        }
    }

    /// It masters from now on.
    pub fn begins(&mut self, epoch: Epoch, committed: usize) {
        while self.applied < self.log.len() {
            let (offset, entry) = (Offset(self.applied as u64 + 1), &self.log[self.applied]);
            self.keyspace.apply(&entry.body, offset).expect("it follows");
            self.applied += 1;
        }
        (self.epoch, self.committed) = (Some(epoch), committed);
        self.slots_written = self.log.len();
        // The record of the epoch, in short: an entry that changes no data, in no slot.
        let none = (MoveId(0), Slot::try_from(0).expect("the first one"));
        self.append(None, |keyspace, log| {
            keyspace.write_slots(Verb::Show, none.0, (none.1, none.1), log);
        });
    }

    /// Reads up to `most` changes of the directory; how many.
    pub fn reads(
        &mut self,
        town: &mut Town,
        most: usize,
        sealed: Epoch,
        committed: usize,
    ) -> usize {
        let news: Vec<_> = town.history.iter().skip(self.seen).take(most).cloned().collect();
        news.iter().flatten().for_each(|changed| self.view.change(changed));
        self.seen += news.len();
        let record = self.view.groups[&self.group].clone();
        let me = record.master.as_ref().is_some_and(|id| id.as_str() == format!("n-{}", self.at));
        let newer = self.epoch.is_none_or(|mine| mine < record.epoch);
        if me && newer && !record.open && record.epoch == sealed {
            self.steps_down();
            self.begins(record.epoch, committed);
        } else if self.epoch.is_some_and(|mine| mine < record.epoch) {
            self.steps_down();
        }
        self.duties(town);
        news.len()
    }

    /// Writes what follows from what it has read.
    pub fn duties(&mut self, town: &mut Town) {
        if self.epoch.is_none() {
            return;
        }
        let moves = self.moves();
        let copies = |id: &MoveId| moves.iter().any(|it| it.id == *id && it.phase == Phase::Copy);
        self.incoming.retain(|id, _| copies(id));
        for duty in duties(&self.group, &moves, |slot| self.owns(slot), self.keyspace.marks()) {
            let (verb, id) = match duty {
                Duty::Show(id) => (Verb::Show, id),
                Duty::DropImport(id) => (Verb::DropImport, id),
                Duty::DropSource(id) => (Verb::DropSource, id),
                Duty::Forget(id) => {
                    if self.slots_written <= self.committed {
                        moving::forget(&self.view, "t", id)
                            .into_iter()
                            .for_each(|s| town.propose(s));
                    }
                    continue;
                }
            };
            let slots = match verb {
                Verb::DropSource => {
                    moves.iter().find(|it| it.id == id).map(|it| (it.first, it.last))
                }
                _ => self.brought_by(id),
            };
            if let Some(slots) = slots {
                self.write_slots(verb, id, slots);
            }
        }
    }

    /// From the first to the last of the slots that a move brings here.
    fn brought_by(&self, id: MoveId) -> Option<(Slot, Slot)> {
        let marks = self.keyspace.marks().iter();
        let mut brought = marks.filter(|(_, mark)| mark.id == id && !mark.gone);
        let first = *brought.next()?.0;
        Some((first, brought.next_back().map_or(first, |(slot, _)| *slot)))
    }

    fn write_slots(&mut self, verb: Verb, id: MoveId, slots: (Slot, Slot)) {
        self.append(None, |keyspace, log| keyspace.write_slots(verb, id, slots, log));
        self.slots_written = self.log.len();
    }

    /// What its source machine has to hear of what was read.
    pub fn facts(&mut self) -> Vec<SourceInput> {
        let Some(mine) = self.epoch else { return Vec::new() };
        let moves = self.view.moves.get("t").cloned().unwrap_or_default();
        let facts = |it: &Move| {
            let (source, target) = (&self.view.groups[&it.source], &self.view.groups[&it.target]);
            let to = target.master.clone().filter(|_| !target.open);
            let phase = moves.get(it.id).map(|it| it.phase);
            Facts { phase, source: source.epoch, target: target.epoch, to }
        };
        let known = self.source.as_ref().map(|(it, _)| facts(it));
        let current = moves.current(&self.group).cloned();
        match (known, current) {
            (Some(facts), _) if !self.source.as_ref().is_some_and(|(_, it)| it.is_over()) => {
                vec![SourceInput::Read { facts, mine }]
            }
            (_, Some(it)) => {
                let facts = facts(&it);
                let source = Source::new(it.id);
                self.source = Some((it, source));
                vec![SourceInput::Read { facts, mine }]
            }
            (_, None) => Vec::new(),
        }
    }

    /// Its source machine goes on; what it has to hear next, and the line to open, if any.
    pub fn source_steps(
        &mut self,
        now: Instant,
        input: SourceInput,
        town: &mut Town,
        inputs: &mut VecDeque<SourceInput>,
    ) -> Option<Opens> {
        let mine = self.epoch?;
        let (it, source) = self.source.as_mut()?;
        let (it, mut effects) = (it.clone(), Vec::new());
        source.step(now, input, &mut effects);
        let mut opens = None;
        for effect in effects {
            match effect {
                SourceEffect::Begin { session, to } => {
                    let order = Order { epoch: mine, session };
                    let to = to.as_str().trim_start_matches("n-").parse::<usize>().ok()?;
                    let (at, slots) = (self.log.len(), (it.first, it.last));
                    let mut export = Export::of((it.first.get(), it.last.get()), 1 << 20);
                    export.advance(&self.keyspace, EntryId::ZERO, usize::MAX);
                    let records = export.take().into_iter().flat_map(|(_, one)| one.records);
                    let copied: Option<Vec<u8>> = Some(records.collect());
                    self.carrying =
                        Some(Carrying { id: it.id, order, slots, at, copied, told: at, sent: 1 });
                    let (number, entries, covers) = (1, Vec::new(), Offset::ZERO);
                    let begins = Frame { begins: true, number, entries, covers };
                    opens = Some((it.id, order, to, VecDeque::from([begins])));
                }
                SourceEffect::Hold => {
                    let at = Offset(self.log.len() as u64);
                    inputs.push_back(SourceInput::Held { at });
                }
                SourceEffect::Switch { source, target } => {
                    let swap = moving::switch(&self.view, &it, source, target);
                    swap.into_iter().for_each(|swap| town.propose(swap));
                }
                SourceEffect::Renew => {
                    let swap = moving::renew(&self.view, "t", it.id);
                    swap.into_iter().for_each(|swap| town.propose(swap));
                }
                SourceEffect::End => self.carrying = None,
            }
        }
        opens
    }

    /// Whether it is this try that it carries.
    pub fn carries(&self, id: MoveId, order: Order) -> bool {
        self.carrying.as_ref().is_some_and(|it| it.id == id && it.order == order)
    }

    /// What of it may go on its way: committed entries alone.
    pub fn more_frames(&mut self) -> Vec<Frame> {
        let committed = self.committed;
        let Some(it) = &mut self.carrying else { return Vec::new() };
        let (mut frames, mut sent) = (Vec::new(), it.sent);
        if it.at > committed {
            return frames;
        }
        let mut frame = |entries, covers| {
            sent += 1;
            Frame { begins: false, number: sent, entries, covers }
        };
        if let Some(entries) = it.copied.take() {
            frames.push(frame(entries, Offset::ZERO));
            if let Some((_, source)) = &mut self.source {
                let copied = SourceInput::Copied { session: it.order.session };
                source.step(Instant::ZERO, copied, &mut Vec::new());
            }
        }
        let slots = it.slots.0.get()..=it.slots.1.get();
        let mut entries = Vec::new();
        for entry in &self.log[it.told..committed.max(it.told)] {
            entries.extend(entries_about(&entry.body, &slots).expect("own entries"));
        }
        it.told = committed.max(it.told);
        frames.push(frame(entries, Offset(it.told as u64)));
        it.sent = sent;
        frames
    }

    /// A part of a move has come; false: it is refused.
    pub fn takes(&mut self, id: MoveId, order: Order, frame: Frame) -> bool {
        if self.epoch.is_none() {
            return false;
        }
        let moves = self.moves();
        let known = coming(&moves, id, &self.group, |slot| self.owns(slot));
        let Some(slots) = known.map(|it| (it.first, it.last)) else { return false };
        let expected = self.incoming.get(&id).is_some_and(|it| it.expects(order, frame.number));
        if frame.begins {
            if !self.keyspace.may_take(slots) {
                return false;
            }
            let fresh = match self.incoming.get_mut(&id) {
                Some(target) => target.begin(order),
                None => self.incoming.insert(id, Target::new(order)).is_none(),
            };
            if !fresh {
                return false;
            }
            self.write_slots(Verb::Take, id, slots);
        } else if !expected {
            return false;
        }
        if !frame.entries.is_empty() {
            let mut fits = true;
            self.append(None, |keyspace, log| {
                fits = keyspace.take_brought(id, &frame.entries, log).is_ok();
            });
            if !fits {
                self.write_slots(Verb::DropImport, id, slots);
                if let Some(target) = self.incoming.get_mut(&id) {
                    target.fail();
                }
                return false;
            }
        }
        if let Some(target) = self.incoming.get_mut(&id) {
            target.took(Offset(self.log.len() as u64), frame.covers);
        }
        true
    }

    /// Tells the sources what is committed here.
    pub fn tell_targets(&mut self, lines: &mut [Line]) {
        let Some(epoch) = self.epoch else { return };
        for (id, target) in &mut self.incoming {
            let Some((_, covered)) = target.committed(Offset(self.committed as u64)) else {
                continue;
            };
            let order = target.order();
            let mine = |line: &&mut Line| line.id == *id && line.order == order;
            if let Some(line) = lines.iter_mut().find(mine) {
                line.replies.push_back((epoch, covered));
            }
        }
    }
}
