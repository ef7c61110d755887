//! All members of a group hold the same after every entry, whatever commands its master executes.

#[path = "shared/lines.rs"]
mod lines;

use cairn_keyspace::command::{COMMANDS, Flags, Kind, lookup};
use cairn_keyspace::{Ctx, EffectLog, Evicted, Eviction, Keyspace, Policy, slot_of};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf, Version};
use lines::{Dice, SHAPES, key, line};
use proptest::prelude::*;

const NOW_MS: u64 = 1_700_000_000_000;

/// What happens to a group.
#[derive(Clone, Debug)]
enum Step {
    /// A command of this shape, with arguments by this seed.
    Command(usize, u64),
    /// Some of them as one unit: a transaction or a script.
    Unit(Vec<(usize, u64)>),
    /// A command is executed by another thread, on its slot; these meanwhile on others, and keys
    /// expire.
    Lent((usize, u64), Vec<(usize, u64)>),
    /// A key is dumped and restored under another name.
    Restore(u64),
    /// The clock goes on or back by so many milliseconds.
    Clock(i64),
    /// The cycle of expiry goes on.
    Expire(usize),
    /// Some keys are evicted by a policy.
    Evict(usize, usize),
    /// A library of functions is loaded, or given up.
    Library(usize, bool),
    /// What was logged reaches the member that gets batches.
    Batch,
    /// Another member becomes the master.
    Takeover,
}

fn step() -> impl Strategy<Value = Step> {
    let command = || (0..SHAPES.len(), any::<u64>());
    prop_oneof![
        60 => command().prop_map(|(shape, seed)| Step::Command(shape, seed)),
        6 => prop::collection::vec(command(), 0..6).prop_map(Step::Unit),
        6 => (command(), prop::collection::vec(command(), 0..4))
            .prop_map(|(command, others)| Step::Lent(command, others)),
        4 => any::<u64>().prop_map(Step::Restore),
        2 => (-1500_i64..3000).prop_map(Step::Clock),
        2 => (-2_i64..3).prop_map(|seconds| Step::Clock(seconds * 1000)),
        2 => (1_usize..20).prop_map(Step::Expire),
        2 => (0..Policy::ALL.len(), 1_usize..4).prop_map(|(it, keys)| Step::Evict(it, keys)),
        2 => (0_usize..3, any::<bool>()).prop_map(|(name, keep)| Step::Library(name, keep)),
        8 => Just(Step::Batch),
        1 => Just(Step::Takeover),
    ]
}

/// A member, without what its seed decides.
fn facts(member: &Keyspace) -> impl PartialEq + std::fmt::Debug {
    let share = |tag: &[u8]| member.slot_share(slot_of(tag));
    let sizes = (member.len(), member.expiring());
    (share(b"a"), share(b"b"), sizes, member.libraries().clone())
}

/// A master and two that follow it.
struct Group {
    master: Keyspace,
    /// It applies entry by entry.
    near: Keyspace,
    /// It applies batch by batch.
    far: Keyspace,
    log: EffectLog,
    now_ms: u64,
    /// How many entries have been compared.
    compared: u64,
}

impl Group {
    fn new() -> Self {
        let [master, near, far] = [1, 2, 3].map(Keyspace::new);
        Self { master, near, far, log: EffectLog::new(Offset(1)), now_ms: NOW_MS, compared: 0 }
    }

    fn execute(&mut self, words: &[String]) -> ReplyBuf {
        let args: ArgsBuf = words.iter().collect();
        let args = args.as_args();
        let command = lookup(args.name()).expect("a command");
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 10_000 };
        let mut reply = ReplyBuf::new(Version::Resp3);
        self.master.set_time(self.now_ms);
        self.master.execute(&ctx, command, args, None, &mut reply, &mut self.log);
        let whole = Reply::parse(reply.as_bytes()).expect("well-formed").expect("whole");
        assert_eq!(whole.1, reply.len(), "one reply to {words:?}");
        reply
    }

    fn command(&mut self, (shape, seed): (usize, u64)) {
        // Everything is gone too soon otherwise.
        let flush = SHAPES[shape].starts_with("FLUSH") && !seed.is_multiple_of(4);
        if !flush {
            self.execute(&line(SHAPES[shape], &mut Dice(seed)));
        }
    }

    fn lent(&mut self, (shape, seed): (usize, u64), others: &[(usize, u64)]) {
        let slot_of_line = |words: &[String]| {
            let args: ArgsBuf = words.iter().collect();
            let command = lookup(args.as_args().name()).expect("a command");
            command.first_key(args.as_args()).map(slot_of)
        };
        let words = line(SHAPES[shape], &mut Dice(seed));
        let Some(slot) = slot_of_line(&words) else { return };
        let args: ArgsBuf = words.iter().collect();
        let command = lookup(args.as_args().name()).expect("a command");
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 10_000 };
        self.master.set_time(self.now_ms);
        let mut loan = self.master.lend_slot(slot).expect("none is lent");
        for (shape, seed) in others {
            let words = line(SHAPES[*shape], &mut Dice(*seed));
            if slot_of_line(&words).is_some_and(|other| other != slot) {
                self.execute(&words);
            }
        }
        self.master.expire_some(self.now_ms, 20, &mut self.log);
        let mut reply = ReplyBuf::new(Version::Resp3);
        loan.execute(&ctx, command, args.as_args(), &mut reply);
        self.master.take_slot(loan, &mut self.log);
    }

    fn restore(&mut self, seed: u64) {
        let mut dice = Dice(seed);
        let tag = ["{a}", "{b}"][dice.below(2)];
        let [from, to] = [(); 2].map(|()| key("key", tag, &mut dice));
        let dumped = self.execute(&["DUMP".into(), from]);
        let Some((Reply::Bulk(payload), _)) =
            Reply::parse(dumped.as_bytes()).expect("a whole reply")
        else {
            return;
        };
        let ttl = ["0", "5", "90000", "1700000001000"][dice.below(4)];
        let more = ["REPLACE", "ABSTTL"][dice.below(2)];
        let words: [&[u8]; 6] =
            [b"RESTORE", to.as_bytes(), ttl.as_bytes(), &payload, b"REPLACE", more.as_bytes()];
        let args: ArgsBuf = words.iter().collect();
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 10_000 };
        let (command, mut reply) =
            (lookup(b"RESTORE").expect("a command"), ReplyBuf::new(Version::Resp3));
        self.master.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
        assert_eq!(reply.as_bytes(), b"+OK\r\n");
    }

    fn evict(&mut self, policy: usize, keys: usize) {
        let policy = Policy::ALL[policy].1;
        self.master.set_eviction(Eviction { policy, ..Eviction::default() });
        for _ in 0..keys {
            let from = self.log.body_bytes();
            if self.master.evict_one(&mut self.log) != Evicted::One {
                return;
            }
            self.follow(from);
        }
    }

    fn step(&mut self, step: &Step) {
        let from = self.log.body_bytes();
        match step {
            Step::Command(shape, seed) => self.command((*shape, *seed)),
            Step::Unit(commands) => {
                self.log.begin_unit();
                commands.iter().for_each(|command| self.command(*command));
                self.log.end_unit();
            }
            Step::Lent(command, others) => self.lent(*command, others),
            Step::Restore(seed) => self.restore(*seed),
            Step::Clock(ms) => self.now_ms = self.now_ms.saturating_add_signed(*ms),
            Step::Expire(budget) => {
                self.master.set_time(self.now_ms);
                self.master.expire_some(self.now_ms, *budget, &mut self.log);
            }
            Step::Evict(policy, keys) => return self.evict(*policy, *keys),
            Step::Library(name, true) => {
                let text = format!("#!lua name=l{name}\n-- {}", self.log.next_offset());
                self.master.put_library(&[b'l', *name as u8], text.as_bytes(), &mut self.log);
            }
            Step::Library(name, false) => {
                self.master.drop_library(&[b'l', *name as u8], &mut self.log);
            }
            Step::Batch => return self.batch(),
            Step::Takeover => {
                self.batch();
                std::mem::swap(&mut self.master, &mut self.near);
                return;
            }
        }
        self.follow(from);
    }

    /// The near follower applies what was logged behind so many bytes of the batch, by entries.
    fn follow(&mut self, from: usize) {
        let entries: Vec<Vec<u8>> = each_entry(self.log.entries_since(from));
        let first = self.log.next_offset().0 - entries.len() as u64;
        for (entry, offset) in entries.iter().zip(first..) {
            assert_eq!(self.near.apply(entry, Offset(offset)), Ok(1));
        }
        assert_eq!(facts(&self.master), facts(&self.near), "at {}", self.log.next_offset());
        self.compared += entries.len() as u64;
    }

    /// The far follower applies what it has not yet, as one batch.
    fn batch(&mut self) {
        let Some(entries) = self.log.take() else { return };
        assert_eq!(self.far.apply(&entries.body, entries.first), Ok(entries.count));
        assert_eq!(facts(&self.near), facts(&self.far), "behind {}", entries.first);
    }
}

/// The entries of a body, each with its length in front.
fn each_entry(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let (mut len, mut at) = (0_usize, 0);
        loop {
            len |= usize::from(body[at] & 0x7f) << (7 * at);
            at += 1;
            if body[at - 1] & 0x80 == 0 {
                break;
            }
        }
        let (entry, rest) = body.split_at(at + len);
        entries.push(entry.to_vec());
        body = rest;
    }
    entries
}

/// How many streams there are: 64, or what `CAIRN_STREAMS` says.
fn streams() -> u32 {
    std::env::var("CAIRN_STREAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(streams()))]

    #[test]
    fn members_are_equal_behind_every_entry(steps in prop::collection::vec(step(), 0..400)) {
        let mut group = Group::new();
        steps.iter().for_each(|step| group.step(step));
        group.batch();
        let digest = group.master.digest();
        prop_assert_eq!([group.near.digest(), group.far.digest()], [digest; 2]);
        prop_assert!(group.compared > 0 || steps.len() < 40, "nothing was written");
    }
}

#[test]
fn every_command_that_writes_is_among_the_shapes() {
    let writes =
        |kind: &Kind, flags: Flags| matches!(kind, Kind::Data(_)) && flags.has(Flags::WRITE);
    for command in COMMANDS.iter().filter(|it| writes(&it.kind, it.flags)) {
        let named = |shape: &&&str| {
            let name = shape.split(' ').next().unwrap_or_default();
            name.eq_ignore_ascii_case(command.name)
        };
        let restored = command.name.starts_with("restore");
        assert!(restored || SHAPES.iter().find(named).is_some(), "{} has none", command.name);
    }
}

/// Shapes that write nothing would prove nothing.
#[test]
fn every_shape_writes_sometimes() {
    let mut group = Group::new();
    let mut dice = Dice(7);
    let mut idle: Vec<usize> = (0..SHAPES.len()).collect();
    for round in 0..60_000 {
        // Streams whose entries are numbered beyond what arguments name are given up.
        if round % 3000 == 0 {
            group.execute(&["FLUSHALL".to_owned()]);
        }
        let shape = dice.below(SHAPES.len());
        let before = group.log.next_offset();
        let seed = dice.below(1 << 30) as u64;
        group.command((shape, seed));
        if group.log.next_offset() > before {
            idle.retain(|it| *it != shape);
        }
        group.batch_alone();
        if idle.is_empty() {
            return;
        }
    }
    let idle: Vec<&str> = idle.into_iter().map(|shape| SHAPES[shape]).collect();
    panic!("these never write: {idle:#?}");
}

impl Group {
    /// Forgets what was logged.
    fn batch_alone(&mut self) {
        drop(self.log.take());
    }
}
