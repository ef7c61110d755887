//! What every role does first: settings, log output, secret, folder, listeners, signals.

use crate::peer::Identity;
use crate::snapshots::Shelf;
use crate::tls::Doors;
use anyhow::{Context, Result, bail};
use cairn_files::{Folder, RealDisk};
use cairn_logic::ids::Incarnation;
use cairn_logic::message::Sender;
use cairn_settings::{NodeRole, NodeSettings};
use cairn_wire::hello::Secret;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// All a role needs to begin.
pub struct Boot {
    /// What the node was told.
    pub settings: NodeSettings,
    /// The file that says so.
    pub file: PathBuf,
    /// Its folder, locked.
    pub folder: Folder<RealDisk>,
    /// Who it is.
    pub identity: Identity,
    /// The cluster's uid as the files carry it.
    pub uid: u128,
    /// The snapshots that other nodes may have of it.
    pub shelf: Shelf,
}

impl Boot {
    /// Reads the settings at `path` for a node of `role`, and opens its folder.
    ///
    /// # Errors
    /// What is wrong, in words that say what to change.
    pub fn new(role: NodeRole, path: &Path) -> Result<Self> {
        raise_open_files();
        let (mut unknown, told_by) = (Vec::new(), path.to_owned());
        let settings = NodeSettings::load(path, &mut unknown)?;
        if !unknown.is_empty() {
            let keys = unknown.join(", ");
            tracing::warn!(?path, keys, "settings that this version does not know are passed over");
        }
        if settings.role != role {
            bail!("settings {path:?} are for a node of role {}, not {role}", settings.role);
        }
        cairn_logs::set_node(settings.node.as_str());
        let file = &settings.secret_file;
        let text = std::fs::read(file).with_context(|| format!("cannot read secret {file:?}"))?;
        let secret = Secret::new(&settings.cluster_uid, &text)
            .with_context(|| format!("secret file {file:?}"))?;
        let uid = settings.uid();
        let blank = Incarnation(rand::random());
        let path = &settings.folder;
        crate::aside::finish(path).with_context(|| format!("cannot set {path:?} aside"))?;
        let folder = Folder::open_or_create(&RealDisk, path, uid, &settings.node, blank)
            .with_context(|| format!("cannot use folder {path:?}"))?;
        let me = Sender { id: settings.node.clone(), incarnation: folder.incarnation() };
        tracing::info!(
            node = %me.id, incarnation = %me.incarnation, blank = folder.is_new(), %role,
            version = env!("CARGO_PKG_VERSION"), "starting"
        );
        let tls = Doors::open(&settings.tls).context("cannot use the certificates")?;
        let (peers, clients) = tls.digests();
        tracing::info!(peers, clients, "certificates");
        let identity = Identity::new(me, secret, tls);
        let shelf = Shelf::new(settings.log.fetch_bytes_per_sec);
        Ok(Self { settings, file: told_by, folder, identity, uid, shelf })
    }
}

/// Descriptors that are not for clients: files, peers, listeners.
const FILES_APART: u64 = 256;

/// Raises the limit on open files as far as the system allows: each client takes one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, ?limit, "cannot raise the limit on open files");
    }
}

/// How many clients the limit on open files allows.
#[must_use]
pub fn clients_room() -> u32 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(files.saturating_sub(FILES_APART)).unwrap_or(u32::MAX).max(1)
}

/// How many of `maxclients` clients the limit on open files allows.
#[must_use]
pub fn clients_max(maxclients: u32) -> u32 {
    let room = clients_room();
    if room < maxclients {
        tracing::warn!(maxclients, room, "the limit on open files allows fewer clients");
    }
    maxclients.min(room)
}

/// A listener on `address`.
///
/// # Errors
/// The address is taken or not ours.
pub async fn listen(what: &str, address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen for {what} on {address}"))
}

/// SIGTERM and SIGINT: somebody asks the process to stop.
pub struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn listen() -> Result<Self> {
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { term, int })
    }

    /// Waits until the process is asked to stop; nothing is missed if the wait is given up.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
