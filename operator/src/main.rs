//! The program `cairn-operator`: two replicas, one of which works.

use anyhow::{Context as _, Result};
use cairn_operator::context::Context;
use cairn_operator::controller::validate::Defaults;
use cairn_operator::events::Teller;
use cairn_operator::leader::{Election, Leadership};
use cairn_operator::metrics::Metrics;
use cairn_operator::run::{Scope, run};
use cairn_operator::store::Store;
use cairn_operator::writer::Writer;
use clap::Parser;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Runs Cairn clusters on Kubernetes from custom resources.
#[derive(Clone, Debug, Parser)]
#[command(name = "cairn-operator", version)]
struct Args {
    /// The image of clusters that name none; a cluster keeps the one it began with.
    #[arg(long, env = "CAIRN_IMAGE")]
    node_image: String,
    /// Look after this namespace alone; all of them if absent.
    #[arg(long, env = "CAIRN_WATCH_NAMESPACE")]
    namespace: Option<String>,
    /// The namespace of the leader's Lease: the operator's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// The leader's Lease; one per release.
    #[arg(long, env = "CAIRN_LEASE", default_value = "cairn-operator")]
    lease: String,
    /// This replica's name.
    #[arg(long, env = "POD_NAME", default_value = "cairn-operator")]
    name: String,
    /// The domain of the Kubernetes cluster's names.
    #[arg(long, env = "CAIRN_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Where metrics and probes are served.
    #[arg(long, env = "CAIRN_METRICS", default_value = "0.0.0.0:9400")]
    metrics: SocketAddr,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cairn_logs::start();
    cairn_logs::set_node(&args.name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("cannot start").and_then(|runtime| runtime.block_on(work(args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("cairn-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn work(args: Args) -> Result<()> {
    let client = kube::Client::try_default().await.context("cannot tell where Kubernetes is")?;
    let metrics = Arc::new(Metrics::default());
    let listener = TcpListener::bind(args.metrics).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.metrics))?;
    tokio::spawn(cairn_operator::http::serve(listener, metrics.clone()));
    let mut election =
        Election::new(client.clone(), &args.lease_namespace, &args.lease, &args.name);
    let mut term = signal(SignalKind::terminate()).context("no signals")?;
    let mut int = signal(SignalKind::interrupt()).context("no signals")?;
    tracing::info!(name = %args.name, version = env!("CARGO_PKG_VERSION"), "starting");
    loop {
        tokio::select! {
            () = election.win() => {}
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
        metrics.lead(true);
        let leadership = election.leadership();
        let stop = tokio::select! {
            // Whatever was under way is dropped with the right to write.
            () = lead(&args, &client, leadership, &metrics) => false,
            () = election.hold() => false,
            _ = term.recv() => true,
            _ = int.recv() => true,
        };
        metrics.lead(false);
        if stop {
            break;
        }
    }
    election.release().await;
    tracing::info!("stopped");
    Ok(())
}

/// Works with nothing remembered from before.
async fn lead(args: &Args, client: &kube::Client, leadership: Leadership, metrics: &Arc<Metrics>) {
    let store = Arc::new(Store::default());
    let teller = Teller::new(client.clone(), &args.name, leadership.clone(), metrics.clone());
    let writer = Writer::new(client.clone(), leadership, metrics.clone(), store.clone());
    let defaults = Defaults { image: args.node_image.clone(), domain: args.cluster_domain.clone() };
    let (ctx, nudged) = Context::new(writer, store, teller, metrics.clone(), defaults);
    let scope = Scope { client: client.clone(), namespace: args.namespace.clone() };
    run(scope, Arc::new(ctx), nudged).await;
}
