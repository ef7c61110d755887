//! What goes on beside the busy clients: keys that all end within one second, again and again, and
//! large keys that are deleted and made again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use cairn_harness::client::{Connection, Frame};
use cairn_harness::clock::wait;
use cairn_harness::dice::Dice;

use super::data::{Large, connect, send};
use crate::bench::load::open::note;

/// Keys of a storm that are written in one piece, and the rest between two pieces of anything.
const PIECE: u64 = 100;
const REST: Duration = Duration::from_millis(10);
/// Parts of a storm's period in which its keys are written, and after which they begin to end.
const WRITTEN: f64 = 0.65;
const ENDS: f64 = 0.8;

/// How many keys end together, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Storms {
    pub keys: u64,
    pub period: Duration,
}

/// What was done and seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// Keys that were written to end together.
    pub ended: u64,
    /// Large keys that were deleted and made again.
    pub remade: u64,
    /// The longest deletion of one, in milliseconds.
    pub delete_ms: f64,
    pub errors: BTreeMap<String, u64>,
}

impl Done {
    /// Counts what somebody else did as well.
    pub fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.remade += other.remade;
        self.delete_ms = self.delete_ms.max(other.delete_ms);
        other.errors.into_iter().for_each(|(text, times)| note(&mut self.errors, text, times));
    }
}

/// Writes the keys of all storms that end before `time` is over.
///
/// # Errors
/// If the connection breaks.
pub fn storms(address: &str, storms: Storms, time: Duration, stop: &AtomicBool) -> Result<Done> {
    let mut connection = connect(address)?;
    let (began, mut done) = (Instant::now(), Done::default());
    let mut dice = Dice::new(unix_ms());
    let count = (time.as_secs_f64() / storms.period.as_secs_f64()).floor() as u32;
    for number in 0..count {
        let begins = storms.period * number;
        wait_for(began, begins, stop);
        let ends_ms = unix_ms() + storms.period.mul_f64(ENDS).as_millis() as u64;
        let writing = storms.period.mul_f64(WRITTEN);
        for piece in 0..storms.keys / PIECE {
            let share = piece as f64 * PIECE as f64 / storms.keys as f64;
            wait_for(began, begins + writing.mul_f64(share), stop);
            if stop.load(Ordering::Relaxed) {
                return Ok(done);
            }
            let set = |key: u64| {
                let name = format!("storm:{ends_ms}:{}", piece * PIECE + key);
                let at = (ends_ms + dice.below(1000)).to_string();
                ["SET", &name, "until the storm", "PXAT", &at].map(Vec::from).to_vec()
            };
            let commands: Vec<Vec<Vec<u8>>> = (0..PIECE).map(set).collect();
            match send(&mut connection, &commands) {
                Ok(()) => done.ended += PIECE,
                Err(error) => {
                    note(&mut done.errors, format!("storm: {error:#}"), 1);
                    connection = connect(address)?;
                }
            }
        }
    }
    Ok(done)
}

/// Deletes a large key and makes it again, one after the other, one each `period`, until told to
/// stop; the last one is made whole.
///
/// # Errors
/// If the connection breaks.
pub fn remake(address: &str, first: u64, period: Duration, stop: &AtomicBool) -> Result<Done> {
    let mut connection = connect(address)?;
    let (began, mut done) = (Instant::now(), Done::default());
    let all = Large::all();
    for number in 0_u32.. {
        wait_for(began, period * number, stop);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let turn = first + u64::from(number);
        let large = all[(turn % all.len() as u64) as usize];
        // By turns for each key, as there is an even number of them.
        let at_once = (turn / all.len() as u64 + turn).is_multiple_of(2);
        match remake_one(&mut connection, large, at_once) {
            Ok(took) => {
                done.delete_ms = done.delete_ms.max(took.as_secs_f64() * 1000.0);
                done.remade += 1;
            }
            Err(error) => {
                note(&mut done.errors, format!("large key: {error:#}"), 1);
                connection = connect(address)?;
            }
        }
    }
    Ok(done)
}

/// Makes all large keys again; what is done before the end is measured.
///
/// # Errors
/// If one cannot be made.
pub fn remake_all(address: &str) -> Result<()> {
    let mut connection = connect(address)?;
    Large::all()
        .into_iter()
        .try_for_each(|large| remake_one(&mut connection, large, false).map(drop))
}

/// How long the deletion took.
fn remake_one(connection: &mut Connection, large: Large, at_once: bool) -> Result<Duration> {
    let verb: &[u8] = if at_once { b"DEL" } else { b"UNLINK" };
    let asked = Instant::now();
    let answer = connection.call(&[verb, large.name().as_bytes()])?;
    let took = asked.elapsed();
    if let Frame::Error(error) = answer {
        anyhow::bail!("{error}");
    }
    for piece in 0..large.pieces() {
        large.make(connection, piece)?;
        wait(REST);
    }
    Ok(took)
}

/// Waits until so long after `began`, or until told to stop.
fn wait_for(began: Instant, after: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match after.checked_sub(began.elapsed()) {
            None | Some(Duration::ZERO) => return,
            Some(left) => wait(left.min(Duration::from_millis(50))),
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
