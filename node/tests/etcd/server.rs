//! One global node without a log: what is appended is committed at once.

use cairn_directory::core::Limits;
use cairn_logic::ids::{Epoch, Offset};
use cairn_node::clock;
use cairn_node::etcd::{self, Asked, Desk, Handle, MasterAt, MemberAt, Plane};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};

/// A running node; it ends with the test's runtime.
pub struct Server {
    pub clients: SocketAddr,
    system: SocketAddr,
    _plane: watch::Sender<Arc<Plane>>,
}

impl Server {
    /// A master.
    pub async fn start() -> Self {
        Self::run(None).await
    }

    /// A node that takes `master` for the master.
    pub async fn behind(master: &Self) -> Self {
        Self::run(Some(master.clients)).await
    }

    async fn run(master: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = listener.local_addr().unwrap();
        let system_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let system = system_listener.local_addr().unwrap();
        let etcd = clients.to_string();
        let me = MemberAt { member_id: 1, name: "global-0".into(), etcd, ..MemberAt::default() };
        let master_at = master.map_or_else(
            || MasterAt { member_id: 1, etcd: me.etcd.clone() },
            |address| MasterAt { member_id: 2, etcd: address.to_string() },
        );
        let plane = Plane {
            cluster_id: 7,
            member_id: 1,
            master: Some(master_at),
            epoch: Epoch(1),
            members: vec![me],
        };
        let (sender, receiver) = watch::channel(Arc::new(plane));
        let (handle, asks) = etcd::channel(receiver);
        tokio::spawn(drive(asks, master.is_none()));
        serve(listener, &handle);
        serve(system_listener, &handle.for_system());
        Self { clients, system, _plane: sender }
    }

    pub async fn channel(&self) -> Channel {
        connect(self.clients).await
    }

    pub async fn system_channel(&self) -> Channel {
        connect(self.system).await
    }
}

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn serve(listener: TcpListener, handle: &Handle) {
    let routes = etcd::routes(handle);
    let server = tonic::transport::Server::builder().add_routes(routes);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
}

/// The loop: what the real one does, without a log and without peers.
async fn drive(mut asks: mpsc::Receiver<Asked>, master: bool) {
    let mut desk = Desk::new(Limits::default());
    desk.core.loaded(&mut desk.streams);
    if master {
        desk.core.became_master(clock::now(), Epoch(1), Offset(1));
    }
    let mut end = Offset(1);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        tokio::select! {
            asked = asks.recv() => match asked {
                Some(asked) => desk.accept(clock::now(), asked),
                None => return,
            },
            _ = ticks.tick() => desk.core.tick(clock::now(), &mut desk.streams),
        }
        while let Some(proposed) = desk.core.take_batch(end.next()) {
            end = Offset(end.0 + u64::from(proposed.count));
        }
        if master {
            desk.core.committed(end, &mut desk.streams);
        }
        if let Some(reads) = desk.core.take_unproven() {
            reads.release(&mut desk.streams);
        }
    }
}
