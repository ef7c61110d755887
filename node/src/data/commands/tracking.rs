//! CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR: clients that keep what they have read are told
//! when it changes.

use crate::data::commands::word;
use crate::data::server::Server;
use crate::data::tracking::{Told, Tracks};
use crate::data::watchers::Watcher;
use cairn_keyspace::command::{Command, Flags};
use cairn_keyspace::{Change, changes_of};
use cairn_resp::{Args, ReplyBuf, Version, number};

/// Prefixes one client may track by.
const PREFIXES_MAX: usize = 1024;
const CHANNEL: &[u8] = b"__redis__:invalidate";

const NO_CLIENT: &str = "ERR The client ID you want redirect to does not exist";
const ONE_CLIENT: &str = "ERR A client can only redirect to a single other client";
const PREFIX_ALONE: &str = "ERR PREFIX option requires BCAST mode to be enabled";
const SWITCHED: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this \
    client, and then re-enabling it with a different mode.";
const BOTH_OPTS: &str = "ERR You can't specify both OPTIN mode and OPTOUT mode";
const OPT_SWITCHED: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for \
    this client, and then re-enabling it with a different mode.";
const OPT_AND_BCAST: &str = "ERR OPTIN and OPTOUT are not compatible with BCAST";
const NO_CACHING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking \
    mode with OPTIN or OPTOUT mode enabled";
const NO_OPT_IN: &str =
    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
const NO_OPT_OUT: &str =
    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
const SYNTAX: &str = "ERR syntax error";

/// Refuses prefixes of one client that overlap.
fn apart(prefixes: &[Vec<u8>], known: Option<&Tracks>) -> Result<(), String> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    for (n, prefix) in prefixes.iter().enumerate() {
        let mut existing = known.into_iter().flat_map(|tracks| &tracks.prefixes);
        let provided = prefixes[n + 1..].iter().find(|other| overlap(prefix, other));
        let (other, which) = match (existing.find(|other| overlap(prefix, other)), provided) {
            (Some(other), _) => (other, "an existing"),
            (None, Some(other)) => (other, "another provided"),
            (None, None) => continue,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return Err(format!(
            "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must \
             not overlap.",
            text(prefix),
            text(other)
        ));
    }
    Ok(())
}

/// Writes what a client is told, in the form that this connection understands; whether it does.
fn write_told(out: &mut ReplyBuf, listens: bool, told: &Told) -> bool {
    match told {
        Told::All => write_keys(out, listens, None),
        Told::Keys(all) => all.iter().all(|it| write_keys(out, listens, Some(&it.keys))),
    }
}

fn write_keys(out: &mut ReplyBuf, listens: bool, keys: Option<&[Vec<u8>]>) -> bool {
    match (out.version(), listens) {
        (Version::Resp3, _) => {
            out.push(2);
            out.bulk(b"invalidate");
        }
        (Version::Resp2, true) => {
            out.push(3);
            out.bulk(b"message");
            out.bulk(CHANNEL);
        }
        (Version::Resp2, false) => return false,
    }
    match keys {
        None => out.null_array(),
        Some(keys) => {
            out.array(keys.len());
            keys.iter().for_each(|key| out.bulk(key));
        }
    }
    true
}

impl Server {
    /// `CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
    pub(in crate::data) fn client_tracking(&mut self, index: usize, args: Args<'_>) {
        match self.read_tracking(index, args) {
            Err(text) => self.out(index).error(&text),
            Ok(None) => {
                self.stop_tracking(index);
                self.out(index).ok();
            }
            Ok(Some(tracks)) => {
                let who = (index, self.conn(index).id);
                self.tracking.begin(who, &tracks.prefixes);
                self.session(index).tracks = Some(Box::new(tracks));
                self.out(index).ok();
            }
        }
    }

    fn read_tracking(&self, index: usize, args: Args<'_>) -> Result<Option<Tracks>, String> {
        let (mut tracks, mut prefixes) = (Tracks::default(), Vec::new());
        let mut at = 3;
        while at < args.len() {
            let more = at + 1 < args.len();
            match word(args.get(at)).as_str() {
                "redirect" if more => {
                    if tracks.redirect.is_some() {
                        return Err(ONE_CLIENT.into());
                    }
                    at += 1;
                    tracks.redirect = Some(self.client_by_id(args.get(at))?);
                }
                "prefix" if more => {
                    at += 1;
                    prefixes.push(args.get(at).to_vec());
                }
                "bcast" => tracks.broadcast = true,
                "optin" => tracks.opt_in = true,
                "optout" => tracks.opt_out = true,
                "noloop" => tracks.no_loop = true,
                _ => return Err(SYNTAX.into()),
            }
            at += 1;
        }
        match word(args.get(2)).as_str() {
            "on" => {}
            "off" => return Ok(None),
            _ => return Err(SYNTAX.into()),
        }
        let known = self.net.get(index).and_then(|conn| conn.session.tracks.as_deref());
        check_modes(&tracks, !prefixes.is_empty(), known)?;
        if tracks.broadcast {
            apart(&prefixes, known)?;
            if prefixes.is_empty() {
                prefixes.push(Vec::new());
            }
            tracks.prefixes.extend(known.into_iter().flat_map(|known| known.prefixes.clone()));
            tracks.prefixes.extend(prefixes);
            if tracks.prefixes.len() > PREFIXES_MAX {
                return Err("ERR too many prefixes are tracked".into());
            }
        }
        Ok(Some(tracks))
    }

    fn client_by_id(&self, id: &[u8]) -> Result<Watcher, String> {
        let Some(id) = number::parse_i64(id) else {
            return Err("ERR value is not an integer or out of range".into());
        };
        let found = self.net.conns().find(|(_, conn)| i64::try_from(conn.id) == Ok(id));
        found.map(|(place, conn)| (place, conn.id)).ok_or_else(|| NO_CLIENT.into())
    }

    /// Ends tracking of a connection.
    pub(in crate::data) fn stop_tracking(&mut self, index: usize) {
        let conn = self.conn(index);
        let who = (index, conn.id);
        if let Some(tracks) = conn.session.tracks.take() {
            self.tracking.end(who, &tracks);
        }
    }

    /// `CLIENT CACHING YES | NO`
    pub(in crate::data) fn client_caching(&mut self, index: usize, args: Args<'_>) {
        let conn = self.conn(index);
        let out = &mut conn.replies.buf;
        let chosen = |it: &&mut Box<Tracks>| it.opt_in || it.opt_out;
        let Some(tracks) = conn.session.tracks.as_mut().filter(chosen) else {
            return out.error(NO_CACHING);
        };
        match word(args.get(2)).as_str() {
            "yes" if tracks.opt_in => tracks.caching = Some(true),
            "no" if tracks.opt_out => tracks.caching = Some(false),
            "yes" => return out.error(NO_OPT_IN),
            "no" => return out.error(NO_OPT_OUT),
            _ => return out.error(SYNTAX),
        }
        out.ok();
    }

    /// `CLIENT GETREDIR`
    pub(in crate::data) fn client_getredir(&mut self, index: usize) {
        let redirect = redirect_of(self.session(index).tracks.as_deref());
        self.out(index).integer(redirect);
    }

    /// `CLIENT TRACKINGINFO`
    pub(in crate::data) fn client_trackinginfo(&mut self, index: usize) {
        let conn = self.conn(index);
        let (tracks, out) = (conn.session.tracks.as_deref(), &mut conn.replies.buf);
        let mut flags = vec![if tracks.is_some() { "on" } else { "off" }];
        if let Some(it) = tracks {
            let all = [
                (it.broadcast, "bcast"),
                (it.opt_in, "optin"),
                (it.opt_in && it.caching == Some(true), "caching-yes"),
                (it.opt_out, "optout"),
                (it.opt_out && it.caching == Some(false), "caching-no"),
                (it.no_loop, "noloop"),
                (it.broken, "broken_redirect"),
            ];
            flags.extend(all.iter().filter(|(set, _)| *set).map(|(_, name)| name));
        }
        out.map(3);
        out.bulk(b"flags");
        out.set(flags.len());
        flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
        out.bulk(b"redirect");
        out.integer(redirect_of(tracks));
        out.bulk(b"prefixes");
        let prefixes = tracks.map(|it| &it.prefixes);
        out.array(prefixes.map_or(0, |all| all.len()));
        prefixes.into_iter().flatten().for_each(|prefix| out.bulk(prefix));
    }

    /// What CLIENT CACHING has said holds for one command, or one transaction.
    pub(in crate::data) fn forget_caching(
        &mut self,
        index: usize,
        command: Option<&'static Command>,
    ) {
        let session = self.session(index);
        let Some(tracks) = &mut session.tracks else { return };
        let said = command.is_some_and(|command| command.name == "client");
        if !said && session.multi.is_none() {
            tracks.caching = None;
        }
    }

    /// Remembers what a command has read, for a client that tracks.
    pub(in crate::data) fn remember_read(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
    ) {
        if !command.flags.has(Flags::READONLY) {
            return;
        }
        let Some(conn) = self.net.conn(index) else { return };
        if !conn.session.tracks.as_ref().is_some_and(|tracks| tracks.remembers()) {
            return;
        }
        let who = (index, conn.id);
        command.keys_of(args).for_each(|key| self.tracking.read(who, key));
    }

    /// Entries were written, or applied: tells those who watch, wait for or keep their keys.
    /// `writer` is the client that wrote them.
    #[cold]
    pub(in crate::data) fn touched(&mut self, body: &[u8], writer: Option<usize>) {
        let writer = writer.and_then(|index| Some((index, self.net.get(index)?)));
        let silent = writer.and_then(|(index, conn)| {
            let quiet = conn.session.tracks.as_ref().is_some_and(|tracks| tracks.no_loop);
            quiet.then_some((index, conn.id))
        });
        let mut told = Vec::new();
        let (watchers, blocked) = (&mut self.watchers, &mut self.blocked);
        let tracking = &mut self.tracking;
        let visited = changes_of(body, |change| match change {
            Change::Key(key) => {
                told.extend(watchers.touched(key));
                blocked.changed(key);
                if !tracking.is_empty() {
                    tracking.changed(key, silent);
                }
            }
            Change::All => {
                told.extend(watchers.all_touched());
                blocked.all_changed();
                tracking.all_changed();
            }
        });
        debug_assert!(visited.is_ok(), "what was written or applied is well-formed");
        self.tell_watchers(&told);
    }

    /// Tells clients that track what has changed since this was last done.
    pub(in crate::data) fn tell_trackers(&mut self) {
        for ((index, id), told) in self.tracking.take_pending() {
            let Some(conn) = self.net.conn(index).filter(|conn| conn.id == id) else { continue };
            let Some(tracks) = &mut conn.session.tracks else { continue };
            let Some((place, other)) = tracks.redirect else {
                self.tell_tracker(index, &told);
                continue;
            };
            let there = self.net.conn(place).is_some_and(|conn| conn.id == other);
            if there {
                self.tell_tracker(place, &told);
            } else {
                self.tell_broken(index, other);
            }
        }
    }

    fn tell_tracker(&mut self, index: usize, told: &Told) {
        let conn = self.conn(index);
        let mut frame = ReplyBuf::new(conn.replies.buf.version());
        if write_told(&mut frame, conn.session.listens.is_some(), told) {
            conn.tell(frame.as_bytes());
            self.net.list_flush(index);
        }
    }

    /// The client that was to be told instead is gone: says so, once.
    fn tell_broken(&mut self, index: usize, other: u64) {
        let conn = self.conn(index);
        let Some(tracks) = conn.session.tracks.as_mut().filter(|tracks| !tracks.broken) else {
            return;
        };
        tracks.broken = true;
        if conn.replies.buf.version() == Version::Resp3 {
            let mut frame = ReplyBuf::new(Version::Resp3);
            frame.push(2);
            frame.bulk(b"tracking-redir-broken");
            frame.integer(i64::try_from(other).unwrap_or(i64::MAX));
            conn.tell(frame.as_bytes());
            self.net.list_flush(index);
        }
    }
}

/// The client that is told instead: -1 without tracking, 0 if there is none.
pub(super) fn redirect_of(tracks: Option<&Tracks>) -> i64 {
    let id = |(_, id): Watcher| i64::try_from(id).unwrap_or(i64::MAX);
    tracks.map_or(-1, |tracks| tracks.redirect.map_or(0, id))
}

fn check_modes(tracks: &Tracks, prefixed: bool, known: Option<&Tracks>) -> Result<(), String> {
    if prefixed && !tracks.broadcast {
        return Err(PREFIX_ALONE.into());
    }
    if known.is_some_and(|known| known.broadcast != tracks.broadcast) {
        return Err(SWITCHED.into());
    }
    if tracks.broadcast && (tracks.opt_in || tracks.opt_out) {
        return Err(OPT_AND_BCAST.into());
    }
    if tracks.opt_in && tracks.opt_out {
        return Err(BOTH_OPTS.into());
    }
    let switched =
        |known: &Tracks| (tracks.opt_in && known.opt_out) || (tracks.opt_out && known.opt_in);
    if known.is_some_and(switched) {
        return Err(OPT_SWITCHED.into());
    }
    Ok(())
}
