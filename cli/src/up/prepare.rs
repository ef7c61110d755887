//! What `up` writes before anything runs: ports, settings, secret, state.

use crate::args::UpArgs;
use crate::folder::{ClusterState, Folder, LocalNode};
use crate::manifest;
use crate::ports::{self, Ports};
use crate::supervise::Processes;
use crate::supervise::control::{self, Reply, Request};
use anyhow::{Context, Result, bail};
use cairn_settings::{Addresses, FORMAT, ListenAddresses, Port};
use cairn_topology::{Options, Place, Plan, Resources, RosterNode, plan, roster};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Checks everything that can be checked, then writes the folder.
pub async fn prepare(folder: &Folder, args: &UpArgs) -> Result<(ClusterState, Plan)> {
    let known = folder.load_state()?;
    let files = if args.files.is_empty() {
        if known.is_none() {
            bail!("write which files to start: `cairn up FILE`; samples/local.yaml is one");
        }
        vec![folder.resources()]
    } else {
        args.files.clone()
    };
    let texts = manifest::read(&files)?;
    let resources = manifest::parse(&texts)?;
    refuse_if_running(folder).await?;
    let state = next_state(known, &resources, args, folder)?;
    ports::check_free(&state.ports())?;
    let apart = Apart::of(&resources)?;
    let options = options(folder, &state, &apart);
    let plan = plan(&resources, &options).context("the resources do not fit")?;
    folder.make()?;
    folder.make_secret()?;
    // The state first: folders without it would be nobody's.
    folder.save_state(&state)?;
    for settings in &plan.nodes {
        let path = folder.settings(&settings.node);
        std::fs::write(&path, settings.to_json())
            .with_context(|| format!("cannot write {path:?}"))?;
        std::fs::create_dir_all(&settings.folder)
            .with_context(|| format!("cannot make folder {:?}", settings.folder))?;
    }
    remember(folder, &texts)?;
    Ok((state, plan))
}

async fn refuse_if_running(folder: &Folder) -> Result<()> {
    if !folder.path().exists() {
        return Ok(());
    }
    if let Some(Reply::Status(processes)) = control::ask(folder, &Request::Status).await? {
        bail!(
            "the cluster in {:?} is already up (supervisor: process {}); see `cairn status`, or \
             stop it with `cairn down`",
            folder.path(),
            processes.supervisor.pid
        );
    }
    // What is written there may be from before a reboot; only processes that are really ours count.
    if let Some(processes) = Processes::load(folder)? {
        let alive: Vec<_> = processes.alive().map(|(id, _)| id.as_str()).collect();
        if !alive.is_empty() {
            bail!(
                "nodes of an earlier run have no supervisor but still run: {}; stop them with \
                 `cairn down`",
                alive.join(", ")
            );
        }
    }
    Ok(())
}

/// The state to write: what is known, and what is new in the resources.
fn next_state(
    known: Option<ClusterState>,
    resources: &Resources,
    args: &UpArgs,
    folder: &Folder,
) -> Result<ClusterState> {
    let name = resources.cluster.metadata.name.clone().unwrap_or_default();
    let mut state = match known {
        Some(known) if known.name != name => bail!(
            "{:?} belongs to the cluster {:?}, the files describe {name:?}: use another --dir",
            folder.path(),
            known.name
        ),
        Some(known) => known,
        None => ClusterState {
            format: FORMAT,
            uid: format!("{:032x}", rand::random::<u128>()),
            name,
            founded: false,
            node_binary: PathBuf::new(),
            nodes: Vec::new(),
            keyspaces: Vec::new(),
        },
    };
    state.node_binary = node_binary(args.node_binary.as_deref())?;
    state.nodes = nodes(&state, &roster(resources, ""), args.port_base)?;
    let names = resources.keyspaces.iter().map(|k| k.metadata.name.clone().unwrap_or_default());
    state.keyspaces = names.collect();
    Ok(state)
}

/// Nodes of the roster with the ports they had, or new ones.
fn nodes(state: &ClusterState, roster: &[RosterNode], base: Option<u16>) -> Result<Vec<LocalNode>> {
    let wanted: BTreeSet<_> = roster.iter().map(|n| &n.id).collect();
    let gone: Vec<_> =
        state.nodes.iter().filter(|n| !wanted.contains(&n.id)).map(|n| n.id.as_str()).collect();
    if !gone.is_empty() {
        bail!(
            "the files no longer ask for {}, which hold data; taking nodes away is not done here: \
             ask for them again",
            gone.join(", ")
        );
    }
    let mut ports = Ports::new(base, &state.uid, state.ports().into_keys());
    let mut nodes = Vec::new();
    for node in roster {
        let known = state.nodes.iter().find(|n| n.id == node.id);
        nodes.push(match known {
            Some(known) => known.clone(),
            None => {
                LocalNode { id: node.id.clone(), role: node.role, ports: ports.five()?, host: None }
            }
        });
    }
    Ok(nodes)
}

/// As how many zones and machines this one counts: each group's nodes are in them by turns, so that
/// what needs several can be tried on one.
#[derive(Default)]
struct Apart {
    zones: Option<u32>,
    machines: Option<u32>,
}

const LOCAL_ZONES: &str = "cairn.dev/local-zones";
const LOCAL_MACHINES: &str = "cairn.dev/local-machines";
const APART_MAX: u32 = 16;

impl Apart {
    fn of(resources: &Resources) -> Result<Self> {
        let annotations = resources.cluster.metadata.annotations.as_ref();
        let number = |name: &str| {
            let Some(text) = annotations.and_then(|all| all.get(name)) else { return Ok(None) };
            match text.parse::<u32>() {
                Ok(number) if (1..=APART_MAX).contains(&number) => Ok(Some(number)),
                _ => bail!("the annotation {name} must be \"1\" to \"{APART_MAX}\", not {text:?}"),
            }
        };
        Ok(Self { zones: number(LOCAL_ZONES)?, machines: number(LOCAL_MACHINES)? })
    }

    /// The zone and the machine of a node, by the number that its name ends with.
    fn place(&self, node: &str) -> (Option<String>, Option<String>) {
        let number = node.rsplit_once('-').and_then(|(_, number)| number.parse::<u32>().ok());
        let by_turns =
            |count: Option<u32>, kind: &str| Some(format!("{kind}-{}", number? % count?));
        (by_turns(self.zones, "zone"), by_turns(self.machines, "machine"))
    }
}

fn options(folder: &Folder, state: &ClusterState, apart: &Apart) -> Options {
    let places = state.nodes.iter().map(|n| (n.id.clone(), place(folder, n, apart))).collect();
    Options {
        cluster_uid: state.uid.clone(),
        prefix: String::new(),
        secret_file: folder.secret(),
        places,
    }
}

fn place(folder: &Folder, node: &LocalNode, apart: &Apart) -> Place {
    let (zone, machine) = apart.place(node.id.as_str());
    let [client, etcd, peer, heartbeat, metrics] =
        node.ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let address = |port: Port| node.address(port);
    Place {
        folder: folder.data(&node.id),
        listen: ListenAddresses { client, etcd, peer, heartbeat, metrics },
        advertise: Addresses {
            client: address(Port::Client),
            etcd: address(Port::Etcd),
            peer: address(Port::Peer),
            heartbeat: address(Port::Heartbeat),
            metrics: address(Port::Metrics),
        },
        zone,
        machine,
    }
}

/// The node program: what was named, else beside this one, else in PATH.
fn node_binary(named: Option<&Path>) -> Result<PathBuf> {
    let mut tried = Vec::new();
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(named) = named {
        candidates.push(named.to_owned());
    } else {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        candidates.extend(own.parent().map(|folder| folder.join("cairn-node")));
        let path = std::env::var_os("PATH").unwrap_or_default();
        candidates.extend(std::env::split_paths(&path).map(|folder| folder.join("cairn-node")));
    }
    for candidate in candidates {
        if candidate.is_file() {
            return std::path::absolute(&candidate)
                .with_context(|| format!("cannot make {candidate:?} an absolute path"));
        }
        tried.push(candidate);
    }
    match (named, tried.first()) {
        (Some(named), _) => bail!("there is no program {named:?}"),
        (None, Some(beside)) => bail!(
            "cannot find the node program: it is not at {beside:?} and not in PATH; build it with \
             `cargo build -p cairn-node`, or name it with --node-binary"
        ),
        (None, None) => bail!("cannot find the node program: name it with --node-binary"),
    }
}

/// Keeps what was given, so that `cairn up` alone starts the same again; it may hold passwords.
pub fn remember(folder: &Folder, texts: &[(PathBuf, String)]) -> Result<()> {
    let path = folder.resources();
    let new = path.with_extension("new");
    let all: Vec<&str> = texts.iter().map(|(_, text)| text.trim_end()).collect();
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(all.join("\n---\n").as_bytes())?;
        file.write_all(b"\n")?;
        std::fs::rename(&new, &path)
    };
    write().with_context(|| format!("cannot write {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_in_zones_and_on_machines_by_turns_if_the_cluster_says_so() {
        let text = |annotations: &str| {
            let head = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a";
            (PathBuf::from("a.yaml"), format!("{head}{annotations}}}\nspec: {{}}\n"))
        };
        let apart = |annotations: &str| {
            Apart::of(&manifest::parse(&[text(annotations)]).expect("a cluster"))
        };
        let none = apart("").expect("nothing is said");
        assert_eq!(none.place("t-0-1"), (None, None));
        let three = apart(", annotations: {cairn.dev/local-zones: \"3\"}").expect("it may");
        assert_eq!(three.place("t-1-4"), (Some("zone-1".to_owned()), None));
        let two = apart(", annotations: {cairn.dev/local-machines: \"2\"}").expect("it may");
        assert_eq!(two.place("t-1-4"), (None, Some("machine-0".to_owned())));
        let error = apart(", annotations: {cairn.dev/local-zones: \"0\"}").err().expect("none");
        assert!(error.to_string().contains("must be \"1\" to \"16\""), "{error}");
    }
}
