//! CLIENT: who is connected, and what a connection says about itself.

use crate::data::channels::Scope;
use crate::data::commands::connection::{BAD_NAME, is_name};
use crate::data::commands::kill::Type;
use crate::data::commands::tracking::redirect_of;
use crate::data::commands::{help, word};
use crate::data::conn::{Conn, Pause};
use crate::data::server::Server;
use crate::data::session::ReplyMode;
use cairn_logic::time::Instant;
use cairn_resp::{Args, Version, number};
use std::fmt::Write;

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port> | ID <id> | ADDR <ip:port> | LADDR <ip:port> | TYPE <type> | USER <user> | \
     SKIPME (yes|no)",
    "    Kill connections.",
    "LIST [ID <id> ...] [TYPE (normal|master|replica|pubsub)]",
    "    Return information about client connections.",
    "NO-EVICT (ON|OFF)",
    "    Accepted for compatibility.",
    "NO-TOUCH (ON|OFF)",
    "    Accepted for compatibility.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <lib-name|lib-ver> <value>",
    "    Set information about the client library.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "HELP",
    "    Print this help.",
];

impl Server {
    /// `CLIENT subcommand …`
    pub fn client(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "id" => {
                let id = i64::try_from(self.conn(index).id).unwrap_or(i64::MAX);
                self.out(index).integer(id);
            }
            "getname" => {
                let name = self.session(index).name.clone();
                match name.is_empty() {
                    true => self.out(index).null(),
                    false => self.out(index).bulk(&name),
                }
            }
            "setname" => self.client_setname(index, args.get(2)),
            "setinfo" => self.client_setinfo(index, args),
            "info" => {
                let now = self.core.now;
                let line = describe(self.conn(index), now);
                self.out(index).verbatim(*b"txt", line.as_bytes());
            }
            "list" => self.client_list(index, args),
            "kill" => self.client_kill(index, args),
            "no-evict" | "no-touch" => match word(args.get(2)).as_str() {
                "on" | "off" => self.out(index).ok(),
                _ => self.out(index).error("ERR syntax error"),
            },
            "caching" => self.client_caching(index, args),
            "getredir" => self.client_getredir(index),
            "tracking" => self.client_tracking(index, args),
            "trackinginfo" => self.client_trackinginfo(index),
            "pause" => self.client_pause(index, args),
            "unpause" => self.client_unpause(index),
            "unblock" => self.client_unblock(index, args),
            "reply" => self.client_reply(index, args.get(2)),
            // Unknown ones were refused before.
            _ => help(self, index, HELP),
        }
    }

    fn client_setname(&mut self, index: usize, name: &[u8]) {
        if !is_name(name) {
            return self.out(index).error(BAD_NAME);
        }
        self.session(index).name = name.to_vec();
        self.out(index).ok();
    }

    fn client_setinfo(&mut self, index: usize, args: Args<'_>) {
        let (option, value) = (word(args.get(2)), args.get(3));
        if !is_name(value) {
            let text =
                format!("ERR {option} cannot contain spaces, newlines or special characters.");
            return self.out(index).error(&text);
        }
        match option.as_str() {
            "lib-name" => self.session(index).library = value.to_vec(),
            "lib-ver" => self.session(index).library_version = value.to_vec(),
            _ => {
                let text = format!("ERR Unrecognized option '{option}'");
                return self.out(index).error(&text);
            }
        }
        self.out(index).ok();
    }

    fn client_list(&mut self, index: usize, args: Args<'_>) {
        let mut ids: Option<Vec<u64>> = None;
        let mut kind = None;
        match (args.len(), args.len() > 2 && word(args.get(2)) == "id") {
            (2, _) => {}
            (4.., true) => {
                let mut wanted = Vec::new();
                for arg in args.from(3).iter() {
                    let id = number::parse_i64(arg).and_then(|id| u64::try_from(id).ok());
                    let Some(id) = id.filter(|id| *id > 0) else {
                        return self.out(index).error("ERR Invalid client ID");
                    };
                    wanted.push(id);
                }
                ids = Some(wanted);
            }
            (4, false) if word(args.get(2)) == "type" => match Type::named(args.get(3)) {
                Ok(named) => kind = Some(named),
                Err(text) => return self.out(index).error(&text),
            },
            _ => return self.out(index).error("ERR syntax error"),
        }
        let now = self.core.now;
        let mut text = String::new();
        for (_, conn) in self.net.conns() {
            let of_type = kind.is_none_or(|kind| kind == Type::of(conn));
            if of_type && ids.as_ref().is_none_or(|ids| ids.contains(&conn.id)) {
                text.push_str(&describe(conn, now));
            }
        }
        self.out(index).verbatim(*b"txt", text.as_bytes());
    }

    fn client_reply(&mut self, index: usize, mode: &[u8]) {
        match word(mode).as_str() {
            "on" => {
                self.session(index).reply = ReplyMode::On;
                self.out(index).ok();
            }
            "off" => self.session(index).reply = ReplyMode::Off,
            "skip" => {
                let session = self.session(index);
                if session.reply == ReplyMode::On {
                    session.reply = ReplyMode::SkipThis;
                }
            }
            _ => self.out(index).error("ERR syntax error"),
        }
    }
}

/// The line of CLIENT LIST for a connection.
pub(in crate::data) fn describe(conn: &Conn, now: Instant) -> String {
    let mut line = String::with_capacity(256);
    let session = &conn.session;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut flags = String::new();
    for (set, letter) in [
        (session.listens.is_some(), 'P'),
        (session.tracks.is_some(), 't'),
        (session.tracks.as_ref().is_some_and(|tracks| tracks.broken), 'R'),
        (session.tracks.as_ref().is_some_and(|tracks| tracks.broadcast), 'B'),
        (session.multi.is_some(), 'x'),
        (session.watched.as_ref().is_some_and(|watched| watched.dirty), 'd'),
        (session.readonly, 'r'),
        (conn.pause == Pause::Closing, 'c'),
        (matches!(conn.pause, Pause::Copies { .. } | Pause::Blocked), 'b'),
    ] {
        if set {
            flags.push(letter);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let multi = session.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i64);
    let multi_bytes = session.multi.as_ref().map_or(0, |multi| multi.bytes);
    let listens = |scope| session.listens.as_ref().map_or(0, |it| it.of(scope).len());
    let local = conn.local.map(|local| local.to_string()).unwrap_or_default();
    let (qbuf, out) = (conn.input_bytes(), conn.replies.pending_bytes());
    let resp = if conn.replies.buf.version() == Version::Resp3 { 3 } else { 2 };
    let written = write!(
        line,
        "id={} addr={} laddr={local} fd={} name={} age={} idle={} flags={flags} db=0 \
         sub={} psub={} ssub={} multi={multi} watch={} qbuf={qbuf} qbuf-free=0 argv-mem=0 \
         multi-mem={multi_bytes} rbs=0 rbp=0 obl={out} oll=0 omem={out} tot-mem={} events=r \
         cmd={} user={} redir={} resp={resp} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        conn.id,
        conn.peer,
        std::os::fd::AsRawFd::as_raw_fd(&conn.stream),
        text(&session.name),
        now.since(conn.since).as_secs(),
        now.since(conn.active).as_secs(),
        listens(Scope::Channel),
        listens(Scope::Pattern),
        listens(Scope::Shard),
        session.watched.as_ref().map_or(0, |watched| watched.keys.len()),
        qbuf + out + multi_bytes + size_of::<Conn>(),
        session.last_command,
        text(session.user()),
        redirect_of(session.tracks.as_deref()),
        text(&session.library),
        text(&session.library_version),
        conn.read_bytes,
        conn.written_bytes,
        conn.commands,
    );
    written.expect("writing to a string succeeds");
    line.push('\n');
    line
}
