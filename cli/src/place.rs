//! Where a cluster runs: local processes below a folder, pods, or as a file says.

use crate::args::KubernetesArgs;
use crate::folder::{Folder, Roster};
use crate::kubernetes::Kubernetes;
use crate::plane::Plane;
use crate::supervise::Process;
use crate::supervise::control::{self, Reply, Request};
use anyhow::{Context, Result, bail};
use cairn_logic::ids::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a cluster runs.
pub enum Place {
    /// On this machine.
    Here(Folder),
    /// On Kubernetes.
    Kubernetes(Box<Kubernetes>),
    /// As a file says that the operator writes; it is read anew each time.
    Roster(PathBuf),
}

impl Place {
    /// On Kubernetes if an option says so or kubectl called us; else below the folder.
    pub async fn of(folder: &Folder, args: &KubernetesArgs, plugin: bool) -> Result<Self> {
        let named = args.namespace.is_some() || args.cluster.is_some() || args.context.is_some();
        if plugin || named {
            return Ok(Self::Kubernetes(Box::new(Kubernetes::find(args).await?)));
        }
        Ok(Self::Here(folder.clone()))
    }

    /// Who belongs to the cluster, and a way to them.
    pub async fn open(&self) -> Result<(Roster, Arc<Plane>)> {
        match self {
            Self::Here(folder) => {
                let state = folder.state()?;
                let plane = Plane::of(folder, &state)?;
                Ok((state.roster(), Arc::new(plane)))
            }
            Self::Kubernetes(cluster) => cluster.open().await,
            Self::Roster(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read the roster {path:?}"))?;
                let file = cairn_settings::Roster::from_json(&text);
                let file = file.with_context(|| format!("cannot use the roster {path:?}"))?;
                let plane = Plane::of_roster(&file)?;
                Ok((Roster::from(file), Arc::new(plane)))
            }
        }
    }

    /// What the supervisor or Kubernetes says of the nodes' processes, if it is there.
    pub async fn processes(&self) -> Result<Option<BTreeMap<NodeId, Process>>> {
        match self {
            Self::Here(folder) => processes(folder).await,
            Self::Kubernetes(cluster) => Ok(Some(cluster.processes().await?)),
            Self::Roster(_) => Ok(None),
        }
    }

    /// The cluster on Kubernetes.
    pub fn kubernetes(&self) -> Result<&Kubernetes> {
        match self {
            Self::Kubernetes(cluster) => Ok(cluster),
            Self::Here(_) | Self::Roster(_) => bail!(
                "this is for clusters on Kubernetes: call it as `kubectl cairn`, or with \
                 --namespace or --cluster"
            ),
        }
    }

    /// The cluster on this machine.
    pub fn here(&self) -> Result<&Folder> {
        match self {
            Self::Here(folder) => Ok(folder),
            Self::Kubernetes(_) | Self::Roster(_) => bail!(
                "this is for clusters of local processes; on Kubernetes the operator and kubectl \
                 do it"
            ),
        }
    }
}

/// What the supervisor of a local cluster says of its processes, if it is there.
pub async fn processes(folder: &Folder) -> Result<Option<BTreeMap<NodeId, Process>>> {
    Ok(match control::ask(folder, &Request::Status).await? {
        Some(Reply::Status(processes)) => Some(processes.nodes),
        _ => None,
    })
}
