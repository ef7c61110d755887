//! Keys that are written once, before slots move, and that must be as they were at the end: in one
//! group, and whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::client::{Answer, Client, Connection, Frame, Patience, slot_of};
use cairn_harness::clock::wait;
use cairn_harness::cluster::Cluster;

/// How many there are: more than slots, so that few slots carry nothing.
pub const KEYS: usize = 24_000;
/// What each value has besides its key's number.
const PADDING_BYTES: usize = 400;
/// How many are asked for in one piece.
const AT_ONCE: usize = 200;
/// How long writing or reading all of them may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What one node is given to list them.
const PATIENCE: Duration = Duration::from_secs(10);

fn key(number: usize) -> String {
    format!("kept:{number}")
}

fn value(number: usize) -> String {
    format!("{number}:{}", "x".repeat(PADDING_BYTES))
}

/// Writes all of them.
///
/// # Errors
/// If that takes too long.
pub fn write(seeds: &[String]) -> Result<()> {
    let done = |_: usize, frame: &Frame| *frame == Frame::Simple("OK".into());
    let missed = all(seeds, |number| vec!["SET".into(), key(number), value(number)], done);
    ensure!(missed == 0, "{missed} of {KEYS} keys could not be written in {LIMIT:?}");
    Ok(())
}

/// How many are not as they were written, read at the masters that have their slots.
pub fn lost(seeds: &[String]) -> usize {
    let same = |number: usize, frame: &Frame| frame.text() == Some(value(number));
    all(seeds, |number| vec!["GET".into(), key(number)], same)
}

/// How many more of them the groups' masters show than there are.
///
/// # Errors
/// If a group has no master, or it does not answer.
pub fn twice(cluster: &Cluster) -> Result<usize> {
    let mut shown = 0;
    for group in cluster.status()?.groups {
        let master = group.master.with_context(|| format!("{} has no master", group.id))?;
        let node = cluster.nodes().iter().find(|node| node.id == master);
        let address = node.with_context(|| format!("there is no node {master}"))?.redis();
        let frame = Connection::open(&address, PATIENCE, PATIENCE)?.call(&[b"KEYS", b"kept:*"])?;
        shown += frame.elements().with_context(|| format!("KEYS: {frame:?}"))?.len();
    }
    Ok(shown.saturating_sub(KEYS))
}

/// Sends a command about each key, many at once; how many answers are not `right`.
fn all(
    seeds: &[String],
    command: impl Fn(usize) -> Vec<String>,
    right: impl Fn(usize, &Frame) -> bool,
) -> usize {
    let deadline = Instant::now() + LIMIT;
    let mut client = Client::new(seeds, Patience::default());
    client.wait_covered(PATIENCE);
    let mut by_master: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for number in 0..KEYS {
        let master = client.routes().master(slot_of(key(number).as_bytes()));
        by_master.entry(master.unwrap_or_default().to_owned()).or_default().push(number);
    }
    let mut missed = 0;
    for (master, numbers) in by_master {
        let mut connection = Connection::open(&master, PATIENCE, PATIENCE).ok();
        for part in numbers.chunks(AT_ONCE) {
            let answers = connection.as_mut().and_then(|it| together(it, part, &command));
            for (at, number) in part.iter().enumerate() {
                let answer = answers.as_ref().and_then(|answers| answers.get(at));
                if answer.is_some_and(|frame| right(*number, frame)) {
                    continue;
                }
                // It may have been refused; nobody else writes these keys, so it is asked again.
                let asked = asked(&mut client, *number, &command(*number), deadline);
                missed += usize::from(!asked.is_some_and(|frame| right(*number, &frame)));
            }
        }
    }
    missed
}

fn together(
    connection: &mut Connection,
    numbers: &[usize],
    command: impl Fn(usize) -> Vec<String>,
) -> Option<Vec<Frame>> {
    let commands: Vec<Vec<String>> = numbers.iter().map(|number| command(*number)).collect();
    let words: Vec<Vec<&[u8]>> = commands.iter().map(|words| bytes(words)).collect();
    let commands: Vec<&[&[u8]]> = words.iter().map(Vec::as_slice).collect();
    connection.call_all(&commands).ok()
}

/// Asks until there is an answer.
fn asked(
    client: &mut Client,
    number: usize,
    command: &[String],
    deadline: Instant,
) -> Option<Frame> {
    loop {
        if let Answer::Reply(frame) = client.call(&key(number), &bytes(command)) {
            return Some(frame);
        }
        if Instant::now() >= deadline {
            return None;
        }
        wait(Duration::from_millis(20));
    }
}

fn bytes(words: &[String]) -> Vec<&[u8]> {
    words.iter().map(|word| word.as_bytes()).collect()
}
