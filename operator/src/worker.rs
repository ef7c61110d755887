//! Asks pods that archive where they are.
//!
//! One request each, at once, in plain text: what they show is what their metrics show. A pod that
//! does not answer is absent from what was seen.

use crate::controller::observed::Observed;
use crate::names;
use cairn_settings::Port;
use cairn_settings::report::BackupReport;
use futures::future::join_all;
use kube::ResourceExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a pod may take to say where it is.
const ANSWER_MAX: Duration = Duration::from_millis(1_000);
/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Asks the pod of each Backup.
pub async fn ask(observed: &mut Observed) {
    let running = observed.backups.iter().filter_map(|backup| {
        let name = backup.name_any();
        let worker = observed.worker(names::ARCHIVE, &name)?;
        let address = worker.address.clone().filter(|_| worker.pod.running)?;
        Some((name, address))
    });
    let asked = running.map(|(name, host)| async move {
        let answer = timeout(ANSWER_MAX, report(&host, Port::Metrics.number())).await;
        Some((name, answer.ok()??))
    });
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    observed.reports = answers.into_iter().flatten().collect();
}

/// What the pod at `host` says.
async fn report(host: &str, port: u16) -> Option<BackupReport> {
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request =
        format!("GET /status HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then_some(())?;
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn said(answer: &'static str) -> Option<BackupReport> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /status HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let found = report("127.0.0.1", port).await;
        server.await.unwrap();
        found
    }

    #[tokio::test]
    async fn a_pod_says_where_it_is_and_anything_else_is_no_answer() {
        let report = said("HTTP/1.1 200 OK\r\na: b\r\n\r\n{\"untilMs\": 7, \"rounds\": 2}").await;
        let expected = BackupReport { until_ms: Some(7), rounds: 2, ..BackupReport::default() };
        assert_eq!(report, Some(expected));
        for answer in ["", "HTTP/1.1 404 No\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\nhello"] {
            assert_eq!(said(answer).await, None, "{answer}");
        }
    }
}
