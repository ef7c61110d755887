//! Keys that share a slot: transactions over them, and writes on the condition that nobody was
//! there before.

use super::{Worker, content};
use crate::client::{Answer, Frame};
use crate::history::{Action, Reply, Step};

impl Worker<'_> {
    /// One operation on one of the keys of a slot, or on several at once.
    pub(super) fn work_in_slot(&mut self, at: u64) -> bool {
        match self.dice.below(8) {
            0 | 1 => self.write_both(at),
            2 | 3 => self.read_all(at),
            4 => self.claim_and_count(at),
            5 => self.claim(&self.slot_key(at, "once")),
            6 => self.remove(&self.slot_key(at, "once")),
            _ => {
                let half = if self.dice.below(2) == 0 { "left" } else { "right" };
                self.get(&self.slot_key(at, half), false)
            }
        }
    }

    /// A key of the slot with this number.
    pub(super) fn slot_key(&self, at: u64, name: &str) -> String {
        format!("{}:{name}", self.tag(at))
    }

    fn tag(&self, at: u64) -> String {
        format!("{{{}}}", self.key("slot", at))
    }

    /// Both halves get the same value; in a transaction the sum grows, too.
    fn write_both(&mut self, at: u64) -> bool {
        let value = self.value();
        let [left, right, sum] = ["left", "right", "sum"].map(|name| self.slot_key(at, name));
        let mut steps = vec![
            Step::new(&left, Action::Set { value: value.clone() }),
            Step::new(&right, Action::Set { value: value.clone() }),
        ];
        if self.shared.plan.several && self.dice.below(3) == 0 {
            let words: Vec<&[u8]> =
                ["MSET", &left, &value, &right, &value].map(str::as_bytes).into();
            return self.at_once(at, steps, &words);
        }
        steps.push(Step::new(&sum, Action::Add { by: 1 }));
        self.together(at, steps)
    }

    fn read_all(&mut self, at: u64) -> bool {
        let keys = ["left", "right", "sum", "once"].map(|name| self.slot_key(at, name));
        let steps: Vec<Step> = keys.iter().map(|key| Step::new(key, Action::Get)).collect();
        if self.shared.plan.several && self.dice.below(3) == 0 {
            let keys = keys.iter().map(String::as_bytes);
            let words: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys).collect();
            return self.at_once(at, steps, &words);
        }
        self.together(at, steps)
    }

    /// One command about several keys.
    fn at_once(&mut self, at: u64, steps: Vec<Step>, words: &[&[u8]]) -> bool {
        let tag = self.tag(at);
        let called_us = self.shared.recorder.now_us();
        let answer = self.client.call(&tag, words);
        let of = steps.clone();
        self.record(&tag, Action::Together { steps }, called_us, answer, |frame| each(&of, frame))
    }

    fn claim_and_count(&mut self, at: u64) -> bool {
        let claim = Action::SetIf { expected: None, value: self.value() };
        let steps = vec![
            Step::new(&self.slot_key(at, "once"), claim),
            Step::new(&self.slot_key(at, "sum"), Action::Add { by: 1 }),
        ];
        self.together(at, steps)
    }

    /// Writes a register that nobody may have written before.
    fn claim(&mut self, key: &str) -> bool {
        let action = Action::SetIf { expected: None, value: self.value() };
        self.single(key, action)
    }

    fn remove(&mut self, key: &str) -> bool {
        self.single(key, Action::Delete)
    }

    fn single(&mut self, key: &str, action: Action) -> bool {
        let command = command(key, &action);
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let called_us = self.shared.recorder.now_us();
        let answer = self.client.call(key, &words);
        let of = action.clone();
        self.record(key, action, called_us, answer, |frame| answered(&of, frame))
    }

    /// `MULTI`, all steps, `EXEC`, in one piece.
    fn together(&mut self, at: u64, steps: Vec<Step>) -> bool {
        let tag = self.tag(at);
        let mut commands = vec![vec![b"MULTI".to_vec()]];
        commands.extend(steps.iter().map(|step| command(&step.key, &step.action)));
        commands.push(vec![b"EXEC".to_vec()]);
        let words: Vec<Vec<&[u8]>> =
            commands.iter().map(|words| words.iter().map(Vec::as_slice).collect()).collect();
        let commands: Vec<&[&[u8]]> = words.iter().map(Vec::as_slice).collect();
        let rest = self.shared.plan.open;
        let opens = !rest.is_zero() && self.dice.below(4) == 0;
        let called_us = self.shared.recorder.now_us();
        let answer: Answer = match opens {
            true => self.client.call_open(&tag, &commands, rest),
            false => self.client.call_all(&tag, &commands).1,
        };
        let of = steps.clone();
        self.record(&tag, Action::Together { steps }, called_us, answer, |frame| {
            let each = frame.elements().filter(|each| each.len() == of.len())?;
            let replies = of.iter().zip(each).map(|(step, frame)| answered(&step.action, frame));
            replies.collect::<Option<_>>().map(Reply::Each)
        })
    }
}

/// The command for an action on one key of a slot.
fn command(key: &str, action: &Action) -> Vec<Vec<u8>> {
    let words = match action {
        Action::Set { value } => vec!["SET", key, value],
        Action::SetIf { value, .. } => vec!["SET", key, value, "NX"],
        Action::Delete => vec!["DEL", key],
        Action::Add { .. } => vec!["INCR", key],
        _ => vec!["GET", key],
    };
    words.into_iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// What the answer to one command about several keys, `MSET` or `MGET`, says of each.
fn each(steps: &[Step], frame: &Frame) -> Option<Reply> {
    if frame.text().as_deref() == Some("OK") {
        return Some(Reply::Each(vec![Reply::Done; steps.len()]));
    }
    let each = frame.elements().filter(|each| each.len() == steps.len())?;
    each.iter()
        .map(|frame| content(frame).map(Reply::Value))
        .collect::<Option<_>>()
        .map(Reply::Each)
}

/// What a server's answer to that command says; none if it is no answer to it.
fn answered(action: &Action, frame: &Frame) -> Option<Reply> {
    let done = || frame.text().as_deref() == Some("OK");
    match action {
        Action::Set { .. } => done().then_some(Reply::Done),
        Action::SetIf { .. } if *frame == Frame::Null => Some(Reply::Applied(false)),
        Action::SetIf { .. } => done().then_some(Reply::Applied(true)),
        Action::Delete | Action::Add { .. } => frame.integer().map(Reply::Number),
        _ => content(frame).map(Reply::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_its_command_and_its_answer() {
        let words = |action: &Action| {
            let words = command("k", action).into_iter().map(String::from_utf8);
            words.collect::<Result<Vec<_>, _>>().unwrap().join(" ")
        };
        let claim = Action::SetIf { expected: None, value: "v".into() };
        assert_eq!(words(&claim), "SET k v NX");
        assert_eq!(answered(&claim, &Frame::Null), Some(Reply::Applied(false)));
        assert_eq!(answered(&claim, &Frame::Simple("OK".into())), Some(Reply::Applied(true)));
        assert_eq!(answered(&claim, &Frame::Integer(1)), None);
        assert_eq!(words(&Action::Delete), "DEL k");
        assert_eq!(answered(&Action::Delete, &Frame::Integer(0)), Some(Reply::Number(0)));
        assert_eq!(words(&Action::Add { by: 1 }), "INCR k");
        assert_eq!(answered(&Action::Get, &Frame::Null), Some(Reply::Value(None)));
        let error = Frame::Error("WRONGTYPE".into());
        assert_eq!(answered(&Action::Set { value: "v".into() }, &error), None);
    }

    #[test]
    fn a_command_about_several_keys_answers_for_each() {
        let steps = ["{t}:a", "{t}:b"].map(|key| Step::new(key, Action::Get));
        let two = Frame::Array(vec![Frame::Bulk(b"v".to_vec()), Frame::Null]);
        let said = vec![Reply::Value(Some("v".into())), Reply::Value(None)];
        assert_eq!(each(&steps, &two), Some(Reply::Each(said)));
        assert_eq!(each(&steps[..1], &two), None);
        let done = Some(Reply::Each(vec![Reply::Done; 2]));
        assert_eq!(each(&steps, &Frame::Simple("OK".into())), done);
        assert_eq!(each(&steps, &Frame::Error("NOACK".into())), None);
    }
}
