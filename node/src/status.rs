//! What this node says of itself: reports to the judge, status to people.

use crate::data::link::{DataLink, Gauges};
use cairn_files::CutTail;
use cairn_host::{Host, World};
use cairn_logic::ids::GroupId;
use cairn_logic::time::{Duration, Instant};
use cairn_wire::peer::{control, pb};
use std::sync::atomic::Ordering;

/// How busy the data thread is.
pub fn load(gauges: &Gauges, operations_per_sec: u64) -> pb::Load {
    pb::Load {
        operations_per_sec,
        used_bytes: gauges.memory_bytes.load(Ordering::Relaxed),
        keys: gauges.keys.load(Ordering::Relaxed),
        clients: gauges.clients.load(Ordering::Relaxed),
    }
}

/// When the next report is due: each second, each 100 ms while the master is silent.
pub fn interval(silence: Duration, silence_max: Duration) -> Duration {
    if silence >= silence_max / 2 { Duration::from_millis(100) } else { Duration::from_secs(1) }
}

/// The report of a replica, to go up the line.
pub fn report<W: World>(group: &GroupId, host: &Host<W>, now: Instant, load: pb::Load) -> pb::Up {
    let report = host.replica().report(now);
    let body = pb::up::Body::Report(control::report_out(&report, load));
    pb::Up { group: group.as_str().to_owned(), body: Some(body) }
}

/// One log's part of a status; a digest is added by whoever has the state.
pub fn log_status<W: World>(
    group: &GroupId,
    host: &Host<W>,
    now: Instant,
    waiting: Vec<String>,
    tails: &[CutTail],
) -> pb::LogStatus {
    let status = host.replica().status(now);
    let report = host.replica().report(now);
    let record = host.replica().record().and_then(|r| serde_json::to_vec(r).ok());
    let members = status.peers.iter().map(|peer| pb::MemberStatus {
        node: peer.id.as_str().to_owned(),
        written: peer.written.0,
        flushed: peer.flushed.0,
        lag_entries: peer.lag_entries,
        heard_ms: peer.heard.map_or(u64::MAX, millis),
    });
    pb::LogStatus {
        group: group.as_str().to_owned(),
        position: Some(status.position.into()),
        sealed: status.sealed.0,
        intact: status.intact,
        last: Some(status.last.into()),
        committed: status.committed.0,
        applied: host.applied().0,
        master_silence_ms: millis(report.master_silence),
        record: record.unwrap_or_default().into(),
        moves: Vec::new(),
        members: members.collect(),
        waiting,
        digest: None,
        tails: tails.iter().map(tail).collect(),
        loaded_percent: None,
    }
}

/// How much of `whole` there is, in percent: below 100, for who has it all loads no more.
pub fn percent(done: u64, whole: u64) -> u32 {
    let part = u128::from(done.min(whole)) * 100 / u128::from(whole.max(1));
    u32::try_from(part).unwrap_or(99).min(99)
}

fn tail(tail: &CutTail) -> pb::CutTail {
    pb::CutTail {
        file: tail.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: tail.bytes,
        epoch: tail.epoch.0,
        first: tail.first.0,
        torn: tail.torn,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Resident memory of this process, in bytes; 0 where it cannot be read.
pub fn rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Commands since the start, as the data thread counts them.
pub fn commands(link: &DataLink) -> u64 {
    link.gauges().commands.load(Ordering::Relaxed)
}
