//! Many clients that wait, listen, track, pause and are closed, by dice: the thread goes on, and
//! what it has logged gives the same data elsewhere.

use super::{Client, FOREVER, Rig, pause};
use crate::data::link::{Answers, Digest, FromData, Query, Reads, ToData};
use cairn_keyspace::Keyspace;
use cairn_logic::ids::{Epoch, Offset};
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

/// Commands; `?` becomes one of three keys of a slot, `#` a small number.
const WORDS: [&str; 45] = [
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
    "HELLO 3",
    "RESET",
];

impl Rig {
    /// Commits what has been appended, and applies it to a copy.
    fn settle(&mut self, copy: &mut Keyspace) {
        while let Ok(message) = self.from.try_recv() {
            if let FromData::Appended(batch) = message {
                let applied = copy.apply(&batch.body, batch.head.first);
                assert_eq!(applied, Ok(batch.head.count), "{:?}", batch.head);
                self.link.commit(batch.head.last_offset());
                self.appended.push(batch);
            }
        }
        while self.published.try_recv().is_ok() {}
    }

    /// What the thread holds, once it has done everything that was sent before.
    fn digest(&mut self, copy: &mut Keyspace) -> Digest {
        let (ask, mut answer) = oneshot::channel();
        self.link.send(ToData::Query(Query::Digest(ask)));
        loop {
            self.settle(copy);
            match answer.try_recv() {
                Ok(digest) => {
                    self.settle(copy);
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
        true => WORDS[8 + dice.below(12)],
        false => WORDS[dice.below(WORDS.len())],
    };
    let mut words = String::new();
    for letter in template.chars() {
        match letter {
            '?' => words.push_str(["b", "{b}1", "{b}2"][dice.below(3)]),
            '#' => words.push_str(["1", "2", "5"][dice.below(3)]),
            other => words.push(other),
        }
    }
    words
}

#[test]
fn whatever_clients_do_the_log_tells_the_same_as_the_master_holds() {
    (0..3).for_each(storm);
}

fn storm(seed: u64) {
    let (mut rig, mut copy, mut dice) = (Rig::master(), Keyspace::new(1), Dice(seed));
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
            _ => clients[one].send(&words(&mut dice, one < CLIENTS / 3)),
        }
        if step % 8 == 0 {
            rig.settle(&mut copy);
        }
        if step % 500 == 499 {
            // Everything is committed: a mastership ends, and the next one goes on behind it.
            let digest = rig.digest(&mut copy);
            epoch += 1;
            rig.link.send(ToData::StepDown { epoch: Epoch(epoch) });
            let digest_after = rig.digest(&mut copy);
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
        rig.settle(&mut copy);
    }
    // Until nothing was written behind the moment of the digest: keys still expire.
    let (digest, last) = loop {
        let digest = rig.digest(&mut copy);
        let last = rig.appended.last().map_or(Offset::ZERO, |batch| batch.head.last_offset());
        if digest.applied == last {
            break (digest, last);
        }
    };
    assert_eq!((digest.digest, digest.keys), (copy.digest(), copy.len() as u64), "seed {seed}");
    assert!(last > Offset(300), "it wrote {last} entries only");
}
