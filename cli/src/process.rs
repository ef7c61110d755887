//! Processes named so that a reused pid is never taken for one of ours.

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;

/// A process of this machine since its last start: a pid means nothing without the other two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// The run of the machine.
    pub boot_id: String,
}

impl Identity {
    /// The process that has `pid` now; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_ticks: start_ticks(pid)?, boot_id: boot_id()? })
    }

    /// This process.
    pub fn own() -> Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid).context("cannot read /proc/self/stat")
    }

    /// Whether it still runs (a zombie does not).
    pub fn is_alive(&self) -> bool {
        boot_id().as_ref() == Some(&self.boot_id) && start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Sends `signal` if it still runs; returns whether it did.
    ///
    /// The process is held by a descriptor before it is looked at, so that the signal reaches the
    /// one that was looked at or nobody.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(&held, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot signal process {}", self.pid)),
        }
    }
}

/// The machine's run, as the kernel names it.
fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Field 22 of /proc/<pid>/stat; `None` for no process and for a zombie.
fn start_ticks(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything, so count from its end.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_itself_and_its_pid_alone_is_not() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.is_alive());
        let reused = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        assert!(!reused.signal(Signal::KILL).unwrap());
        let earlier = Identity { boot_id: "before the reboot".to_owned(), ..identity.clone() };
        assert!(!earlier.signal(Signal::KILL).unwrap());
        assert!(child.try_wait().unwrap().is_none(), "nobody was killed");
        assert!(identity.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(!identity.is_alive());
        assert!(!identity.signal(Signal::KILL).unwrap());
    }

    #[test]
    fn this_process_is_alive() {
        assert!(Identity::own().unwrap().is_alive());
    }
}
