//! Accepted gRPC connections, with or without TLS.

use crate::tls::Keys;
use cairn_logic::time::Duration;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more wait.
const HANDSHAKES_MAX: usize = 256;

/// One accepted connection.
#[derive(Debug)]
pub enum Io {
    /// Plain text.
    Plain(TcpStream),
    /// TLS, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Io {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Self::Plain(stream) => stream.connect_info(),
            Self::Tls(stream) => stream.get_ref().0.connect_info(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, room),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// Accepts for as long as the other end lives, without Nagle's delay: acknowledgements are small
/// and must not wait for the peer's delayed ones. One slow handshake holds up nobody else.
#[must_use]
pub fn incoming(listener: TcpListener, keys: Option<Arc<Keys>>) -> ReceiverStream<io::Result<Io>> {
    let (accepted, connections) = mpsc::channel(64);
    tokio::spawn(async move {
        let free = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        while !accepted.is_closed() {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Who is gone already fails later and is not missed.
            stream.set_nodelay(true).ok();
            let Some(keys) = &keys else {
                if accepted.send(Ok(Io::Plain(stream))).await.is_err() {
                    return;
                }
                continue;
            };
            let Ok(permit) = free.clone().acquire_owned().await else { return };
            let (keys, accepted) = (keys.now(), accepted.clone());
            tokio::spawn(async move {
                let shaken = TlsAcceptor::from(keys.grpc.clone()).accept(stream);
                match timeout(HANDSHAKE_MAX, shaken).await {
                    Ok(Ok(stream)) => drop(accepted.send(Ok(Io::Tls(Box::new(stream)))).await),
                    Ok(Err(error)) => tracing::warn!(%error, "refused a connection"),
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
                drop(permit);
            });
        }
    });
    ReceiverStream::new(connections)
}
