//! The record of one group: the newest that anybody has read, if all that is said can be of one
//! history.

use super::{BUMP, Contradiction, Decided, Found, Group, OwnLog, Report, Source, is_trusted};
use cairn_logic::counting::{Counts, Plane};
use cairn_logic::ids::{Epoch, GroupId, NodeId, Version};
use cairn_logic::record::{Member, Record};

/// A record, and who has read it.
struct Said<'a> {
    record: &'a Record,
    sources: Vec<&'a str>,
}

/// How `id` goes on.
pub(super) fn resolve(
    id: &GroupId,
    found: &Found,
    decided: &Decided,
    sources: &[Source<'_>],
) -> Result<Group, Contradiction> {
    let all = said(id, found, sources);
    let newest = newest(id, &all, decided)?;
    let logs = || logs_of(id, found);
    for (node, log) in logs() {
        if log.last.epoch > newest.record.epoch && !decided.trusted.contains(node) {
            return Err(Contradiction::Beyond {
                group: id.clone(),
                node: node.clone(),
                epoch: log.last.epoch,
                known: newest.record.epoch,
            });
        }
    }
    let answers = |member: &&Member| {
        let is_it = |r: &Report| r.node == member.id && r.incarnation == member.incarnation;
        found.reports.iter().any(is_it)
    };
    let members = newest.record.members.iter();
    let silent: Vec<NodeId> = members.filter(|m| !answers(m)).map(|m| m.id.clone()).collect();
    let counts =
        (!newest.record.members.is_empty()).then(|| Counts::of(Plane::Group, newest.record));
    let seals = counts.map_or(0, |counts| counts.seals);
    let unknown: Vec<NodeId> =
        silent.iter().filter(|id| !decided.lost.contains(*id)).cloned().collect();
    // So many of them could have gone on to a record that nobody else has read.
    if !unknown.is_empty() && unknown.len() >= seals {
        return Err(Contradiction::TooFew { group: id.clone(), silent: unknown });
    }
    let sealed = logs().map(|(_, log)| log.sealed.max(log.last.epoch));
    let given_out = sealed.chain(all.iter().map(|said| said.record.attempt)).max();
    let (record, reopened) = above(newest.record, &all, given_out, !silent.is_empty());
    let short = record.members.len() - silent.len() < seals;
    let sources = newest.sources.iter().map(|name| (*name).to_owned()).collect();
    Ok(Group { id: id.clone(), record, sources, reopened, silent, short })
}

/// The record as it goes on, with an attempt open if numbers were given out that it does not know.
///
/// Whoever is silent may have read a version, or sealed an attempt, that nobody who answers knows:
/// both go on far above, or it would take a later one for that.
fn above(
    record: &Record,
    all: &[Said<'_>],
    given_out: Option<Epoch>,
    any_silent: bool,
) -> (Record, bool) {
    let mut record = record.clone();
    let version = all.last().map_or(record.version, |said| said.record.version);
    let given_out = given_out.unwrap_or(record.attempt).max(record.attempt);
    let reopened = given_out > record.attempt || version > record.version;
    if reopened {
        (record.version, record.attempt, record.open) = (version.next(), given_out, true);
    }
    if any_silent {
        record.version = Version(record.version.0.saturating_add(BUMP));
        record.attempt = Epoch(record.attempt.0.saturating_add(BUMP));
    }
    (record, reopened)
}

fn logs_of<'a>(
    id: &'a GroupId,
    found: &'a Found,
) -> impl Iterator<Item = (&'a NodeId, &'a OwnLog)> {
    let logs = found.reports.iter().filter_map(|report| Some((&report.node, report.log.as_ref()?)));
    logs.filter(move |(_, log)| log.group == *id)
}

/// Every record of the group that somebody has read, by version.
fn said<'a>(id: &'a GroupId, found: &'a Found, sources: &[Source<'a>]) -> Vec<Said<'a>> {
    let views =
        sources.iter().filter_map(|source| Some((source.view.groups.get(id)?, source.name)));
    let own =
        logs_of(id, found).filter_map(|(node, log)| Some((log.record.as_ref()?, node.as_str())));
    let mut all: Vec<Said<'a>> = Vec::new();
    for (record, name) in views.chain(own) {
        match all.iter_mut().find(|said| said.record == record) {
            Some(said) if said.sources.contains(&name) => {}
            Some(said) => said.sources.push(name),
            None => all.push(Said { record, sources: vec![name] }),
        }
    }
    all.iter_mut().for_each(|said| said.sources.sort_unstable());
    all.sort_by(|a, b| (a.record.version, &a.sources).cmp(&(b.record.version, &b.sources)));
    all
}

/// The newest, if each may have followed the one before it; else the newest that a trusted node
/// has read, if those may.
fn newest<'a>(
    id: &GroupId,
    all: &'a [Said<'a>],
    decided: &Decided,
) -> Result<&'a Said<'a>, Contradiction> {
    let every: Vec<&Said<'_>> = all.iter().collect();
    let Some((one, other)) = clash(&every) else {
        return all.last().ok_or_else(|| Contradiction::NoRecord { group: id.clone() });
    };
    let trusted = |said: &&Said<'_>| said.sources.iter().any(|name| is_trusted(name, decided));
    let trusted: Vec<&Said<'_>> = all.iter().filter(trusted).collect();
    match (trusted.last(), clash(&trusted)) {
        (Some(newest), None) => Ok(newest),
        _ => Err(Contradiction::Records {
            group: id.clone(),
            one: (said_by(one), one.record.version, one.record.epoch),
            other: (said_by(other), other.record.version, other.record.epoch),
        }),
    }
}

fn said_by(said: &Said<'_>) -> String {
    said.sources.join(", ")
}

/// Two of these records, by version, that cannot be of one history.
fn clash<'a>(all: &[&'a Said<'a>]) -> Option<(&'a Said<'a>, &'a Said<'a>)> {
    let pairs = all.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.into_iter().find(|(old, new)| !may_follow(old.record, new.record))
}

/// Versions, epochs and attempts only grow; who counts changes with the epoch alone.
fn may_follow(old: &Record, new: &Record) -> bool {
    let grows = new.version > old.version && new.epoch >= old.epoch && new.attempt >= old.attempt;
    let same = new.members == old.members && new.master == old.master;
    grows && (new.epoch > old.epoch || same)
}
