//! Metrics and probes: three pages over HTTP/1.1, one request per connection.

use crate::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// The longest request line and headers that are read, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Requests answered at once; others wait.
const CONNECTIONS_MAX: usize = 32;

/// Serves `/metrics`, `/livez` and `/readyz` until dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            timeout(REQUEST_MAX, answer(stream, &metrics)).await.ok();
            drop(seat);
        });
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        if read == 0 || request.len() + read > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        "/metrics" => ("200 OK", metrics.page()),
        // A replica that waits for the Lease is as well as the one that leads.
        "/livez" | "/readyz" => ("200 OK", "ok\n".to_owned()),
        _ => ("404 Not Found", "there are /metrics, /livez and /readyz\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::default()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn the_pages_are_there_and_others_are_not() {
        assert!(get("/metrics").await.contains("cairn_operator_leading 0"));
        assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get("/secrets").await.starts_with("HTTP/1.1 404"));
    }
}
