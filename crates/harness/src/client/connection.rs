//! One connection to one node.

use std::io::{BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::frame::{Frame, encode};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing was sent, so nothing was executed.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Something was sent; whether it was executed is not known.
    #[error("broken off: {0}")]
    Broken(String),
}

/// One connection to one node.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects within `connect`; later each answer is awaited for `answer` at most.
    ///
    /// # Errors
    /// [`Trouble::NotSent`] if nobody is to be reached there.
    pub fn open(address: &str, connect: Duration, answer: Duration) -> Result<Self, Trouble> {
        let not_sent = |error: std::io::Error| Trouble::NotSent(error.to_string());
        let mut addresses = address.to_socket_addrs().map_err(not_sent)?;
        let Some(address) = addresses.next() else {
            return Err(Trouble::NotSent(format!("{address} names no address")));
        };
        let stream = TcpStream::connect_timeout(&address, connect).map_err(not_sent)?;
        stream.set_nodelay(true).map_err(not_sent)?;
        stream.set_read_timeout(Some(answer)).map_err(not_sent)?;
        stream.set_write_timeout(Some(answer)).map_err(not_sent)?;
        let reader = BufReader::with_capacity(64 << 10, stream.try_clone().map_err(not_sent)?);
        Ok(Self { stream, reader })
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// [`Trouble::Broken`]; the connection is of no use any more then.
    pub fn call(&mut self, command: &[&[u8]]) -> Result<Frame, Trouble> {
        let frames = self.call_all(&[command])?;
        frames.into_iter().next().ok_or_else(|| Trouble::Broken("no answer".into()))
    }

    /// Sends one command whose answer is awaited by [`Connection::hear`].
    ///
    /// # Errors
    /// [`Trouble::Broken`]; the connection is of no use any more then.
    pub fn send(&mut self, command: &[&[u8]]) -> Result<(), Trouble> {
        let mut out = Vec::new();
        encode(command, &mut out);
        self.stream.write_all(&out).map_err(|error| Trouble::Broken(error.to_string()))
    }

    /// Waits for an answer that is still to come, or for a message.
    ///
    /// # Errors
    /// [`Trouble::Broken`]; the connection is of no use any more then.
    pub fn hear(&mut self) -> Result<Frame, Trouble> {
        Frame::read(&mut self.reader).map_err(|error| Trouble::Broken(error.to_string()))
    }

    /// Sends several commands in one piece and waits for all their answers.
    ///
    /// # Errors
    /// [`Trouble::Broken`]; the connection is of no use any more then.
    pub fn call_all(&mut self, commands: &[&[&[u8]]]) -> Result<Vec<Frame>, Trouble> {
        let broken = |error: std::io::Error| Trouble::Broken(error.to_string());
        let mut out = Vec::new();
        commands.iter().for_each(|command| encode(command, &mut out));
        // Even a failed write may have put a whole command on the wire.
        self.stream.write_all(&out).map_err(broken)?;
        commands.iter().map(|_| Frame::read(&mut self.reader).map_err(broken)).collect()
    }
}
