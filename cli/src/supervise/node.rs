//! One node's process: started, watched, started again, stopped.

use super::{GRACE, Process, Run, Table, logs};
use crate::folder::{ClusterState, Folder, LocalNode};
use crate::process::Identity;
use anyhow::{Context, Result};
use cairn_logic::ids::NodeId;
use cairn_settings::NodeRole;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A run that lasted so long makes the next pause short again.
const HEALTHY_AFTER: Duration = Duration::from_secs(20);

/// What is to be done; the answer says how it went.
pub enum Order {
    /// Stop gracefully and stay stopped.
    Stop(oneshot::Sender<String>),
    /// Run.
    Start(oneshot::Sender<String>),
    /// Kill, and start again as after a crash.
    Kill(oneshot::Sender<String>),
    /// Kill, and stay stopped.
    KillAndStayDown(oneshot::Sender<String>),
}

/// Looks after one node.
pub struct Task {
    id: NodeId,
    role: NodeRole,
    program: PathBuf,
    settings: PathBuf,
    log: PathBuf,
    table: Table,
    back_off: Duration,
}

/// Why a run of the process ended.
enum End {
    /// By itself; how.
    Itself(String),
    /// It was killed as if it had crashed.
    Crash,
    /// It is to stay down.
    Stopped,
    /// Nobody gives orders any more.
    Abandoned,
}

impl Task {
    /// Nothing is started yet.
    pub fn new(folder: &Folder, state: &ClusterState, node: &LocalNode, table: Table) -> Self {
        Self {
            id: node.id.clone(),
            role: node.role,
            program: state.node_binary.clone(),
            settings: folder.settings(&node.id),
            log: folder.log(node.id.as_str()),
            table,
            back_off: BACK_OFF_MIN,
        }
    }

    /// Runs the node until orders end.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut wanted = true;
        loop {
            if !wanted && self.rest(&mut orders).await.is_none() {
                return;
            }
            let began = Instant::now();
            let end = match self.spawn() {
                Ok((child, identity)) => self.watch(child, identity, &mut orders).await,
                Err(error) => End::Itself(format!("{error:#}")),
            };
            if began.elapsed() >= HEALTHY_AFTER {
                self.back_off = BACK_OFF_MIN;
            }
            match end {
                End::Abandoned => return,
                End::Stopped => wanted = false,
                End::Crash => wanted = self.pause("killed".to_owned(), &mut orders).await,
                End::Itself(how) => wanted = self.pause(how, &mut orders).await,
            }
        }
    }

    fn spawn(&self) -> Result<(Child, Identity)> {
        let log =
            logs::open(&self.log).with_context(|| format!("cannot open log {:?}", self.log))?;
        let again = log.try_clone().context("cannot share the log")?;
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        // This very program, also after its file was replaced by a newer build.
        let child = Command::new("/proc/self/exe")
            .args(["exec-node", "--parent", &parent.to_string(), "--"])
            .arg(&self.program)
            .arg(self.role.as_str())
            .arg("--settings")
            .arg(&self.settings)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            // A group of its own: a Ctrl-C at the terminal is for the supervisor.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {:?}", self.program))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let identity = pid.and_then(Identity::of).context("the process ended at once")?;
        self.table.set(&self.id, |p| {
            p.run = Run::Running;
            p.identity = Some(identity.clone());
        });
        Ok((child, identity))
    }

    /// Waits for the process's end or for an order that ends it.
    async fn watch(
        &mut self,
        mut child: Child,
        identity: Identity,
        orders: &mut mpsc::Receiver<Order>,
    ) -> End {
        loop {
            let order = tokio::select! {
                status = child.wait() => return End::Itself(words(status)),
                order = orders.recv() => order,
            };
            match order {
                Some(Order::Start(answer)) => tell(answer, "was running already"),
                Some(Order::Stop(answer)) => {
                    let how = stop(&mut child, &identity).await;
                    self.set(Run::Stopped, Some(how.clone()));
                    tell(answer, &how);
                    return End::Stopped;
                }
                Some(Order::Kill(answer)) => {
                    kill(&mut child).await;
                    self.set(Run::Waiting, Some("killed".to_owned()));
                    tell(answer, "killed; it is started again");
                    return End::Crash;
                }
                Some(Order::KillAndStayDown(answer)) => {
                    kill(&mut child).await;
                    self.set(Run::Stopped, Some("killed".to_owned()));
                    tell(answer, "killed; it stays down until `cairn start`");
                    return End::Stopped;
                }
                None => {
                    stop(&mut child, &identity).await;
                    return End::Abandoned;
                }
            }
        }
    }

    /// Waits before the next start; returns whether there is to be one.
    async fn pause(&mut self, how: String, orders: &mut mpsc::Receiver<Order>) -> bool {
        eprintln!("cairn supervisor: node {} ended: {how}; again in {:?}", self.id, self.back_off);
        self.table.set(&self.id, |p| p.restarts += 1);
        self.set(Run::Waiting, Some(how));
        let until = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        tokio::select! {
            () = tokio::time::sleep_until(until) => true,
            order = orders.recv() => match order {
                Some(Order::Start(answer)) => {
                    tell(answer, "started");
                    true
                }
                Some(Order::Kill(answer)) => {
                    tell(answer, "was dead already; it is started again");
                    true
                }
                Some(Order::Stop(answer) | Order::KillAndStayDown(answer)) => {
                    self.set(Run::Stopped, None);
                    tell(answer, "was dead already; it stays down until `cairn start`");
                    false
                }
                None => false,
            },
        }
    }

    /// Waits, stopped, for an order to start; `None` when orders end.
    async fn rest(&mut self, orders: &mut mpsc::Receiver<Order>) -> Option<()> {
        self.set(Run::Stopped, None);
        loop {
            match orders.recv().await? {
                Order::Start(answer) => {
                    self.back_off = BACK_OFF_MIN;
                    tell(answer, "started");
                    return Some(());
                }
                Order::Stop(answer) | Order::Kill(answer) | Order::KillAndStayDown(answer) => {
                    tell(answer, "was stopped already");
                }
            }
        }
    }

    /// Notes that no process runs, and how the last one ended if that is news.
    fn set(&self, run: Run, how: Option<String>) {
        self.table.set(&self.id, |p: &mut Process| {
            p.run = run;
            p.identity = None;
            p.last_exit = how.or(p.last_exit.take());
        });
    }
}

fn tell(answer: oneshot::Sender<String>, how: &str) {
    // Who asked may have gone away.
    let _ = answer.send(how.to_owned());
}

/// Asks the process to stop, kills it after [`GRACE`]; says which it was.
async fn stop(child: &mut Child, identity: &Identity) -> String {
    // A stopped (SIGSTOP) process would not hear the first without the second.
    for signal in [Signal::TERM, Signal::CONT] {
        if let Err(error) = identity.signal(signal) {
            eprintln!("cairn supervisor: {error:#}");
        }
    }
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => format!("stopped ({})", words(status)),
        Err(_) => {
            kill(child).await;
            format!("killed: it did not stop within {} s", GRACE.as_secs())
        }
    }
}

async fn kill(child: &mut Child) {
    // The child is not reaped yet, so its pid is its own.
    if let Err(error) = child.kill().await {
        eprintln!("cairn supervisor: cannot kill: {error}");
    }
}

fn words(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("cannot be waited for: {error}"),
    }
}
