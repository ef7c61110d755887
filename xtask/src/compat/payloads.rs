//! What a round has left, carried over by DUMP and RESTORE in both directions: whoever gets it must
//! answer as the one it came from.

use anyhow::{Result, ensure};
use cairn_resp::{Reply, Version};

use super::ours::Ours;
use super::redis::Redis;
use super::{Line, compare, generate, show};

fn words(words: &[&[u8]]) -> Line {
    words.iter().map(|word| word.to_vec()).collect()
}

fn dump(key: &[u8]) -> Line {
    words(&[b"DUMP", key])
}

fn restore(key: &[u8], payload: &[u8]) -> Line {
    words(&[b"RESTORE", key, b"0", payload])
}

/// What reads everything, but for times to live, which payloads do not have.
fn readers() -> Vec<Line> {
    let mut lines = Vec::new();
    generate::read_all(&mut lines);
    lines.retain(|line| line[0] != b"PTTL");
    lines
}

/// Carries the data of a round over; how many payloads there were.
///
/// # Errors
/// If one is refused, or what came over answers otherwise.
pub fn cross(redis: &mut Redis, ours: &mut Ours, version: Version) -> Result<usize> {
    let (keys, readers) = (generate::keys(), readers());
    let dumps: Vec<Line> = keys.iter().map(|key| dump(key)).collect();
    let theirs = redis.replies(&dumps)?;
    let want = redis.replies(&readers)?;
    let mut taken = Ours::new(version);
    for (key, reply) in keys.iter().zip(&theirs) {
        if let Reply::Bulk(payload) = reply {
            let reply = taken.reply(&restore(key, payload))?;
            let (key, reply) = (key.escape_ascii(), show::reply(&reply));
            ensure!(reply == "+OK", "RESTORE {key} here: {reply}: {}", payload.escape_ascii());
        }
    }
    let got = readers.iter().map(|line| taken.reply(line)).collect::<Result<Vec<_>>>()?;
    same(&readers, &got, &want, "from redis-server")?;
    let own = dumps.iter().map(|line| ours.reply(line)).collect::<Result<Vec<_>>>()?;
    let want = readers.iter().map(|line| ours.reply(line)).collect::<Result<Vec<_>>>()?;
    let mut lines = Vec::new();
    for (key, reply) in keys.iter().zip(&own) {
        if let Reply::Bulk(payload) = reply {
            lines.push(restore(key, payload));
        }
    }
    let (mut replies, _) = redis.round(&lines, version)?;
    replies.retain(|reply| *reply != Reply::Simple("OK".to_owned()));
    ensure!(replies.is_empty(), "RESTORE at redis-server: {}", show::reply(&replies[0]));
    let got = redis.replies(&readers)?;
    same(&readers, &want, &got, "to redis-server")?;
    Ok(lines.len() + theirs.iter().filter(|reply| matches!(reply, Reply::Bulk(_))).count())
}

fn same(lines: &[Line], ours: &[Reply], theirs: &[Reply], way: &str) -> Result<()> {
    for ((line, ours), theirs) in lines.iter().zip(ours).zip(theirs) {
        let same = compare::same(line, ours, theirs);
        let (ours, theirs) = (show::reply(ours), show::reply(theirs));
        ensure!(same, "carried {way}: {}\n  ours   {ours}\n  redis  {theirs}", show::line(line));
    }
    Ok(())
}
