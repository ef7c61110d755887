//! `cairn backup create --follow`: rounds until it is stopped, what they came to for others to see,
//! and retention.
//!
//! A round that fails is told and tried again; what is in the archive stays whole meanwhile.

use super::create::{CreateArgs, Session};
use super::serve::{self, Shared};
use super::{keep, now_ms, prune};
use crate::place::Place;
use crate::{print, signals};
use anyhow::{Context, Result};
use cairn_archive::covered;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Until stopped.
pub async fn follow(place: &Place, args: &CreateArgs) -> Result<()> {
    let shared = Shared::new(now_ms());
    if let Some(address) = args.serve {
        serve::start(address, shared.clone())?;
    }
    let mut following =
        Following { place, args, shared, session: None, snapshots: None, tidied: false };
    if args.serve.is_none() {
        // Nobody watches: who calls it is told at once what is wrong.
        following.session = Some(Session::open(place, args).await?);
    }
    let stop = signals::stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            done = following.round() => following.tell(done),
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(seconds(args.every)) => {}
        }
    }
}

fn seconds(number: NonZeroU32) -> Duration {
    Duration::from_secs(u64::from(number.get()))
}

struct Following<'a> {
    place: &'a Place,
    args: &'a CreateArgs,
    shared: Shared,
    /// Absent before the cluster and the archive were reached for the first time.
    session: Option<Session>,
    /// When newer snapshots were sent last.
    snapshots: Option<Instant>,
    /// Whether retention was done, and what is covered was looked at, after that.
    tidied: bool,
}

impl Following<'_> {
    /// One round: the log, newer snapshots if it is time, and retention after those.
    async fn round(&mut self) -> Result<()> {
        let every = seconds(self.args.snapshot_every);
        let due = self.snapshots.is_none_or(|at| at.elapsed() >= every);
        if let Some(session) = &mut self.session {
            session.look(self.place).await;
        } else {
            self.session = Some(Session::open(self.place, self.args).await?);
        }
        let session = self.session.as_mut().expect("it was opened");
        let round = session.round(due).await?;
        if due {
            (self.snapshots, self.tidied) = (Some(Instant::now()), false);
        }
        print::line(&round.said);
        self.shared.change(|report| {
            report.until_ms = Some(round.until_ms);
            report.bytes += round.bytes;
        });
        if !self.tidied {
            self.tidy().await.context("the log was sent; what is old was not removed")?;
            self.tidied = true;
        }
        Ok(())
    }

    /// Removes what is not kept any longer, and looks at what is covered.
    async fn tidy(&self) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let (archive, args) = (session.archive(), self.args);
        if args.keep_last.is_some() || args.keep_days.is_some() {
            prune(archive, &keep(args.keep_last, args.keep_days), false).await?;
        }
        let since_ms = covered(&archive.backups().await?).map(|(since, _)| since);
        self.shared.change(|report| report.since_ms = since_ms);
        Ok(())
    }

    fn tell(&self, done: Result<()>) {
        let error = done.err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            // What is there stays whole; the next round goes on after it.
            eprintln!("cairn: this round failed: {error}");
        }
        self.shared.change(|report| match error {
            None => {
                report.rounds += 1;
                (report.failing_since_ms, report.error) = (None, None);
            }
            Some(error) => {
                report.failures += 1;
                report.failing_since_ms = report.failing_since_ms.or_else(|| Some(now_ms()));
                report.error = Some(error);
            }
        });
    }
}
