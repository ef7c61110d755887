//! What a follower is asked for over HTTP: figures, where it is, whether it is well.
//!
//! On a thread of its own, so that it answers whatever the follower waits for. It shows and changes
//! nothing.

use super::now_ms;
use anyhow::{Context, Result};
use cairn_pages::Page;
use cairn_settings::report::BackupReport;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

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
    listener.set_nonblocking(true).context("cannot serve without waiting")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot serve")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let page = move |path: String| std::future::ready(page(&path, &shared.now(), now_ms()));
            cairn_pages::serve(listener, page).await;
        });
    });
    Ok(())
}

fn page(path: &str, report: &BackupReport, now_ms: u64) -> Page {
    match path {
        "/metrics" => Page::figures(metrics(report, now_ms)),
        "/status" => {
            let text = serde_json::to_string(report).expect("a report is plain data");
            Page::text("application/json", text)
        }
        "/livez" => Page::well(),
        "/readyz" => Page::of(match (&report.error, report.until_ms) {
            (None, Some(_)) => None,
            (error, _) => Some(error.as_deref().unwrap_or("the first round has not ended")),
        }),
        _ => Page::unknown("/metrics, /status, /livez and /readyz"),
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
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn pages_say_where_the_follower_is() {
        let shared = Shared::new(now_ms() - 60_000);
        let get = |path: &str| page(path, &shared.now(), now_ms());
        assert_eq!(get("/livez"), Page::well());
        assert_eq!(get("/readyz"), Page::unwell("the first round has not ended"));
        shared.change(|report| report.until_ms = Some(now_ms() - 5_000));
        assert_eq!(get("/readyz"), Page::well());
        shared.change(|report| report.error = Some("no such bucket".to_owned()));
        assert_eq!(get("/readyz"), Page::unwell("no such bucket"));
        assert_eq!(get("/secrets"), Page::unknown("/metrics, /status, /livez and /readyz"));
    }

    #[test]
    fn what_is_served_can_be_read_back() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shared = Shared::new(now_ms());
        start(free, shared.clone()).unwrap();
        let mut stream = TcpStream::connect(free).unwrap();
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let body = said.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(serde_json::from_str::<BackupReport>(body).unwrap(), shared.now());
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
