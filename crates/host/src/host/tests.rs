//! What a host does while there is no state to apply to.

use super::*;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{Incarnation, Life, NodeId, Version};
use cairn_logic::message::{Answer, Mode, Order, Sender};
use cairn_logic::record::{Durability, Member, Role, Rule};
use cairn_logic::replication::{Admission, Alarm, Change, Reads, Recovered, Vote};
use cairn_logic::timing::Timing;

/// Writes down what it is asked.
#[derive(Default)]
struct Notes {
    now: Instant,
    /// Where the next state begins.
    state: Offset,
    said: Vec<String>,
    written: EntryId,
    asked: Option<Record>,
}

impl World for Notes {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn unix_ms(&mut self) -> u64 {
        0
    }

    fn persist_vote(&mut self, _: &Vote) {}

    fn write(&mut self, batches: Vec<Batch>) {
        self.written = batches.last().map_or(self.written, |b| b.head.last());
    }

    fn flush(&mut self) {}

    fn cut(&mut self, _: Offset) {}

    fn restart(&mut self, after: EntryId, _: Offset) {
        self.said.push(format!("restart {after}"));
    }

    fn fetch(&mut self, at_least: EntryId) {
        self.said.push(format!("fetch {at_least}"));
    }

    fn read(&mut self, from: Offset, _: Offset, _: usize, _: ReadFor) {
        self.said.push(format!("read {from}"));
    }

    fn send(&mut self, _: &NodeId, _: Message, _: Vec<Bytes>) {}

    fn answer(&mut self, _: Answer) {}

    fn ask_record(&mut self, _: Version, record: Record) {
        self.asked = Some(record);
    }

    fn read_record(&mut self) {}

    fn rebuild(&mut self, _: &dyn Fn(EntryId) -> bool) -> Offset {
        self.said.push(format!("state {}", self.state));
        self.state
    }

    fn apply_room(&mut self) -> bool {
        true
    }

    fn apply(&mut self, batch: &Batch) {
        self.said.push(format!("apply {}", batch.head.last()));
    }

    fn committed(&mut self, _: Offset) {}

    fn become_master(&mut self, epoch: Epoch, _: EntryId, _: &Record) {
        self.said.push(format!("master {epoch}"));
    }

    fn open_epoch(&mut self, record: &EpochRecord) {
        self.said.push(format!("open {}", record.epoch));
    }

    fn step_down(&mut self, _: Epoch) {}

    fn admission(&mut self, _: Admission) {}

    fn read_until(&mut self, _: Option<Instant>) {}

    fn reads_confirmed(&mut self, _: u64) {}

    fn alarm(&mut self, _: Alarm) {}
}

fn id(epoch: u64, offset: u64) -> EntryId {
    EntryId::new(Epoch(epoch), Offset(offset))
}

fn me() -> Sender {
    Sender { id: NodeId::new("n1"), incarnation: Incarnation(1) }
}

/// A node whose log begins after 2/5 and ends with 2/8, and that has no state.
fn host() -> Host<Notes> {
    let vote =
        Vote { sealed: Epoch(2), intact: true, life: Life(1), reserved: 0, unflushed: false };
    let recovered = Recovered {
        vote,
        before: id(2, 5),
        epochs: vec![(Epoch(2), Offset(6))],
        last: id(2, 8),
        flushed: Offset(8),
        clean: None,
        same_boot: true,
        failed_disk: false,
        torn: false,
    };
    let (now, mut start) = (Instant::ZERO, Vec::new());
    let (plane, timing) = (Plane::Group, Timing::default());
    let replica = Replica::start(me(), plane, recovered, timing, Reads::Lease, now, &mut start);
    let mut host = Host::new(Notes::default(), replica, start, 1 << 20);
    host.handle(Event::VotePersisted);
    host
}

impl Host<Notes> {
    fn at(&mut self, ms: u64, event: Event) -> Vec<String> {
        self.world.now = Instant::ZERO + Duration::from_millis(ms);
        self.handle(event);
        std::mem::take(&mut self.world.said)
    }
}

fn record(epoch: u64, attempt: u64) -> Record {
    Record {
        version: Version(attempt * 2 + u64::from(epoch == attempt)),
        epoch: Epoch(epoch),
        master: Some(me().id),
        members: vec![Member {
            id: me().id,
            incarnation: Incarnation(1),
            role: Role::Master,
            zone: None,
        }],
        rule: Rule::One,
        wanted: 1,
        durability: Durability::default(),
        attempt: Epoch(attempt),
        open: epoch != attempt,
    }
}

#[test]
fn without_a_state_nothing_is_applied_and_a_snapshot_is_asked_for_every_second() {
    let mut host = host();
    assert_eq!(std::mem::take(&mut host.world.said), ["state 0", "fetch 2/5"]);
    assert!(host.at(500, Event::Tick).is_empty());
    assert_eq!(host.at(1000, Event::Tick), ["fetch 2/5"]);
    host.world.state = Offset(7);
    assert_eq!(host.at(1100, Event::Fetched(id(2, 7))), ["state 7"]);
    assert!(host.at(5000, Event::Tick).is_empty());
    assert!(host.at(5100, Event::Fetched(id(2, 8))).is_empty(), "one more is no new state");
}

#[test]
fn a_mastership_that_waits_for_its_state_opens_later_what_it_has_gone_on_to() {
    let mut host = host();
    host.at(0, Event::Record(record(2, 3)));
    let seal = Order::Seal { attempt: Epoch(3), forced: true, released: false };
    host.at(1000, Event::Order(seal));
    host.at(1010, Event::VotePersisted);
    let Record { members, rule, wanted, durability, .. } = record(3, 3);
    let mode = Mode { rule, wanted, durability };
    let life = host.replica().vote().life;
    let (attempt, last) = (Epoch(3), id(2, 8));
    host.at(1020, Event::Order(Order::Elect { attempt, life, last, members, mode, above: 0 }));
    let opened = host.world.written;
    host.at(1030, Event::Flushed(opened));
    let said = host.at(1040, Event::Record(record(3, 3)));
    assert!(!said.contains(&"master 3".to_owned()), "{said:?}");
    host.at(1050, Event::VotePersisted);
    let flushed = Mode { durability: Durability { flushed: true, zones: 1 }, ..mode };
    host.at(1060, Event::Wish(Some(Change::Mode(flushed))));
    host.at(1070, Event::Tick);
    let asked = host.world.asked.take().expect("it asks for the change");
    let said = host.at(1080, Event::Record(asked));
    assert!(!said.contains(&"open 4".to_owned()), "{said:?}");
    host.at(1090, Event::VotePersisted);
    host.world.state = opened.offset;
    assert_eq!(host.at(1100, Event::Fetched(id(2, 8))), ["state 9", "master 3", "open 4"]);
}
