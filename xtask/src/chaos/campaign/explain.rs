//! What nodes say all the time, and which takeovers faults explain.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_harness::clock::wait;
use cairn_harness::cluster::Cluster;
use cairn_harness::watch::Ledger;

/// Between two looks at what all nodes say.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Which takeovers are explained by faults.
#[derive(Debug, Default)]
pub struct Explained {
    steps: Vec<Touched>,
}

/// What a step may have done.
#[derive(Debug)]
struct Touched {
    number: u64,
    /// How many takeovers were seen before it.
    before: usize,
    /// Whose masterships may have changed hands by it.
    groups: Vec<String>,
}

/// Takeovers that no fault explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unexplained {
    /// While the machine kept processes waiting.
    pub starved: u64,
    /// All others.
    pub false_ones: u64,
}

impl Explained {
    /// Step `number` may have moved the masterships of `groups`; `before` takeovers were seen
    /// before it. Those that are seen between it and the next step are its doing, too.
    pub fn add(&mut self, number: u64, before: usize, groups: Vec<String>) {
        self.steps.push(Touched { number, before, groups });
    }

    /// What is left; says so.
    pub fn missing(&self, seen: &Seen, starved: impl Fn(Instant) -> bool) -> Unexplained {
        let mut left = Unexplained::default();
        for (at, takeover) in seen.ledger.takeovers().iter().enumerate() {
            let step = self.steps.iter().rfind(|step| step.before <= at);
            if step.is_some_and(|step| step.groups.contains(&takeover.group)) {
                continue;
            }
            let busy = seen.instants.get(at).is_some_and(|instant| starved(*instant));
            let count = if busy { &mut left.starved } else { &mut left.false_ones };
            *count += 1;
            let why = if busy { "the machine was busy" } else { "unexplained" };
            let number = step.map_or_else(|| "none".to_owned(), |step| step.number.to_string());
            println!("     {why}, step {number}: {takeover:?}");
        }
        left
    }
}

/// What was seen of a cluster, and when each takeover was.
#[derive(Debug, Default)]
pub struct Seen {
    /// What nodes said.
    pub ledger: Ledger,
    instants: Vec<Instant>,
}

/// A thread that looks at what all nodes say, again and again.
pub struct Watcher {
    cluster: Arc<Cluster>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watcher {
    /// Begins to look.
    pub fn start(cluster: &Arc<Cluster>) -> Self {
        let (seen, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (own, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let (cluster, eye) = (Arc::clone(cluster), Arc::clone(cluster));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&eye, &own);
                wait(LOOK_EVERY);
            }
        });
        Self { cluster, seen, stop, thread }
    }

    /// How many takeovers were seen so far.
    pub fn takeovers(&self) -> usize {
        see(&self.seen, |seen| seen.ledger.takeovers().len())
    }

    /// Looks once more, now.
    pub fn settle(&self) {
        look(&self.cluster, &self.seen);
    }

    /// Ends; all that was seen.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("looking does not panic");
        see(&self.seen, std::mem::take)
    }
}

/// Asks all nodes and takes note, before anybody else asks: answers must be noted in the order in
/// which they were given.
fn look(cluster: &Cluster, seen: &Mutex<Seen>) {
    see(seen, |seen| {
        if let Ok(status) = cluster.status() {
            seen.ledger.see(&status);
            seen.instants.resize(seen.ledger.takeovers().len(), Instant::now());
        }
    });
}

fn see<T>(seen: &Mutex<Seen>, look: impl FnOnce(&mut Seen) -> T) -> T {
    look(&mut seen.lock().expect("looking does not panic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node: &str, epoch: u64) -> cairn_harness::status::Status {
        let text = format!(
            r#"{{"ready": true, "missing": [], "globalMaster": null, "groups": [], "nodes": [
            {{"id": "{node}", "role": "data", "process": "running", "pid": 7, "answers": true,
            "incarnation": "i", "life": 1, "rssBytes": 9, "logs": [{{"group": "g",
            "position": "master", "epoch": {epoch}, "lastEpoch": 1}}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_takeover_is_explained_by_its_step_or_told_apart() {
        let (began, mut seen) = (Instant::now(), Seen::default());
        for (epoch, node) in ["a", "b", "a", "b", "a"].into_iter().enumerate() {
            seen.ledger.see(&status(node, epoch as u64 + 1));
            seen.instants.resize(seen.ledger.takeovers().len(), began + LOOK_EVERY * epoch as u32);
        }
        let mut explained = Explained::default();
        explained.add(7, 0, vec!["g".into(), "h".into()]);
        explained.add(8, 1, vec!["global".into()]);
        let busy = |at| at == began + LOOK_EVERY * 3;
        let left = explained.missing(&seen, busy);
        assert_eq!(left, Unexplained { starved: 1, false_ones: 2 });
    }
}
