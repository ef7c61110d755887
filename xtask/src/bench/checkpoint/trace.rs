//! A load whose every batch is remembered, so that any time in it can be looked at afterwards.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;

use crate::bench::load::{self, Load, Mix, Sample, Signals};
use crate::bench::server::Server;

const CONNECTIONS: usize = 50;
pub const VALUE_BYTES: usize = 64;
/// For so long the load also goes on before and after the work.
pub const MARGIN: Duration = Duration::from_secs(3);
/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(700);

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Instant,
    pub to: Instant,
}

impl Span {
    /// From then until now.
    pub fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }

    pub fn seconds(self) -> f64 {
        (self.to - self.from).as_secs_f64()
    }
}

/// All batches of a load.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    /// Writes that were refused.
    pub errors: u64,
    samples: Vec<Sample>,
}

impl Trace {
    /// A trace of what something else noted.
    pub fn new(began: Instant, samples: Vec<Sample>) -> Self {
        Self { began, errors: 0, samples }
    }

    /// From when until when each write was under way, in seconds since `zero`.
    pub fn writes(&self, zero: Instant) -> impl Iterator<Item = (f64, f64)> {
        let ahead = zero.saturating_duration_since(self.began).as_secs_f64();
        self.samples.iter().map(move |sample| {
            let to = sample.at_us as f64 / 1e6 - ahead;
            (to - f64::from(sample.took_us) / 1e6, to)
        })
    }

    /// For loads during which nothing may be refused.
    ///
    /// # Errors
    /// If something was.
    pub fn without_errors(self) -> Result<Self> {
        ensure!(self.errors == 0, "{} writes were refused", self.errors);
        Ok(self)
    }

    /// How long each batch took that was under way at some moment of the span, ascending.
    fn within(&self, span: Span) -> Result<Vec<u32>> {
        let us = |at: Instant| {
            u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
        };
        let (from, to) = (us(span.from), us(span.to));
        let touches = |sample: &&Sample| {
            sample.at_us >= from && sample.at_us.saturating_sub(u64::from(sample.took_us)) <= to
        };
        let mut took: Vec<u32> =
            self.samples.iter().filter(touches).map(|sample| sample.took_us).collect();
        ensure!(!took.is_empty(), "nothing was written in {:.1} s", span.seconds());
        took.sort_unstable();
        Ok(took)
    }

    /// The longest that a write took, in milliseconds.
    ///
    /// # Errors
    /// If there was none.
    pub fn stall_ms(&self, span: Span) -> Result<f64> {
        let took = self.within(span)?;
        Ok(took.last().copied().map_or(f64::NAN, |us| f64::from(us) / 1000.0))
    }

    /// What 999 of 1000 writes did not exceed, in milliseconds.
    ///
    /// # Errors
    /// If there was none.
    pub fn p999_ms(&self, span: Span) -> Result<f64> {
        let took = self.within(span)?;
        let at = (took.len() - 1) * 999 / 1000;
        Ok(f64::from(took[at]) / 1000.0)
    }
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Writes {
    pub mix: Mix,
    /// Keys, or fields of the one hash.
    pub keys: u64,
    pub value_bytes: usize,
    /// At most; as many as are answered if not set.
    pub per_second: Option<u64>,
}

impl Writes {
    /// Keys of all slots.
    pub fn of(keys: u64) -> Self {
        Self { mix: Mix::Set, keys, value_bytes: VALUE_BYTES, per_second: None }
    }
}

/// Does `work` while 50 connections write, one write at a time each.
///
/// # Errors
/// If the work or the load fails.
pub fn under_load<T>(
    server: &Server,
    writes: Writes,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Trace)> {
    let (address, connections) = (server.address, CONNECTIONS);
    let Writes { mix, keys, value_bytes, per_second: batches_per_second } = writes;
    let (pipeline, fill) = (1, false);
    let load =
        Load { address, connections, pipeline, mix, keys, value_bytes, fill, batches_per_second };
    let signals = Signals::default();
    let (done, seen) = std::thread::scope(|scope| {
        let running = scope.spawn(|| load::run(&load, &signals));
        wait(WARM_UP);
        signals.tracing.store(true, Ordering::Relaxed);
        signals.measuring.store(true, Ordering::Relaxed);
        wait(MARGIN);
        let done = work();
        wait(MARGIN);
        signals.stop.store(true, Ordering::Relaxed);
        let seen = running.join().ok().context("the load panicked")??;
        anyhow::Ok((done?, seen))
    })?;
    Ok((done, Trace { began: seen.began, errors: seen.errors, samples: seen.samples }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_where_it_lies_in_part() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let sample = |at_us, took_us| Sample { at_us, took_us };
        let samples = vec![sample(10_000, 500), sample(70_000, 50_000), sample(80_000, 900)];
        let trace = Trace::new(began, samples);
        let stall = |from, to| trace.stall_ms(Span { from: at(from), to: at(to) });
        assert_eq!(stall(0, 15).unwrap(), 0.5);
        assert_eq!(stall(25, 30).unwrap(), 50.0);
        assert_eq!(stall(75, 90).unwrap(), 0.9);
        assert!(stall(200, 300).is_err());
        assert_eq!(trace.p999_ms(Span { from: at(0), to: at(90) }).unwrap(), 0.9);
    }
}
