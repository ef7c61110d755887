//! Whether the machine lets its processes run: a thread that wants to wake up every 10 ms and notes
//! when it did not.
//!
//! Nodes that stand still because the machine is busy look to one another like nodes that are gone.
//! Takeovers at such moments prove nothing about the detection of failures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_harness::clock::wait;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);
/// What is worth a note.
const NOTED: Duration = Duration::from_millis(30);
/// Who waits for so long for a processor is starved: masters are asked for by their members after
/// 600 ms of silence, and heartbeats come every 100 ms.
pub const STARVED: Duration = Duration::from_millis(250);
/// For how long what the machine did can still be the reason of a takeover that is seen now.
pub const REACH: Duration = Duration::from_secs(4);

/// When it woke up, and how much too late.
type Stall = (Instant, Duration);

/// The thread and what it noted.
#[derive(Debug)]
pub struct Machine {
    stalls: Arc<Mutex<Vec<Stall>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Machine {
    /// Begins to look.
    pub fn watch() -> Self {
        let stalls = Arc::new(Mutex::new(Vec::<Stall>::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (own, stopped) = (Arc::clone(&stalls), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                wait(EVERY);
                let late = began.elapsed().saturating_sub(EVERY);
                if late >= NOTED {
                    own.lock().expect("nobody panics").push((Instant::now(), late));
                }
            }
        });
        Self { stalls, stop, thread: Some(thread) }
    }

    /// For how long it waited for a processor at most, between two instants.
    pub fn longest(&self, from: Instant, until: Instant) -> Duration {
        longest(&self.stalls.lock().expect("nobody panics"), from, until)
    }

    /// Whether the machine may be the reason of what was seen at `at`.
    pub fn starved(&self, at: Instant) -> bool {
        self.longest(at.checked_sub(REACH).unwrap_or(at), at) >= STARVED
    }
}

fn longest(stalls: &[Stall], from: Instant, until: Instant) -> Duration {
    // A stall may end after what it is the reason of, but not begin after it.
    let within = stalls.iter().filter(|(woke, late)| *woke >= from && *woke <= until + *late);
    within.map(|(_, late)| *late).max().unwrap_or_default()
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say any more.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_overlaps_a_time_counts_for_it() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let stalls = [(at(1000), Duration::from_millis(400)), (at(9000), Duration::from_secs(2))];
        let longest = |from, until| longest(&stalls, at(from), at(until)).as_millis();
        assert_eq!((longest(0, 2000), longest(0, 500)), (400, 0));
        assert_eq!((longest(1100, 6000), longest(1100, 7500)), (0, 2000));
        assert_eq!(longest(0, 9000), 2000);
    }
}
