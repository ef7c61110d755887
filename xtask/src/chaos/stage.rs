//! A cluster in namespaces, made and taken down again, whatever happens to this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::cluster::Cluster;
use serde_json::{Value, json};

use super::act::Field;
use super::layer;
use super::network::{self, Network, PREFIX};
use crate::janitor::Janitor;
use crate::run::command;

/// The groups that `xtask/clusters/chaos.yaml` asks for.
pub const GROUPS: usize = 2;
/// The nodes that it asks for.
pub const NODES: u8 = 9;

/// A cluster in namespaces; dropped, it is taken down.
#[derive(Debug)]
pub struct Stage {
    /// The cluster and its network.
    pub field: Field,
    // Ends last: it cleans up what is left when its pipe is closed.
    _janitor: Janitor,
}

impl Stage {
    /// Starts a fresh cluster of `programs` in `folder`, which is emptied first.
    ///
    /// # Errors
    /// If this is not root, or the cluster does not start.
    pub fn set(programs: &Path, folder: &Path) -> Result<Self> {
        let cairn = programs.join("cairn");
        let janitor = hire(&cairn, folder)?;
        sweep(&cairn, folder)?;
        let network = Network::make(NODES)?;
        let faults = folder.with_extension("faults");
        if faults.exists() {
            std::fs::remove_dir_all(&faults)
                .with_context(|| format!("cannot remove {faults:?}"))?;
        }
        std::fs::create_dir_all(&faults).with_context(|| format!("cannot make {faults:?}"))?;
        let program = wrapper(programs, folder, &faults)?;
        let resources = crate::root().join("xtask/clusters/chaos.yaml");
        prepare(folder, &program)?;
        let more = ["--node-binary".as_ref(), program.as_os_str()];
        println!("starting {NODES} nodes in {}", folder.display());
        let cluster = Cluster::up_with(&cairn, folder, &resources, &more, None)?;
        ensure!(cluster.nodes().len() == usize::from(NODES), "chaos.yaml asks for other nodes");
        let missing = cluster.wait_whole(Duration::from_secs(60));
        ensure!(missing.is_empty(), "the cluster is not whole: {}", missing.join("; "));
        let field = Field { cluster: Arc::new(cluster), network, faults };
        Ok(Self { field, _janitor: janitor })
    }

    /// Keeps files and logs for a person to look at; processes and namespaces go all the same.
    pub fn keep(&self) {
        let cluster = &self.field.cluster;
        cluster.keep();
        for (name, arguments) in [
            ("status.txt", vec!["status"]),
            ("why-global.txt", vec!["why", "global"]),
            ("why-orders-0.txt", vec!["why", "orders-0"]),
            ("why-orders-1.txt", vec!["why", "orders-1"]),
            ("tails.txt", vec!["tails"]),
        ] {
            let said = cluster.cairn(arguments).unwrap_or_else(|error| error.to_string());
            if let Err(error) = std::fs::write(cluster.folder().join(name), said) {
                println!("cannot keep {name}: {error}");
            }
        }
        if let Err(error) = cluster.cairn(["down"]) {
            println!("{error}");
        }
        println!("files, logs and status are kept in {}", cluster.folder().display());
    }
}

/// Takes down and removes what an earlier run left.
fn sweep(cairn: &Path, folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let mut down = command(&cairn.to_string_lossy(), ["down", "--purge", "--yes", "--dir"]);
    // Whether there is anything to take down is not known.
    drop(down.arg(folder).output());
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {folder:?}"))
        }
        _ => Ok(()),
    }
}

/// Writes who has which address and ports, so that `cairn up` need not choose.
fn prepare(folder: &Path, program: &Path) -> Result<()> {
    let mut names = vec![("global-0".to_owned(), "global"), ("global-1".to_owned(), "global")];
    names.push(("checkpoint-0".to_owned(), "checkpoint"));
    for group in 0..GROUPS {
        names.extend((0..3).map(|member| (format!("orders-{group}-{member}"), "data")));
    }
    let node = |(place, (id, role)): (usize, &(String, &str))| {
        let ports: Vec<usize> = (0..5).map(|port| 21_000 + place * 5 + port).collect();
        json!({"id": id, "role": role, "ports": ports, "host": network::address(place)})
    };
    let nodes: Vec<Value> = names.iter().enumerate().map(node).collect();
    let state = json!({
        "format": 1, "uid": format!("{:032x}", 0xc0de), "name": "chaos", "founded": false,
        "nodeBinary": program, "nodes": nodes, "keyspaces": ["orders"],
    });
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
    let path = folder.join("cluster.json");
    std::fs::write(&path, state.to_string()).with_context(|| format!("cannot write {path:?}"))
}

/// A program that starts a node in the namespace that has its address.
fn wrapper(programs: &Path, folder: &Path, faults: &Path) -> Result<PathBuf> {
    let path = folder.with_extension("node");
    let node = programs.join("cairn-node");
    let (node, faults) = (node.display(), faults.display());
    let script = format!(
        r#"#!/bin/sh
# $1: role, $2: --settings, $3: the settings of one node
last=$(sed -n 's/.*"client": *"10\.77\.0\.\([0-9]*\):.*/\1/p' "$3" | head -n 1)
sed -i "s/127\.0\.0\.1/10.77.0.$last/" "$3"
export CAIRN_FAULTS="{faults}/$(basename "$3" .json)"
exec ip netns exec "{PREFIX}$last" "{node}" "$@"
"#
    );
    layer::write_wrapper(&path, &script)?;
    Ok(path)
}

/// Who takes down the cluster and removes the namespaces when this process ends, however it does.
fn hire(cairn: &Path, folder: &Path) -> Result<Janitor> {
    let script = r#"cat > /dev/null
"$1" down --dir "$2" > /dev/null 2>&1
for name in $(ip netns list | grep -o "^$3[^ ]*"); do ip netns del "$name"; done"#;
    let arguments = [cairn.as_os_str(), folder.as_os_str(), OsStr::new(PREFIX)];
    Janitor::hire(&folder.with_extension("lock"), script, &arguments)
}
