//! Slots that go from one data thread to another; the test is the line between them.

use super::*;
use crate::data::link::{Arrived, MoveNews, MoveOrder};
use cairn_logic::ids::Slot;
use cairn_logic::moves::{Move, MoveId, Phase};
use cairn_wire::peer::pb;

const ID: MoveId = MoveId(4);

fn slot() -> Slot {
    Slot::try_from(5061).unwrap()
}

/// The usual routes, with a move of the slot of `bar` from k-0 to k-1.
fn moving(me: &str, phase: Option<Phase>) -> ToData {
    let mut routes = (*routes("a", Role::Replica)).clone();
    routes.me = NodeId::new(me);
    let (source, target) = (GroupId::new("k-0"), GroupId::new("k-1"));
    let it = |phase| Move { id: ID, first: slot(), last: slot(), source, target, phase };
    routes.moves = phase.map(it).into_iter().collect();
    if phase == Some(Phase::Done) {
        routes.slots[5061] = 1;
    }
    ToData::Routes(Arc::new(routes))
}

/// Both masters, and what is between them.
struct Stage {
    source: Rig,
    target: Rig,
    frames: mpsc::Receiver<pb::MoveFrame>,
    back: (mpsc::Sender<pb::MoveReply>, mpsc::Receiver<pb::MoveReply>),
    news: Vec<MoveNews>,
    covered: u64,
    refused: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        Self::with(Config::default(), Config::default())
    }

    fn with(near: Config, far: Config) -> Self {
        let source = Rig::master_with(near, Reads::Lease, Answers::AtCommit);
        source.link.send(moving("a", Some(Phase::Copy)));
        let mut target = Rig::follower(far);
        target.link.send(moving("x", Some(Phase::Copy)));
        target.become_master(1, 1, Reads::Lease, Answers::AtCommit);
        target.link.send(ToData::Loading(false));
        target.link.read_until(Some(FOREVER));
        let (_, frames) = mpsc::channel(1);
        let (back, news, refused) = (mpsc::channel(64), Vec::new(), Vec::new());
        Self { source, target, frames, back, news, covered: 0, refused }
    }

    fn carry(&mut self, session: u64) {
        let (to, frames) = mpsc::channel(8);
        self.frames = frames;
        let order = MoveOrder::Carry { id: ID, session, slots: (slot(), slot()), to };
        self.source.link.send(ToData::Move(order));
    }

    /// Commits what was appended, and takes frames and replies along.
    fn pump(&mut self) {
        for rig in [&mut self.source, &mut self.target] {
            while let Ok(message) = rig.from.try_recv() {
                match message {
                    FromData::Appended(batch) => rig.link.commit(batch.head.last_offset()),
                    FromData::Move(news) => self.news.push(news),
                    other => panic!("{other:?}"),
                }
            }
        }
        while let Ok(frame) = self.frames.try_recv() {
            let frame = pb::MoveFrame { epoch: 1, ..frame };
            let arrived = Box::new(Arrived { frame, back: self.back.0.clone() });
            self.target.link.send(ToData::Move(MoveOrder::Arrived(arrived)));
        }
        while let Ok(reply) = self.back.1.try_recv() {
            if !reply.refused.is_empty() {
                self.refused.push(reply.refused);
                continue;
            }
            self.covered = self.covered.max(reply.covered);
            let order = MoveOrder::Safe { session: 1, frames: reply.frames };
            self.source.link.send(ToData::Move(order));
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            self.pump();
            if done(self) {
                return;
            }
            pause(1);
        }
        panic!("never: {what}; {:?} {} {:?}", self.news, self.covered, self.refused);
    }

    fn say(&mut self, client: &mut Client, words: &str) -> String {
        client.send(words);
        for _ in 0..300 {
            self.pump();
            if let Some(reply) = client.reply_within(10) {
                return show(&reply);
            }
        }
        panic!("no reply to {words}");
    }

    fn is_copied(&self) -> bool {
        self.news.contains(&MoveNews::Copied { id: ID, session: 1 })
    }

    fn held(&self) -> Option<u64> {
        self.news.iter().find_map(|news| match news {
            MoveNews::Held { at, .. } => Some(at.0),
            _ => None,
        })
    }
}

#[test]
fn a_slot_goes_over_whole_while_clients_write_and_wait() {
    let mut stage = Stage::new();
    let (mut near, mut far) = (stage.source.client(), stage.target.client());
    for number in 0..500 {
        stage.say(&mut near, &format!("HSET bar f{number} {number}"));
    }
    stage.say(&mut near, "SET zap other");
    stage.carry(1);
    stage.until("everything is copied", |it| it.is_copied());
    stage.say(&mut near, "HSET bar f0 changed");
    stage.until("it is told how far", |it| it.covered > 0);
    assert_eq!(stage.say(&mut far, "HGET bar f0"), "-MOVED 5061 10.0.0.1:1");
    assert_eq!(stage.say(&mut far, "DBSIZE"), "0", "nobody is shown it yet");

    stage.source.link.send(ToData::Move(MoveOrder::Hold { session: 1 }));
    stage.until("it is held", |it| it.held().is_some());
    let mut waits = stage.source.client();
    waits.send("HGET bar f0");
    let mut all = stage.source.client();
    all.send("DBSIZE");
    assert!(waits.is_quiet() && all.is_quiet());
    assert_eq!(stage.say(&mut near, "GET zap"), "other", "other slots go on");
    stage.until("all of it is there", |it| it.held() <= Some(it.covered));

    stage.target.link.send(moving("x", Some(Phase::Done)));
    stage.source.link.send(moving("a", Some(Phase::Done)));
    stage.source.link.send(ToData::Move(MoveOrder::End));
    stage.until("the source has deleted it", |it| it.news.contains(&MoveNews::Ended(ID)));
    assert_eq!(show(&waits.reply()), "-MOVED 5061 10.0.0.1:9");
    assert_eq!(show(&all.reply()), "1");
    assert_eq!(stage.say(&mut far, "HGET bar f0"), "changed");
    assert_eq!(stage.say(&mut far, "HLEN bar"), "500");
    assert_eq!(stage.say(&mut far, "DBSIZE"), "1");
}

#[test]
fn a_cancelled_move_leaves_the_slot_where_it_was_and_nothing_at_the_target() {
    let mut stage = Stage::new();
    let (mut near, mut far) = (stage.source.client(), stage.target.client());
    stage.say(&mut near, "SET bar 1");
    stage.carry(1);
    stage.until("everything is copied", |it| it.covered > 0);
    stage.source.link.send(ToData::Move(MoveOrder::Hold { session: 1 }));
    let mut waits = stage.source.client();
    waits.send("GET bar");
    stage.until("it is held", |it| it.held().is_some());
    stage.target.link.send(moving("x", Some(Phase::Aborted)));
    stage.source.link.send(moving("a", Some(Phase::Aborted)));
    stage.source.link.send(ToData::Move(MoveOrder::End));
    stage.until("the target has deleted it", |it| it.news.contains(&MoveNews::Ended(ID)));
    assert_eq!(show(&waits.reply()), "1");
    assert_eq!(stage.say(&mut near, "SET bar 2"), "OK");
    assert_eq!(stage.say(&mut far, "DBSIZE"), "0");
}

#[test]
fn a_hold_of_which_nobody_says_how_it_ends_refuses_commands_and_goes_on() {
    let config = Config { ack_timeout: Duration::from_millis(150), ..Config::default() };
    let mut stage = Stage::with(config, Config::default());
    let mut near = stage.source.client();
    stage.say(&mut near, "SET bar 1");
    stage.carry(1);
    stage.until("everything is copied", |it| it.covered > 0);
    stage.source.link.send(ToData::Move(MoveOrder::Hold { session: 1 }));
    let told = stage.say(&mut near, "GET bar");
    assert!(told.starts_with("-TRYAGAIN"), "{told}");
    assert!(stage.say(&mut near, "DBSIZE").starts_with("-TRYAGAIN"));
    stage.say(&mut near, "SET zap 1");
    stage.source.link.send(moving("a", Some(Phase::Aborted)));
    stage.source.link.send(ToData::Move(MoveOrder::End));
    assert_eq!(stage.say(&mut near, "GET bar"), "1");
}

#[test]
fn whoever_watches_a_key_of_a_slot_that_goes_and_comes_back_executes_nothing() {
    let mut stage = Stage::new();
    let mut near = stage.source.client();
    stage.say(&mut near, "SET bar 1");
    stage.say(&mut near, "WATCH bar");
    stage.source.link.send(moving("a", Some(Phase::Done)));
    stage.source.link.send(moving("a", None));
    stage.say(&mut near, "MULTI");
    stage.say(&mut near, "SET zap 1");
    assert_eq!(stage.say(&mut near, "EXEC"), "(nil)");
}

#[test]
fn whoever_watches_a_key_of_another_slot_goes_on() {
    let mut stage = Stage::new();
    let mut near = stage.source.client();
    stage.say(&mut near, "WATCH zap");
    stage.source.link.send(moving("a", Some(Phase::Done)));
    stage.say(&mut near, "MULTI");
    stage.say(&mut near, "SET zap 1");
    assert_eq!(stage.say(&mut near, "EXEC"), "[OK]");
}

#[test]
fn an_exec_that_rests_on_a_key_of_a_held_slot_waits_for_what_becomes_of_it() {
    let mut stage = Stage::new();
    let mut near = stage.source.client();
    stage.say(&mut near, "SET bar 1");
    stage.say(&mut near, "WATCH bar");
    stage.say(&mut near, "MULTI");
    stage.say(&mut near, "SET zap 1");
    stage.carry(1);
    stage.until("everything is copied", |it| it.covered > 0);
    stage.source.link.send(ToData::Move(MoveOrder::Hold { session: 1 }));
    stage.until("it is held", |it| it.held().is_some());
    near.send("EXEC");
    assert!(near.is_quiet(), "the target may have changed the key already");
    stage.source.link.send(moving("a", Some(Phase::Done)));
    stage.source.link.send(ToData::Move(MoveOrder::End));
    stage.until("the source has deleted it", |it| it.news.contains(&MoveNews::Ended(ID)));
    assert_eq!(show(&near.reply()), "(nil)");
}

#[test]
fn half_of_a_slot_is_not_carried_on() {
    let mut stage = Stage::new();
    let mut near = stage.source.client();
    stage.say(&mut near, "SET bar 1");
    stage.carry(1);
    stage.until("it is there, and hidden", |it| it.covered > 0);
    let (to, _frames) = mpsc::channel(8);
    let (id, slots) = (MoveId(9), (slot(), slot()));
    stage.target.link.send(ToData::Move(MoveOrder::Carry { id, session: 1, slots, to }));
    stage.until("that is refused", |it| {
        it.news.iter().any(|news| matches!(news, MoveNews::Failed { id: MoveId(9), .. }))
    });
}

#[test]
fn keys_that_the_directory_says_are_not_there_are_replaced_by_nothing() {
    let mut stage = Stage::new();
    let (mut near, mut far) = (stage.source.client(), stage.target.client());
    stage.target.link.send(moving("x", Some(Phase::Done)));
    stage.say(&mut far, "SET bar here");
    // A directory of before.
    stage.target.link.send(moving("x", Some(Phase::Copy)));
    stage.say(&mut near, "SET bar there");
    stage.carry(1);
    stage.until("it is refused", |it| !it.refused.is_empty());
    assert!(stage.refused[0].contains("nothing is deleted"), "{:?}", stage.refused);
    assert_eq!(stage.say(&mut far, "CLUSTER COUNTKEYSINSLOT 5061"), "1");
}

#[test]
fn a_target_without_memory_keeps_nothing_of_what_comes() {
    let config = Config { memory_max_bytes: 1, ..Config::default() };
    let mut stage = Stage::with(Config::default(), config);
    let (mut near, mut far) = (stage.source.client(), stage.target.client());
    stage.say(&mut far, "SET a 1");
    stage.say(&mut near, "HSET bar f 1");
    stage.carry(1);
    stage.until("it is refused", |it| !it.refused.is_empty());
    assert!(stage.refused[0].contains("maxmemory"), "{:?}", stage.refused);
    assert_eq!(stage.say(&mut far, "CLUSTER COUNTKEYSINSLOT 5061"), "0");
    assert_eq!(stage.covered, 0);
}

#[test]
fn frames_of_a_try_that_has_not_begun_are_refused() {
    let mut stage = Stage::new();
    let frame =
        pb::MoveFrame { r#move: ID.0, epoch: 1, session: 3, covers: 9, ..Default::default() };
    let arrive = |stage: &mut Stage, frame: pb::MoveFrame| {
        let arrived = Box::new(Arrived { frame, back: stage.back.0.clone() });
        stage.target.link.send(ToData::Move(MoveOrder::Arrived(arrived)));
    };
    arrive(&mut stage, frame.clone());
    stage.until("it is refused", |it| it.refused.len() == 1);
    arrive(&mut stage, pb::MoveFrame { begins: true, covers: 0, number: 1, ..frame.clone() });
    arrive(&mut stage, pb::MoveFrame { number: 2, ..frame.clone() });
    stage.until("it is taken", |it| it.covered == 9);
    arrive(&mut stage, pb::MoveFrame { begins: true, session: 2, number: 1, ..frame.clone() });
    stage.until("an earlier one is refused", |it| it.refused.len() == 2);
    arrive(&mut stage, pb::MoveFrame { r#move: 9, begins: true, number: 1, ..frame.clone() });
    stage.until("so is another move", |it| it.refused.len() == 3);
    arrive(&mut stage, pb::MoveFrame { number: 4, covers: 20, ..frame.clone() });
    stage.until("so is what comes after something that is missing", |it| it.refused.len() == 4);
    arrive(&mut stage, pb::MoveFrame { number: 3, covers: 20, ..frame });
    stage.until("and all after that", |it| it.refused.len() == 5);
    assert_eq!(stage.covered, 9);
}

#[test]
fn a_slot_goes_over_with_what_a_command_has_written_that_had_begun_elsewhere() {
    let mut stage = Stage::new();
    let (mut near, mut far) = (stage.source.client(), stage.target.client());
    for from in (0..40_000).step_by(1000) {
        let items: Vec<String> = (from..from + 1000).map(|n| format!("i{n}")).collect();
        stage.say(&mut near, &format!("RPUSH {{bar}}l {}", items.join(" ")));
    }
    stage.carry(1);
    stage.until("everything is copied", |it| it.is_copied());
    let mut long = stage.source.client();
    long.send("SORT {bar}l ALPHA STORE {bar}d");
    super::loans::begun(&mut near, 0);
    stage.source.link.send(ToData::Move(MoveOrder::Hold { session: 1 }));
    stage.until("it is held", |it| it.held().is_some());
    stage.until("all of it is there", |it| it.held() <= Some(it.covered));
    assert_eq!(show(&long.reply()), "40000");
    stage.target.link.send(moving("x", Some(Phase::Done)));
    stage.source.link.send(moving("a", Some(Phase::Done)));
    stage.source.link.send(ToData::Move(MoveOrder::End));
    stage.until("the source has deleted it", |it| it.news.contains(&MoveNews::Ended(ID)));
    assert_eq!(stage.say(&mut far, "LLEN {bar}d"), "40000");
    assert_eq!(stage.say(&mut far, "LINDEX {bar}d 1"), "i1");
}
