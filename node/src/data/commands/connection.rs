//! HELLO, AUTH, SELECT, QUIT, RESET, READONLY, READWRITE, ASKING.

use crate::data::commands::{word, wrong_arity};
use crate::data::conn::Pause;
use crate::data::denials::{Context, Refusal, Why};
use crate::data::server::Server;
use crate::data::session::{ReplyMode, Session};
use cairn_resp::{Args, Version, number};

/// What tools are told this node is compatible with.
pub const REDIS_VERSION: &str = "7.2.4";

const NOAUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client \
    and select the RESP protocol version at the same time";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
    default user. Are you sure your configuration is correct?";
pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// Whether a client may be named so.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

impl Server {
    /// A client comes in by name and password, with the command that it has `said`; whether these
    /// are good.
    fn comes_in(&mut self, index: usize, said: &[u8], name: &[u8], password: &[u8]) -> bool {
        if let Some(user) = self.core.doors.users.coming_in(name, password).cloned() {
            self.come_in(index, &user);
            return true;
        }
        let in_multi = self.session(index).multi.is_some();
        let context = if in_multi { Context::Multi } else { Context::Toplevel };
        let object = said.to_vec();
        let refusal = Refusal { reason: Why::Auth, context, object, user: name.to_vec() };
        self.note_refusal(index, refusal);
        false
    }

    /// `HELLO [protover [AUTH user password] [SETNAME name]]`
    pub fn hello(&mut self, index: usize, args: Args<'_>) {
        let mut version = self.out(index).version();
        if args.len() > 1 {
            version = match number::parse_i64(args.get(1)) {
                Some(2) => Version::Resp2,
                Some(3) => Version::Resp3,
                Some(_) => return self.out(index).error("NOPROTO unsupported protocol version"),
                None => {
                    let text = "ERR Protocol version is not an integer or out of range";
                    return self.out(index).error(text);
                }
            };
        }
        let (mut name, mut credentials, mut at) = (None, None, 2);
        while at < args.len() {
            let left = args.len() - at - 1;
            match word(args.get(at)).as_str() {
                "auth" if left >= 2 => {
                    credentials = Some((args.get(at + 1), args.get(at + 2)));
                    at += 3;
                }
                "setname" if left >= 1 => {
                    if !is_name(args.get(at + 1)) {
                        return self.out(index).error(BAD_NAME);
                    }
                    name = Some(args.get(at + 1).to_vec());
                    at += 2;
                }
                _ => {
                    let option = String::from_utf8_lossy(args.get(at)).into_owned();
                    let text = format!("ERR Syntax error in HELLO option '{option}'");
                    return self.out(index).error(&text);
                }
            }
        }
        if let Some((user, password)) = credentials
            && !self.comes_in(index, args.name(), user, password)
        {
            return self.out(index).error(WRONGPASS);
        }
        if self.net.get(index).is_some_and(|conn| self.core.is_shut_out(&conn.session)) {
            return self.out(index).error(NOAUTH_HELLO);
        }
        if let Some(name) = name {
            self.session(index).name = name;
        }
        self.greet(index, version);
    }

    fn greet(&mut self, index: usize, version: Version) {
        let id = self.conn(index).id;
        let role = if self.core.mastership.is_some() { "master" } else { "replica" };
        // As in Valkey: there only where it is known.
        let zone = self.core.config.zone.clone();
        let out = self.out(index);
        out.set_version(version);
        out.map(7 + usize::from(zone.is_some()));
        out.bulk(b"server");
        out.bulk(b"redis");
        out.bulk(b"version");
        out.bulk(REDIS_VERSION.as_bytes());
        out.bulk(b"proto");
        out.integer(if version == Version::Resp3 { 3 } else { 2 });
        out.bulk(b"id");
        out.integer(i64::try_from(id).unwrap_or(i64::MAX));
        out.bulk(b"mode");
        out.bulk(b"cluster");
        out.bulk(b"role");
        out.bulk(role.as_bytes());
        out.bulk(b"modules");
        out.array(0);
        if let Some(zone) = zone {
            out.bulk(b"availability_zone");
            out.bulk(zone.as_bytes());
        }
    }

    /// `AUTH [user] password`
    pub fn auth(&mut self, index: usize, args: Args<'_>) {
        let (user, password) = match args.len() {
            2 => (cairn_acl::DEFAULT, args.get(1)),
            3 => (args.get(1), args.get(2)),
            4.. => return self.out(index).error("ERR syntax error"),
            _ => return wrong_arity(self, index, "auth"),
        };
        if args.len() == 2 && self.core.doors.users.default_user().has_no_password() {
            return self.out(index).error(NO_PASSWORD);
        }
        match self.comes_in(index, args.name(), user, password) {
            true => self.out(index).ok(),
            false => self.out(index).error(WRONGPASS),
        }
    }

    /// `SELECT db`
    pub fn select(&mut self, index: usize, args: Args<'_>) {
        match number::parse_i64(args.get(1)) {
            None => self.out(index).error("ERR value is not an integer or out of range"),
            Some(0) => self.out(index).ok(),
            Some(_) => self.out(index).error("ERR SELECT is not allowed in cluster mode"),
        }
    }

    /// `QUIT`
    pub fn quit(&mut self, index: usize) {
        self.out(index).ok();
        self.conn(index).pause = Pause::Closing;
    }

    /// `RESET`
    pub fn reset(&mut self, index: usize) {
        let entry = self.core.entry();
        self.forget_watched(index);
        self.stop_listening(index);
        self.stop_tracking(index);
        self.session(index).reset(entry);
        let out = self.out(index);
        out.set_version(Version::Resp2);
        out.simple("RESET");
    }

    /// `READONLY`, `READWRITE`
    pub fn set_readonly(&mut self, index: usize, readonly: bool) {
        self.session(index).readonly = readonly;
        self.out(index).ok();
    }

    /// `ASKING`
    pub fn asking(&mut self, index: usize) {
        self.session(index).asking = true;
        self.out(index).ok();
    }

    /// The session of a connection that is being served.
    pub fn session(&mut self, index: usize) -> &mut Session {
        &mut self.conn(index).session
    }
}

impl ReplyMode {
    /// Whether the command just executed is answered, and the mode for the next.
    #[must_use]
    pub fn after_command(self) -> (bool, Self) {
        match self {
            ReplyMode::On => (true, ReplyMode::On),
            ReplyMode::Off => (false, ReplyMode::Off),
            ReplyMode::SkipThis => (false, ReplyMode::SkipNext),
            ReplyMode::SkipNext => (false, ReplyMode::On),
        }
    }
}
