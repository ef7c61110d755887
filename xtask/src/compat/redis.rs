//! A redis-server of our own on a socket in a folder of its own; it ends with its value.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::wait_until;
use cairn_resp::{Reply, Version};

use super::Line;
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
}

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
        let mut socket = None;
        wait_until(START_MAX, START_STEP, || {
            socket = UnixStream::connect(&path).ok();
            socket.is_some()
        });
        let Some(socket) = socket else {
            child.kill().ok();
            bail!("redis-server does not answer");
        };
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { child, folder, socket, version: format!("redis {version}"), input: Vec::new() })
    }

    /// Its name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The replies to commands on empty data.
    ///
    /// # Errors
    /// If it ends or says something that is no reply.
    pub fn round(&mut self, lines: &[Line], version: Version) -> Result<Vec<Reply>> {
        let number: &[u8] = if version == Version::Resp3 { b"3" } else { b"2" };
        self.send(&[b"FLUSHALL".to_vec()])?;
        self.reply()?;
        self.send(&[b"HELLO".to_vec(), number.to_vec()])?;
        self.reply()?;
        self.replies(lines)
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
        let mut out = format!("*{}\r\n", line.len()).into_bytes();
        for word in line {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        self.socket.write_all(&out).context("redis-server does not read")
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut room = [0; 1 << 16];
        loop {
            if let Some((reply, len)) = Reply::parse(&self.input)? {
                self.input.drain(..len);
                return Ok(reply);
            }
            let len = self.socket.read(&mut room).context("redis-server does not answer")?;
            ensure!(len > 0, "redis-server has ended");
            self.input.extend_from_slice(&room[..len]);
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
