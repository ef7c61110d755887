//! The course of things: what clients got over time, and what else was looked at meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use cairn_harness::clock::wait;
use cairn_harness::history::Operation;

use super::witness::Witness;
use crate::bench::picture::Points;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A picture has at most so many points a line.
const POINTS_MAX: f64 = 400.0;
/// The shortest time that has a point.
const STEP_SECONDS_MIN: f64 = 0.1;

/// What clients got.
#[derive(Debug, Default)]
pub struct Course {
    /// Operations answered per second.
    pub per_second: Points,
    /// What 99 of 100 answered then did not exceed, in milliseconds.
    pub p99_ms: Points,
    /// The longest that was under way then, in milliseconds.
    pub longest_ms: Points,
}

impl Course {
    /// What clients got from `from` to `to`, in seconds since `zero_us`.
    pub fn of(history: &[Operation], zero_us: u64, (from, to): (f64, f64)) -> Self {
        let step = STEP_SECONDS_MIN.max((to - from) / POINTS_MAX);
        let count = ((to - from) / step).ceil().max(1.0) as usize;
        let mut took: Vec<Vec<f64>> = vec![Vec::new(); count];
        let mut longest = vec![0.0_f64; count];
        let at = |us: u64| (us as f64 - zero_us as f64) / 1e6;
        for operation in history.iter().filter(|it| it.reply().is_some()) {
            let (began, ended) = (at(operation.called_us), at(operation.returned_us));
            if ended < from || began >= to {
                continue;
            }
            let place = |at: f64| (((at - from) / step).max(0.0) as usize).min(count - 1);
            let ms = (ended - began) * 1000.0;
            if ended < to {
                took[place(ended)].push(ms);
            }
            for longest in &mut longest[place(began)..=place(ended)] {
                *longest = longest.max(ms);
            }
        }
        let mut course = Self::default();
        for (number, took) in took.iter_mut().enumerate() {
            let at = from + (number as f64 + 0.5) * step;
            course.per_second.push((at, took.len() as f64 / step));
            took.sort_by(f64::total_cmp);
            if let Some(p99) = took.get((took.len() * 99).div_ceil(100).max(1) - 1) {
                course.p99_ms.push((at, *p99));
            }
            if longest[number] > 0.0 {
                course.longest_ms.push((at, longest[number]));
            }
        }
        course
    }
}

/// What was looked at while something happened: when, in microseconds since the clients began, and
/// what was seen.
pub type Looks<const N: usize> = Vec<(u64, [f64; N])>;

/// Does `work` while another thread looks again and again; a look that sees nothing is left out.
///
/// # Errors
/// If the work fails.
pub fn watched<const N: usize, T>(
    witness: &Witness,
    mut look: impl FnMut() -> Option<[f64; N]> + Send,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Looks<N>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = Looks::new();
            while !over.load(Ordering::Relaxed) {
                let now_us = witness.now_us();
                looks.extend(look().map(|seen| (now_us, seen)));
                wait(LOOK_EVERY);
            }
            looks
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        // A look that panics has shown a defect of this bench; do not hide it.
        let looks = looking.join().expect("no look panics");
        Ok((done?, looks))
    })
}

/// One of the things looked at, as a line.
pub fn line<const N: usize>(looks: &Looks<N>, zero_us: u64, which: usize) -> Points {
    let at = |us: u64| (us as f64 - zero_us as f64) / 1e6;
    looks.iter().map(|(us, seen)| (at(*us), seen[which])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::witness::tests::{done, operation};
    use super::*;

    #[test]
    fn a_stall_is_seen_all_the_time_it_takes() {
        let ms = 1000;
        let mut history: Vec<Operation> =
            (0..20).map(|at| operation(1_000_000 + at * 50 * ms, ms, done())).collect();
        history.push(operation(1_210_000, 480 * ms, done()));
        let course = Course::of(&history, 1_000_000, (0.0, 1.0));
        assert_eq!(course.per_second.len(), 10);
        let answered: f64 = course.per_second.iter().map(|(_, rate)| rate * 0.1).sum();
        assert!((answered - 21.0).abs() < 1e-6, "{answered}");
        let long = course.longest_ms.iter().filter(|(_, ms)| *ms > 400.0).count();
        assert_eq!(long, 5);
        let late = course.p99_ms.iter().find(|(_, ms)| *ms > 400.0).unwrap();
        assert!((late.0 - 0.65).abs() < 1e-6, "{late:?}");
    }
}
