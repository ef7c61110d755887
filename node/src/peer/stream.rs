//! Log streams: connections that carry frames and nothing else (decision 0037).

use super::client::{ALIVE, CONNECT_MAX};
use super::incoming::{HANDSHAKE_MAX, Io};
use super::{Identity, Inbound, LINK_QUEUE, MESSAGE_BYTES_MAX};
use bytes::BytesMut;
use cairn_logic::message::Sender;
use cairn_wire::hello::Caller;
use cairn_wire::peer::frame::Frame;
use cairn_wire::peer::{Malformed, pb, stream as wire};
use prost::Message;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::{TlsConnector, TlsStream};

/// Room that each read has at least, in bytes.
const READ_BYTES: usize = 64 << 10;
/// Frames that are sent by one write: as many as wait, until they have so many bytes.
const WRITE_BYTES: usize = 256 << 10;

/// Why a stream has ended, or was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing was heard in time.
    #[error("no answer in time")]
    Silent(#[from] Elapsed),
    /// Not what a peer sends.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The address has no name that a certificate can have.
    #[error("no name to verify")]
    Name(#[from] InvalidDnsNameError),
    /// The other end does not want us.
    #[error("refused: {0}")]
    Refused(String),
    /// We do not want the other end.
    #[error(transparent)]
    Hello(#[from] cairn_wire::hello::Refused),
}

/// The master's end: opens a stream to `to` at `address`; with whose folder answers.
///
/// # Errors
/// [`Error`]; within the time that a connection and two signs of life may take.
pub async fn open(
    identity: &Identity,
    to: &str,
    address: &str,
    beats: bool,
) -> Result<(LogStream, Sender), Error> {
    let tcp = timeout(CONNECT_MAX, TcpStream::connect(address)).await??;
    keep_alive(&tcp);
    timeout(ALIVE * 2, greet(identity, to, address, beats, tcp)).await?
}

async fn greet(
    identity: &Identity,
    to: &str,
    address: &str,
    beats: bool,
    tcp: TcpStream,
) -> Result<(LogStream, Sender), Error> {
    let io = match &identity.tls.peers {
        None => Io::Plain(tcp),
        Some(keys) => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
            let connector = TlsConnector::from(keys.now().streams.clone());
            let tls = connector.connect(name, tcp).await?;
            Io::Tls(Box::new(TlsStream::Client(tls)))
        }
    };
    let mut stream = LogStream::new(io);
    let hello = identity.secret.hello(&identity.me, identity.life(), to);
    let mut opening = BytesMut::from(&wire::OPENS[..]);
    wire::put(&pb::Opening { hello: Some(hello), beats }, &mut opening);
    stream.io.write_all(&opening).await?;
    let opened: pb::Opened = stream.take(wire::OPENING_BYTES_MAX).await?;
    if !opened.refused.is_empty() {
        return Err(Error::Refused(opened.refused));
    }
    let hello = opened.hello.unwrap_or_default();
    let answers = identity.secret.check_hello(&hello, &identity.me.id)?;
    Ok((stream, answers.sender))
}

/// The other end: answers the streams that are opened on a port.
#[derive(Clone, Debug)]
pub struct Answering {
    /// Who answers.
    pub identity: Identity,
    /// Where frames go.
    pub inbox: mpsc::Sender<Inbound>,
}

impl Answering {
    /// Serves an accepted connection for as long as it lives.
    pub async fn serve(self, io: Io) {
        keep_alive(io.tcp());
        let mut stream = LogStream::new(io);
        match timeout(HANDSHAKE_MAX, self.opened(&mut stream)).await {
            Ok(Ok((caller, beats))) => self.receive(stream, caller.sender, beats).await,
            Ok(Err(error)) => tracing::warn!(%error, "refused a log stream"),
            Err(_) => tracing::debug!("a log stream took too long to be opened"),
        }
    }

    async fn opened(&self, stream: &mut LogStream) -> Result<(Caller, bool), Error> {
        let mut opens = [0; wire::OPENS.len()];
        stream.io.read_exact(&mut opens).await?;
        if opens != wire::OPENS {
            return Err(io::Error::other("no log stream").into());
        }
        let Identity { me, secret, .. } = &self.identity;
        let opening: pb::Opening = stream.take(wire::OPENING_BYTES_MAX).await?;
        match secret.check_hello(&opening.hello.unwrap_or_default(), &me.id) {
            Ok(caller) => {
                let hello = secret.hello(me, self.identity.life(), caller.sender.id.as_str());
                stream.put(&pb::Opened { hello: Some(hello), refused: String::new() }).await?;
                Ok((caller, opening.beats))
            }
            Err(refused) => {
                stream.put(&pb::Opened { hello: None, refused: refused.to_string() }).await?;
                Err(refused.into())
            }
        }
    }

    async fn receive(self, stream: LogStream, from: Sender, beat: bool) {
        let (back, answers) = mpsc::channel(LINK_QUEUE);
        let name = from.id.clone();
        let ended = stream.carry(answers, &self.inbox, |frame| Inbound::Frame {
            from: from.clone(),
            frame,
            beat,
            back: Some(back.clone()),
        });
        if let Err(Error::Malformed(error)) = ended.await {
            tracing::error!(%error, from = %name, "closed a log stream");
        }
    }
}

/// Dead peers are noticed though nothing is said: within twice [`ALIVE`] of silence, also while
/// something is on its way.
fn keep_alive(tcp: &TcpStream) {
    use rustix::net::sockopt;
    let set = || -> rustix::io::Result<()> {
        sockopt::set_tcp_nodelay(tcp, true)?;
        sockopt::set_socket_keepalive(tcp, true)?;
        sockopt::set_tcp_keepidle(tcp, std::time::Duration::from_secs(1))?;
        sockopt::set_tcp_keepintvl(tcp, std::time::Duration::from_secs(1))?;
        sockopt::set_tcp_keepcnt(tcp, 2)?;
        let limit = (ALIVE * 2).as_millis();
        sockopt::set_tcp_user_timeout(tcp, u32::try_from(limit).unwrap_or(u32::MAX))
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "a connection without signs of life");
    }
}

/// An open stream.
#[derive(Debug)]
pub struct LogStream {
    io: Io,
    arrived: BytesMut,
}

impl LogStream {
    fn new(io: Io) -> Self {
        Self { io, arrived: BytesMut::new() }
    }

    async fn put(&mut self, message: &impl Message) -> Result<(), Error> {
        let mut bytes = BytesMut::new();
        wire::put(message, &mut bytes);
        Ok(self.io.write_all(&bytes).await?)
    }

    async fn take<M: Message + Default>(&mut self, bytes_max: usize) -> Result<M, Error> {
        loop {
            if let Some(message) = wire::take(&mut self.arrived, bytes_max)? {
                return Ok(message);
            }
            if self.io.read_buf(&mut self.arrived).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Sends `frames` and hands over, as `inbound` says, what comes, until either end is gone.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the other end said what no peer says; what the connection said.
    pub async fn carry(
        self,
        frames: mpsc::Receiver<pb::Frame>,
        inbox: &mpsc::Sender<Inbound>,
        inbound: impl Fn(Frame) -> Inbound,
    ) -> Result<(), Error> {
        let (reader, writer) = tokio::io::split(self.io);
        tokio::select! {
            ended = read(reader, self.arrived, inbox, inbound) => ended,
            ended = write(writer, frames) => ended,
        }
    }
}

async fn read(
    mut io: ReadHalf<Io>,
    mut arrived: BytesMut,
    inbox: &mpsc::Sender<Inbound>,
    inbound: impl Fn(Frame) -> Inbound,
) -> Result<(), Error> {
    loop {
        while let Some(frame) = wire::take::<pb::Frame>(&mut arrived, MESSAGE_BYTES_MAX)? {
            if inbox.send(inbound(Frame::try_from(frame)?)).await.is_err() {
                return Ok(());
            }
        }
        if arrived.capacity() - arrived.len() < READ_BYTES / 4 {
            arrived.reserve(READ_BYTES);
        }
        if io.read_buf(&mut arrived).await? == 0 {
            return Ok(());
        }
    }
}

async fn write(mut io: WriteHalf<Io>, mut frames: mpsc::Receiver<pb::Frame>) -> Result<(), Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        wire::put(&frame, &mut bytes);
        while bytes.len() < WRITE_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            wire::put(&frame, &mut bytes);
        }
        io.write_all(&bytes).await?;
        io.flush().await?;
        bytes.clear();
        if bytes.capacity() > 2 * WRITE_BYTES {
            bytes = BytesMut::new();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
