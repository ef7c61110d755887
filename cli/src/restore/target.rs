//! The keyspace that is written into: ordinary commands to the masters of its slots.
//!
//! A connection that breaks, or a master that is one no longer, is no end: what was not answered is
//! said again to the master of then. Commands are said so that saying them twice comes to the same
//! ([`Unanswered`]).

mod unanswered;

use super::tls::Tls;
use crate::plane::{Duplex, Plane};
use crate::print;
use crate::view::Topology;
use anyhow::{Context, Result, bail, ensure};
use cairn_archive::State;
use cairn_keyspace::{Export, commands_of, slot_of};
use cairn_logic::ids::{EntryId, GroupId, NodeId, SLOTS};
use cairn_settings::Port;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::time::timeout;
use unanswered::Unanswered;

/// Commands are sent once so many bytes of them wait, then their answers are read.
const SEND_BYTES: usize = 512 << 10;
/// Bytes of the data that are made into commands at once.
const PORTION_BYTES: usize = 1 << 20;
/// A master that says nothing for so long is given up.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a group may have no master that answers well before the restore is given up.
const AWAY_MAX: Duration = Duration::from_secs(120);
/// Between two tries; what was on its way to a process that lives on has arrived by then.
const PAUSE: Duration = Duration::from_secs(1);
/// Answers that say: nothing was executed, ask later or somebody else; or: it may not remain.
const LATER: [&str; 9] = [
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "NOACK",
    "NOREPLICAS",
];

/// How to come in.
pub struct Entry {
    /// Who writes, if the keyspace has a password.
    pub login: Option<Login>,
    /// If its doors speak TLS.
    pub tls: Option<Tls>,
}

/// Who writes.
pub struct Login {
    /// If the keyspace has users.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

/// The keyspace that is written into.
pub struct Target {
    plane: Arc<Plane>,
    name: String,
    entry: Entry,
    /// The group of each slot.
    owners: Vec<GroupId>,
    groups: BTreeMap<GroupId, Unanswered>,
    doors: BTreeMap<GroupId, Door>,
}

/// A connection to a master.
struct Door {
    stream: BufStream<Box<dyn Duplex>>,
}

/// Why nothing came of commands.
enum Fault {
    /// Another try may do.
    Later(anyhow::Error),
    /// None will.
    Never(anyhow::Error),
}

impl Target {
    /// Connects to all masters of the keyspace `name`.
    pub async fn open(plane: Arc<Plane>, name: &str, entry: Entry) -> Result<Self> {
        let topology = Topology::read(&plane).await?;
        let owned = topology.slots.get(name).with_context(|| {
            let names: Vec<_> = topology.slots.keys().map(String::as_str).collect();
            format!("there is no keyspace {name:?}; there are {}", names.join(", "))
        })?;
        let mut owners = Vec::with_capacity(usize::from(SLOTS));
        let (mut groups, mut doors) = (BTreeMap::new(), BTreeMap::new());
        for range in owned.ranges() {
            let gap = usize::from(range.first.get()) != owners.len();
            ensure!(!gap, "slot {} of keyspace {name} has no owner", owners.len());
            owners.resize(usize::from(range.last.get()) + 1, range.group.clone());
            if doors.contains_key(&range.group) {
                continue;
            }
            let door = Door::open(&plane, &topology, &range.group, &entry).await?;
            doors.insert(range.group.clone(), door);
            groups.insert(range.group.clone(), Unanswered::default());
        }
        ensure!(owners.len() == usize::from(SLOTS), "keyspace {name} does not own all slots");
        Ok(Self { plane, name: name.to_owned(), entry, owners, groups, doors })
    }

    /// Looks that the keyspace holds nothing.
    pub async fn ensure_empty(&mut self) -> Result<()> {
        for (group, door) in &mut self.doors {
            let size = door.call(&[b"DBSIZE"]).await?;
            let name = &self.name;
            ensure!(
                size == ":0",
                "keyspace {name} is not empty: {group} has {} keys; restore into an empty one",
                size.trim_start_matches(':')
            );
        }
        Ok(())
    }

    /// Writes a group's data; all of it is answered when this returns.
    pub async fn write(&mut self, state: &State) -> Result<()> {
        let mut export = Export::new(PORTION_BYTES);
        let mut more = true;
        while more {
            more = export.advance(state.keyspace(), EntryId::ZERO, 4096);
            for (_, portion) in export.take() {
                let (owners, groups) = (&self.owners, &mut self.groups);
                let read = commands_of(&portion.records, |key, words| {
                    // Every master has its own functions.
                    if words[0] == b"FUNCTION" {
                        return groups.values_mut().for_each(|it| it.add(key, words));
                    }
                    let group = &owners[usize::from(slot_of(key).get())];
                    if let Some(unanswered) = groups.get_mut(group) {
                        unanswered.add(key, words);
                    }
                });
                read.context("the archived data cannot be read")?;
                self.flush(SEND_BYTES).await?;
            }
        }
        self.flush(1).await
    }

    /// Sends what waits for each group for which so many bytes do, until it is answered well.
    async fn flush(&mut self, bytes_min: usize) -> Result<()> {
        let due = self.groups.iter().filter(|(_, waits)| waits.bytes().len() >= bytes_min);
        for group in due.map(|(group, _)| group.clone()).collect::<Vec<_>>() {
            let mut since: Option<Instant> = None;
            loop {
                let waits = self.groups.get(&group).expect("it was just there");
                let sent = match self.doors.get_mut(&group) {
                    Some(door) if since.is_none() => door.say(waits).await,
                    _ => self.say_again(&group).await,
                };
                match sent {
                    Ok(()) => break,
                    Err(Fault::Never(error)) => return Err(error.context(format!("group {group}"))),
                    Err(Fault::Later(error)) => {
                        let began = *since.get_or_insert_with(Instant::now);
                        if began.elapsed() >= AWAY_MAX {
                            let limit = AWAY_MAX.as_secs();
                            return Err(
                                error.context(format!("group {group} took nothing for {limit} s"))
                            );
                        }
                        print::line(format_args!("{group}: {error:#}; trying again"));
                        self.doors.remove(&group);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            self.groups.get_mut(&group).expect("it was just there").answered();
        }
        Ok(())
    }

    /// Says what was not answered to the group's master of now.
    async fn say_again(&mut self, group: &GroupId) -> Result<(), Fault> {
        let topology = Topology::read(&self.plane).await.map_err(Fault::Later)?;
        let opened = Door::open(&self.plane, &topology, group, &self.entry).await;
        let mut door = opened.map_err(Fault::Later)?;
        let waits = self.groups.get(group).expect("it is one of the keyspace's");
        if let Some((key, items)) = waits.open_list() {
            door.cut(key, items).await?;
        }
        door.say(waits).await?;
        self.doors.insert(group.clone(), door);
        Ok(())
    }

    /// The digest of all that the masters hold.
    pub async fn digest(&self) -> Result<u64> {
        let topology = Topology::read(&self.plane).await?;
        let mut sum = 0_u64;
        for group in self.groups.keys() {
            let master = master(&topology, group)?;
            let node = self.plane.nodes().iter().find(|node| node.id == *master);
            let node = node.with_context(|| format!("{master} is not known here"))?;
            let status = self.plane.status_with_digest(node).await?;
            let log = status.logs.iter().find(|log| log.group == group.as_str());
            let log = log.with_context(|| format!("{master} has nothing of {group}"))?;
            let digest = log.digest.with_context(|| format!("{master} made no digest"))?;
            sum = sum.wrapping_add(digest);
        }
        Ok(sum)
    }
}

fn master<'a>(topology: &'a Topology, group: &GroupId) -> Result<&'a NodeId> {
    let master = topology.group(group)?.master.as_ref();
    master.with_context(|| format!("{group} has no master"))
}

impl Door {
    /// The door of the group's master, come in.
    async fn open(
        plane: &Plane,
        topology: &Topology,
        group: &GroupId,
        entry: &Entry,
    ) -> Result<Self> {
        let id = master(topology, group)?;
        let node = plane.nodes().iter().find(|node| node.id == *id);
        let node = node.with_context(|| format!("{id} is not known here"))?;
        let mut stream = plane.connect(node, Port::Client).await?;
        if let Some(tls) = &entry.tls {
            let host = node.host.as_deref().unwrap_or("127.0.0.1");
            stream = tls.speak(stream, host).await.with_context(|| format!("TLS with {id}"))?;
        }
        let mut door = Self { stream: BufStream::new(stream) };
        if let Some(login) = &entry.login {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(login.user.as_deref().map(str::as_bytes));
            words.push(login.password.as_bytes());
            let answer = door.call(&words).await?;
            ensure!(answer == "+OK", "{id} does not let us in: {answer}");
        }
        let answer = door.call(&[b"PING"]).await?;
        ensure!(answer == "+PONG", "{id} does not let us in: {}", answer.trim_start_matches('-'));
        Ok(door)
    }

    async fn call(&mut self, words: &[&[u8]]) -> Result<String> {
        let mut command = Vec::new();
        unanswered::write(&mut command, words);
        self.send(&command).await?;
        self.answer().await
    }

    /// Sends bytes piece by piece: a slow master has time for each.
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(SEND_BYTES) {
            let sent = timeout(ANSWER_MAX, self.stream.write_all(piece)).await;
            sent.context("a master takes nothing")??;
        }
        timeout(ANSWER_MAX, self.stream.flush()).await.context("a master takes nothing")??;
        Ok(())
    }

    async fn answer(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut line);
        timeout(ANSWER_MAX, read).await.context("a master does not answer")??;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            bail!(
                "a master closed the connection; if its clients speak TLS, say whom to trust \
                 (--tls-ca)"
            );
        };
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// Sends what waits; every answer must be a good one.
    async fn say(&mut self, waits: &Unanswered) -> Result<(), Fault> {
        self.send(waits.bytes()).await.map_err(Fault::Later)?;
        for _ in 0..waits.commands() {
            let answer = self.answer().await.map_err(Fault::Later)?;
            if let Some(error) = answer.strip_prefix('-') {
                return Err(Fault::of(error));
            }
        }
        Ok(())
    }

    /// Takes from the end of a list what is more than `items`: it came before an answer did.
    async fn cut(&mut self, key: &[u8], items: u64) -> Result<(), Fault> {
        let length = self.call(&[b"LLEN", key]).await.map_err(Fault::Later)?;
        let Some(length) = length.strip_prefix(':').and_then(|text| text.parse::<u64>().ok())
        else {
            return Err(Fault::of(length.trim_start_matches('-')));
        };
        let Some(more) = length.checked_sub(items) else {
            let gone =
                anyhow::anyhow!("{} items of a list that was written are gone", items - length);
            return Err(Fault::Never(gone));
        };
        if more == 0 {
            return Ok(());
        }
        let count = more.to_string();
        let mut command = Vec::new();
        unanswered::write(&mut command, &[b"RPOP", key, count.as_bytes()]);
        self.send(&command).await.map_err(Fault::Later)?;
        self.answer_list().await.map_err(Fault::Later)
    }

    /// Reads a list of texts away.
    async fn answer_list(&mut self) -> Result<()> {
        let head = self.answer().await?;
        let count = head.strip_prefix('*').and_then(|text| text.parse::<u64>().ok());
        for _ in 0..count.with_context(|| format!("a master answers {head:?}"))? {
            let head = self.answer().await?;
            let bytes = head.strip_prefix('$').and_then(|text| text.parse::<u64>().ok());
            let bytes = bytes.with_context(|| format!("a master answers {head:?}"))? + 2;
            let mut text = (&mut self.stream).take(bytes);
            let mut nowhere = tokio::io::sink();
            let copied = tokio::io::copy(&mut text, &mut nowhere);
            let copied =
                timeout(ANSWER_MAX, copied).await.context("a master does not answer")??;
            ensure!(copied == bytes, "a master closed the connection");
        }
        Ok(())
    }
}

impl Fault {
    /// What a master's refusal means.
    fn of(error: &str) -> Self {
        let word = error.split(' ').next().unwrap_or_default();
        let why = anyhow::anyhow!("a master refuses: {error}");
        if LATER.contains(&word) { Self::Later(why) } else { Self::Never(why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_passes_is_tried_again_and_no_other() {
        for error in ["MOVED 7 127.0.0.1:1", "CLUSTERDOWN no master", "NOACK not confirmed"] {
            assert!(matches!(Fault::of(error), Fault::Later(_)), "{error}");
        }
        for error in ["OOM command not allowed", "WRONGTYPE", "NOAUTH", "MISCONF disk"] {
            assert!(matches!(Fault::of(error), Fault::Never(_)), "{error}");
        }
    }
}
