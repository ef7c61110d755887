//! One client connection: socket, half-received requests, replies, session.

use crate::data::blocked::Waiting;
use crate::data::dispatch::Item;
use crate::data::rates::Pace;
use crate::data::replies::Replies;
use crate::data::session::Session;
use crate::data::stream::Stream;
use cairn_logic::ids::Offset;
use cairn_logic::time::Instant;
use cairn_resp::{Limits, Parser, ProtocolError};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// The room a connection reads into at first, in bytes.
const FEED_BYTES: usize = 16 << 10;
/// The room of a connection that keeps it full without large values, in bytes.
const FEED_BYTES_BUSY: usize = 64 << 10;
/// What is written to a client in one turn, in bytes: about a millisecond's work.
const FLUSH_BYTES_MAX: usize = 2 << 20;
/// What a client may leave unread of messages that it did not ask for one by one, in bytes.
pub const LISTENER_BYTES_MAX: usize = 32 << 20;

/// A client.
#[derive(Debug)]
pub struct Conn {
    /// The socket.
    pub stream: Stream,
    /// Counts connections of this process; never reused.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// When it was accepted.
    pub since: Instant,
    /// When it last sent something.
    pub active: Instant,
    /// Bytes it has sent.
    pub read_bytes: u64,
    /// Bytes it was sent.
    pub written_bytes: u64,
    /// Commands it has had executed, those of its scripts among them.
    pub commands: u64,
    /// How far it is, where commands a second are bounded.
    pub pace: Pace,
    /// Half-received or not yet executed requests.
    pub feed: Option<Box<Feed>>,
    /// What it is told.
    pub replies: Replies,
    /// Who it is.
    pub session: Session,
    /// Why no further request of it is executed.
    pub pause: Pause,
    /// The command that waits, while it does.
    pub waiting: Option<Box<Waiting>>,
    /// Whether it is on the list of sockets to read.
    pub listed_ready: bool,
    /// Whether it is on the list of those with held replies.
    pub listed_held: bool,
    /// Whether it is on the list of those to write to.
    pub listed_flush: bool,
    /// Whether it left more messages unread than it may: it is closed.
    pub overrun: bool,
    /// Whether the client has closed its side, or the connection broke.
    pub hung_up: bool,
    /// Whether the socket took less than offered and has not said that it takes more.
    pub choked: bool,
}

/// Why a connection's requests are not executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// They are.
    #[default]
    None,
    /// WAIT: until so many others have acknowledged the offset, or the time has come.
    Copies {
        /// The client's last write.
        offset: Offset,
        /// How many it asked for.
        wanted: usize,
        /// When to answer at the latest; `None`: whenever.
        until: Option<Instant>,
    },
    /// A command that waits for its keys: [`Conn::waiting`].
    Blocked,
    /// A command that is executed elsewhere, until it is done.
    Lent,
    /// A change of users, until all nodes can hear of it, or it is too late.
    Users {
        /// Which.
        token: u64,
        /// When it is too late.
        until: Instant,
        /// Whether the answer is a number of users.
        counts: bool,
    },
    /// A write while mastership is being handed over: until admitted, redirected, or too late.
    HandOver {
        /// When to try again at the latest.
        until: Instant,
    },
    /// It has asked for more commands than it may in a second: until its time has come.
    Slowed,
    /// It is closed once its replies are out.
    Closing,
}

/// Received bytes and the parser that reads them.
#[derive(Debug)]
pub struct Feed {
    /// The parser.
    pub parser: Parser,
    /// What is known of each complete request, in their order.
    pub items: Vec<Item>,
    buf: Vec<u8>,
    filled: usize,
    /// The first complete request that was not executed.
    pub next: usize,
    /// What is wrong with the bytes after the complete requests.
    pub error: Option<ProtocolError>,
}

/// What reading a socket came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// Nothing more at the moment.
    Drained,
    /// The room is full; there may be more.
    Full,
    /// The client has closed, or the connection broke.
    Closed,
}

impl Feed {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let parser = Parser::new(limits);
        let buf = vec![0; FEED_BYTES];
        Self { parser, items: Vec::new(), buf, filled: 0, next: 0, error: None }
    }

    /// Whether it holds nothing at all, and can be lent to another connection.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.filled == 0 && self.error.is_none() && self.parser.is_empty()
    }

    /// Whether it is as small as a new one.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.buf.len() <= FEED_BYTES_BUSY
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// The received bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buf[..self.filled]
    }

    /// Reads what the socket has, at most up to a full buffer; `to_the_end` says that its end is
    /// known to be near.
    pub fn read(&mut self, stream: &mut Stream, to_the_end: bool) -> ReadEnd {
        self.make_room();
        loop {
            let room = &mut self.buf[self.filled..];
            if room.is_empty() {
                return ReadEnd::Full;
            }
            let asked = room.len();
            match stream.read(room) {
                Ok(0) => return ReadEnd::Closed,
                Ok(count) => {
                    self.filled += count;
                    if count < asked && !to_the_end && stream.short_is_last() {
                        // A short read of a stream says that nothing is left (epoll, edge).
                        return ReadEnd::Drained;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadEnd::Drained,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return ReadEnd::Closed,
            }
        }
    }

    /// Grows with what has arrived, never with what was announced.
    fn make_room(&mut self) {
        let free = self.buf.len() - self.filled;
        if free >= FEED_BYTES / 4 && self.filled == 0 {
            return;
        }
        let wanted = self.parser.bytes_wanted(self.filled);
        if free < FEED_BYTES / 4 || (wanted > free && self.filled * 2 >= self.buf.len()) {
            let target = (self.buf.len() * 2).max(FEED_BYTES_BUSY);
            self.buf.resize(target, 0);
        }
    }

    /// Reads requests out of the bytes; returns how many wait, executed ones included.
    pub fn parse(&mut self) -> usize {
        if let Err(error) = self.parser.parse(&mut self.buf[..self.filled]) {
            self.error = Some(error);
        }
        self.parser.len()
    }

    /// Forgets the executed requests once all of them are.
    pub fn consume(&mut self) {
        if self.next < self.parser.len() {
            return;
        }
        self.next = 0;
        self.items.clear();
        let consumed = self.parser.consume();
        self.buf.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        if self.filled == 0 && !self.is_small() {
            self.buf = vec![0; FEED_BYTES];
            self.parser.shrink();
            self.items = Vec::new();
        }
    }

    /// Whether a request has begun and has not arrived in full.
    #[must_use]
    pub fn is_half(&self) -> bool {
        self.filled > 0 && self.next >= self.parser.len()
    }
}

impl Conn {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(mut stream: Stream, id: u64, peer: SocketAddr, now: Instant) -> Self {
        Self {
            local: stream.socket().local_addr().ok(),
            stream,
            id,
            peer,
            since: now,
            active: now,
            read_bytes: 0,
            written_bytes: 0,
            commands: 0,
            pace: Pace::default(),
            feed: None,
            replies: Replies::default(),
            session: Session::default(),
            pause: Pause::None,
            waiting: None,
            listed_ready: false,
            listed_held: false,
            listed_flush: false,
            overrun: false,
            hung_up: false,
            choked: false,
        }
    }

    /// Adds a message that answers nothing, behind the replies that are there.
    pub fn tell(&mut self, frame: &[u8]) {
        let from = self.replies.buf.len();
        self.replies.buf.raw(frame);
        self.replies.free(from);
        self.overrun |= self.replies.pending_bytes() > LISTENER_BYTES_MAX;
    }

    /// Writes what is released, up to a bound; returns false if the connection broke.
    pub fn flush(&mut self) -> bool {
        let mut left = FLUSH_BYTES_MAX;
        while !self.replies.sendable().is_empty() && left > 0 {
            let bytes = self.replies.sendable();
            match self.stream.write(&bytes[..bytes.len().min(left)]) {
                Ok(0) => return false,
                Ok(count) => {
                    self.replies.sent(count);
                    left -= count.min(left);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.choked = true;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        match self.stream.flush() {
            Ok(()) => self.choked = false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.choked = true,
            Err(_) => return false,
        }
        true
    }

    /// Whether nothing keeps it open any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.pause == Pause::Closing && self.replies.is_empty()
    }

    /// What it takes, in bytes, its buffers included.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.feed.as_ref().map_or(0, |feed| feed.len())
    }
}
