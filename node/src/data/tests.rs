//! The data thread over real sockets, with a control that commits when the test says so.

mod acl;
mod acl_steps;
mod bad_input;
mod blocking;
mod channels;
mod checks;
mod commits;
mod events;
mod evictions;
mod exports;
mod figures;
mod functions;
mod loans;
mod moves;
mod positions;
mod rates;
mod scripts;
mod sessions;
mod storm;
mod tracking;

use crate::clock;
use crate::data::link::{Answers, Clock, Config, DataLink, FromData, Reads, ToData};
use crate::data::post::Posted;
use crate::data::routes::{GroupRoute, NOBODY, NodeRoute, Routes};
use crate::data::{Options, start};
use cairn_acl::Stored;
use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Keyspace};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Epoch, GroupId, NodeId, Offset, SLOTS};
use cairn_logic::record::Role;
use cairn_logic::replication::Admission;
use cairn_logic::time::Instant;
use cairn_resp::{ArgsBuf, Reply, ReplyBuf};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A data thread and the test that plays control.
struct Rig {
    link: DataLink,
    from: mpsc::Receiver<FromData>,
    address: SocketAddr,
    /// What its clients published for other nodes.
    published: mpsc::Receiver<Posted>,
    /// What the thread has appended so far.
    appended: Vec<Batch>,
    handle: Option<std::thread::JoinHandle<()>>,
}

/// Far away: a lease that never runs out.
const FOREVER: Instant = Instant::from_nanos(u64::MAX);

impl Rig {
    /// A follower that is still loading.
    fn follower(config: Config) -> Self {
        Self::follower_by(config, clock::unix_ms)
    }

    /// The same, with a wall clock of its own.
    fn follower_by(config: Config, unix_ms: fn() -> u64) -> Self {
        let options = Options {
            listen: vec![([127, 0, 0, 1], 0).into()],
            me: NodeId::new("a"),
            seed: 1,
            config,
            clock: Clock { now: clock::now, unix_ms },
            tls: None,
        };
        let running = start(options).unwrap();
        Self {
            link: running.link,
            from: running.from,
            address: running.addresses[0],
            published: running.published,
            appended: Vec::new(),
            handle: Some(running.handle),
        }
    }

    /// A master of slots 0-9999 with a lease that never runs out; it commits what the test says.
    fn master() -> Self {
        Self::master_with(Config::default(), Reads::Lease, Answers::AtCommit)
    }

    fn master_with(config: Config, reads: Reads, answers: Answers) -> Self {
        Self::follower(config).mastering(reads, answers)
    }

    fn mastering(mut self, reads: Reads, answers: Answers) -> Self {
        self.routes("a");
        self.become_master(1, 1, reads, answers);
        self.link.send(ToData::Loading(false));
        self.link.read_until(Some(FOREVER));
        self
    }

    /// A follower with routes, loaded, whose group has master `b`.
    fn replica(role: Role) -> Self {
        let rig = Self::follower(Config::default());
        rig.link.send(ToData::Routes(routes("b", role)));
        rig.link.send(ToData::Loading(false));
        rig
    }

    /// Group k-0 (a, b, c) has slots 0-9999, k-1 (x) 10000-15999, nobody the rest.
    fn routes(&mut self, master: &str) {
        self.link.send(ToData::Routes(routes(master, Role::Replica)));
    }

    fn become_master(&mut self, epoch: u64, next: u64, reads: Reads, answers: Answers) {
        let (epoch, next) = (Epoch(epoch), Offset(next));
        self.link.send(ToData::BecomeMaster { epoch, next, reads, answers });
        self.link.send(ToData::Admission(Admission::Open));
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buf: Vec::new() }
    }

    /// The next message of the thread, within two seconds.
    fn next(&mut self) -> Option<FromData> {
        for _ in 0..2000 {
            match self.from.try_recv() {
                Ok(FromData::Appended(batch)) => {
                    self.appended.push(batch.clone());
                    return Some(FromData::Appended(batch));
                }
                Ok(other) => return Some(other),
                Err(_) => pause(1),
            }
        }
        None
    }

    /// Waits for the next batch.
    fn batch(&mut self) -> Batch {
        match self.next() {
            Some(FromData::Appended(batch)) => batch,
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    /// Waits for the next batch and commits it.
    fn commit_next(&mut self) {
        let batch = self.batch();
        self.link.commit(batch.head.last_offset());
    }

    /// Commits everything at once from now on, in a thread of its own.
    fn commit_all(mut self) -> Committing {
        let address = self.address;
        let mut users = Stored::default();
        std::thread::spawn(move || {
            while let Some(message) = self.from.blocking_recv() {
                match message {
                    FromData::Appended(batch) => {
                        self.link.copies(&mut [batch.head.last_offset()]);
                        self.link.commit(batch.head.last_offset());
                    }
                    FromData::ChangeUsers { token, fixed, change } => {
                        let changed = users.change(&fixed, &change);
                        let outcome = changed.map_err(|refused| refused.text());
                        let outcome = outcome.map(|(after, deleted)| {
                            users = after;
                            self.link.send(ToData::Users(users.clone()));
                            deleted
                        });
                        self.link.send(ToData::UsersChanged { token, outcome });
                    }
                    FromData::Compared(_) | FromData::Move(_) => {}
                    FromData::NeedConfirm { token } => {
                        self.link.send(ToData::ReadsConfirmed { token });
                    }
                    FromData::SteppedDown { .. } | FromData::Gap { .. } | FromData::Stopped => {
                        break;
                    }
                }
            }
        });
        Committing { address }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.link.send(ToData::Stop { within: Duration::ZERO });
            handle.join().unwrap();
        }
    }
}

/// A rig whose commits come at once; its threads end with the test's process.
struct Committing {
    address: SocketAddr,
}

impl Committing {
    fn new() -> Self {
        Rig::master().commit_all()
    }

    fn with(config: Config) -> Self {
        Rig::master_with(config, Reads::Lease, Answers::AtCommit).commit_all()
    }

    fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).unwrap(), buf: Vec::new() }
    }
}

fn routes(master: &str, others: Role) -> Arc<Routes> {
    let node = |id: &str, role, port| NodeRoute {
        id: NodeId::new(id),
        role,
        host: "10.0.0.1".into(),
        port,
        peer_port: 7400,
        alive: true,
    };
    let role = |id: &str| if id == master { Role::Master } else { others };
    let home = vec![node("a", role("a"), 1), node("b", role("b"), 2), node("c", role("c"), 3)];
    let group = |id, nodes| GroupRoute { id: GroupId::new(id), epoch: Epoch(1), nodes };
    let groups = vec![group("k-0", home), group("k-1", vec![node("x", Role::Master, 9)])];
    let mut slots = vec![NOBODY; usize::from(SLOTS)];
    slots[..10_000].fill(0);
    slots[10_000..16_000].fill(1);
    Arc::new(Routes { me: NodeId::new("a"), revision: 7, groups, slots, moves: Vec::new() })
}

/// A batch with one command's effects, as a master would log them.
fn batch(words: &[&str]) -> Batch {
    let (mut master, mut log) = (Keyspace::new(1), EffectLog::new(Offset(1)));
    let args: ArgsBuf = words.iter().collect();
    let (ctx, mut reply) =
        (Ctx { now_ms: 1, may_write: true, value_bytes_max: 1 << 20 }, ReplyBuf::default());
    let command = lookup(words[0].as_bytes()).unwrap();
    master.execute(&ctx, command, args.as_args(), None, &mut reply, &mut log);
    log.take().unwrap().into_batch(Epoch(1), 1)
}

/// Lets the thread under test run; a test never decides by the length of it.
fn pause(ms: u64) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    receiver.recv_timeout(Duration::from_millis(ms)).ok();
}

/// A client that speaks RESP over a blocking socket.
struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Client {
    fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends words as a request.
    fn send(&mut self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let mut frame = format!("*{}\r\n", words.len());
        for word in words {
            frame.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.raw(frame.as_bytes());
    }

    /// The next reply, if one comes within `ms`.
    fn reply_within(&mut self, ms: u64) -> Option<Reply> {
        self.stream.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        loop {
            if let Some((reply, len)) = Reply::parse(&self.buf).unwrap() {
                self.buf.drain(..len);
                return Some(reply);
            }
            let mut room = [0; 65536];
            match self.stream.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.buf.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn reply(&mut self) -> Reply {
        self.reply_within(3000).expect("a reply comes")
    }

    fn ask(&mut self, words: &str) -> Reply {
        self.send(words);
        self.reply()
    }

    /// The reply as a short text, as a person would read it.
    fn say(&mut self, words: &str) -> String {
        show(&self.ask(words))
    }

    /// Whether nothing comes for a little while.
    fn is_quiet(&mut self) -> bool {
        self.reply_within(60).is_none()
    }

    /// Whether the server closes the connection within three seconds, whatever it says before.
    fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut room = [0; 65536];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => text.clone(),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(value) => value.to_string(),
        Reply::Null => "(nil)".into(),
        Reply::Array(parts) | Reply::Push(parts) => {
            let parts: Vec<String> = parts.iter().map(show).collect();
            format!("[{}]", parts.join(" "))
        }
        other => String::from_utf8_lossy(other.as_bytes().unwrap_or(b"?")).into_owned(),
    }
}
