//! The etcd v3 API of a global node: gRPC in front, the directory's loop behind.
//!
//! The services run on tonic's tasks and own no state; they hand every request to the loop through
//! a [`Handle`] and wait for its reply. The loop keeps a [`Desk`]: the directory with its pending
//! requests, and the streams that watch it. A node that is not master answers what may be old, and
//! passes the rest on to the master, one hop at most.

mod auth;
mod cluster;
mod desk;
mod election;
mod forward;
mod handle;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod turn;
mod watch;

pub use desk::{Desk, Streams, Token};
pub use handle::{Asked, Handle, MasterAt, MemberAt, Plane};

use cairn_wire::etcd::{etcdserverpb as pb, v3electionpb, v3lockpb};
use tokio::sync::mpsc;
use tonic::service::{Routes, RoutesBuilder};

/// Requests that may wait for the loop to take them.
const QUEUE: usize = 4096;
/// The largest message accepted: the largest request and what gRPC adds.
const MESSAGE_BYTES_MAX: usize = cairn_directory::op::REQUEST_BYTES_MAX + (512 << 10);

/// The two ends between the services and the loop; `plane` is what the services tell clients about
/// the global plane, kept up to date by the loop.
#[must_use]
pub fn channel(
    plane: tokio::sync::watch::Receiver<std::sync::Arc<Plane>>,
) -> (Handle, mpsc::Receiver<Asked>) {
    let (asked, asks) = mpsc::channel(QUEUE);
    (Handle::new(asked, plane), asks)
}

/// All services of the etcd API over `handle`.
#[must_use]
pub fn routes(handle: &Handle) -> Routes {
    let mut routes = RoutesBuilder::default();
    add_routes(&mut routes, handle);
    routes.routes()
}

/// Adds all services of the etcd API to a port that has others too.
pub fn add_routes(routes: &mut RoutesBuilder, handle: &Handle) {
    let kv = pb::kv_server::KvServer::new(handle.clone());
    let watch = pb::watch_server::WatchServer::new(handle.clone());
    let lease = pb::lease_server::LeaseServer::new(handle.clone());
    let election = v3electionpb::election_server::ElectionServer::new(handle.clone());
    routes
        .add_service(kv.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(watch.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(lease.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(pb::cluster_server::ClusterServer::new(handle.clone()))
        .add_service(pb::maintenance_server::MaintenanceServer::new(handle.clone()))
        .add_service(pb::auth_server::AuthServer::new(handle.clone()))
        .add_service(v3lockpb::lock_server::LockServer::new(handle.clone()))
        .add_service(election.max_decoding_message_size(MESSAGE_BYTES_MAX));
}
