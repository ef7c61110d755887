//! A docker daemon: the one that runs here, or one started for the time being.
//!
//! Where no daemon runs and we are root, dockerd is started with a folder of its own in the cache
//! and stopped at the end; what it leaves in the host's network is taken away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;

use crate::run::{check, command, read, which};
use crate::setup;

/// How long a daemon may take to start, and to stop.
const DAEMON_LIMIT: Duration = Duration::from_secs(60);
/// The bit of CAP_SYS_RESOURCE in a process's capabilities.
const SYS_RESOURCE: u32 = 24;
/// What a node image is built with, beside docker: Debian packages.
const PACKAGES: [&str; 9] = [
    "docker.io",
    "debootstrap",
    "busybox-static",
    "iptables",
    "nftables",
    "conntrack",
    "kmod",
    "iproute2",
    "jq",
];

/// A program of each of them that is not there anyway.
const PROGRAMS: [&str; 7] = ["dockerd", "debootstrap", "busybox", "nft", "conntrack", "kmod", "jq"];

/// A docker daemon that answers; stopped by [`Docker::stop`] if we started it.
pub struct Docker {
    started: Option<Started>,
}

/// The daemon that we started.
struct Started {
    pid: u32,
    /// What the host did with packets that no rule names, before.
    forward: String,
}

impl Docker {
    /// Finds the daemon of this machine, or starts one.
    ///
    /// # Errors
    /// If there is none and it cannot be installed or started (root is needed for that).
    pub fn start() -> Result<Self> {
        let folder = folder()?;
        if answers() {
            // A daemon that an earlier run of ours left is ours to stop.
            let forward = fs::read_to_string(folder.join("forward")).unwrap_or_default();
            let ours = pid(&folder).filter(|pid| is_alive(*pid));
            return Ok(Self { started: ours.map(|pid| Started { pid, forward }) });
        }
        install()?;
        let forward = forward_policy();
        fs::create_dir_all(folder.join("run"))?;
        fs::write(folder.join("forward"), &forward)?;
        let log = fs::File::create(folder.join("dockerd.log"))?;
        let mut daemon = Command::new("setsid");
        daemon.arg(which("dockerd").context("no dockerd after docker.io was installed")?);
        daemon.arg("--data-root").arg(folder.join("data"));
        daemon.arg("--exec-root").arg(folder.join("run"));
        daemon.arg("--pidfile").arg(folder.join("dockerd.pid"));
        daemon.args(["--host", "unix:///var/run/docker.sock", "--storage-driver", "overlay2"]);
        daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        if !may_raise_limits() {
            // Privileged containers ask for the capability that this machine does not give.
            let wrapper = crate::root().join("e2e/kind/runc-within-limits");
            daemon.arg("--add-runtime").arg(format!("within-limits={}", wrapper.display()));
            daemon.args(["--default-runtime", "within-limits"]);
        }
        daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = daemon.spawn().context("cannot start dockerd")?;
        println!("kube: started dockerd in {}", folder.display());
        let up = wait_until(DAEMON_LIMIT, Duration::from_millis(200), answers);
        let Some(pid) = up.then(|| pid(&folder)).flatten() else {
            let _ = child.kill();
            let text = fs::read_to_string(folder.join("dockerd.log")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(8).collect();
            anyhow::bail!("dockerd does not answer; its last words: {}", lines.join("\n"));
        };
        Ok(Self { started: Some(Started { pid, forward }) })
    }

    /// Stops the daemon if we started it, and takes away its bridges and rules.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn stop(self) -> Result<()> {
        let Some(Started { pid, forward }) = self.started else { return Ok(()) };
        check(&mut command("kill", [pid.to_string()]))?;
        let gone = || !is_alive(pid);
        ensure!(wait_until(DAEMON_LIMIT, Duration::from_millis(100), gone), "dockerd stays");
        clean_network(&forward);
        println!("kube: stopped dockerd");
        Ok(())
    }

    /// Loads an image from a file.
    ///
    /// # Errors
    /// If docker refuses it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        check(command("docker", ["load", "--quiet", "--input"]).arg(archive))
    }
}

/// Whether a daemon answers now.
pub fn answers() -> bool {
    let version = command("docker", ["version", "--format", "{{.Server.Version}}"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// Whether the daemon, if one answers, has an image of this name.
pub fn has_image(name: &str) -> bool {
    let inspect = command("docker", ["image", "inspect", name]).output();
    inspect.is_ok_and(|output| output.status.success())
}

/// Where our own daemon keeps everything.
fn folder() -> Result<PathBuf> {
    Ok(setup::cache()?.join("docker"))
}

fn pid(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("dockerd.pid")).ok()?.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Whether root here is root: some sandboxes take this one capability away.
fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounds = bounds.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bounds.is_none_or(|bits| bits >> SYS_RESOURCE & 1 == 1)
}

/// Installs what is missing of docker and of what makes a node image.
///
/// # Errors
/// If that is not possible; root and Debian's packages are needed.
pub fn install() -> Result<()> {
    if PROGRAMS.iter().all(|program| which(program).is_some()) {
        return Ok(());
    }
    ensure!(which("apt-get").is_some(), "no docker daemon here, and no apt-get to install one");
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(PACKAGES);
    setup::apt(&["update", "-qq"])?;
    setup::apt(&arguments)
}

/// `ACCEPT` or `DROP`.
fn forward_policy() -> String {
    let rules = read(&mut command("iptables", ["-S", "FORWARD"])).unwrap_or_default();
    let policy = rules.lines().find_map(|line| line.strip_prefix("-P FORWARD "));
    policy.unwrap_or("ACCEPT").to_owned()
}

/// Removes the bridges, chains and rules that a stopped daemon leaves behind.
fn clean_network(forward: &str) {
    let script = crate::root().join("e2e/kind/clean-network.sh");
    if let Err(error) = read(&mut command("bash", [script.as_os_str(), forward.as_ref()])) {
        println!("kube: the network is not as it was: {error:#}");
    }
}
