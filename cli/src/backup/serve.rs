//! What a follower is asked for over HTTP: figures, where it is, whether it is well.
//!
//! On a thread of its own, so that it answers whatever the follower waits for. It shows and changes
//! nothing.

use super::now_ms;
use anyhow::{Context, Result};
use cairn_settings::report::BackupReport;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a client may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request line and headers that are read, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Requests answered at once; more are closed.
const REQUESTS_MAX: usize = 16;

/// Where the follower is, for all threads to see.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<BackupReport>>);

impl Shared {
    /// Nothing has happened yet.
    pub fn new(started_ms: u64) -> Self {
        let report = BackupReport { started_ms, ..BackupReport::default() };
        Self(Arc::new(Mutex::new(report)))
    }

    /// Notes something.
    pub fn change(&self, change: impl FnOnce(&mut BackupReport)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> BackupReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves until the process ends.
pub fn start(address: SocketAddr, shared: Shared) -> Result<()> {
    let listener = TcpListener::bind(address);
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    std::thread::spawn(move || serve(&listener, &shared));
    Ok(())
}

fn serve(listener: &TcpListener, shared: &Shared) {
    let seats = Arc::new(());
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            std::thread::park_timeout(PATIENCE / 20);
            continue;
        };
        let seat = seats.clone();
        if Arc::strong_count(&seats) > REQUESTS_MAX {
            continue;
        }
        let shared = shared.clone();
        std::thread::spawn(move || {
            // Whoever asks and does not listen is no concern of ours.
            answer(stream, &shared.now(), now_ms()).ok();
            drop(seat);
        });
    }
}

fn answer(mut stream: TcpStream, report: &BackupReport, now_ms: u64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece)?;
        if read == 0 || request.len() + read > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&request);
    let (status, body) = page(text.split(' ').nth(1).unwrap_or_default(), report, now_ms);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Status and body of a page.
fn page(path: &str, report: &BackupReport, now_ms: u64) -> (&'static str, String) {
    match path {
        "/metrics" => ("200 OK", metrics(report, now_ms)),
        "/status" => ("200 OK", serde_json::to_string(report).expect("a report is plain data")),
        "/livez" => ("200 OK", "ok\n".to_owned()),
        "/readyz" => match (&report.error, report.until_ms) {
            (None, Some(_)) => ("200 OK", "ok\n".to_owned()),
            (error, _) => {
                let why = error.as_deref().unwrap_or("the first round has not ended");
                ("503 Service Unavailable", format!("{why}\n"))
            }
        },
        _ => ("404 Not Found", "there are /metrics, /status, /livez and /readyz\n".to_owned()),
    }
}

/// Names of the figures and what they mean; `docs/backup.md` has the same.
const METRICS: [(&str, &str, &str); 5] = [
    (
        "cairn_backup_behind_seconds",
        "gauge",
        "How long ago the last moment was that can be restored; while there is none, how long the \
         process has run.",
    ),
    ("cairn_backup_covered_seconds", "gauge", "How long before that moments can be restored."),
    ("cairn_backup_rounds_total", "counter", "Rounds that went well."),
    ("cairn_backup_failures_total", "counter", "Rounds that failed."),
    ("cairn_backup_bytes_total", "counter", "Bytes that were sent, before compression."),
];

fn metrics(report: &BackupReport, now_ms: u64) -> String {
    let until_ms = report.until_ms.unwrap_or(report.started_ms);
    let since_ms = report.since_ms.unwrap_or(until_ms);
    let values = [
        now_ms.saturating_sub(until_ms) / 1000,
        until_ms.saturating_sub(since_ms) / 1000,
        report.rounds,
        report.failures,
        report.bytes,
    ];
    let mut page = String::new();
    for ((name, kind, help), value) in METRICS.iter().zip(values) {
        page += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn pages_say_where_the_follower_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Shared::new(now_ms() - 60_000));
        let served = shared.clone();
        std::thread::spawn(move || serve(&listener, &served));
        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 503"));
        shared.change(|report| report.until_ms = Some(now_ms() - 5_000));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
        shared.change(|report| report.error = Some("no such bucket".to_owned()));
        let refused = get(address, "/readyz");
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("no such bucket"));
        let status = get(address, "/status");
        let body = status.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(serde_json::from_str::<BackupReport>(body).unwrap(), shared.now());
        assert!(get(address, "/secrets").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn figures_count_from_the_start_until_something_is_in_the_archive() {
        let mut report = BackupReport { started_ms: 1_000, ..BackupReport::default() };
        let page = metrics(&report, 9_000);
        assert!(page.contains("\ncairn_backup_behind_seconds 8\n"), "{page}");
        report.until_ms = Some(7_000);
        report.since_ms = Some(3_000);
        let page = metrics(&report, 9_000);
        assert!(page.contains("\ncairn_backup_behind_seconds 2\n"), "{page}");
        assert!(page.contains("\ncairn_backup_covered_seconds 4\n"), "{page}");
    }

    #[test]
    fn the_guide_has_every_figure() {
        let guide = include_str!("../../../docs/backup.md");
        for (name, kind, help) in METRICS {
            assert!(guide.contains(&format!("| `{name}` | {kind} | {help} |")), "{name}");
        }
    }
}
