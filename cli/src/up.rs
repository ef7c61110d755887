//! `cairn up`: from files to a cluster that serves.

pub mod prepare;

use crate::args::UpArgs;
use crate::folder::{ClusterState, Folder};
use crate::founding::found;
use crate::logs::last_lines;
use crate::place::processes;
use crate::plane::Plane;
use crate::print;
use crate::supervise::control::{self, Reply, Request};
use crate::supervise::{Process, Run, Supervisor};
use crate::view::{View, answers_clients};
use anyhow::{Context, Result, bail};
use cairn_settings::directory_keys::{self, KeyspaceConfig};
use cairn_settings::{NodeRole, Port};
use cairn_topology::Plan;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a new node may end by itself before `up` gives up.
const RESTARTS_MAX: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For how long a cluster that serves is waited for until all its members count.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);

/// Starts the cluster and returns when every slot is served and every member counts; with
/// `--foreground`, when it stopped.
pub async fn up(folder: &Folder, args: &UpArgs) -> Result<()> {
    let (state, plan) = prepare::prepare(folder, args).await?;
    let until = Instant::now() + Duration::from_secs(args.timeout_sec);
    if args.foreground {
        return in_foreground(folder, state, &plan, until).await;
    }
    start_supervisor(folder).await?;
    bring_up(folder, state, &plan, until).await.map_err(|error| {
        let folder = folder.path();
        error.context(format!(
            "the cluster is not ready; it was left running to be looked at: \
             `cairn --dir {0} status`, `cairn --dir {0} logs NODE`, `cairn --dir {0} down`",
            folder.display()
        ))
    })
}

async fn in_foreground(
    folder: &Folder,
    state: ClusterState,
    plan: &Plan,
    until: Instant,
) -> Result<()> {
    let supervisor = Supervisor::take(folder)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut running = tokio::spawn(supervisor.run(async {
        let _ = stopped.await;
    }));
    let work = async {
        bring_up(folder, state, plan, until).await?;
        print::line(format_args!(
            "\nRunning in the foreground: Ctrl-C stops the cluster gracefully."
        ));
        std::future::pending::<Result<()>>().await
    };
    let outcome = tokio::select! {
        ended = &mut running => return report(ended.context("the supervisor failed")?),
        outcome = work => outcome,
        () = crate::signals::stop() => Ok(()),
    };
    eprintln!("stopping…");
    let _ = stop.send(());
    report(running.await.context("the supervisor failed")?)?;
    outcome
}

fn report(killed: Result<Vec<String>>) -> Result<()> {
    let killed = killed?;
    for line in &killed {
        eprintln!("{line}");
    }
    print::line(format_args!("stopped; the data stays."));
    Ok(())
}

/// Starts the supervisor as a process of its own and waits until it answers.
async fn start_supervisor(folder: &Folder) -> Result<()> {
    let path = folder.log("supervisor");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open log {path:?}"))?;
    let again = log.try_clone().context("cannot share the log")?;
    let mut child = Command::new("/proc/self/exe")
        .arg("--dir")
        .arg(folder.path())
        .arg("supervise")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(again)
        .spawn()
        .context("cannot start the supervisor")?;
    for _ in 0..100 {
        if let Some(Reply::Status(_)) = control::ask(folder, &Request::Status).await? {
            return Ok(());
        }
        if let Some(status) = child.try_wait().context("cannot wait for the supervisor")? {
            bail!("the supervisor ended ({status}):\n{}", last_lines(&path, 10));
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("the supervisor does not answer; see {path:?}")
}

/// Founds, writes the keyspaces, waits until all is served, prints the endpoints.
async fn bring_up(
    folder: &Folder,
    mut state: ClusterState,
    plan: &Plan,
    until: Instant,
) -> Result<()> {
    let began = Instant::now();
    let plane = Arc::new(Plane::of(folder, &state)?);
    let (patience, doomed) = (founded(folder, &mut state, &plane, plan, until), crashes(folder));
    tokio::select! {
        done = patience => done?,
        error = doomed => return Err(error),
    }
    let view = tokio::select! {
        view = served(folder, &state, &plane, until) => view?,
        error = crashes(folder) => return Err(error),
    };
    print::line(format_args!(
        "cluster {} is up after {:.1} s",
        state.name,
        began.elapsed().as_secs_f64()
    ));
    print_endpoints(&state, &view);
    for line in view.short() {
        eprintln!("note: {line}; see `cairn status`");
    }
    Ok(())
}

async fn founded(
    folder: &Folder,
    state: &mut ClusterState,
    plane: &Plane,
    plan: &Plan,
    until: Instant,
) -> Result<()> {
    found(folder, state, plane, &plan.founding, until).await?;
    for (name, config) in &plan.pools {
        write(plane, &directory_keys::pool_key(name), &config.encode(), until).await?;
    }
    for (name, config) in &plan.keyspaces {
        let key = directory_keys::keyspace_key(name);
        again(&key, until, || write_keyspace(plane, name, config)).await?;
    }
    Ok(())
}

/// Writes what is asked of a keyspace; how many groups it has may be the planner's to say. Returns
/// what was written.
pub async fn write_keyspace(
    plane: &Plane,
    name: &str,
    config: &KeyspaceConfig,
) -> Result<KeyspaceConfig> {
    let mut written = config.clone();
    let follows = |old: Option<&[u8]>| {
        let old = old.map(KeyspaceConfig::decode).transpose()?;
        written = config.clone().going_on_from(old.as_ref());
        Ok(written.encode())
    };
    plane.change(&directory_keys::keyspace_key(name), follows).await?;
    Ok(written)
}

/// Sets a key of the directory, again and again until it is done or the time is over.
async fn write(plane: &Plane, key: &str, value: &[u8], until: Instant) -> Result<()> {
    again(key, until, || plane.set(key, value)).await.map(drop)
}

/// Tries something about a key again and again until it is done or the time is over.
async fn again<T, F: Future<Output = Result<T>>>(
    key: &str,
    until: Instant,
    attempt: impl Fn() -> F,
) -> Result<T> {
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() >= until => {
                return Err(error.context(format!("{key} could not be written")));
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// Waits until every slot is served, to the directory's and to the masters' own knowledge; then,
/// for a while, until all members count.
async fn served(
    folder: &Folder,
    state: &ClusterState,
    plane: &Arc<Plane>,
    until: Instant,
) -> Result<View> {
    let mut whole_until = None;
    loop {
        let view = View::take(processes(folder).await?, plane).await;
        let mut missing = view.missing(&state.roster());
        if missing.is_empty() {
            missing = deaf_masters(state, &view).await;
        }
        let now = Instant::now();
        if missing.is_empty() {
            let patience = *whole_until.get_or_insert(until.min(now + WHOLE_WITHIN));
            if view.short().is_empty() || now >= patience {
                return Ok(view);
            }
        } else if now >= until {
            bail!("still missing after the time given:\n  {}", missing.join("\n  "));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn deaf_masters(state: &ClusterState, view: &View) -> Vec<String> {
    let mut deaf = Vec::new();
    let Ok(topology) = &view.topology else { return deaf };
    for master in topology.groups.values().filter_map(|r| r.master.as_ref()) {
        if let Ok(node) = state.node(master.as_str())
            && !answers_clients(node).await
        {
            deaf.push(format!("{master} does not answer clients"));
        }
    }
    deaf
}

/// Waits for a node that ends again and again; never done while all run.
async fn crashes(folder: &Folder) -> anyhow::Error {
    loop {
        sleep(LOOK_EVERY).await;
        let asked = control::ask(folder, &Request::Status).await;
        let processes = match asked {
            Ok(Some(Reply::Status(processes))) => processes,
            Ok(_) => return anyhow::anyhow!("the supervisor is gone; see `cairn logs supervisor`"),
            Err(error) => return error,
        };
        let failing = |p: &Process| p.run == Run::Waiting && p.restarts >= RESTARTS_MAX;
        if let Some((id, process)) = processes.nodes.iter().find(|(_, p)| failing(p)) {
            let how = process.last_exit.as_deref().unwrap_or("no reason known");
            let lines = last_lines(&folder.log(id.as_str()), 10);
            return anyhow::anyhow!("node {id} ends again and again ({how}); its log:\n{lines}");
        }
    }
}

fn print_endpoints(state: &ClusterState, view: &View) {
    let addresses = |nodes: Vec<&crate::folder::LocalNode>, port| {
        nodes.iter().map(|n| n.address(port)).collect::<Vec<_>>().join(",")
    };
    if let Ok(topology) = &view.topology {
        for name in &state.keyspaces {
            let owned = topology.slots.get(name).map_or(0, |owners| owners.owned());
            let ranges = topology.slots.get(name).map_or(&[][..], |owners| owners.ranges());
            let masters = ranges
                .iter()
                .filter_map(|r| topology.groups.get(&r.group)?.master.as_ref())
                .filter_map(|id| state.node(id.as_str()).ok())
                .collect();
            let list = addresses(masters, Port::Client);
            print::line(format_args!("redis  {name}  {list}  ({owned} slots served)"));
        }
    }
    let global = state.nodes.iter().filter(|n| n.role == NodeRole::Global).collect();
    print::line(format_args!("etcd   {}", addresses(global, Port::Etcd)));
}
