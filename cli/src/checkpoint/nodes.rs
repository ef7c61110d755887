//! The snapshots that the nodes of a running cluster offer: listed, or fetched and verified.

use super::age;
use crate::folder::LocalNode;
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::status::table;
use crate::view::View;
use anyhow::{Context, Result, bail, ensure};
use cairn_files::{RealDisk, Snapshot};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_wire::peer::pb::SnapshotFacts;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a fetch that broke off goes on.
const TRIES_MAX: u32 = 5;
/// Before it goes on.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two lines of progress where there is no terminal.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// A snapshot that a node offers.
struct Offer {
    node: NodeId,
    log: String,
    /// The newest entry of that log that is known to be committed.
    committed: u64,
    facts: SnapshotFacts,
}

/// What was offered, and who said nothing.
struct Offers {
    found: Vec<Offer>,
    /// Nodes that keep a log and have no snapshot of it.
    without: Vec<String>,
    silent: Vec<String>,
}

impl Offers {
    /// Asks each node for the snapshots of each log it has.
    async fn ask(place: &Place) -> Result<(Self, std::sync::Arc<Plane>)> {
        let (roster, plane) = place.open().await?;
        let view = View::take(None, &plane).await;
        let mut offers = Self { found: Vec::new(), without: Vec::new(), silent: Vec::new() };
        for node in plane.nodes() {
            let Some(said) = view.nodes.get(&node.id) else {
                offers.silent.push(node.id.to_string());
                continue;
            };
            for log in said.logs.iter().map(|log| log.group.as_str()) {
                match plane.snapshots(node, log).await {
                    Ok(found) => offers.add(&node.id, log, committed(&view, log), found),
                    Err(error) => offers.silent.push(format!("{} ({error:#})", node.id)),
                }
            }
        }
        ensure!(
            offers.silent.len() < roster.nodes.len(),
            "no node answers; `cairn status` says what runs, and `cairn checkpoint list FOLDER` \
             reads the folder of a node that does not run"
        );
        Ok((offers, plane))
    }

    fn add(&mut self, node: &NodeId, log: &str, committed: u64, found: Vec<SnapshotFacts>) {
        if found.is_empty() {
            self.without.push(format!("{node} ({log})"));
        }
        let offer = |facts| Offer { node: node.clone(), log: log.to_owned(), committed, facts };
        self.found.extend(found.into_iter().map(offer));
    }

    /// Lines on what is not in the table.
    fn rest(&self) -> String {
        let mut text = String::new();
        if !self.without.is_empty() {
            let names = self.without.join(", ");
            text += &format!("without a snapshot, so they start from their log alone: {names}\n");
        }
        if !self.silent.is_empty() {
            text += &format!("not asked, because silent: {}\n", self.silent.join(", "));
        }
        text
    }
}

/// How far the log of `group` is committed, as the node says that knows most.
fn committed(view: &View, group: &str) -> u64 {
    let logs = view.nodes.values().flat_map(|said| &said.logs);
    logs.filter(|log| log.group == group).map(|log| log.committed).max().unwrap_or(0)
}

const HEADINGS: [&str; 9] =
    ["NODE", "LOG", "FROM", "UPTO", "BYTES", "AGE", "BEHIND", "HASH", "FILE"];

impl Offer {
    fn row(&self) -> [String; 9] {
        let (facts, upto) = (&self.facts, self.facts.upto.unwrap_or_default());
        let from = facts.from.unwrap_or_default();
        let hash = match facts.hash {
            0 => "-".to_owned(),
            hash => format!("{hash:016x}"),
        };
        [
            self.node.to_string(),
            self.log.clone(),
            format!("{}/{}", from.epoch, from.offset),
            format!("{}/{}", upto.epoch, upto.offset),
            facts.bytes.to_string(),
            age(facts.made_ms),
            self.committed.saturating_sub(from.offset).to_string(),
            hash,
            facts.name.clone(),
        ]
    }
}

/// Every snapshot that a node offers, by log, the newest first.
pub async fn list(place: &Place) -> Result<()> {
    let (mut offers, _) = Offers::ask(place).await?;
    sort(&mut offers.found);
    let rows: Vec<_> = offers.found.iter().map(Offer::row).collect();
    let head = match rows.is_empty() {
        true => "no snapshots\n".to_owned(),
        false => table(&HEADINGS, &rows),
    };
    print::text(&(head + &offers.rest()));
    Ok(())
}

fn sort(offers: &mut [Offer]) {
    let from = |offer: &Offer| offer.facts.from.unwrap_or_default().offset;
    offers.sort_by(|a, b| {
        let names = |o: &Offer| (o.log.clone(), std::cmp::Reverse(from(o)), o.node.clone());
        names(a).cmp(&names(b))
    });
}

/// Fetches the newest snapshot of each log from each node, or those of one node or log alone, and
/// reads all of each.
pub async fn verify(place: &Place, node: Option<&str>, log: Option<&str>) -> Result<()> {
    let (mut offers, plane) = Offers::ask(place).await?;
    if let Some(node) = node {
        ensure!(
            plane.nodes().iter().any(|known| known.id.as_str() == node),
            "{node} is no node of this cluster; `cairn status` lists them"
        );
    }
    let asked = |offer: &Offer| {
        node.is_none_or(|node| offer.node.as_str() == node)
            && log.is_none_or(|log| offer.log == log)
    };
    offers.found.retain(asked);
    sort(&mut offers.found);
    offers.found.sort_by(|a, b| (&a.log, &a.node).cmp(&(&b.log, &b.node)));
    offers.found.dedup_by(|later, newest| later.log == newest.log && later.node == newest.node);
    ensure!(
        !offers.found.is_empty(),
        "no node has such a snapshot; `cairn checkpoint list` shows those that there are"
    );
    let mut bad = 0;
    for offer in &offers.found {
        let what = format!("{} {} {}", offer.node, offer.log, offer.facts.name);
        match fetched(&plane, offer).await {
            Ok(records) => print::line(format_args!("{what}: whole, {records} records")),
            Err(error) => {
                bad += 1;
                print::line(format_args!("{what}: {error:#}"));
            }
        }
    }
    print::text(&offers.rest());
    ensure!(
        bad == 0,
        "{bad} of {} snapshots cannot be used; their nodes set such files aside themselves and use \
         the one before, and their logs say why",
        offers.found.len()
    );
    Ok(())
}

/// Fetches the newest snapshot of `log` that `node` offers, if it has any.
pub async fn fetch_newest(plane: &Plane, node: &LocalNode, log: &str) -> Result<Option<Temporary>> {
    let offered = plane.snapshots(node, log).await?;
    let Some(facts) = offered.into_iter().next() else { return Ok(None) };
    let offer = Offer { node: node.id.clone(), log: log.to_owned(), committed: 0, facts };
    let file = Temporary::new(&offer);
    fetch(plane, &offer, &file.0).await?;
    Ok(Some(file))
}

/// A file that is gone with its place.
pub struct Temporary(PathBuf);

impl Temporary {
    fn new(offer: &Offer) -> Self {
        let name = format!("cairn-{}-{}-{}.snap", std::process::id(), offer.node, offer.log);
        Self(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Fetches one and reads all of it; its records.
async fn fetched(plane: &Plane, offer: &Offer) -> Result<u64> {
    let file = Temporary::new(offer);
    fetch(plane, offer, &file.0).await?;
    let path = file.0.clone();
    let read = tokio::task::spawn_blocking(move || read(&path)).await?;
    let (group, records) = read.context("it is not whole")?;
    ensure!(group.as_str() == offer.log, "it is one of {group}");
    Ok(records)
}

fn read(path: &Path) -> Result<(GroupId, u64)> {
    let snapshot = Snapshot::open(&RealDisk, path)?;
    snapshot.verify()?;
    Ok((snapshot.head().group.clone(), snapshot.end().records))
}

/// Fetches the bytes of one to `path`; where the stream breaks off, it goes on there.
async fn fetch(plane: &Plane, offer: &Offer, path: &Path) -> Result<()> {
    let mut file = File::create_new(path).with_context(|| format!("cannot make {path:?}"))?;
    let mut shown = Progress::new(offer);
    let (mut position, mut tries) = (0, 0);
    while position < offer.facts.bytes {
        let before = position;
        let done = some(plane, offer, &mut file, &mut position, &mut shown).await;
        tries = if position > before { 0 } else { tries + 1 };
        match done {
            Ok(()) => {}
            Err(error) if tries >= TRIES_MAX => {
                return Err(error.context(format!("stopped at byte {position}")));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    shown.end();
    Ok(())
}

/// Writes what comes of one call, which begins at `position`.
async fn some(
    plane: &Plane,
    offer: &Offer,
    file: &mut File,
    position: &mut u64,
    shown: &mut Progress,
) -> Result<()> {
    let mut chunks = plane.fetch(&offer.node, &offer.log, &offer.facts, *position).await?;
    while let Some(chunk) = chunks.next().await? {
        let bytes = &chunk.bytes;
        let fits = chunk.position == *position && !bytes.is_empty();
        let end = *position + bytes.len() as u64;
        if !fits || end > offer.facts.bytes {
            bail!("{} sent bytes that do not follow each other", offer.node);
        }
        file.write_all(bytes).context("cannot write what was fetched")?;
        *position = end;
        shown.show(end);
    }
    ensure!(*position == offer.facts.bytes, "the stream ended early");
    Ok(())
}

/// Says to a person how far a fetch is.
struct Progress {
    what: String,
    bytes: u64,
    last: Instant,
    terminal: bool,
}

impl Progress {
    fn new(offer: &Offer) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let what = format!("{} {}", offer.node, offer.log);
        Self { what, bytes: offer.facts.bytes, last: Instant::now(), terminal }
    }

    fn show(&mut self, position: u64) {
        let pause = if self.terminal { Duration::from_millis(200) } else { SHOW_EVERY };
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        let (has, all) = (position >> 20, self.bytes >> 20);
        let text = format!("{}: fetched {has} of {all} MiB", self.what);
        match self.terminal {
            true => eprint!("\r{text}"),
            false => eprintln!("{text}"),
        }
    }

    /// The line is empty again.
    fn end(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_wire::peer::pb::EntryId;

    fn offer(node: &str, log: &str, from: u64) -> Offer {
        let at = |offset| Some(EntryId { epoch: 2, offset });
        let facts = SnapshotFacts {
            name: format!("{from}.snap"),
            from: at(from),
            upto: at(from + 3),
            bytes: 77,
            hash: 0xabc,
            ..SnapshotFacts::default()
        };
        Offer { node: NodeId::new(node), log: log.to_owned(), committed: 100, facts }
    }

    #[test]
    fn the_newest_of_each_log_comes_first() {
        let mut offers = [offer("t-0", "t", 5), offer("g-1", "global", 9), offer("t-1", "t", 8)];
        sort(&mut offers);
        let names: Vec<&str> = offers.iter().map(|o| o.node.as_str()).collect();
        assert_eq!(names, ["g-1", "t-1", "t-0"]);
    }

    #[test]
    fn a_row_says_how_far_behind_the_log_a_snapshot_is() {
        let row = offer("t-0", "t", 60).row();
        assert_eq!(row[..5], ["t-0", "t", "2/60", "2/63", "77"]);
        assert_eq!(row[6..], ["40", "0000000000000abc", "60.snap"]);
    }

    #[test]
    fn who_has_none_is_named() {
        let mut offers = Offers { found: Vec::new(), without: Vec::new(), silent: Vec::new() };
        offers.add(&NodeId::new("t-0"), "t", 9, Vec::new());
        offers.silent.push("t-1".to_owned());
        let text = offers.rest();
        assert!(text.contains("t-0 (t)") && text.contains("silent: t-1"), "{text}");
    }
}
