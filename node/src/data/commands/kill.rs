//! CLIENT KILL: connections that fit to all filters are closed.

use crate::data::commands::word;
use crate::data::conn::{Conn, Pause};
use crate::data::server::Server;
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{Args, number};
use std::net::SocketAddr;

const SYNTAX: &str = "ERR syntax error";

/// Types of clients, as CLIENT LIST and KILL name them; nobody here is a master or replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Normal,
    PubSub,
    Member,
}

impl Type {
    /// The type of that name.
    ///
    /// # Errors
    /// The text of the reply, if there is none.
    pub fn named(name: &[u8]) -> Result<Self, String> {
        match word(name).as_str() {
            "normal" => Ok(Self::Normal),
            "pubsub" => Ok(Self::PubSub),
            "master" | "replica" | "slave" => Ok(Self::Member),
            _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name))),
        }
    }

    /// The type of a connection.
    pub fn of(conn: &Conn) -> Self {
        if conn.session.listens.is_some() { Self::PubSub } else { Self::Normal }
    }
}

/// Which connections are closed: those that fit to all that is said.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    address: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    kind: Option<Type>,
    user: Option<Vec<u8>>,
    /// Connections that are as old as this now.
    age_min: Option<(Instant, Duration)>,
}

fn is(text: Option<&Vec<u8>>, socket: Option<SocketAddr>) -> bool {
    text.is_none_or(|text| socket.is_some_and(|socket| socket.to_string().as_bytes() == text))
}

impl Filter {
    fn fits(&self, conn: &Conn) -> bool {
        self.id.is_none_or(|id| id == conn.id)
            && is(self.address.as_ref(), Some(conn.peer))
            && is(self.local.as_ref(), conn.local)
            && self.kind.is_none_or(|kind| kind == Type::of(conn))
            && self.user.as_ref().is_none_or(|user| user == conn.session.user())
            && self.age_min.is_none_or(|(now, age)| now.since(conn.since) >= age)
    }
}

impl Server {
    /// `CLIENT KILL address`, or `CLIENT KILL` with filters.
    pub(super) fn client_kill(&mut self, index: usize, args: Args<'_>) {
        if args.len() == 3 {
            let address = Some(args.get(2).to_vec());
            let count = self.kill_all(index, &Filter { address, ..Filter::default() }, false);
            return match count {
                0 => self.out(index).error("ERR No such client"),
                _ => self.out(index).ok(),
            };
        }
        match self.read_filter(args) {
            Ok((filter, skip_me)) => {
                let count = self.kill_all(index, &filter, skip_me);
                self.out(index).count(count);
            }
            Err(text) => self.out(index).error(&text),
        }
    }

    fn read_filter(&self, args: Args<'_>) -> Result<(Filter, bool), String> {
        if !args.len().is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        let (mut filter, mut skip_me) = (Filter::default(), true);
        for at in (2..args.len()).step_by(2) {
            let value = args.get(at + 1);
            match word(args.get(at)).as_str() {
                "id" => match number::parse_i64(value).and_then(|id| u64::try_from(id).ok()) {
                    Some(id @ 1..) => filter.id = Some(id),
                    _ => return Err("ERR client-id should be greater than 0".into()),
                },
                "addr" => filter.address = Some(value.to_vec()),
                "laddr" => filter.local = Some(value.to_vec()),
                "type" => filter.kind = Some(Type::named(value)?),
                "user" => {
                    if self.core.doors.users.get(value).is_none() {
                        let user = String::from_utf8_lossy(value);
                        return Err(format!("ERR No such user '{user}'"));
                    }
                    filter.user = Some(value.to_vec());
                }
                // Of Redis 7.4 and Valkey 8: connections that are so many seconds old.
                "maxage" => match number::parse_i64(value) {
                    Some(seconds @ 1..) => {
                        let age = Duration::from_secs(seconds as u64);
                        filter.age_min = Some((self.core.now, age));
                    }
                    Some(_) => return Err("ERR maxage should be greater than 0".into()),
                    None => return Err("ERR maxage is not an integer or out of range".into()),
                },
                "skipme" => match word(value).as_str() {
                    "yes" => skip_me = true,
                    "no" => skip_me = false,
                    _ => return Err(SYNTAX.into()),
                },
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok((filter, skip_me))
    }

    /// Closes those that fit, the one that asks after its reply; how many there are.
    fn kill_all(&mut self, index: usize, filter: &Filter, skip_me: bool) -> usize {
        let fitting = self.net.conns().filter(|(_, conn)| filter.fits(conn));
        let fitting = fitting.map(|(other, _)| other).filter(|other| !(skip_me && *other == index));
        let fitting: Vec<usize> = fitting.collect();
        for &other in &fitting {
            if other == index {
                self.conn(other).pause = Pause::Closing;
            } else {
                self.net.close(other);
            }
        }
        fitting.len()
    }
}
