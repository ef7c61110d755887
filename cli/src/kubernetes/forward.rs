//! Connections to pods through the API server.

use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use std::future::Future;
use std::io::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::DuplexStream;
use tonic::transport::Uri;
use tower_service::Service;

/// The right to connect to the pods of a namespace.
#[derive(Clone)]
pub struct Forward {
    client: Client,
    namespace: String,
}

impl Forward {
    /// To the pods of `namespace`.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// Connects to one port of one pod, whatever address it is asked for.
    pub fn connector(&self, pod: &str, port: u16) -> Connector {
        let pods = Api::namespaced(self.client.clone(), &self.namespace);
        Connector { pods, pod: pod.to_owned(), port }
    }
}

/// Makes connections to one port of one pod.
#[derive(Clone)]
pub struct Connector {
    pods: Api<Pod>,
    pod: String,
    port: u16,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let to = self.clone();
        Box::pin(async move {
            let forward = to.pods.portforward(&to.pod, &[to.port]).await;
            let mut forward = forward.map_err(Error::other)?;
            let stream = forward.take_stream(to.port);
            stream.map(TokioIo::new).ok_or_else(|| Error::other("the port was not forwarded"))
        })
    }
}
