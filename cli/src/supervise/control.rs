//! What commands and the supervisor say to each other: one JSON line each way.

use super::Processes;
use crate::folder::Folder;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// How long a line may take to come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer may take: as long as all kinds of nodes take to be stopped, and a little.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// What a command asks of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// What runs.
    Status,
    /// Stop a node gracefully and leave it stopped.
    Stop {
        /// Which.
        node: String,
    },
    /// Start a node that is stopped.
    Start {
        /// Which.
        node: String,
    },
    /// Kill a node's process.
    Kill {
        /// Which.
        node: String,
        /// Whether to leave it dead.
        stay_down: bool,
    },
    /// Stop everything, then end.
    Down,
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// It is done; how, in words.
    Done(String),
    /// It cannot be done; why.
    Error(String),
    /// What runs.
    Status(Processes),
    /// Everything is stopped.
    Down {
        /// Nodes that did not stop in time and were killed.
        killed: Vec<String>,
    },
}

/// The socket's path, short enough for the kernel (108 bytes) however deep the folder is.
///
/// The descriptor must stay open while the path is used.
fn short_path(folder: &Folder) -> Result<(PathBuf, Option<File>)> {
    let path = folder.socket();
    if path.as_os_str().len() < 100 {
        return Ok((path, None));
    }
    let held = File::open(folder.path())
        .with_context(|| format!("cannot open folder {:?}", folder.path()))?;
    let name = path.file_name().context("the socket has a name")?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(name), Some(held)))
}

/// Listens in `folder`; whoever listened before is gone, for the caller holds the lock.
pub fn listen(folder: &Folder) -> Result<UnixListener> {
    let (path, _held) = short_path(folder)?;
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).with_context(|| format!("cannot listen on {:?}", folder.socket()))
}

/// Where an answer goes.
pub struct Answer(UnixStream);

impl Answer {
    /// Sends it; a caller that has gone away is no matter.
    pub async fn send(mut self, reply: &Reply) {
        let mut line = serde_json::to_vec(reply).expect("replies are plain data");
        line.push(b'\n');
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.0.write_all(&line)).await;
    }
}

/// Takes requests, each on its own so that a silent caller holds up nobody, for ever.
pub async fn serve(listener: UnixListener, requests: mpsc::Sender<(Request, Answer)>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let some be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            match receive(stream).await {
                Ok(request) => {
                    // The supervisor ends: nobody is there to answer.
                    let _ = requests.send(request).await;
                }
                Err(error) => eprintln!("cairn supervisor: {error:#}"),
            }
        });
    }
}

/// Reads a request.
async fn receive(mut stream: UnixStream) -> Result<(Request, Answer)> {
    let mut line = String::new();
    let mut reader = BufReader::new(&mut stream).take(LINE_BYTES_MAX);
    let read = tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await;
    read.context("a request did not come in time")?.context("a request was cut short")?;
    let request = serde_json::from_str(&line).context("a request is not readable")?;
    Ok((request, Answer(stream)))
}

/// Asks the supervisor of `folder`; `None` if there is none.
pub async fn ask(folder: &Folder, request: &Request) -> Result<Option<Reply>> {
    let (path, _held) = short_path(folder)?;
    let Ok(mut stream) = UnixStream::connect(&path).await else { return Ok(None) };
    let mut line = serde_json::to_vec(request).context("cannot encode the request")?;
    line.push(b'\n');
    stream.write_all(&line).await.context("cannot write to the supervisor")?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream).take(LINE_BYTES_MAX);
    let read = tokio::time::timeout(REPLY_TIMEOUT, reader.read_line(&mut answer)).await;
    let bytes = read
        .context("the supervisor did not answer in time; see `cairn logs supervisor`")?
        .context("cannot read from the supervisor")?;
    if bytes == 0 {
        bail!("the supervisor ended; see `cairn logs supervisor`");
    }
    Ok(Some(serde_json::from_str(&answer).context("the supervisor's answer is not readable")?))
}

/// Asks for something to be done to a node; the error says what to do if there is no supervisor.
pub async fn order(folder: &Folder, request: &Request) -> Result<String> {
    match ask(folder, request).await? {
        Some(Reply::Done(done)) => Ok(done),
        Some(Reply::Error(error)) => bail!("{error}"),
        Some(other) => bail!("the supervisor gave an unexpected answer: {other:?}"),
        None => bail!("the cluster in {:?} is not up: start it with `cairn up`", folder.path()),
    }
}
