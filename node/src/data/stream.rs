//! A client's socket, with or without TLS; never blocks.

use crate::tls::Keys;
use mio::net::TcpStream;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

/// The bytes that come from and go to one client.
#[derive(Debug)]
pub enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Through TLS; the handshake goes on as bytes come.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// A connection that was just accepted.
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub fn new(socket: TcpStream, keys: Option<&Keys>) -> io::Result<Self> {
        let Some(keys) = keys else { return Ok(Self::Plain(socket)) };
        let session = ServerConnection::new(keys.now().plain.clone()).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    /// The socket below.
    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether less than was asked for means that nothing is left.
    #[must_use]
    pub fn short_is_last(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether the client still has to prove that it speaks TLS.
    #[must_use]
    pub fn is_shaking_hands(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.conn.is_handshaking())
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Plain(socket) => socket.as_raw_fd(),
            Self::Tls(stream) => stream.sock.as_raw_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            // Its buffer is full and the socket blocked, although bytes came meanwhile: nothing
            // that would end a connection.
            Self::Tls(stream) => match stream.write(bytes) {
                Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                written => written,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            // A handshake goes on by reading alone: to read here would hide what came.
            Self::Tls(stream) if stream.conn.is_handshaking() => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
