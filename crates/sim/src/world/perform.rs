//! Performs what hosts ask, in their order.

use super::{US, World};
use crate::folder::DiskOp;
use crate::place::{Local, Up};
use crate::shell::{Command, DataCommand};
use cairn_host::Event;
use cairn_logic::invariants::{Broken, Copy, Folder, Held, Witness};
use cairn_logic::judge::JudgeInput;
use cairn_logic::message::{Answer, Message, Position};
use cairn_logic::replication::Alarm;

impl World {
    pub(super) fn perform(&mut self, place: usize) -> Held {
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        for command in std::mem::take(&mut process.host.world.commands) {
            self.command(place, command)?;
        }
        Ok(())
    }

    fn command(&mut self, place: usize, command: Command) -> Held {
        match command {
            Command::Vote(vote) => self.disk(place, DiskOp::Vote(vote)),
            Command::Write(batches) => self.disk(place, DiskOp::Write(batches)),
            Command::Flush => {
                if let Some(folder) = &mut self.places[place].folder {
                    folder.flush_asked = true;
                }
                self.flush_next(place);
            }
            Command::Cut(after) => self.disk(place, DiskOp::Cut(after)),
            Command::Restart { after, keep_above } => {
                self.disk(place, DiskOp::Restart { after, keep_above });
            }
            Command::Fetch { at_least } => self.fetch(place, at_least.offset, false)?,
            Command::Read { from, up_to, bytes_max, why } => {
                let wait = self.rng.between(20, 2000) * US;
                self.push_own(place, wait, Local::ReadLog { from, up_to, bytes_max, why });
            }
            Command::Send { to, message, bodies } => return self.send(place, &to, message, bodies),
            Command::Answer(answer) => return self.answer(place, answer),
            Command::AskRecord { expected, record } => {
                let log = self.log_of(place);
                self.logs[log].witness.rests_on(expected, &record)?;
                self.logs[log].change = Some((expected, record.clone()));
                self.ask_record(place, expected, record);
            }
            Command::ReadRecord => self.read_record(place),
            Command::Data(command) => return self.tell(place, command),
            Command::Alarm(alarm) => return self.alarm(place, alarm),
        }
        Ok(())
    }

    pub(super) fn disk(&mut self, place: usize, op: DiskOp) {
        if let Some(folder) = &mut self.places[place].folder {
            folder.queue.push_back(op);
        }
        self.disk_next(place);
    }

    fn send(
        &mut self,
        place: usize,
        to: &cairn_logic::ids::NodeId,
        body: Message,
        bodies: Vec<bytes::Bytes>,
    ) -> Held {
        if let Message::Ack(ack) = &body {
            self.logs[self.log_of(place)]
                .witness
                .acknowledges(&self.places[place].folder_name(), ack.epoch)?;
        }
        let Some(target) = self.places.iter().position(|there| there.id == *to) else {
            return Ok(());
        };
        let from = self.places[place].sender();
        let event = Event::Message { from, body, bodies };
        let log = self.log_of(place);
        self.transmit(place, target, Local::Peer { log, event: Box::new(event) });
        Ok(())
    }

    fn answer(&mut self, place: usize, answer: Answer) -> Held {
        let from = self.places[place].sender();
        if let Answer::Sealed(sealed) = &answer {
            let durable = self.places[place].folder.as_ref().map(|folder| folder.vote.sealed);
            let (name, log) = (self.places[place].folder_name(), self.log_of(place));
            self.logs[log].witness.answers_seal(
                &name,
                sealed.attempt,
                durable.unwrap_or_default(),
            )?;
        }
        if self.has_session(place) {
            self.say_up(place, Up::Answer(answer));
            return Ok(());
        }
        for judge in self.judges() {
            let input = JudgeInput::Answer { from: from.clone(), answer: answer.clone() };
            self.transmit(place, judge, Local::Judge(Box::new(input)));
        }
        Ok(())
    }

    /// Tells the data thread, a little later, in order.
    fn tell(&mut self, place: usize, mut command: DataCommand) -> Held {
        let (name, log) = (self.places[place].folder_name(), self.log_of(place));
        let wait = self.rng.between(1, 150) * US;
        let now = self.now;
        let witness = &mut self.logs[log].witness;
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &there.folder) else {
            return Ok(());
        };
        if let DataCommand::Rebuild { from, state, snapshot, portions } = &mut command {
            *state = folder.state_at(*from);
            *portions = self.contents[snapshot.map_or(0, |it| it.content)].clone();
            process.used = snapshot.map(|it| it.from);
        }
        let life = process.host.replica().vote().life;
        match (&command, process.host.replica().position()) {
            (DataCommand::Committed(_) | DataCommand::Apply(_), Position::Master(epoch)) => {
                let up_to = process.host.replica().committed();
                witness.commits(&name, epoch, folder.copies_to(up_to))?;
            }
            (DataCommand::Apply(batch), _) => {
                let log = folder.copies_to(batch.head.last_offset());
                commits_late(witness, &name, log)?;
            }
            (DataCommand::Committed(up_to), _) => {
                commits_late(witness, &name, folder.copies_to(*up_to))?;
            }
            (DataCommand::BecomeMaster { epoch, .. }, _) => {
                witness.becomes_master(&name, life, *epoch, &folder.copies)?;
            }
            _ => {}
        }
        let own_desk = process.desk.is_some();
        process.to_data = (now + wait).max(process.to_data + 1);
        let after = process.to_data - now;
        if let DataCommand::BecomeMaster { epoch, .. } = &command {
            let epoch = *epoch;
            self.note(|| format!("{} becomes master of {epoch}", name.0));
        }
        if let DataCommand::StepDown(epoch) = &command {
            let epoch = *epoch;
            self.note(|| format!("{} leaves {epoch}", name.0));
        }
        if own_desk {
            self.truth_follows(place)?;
            return self.desk_hears(place, command);
        }
        self.push_own(place, after, Local::Data(command));
        Ok(())
    }

    fn alarm(&mut self, place: usize, alarm: Alarm) -> Held {
        let id = self.places[place].id.clone();
        if let Alarm::CutBelowCommitted { .. } = alarm {
            if self.logs[self.log_of(place)].witness.is_lossy() {
                // What it knew to be committed is lost; a person starts it again.
                self.end_process(place, super::faults::End::Process)?;
                self.push(500 * super::MS, super::Ev::Restart(place));
                if self.places[place].folder.as_ref().is_some_and(|folder| folder.gone > 0) {
                    // It would say so again, for good: it is replaced by an empty one.
                    self.replace_folder(place);
                }
                return Ok(());
            }
            return Err(Broken { rule: "I8 NoCut", facts: format!("{id}: {alarm:?}") });
        }
        self.note(|| format!("{id} alarms: {alarm:?}"));
        Ok(())
    }
}

/// It was master for a moment, and has left again before it could perform the commit of that.
fn commits_late(witness: &mut Witness, folder: &Folder, log: &[Copy]) -> Held {
    let Some(epoch) = log.last().map(|copy| copy.last.epoch) else { return Ok(()) };
    if witness.named_master(epoch) == Some(&folder.0) {
        witness.commits(folder, epoch, log)?;
    }
    Ok(())
}
