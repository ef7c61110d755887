//! Writes that nobody judges: they make logs long enough to be given up at the front, and snapshots
//! large enough to take a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cairn_harness::client::{Client, Patience};
use cairn_harness::clock::wait;
use cairn_harness::cluster::Cluster;
use cairn_harness::dice::Dice;
use cairn_harness::directory::load::{Load, Loading};

/// Bytes of a value in the groups.
const VALUE_BYTES: usize = 32 << 10;
/// Keys of all groups together: 8 MiB.
const KEYS: u64 = 256;
/// Between two writes: 1 MiB a second.
const REST: Duration = Duration::from_millis(30);

/// The writers; they end when this is dropped.
pub struct Filler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _directory: Loading,
}

impl Filler {
    /// Begins to write.
    pub fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, seeds) = (Arc::clone(&stop), cluster.seeds());
        let thread = std::thread::spawn(move || fill(&seeds, &stopped));
        let directory = Load {
            endpoints: cluster.etcd_endpoints(),
            writers: 1,
            puts: 1,
            per_second: 20.0,
            keys: 32,
            key_bytes: 16,
            value_bytes: 16 << 10,
            fill: false,
            prefix: "/filler/".into(),
            compact_every: Some(Duration::from_secs(5)),
        };
        Self { stop, thread: Some(thread), _directory: directory.start() }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            drop(thread.join());
        }
    }
}

fn fill(seeds: &[String], stop: &AtomicBool) {
    let mut client = Client::new(seeds, Patience::default());
    let mut dice = Dice::new(1);
    let mut value = vec![0; VALUE_BYTES];
    while !stop.load(Ordering::Relaxed) {
        for eight in value.chunks_exact_mut(8) {
            // Nothing that a snapshot could make shorter.
            eight.copy_from_slice(&dice.below(u64::MAX).to_le_bytes());
        }
        let key = format!("filler:{}", dice.below(KEYS));
        // Refused or not: nobody relies on it.
        drop(client.call(&key, &[b"SET", key.as_bytes(), &value]));
        wait(REST);
    }
}
