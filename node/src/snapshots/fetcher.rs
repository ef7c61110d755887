//! Gets a snapshot from another node: asks all what they have, takes the best, goes on with
//! another one when that fails.
//!
//! One fetch at a time. What has come stays in the folder, so a fetch that is begun again, by
//! another process even, goes on where it was if the same file can still be had.

use super::figures::Newest;
use super::holder::{self, Failed, Holder, Offer};
use super::progress::{Fetched, Progress, Teller};
use super::stock::Stock;
use crate::clock;
use crate::peer::Identity;
use crate::storage::Notify;
use bytes::Bytes;
use cairn_host::Event;
use cairn_logic::ids::Offset;
use cairn_logic::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// A holder from which nothing comes for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Chunks that wait for the disk.
const CHUNKS_AHEAD: usize = 4;

/// What a snapshot is fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The log cannot go on without it: [`Event::Fetching`], then [`Event::Fetched`].
    CatchUp,
    /// To have a newer one of its own; [`Event::Snapshot`] when it is here.
    Keep,
}

/// What gets snapshots of one log from others.
pub struct Fetcher {
    tools: Tools,
    work: Option<Work>,
}

struct Work {
    task: JoinHandle<()>,
    stop: Arc<tokio::sync::Notify>,
    purpose: Purpose,
}

/// What every fetch of this log has.
#[derive(Clone)]
struct Tools {
    identity: Identity,
    stock: Stock,
    notify: Notify,
    progress: Progress,
    /// Why the last try failed: said once.
    said: Arc<Mutex<String>>,
}

impl Fetcher {
    /// One that brings them into `stock`.
    #[must_use]
    pub fn new(identity: Identity, stock: Stock, notify: Notify) -> Self {
        let (progress, said) = (Progress::default(), Arc::default());
        Self { tools: Tools { identity, stock, notify, progress, said }, work: None }
    }

    /// Whether a fetch is under way.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.task.is_finished())
    }

    /// How far the fetch under way is.
    #[must_use]
    pub fn progress(&self) -> Option<Fetched> {
        self.tools.progress.now()
    }

    /// Fetches the best snapshot that these nodes have with a `from` of at least `at_least`. Says
    /// nothing if none has any: to be called again after a while.
    ///
    /// While one is under way this does nothing, but for ending it if it is of no use for this any
    /// more; then the next call begins.
    pub fn fetch(&mut self, purpose: Purpose, at_least: Offset, holders: Vec<Holder>) {
        if let Some(work) = self.work.as_ref().filter(|work| !work.task.is_finished()) {
            let from = self.tools.progress.now().map(|at| at.from.offset);
            let useless = from.is_some_and(|from| from < at_least) || work.purpose != purpose;
            if purpose == Purpose::CatchUp && useless {
                work.stop.notify_one();
            }
            return;
        }
        let stop = Arc::new(tokio::sync::Notify::new());
        let errand = Errand { tools: self.tools.clone(), stop: stop.clone(), purpose };
        let task = tokio::spawn(errand.run(at_least, holders));
        self.work = Some(Work { task, stop, purpose });
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        if let Some(work) = &self.work {
            work.stop.notify_one();
        }
    }
}

/// One fetch.
struct Errand {
    tools: Tools,
    stop: Arc<tokio::sync::Notify>,
    purpose: Purpose,
}

impl Errand {
    async fn run(self, at_least: Offset, holders: Vec<Holder>) {
        let (tools, stock) = (&self.tools, &self.tools.stock);
        let asked =
            holder::offers(&tools.identity, &stock.group, &holders, stock.content, at_least);
        let offers = asked.await;
        if offers.is_empty() && self.purpose == Purpose::CatchUp {
            self.say(format!("no node has a snapshot from {at_least} on"));
        }
        let mut told = None;
        for offer in offers {
            if self.purpose == Purpose::CatchUp && told != Some(offer.from) {
                told = Some(offer.from);
                (tools.notify)(Event::Fetching(told));
            }
            match self.take(&offer).await {
                Ok(newest) => {
                    let (from, bytes, node) = (newest.from, newest.bytes, &offer.holder.id);
                    tracing::info!(group = %stock.group, %from, bytes, %node, "fetched a snapshot");
                    return self.done(newest);
                }
                Err(Failed::Stopped) => break,
                Err(why) => {
                    let (node, chain) = (&offer.holder.id, chain(&why));
                    self.say(format!("not all of {} came from {node}: {chain}", offer.name));
                }
            }
        }
        tools.progress.set(None);
        if told.is_some() {
            (tools.notify)(Event::Fetching(None));
        }
    }

    /// Says why nothing comes, once for each reason.
    fn say(&self, why: String) {
        let mut said = self.tools.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != why {
            tracing::warn!(group = %self.tools.stock.group, %why, "cannot fetch a snapshot yet");
            *said = why;
        }
    }

    fn done(&self, newest: Newest) {
        self.tools.progress.set(None);
        self.tools.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tools.stock.shown.good(newest);
        (self.tools.notify)(match self.purpose {
            Purpose::CatchUp => Event::Fetched(newest.from),
            Purpose::Keep => Event::Snapshot(newest.from),
        });
    }

    /// Receives what is still missing of `offer`, and checks it as a whole.
    async fn take(&self, offer: &Offer) -> Result<Newest, Failed> {
        let (stock, name, total) = (self.tools.stock.clone(), offer.name.clone(), offer.bytes);
        let (began, folder) = (clock::now(), stock.folder.clone());
        let receive = move || folder.receive(&name, total);
        let mut incoming = spawn_blocking(receive).await??;
        let position = incoming.position();
        let (node, from) = (&offer.holder.id, offer.from);
        let group = &self.tools.stock.group;
        tracing::info!(%group, %node, %from, bytes = position, of = total, "fetching a snapshot");
        let (to, mut chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
        let writing = spawn_blocking(move || {
            while let Some(bytes) = chunks.blocking_recv() {
                incoming.write(&bytes)?;
            }
            // What is not whole stays where it is, for the next try.
            if incoming.position() < total {
                return Ok(None);
            }
            let (file, _) = stock.folder.accept(incoming)?;
            let snapshot = stock.folder.read(&file.path)?;
            stock.prune();
            Ok::<_, cairn_files::Error>(Some((Newest::from(&snapshot), snapshot.end().upto)))
        });
        let came = tokio::select! {
            came = self.stream(offer, position, to) => came,
            () = self.stop.notified() => Err(Failed::Stopped),
        };
        let (written, took_ms) = (writing.await??, clock::now().since(began).as_millis() as u64);
        match (written, came) {
            (Some((newest, upto)), _) => {
                tracing::info!(%upto, took_ms, "a fetched snapshot is whole");
                Ok(newest)
            }
            (None, Err(why)) => Err(why),
            (None, Ok(())) => Err(Failed::Short),
        }
    }

    /// Hands over what comes, until the other end has sent all.
    async fn stream(
        &self,
        offer: &Offer,
        mut position: u64,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), Failed> {
        let (from, total_bytes) = (offer.from, offer.bytes);
        let at = |bytes| Fetched { from, bytes, total_bytes };
        let mut teller = Teller::new(self.tools.progress.clone(), at(position));
        if position == total_bytes {
            return Ok(());
        }
        let mut chunks =
            holder::begin(&self.tools.identity, &self.tools.stock.group, offer, position).await?;
        loop {
            let next = timeout(SILENCE_MAX, chunks.next()).await;
            let Some(chunk) = next.map_err(|_| Failed::Silent(SILENCE_MAX))? else {
                return Ok(());
            };
            let chunk = chunk?;
            let end = position.saturating_add(chunk.bytes.len() as u64);
            if chunk.position != position || end > total_bytes {
                return Err(Failed::Order);
            }
            position = end;
            // The thread that writes says why it ended.
            if to.send(chunk.bytes).await.is_err() {
                return Ok(());
            }
            teller.tell(at(position));
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
