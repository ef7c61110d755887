//! The folder of a local cluster: where everything is, and its state file.
//!
//! `cluster.json` is written by `up` alone, `processes.json` by the supervisor alone; both by
//! writing a new file and renaming it, so that a crash leaves the old or the new one.

use anyhow::{Context, Result, bail};
use cairn_logic::ids::NodeId;
use cairn_settings::{FORMAT, NodeRole, Port};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A cluster's folder, absolute.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// One node of a local cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNode {
    /// Its stable name.
    pub id: NodeId,
    /// What it is for.
    pub role: NodeRole,
    /// Its five ports in the order of [`Port::ALL`].
    pub ports: [u16; 5],
    /// Where it is, if that is not this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl LocalNode {
    /// The address of one door.
    pub fn address(&self, port: Port) -> String {
        format!("{}:{}", self.host.as_deref().unwrap_or("127.0.0.1"), self.port(port))
    }

    /// The number of one door.
    pub fn port(&self, port: Port) -> u16 {
        let at = Port::ALL.iter().position(|p| *p == port).expect("ALL has every port");
        self.ports[at]
    }
}

/// Who belongs to a cluster, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The cluster's random name.
    pub uid: String,
    /// The Cluster resource's name.
    pub name: String,
    /// Every node.
    pub nodes: Vec<LocalNode>,
    /// Names of the keyspaces.
    pub keyspaces: Vec<String>,
}

impl From<cairn_settings::Roster> for Roster {
    fn from(file: cairn_settings::Roster) -> Self {
        let node = |node: cairn_settings::RosterNode| LocalNode {
            id: node.id,
            role: node.role,
            ports: node.ports,
            host: Some(node.host),
        };
        Self {
            uid: file.uid,
            name: file.name,
            nodes: file.nodes.into_iter().map(node).collect(),
            keyspaces: file.keyspaces,
        }
    }
}

impl Roster {
    /// The node named `id`.
    pub fn node(&self, id: &str) -> Result<&LocalNode> {
        node_of(&self.nodes, id)
    }
}

fn node_of<'a>(nodes: &'a [LocalNode], id: &str) -> Result<&'a LocalNode> {
    nodes.iter().find(|n| n.id.as_str() == id).with_context(|| {
        let names: Vec<_> = nodes.iter().map(|n| n.id.as_str()).collect();
        format!("there is no node {id:?}; there are {}", names.join(", "))
    })
}

/// What `up` remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// The format of this folder.
    pub format: u32,
    /// The cluster's random name.
    pub uid: String,
    /// The Cluster resource's name.
    pub name: String,
    /// Whether the founding call was answered; it is never made again.
    pub founded: bool,
    /// The node program.
    pub node_binary: PathBuf,
    /// Every node, in starting order.
    pub nodes: Vec<LocalNode>,
    /// Names of the keyspaces.
    pub keyspaces: Vec<String>,
}

impl ClusterState {
    /// The node named `id`.
    pub fn node(&self, id: &str) -> Result<&LocalNode> {
        node_of(&self.nodes, id)
    }

    /// Who belongs to it.
    pub fn roster(&self) -> Roster {
        Roster {
            uid: self.uid.clone(),
            name: self.name.clone(),
            nodes: self.nodes.clone(),
            keyspaces: self.keyspaces.clone(),
        }
    }

    /// Every port in use, with its node's id.
    pub fn ports(&self) -> BTreeMap<u16, &NodeId> {
        self.nodes.iter().flat_map(|n| n.ports.iter().map(move |p| (*p, &n.id))).collect()
    }
}

impl Folder {
    /// The folder at `path`, which need not exist yet.
    pub fn at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .with_context(|| format!("cannot make {path:?} an absolute path"))?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The cluster's secret.
    pub fn secret(&self) -> PathBuf {
        self.0.join("secret")
    }

    /// What was last given to `up`.
    pub fn resources(&self) -> PathBuf {
        self.0.join("resources.yaml")
    }

    /// Lets one `cairn` at a time change what was last given to `up`: whoever else wants to waits
    /// until the file is closed.
    pub fn hold_resources(&self) -> Result<File> {
        let path = self.0.join("resources.lock");
        let file = File::create(&path).with_context(|| format!("cannot open {path:?}"))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {path:?}"))?;
        Ok(file)
    }

    /// The supervisor's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Held by the supervisor as long as it runs.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The settings file of a node.
    pub fn settings(&self, node: &NodeId) -> PathBuf {
        self.0.join("settings").join(format!("{node}.json"))
    }

    /// The data folder of a node.
    pub fn data(&self, node: &NodeId) -> PathBuf {
        self.0.join("data").join(node.as_str())
    }

    /// The log of a node, or of `supervisor`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Makes the folders that everything else is in; only the owner may look into them.
    pub fn make(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for part in ["", "settings", "data", "logs"] {
            let path = self.0.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make folder {path:?}"))?;
        }
        Ok(())
    }

    /// What `up` remembers here, if anything.
    pub fn load_state(&self) -> Result<Option<ClusterState>> {
        let path = self.0.join("cluster.json");
        let Some(format) = read_json::<FormatOnly>(&path)? else { return Ok(None) };
        if format.format != FORMAT {
            bail!(
                "{path:?} has format {}, this cairn works with format {FORMAT}: use the cairn that \
                 made it, or another --dir",
                format.format
            );
        }
        read_json(&path)
    }

    /// What `up` remembers here; an error says what to do if nothing.
    pub fn state(&self) -> Result<ClusterState> {
        match self.load_state()? {
            Some(state) => Ok(state),
            None => bail!(
                "there is no cluster in {:?}: start one with `cairn up FILE`, or name its folder \
                 with --dir",
                self.0
            ),
        }
    }

    /// Remembers it.
    pub fn save_state(&self, state: &ClusterState) -> Result<()> {
        write_json(&self.0.join("cluster.json"), state)
    }

    /// Where the supervisor says what runs.
    pub fn processes(&self) -> PathBuf {
        self.0.join("processes.json")
    }

    /// Makes the secret unless there is one; readable by the owner alone.
    pub fn make_secret(&self) -> Result<()> {
        let path = self.secret();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            made => made.with_context(|| format!("cannot make {path:?}"))?,
        };
        let secret: [u8; 32] = rand::random();
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {path:?}"))?;
        file.sync_all().with_context(|| format!("cannot flush {path:?}"))
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Reads a JSON file; `None` if it does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read {path:?}"))?,
    };
    let value = serde_json::from_slice(&bytes).with_context(|| {
        format!("{path:?} is damaged; restore it, or remove it and what it describes")
    })?;
    Ok(Some(value))
}

/// Writes a JSON file so that a crash leaves the old or the new one.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let new = path.with_extension("new");
    let mut text = serde_json::to_vec_pretty(value).context("cannot encode")?;
    text.push(b'\n');
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::at(&temporary.path().join("c")).unwrap();
        folder.make().unwrap();
        (temporary, folder)
    }

    fn state() -> ClusterState {
        ClusterState {
            format: FORMAT,
            uid: "ab".repeat(16),
            name: "demo".to_owned(),
            founded: false,
            node_binary: "/bin/true".into(),
            nodes: vec![LocalNode {
                id: NodeId::new("global-0"),
                role: NodeRole::Global,
                ports: [1, 2, 3, 4, 5],
                host: None,
            }],
            keyspaces: vec![],
        }
    }

    #[test]
    fn what_is_remembered_is_read_back() {
        let (_keep, folder) = folder();
        assert_eq!(folder.load_state().unwrap(), None);
        assert!(folder.state().unwrap_err().to_string().contains("cairn up FILE"));
        folder.save_state(&state()).unwrap();
        assert_eq!(folder.state().unwrap(), state());
        assert_eq!(state().nodes[0].address(Port::Peer), "127.0.0.1:3");
    }

    #[test]
    fn a_folder_of_another_format_is_refused() {
        let (_keep, folder) = folder();
        folder.save_state(&ClusterState { format: 99, ..state() }).unwrap();
        let error = folder.load_state().unwrap_err().to_string();
        assert!(error.contains("format 99"), "{error}");
    }

    #[test]
    fn the_secret_is_made_once_for_the_owner_alone() {
        let (_keep, folder) = folder();
        folder.make_secret().unwrap();
        let first = fs::read(folder.secret()).unwrap();
        assert_eq!(fs::metadata(folder.secret()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.len(), 64);
        folder.make_secret().unwrap();
        assert_eq!(fs::read(folder.secret()).unwrap(), first);
    }

    #[test]
    fn a_node_that_does_not_exist_is_answered_with_those_that_do() {
        let error = state().node("x").unwrap_err().to_string();
        assert!(error.contains("global-0"), "{error}");
    }
}
