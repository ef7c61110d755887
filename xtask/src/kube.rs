//! `cargo xtask kube`: a real Kubernetes on this machine, also where no registry can be reached.
//!
//! [`programs`] builds what is needed from Go modules, [`node_image`] makes a kind node from it,
//! [`docker`] and [`kind`] run a cluster, [`api_server`] an API server alone. Everything built is
//! kept in the cache by version, so that only the first run on a machine takes half an hour.

pub mod api_server;
pub mod docker;
pub mod kind;
pub mod manifests;
pub mod node_image;
pub mod programs;

use anyhow::Result;
use clap::Subcommand;

use crate::setup;
use api_server::ApiServer;
use kind::Kind;

/// Arguments of `cargo xtask kube`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build what an API server needs (`--api`), or everything
    Prepare {
        /// Only kube-apiserver, kubectl, helm and etcd
        #[arg(long)]
        api: bool,
    },
    /// Say what is in the cache
    Status,
    /// Write manifests/ and what the chart carries, or check that they are fresh
    Manifests {
        /// Change nothing; fail if a file is stale
        #[arg(long)]
        check: bool,
    },
    /// Run an API server alone until it is interrupted
    Api,
    /// Make a cluster and leave it running
    Up,
    /// Remove the cluster, and docker if no one else runs it
    Down,
}

/// Does what is asked; whether it succeeded.
///
/// # Errors
/// If something cannot be built or started.
pub fn run(args: &Args) -> Result<bool> {
    match args.command {
        Command::Prepare { api } => prepare(api)?,
        Command::Status => return status(),
        Command::Manifests { check } => return manifests::run(check),
        Command::Api => {
            let server = ApiServer::start()?;
            println!("kube: export KUBECONFIG={}", server.kubeconfig().display());
            server.stay();
        }
        Command::Up => Kind::create()?.keep(),
        Command::Down => Kind::attach()?.delete()?,
    }
    Ok(true)
}

fn prepare(api: bool) -> Result<()> {
    programs::need(&programs::FOR_API)?;
    programs::need(&["helm"])?;
    setup::etcd()?;
    if !api {
        programs::need(&programs::FOR_KIND)?;
        node_image::need()?;
    }
    println!("kube: complete=1");
    Ok(())
}

/// Whether the tier of the API server, and whether stories, can run without building.
///
/// # Errors
/// If there is no cache.
pub fn warm() -> Result<(bool, bool)> {
    let etcd = setup::etcd_folder()?.join("etcdctl").is_file();
    let helm = programs::missing(&["helm"])?.is_empty();
    let api = etcd && helm && programs::missing(&programs::FOR_API)?.is_empty();
    let tools = programs::missing(&programs::FOR_KIND)?.is_empty();
    Ok((api, tools && kind::has_node_image()?))
}

fn status() -> Result<bool> {
    let all = programs::FOR_KIND.iter().chain(&programs::FOR_NODE_IMAGE);
    let all: std::collections::BTreeSet<_> = all.collect();
    for name in all {
        let place = programs::path(name)?;
        let word = if place.is_file() { "cached" } else { "missing" };
        println!("{word}: {}", place.display());
    }
    let (api, kind) = warm()?;
    println!("kube: api={} kind={}", u8::from(api), u8::from(kind));
    Ok(true)
}
