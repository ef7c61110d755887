//! Loading: sections are read, decompressed and made into tables on all cores; the data thread
//! takes the slots as they are ready, in any order.

use crate::clock;
use crate::cores::workers;
use crate::data::link::Feeder;
use crate::snapshots::{Newest, Shown};
use crate::status;
use crate::storage::Notify;
use cairn_files::snapshot::{Section, rest_after};
use cairn_files::{Error, RealDisk, Result, Snapshot};
use cairn_host::Event;
use cairn_keyspace::{Builder, Portion};
use cairn_logic::time::{Duration, Instant};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Loads `snapshot` in threads of its own, which say in `percent` how far it is and lower `busy`
/// at the end. `notify` hears that it is good, or, if it cannot be loaded, that the state does not
/// fit.
pub(super) fn spawn(
    snapshot: Snapshot<RealDisk>,
    feeder: Feeder,
    load: u64,
    (busy, percent): (Arc<AtomicBool>, Arc<AtomicU32>),
    (notify, shown): (Notify, Shown),
) {
    let ended = busy.clone();
    let failed = notify.clone();
    let body = move || {
        let end = *snapshot.end();
        match feed(&snapshot, &feeder, load, &percent) {
            Ok(()) => {
                feeder.done(load, end.from);
                shown.good(Newest::from(&snapshot));
                notify(Event::Snapshot(end.from));
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be loaded");
                notify(Event::Astray);
            }
        }
        busy.store(false, Ordering::Release);
    };
    if let Err(error) = thread::Builder::new().name("load".into()).spawn(body) {
        tracing::error!(%error, "cannot start the thread that loads a snapshot");
        ended.store(false, Ordering::Release);
        failed(Event::Astray);
    }
}

fn feed(
    snapshot: &Snapshot<RealDisk>,
    feeder: &Feeder,
    load: u64,
    percent: &AtomicU32,
) -> Result<()> {
    let units = units(snapshot)?;
    let threads = workers();
    let (next, progress) = (AtomicUsize::new(0), Mutex::new(Progress::new(snapshot)));
    let build = || -> Result<()> {
        let mut builder = Builder::new(feeder.seed());
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            for section in *unit {
                let added = builder.add(&portion(snapshot, section)?, section.at.offset);
                added.map_err(|error| {
                    tracing::error!(%error, "records of a snapshot cannot be taken");
                    broken(snapshot, "records of a section cannot be taken")
                })?;
                rest_after(section.raw_bytes as usize);
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.done(section);
                let share = status::percent(progress.bytes, progress.total_bytes);
                percent.store(share, Ordering::Relaxed);
            }
            if builder.take().is_some_and(|built| !feeder.built(load, built)) {
                break;
            }
        }
        // Whatever ends one of them ends all.
        next.store(units.len(), Ordering::Relaxed);
        Ok(())
    };
    let stop_all = || build().inspect_err(|_| next.store(units.len(), Ordering::Relaxed));
    thread::scope(|scope| {
        let building: Vec<_> = (0..threads).map(|_| scope.spawn(stop_all)).collect();
        let mut joined = building.into_iter().map(|it| it.join().expect("building does not panic"));
        joined.try_for_each(|built| built)
    })?;
    progress.lock().unwrap_or_else(PoisonError::into_inner).end();
    Ok(())
}

/// The sections, those of one slot together.
fn units(snapshot: &Snapshot<RealDisk>) -> Result<Vec<&[Section]>> {
    let sections = snapshot.sections();
    let (mut units, mut from, mut behind) = (Vec::new(), 0, 0);
    for (at, section) in sections.iter().enumerate() {
        let (first, last) = slots(snapshot, section)?;
        if first >= behind && at > from {
            units.push(&sections[from..at]);
            from = at;
        }
        let begun = &sections[from];
        if first + 1 < behind || section.at != begun.at {
            return Err(broken(snapshot, "its slots are in disorder"));
        }
        behind = last + 1;
    }
    if from < sections.len() {
        units.push(&sections[from..]);
    }
    Ok(units)
}

fn slots(snapshot: &Snapshot<RealDisk>, section: &Section) -> Result<(u16, u16)> {
    let found = Portion::slots(&section.label);
    found.ok_or_else(|| broken(snapshot, "a section does not say which slots it has"))
}

fn broken(snapshot: &Snapshot<RealDisk>, found: &'static str) -> Error {
    Error::Broken { path: snapshot.path().to_owned(), found }
}

fn portion(snapshot: &Snapshot<RealDisk>, section: &Section) -> Result<Portion> {
    let records = snapshot.read(section)?;
    let (first, last) = slots(snapshot, section)?;
    Ok(Portion { first, last, keys: section.records, records })
}

/// How far a load is, told now and then.
struct Progress {
    began: Instant,
    told: Instant,
    total_bytes: u64,
    bytes: u64,
    keys: u64,
}

impl Progress {
    fn new(snapshot: &Snapshot<RealDisk>) -> Self {
        let (now, end) = (clock::now(), snapshot.end());
        let total_bytes = snapshot.bytes();
        let path = snapshot.path().display();
        tracing::info!(%path, upto = %end.upto, bytes = total_bytes, "loading a snapshot");
        Self { began: now, told: now, total_bytes, bytes: 0, keys: 0 }
    }

    fn done(&mut self, section: &Section) {
        self.bytes += u64::from(section.stored_bytes);
        self.keys += u64::from(section.records);
        let now = clock::now();
        if now.since(self.told) < PROGRESS {
            return;
        }
        self.told = now;
        let took_ms = now.since(self.began).as_millis();
        let left = u128::from(self.total_bytes.saturating_sub(self.bytes));
        let left_ms = left * u128::from(took_ms as u64) / u128::from(self.bytes.max(1));
        let (bytes, of, keys) = (self.bytes, self.total_bytes, self.keys);
        tracing::info!(bytes, of, keys, left_ms = left_ms as u64, "loading a snapshot");
    }

    fn end(&self) {
        let took_ms = clock::now().since(self.began).as_millis() as u64;
        tracing::info!(bytes = self.bytes, keys = self.keys, took_ms, "loaded a snapshot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::link::{Clock, Config, Query, ToData};
    use crate::data::{Options, Running};
    use cairn_files::Snapshots;
    use cairn_keyspace::{CONTENT, Ctx, EffectLog, Export, Keyspace, command};
    use cairn_logic::ids::{EntryId, Epoch, GroupId, NodeId, Offset};
    use cairn_resp::{ArgsBuf, ReplyBuf, Version};

    const LAST: EntryId = EntryId::new(Epoch(1), Offset(9));

    /// Keys in many slots, and more in one than a section holds.
    fn filled() -> Keyspace {
        let (mut keyspace, mut log) = (Keyspace::new(3), EffectLog::new(Offset(1)));
        let ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 20 };
        for number in 0..3000 {
            for words in [
                format!("SET key:{number} {number} PX 900000"),
                format!("RPUSH {{one}}:{number} {number} b"),
                format!("RPUSH {{one}}:list {number}"),
            ] {
                let args: ArgsBuf = words.split(' ').collect();
                let command = command::lookup(args.as_args().name()).unwrap();
                let mut reply = ReplyBuf::new(Version::Resp2);
                keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
            }
        }
        keyspace
    }

    /// A file with what [`filled`] has; a section's records may be changed.
    fn written(
        folder: &std::path::Path,
        change: impl Fn(usize, &mut Portion),
    ) -> Snapshot<RealDisk> {
        let folder = Snapshots::open(&RealDisk, folder, 7, GroupId::new("k-0")).unwrap();
        let mut draft = folder.begin(CONTENT, 1, "test").unwrap();
        let mut export = Export::new(4000);
        while export.advance(&filled(), LAST, usize::MAX) {}
        for (number, (at, mut portion)) in export.take().into_iter().enumerate() {
            change(number, &mut portion);
            draft.section(&portion.label(), at, portion.keys, &portion.records).unwrap();
        }
        let (file, _) = folder.finish(draft, LAST, 0).unwrap();
        folder.read(&file.path).unwrap()
    }

    fn follower() -> Running {
        let clock = Clock { now: clock::now, unix_ms: clock::unix_ms };
        let (me, config) = (NodeId::new("a"), Config::default());
        let listen = vec![([127, 0, 0, 1], 0).into()];
        crate::data::start(Options { listen, me, seed: 5, config, clock, tls: None }).unwrap()
    }

    #[test]
    fn what_all_cores_have_loaded_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = written(folder.path(), |_, _| {});
        let units = units(&snapshot).unwrap();
        assert!(units.len() > 3 && units.len() < snapshot.sections().len(), "one slot has many");
        let (node, percent) = (follower(), AtomicU32::new(0));
        node.link.send(ToData::Rebuild { load: 1 });
        let feeder = node.link.feeder();
        feed(&snapshot, &feeder, 1, &percent).unwrap();
        feeder.done(1, LAST);
        let (sender, answer) = tokio::sync::oneshot::channel();
        node.link.send(ToData::Query(Query::Digest(sender)));
        let digest = answer.blocking_recv().unwrap();
        let keyspace = filled();
        assert_eq!((digest.digest, digest.keys), (keyspace.digest(), keyspace.len() as u64));
        assert_eq!(digest.applied, LAST.offset);
        assert!(percent.load(Ordering::Relaxed) > 50);
    }

    #[test]
    fn a_snapshot_with_bad_records_or_slots_in_disorder_is_not_loaded() {
        let (node, percent) = (follower(), AtomicU32::new(0));
        let load = |change: &dyn Fn(usize, &mut Portion)| {
            let folder = tempfile::tempdir().unwrap();
            feed(&written(folder.path(), change), &node.link.feeder(), 1, &percent)
        };
        let bad = |number, portion: &mut Portion| {
            if number == 2 {
                portion.records[0] = 0;
            }
        };
        assert!(matches!(load(&bad), Err(Error::Broken { .. })));
        let early = |number, portion: &mut Portion| {
            if number == 2 {
                (portion.first, portion.last) = (0, 0);
            }
        };
        assert!(matches!(load(&early), Err(Error::Broken { .. })));
        load(&|_, _| {}).unwrap();
    }
}
