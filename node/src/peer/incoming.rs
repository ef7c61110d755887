//! Connections between processes, with or without TLS, and how they are accepted.

use super::stream::Answering;
use crate::tls::{Keys, Loaded};
use cairn_logic::time::Duration;
use cairn_wire::peer::stream as wire;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more wait.
const HANDSHAKES_MAX: usize = 256;

/// One connection.
#[derive(Debug)]
pub enum Io {
    /// Plain text.
    Plain(TcpStream),
    /// TLS, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// What it goes over.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Connected for Io {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.tcp().connect_info()
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

/// Accepts for as long as the other end lives, without Nagle's delay: answers are small and must
/// not wait for the peer's delayed acknowledgements. One slow handshake holds up nobody else. Where
/// `streams` are answered, connections that open one go there.
#[must_use]
pub fn incoming(
    listener: TcpListener,
    keys: Option<Arc<Keys>>,
    streams: Option<Answering>,
) -> ReceiverStream<io::Result<Io>> {
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
            let Ok(permit) = free.clone().acquire_owned().await else { return };
            let (keys, streams) = (keys.as_ref().map(|keys| keys.now()), streams.clone());
            let accepted = accepted.clone();
            tokio::spawn(async move {
                let shaken = timeout(HANDSHAKE_MAX, shake(stream, keys, streams.is_some())).await;
                match (shaken, streams) {
                    (Ok(Ok((io, true))), Some(streams)) => {
                        drop(permit);
                        streams.serve(io).await;
                    }
                    (Ok(Ok((io, _))), _) => drop(accepted.send(Ok(io)).await),
                    (Ok(Err(error)), _) => tracing::warn!(%error, "refused a connection"),
                    (Err(_), _) => tracing::debug!("a handshake took too long"),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

/// What was accepted, and whether it opens a log stream; looked at only if `streams` may be.
async fn shake(
    stream: TcpStream,
    keys: Option<Arc<Loaded>>,
    streams: bool,
) -> io::Result<(Io, bool)> {
    let Some(keys) = keys else {
        let mut first = [0];
        let opens = streams && stream.peek(&mut first).await? == 1 && first[0] == wire::OPENS[0];
        return Ok((Io::Plain(stream), opens));
    };
    let config = if streams { &keys.peers } else { &keys.grpc };
    let stream = TlsAcceptor::from(config.clone()).accept(stream).await?;
    let opens = stream.get_ref().1.alpn_protocol() == Some(wire::ALPN);
    Ok((Io::Tls(Box::new(TlsStream::Server(stream))), opens))
}
