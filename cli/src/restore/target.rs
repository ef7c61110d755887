//! The keyspace that is written into: ordinary commands to the masters of its slots.

use crate::plane::{Duplex, Plane};
use crate::view::Topology;
use anyhow::{Context, Result, bail, ensure};
use cairn_archive::State;
use cairn_keyspace::{Export, commands_of, slot_of};
use cairn_logic::ids::{GroupId, NodeId, SLOTS};
use cairn_settings::Port;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::time::timeout;

/// Commands are sent once so many bytes of them wait, then their answers are read.
const SEND_BYTES: usize = 512 << 10;
/// Bytes of the data that are made into commands at once.
const PORTION_BYTES: usize = 1 << 20;
/// A master that says nothing for so long is given up.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a digest of a group's data may take.
const DIGEST_MAX: Duration = Duration::from_secs(120);

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
    /// The group of each slot.
    owners: Vec<GroupId>,
    masters: BTreeMap<GroupId, NodeId>,
    doors: BTreeMap<GroupId, Door>,
}

/// A connection to a master.
struct Door {
    stream: BufStream<Box<dyn Duplex>>,
    waiting: Vec<u8>,
    answers: usize,
}

impl Target {
    /// Connects to all masters of the keyspace `name`.
    pub async fn open(plane: Arc<Plane>, name: &str, login: Option<Login>) -> Result<Self> {
        let topology = Topology::read(&plane).await?;
        let owned = topology.slots.get(name).with_context(|| {
            let names: Vec<_> = topology.slots.keys().map(String::as_str).collect();
            format!("there is no keyspace {name:?}; there are {}", names.join(", "))
        })?;
        let mut owners = Vec::with_capacity(usize::from(SLOTS));
        let (mut masters, mut doors) = (BTreeMap::new(), BTreeMap::new());
        for range in owned.ranges() {
            let gap = usize::from(range.first.get()) != owners.len();
            ensure!(!gap, "slot {} of keyspace {name} has no owner", owners.len());
            owners.resize(usize::from(range.last.get()) + 1, range.group.clone());
            if doors.contains_key(&range.group) {
                continue;
            }
            let master = topology.group(&range.group)?.master.clone();
            let master = master.with_context(|| format!("{} has no master", range.group))?;
            let door = Door::open(&plane, &master, login.as_ref()).await?;
            doors.insert(range.group.clone(), door);
            masters.insert(range.group.clone(), master);
        }
        ensure!(owners.len() == usize::from(SLOTS), "keyspace {name} does not own all slots");
        Ok(Self { plane, name: name.to_owned(), owners, masters, doors })
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
            more = export.advance(state.keyspace(), 4096);
            for portion in export.take() {
                let (owners, doors) = (&self.owners, &mut self.doors);
                let read = commands_of(&portion.records, |key, words| {
                    let group = &owners[usize::from(slot_of(key).get())];
                    if let Some(door) = doors.get_mut(group) {
                        door.add(words);
                    }
                });
                read.context("the archived data cannot be read")?;
                for door in self.doors.values_mut() {
                    if door.waiting.len() >= SEND_BYTES {
                        door.flush().await?;
                    }
                }
            }
        }
        for door in self.doors.values_mut() {
            door.flush().await?;
        }
        Ok(())
    }

    /// The digest of all that the masters hold.
    pub async fn digest(&self) -> Result<u64> {
        let mut sum = 0_u64;
        for (group, master) in &self.masters {
            let node = self.plane.nodes().iter().find(|node| node.id == *master);
            let node = node.with_context(|| format!("{master} is not known here"))?;
            let status = self.plane.status_within(node, DIGEST_MAX).await?;
            let log = status.logs.iter().find(|log| log.group == group.as_str());
            let log = log.with_context(|| format!("{master} has nothing of {group}"))?;
            sum = sum.wrapping_add(log.digest);
        }
        Ok(sum)
    }
}

impl Door {
    async fn open(plane: &Plane, id: &NodeId, login: Option<&Login>) -> Result<Self> {
        let node = plane.nodes().iter().find(|node| node.id == *id);
        let node = node.with_context(|| format!("{id} is not known here"))?;
        let stream = BufStream::new(plane.connect(node, Port::Client).await?);
        let mut door = Self { stream, waiting: Vec::new(), answers: 0 };
        if let Some(login) = login {
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

    fn add(&mut self, words: &[&[u8]]) {
        let out = &mut self.waiting;
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        self.answers += 1;
    }

    async fn call(&mut self, words: &[&[u8]]) -> Result<String> {
        self.add(words);
        self.send().await?;
        self.answers = 0;
        self.answer().await
    }

    /// Sends what waits, piece by piece: a slow master has time for each.
    async fn send(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        for piece in waiting.chunks(SEND_BYTES) {
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
            bail!("a master closed the connection, or speaks TLS to clients");
        };
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// Sends what waits; every answer must be a good one.
    async fn flush(&mut self) -> Result<()> {
        self.send().await?;
        for _ in 0..std::mem::take(&mut self.answers) {
            let answer = self.answer().await?;
            if let Some(error) = answer.strip_prefix('-') {
                bail!("a master refuses: {error}");
            }
        }
        Ok(())
    }
}
