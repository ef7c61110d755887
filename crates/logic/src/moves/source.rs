//! A move at the master of the group that owns the slots.

use super::{MoveId, Phase};
use crate::ids::{Epoch, NodeId, Offset};
use crate::mutant::{Mutant, broken};
use crate::time::{Duration, Instant};

/// How far the target may be behind when the range is held: what is carried over during the hold.
const LAG_MAX: u64 = 2000;
/// Between two tries of the same thing.
const RETRY: Duration = Duration::from_millis(50);
/// A hold that has not ended after so long is ended by a renewal of the move: by what is read then,
/// not by the time.
const HOLD_MAX: Duration = Duration::from_millis(500);

/// What the directory says, as this master has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How far the move is; `None`: there is none of this number.
    pub phase: Option<Phase>,
    /// The epoch of the source's record.
    pub source: Epoch,
    /// The epoch of the target's record.
    pub target: Epoch,
    /// The target's master, if its record names one and no attempt is open.
    pub to: Option<NodeId>,
}

/// What the target's master has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// In which try of this process.
    pub session: u64,
    /// The epoch in which the target has committed it.
    pub epoch: Epoch,
    /// Every entry of the source's log up to this one, as far as it is about the range, is
    /// committed at the target.
    pub covered: Offset,
    /// Where the source's log ends now.
    pub last: Offset,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceInput {
    /// The directory was read; `mine` is the epoch this master writes in.
    Read {
        /// What it says.
        facts: Facts,
        /// The epoch of this master.
        mine: Epoch,
    },
    /// Everything that the slots held when the try began was handed to the line.
    Copied {
        /// In which try.
        session: u64,
    },
    /// The range is held: no entry above `at` is about it.
    Held {
        /// The end of the log then.
        at: Offset,
    },
    /// The target's master has said something.
    Report(Report),
    /// The line to it broke, or it refused.
    Lost {
        /// In which try.
        session: u64,
    },
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEffect {
    /// Carry everything to that node, from the beginning.
    Begin {
        /// The number of the try, which only grows.
        session: u64,
        /// The target's master.
        to: NodeId,
    },
    /// Admit neither reads nor writes of the range, and say since when.
    Hold,
    /// Propose that the owner changes, if both records have these epochs.
    Switch {
        /// The source's.
        source: Epoch,
        /// The target's.
        target: Epoch,
    },
    /// Propose that the move begins anew under another number.
    Renew,
    /// It is over here: end the line, and the hold, by the routes that were read.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Waiting { until: Instant },
    Copying { to: NodeId, epoch: Epoch, copied: bool },
    Holding { since: Instant, at: Option<Offset>, tried: Option<Instant>, lost: bool },
    Over,
}

/// Drives one move while this node is master. A new mastership begins with a new one: it has read
/// the outcome of whatever an earlier one has proposed.
#[derive(Clone, Debug)]
pub struct Source {
    id: MoveId,
    session: u64,
    step: Step,
    facts: Facts,
    mine: Epoch,
    report: Option<Report>,
}

impl Source {
    /// Of a move that the directory has in its copy phase.
    #[must_use]
    pub fn new(id: MoveId) -> Self {
        let step = Step::Waiting { until: Instant::ZERO };
        Self { id, session: 0, step, facts: Facts::default(), mine: Epoch::ZERO, report: None }
    }

    /// Of which move.
    #[must_use]
    pub fn id(&self) -> MoveId {
        self.id
    }

    /// Whether reads and writes of the range are held.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.step, Step::Holding { .. })
    }

    /// Whether it has ended here.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// The number of the try that is under way.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// What it is at, in words.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.step {
            Step::Waiting { .. } => "waits for the target's master",
            Step::Copying { copied: false, .. } => "copies",
            Step::Copying { copied: true, .. } => "follows",
            Step::Holding { .. } => "switches",
            Step::Over => "over",
        }
    }

    /// What follows from what has happened.
    pub fn step(&mut self, now: Instant, input: SourceInput, effects: &mut Vec<SourceEffect>) {
        match input {
            SourceInput::Read { facts, mine } => self.read(now, facts, mine, effects),
            SourceInput::Copied { session } if session == self.session => {
                if let Step::Copying { copied, .. } = &mut self.step {
                    *copied = true;
                }
                self.follow(now, effects);
            }
            SourceInput::Report(report) if report.session == self.session => {
                self.report = Some(report);
                self.follow(now, effects);
                self.switch(now, effects);
            }
            SourceInput::Held { at: held } => {
                if let Step::Holding { at, .. } = &mut self.step {
                    *at = Some(held);
                }
                self.switch(now, effects);
            }
            SourceInput::Lost { session } if session == self.session => self.lost(now),
            SourceInput::Tick => self.tick(now, effects),
            // Of an earlier try.
            SourceInput::Copied { .. } | SourceInput::Report(_) | SourceInput::Lost { .. } => {}
        }
    }

    fn read(&mut self, now: Instant, facts: Facts, mine: Epoch, effects: &mut Vec<SourceEffect>) {
        (self.facts, self.mine) = (facts, mine);
        if self.step == Step::Over {
            return;
        }
        if self.facts.phase != Some(Phase::Copy) {
            self.step = Step::Over;
            effects.push(SourceEffect::End);
            return;
        }
        if let Step::Copying { to, epoch, .. } = &self.step {
            // A master forgets what it was given with its mastership, also if the next is its own.
            let other = Some(to) != self.facts.to.as_ref() || *epoch != self.facts.target;
            if other {
                self.lost(now);
            }
        }
        self.switch(now, effects);
        self.tick(now, effects);
    }

    /// A try that has come to nothing begins anew. Not once the range is held: a switch may have
    /// been proposed, and what is carried again would replace what the target may own by then.
    fn lost(&mut self, now: Instant) {
        self.report = None;
        match &mut self.step {
            Step::Copying { .. } => self.step = Step::Waiting { until: now + RETRY },
            Step::Holding { lost, .. } => *lost = true,
            Step::Waiting { .. } | Step::Over => {}
        }
        if broken(Mutant::CarriesAfterSwitch) && self.holds() {
            self.step = Step::Waiting { until: now + RETRY };
        }
    }

    fn follow(&mut self, now: Instant, effects: &mut Vec<SourceEffect>) {
        let near = |report: Report| report.covered.0 + LAG_MAX >= report.last.0;
        if let Step::Copying { copied: true, .. } = self.step
            && self.report.is_some_and(|it| it.covered > Offset::ZERO && near(it))
        {
            self.step = Step::Holding { since: now, at: None, tried: None, lost: false };
            effects.push(SourceEffect::Hold);
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<SourceEffect>) {
        match &mut self.step {
            Step::Waiting { until } if now >= *until => {
                let Some(to) = self.facts.to.clone() else { return };
                self.session += 1;
                self.report = None;
                let epoch = self.facts.target;
                self.step = Step::Copying { to: to.clone(), epoch, copied: false };
                effects.push(SourceEffect::Begin { session: self.session, to });
            }
            Step::Holding { since, tried, lost, .. } => {
                let due = tried.is_none_or(|tried| now.since(tried) >= RETRY);
                if broken(Mutant::HoldEnds) && now.since(*since) >= HOLD_MAX {
                    self.step = Step::Waiting { until: now + RETRY };
                } else if due && (*lost || now.since(*since) >= HOLD_MAX) {
                    *tried = Some(now);
                    effects.push(SourceEffect::Renew);
                } else if due {
                    self.switch(now, effects);
                }
            }
            Step::Waiting { .. } | Step::Copying { .. } | Step::Over => {}
        }
    }

    /// Proposes the switch once the target has all that the range holds, and both masters are
    /// those whose epochs the directory knows.
    fn switch(&mut self, now: Instant, effects: &mut Vec<SourceEffect>) {
        let Step::Holding { at: Some(at), tried, lost: false, .. } = &mut self.step else { return };
        let Some(report) = self.report else { return };
        let whole = report.covered >= *at || broken(Mutant::SwitchesEarly);
        let epochs = report.epoch == self.facts.target && self.mine == self.facts.source;
        let due = tried.is_none_or(|tried| now.since(tried) >= RETRY);
        if whole && due && (epochs || broken(Mutant::MovesWithoutEpoch)) {
            *tried = Some(now);
            effects.push(SourceEffect::Switch { source: self.mine, target: report.epoch });
        }
    }
}
