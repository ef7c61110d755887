//! A master that writes checks, and followers that compare with them.

use super::*;
use crate::data::link::{Compared, Piece};
use cairn_keyspace::{Builder, Export, Keyspace, Part, Portion};
use cairn_logic::ids::EntryId;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};

/// A master of three keys that checks all of its data every 20 ms.
fn checking() -> Rig {
    let mut rig = Rig::master();
    let mut client = rig.client();
    for words in ["SET b 1", "HSET {b}2 f v", "SET c 3"] {
        client.send(words);
        rig.commit_next();
    }
    let config = Config { check_interval: Duration::from_millis(20), ..Config::default() };
    rig.link.send(ToData::Config(config));
    rig
}

/// What a follower's snapshot holds that has another value under a key.
fn forged() -> Vec<Portion> {
    let mut rig = Rig::master();
    let mut client = rig.client();
    for words in ["SET b 1", "HSET {b}2 f other", "SET c 3"] {
        client.send(words);
        rig.commit_next();
    }
    let mut keyspace = Keyspace::new(9);
    for batch in &rig.appended {
        keyspace.apply(&batch.body, batch.head.first).unwrap();
    }
    let mut export = Export::new(1 << 20);
    while export.advance(&keyspace, EntryId::ZERO, 100) {}
    export.take().into_iter().map(|(_, portion)| portion).collect()
}

/// A follower that begins with the forged snapshot.
fn wrong() -> Rig {
    let rig = Rig::replica(Role::Replica);
    rig.link.send(ToData::Rebuild { load: 1 });
    let mut builder = Builder::new(1);
    for portion in forged() {
        builder.add(&portion, Offset(3)).unwrap();
    }
    let built = builder.take().expect("there are portions");
    rig.link.send(ToData::Adopt { load: 1, built });
    let last = EntryId::new(Epoch(1), Offset(3));
    rig.link.send(ToData::Imported { load: 1, last });
    rig.link.send(ToData::Loading(false));
    rig
}

impl Rig {
    /// Commits what comes, up to a repair.
    fn commit_repair(&mut self) {
        let mut repairs = false;
        while !repairs {
            self.commit_next();
            let batch = self.appended.last().expect("one was committed");
            let note = |note: cairn_keyspace::Note| repairs |= note.repairs;
            cairn_keyspace::notes_of(&batch.body, batch.head.first, note).unwrap();
        }
    }

    fn compared(&mut self) -> Compared {
        match self.next() {
            Some(FromData::Compared(compared)) => *compared,
            other => panic!("expected findings, got {other:?}"),
        }
    }
}

#[test]
fn a_master_checks_and_a_follower_that_is_the_same_says_nothing() {
    let mut master = checking();
    (0..5).for_each(|_| master.commit_next());
    let mut follower = Rig::replica(Role::Replica);
    for batch in &master.appended {
        follower.link.send(ToData::Apply(batch.clone()));
    }
    assert!(follower.next().is_none(), "nothing differs");
    let checks = follower.link.gauges().checks.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(checks, 5);
}

#[test]
fn a_difference_is_found_and_mended_and_kept_aside_before_a_snapshot() {
    let mut master = checking();
    master.commit_next();
    let mut follower = wrong();
    let mut client = follower.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert_eq!(client.say("HGET {b}2 f"), "other");
    follower.link.send(ToData::Apply(master.appended[3].clone()));
    let Compared { findings, differing, .. } = follower.compared();
    assert_eq!((findings.differ.len(), findings.replaced.len()), (1, 0));
    assert_eq!(findings.differ[0].1, Offset(4));

    master.link.send(ToData::Repair(differing[0].clone()));
    master.commit_repair();
    for batch in master.appended.iter().skip(4) {
        follower.link.send(ToData::Apply(batch.clone()));
    }
    let Compared { findings, differing, .. } = loop {
        let compared = follower.compared();
        if !compared.findings.replaced.is_empty() {
            break compared;
        }
    };
    assert_eq!(differing, []);
    let [replaced] = &findings.replaced[..] else { panic!("one slot: {findings:?}") };
    let keys = |portion: &Portion| {
        let mut keys = Vec::new();
        cairn_keyspace::keys_of(&portion.records, |key| keys.push(key.to_vec())).unwrap();
        keys.sort();
        keys
    };
    assert_eq!(keys(&replaced.own), [b"b".to_vec(), b"{b}2".to_vec()]);
    assert_eq!(keys(&replaced.masters), keys(&replaced.own));
    assert!(replaced.own.records.windows(5).any(|bytes| bytes == b"other"));
    assert_eq!(client.say("HGET {b}2 f"), "v");

    let (to, pieces) = sync_channel(4);
    follower.link.send(ToData::Export(to));
    let wait = Duration::from_millis(100);
    assert_eq!(pieces.recv_timeout(wait).err(), Some(RecvTimeoutError::Timeout));
    follower.link.send(ToData::KeptAside(1));
    assert!(matches!(pieces.recv_timeout(wait * 50), Ok(Piece::Portion(..))));
}

#[test]
fn nothing_is_replaced_without_room_to_keep_it_aside() {
    let mut master = checking();
    master.commit_next();
    let all = Part::Keys { from: 0, to: cairn_keyspace::END };
    let mut follower = wrong();
    follower.link.send(ToData::MayMend(false));
    master.link.send(ToData::Repair(all));
    master.commit_repair();
    for batch in master.appended.iter().skip(3) {
        follower.link.send(ToData::Apply(batch.clone()));
    }
    loop {
        let Compared { findings, differing, .. } = follower.compared();
        assert_eq!(findings.replaced, []);
        assert!(!differing.is_empty() || findings.differ.is_empty());
        if !findings.left.is_empty() {
            break;
        }
    }
    let mut client = follower.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert_eq!(client.say("HGET {b}2 f"), "other");
}

#[test]
fn wishes_of_members_change_nothing_for_clients_of_the_master() {
    let mut master = checking();
    let mut client = master.client();
    assert_eq!(client.say("WATCH b"), "OK");
    let part = Part::Keys { from: 0, to: cairn_keyspace::END };
    master.link.send(ToData::Repair(part));
    master.commit_repair();
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("SET b 2"), "QUEUED");
    client.send("EXEC");
    (0..20).for_each(|_| master.commit_next());
    assert_eq!(show(&client.reply()), "[OK]");
}
