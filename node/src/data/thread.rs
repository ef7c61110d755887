//! The thread: starts, waits for sockets and control, runs turns, ends.

use crate::data::control::Inbox;
use crate::data::core::{Confirm, Core, Stats};
use crate::data::doors::Doors;
use crate::data::link::{self, Clock, Config, DataLink, FromData};
use crate::data::loans::Lender;
use crate::data::net::{Net, WAKER};
use crate::data::outgoing::Outgoing;
use crate::data::post::{Post, Posted};
use crate::data::routes::Routes;
use crate::data::routing::View;
use crate::data::server::Server;
use crate::data::turns::Part;
use crate::data::weighing::Weighing;
use crate::tls::Keys;
use cairn_keyspace::{EffectLog, Keyspace};
use cairn_logic::ids::{EntryId, NodeId, Offset};
use cairn_logic::replication::Admission;
use cairn_logic::time::Duration;
use mio::net::TcpListener;
use mio::{Events, Poll, Waker};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Messages to control that may be outstanding; above, no request is read.
const OUTGOING_MAX: usize = 4096;
/// Readiness taken from epoll at once.
const EVENTS_MAX: usize = 1024;

/// How to start the thread.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect; at most [`crate::data::net::LISTENERS_MAX`] addresses.
    pub listen: Vec<SocketAddr>,
    /// This node.
    pub me: NodeId,
    /// Keys the hash of keys; the same on all members of a group, unknown to clients.
    pub seed: u64,
    /// Limits and password.
    pub config: Config,
    /// The clocks.
    pub clock: Clock,
    /// The certificates clients are shown; none: plain text.
    pub tls: Option<Arc<Keys>>,
}

/// A running thread.
#[derive(Debug)]
pub struct Running {
    /// To it.
    pub link: DataLink,
    /// From it. Closed when the thread has ended, also by a panic: the node then ends, too.
    pub from: mpsc::Receiver<FromData>,
    /// What clients publish, for other nodes.
    pub published: mpsc::Receiver<Posted>,
    /// To join it.
    pub handle: JoinHandle<()>,
    /// Where it listens, in the order of [`Options::listen`].
    pub addresses: Vec<SocketAddr>,
}

/// Why the thread does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Probably another process listens there.
    #[error("cannot listen for clients on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No epoll, eventfd or thread.
    #[error("cannot start the data thread")]
    Start {
        /// Why.
        source: std::io::Error,
    },
}

/// Binds the sockets and starts the thread, in the state "follower, loading".
///
/// # Errors
/// [`Error`]; nothing is left behind.
pub fn start(options: Options) -> Result<Running, Error> {
    let failed = |source| Error::Start { source };
    let poll = Poll::new().map_err(failed)?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed)?);
    let lender = Lender::start(Arc::clone(&waker), options.clock.now);
    let (link, end) = link::pair(waker, options.seed);
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for &address in &options.listen {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        addresses.push(listener.local_addr().map_err(listen)?);
        listeners.push(listener);
    }
    let registry = poll.registry().try_clone().map_err(failed)?;
    let net = Net::new(registry, listeners, options.tls).map_err(failed)?;
    let (sender, from) = mpsc::channel(OUTGOING_MAX);
    let now = (options.clock.now)();
    let routes = Arc::new(Routes::none(options.me));
    let mut core = Core {
        keyspace: Keyspace::new(options.seed),
        seed: options.seed,
        log: EffectLog::new(Offset(1)),
        wanted: Vec::new(),
        wanted_members: Vec::new(),
        view: View::new(routes, false),
        mastership: None,
        admission: Admission::HandingOver,
        no_room: None,
        loading: true,
        gap: false,
        dirty_tail: false,
        last: EntryId::ZERO,
        config: options.config,
        doors: Doors::default(),
        committed: Offset::ZERO,
        now,
        unix_ms: (options.clock.unix_ms)(),
        turn_ms: 0,
        outgoing: Outgoing::new(sender),
        limbo_until: now,
        shared: end.shared,
        clock: options.clock,
        unkept: Default::default(),
        may_mend: true,
        carrying: None,
        slots_written: Offset::ZERO,
        confirm: Confirm::default(),
        evicting: Default::default(),
        stats: Stats::default(),
        weighing: Weighing::new(now),
        started: now,
    };
    core.renew_users();
    core.config_changed();
    let (post, published) = Post::new();
    let mut server = Server::new(net, core, end.receiver, (post, lender));
    server.port = addresses.first().map_or(0, SocketAddr::port);
    let handle = std::thread::Builder::new()
        .name("data".into())
        .spawn(move || run(poll, server))
        .map_err(failed)?;
    Ok(Running { link, from, published, handle, addresses })
}

fn run(mut poll: Poll, mut server: Server) {
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut more = true;
    loop {
        // Nobody is woken for what happens while the thread is awake: it looks at everything
        // before it sleeps, and once more after it has said so.
        let shared = Arc::clone(&server.core.shared);
        let mut patience = server.patience();
        if more || server.has_work() {
            patience = Duration::ZERO;
        } else {
            server.core.outgoing.push();
            shared.sleep(server.is_held_up());
            if server.has_news() {
                patience = Duration::ZERO;
            }
        }
        match poll.poll(&mut events, Some(patience)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                tracing::error!(%error, "epoll failed");
                return;
            }
            Ok(()) | Err(_) => {}
        }
        shared.awake();
        server.core.begin_turn();
        server.turns.begin(server.core.now);
        for event in &events {
            let closed = event.is_read_closed() || event.is_error();
            server.net.event(event.token(), event.is_readable(), event.is_writable(), closed);
        }
        server.accept();
        let inbox = server.messages();
        if inbox != Inbox::Quiet {
            server.passed(Part::Control);
        }
        if inbox == Inbox::Gone || server.is_over() {
            server.end();
            return;
        }
        more = inbox == Inbox::More;
        server.core.outgoing.turn();
        server.chores();
        server.look_at_checks();
        server.turn();
        server.passed(Part::Replies);
        if server.is_moving() {
            server.look_at_moves();
            server.passed(Part::Moves);
        }
        server.leisure(events.is_empty() && inbox == Inbox::Quiet);
        server.end_turn();
    }
}

impl Server {
    fn accept(&mut self) {
        if !self.net.accepting {
            return;
        }
        let (now, max) = (self.core.now, self.core.config.clients_max);
        let entry = self.core.entry();
        let accepted = self.net.accept(max, now, entry);
        self.core.stats.connections += accepted.taken + accepted.refused;
        self.core.stats.refused += accepted.refused;
    }

    /// Whether there is something to do without waiting.
    fn has_work(&self) -> bool {
        let reading = self.stopping.is_none() && !self.is_full() && !self.net.ready.is_empty();
        let leisure = self.leisure_due() <= self.core.now || self.core.evicting.goes_on;
        reading || self.net.accepting || !self.net.flush.is_empty() || leisure
    }

    /// Whether a commit, a deadline or a confirmation changes what this thread may do.
    fn is_held_up(&self) -> bool {
        !self.net.held.is_empty() || !self.waits.is_empty() || self.is_full() || self.is_moving()
    }

    /// Whether the thread has to end; all it has appended has gone to control then.
    fn is_over(&mut self) -> bool {
        if self.stopping.is_some() {
            self.core.outgoing.push();
        }
        let quiet = self.net.held.is_empty()
            && self.net.flush.is_empty()
            && !self.core.outgoing.is_behind();
        self.stopping.is_some_and(|until| quiet || self.core.now >= until)
    }

    fn end(&mut self) {
        for index in self.net.indexes() {
            self.net.close(index);
        }
        self.core.outgoing.send(FromData::Stopped);
    }
}
