//! Many clients that wait, listen, track, pause, run scripts and are closed, by dice, while the
//! wall clock jumps and memory is short: the thread goes on, and what it has logged gives the same
//! data elsewhere, wherever one looks.

use super::{Client, FOREVER, Rig, pause};
use crate::clock;
use crate::data::link::{Answers, Config, Digest, FromData, Query, Reads, ToData};
use cairn_keyspace::{Eviction, Keyspace, Policy, slot_of};
use cairn_logic::ids::{Epoch, Offset};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use tokio::sync::oneshot;

const STEPS: usize = 3000;
const CLIENTS: usize = 12;

/// Numbers that are always the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }
}

/// Commands; `?` becomes one of three keys of a slot, `#` a small number, `~` a long text.
const WORDS: [&str; 58] = [
    "BLPOP ? 0",
    "BRPOP ? ? 0.01",
    "BLMOVE ? ? LEFT RIGHT 0",
    "BRPOPLPUSH ? ? 0.02",
    "BLMPOP 0 2 ? ? LEFT COUNT #",
    "BZPOPMIN ? ? 0",
    "BZPOPMAX ? 0.01",
    "BZMPOP 0 1 ? MAX COUNT #",
    "RPUSH ? x y z",
    "LPUSH ? x",
    "ZADD ? # m",
    "ZADD ? 1 a 2 b 3 c",
    "DEL ?",
    "DEL ? ?",
    "RENAME ? ?",
    "COPY ? ? REPLACE",
    "SORT ? BY nosort STORE ?",
    "SET ? # PX 3",
    "EXPIRE ? 0",
    "FLUSHALL",
    "SADD ? a b c d 1 2 3",
    "SPOP ? #",
    "SET {b}large# ~",
    "APPEND ? ~",
    "EVAL redis.call('RPUSH',KEYS[1],math.random(99))\tredis.call('SPOP',KEYS[2]) 2 ? ?",
    "EVAL redis.call('SET',KEYS[1],'x','PX',5)\tredis.call('INCR',KEYS[2])\terror('late') 2 ? ?",
    "EVAL redis.call('XADD',KEYS[1],'*','f',redis.call('TIME')[2]) 1 ?",
    "FCALL grow 2 ? ?",
    "FUNCTION LOAD REPLACE ^",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH ?",
    "GET ?",
    "LRANGE ? 0 -1",
    "SUBSCRIBE ?",
    "PSUBSCRIBE *",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SSUBSCRIBE ?",
    "PUBLISH ? hello",
    "SPUBLISH ? hello",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON BCAST NOLOOP",
    "CLIENT TRACKING OFF",
    "CLIENT PAUSE # WRITE",
    "CLIENT UNPAUSE",
    "XADD ? * f v",
    "XGROUP CREATE ? g $ MKSTREAM",
    "XREAD BLOCK 0 STREAMS ? $",
    "XREADGROUP GROUP g # BLOCK 10 STREAMS ? >",
    "XREADGROUP GROUP g # COUNT # STREAMS ? >",
    "XAUTOCLAIM ? g # 0 - COUNT #",
    "XTRIM ? MAXLEN #",
    "GEOADD ? # # m",
    "FUNCTION DELETE lib",
    "HELLO 3",
    "RESET",
];

/// A library with a function that draws numbers.
const LIBRARY: &str = "#!lua\tname=lib\nredis.register_function('grow',function(keys)\n\
    redis.call('SADD',keys[1],math.random(999))\tredis.call('SPOP',keys[1])\n\
    return\tredis.call('HSET',keys[2],math.random(9),redis.call('TIME')[1])\tend)";

/// How far the wall clock is ahead of the real one, in milliseconds.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

fn shifted_ms() -> u64 {
    clock::unix_ms().saturating_add_signed(AHEAD_MS.load(Relaxed))
}

/// Two members that apply what the master logs, and what they held behind each batch.
struct Copies {
    members: [Keyspace; 2],
    /// By the last offset of a batch; all keys are of one slot.
    digests: BTreeMap<Offset, u64>,
    /// How often the master was found to hold the same.
    compared: usize,
}

impl Copies {
    fn new() -> Self {
        let members = [2, 3].map(Keyspace::new);
        Self { members, digests: BTreeMap::from([(Offset::ZERO, 0)]), compared: 0 }
    }

    fn digest(&self) -> u64 {
        let [digest, other] = [0, 1].map(|it| self.members[it].slot_share(slot_of(b"b")));
        assert_eq!(digest, other, "members differ");
        digest
    }

    fn is(&mut self, master: &Digest) {
        let digest = self.digests.get(&master.applied);
        assert_eq!(digest, Some(&master.digest), "at {}", master.applied);
        self.compared += 1;
    }
}

impl Rig {
    /// Commits what has been appended, and applies it to copies.
    fn settle(&mut self, copies: &mut Copies) {
        while let Ok(message) = self.from.try_recv() {
            if let FromData::Appended(batch) = message {
                for member in &mut copies.members {
                    let applied = member.apply(&batch.body, batch.head.first);
                    assert_eq!(applied, Ok(batch.head.count), "{:?}", batch.head);
                }
                copies.digests.insert(batch.head.last_offset(), copies.digest());
                self.link.commit(batch.head.last_offset());
                self.appended.push(batch);
            }
        }
        while self.published.try_recv().is_ok() {}
    }

    /// What the thread holds, once it has done everything that was sent before.
    fn digest(&mut self, copies: &mut Copies) -> Digest {
        let (ask, mut answer) = oneshot::channel();
        self.link.send(ToData::Query(Query::Digest(ask)));
        loop {
            self.settle(copies);
            match answer.try_recv() {
                Ok(digest) => {
                    self.settle(copies);
                    return digest;
                }
                Err(_) => pause(1),
            }
        }
    }
}

/// A command of a client that does anything, or that only writes.
fn words(dice: &mut Dice, writes: bool) -> String {
    let template = match writes {
        true => WORDS[8 + dice.below(21)],
        false => WORDS[dice.below(WORDS.len())],
    };
    let mut words = String::new();
    for letter in template.chars() {
        match letter {
            '?' => words.push_str(["b", "{b}1", "{b}2"][dice.below(3)]),
            '#' => words.push_str(["1", "2", "5"][dice.below(3)]),
            '~' => words.push_str(&"x".repeat(4000)),
            '^' => words.push_str(LIBRARY),
            other => words.push(other),
        }
    }
    words
}

#[test]
fn whatever_clients_do_the_log_tells_the_same_as_the_master_holds() {
    (0..3).for_each(storm);
}

/// A master with little memory.
fn rig() -> Rig {
    let eviction = Eviction { policy: Policy::AllKeysRandom, ..Eviction::default() };
    let config = Config { memory_max_bytes: 16 << 10, eviction, ..Config::default() };
    Rig::follower_by(config, shifted_ms).mastering(Reads::Lease, Answers::AtCommit)
}

fn storm(seed: u64) {
    let (mut rig, mut copies, mut dice) = (rig(), Copies::new(), Dice(seed));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| rig.client()).collect();
    let mut epoch = 1;
    for step in 0..STEPS {
        let one = dice.below(CLIENTS);
        match dice.below(100) {
            // It goes, whatever it waits for.
            0..3 => clients[one] = rig.client(),
            3 => {
                let id = dice.below(60);
                clients[one].send(&format!("CLIENT UNBLOCK {id} ERROR"));
            }
            4 => AHEAD_MS.store(dice.below(4000) as i64 - 2000, Relaxed),
            _ => clients[one].send(&words(&mut dice, one < CLIENTS / 3)),
        }
        if step % 8 == 0 {
            let digest = rig.digest(&mut copies);
            copies.is(&digest);
        }
        if step % 500 == 499 {
            // Everything is committed: a mastership ends, and the next one goes on behind it.
            let digest = rig.digest(&mut copies);
            epoch += 1;
            rig.link.send(ToData::StepDown { epoch: Epoch(epoch) });
            let digest_after = rig.digest(&mut copies);
            assert!(digest_after.applied >= digest.applied);
            rig.become_master(epoch, digest_after.applied.0 + 1, Reads::Lease, Answers::AtCommit);
            rig.link.read_until(Some(FOREVER));
        }
    }
    drop(clients);
    let mut admin = rig.client();
    admin.send("CLIENT UNPAUSE");
    admin.send("PING");
    while !matches!(admin.reply_within(5), Some(cairn_resp::Reply::Simple(text)) if text == "PONG")
    {
        rig.settle(&mut copies);
    }
    let digest = rig.digest(&mut copies);
    copies.is(&digest);
    assert_eq!(copies.digest(), copies.members[0].digest(), "keys of other slots");
    let (last, count) = (digest.applied, copies.digests.len());
    assert!(last > Offset(300), "it wrote {last} entries only");
    assert!(copies.compared > STEPS / 8 && count > 100, "{} of {count}", copies.compared);
}
