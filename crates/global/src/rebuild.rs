//! A directory that is lost, made again from what data nodes still know of it and from a snapshot.
//!
//! Pure: reports and a snapshot come in; out comes what the directory is to be, or every
//! contradiction that keeps it from being known. Nothing is guessed: where nodes say different
//! things, or too few say anything, a person names what counts ([`Decided`]).

mod groups;
mod slots;
#[cfg(test)]
mod tests;
mod texts;

pub use texts::Contradiction;

use crate::View;
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, NodeId, Offset, Revision};
use cairn_logic::record::Record;
use cairn_settings::directory_keys as keys;
use keys::{Claim, ClusterInfo, NodeInfo};
use std::collections::{BTreeMap, BTreeSet};

/// How far numbers go on above those that are known: those that gave out others are gone.
const BUMP: u64 = 1_000_000_000;

/// What one data node says.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who.
    pub node: NodeId,
    /// Its folder.
    pub incarnation: Incarnation,
    /// What it registers with; its claim says nothing.
    pub info: Option<NodeInfo>,
    /// Its log, if it belongs to a group.
    pub log: Option<OwnLog>,
    /// The system's keys as it last read them.
    pub view: View,
}

/// What a data node says of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLog {
    /// Of which group.
    pub group: GroupId,
    /// The record as the node last read it.
    pub record: Option<Record>,
    /// The greatest number that its folder sealed.
    pub sealed: Epoch,
    /// Where its log ends.
    pub last: EntryId,
}

/// A snapshot of the directory.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its system's keys, at its revision.
    pub view: View,
    /// The entry it is of.
    pub at: EntryId,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The cluster's random name.
    pub uid: String,
    /// What data nodes say.
    pub reports: Vec<Report>,
    /// A snapshot, if there is one.
    pub saved: Option<Saved>,
    /// The greatest epoch, and the greatest offset, that any node knows of the global log.
    pub plane: EntryId,
}

/// What a person has decided.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// Nodes that do not answer and are stopped for good.
    pub lost: BTreeSet<NodeId>,
    /// Where nodes contradict each other, the word of these counts.
    pub trusted: BTreeSet<NodeId>,
    /// Keyspaces that go on although not every slot of theirs has an owner.
    pub unowned: BTreeSet<String>,
}

/// A group as it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: GroupId,
    /// Its record.
    pub record: Record,
    /// Who says so: nodes, or `snapshot`.
    pub sources: Vec<String>,
    /// Whether an attempt is opened, above numbers that were sealed and are in no record.
    pub reopened: bool,
    /// Members whose folder does not answer.
    pub silent: Vec<NodeId>,
    /// Whether fewer than a takeover needs are left to answer.
    pub short: bool,
}

/// A key as it is to be; no value: absent.
pub type Key = (Vec<u8>, Option<(Vec<u8>, u64)>);

/// The directory as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The greatest revision that anybody knows of.
    pub revision: Revision,
    /// Revisions go on above it.
    pub above: Revision,
    /// The entry after which it is so.
    pub at: EntryId,
    /// The system's keys, and those of the snapshot that are none any more.
    pub keys: Vec<Key>,
    /// The groups.
    pub groups: Vec<Group>,
    /// Whose view the rest is of: a node, or `snapshot`.
    pub base: String,
}

/// A view, and who has it.
struct Source<'a> {
    name: &'a str,
    view: &'a View,
}

/// The name of the snapshot among the sources.
const SNAPSHOT: &str = "snapshot";

/// What the directory is to be.
///
/// # Errors
/// Every contradiction, each with what decides it.
pub fn rebuild(found: &Found, decided: &Decided) -> Result<Rebuilt, Vec<Contradiction>> {
    let sources = sources(found);
    let mut wrong = Vec::new();
    let Some(base) = base(&sources, decided, &mut wrong) else { return Err(wrong) };
    let mut keys = lasting(base.view);
    cluster(found, &mut keys, &mut wrong);
    let mut groups = Vec::new();
    for id in base.view.groups.keys() {
        match groups::resolve(id, found, decided, &sources) {
            Ok(group) => {
                let record = keys::encode_group(&group.record);
                keys.insert(keys::group_key(id).into(), (record, group.record.version.0));
                groups.push(group);
            }
            Err(problem) => wrong.push(problem),
        }
    }
    slots::resolve(base.view, decided, &sources, &mut keys, &mut wrong);
    moves(base.view, &mut keys);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let known = sources.iter().map(|source| source.view.revision).max().unwrap_or(0);
    claims(found, base.view, known, &mut keys);
    let saved = found.saved.as_ref();
    let at = saved.map_or(EntryId::ZERO, |saved| saved.at);
    let epoch = at.epoch.max(found.plane.epoch).0.saturating_add(BUMP);
    let offset = at.offset.max(found.plane.offset).0.saturating_add(BUMP);
    Ok(Rebuilt {
        revision: Revision(known),
        above: Revision(known.saturating_add(BUMP)),
        at: EntryId::new(Epoch(epoch), Offset(offset)),
        keys: changes(saved, keys),
        groups,
        base: base.name.to_owned(),
    })
}

/// Views that were ever read, in the order of names.
fn sources(found: &Found) -> Vec<Source<'_>> {
    let nodes = found.reports.iter();
    let nodes = nodes.map(|report| Source { name: report.node.as_str(), view: &report.view });
    let saved = found.saved.iter().map(|saved| Source { name: SNAPSHOT, view: &saved.view });
    let mut all: Vec<_> = nodes.chain(saved).filter(|source| source.view.revision > 0).collect();
    all.sort_by_key(|source| source.name);
    all
}

/// The view of the greatest revision: one moment of the directory, as a whole.
fn base<'a, 's>(
    sources: &'s [Source<'a>],
    decided: &Decided,
    wrong: &mut Vec<Contradiction>,
) -> Option<&'s Source<'a>> {
    let Some(revision) = sources.iter().map(|source| source.view.revision).max() else {
        wrong.push(Contradiction::NothingKnown);
        return None;
    };
    let newest = || sources.iter().filter(|source| source.view.revision == revision);
    let first = newest().next()?;
    let same = |source: &&Source<'_>| lasting(source.view) == lasting(first.view);
    let Some(other) = newest().find(|source| !same(source)) else { return Some(first) };
    let trusted = newest().find(|source| is_trusted(source.name, decided));
    if trusted.is_none() {
        let (one, other) = (first.name.to_owned(), other.name.to_owned());
        wrong.push(Contradiction::Views { revision, one, other });
    }
    trusted
}

fn is_trusted(name: &str, decided: &Decided) -> bool {
    decided.trusted.iter().any(|node| node.as_str() == name)
}

/// Keys by name, each with its value and version.
type Keys = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// All but signs of life, which say nothing later.
fn lasting(view: &View) -> Keys {
    let lasting = view.raw().filter(|(key, ..)| !key.starts_with(keys::ALIVE.as_bytes()));
    lasting.map(|(key, value, version)| (key.to_vec(), (value.to_vec(), version))).collect()
}

/// The cluster's own key: there, and of this cluster.
fn cluster(found: &Found, all: &mut Keys, wrong: &mut Vec<Contradiction>) {
    let known = all.get(keys::CLUSTER.as_bytes()).map(|(value, _)| ClusterInfo::decode(value));
    match known {
        Some(Ok(info)) if info.uid == found.uid => {}
        Some(Ok(info)) => wrong.push(Contradiction::Foreign { uid: info.uid }),
        Some(Err(_)) | None => {
            let info = ClusterInfo { uid: found.uid.clone(), format: cairn_settings::FORMAT };
            all.insert(keys::CLUSTER.into(), (info.encode(), 1));
        }
    }
}

/// Moves go on; their numbers above those that may have been given out since.
fn moves(base: &View, all: &mut Keys) {
    for (keyspace, moves) in &base.moves {
        let (key, mut moves) = (keys::moves_key(keyspace), moves.clone());
        moves.skip(BUMP);
        let version = base.version(&key);
        all.insert(key.into_bytes(), (keys::encode_moves(&moves), version + 1));
    }
}

/// Whoever has a log of a group belongs to it, also if the claim came after the newest view.
fn claims(found: &Found, base: &View, known: u64, all: &mut Keys) {
    let mut claim = known;
    for report in &found.reports {
        let log = report.log.as_ref().filter(|log| base.groups.contains_key(&log.group));
        let before = base.nodes.get(&report.node);
        let before = before.filter(|info| info.incarnation == report.incarnation);
        let is_so = match (before.map(|info| &info.claim), log) {
            (Some(Claim::Claimed { group, .. }), Some(log)) => *group == log.group,
            (Some(_), None) => true,
            (Some(Claim::Idle | Claim::Releasing { .. }), Some(_)) | (None, _) => false,
        };
        let Some(mut info) = before.cloned().or_else(|| report.info.clone()).filter(|_| !is_so)
        else {
            continue;
        };
        // A revision that no claim was made in, and none will be.
        claim = claim.saturating_add(1);
        info.claim =
            log.map_or(Claim::Idle, |log| Claim::Claimed { group: log.group.clone(), claim });
        let key = keys::node_key(&report.node).into_bytes();
        let version = all.get(&key).map_or(0, |(_, version)| *version);
        all.insert(key, (info.encode(), version + 1));
    }
}

/// What is to be set, and what the snapshot has beside that.
fn changes(saved: Option<&Saved>, all: Keys) -> Vec<Key> {
    let old = saved.into_iter().flat_map(|saved| saved.view.raw());
    let gone = old.filter(|(key, ..)| !all.contains_key(*key));
    let gone: Vec<Key> = gone.map(|(key, ..)| (key.to_vec(), None)).collect();
    let set = all.into_iter().map(|(key, value)| (key, Some(value)));
    gone.into_iter().chain(set).collect()
}
