//! The sockets: listeners, the table of connections, and who is ready.

use crate::data::blocked::Waiting;
use crate::data::channels::Listens;
use crate::data::conn::{Conn, Feed};
use crate::data::doors::Entry;
use crate::data::session::Watched;
use crate::data::stream::Stream;
use crate::data::tracking::Tracks;
use crate::data::watchers::Watcher;
use crate::tls::Keys;
use cairn_logic::time::Instant;
use cairn_resp::Limits;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::Arc;

/// The token of the waker.
pub const WAKER: Token = Token(usize::MAX);
/// Listeners have the tokens from here on.
const LISTENERS: usize = usize::MAX - 64;
/// The most addresses one thread listens on.
pub const LISTENERS_MAX: usize = 16;
/// Buffers kept for the next turn.
const FEEDS_KEPT: usize = 128;
/// Connections taken from one listener at a time.
const ACCEPTS_MAX: usize = 512;

/// All sockets.
pub struct Net {
    registry: Registry,
    listeners: Vec<TcpListener>,
    /// The certificates clients are shown; none: plain text.
    tls: Option<Arc<Keys>>,
    /// Listeners that may have more to accept.
    pub accepting: bool,
    conns: Vec<Option<Box<Conn>>>,
    vacant: Vec<usize>,
    open: usize,
    next_id: u64,
    /// Sockets that may have something to read, or requests not executed yet.
    pub ready: VecDeque<usize>,
    /// Connections that may have something to write, whether or not requests are read.
    pub flush: Vec<usize>,
    /// Connections with held replies.
    pub held: Vec<usize>,
    #[expect(clippy::vec_box, reason = "they are lent to connections, which hold boxes")]
    feeds: Vec<Box<Feed>>,
    /// What connections that were closed have left, for the server to forget.
    pub gone: Vec<Gone>,
}

/// What a connection that was closed has left.
#[derive(Debug)]
pub struct Gone {
    /// Which.
    pub who: Watcher,
    /// What it watched.
    pub watched: Option<Box<Watched>>,
    /// What it listened to.
    pub listens: Option<Box<Listens>>,
    /// What it waited for.
    pub waiting: Option<Box<Waiting>>,
    /// How it was told of changes.
    pub tracks: Option<Box<Tracks>>,
}

/// What accepting came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted {
    /// Connections that are served from now on.
    pub taken: u64,
    /// Connections refused by the limit.
    pub refused: u64,
}

impl Net {
    /// Takes over listeners; they must be bound.
    ///
    /// # Errors
    /// If epoll refuses one.
    pub fn new(
        registry: Registry,
        mut listeners: Vec<TcpListener>,
        tls: Option<Arc<Keys>>,
    ) -> std::io::Result<Self> {
        listeners.truncate(LISTENERS_MAX);
        for (n, listener) in listeners.iter_mut().enumerate() {
            registry.register(listener, Token(LISTENERS + n), Interest::READABLE)?;
        }
        Ok(Self {
            registry,
            listeners,
            tls,
            accepting: false,
            conns: Vec::new(),
            vacant: Vec::new(),
            open: 0,
            next_id: 1,
            ready: VecDeque::new(),
            flush: Vec::new(),
            held: Vec::new(),
            feeds: Vec::new(),
            gone: Vec::new(),
        })
    }

    /// Notes what epoll said about a token.
    pub fn event(&mut self, token: Token, readable: bool, writable: bool, closed: bool) {
        if token == WAKER {
            return;
        }
        if token.0 >= LISTENERS {
            self.accepting = true;
            return;
        }
        let Some(conn) = self.conns.get_mut(token.0).and_then(Option::as_mut) else { return };
        conn.hung_up |= closed;
        if writable && conn.choked {
            self.flush.push(token.0);
        }
        // What TLS has to say first may have kept it from reading.
        if readable || closed || (writable && !conn.stream.short_is_last()) {
            self.list_ready(token.0);
        }
    }

    /// Puts a connection on the list of those to look at in the next turn.
    pub fn list_ready(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index).and_then(Option::as_mut) else { return };
        if !conn.listed_ready {
            conn.listed_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Puts a connection on the list of those with held replies.
    pub fn list_held(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index).and_then(Option::as_mut) else { return };
        if !conn.listed_held {
            conn.listed_held = true;
            self.held.push(index);
        }
    }

    /// Puts a connection on the list of those to write to.
    pub fn list_flush(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index).and_then(Option::as_mut) else { return };
        if !conn.listed_flush {
            conn.listed_flush = true;
            self.flush.push(index);
        }
    }

    /// Accepts what waits at the listeners, as long as fewer than `clients_max` are open.
    pub fn accept(&mut self, clients_max: usize, now: Instant, entry: Entry) -> Accepted {
        let mut accepted = Accepted::default();
        let mut more = false;
        for n in 0..self.listeners.len() {
            for round in 0..=ACCEPTS_MAX {
                if round == ACCEPTS_MAX {
                    more = true;
                    break;
                }
                match self.listeners[n].accept() {
                    Ok((stream, _)) if self.open >= clients_max => {
                        // Who expects TLS would not understand.
                        if self.tls.is_none() {
                            refuse(stream);
                        }
                        accepted.refused += 1;
                    }
                    Ok((stream, peer)) => {
                        if self.add(stream, peer, now, entry) {
                            accepted.taken += 1;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        // Out of file descriptors, most likely: tried again by the next round.
                        tracing::warn!(%error, "cannot accept a client");
                        self.accepting = false;
                        return accepted;
                    }
                }
            }
        }
        self.accepting = more;
        accepted
    }

    fn add(&mut self, mut stream: TcpStream, peer: SocketAddr, now: Instant, entry: Entry) -> bool {
        // A client that is gone already fails here and is not missed.
        stream.set_nodelay(true).ok();
        let index = self.vacant.pop().unwrap_or(self.conns.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.registry.register(&mut stream, Token(index), interest).is_err() {
            self.vacant.push(index);
            return false;
        }
        let stream = match Stream::new(stream, self.tls.as_deref()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot begin TLS with a client");
                self.vacant.push(index);
                return false;
            }
        };
        let mut conn = Box::new(Conn::new(stream, self.next_id, peer, now));
        conn.session.enter(entry);
        self.next_id += 1;
        self.open += 1;
        if index == self.conns.len() {
            self.conns.push(Some(conn));
        } else {
            self.conns[index] = Some(conn);
        }
        true
    }

    /// Closes a connection; its held replies are dropped.
    pub fn close(&mut self, index: usize) {
        let Some(mut conn) = self.conns.get_mut(index).and_then(Option::take) else { return };
        self.registry.deregister(conn.stream.socket()).ok();
        if conn.listed_ready {
            self.ready.retain(|other| *other != index);
        }
        if conn.listed_held {
            self.held.retain(|other| *other != index);
        }
        if let Some(feed) = conn.feed.take() {
            self.return_feed(feed);
        }
        let session = &mut conn.session;
        let (watched, listens) = (session.watched.take(), session.listens.take());
        let waiting = conn.waiting.take();
        let tracks = session.tracks.take();
        if watched.is_some() || listens.is_some() || waiting.is_some() || tracks.is_some() {
            self.gone.push(Gone { who: (index, conn.id), watched, listens, waiting, tracks });
        }
        self.vacant.push(index);
        self.open -= 1;
    }

    /// Stops accepting.
    pub fn close_listeners(&mut self) {
        for mut listener in self.listeners.drain(..) {
            self.registry.deregister(&mut listener).ok();
        }
        self.accepting = false;
    }

    /// The connection with this index, if it is open.
    #[inline]
    pub fn conn(&mut self, index: usize) -> Option<&mut Conn> {
        self.conns.get_mut(index)?.as_deref_mut()
    }

    /// The same, to look at.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Conn> {
        self.conns.get(index)?.as_deref()
    }

    /// All open connections with their indexes.
    pub fn conns(&self) -> impl Iterator<Item = (usize, &Conn)> {
        let open = |(index, conn): (usize, &'_ Option<Box<Conn>>)| Some((index, conn.is_some()));
        let indexes = self.conns.iter().enumerate().filter_map(open);
        indexes.filter_map(|(index, _)| self.conns[index].as_deref().map(|conn| (index, conn)))
    }

    /// The indexes of all open connections.
    #[must_use]
    pub fn indexes(&self) -> Vec<usize> {
        self.conns().map(|(index, _)| index).collect()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// A buffer to read into, warm if possible.
    pub fn lend_feed(&mut self, limits: Limits) -> Box<Feed> {
        match self.feeds.pop() {
            Some(mut feed) => {
                feed.parser.set_limits(limits);
                feed
            }
            None => Box::new(Feed::new(limits)),
        }
    }

    /// Takes a blank buffer back.
    pub fn return_feed(&mut self, feed: Box<Feed>) {
        if feed.is_blank() && feed.is_small() && self.feeds.len() < FEEDS_KEPT {
            self.feeds.push(feed);
        }
    }
}

/// Tells a client that there are too many; what cannot be sent at once is not sent.
fn refuse(mut stream: TcpStream) {
    stream.write_all(b"-ERR max number of clients reached\r\n").ok();
}
