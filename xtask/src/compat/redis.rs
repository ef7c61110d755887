//! A redis-server of our own on a socket in a folder of its own; it ends with its value.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::wait_until;
use cairn_resp::{Reply, Version};

use super::{Line, Told};
use crate::run::{command, read, which};

const START_MAX: Duration = Duration::from_secs(30);
const START_STEP: Duration = Duration::from_millis(10);
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Commands that are sent before their replies are read: both sides' buffers hold them.
const PIPELINE: usize = 32;

/// The peer.
pub struct Redis {
    child: Child,
    folder: PathBuf,
    socket: UnixStream,
    version: String,
    input: Vec<u8>,
    /// Listens to events, with what it has heard of the next one.
    listener: (UnixStream, Vec<u8>),
}

/// Says on the channels of events that a command is over.
const DONE: &[u8] = b"__keyevent@0__:done";

impl Redis {
    /// Starts one.
    ///
    /// # Errors
    /// If there is no redis-server 7.0, or it does not answer.
    pub fn start() -> Result<Self> {
        ensure!(which("redis-server").is_some(), "no redis-server: run cargo xtask setup");
        let version = read(&mut command("redis-server", ["--version"]))?;
        let version = version.split(' ').find_map(|word| word.strip_prefix("v="));
        let version = version.context("redis-server names no version")?.to_owned();
        ensure!(version.starts_with("7.0."), "redis-server is {version}, not 7.0");
        let folder = std::env::temp_dir().join(format!("cairn-compat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        let path = folder.join("socket");
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&path);
        // Texts are compared byte by byte.
        server.env("LC_ALL", "C").current_dir(&folder).stdout(Stdio::null());
        let mut child = server.spawn().context("cannot run redis-server")?;
        let mut sockets = None;
        wait_until(START_MAX, START_STEP, || {
            let both = [UnixStream::connect(&path), UnixStream::connect(&path)];
            sockets = both.into_iter().collect::<Result<Vec<_>, _>>().ok();
            sockets.is_some()
        });
        let Some([socket, listener]) = sockets.and_then(|both| <[_; 2]>::try_from(both).ok())
        else {
            child.kill().ok();
            bail!("redis-server does not answer");
        };
        let (input, version) = (Vec::new(), format!("redis {version}"));
        let listener = (listener, Vec::new());
        let mut redis = Self { child, folder, socket, version, input, listener };
        redis.listen()?;
        Ok(redis)
    }

    fn listen(&mut self) -> Result<()> {
        self.socket.set_read_timeout(Some(ANSWER_MAX))?;
        self.listener.0.set_read_timeout(Some(ANSWER_MAX))?;
        let name = b"notify-keyspace-events".to_vec();
        let set = [b"CONFIG".to_vec(), b"SET".to_vec(), name, Told::CLASSES.to_vec()];
        send(&mut self.socket, &set)?;
        self.reply()?;
        send(&mut self.listener.0, &[b"PSUBSCRIBE".to_vec(), b"__keyevent@0__:*".to_vec()])?;
        reply(&mut self.listener.0, &mut self.listener.1).map(drop)
    }

    /// What has happened since this was last asked, up to the end of a command.
    fn told(&mut self) -> Result<Told> {
        let prefix = DONE.len() - b"done".len();
        let mut told = Vec::new();
        loop {
            let message = reply(&mut self.listener.0, &mut self.listener.1)?;
            let Reply::Array(parts) = message else { bail!("redis-server sends no message") };
            let [_, _, Reply::Bulk(channel), Reply::Bulk(key)] = parts.as_slice() else {
                bail!("redis-server sends another message");
            };
            if channel == DONE {
                return Ok(Told::new(told.into_iter()));
            }
            told.push((String::from_utf8_lossy(&channel[prefix..]).into_owned(), key.clone()));
        }
    }

    /// Its name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The replies to commands on empty data, and the events of each.
    ///
    /// # Errors
    /// If it ends or says something that is no reply.
    pub fn round(&mut self, lines: &[Line], version: Version) -> Result<(Vec<Reply>, Vec<Told>)> {
        let number: &[u8] = if version == Version::Resp3 { b"3" } else { b"2" };
        self.send(&[b"FLUSHALL".to_vec()])?;
        self.reply()?;
        self.send(&[b"HELLO".to_vec(), number.to_vec()])?;
        self.reply()?;
        let done: Line = vec![b"PUBLISH".to_vec(), DONE.to_vec(), Vec::new()];
        self.replies(std::slice::from_ref(&done))?;
        self.told()?;
        let both: Vec<Line> = lines.iter().flat_map(|line| [line.clone(), done.clone()]).collect();
        let replies = self.replies(&both)?.into_iter().step_by(2).collect();
        let told = lines.iter().map(|_| self.told()).collect::<Result<_>>()?;
        Ok((replies, told))
    }

    /// The replies to commands on the data that is there.
    ///
    /// # Errors
    /// If it ends or says something that is no reply.
    pub fn replies(&mut self, lines: &[Line]) -> Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(lines.len());
        for some in lines.chunks(PIPELINE) {
            some.iter().try_for_each(|line| self.send(line))?;
            for _ in some {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    fn send(&mut self, line: &[Vec<u8>]) -> Result<()> {
        send(&mut self.socket, line)
    }

    fn reply(&mut self) -> Result<Reply> {
        reply(&mut self.socket, &mut self.input)
    }
}

fn send(socket: &mut UnixStream, line: &[Vec<u8>]) -> Result<()> {
    let mut out = format!("*{}\r\n", line.len()).into_bytes();
    for word in line {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    socket.write_all(&out).context("redis-server does not read")
}

fn reply(socket: &mut UnixStream, input: &mut Vec<u8>) -> Result<Reply> {
    let mut room = [0; 1 << 16];
    loop {
        if let Some((reply, len)) = Reply::parse(input)? {
            input.drain(..len);
            return Ok(reply);
        }
        let len = socket.read(&mut room).context("redis-server does not answer")?;
        ensure!(len > 0, "redis-server has ended");
        input.extend_from_slice(&room[..len]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
