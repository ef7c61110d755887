//! A master that writes a snapshot of itself.

use super::*;
use crate::data::link::Piece;
use cairn_logic::ids::EntryId;
use std::sync::mpsc::{Receiver, sync_channel};

const LONG: Duration = Duration::from_secs(10);

/// All portions: how many keys they hold, and after which entries they were so.
fn take(pieces: &Receiver<Piece>) -> Option<(u32, Vec<EntryId>)> {
    let (mut keys, mut entries) = (0, Vec::new());
    loop {
        match pieces.recv_timeout(LONG) {
            Ok(Piece::Portion(portion, at)) => {
                keys += portion.keys;
                entries.push(at);
            }
            Ok(Piece::End) => return Some((keys, entries)),
            Err(error) => {
                assert_eq!(error, std::sync::mpsc::RecvTimeoutError::Disconnected);
                return None;
            }
        }
    }
}

#[test]
fn a_masters_snapshot_says_the_last_entry_that_its_portions_hold() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    // Appended, and committed by nobody.
    client.send("SET b 1");
    client.send("SET {b}2 2");
    while rig.appended.iter().map(|batch| batch.head.count).sum::<u32>() < 2 {
        rig.next().expect("it is appended");
    }
    let last = rig.appended.last().expect("a batch").head.last();
    let (to, pieces) = sync_channel(1);
    rig.link.send(ToData::Export(to));
    let (keys, entries) = take(&pieces).expect("it has an end");
    assert_eq!(keys, 2);
    assert!(entries.iter().all(|at| *at == last), "{entries:?} {last}");
}

#[test]
fn a_snapshot_has_no_end_when_its_master_steps_down() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.commit_next();
    let (to, pieces) = sync_channel(0);
    rig.link.send(ToData::Export(to));
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    pause(50);
    assert_eq!(take(&pieces), None);
}
