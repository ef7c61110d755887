//! Servers under measurement: how they are started, what they count, what they cost.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::{Connection, Frame};
use cairn_harness::clock::{wait, wait_until};

use crate::bench::load::{self, Load, Mix, Seen, Signals};

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// One process that serves RESP.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// What one run of a load showed.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Commands per second, by the server's own count.
    pub per_second: f64,
    /// Processor time of the server per command, in microseconds.
    pub cpu_us: f64,
    /// Half of the batches took at most this, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 batches took at most this, in microseconds.
    pub p99_us: f64,
}

impl Server {
    /// Makes a load for `warm_up` and then measures it for `time`.
    ///
    /// # Errors
    /// If the server fails, answers an error, or its count and the clients' differ.
    pub fn measure(&self, load: &Load, warm_up: Duration, time: Duration) -> Result<Measured> {
        let load = Load { address: self.address, ..load.clone() };
        if let Some(key) = load.mix.collection() {
            self.ask(&[b"UNLINK", key.as_bytes()])?;
        }
        let signals = Signals::default();
        let (seen, spent) = std::thread::scope(|scope| {
            let running = scope.spawn(|| load::run(&load, &signals));
            let outcome = self.observe(load.mix, &signals, warm_up, time);
            signals.stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let seen = running.join().ok().context("the load panicked")??;
            anyhow::Ok((seen, outcome?))
        })?;
        self.sum_up(&load, &seen, spent)
    }

    fn observe(
        &self,
        mix: Mix,
        signals: &Signals,
        warm_up: Duration,
        time: Duration,
    ) -> Result<Spent> {
        use std::sync::atomic::Ordering::Relaxed;
        wait(warm_up);
        let began = Instant::now();
        let (commands, cpu) = (self.commands(mix)?, cpu_seconds(self.pid)?);
        signals.measuring.store(true, Relaxed);
        wait(time);
        signals.measuring.store(false, Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        let commands = self.commands(mix)?.saturating_sub(commands);
        Ok(Spent { seconds, commands, cpu: cpu_seconds(self.pid)? - cpu })
    }

    fn sum_up(&self, load: &Load, seen: &Seen, spent: Spent) -> Result<Measured> {
        if seen.errors > 0 || seen.answers == 0 {
            bail!("{:?}: {} of {} answers were errors", load.mix, seen.errors, seen.answers);
        }
        let (told, counted) = (spent.commands as f64, seen.answers as f64);
        if (told - counted).abs() > 0.1 * counted + 20_000.0 {
            bail!("the server counts {told} commands and its clients {counted}");
        }
        Ok(Measured {
            per_second: told / spent.seconds,
            cpu_us: spent.cpu * 1e6 / told,
            p50_us: seen.batch_us.value_at_quantile(0.5) as f64,
            p99_us: seen.batch_us.value_at_quantile(0.99) as f64,
        })
    }

    /// Writes `keys` keys once each.
    ///
    /// # Errors
    /// If the server fails.
    pub fn fill(&self, keys: u64, value_bytes: usize) -> Result<()> {
        self.fill_with(Mix::Set, keys, value_bytes)
    }

    /// The same, with the writes of `mix`.
    ///
    /// # Errors
    /// If the server fails.
    pub fn fill_with(&self, mix: Mix, keys: u64, value_bytes: usize) -> Result<()> {
        let address = self.address;
        let load = Load {
            address,
            connections: 8,
            pipeline: 64,
            mix,
            keys,
            value_bytes,
            fill: true,
            batches_per_second: None,
        };
        let signals = Signals::default();
        signals.measuring.store(true, std::sync::atomic::Ordering::Relaxed);
        let errors = load::run(&load, &signals)?.errors;
        ensure!(errors == 0, "{errors} of {keys} writes were refused");
        Ok(())
    }

    /// Commands of a mix executed so far, by the server's own count.
    fn commands(&self, mix: Mix) -> Result<u64> {
        let stats = self.info("commandstats")?;
        let calls = |name: &&str| field(&stats, &format!("cmdstat_{name}:calls="));
        Ok(mix.commands().iter().filter_map(calls).sum())
    }

    /// One section of `INFO`.
    ///
    /// # Errors
    /// If the server does not answer it.
    pub fn info(&self, section: &str) -> Result<String> {
        let limit = Duration::from_secs(5);
        let mut connection = Connection::open(&self.address.to_string(), limit, limit)?;
        let answer = connection.call(&[b"INFO", section.as_bytes()])?;
        answer.text().with_context(|| format!("INFO {section} is answered by {answer:?}"))
    }

    /// Sends one command and returns its answer.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask(&self, command: &[&[u8]]) -> Result<Frame> {
        let limit = Duration::from_secs(60);
        Ok(Connection::open(&self.address.to_string(), limit, limit)?.call(command)?)
    }
}

struct Spent {
    seconds: f64,
    commands: u64,
    cpu: f64,
}

/// The number behind `name` in an answer to `INFO`.
pub fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// User and system time that a process has used, all its threads together.
///
/// # Errors
/// If the process is gone.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    // The kernel counts in hundredths of a second here on every Linux that matters.
    const TICKS_PER_SECOND: f64 = 100.0;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (_, rest) = text.rsplit_once(')').context("no name in /proc/pid/stat")?;
    let fields: Vec<f64> = rest.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Ok(fields.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Bytes of memory that a process holds.
///
/// # Errors
/// If the process is gone.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// A process of a peer, ended when this is dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// What it serves.
    pub server: Server,
}

impl Peer {
    /// Starts valkey-server without persistence, if `master` is named as its replica.
    ///
    /// # Errors
    /// If it does not start in time.
    pub fn valkey(folder: &Path, master: Option<&Server>) -> Result<Self> {
        let address = free_address()?;
        let folder = folder.join(format!("valkey-{}", address.port()));
        Self::valkey_at(address, &folder, master, START_LIMIT)
    }

    /// The same, but its append-only file is flushed before each answer.
    ///
    /// # Errors
    /// If it does not start in time.
    pub fn valkey_flushed(folder: &Path, master: Option<&Server>) -> Result<Self> {
        let peer = Self::valkey(folder, master)?;
        for (name, value) in [("appendfsync", "always"), ("appendonly", "yes")] {
            let answer =
                peer.server.ask(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()])?;
            ensure!(answer.text().as_deref() == Some("OK"), "CONFIG SET {name}: {answer:?}");
        }
        let written = || {
            let info = peer.server.info("persistence").unwrap_or_default();
            let idle = ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
            idle.iter().all(|wanted| info.lines().any(|line| line == *wanted))
        };
        if !wait_until(START_LIMIT, Duration::from_millis(20), written) {
            bail!("valkey-server did not begin its append-only file; see {folder:?}");
        }
        Ok(peer)
    }

    /// Starts valkey-server on a folder that may hold a `dump.rdb` to start from; waits until it
    /// serves and, if `master` is named, is linked to that as its replica.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub fn valkey_at(
        address: SocketAddr,
        folder: &Path,
        master: Option<&Server>,
        limit: Duration,
    ) -> Result<Self> {
        let port = master.map_or(0, |master| master.address.port()).to_string();
        let more: &[&str] = match master {
            Some(_) => &["--replicaof", "127.0.0.1", &port, "--repl-diskless-load", "swapdb"],
            None => &["--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"],
        };
        let peer = Self::spawn_valkey(address, folder, more)?;
        let linked = || {
            let info = peer.server.info("replication").unwrap_or_default();
            master.is_none() || info.contains("master_link_status:up")
        };
        let loaded = || {
            let info = peer.server.info("persistence").unwrap_or_default();
            info.lines().any(|line| line == "loading:0")
        };
        let up = || loaded() && linked();
        if !wait_until(limit, Duration::from_millis(20), up) {
            bail!("valkey-server did not start; see {folder:?}");
        }
        Ok(peer)
    }

    /// Starts valkey-server without persistence and with more settings; waits until it answers.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn valkey_with(address: SocketAddr, folder: &Path, more: &[&str]) -> Result<Self> {
        let mut peer = Self::spawn_valkey(address, folder, more)?;
        let server = peer.server.clone();
        let up = || {
            let answer = server.ask(&[b"PING"]);
            answer.is_ok_and(|answer| answer.text().as_deref() == Some("PONG"))
        };
        if !wait_until(START_LIMIT, Duration::from_millis(20), up) {
            bail!("valkey-server did not start; see {folder:?}");
        }
        // Another one may answer at a port that this one did not get.
        ensure!(peer.child.try_wait()?.is_none(), "valkey-server ended; see {folder:?}");
        Ok(peer)
    }

    fn spawn_valkey(address: SocketAddr, folder: &Path, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        let mut command = Command::new("valkey-server");
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
        command.arg("--port").arg(address.port().to_string()).arg("--dir").arg(folder);
        command.args(more);
        Self::start(command, address, folder.join("log"))
    }

    /// Starts one etcd member; with `fsync` off it trusts the page cache.
    ///
    /// # Errors
    /// If it does not start in time.
    pub fn etcd(program: &Path, folder: &Path, fsync: bool) -> Result<Self> {
        let address = free_address()?;
        let folder = folder.join(format!("etcd-{}", address.port()));
        let peer = Self::etcd_at(program, &folder, address, fsync)?;
        let up = || std::net::TcpStream::connect(address).is_ok();
        if !wait_until(START_LIMIT, Duration::from_millis(50), up) {
            bail!("etcd did not start; see {folder:?}");
        }
        wait(Duration::from_secs(1));
        Ok(peer)
    }

    /// Starts one etcd member on a folder that it may have used before, and waits for nothing.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn etcd_at(
        program: &Path,
        folder: &Path,
        address: SocketAddr,
        fsync: bool,
    ) -> Result<Self> {
        let peers = free_address()?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(folder.join("data")).args(["--name", "a"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("a={peer}"), "--quota-backend-bytes"]);
        command.args(["8589934592", "--log-level", "error"]);
        if !fsync {
            command.arg("--unsafe-no-fsync");
        }
        Self::start(command, address, folder.join("log"))
    }

    fn start(mut command: Command, address: SocketAddr, log: PathBuf) -> Result<Self> {
        let line = crate::run::line_of(&command);
        let file = File::create(&log).with_context(|| format!("cannot make {log:?}"))?;
        let errors = file.try_clone().context("cannot share a log")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.with_context(|| format!("cannot run {line}"))?;
        let pid = child.id();
        Ok(Self { child, server: Server { address, pid } })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It holds nothing that anybody wants to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine that nobody listens at.
///
/// # Errors
/// If there is none.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}
