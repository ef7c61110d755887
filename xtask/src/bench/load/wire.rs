//! One connection of a load: bytes out, answers in, never waiting.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use mio::event::Source;
use mio::net::TcpStream;

use super::SILENCE_MAX;
use super::answers::Answers;

/// A connection and what it waits for.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    written: usize,
    pub answers: Answers,
}

impl Wire {
    /// Connects; `waits` says that a number 0 is an error.
    ///
    /// # Errors
    /// If the server is not to be reached.
    pub fn open(address: SocketAddr, waits: bool) -> Result<Self> {
        let stream = std::net::TcpStream::connect_timeout(&address, SILENCE_MAX)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (stream, answers) = (TcpStream::from_std(stream), Answers::new(waits));
        Ok(Self { stream, written: 0, answers })
    }

    /// What a poll is told of.
    pub fn source(&mut self) -> &mut impl Source {
        &mut self.stream
    }

    /// Sends the beginning of `batch`, which will have so many answers.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn begin(&mut self, batch: &[u8], answers: u64) -> Result<()> {
        self.answers.expect(answers);
        self.written = 0;
        self.write(batch)
    }

    /// Sends what is left of `batch` as far as there is room.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn write(&mut self, batch: &[u8]) -> Result<()> {
        while self.answers.waiting > 0 && self.written < batch.len() {
            match self.stream.write(&batch[self.written..]) {
                Ok(0) => bail!("the server takes nothing more"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send to the server"),
            }
        }
        Ok(())
    }

    /// Reads what is there, once; whether there was anything.
    ///
    /// # Errors
    /// If the connection is broken, or what comes is no answer.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => self.answers.parse(&buffer[..count]).map(|()| true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error).context("cannot read from the server"),
        }
    }
}
