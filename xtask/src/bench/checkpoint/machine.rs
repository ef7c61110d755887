//! What processes hold of the machine's memory, and whether there is enough of everything.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;

use crate::bench::report::grid;
use crate::bench::server::rss_bytes;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const GIB: f64 = (1_u64 << 30) as f64;

/// Fails if the machine has less than this free.
///
/// # Errors
/// If that is so, with what is missing and what to do about it.
pub fn need(folder: &Path, memory_bytes: u64, disk_bytes: u64) -> Result<()> {
    let text = std::fs::read_to_string("/proc/meminfo").context("no /proc/meminfo")?;
    let memory = available_bytes(&text).context("/proc/meminfo names no MemAvailable")?;
    let about =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot look at {folder:?}"))?;
    let disk = about.f_bavail.saturating_mul(about.f_frsize);
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / GIB);
    ensure!(
        memory >= memory_bytes,
        "this needs {} of free memory, and there are {}: end other programs, or measure with fewer \
         --keys",
        gib(memory_bytes),
        gib(memory)
    );
    ensure!(
        disk >= disk_bytes,
        "this needs {} of free disk at {}, and there are {}: make room, or measure with fewer \
         --keys",
        gib(disk_bytes),
        folder.display(),
        gib(disk)
    );
    Ok(())
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A process and what it held, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub role: String,
    pub before: u64,
    /// The most.
    pub during: u64,
    pub after: u64,
}

impl Held {
    /// How much more than before it held at most, in percent.
    pub fn more_percent(&self) -> f64 {
        let before = self.before.max(1) as f64;
        (self.during as f64 / before - 1.0).max(0.0) * 100.0
    }
}

/// What was seen of the machine over a time.
#[derive(Debug, Clone)]
pub struct Watched {
    pub held: Vec<Held>,
    /// Of its processor time, what its host gave to others: "steal" of `/proc/stat`.
    pub taken_percent: f64,
}

/// A thread that looks at what processes hold.
pub struct Watch {
    stop: Arc<AtomicBool>,
    began: Ticks,
    thread: Option<JoinHandle<Vec<Held>>>,
}

impl Watch {
    /// Begins; what they hold now is what they held before.
    ///
    /// # Errors
    /// If one of them is gone.
    pub fn start(processes: &[(String, u32)]) -> Result<Self> {
        let mut all = Vec::new();
        for (role, pid) in processes {
            let before = rss_bytes(*pid)?;
            let held = Held { role: role.clone(), before, during: before, after: before };
            all.push((*pid, held));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                wait(LOOK_EVERY);
                for (pid, held) in &mut all {
                    // Who is gone holds what it held last.
                    let now = rss_bytes(*pid).unwrap_or(held.after);
                    (held.after, held.during) = (now, held.during.max(now));
                }
            }
            all.into_iter().map(|(_, held)| held).collect()
        });
        Ok(Self { stop, began: Ticks::now()?, thread: Some(thread) })
    }

    /// Ends; what each held.
    ///
    /// # Errors
    /// If the machine does not say what it does.
    pub fn finish(mut self) -> Result<Watched> {
        self.stop.store(true, Ordering::Relaxed);
        let held = self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Watched { held, taken_percent: Ticks::now()?.taken_percent_since(self.began) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Processor time of the machine since its start, in the kernel's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    taken: u64,
}

impl Ticks {
    fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("no /proc/stat")?;
        Self::of(&text).context("/proc/stat has no line of all processors")
    }

    fn of(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user nice system idle iowait irq softirq steal; what follows is in user and nice, too.
        let fields = line.split_whitespace().take(8).map(|field| field.parse().ok());
        let fields = fields.collect::<Option<Vec<u64>>>()?;
        Some(Self { all: fields.iter().sum(), taken: *fields.get(7)? })
    }

    fn taken_percent_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.taken.saturating_sub(before.taken) as f64 * 100.0 / all as f64
    }
}

/// A table of what each process held.
pub fn table(all: &[Held]) -> String {
    let head = ["memory, MiB", "before", "most during", "after"].map(str::to_owned);
    let mut cells = vec![head.to_vec()];
    for held in all {
        let mib = |bytes: u64| (bytes >> 20).to_string();
        cells.push(vec![held.role.clone(), mib(held.before), mib(held.during), mib(held.after)]);
    }
    grid(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_said_before_anything_begins() {
        let here = std::env::temp_dir();
        need(&here, 1, 1).unwrap();
        let memory = need(&here, u64::MAX, 1).unwrap_err().to_string();
        assert!(memory.contains("of free memory") && memory.contains("--keys"), "{memory}");
        let disk = need(&here, 1, u64::MAX).unwrap_err().to_string();
        assert!(disk.contains("of free disk at"), "{disk}");
        assert_eq!(available_bytes("MemFree: 1 kB\nMemAvailable:  12 kB\n"), Some(12 * 1024));
    }

    #[test]
    fn what_the_host_takes_is_a_part_of_all() {
        let before = Ticks::of("cpu  10 0 10 70 0 0 0 10 5 5\ncpu0 1 1\n").unwrap();
        assert_eq!(before, Ticks { all: 100, taken: 10 });
        let after = Ticks { all: 300, taken: 60 };
        assert!((after.taken_percent_since(before) - 25.0).abs() < 1e-9);
        assert!(Ticks::of("cpu 1 2\n").is_none() && Ticks::now().is_ok());
    }

    #[test]
    fn a_process_is_watched_until_the_end() {
        let own = [("this test".to_owned(), std::process::id())];
        let watch = Watch::start(&own).unwrap();
        let much = vec![1_u8; 64 << 20];
        wait(LOOK_EVERY * 4);
        let all = watch.finish().unwrap().held;
        assert!(all[0].during >= all[0].before + (48 << 20), "{all:?} {}", much.len());
        assert!(all[0].more_percent() > 0.0 && table(&all).contains("this test"));
        let gone = [("nobody".to_owned(), u32::MAX)];
        assert!(Watch::start(&gone).is_err());
    }
}
