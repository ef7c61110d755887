//! Pages over HTTP/1.1, one request a connection: how figures and probes are shown, the same in
//! every program. What a page says is the program's own; this neither knows nor changes anything.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long one request may take in all.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Requests answered at once; more wait.
const REQUESTS_MAX: usize = 16;
/// Between two tries to accept while that fails.
const PAUSE: Duration = Duration::from_millis(100);
/// What text is.
const PLAIN: &str = "text/plain; charset=utf-8";
/// What figures are in the format that Prometheus had first.
const FIGURES: &str = "text/plain; version=0.0.4";

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    code: u16,
    kind: &'static str,
    text: String,
}

impl Page {
    /// All is well.
    #[must_use]
    pub fn well() -> Self {
        Self::plain(200, "ok\n")
    }

    /// It is not, and why.
    #[must_use]
    pub fn unwell(why: &str) -> Self {
        Self::plain(503, format!("{why}\n"))
    }

    /// Well if there is no reason not to be.
    #[must_use]
    pub fn of(why_not: Option<&str>) -> Self {
        why_not.map_or_else(Self::well, Self::unwell)
    }

    /// A text of this kind.
    #[must_use]
    pub fn text(kind: &'static str, text: String) -> Self {
        Self { code: 200, kind, text }
    }

    /// Figures as lines of name and value.
    #[must_use]
    pub fn figures(text: String) -> Self {
        Self::text(FIGURES, text)
    }

    /// There is no such page, but `there_are`.
    #[must_use]
    pub fn unknown(there_are: &str) -> Self {
        Self::plain(404, format!("there are {there_are}\n"))
    }

    fn plain(code: u16, text: impl Into<String>) -> Self {
        Self { code, kind: PLAIN, text: text.into() }
    }

    fn head(&self) -> String {
        let reason = match self.code {
            200 => "OK",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let (code, kind, bytes) = (self.code, self.kind, self.text.len());
        format!(
            "HTTP/1.1 {code} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {bytes}\r\n\
             connection: close\r\n\r\n"
        )
    }
}

/// Answers on `listener` until dropped; `page` says what there is at a path.
pub async fn serve<F, P>(listener: TcpListener, page: F)
where
    F: Fn(String) -> P + Clone + Send + 'static,
    P: Future<Output = Page> + Send + 'static,
{
    let seats = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let page = page.clone();
        tokio::spawn(async move {
            // A client that is slow or gone is no matter.
            timeout(REQUEST_MAX, answer(stream, page)).await.ok();
            drop(seat);
        });
    }
}

async fn answer<F, P>(mut stream: TcpStream, page: F) -> std::io::Result<()>
where
    F: Fn(String) -> P,
    P: Future<Output = Page>,
{
    let mut head = Vec::new();
    let mut refused = None;
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX {
            refused = Some(Page::plain(431, "the request is too long\n"));
            break;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("").to_owned();
    let found = match (refused, method) {
        (Some(refused), _) => refused,
        (None, "GET" | "HEAD") => page(path).await,
        (None, _) => Page::plain(405, "only GET\n"),
    };
    stream.write_all(found.head().as_bytes()).await?;
    if method != "HEAD" {
        stream.write_all(found.text.as_bytes()).await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, |path| async move {
            match &*path {
                "/livez" => Page::well(),
                "/readyz" => Page::of(Some("not yet")),
                "/metrics" => Page::figures("one 1\n".to_owned()),
                _ => Page::unknown("/livez and /metrics"),
            }
        }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer
    }

    #[tokio::test]
    async fn pages_are_there_and_others_are_not() {
        let well = ask("GET /livez?verbose HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(well.starts_with("HTTP/1.1 200 OK\r\n") && well.ends_with("\r\n\r\nok\n"));
        let figures = ask("GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(figures.contains("version=0.0.4\r\ncontent-length: 6\r\n"), "{figures}");
        let unwell = ask("GET /readyz HTTP/1.1\r\n\r\n").await;
        assert!(unwell.starts_with("HTTP/1.1 503 ") && unwell.ends_with("not yet\n"));
        assert!(ask("GET /secrets HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn only_who_asks_to_read_is_answered_with_a_page() {
        let head = ask("HEAD /livez HTTP/1.1\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask("POST /livez HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    }
}
