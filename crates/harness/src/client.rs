//! A small client of a Redis-compatible cluster that knows what it does not know.
//!
//! It routes by slot, follows `MOVED` and `ASK`, and refreshes its routes from `CLUSTER SLOTS`.
//! Unlike everyday clients it never repeats a request that may have been executed: each call ends
//! as [`Answer::Reply`], [`Answer::Failed`] (no effect, ever) or [`Answer::Unknown`].
//!
//! Blocking sockets, one request at a time; meant for one thread per client.

mod connection;
mod frame;
mod routes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use connection::{Connection, Trouble};
pub use frame::{BULK_BYTES_MAX, Frame, encode};
pub use routes::{Range, Routes, SLOTS, slot_of};

use crate::clock::wait;

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was executed; this is the answer.
    Reply(Frame),
    /// It was not executed and never will be.
    Failed(String),
    /// Nobody knows whether it was, or will be, executed.
    Unknown(String),
}

/// Errors that a server gives before a request has any effect.
const REFUSALS: [&str; 13] = [
    "CLUSTERDOWN",
    "NOREPLICAS",
    "LOADING",
    "TRYAGAIN",
    "MASTERDOWN",
    "READONLY",
    "EXECABORT",
    "CROSSSLOT",
    "WRONGTYPE",
    "NOAUTH",
    "NOPERM",
    "OOM",
    "BUSY",
];

/// How often one request is sent on to another node.
const HOPS_MAX: u32 = 6;

/// Numbers connections over all clients of this process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// What a client waits for at most.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For an answer, after which the outcome is unknown.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // A server answers NOACK after a second; who says nothing for longer stands still.
        Self { connect: Duration::from_millis(300), answer: Duration::from_millis(1300) }
    }
}

/// One client of a cluster.
#[derive(Debug)]
pub struct Client {
    seeds: Vec<String>,
    patience: Patience,
    routes: Routes,
    masters: BTreeMap<String, Held>,
    replicas: BTreeMap<String, Held>,
    turn: usize,
}

#[derive(Debug)]
struct Held {
    number: u64,
    connection: Connection,
}

impl Client {
    /// A client that asks any of `seeds` (`host:port`) where to go.
    pub fn new(seeds: &[String], patience: Patience) -> Self {
        Self {
            seeds: seeds.to_vec(),
            patience,
            routes: Routes::default(),
            masters: BTreeMap::new(),
            replicas: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Asks nodes, those known first, until one tells the routes; whether one did.
    pub fn refresh(&mut self) -> bool {
        let known: Vec<String> = self.masters.keys().chain(&self.seeds).cloned().collect();
        // Each time another one is asked first, so that one who stands still holds up nobody twice.
        self.turn += 1;
        let first = self.turn % known.len().max(1);
        for address in known[first..].iter().chain(&known[..first]).cloned().collect::<Vec<_>>() {
            let asked = Connection::open(&address, self.patience.connect, self.patience.connect);
            let Ok(mut connection) = asked else { continue };
            let Ok(frame) = connection.call(&[b"CLUSTER", b"SLOTS"]) else { continue };
            if let Some(routes) = Routes::parse(&frame, &address) {
                self.routes = routes;
                return true;
            }
        }
        false
    }

    /// Refreshes until every slot has a master, at most for `limit`; whether it has.
    pub fn wait_covered(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !(self.refresh() && self.routes.is_covered()) {
            if Instant::now() > deadline {
                return false;
            }
            wait(Duration::from_millis(50));
        }
        true
    }

    /// Where slots are, as far as this client knows.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Sends one command about `key` to the master of its slot.
    pub fn call(&mut self, key: &str, command: &[&[u8]]) -> Answer {
        self.call_all(key, &[command]).1
    }

    /// Sends commands in one piece and returns the number of the connection and the last answer.
    ///
    /// Meant for `MULTI … EXEC`: earlier answers only matter if they say where to go instead.
    pub fn call_all(&mut self, key: &str, commands: &[&[&[u8]]]) -> (u64, Answer) {
        let slot = slot_of(key.as_bytes());
        let mut target = self.routes.master(slot).map(str::to_owned);
        let mut asking = false;
        for hop in 0..HOPS_MAX {
            let Some(address) = target.clone() else {
                if !self.refresh() || self.routes.master(slot).is_none() {
                    return (0, Answer::Failed(format!("nobody masters slot {slot}")));
                }
                target = self.routes.master(slot).map(str::to_owned);
                continue;
            };
            let (number, frames) = match self.exchange(&address, asking, commands) {
                Ok(answered) => answered,
                Err(Trouble::NotSent(why)) => {
                    self.refresh();
                    let now = self.routes.master(slot).map(str::to_owned);
                    if now == target || hop + 1 == HOPS_MAX {
                        return (0, Answer::Failed(format!("{address}: {why}")));
                    }
                    target = now;
                    continue;
                }
                Err(Trouble::Broken(why)) => {
                    // Whoever fell silent may have been replaced; do not go there again unasked.
                    self.refresh();
                    return (0, Answer::Unknown(format!("{address}: {why}")));
                }
            };
            match redirect(&frames, &address) {
                Some((to, ask)) => {
                    if !ask {
                        self.routes.moved(slot, &to);
                    }
                    (target, asking) = (Some(to), ask);
                }
                None => {
                    let early = frames.split_last().map_or(&frames[..], |(_, before)| before);
                    let refused = early.iter().find_map(|frame| match frame {
                        Frame::Error(error) => Some(error.clone()),
                        _ => None,
                    });
                    return match refused {
                        Some(error) => (number, Answer::Failed(error)),
                        None => (number, self.judge(frames)),
                    };
                }
            }
        }
        (0, Answer::Failed("sent from node to node".into()))
    }

    /// Reads a string and replaces it if nobody wrote it meanwhile: `WATCH`, `GET`, `MULTI`, `SET`,
    /// `EXEC`.
    ///
    /// `next` gets the answer to `GET` and gives what to write, or nothing to leave it. The outcome
    /// is that of `EXEC`: an array if the value was written, null if somebody else was faster.
    pub fn swap(&mut self, key: &str, next: impl FnOnce(&Answer) -> Option<String>) -> Answer {
        let key = key.as_bytes();
        let name = String::from_utf8_lossy(key).into_owned();
        let slot = slot_of(key);
        let (watch, read): (&[&[u8]], &[&[u8]]) = (&[b"WATCH", key], &[b"GET", key]);
        let (number, answer) = self.call_all(&name, &[watch, read]);
        // Without its watch the transaction below would overwrite what it never saw.
        let Some(value) = next(&answer) else {
            self.disconnect();
            return Answer::Failed("nothing to write".into());
        };
        // The transaction must run on the connection that watches, and nowhere else.
        let address = self.routes.master(slot).map(str::to_owned);
        let held = address.and_then(|address| self.masters.get_mut(&address));
        let Some(held) = held.filter(|held| held.number == number) else {
            self.disconnect();
            return Answer::Failed("the watching connection is gone".into());
        };
        let set: &[&[u8]] = &[b"SET", key, value.as_bytes()];
        match held.connection.call_all(&[&[b"MULTI"], set, &[b"EXEC"]]) {
            Ok(frames) if redirect(&frames, "").is_some() => {
                self.disconnect();
                Answer::Failed("the slot has moved".into())
            }
            Ok(frames) => self.judge(frames),
            Err(trouble) => {
                self.disconnect();
                self.refresh();
                Answer::Unknown(trouble.to_string())
            }
        }
    }

    /// `MULTI`, commands and `EXEC`, with a rest before `EXEC`, as of a client that holds a
    /// transaction open: what it has queued may be elsewhere by then.
    pub fn call_open(&mut self, key: &str, commands: &[&[&[u8]]], rest: Duration) -> Answer {
        let Some((exec, queued)) = commands.split_last() else {
            return Answer::Failed("nothing to do".into());
        };
        let (number, answer) = self.call_all(key, queued);
        // On any other connection that was tried a transaction may be open still.
        self.masters.retain(|_, held| held.number == number);
        if answer != Answer::Reply(Frame::Simple("QUEUED".into())) {
            self.disconnect();
            return Answer::Failed(format!("not queued: {answer:?}"));
        }
        wait(rest);
        let Some(held) = self.masters.values_mut().next() else {
            return Answer::Failed("the connection is gone".into());
        };
        match held.connection.call(exec) {
            Ok(frame) => {
                let moved = redirect(std::slice::from_ref(&frame), "").is_some();
                if matches!(frame, Frame::Error(_)) {
                    self.disconnect();
                }
                match moved {
                    true => Answer::Failed("the slot has moved".into()),
                    false => self.judge(vec![frame]),
                }
            }
            Err(trouble) => {
                self.disconnect();
                self.refresh();
                Answer::Unknown(trouble.to_string())
            }
        }
    }

    /// Reads at a replica of the key's group (`READONLY`); also the number of the connection.
    pub fn call_replica(&mut self, key: &str, command: &[&[u8]]) -> (u64, Answer) {
        self.turn += 1;
        let replicas = self.routes.replicas(slot_of(key.as_bytes()));
        let Some(address) = replicas.get(self.turn % replicas.len().max(1)).cloned() else {
            return (0, Answer::Failed("no replica known".into()));
        };
        if !self.replicas.contains_key(&address) {
            let opened = Connection::open(&address, self.patience.connect, self.patience.answer);
            let ready = opened.ok().and_then(|mut connection| {
                let answer = connection.call(&[b"READONLY"]).ok()?;
                (answer == Frame::Simple("OK".into())).then_some(connection)
            });
            let Some(connection) = ready else {
                return (0, Answer::Failed(format!("{address} is not to be reached")));
            };
            let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            self.replicas.insert(address.clone(), Held { number, connection });
        }
        let Some(held) = self.replicas.get_mut(&address) else {
            return (0, Answer::Failed("no connection".into()));
        };
        match held.connection.call(command) {
            Ok(Frame::Error(error)) => (held.number, Answer::Failed(error)),
            Ok(frame) => (held.number, Answer::Reply(frame)),
            // A read has no effect, so nothing about it can stay open.
            Err(Trouble::NotSent(why) | Trouble::Broken(why)) => {
                self.replicas.remove(&address);
                (0, Answer::Failed(why))
            }
        }
    }

    /// Forgets all connections, as after a command sequence that was broken off.
    pub fn disconnect(&mut self) {
        self.masters.clear();
        self.replicas.clear();
    }

    fn exchange(
        &mut self,
        address: &str,
        asking: bool,
        commands: &[&[&[u8]]],
    ) -> Result<(u64, Vec<Frame>), Trouble> {
        if !self.masters.contains_key(address) {
            let (connect, answer) = (self.patience.connect, self.patience.answer);
            let connection = Connection::open(address, connect, answer)?;
            let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            self.masters.insert(address.to_owned(), Held { number, connection });
        }
        let held = self.masters.get_mut(address).expect("it was just put there");
        let mut all: Vec<&[&[u8]]> = Vec::new();
        let mut together = false;
        for command in commands {
            // It is good for one command, or for all of a transaction.
            if asking && !together {
                all.push(&[b"ASKING"]);
            }
            together |= command.first() == Some(&&b"MULTI"[..]);
            all.push(command);
        }
        let answered = held.connection.call_all(&all);
        let number = held.number;
        if answered.is_err() {
            self.masters.remove(address);
        }
        answered.map(|frames| (number, frames))
    }

    /// The outcome that the last of the answers tells.
    fn judge(&mut self, frames: Vec<Frame>) -> Answer {
        match frames.into_iter().next_back() {
            Some(Frame::Error(error)) => {
                let word = error.split(' ').next().unwrap_or_default();
                if !REFUSALS.contains(&word) {
                    return Answer::Unknown(error);
                }
                if matches!(word, "CLUSTERDOWN" | "NOREPLICAS" | "MASTERDOWN" | "READONLY") {
                    self.refresh();
                }
                Answer::Failed(error)
            }
            Some(frame) => Answer::Reply(frame),
            None => Answer::Unknown("no answer".into()),
        }
    }
}

/// Where the answers send the client instead, and whether for this once.
fn redirect(frames: &[Frame], asked: &str) -> Option<(String, bool)> {
    frames.iter().find_map(|frame| {
        let Frame::Error(error) = frame else { return None };
        let mut words = error.split(' ');
        let ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let address = words.nth(1)?;
        // An empty host stands for the one that was asked.
        let host = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
        let address = match address.strip_prefix(':') {
            Some(port) => format!("{host}:{port}"),
            None => address.to_owned(),
        };
        Some((address, ask))
    })
}

#[cfg(test)]
mod tests;
