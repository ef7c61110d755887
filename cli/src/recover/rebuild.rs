//! `cairn recover global --rebuild`: a directory of which no global node has anything.
//!
//! Asks every data node what it knows and reads a snapshot, if there is one. What follows from that
//! is decided by [`cairn_global::rebuild`], without a guess; here it is shown, and sent to one
//! global node. Who masters is then decided as after every loss ([`super`]).

use super::saved::{self, Read};
use super::{Decision, ask, confirm, end, note, of_plane, wait};
use crate::checkpoint::{self, Temporary};
use crate::folder::{LocalNode, Roster};
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::view::View;
use anyhow::{Context, Result, bail, ensure};
use cairn_global::rebuild::{self, Decided, Found, Group, OwnLog, Rebuilt, Report};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, NodeId, Offset};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::{NodeInfo, decode_group};
use cairn_wire::peer::pb;
use clap::Args;
use futures::stream;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep};

/// How long the node may take to load what it was sent.
const LOAD_MAX: Duration = Duration::from_secs(600);
/// How long the groups may take to be under the judge's eyes again.
const GROUPS_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The size of a part, in bytes.
const PART_BYTES: usize = 1 << 20;

/// From what, and what a person decides where nodes contradict each other.
#[derive(Args, Clone, Debug, Default)]
pub struct RebuildArgs {
    /// Make the directory again from what the data nodes know, and from a snapshot: for a global
    /// plane all of whose folders are gone.
    #[arg(long)]
    pub rebuild: bool,
    /// A snapshot of the directory, as files of checkpoint nodes and their copies are.
    #[arg(long, value_name = "FILE", requires = "rebuild")]
    pub from: Option<PathBuf>,
    /// A node that still has one, such as a checkpoint node.
    #[arg(long, value_name = "NODE", requires = "rebuild", conflicts_with = "from")]
    pub from_node: Option<String>,
    /// Go on without users' keys, though a node has a snapshot with them.
    #[arg(long, requires = "rebuild", conflicts_with_all = ["from", "from_node"])]
    pub without_snapshot: bool,
    /// A node that does not answer and is stopped for good; may be given several times.
    #[arg(long, value_name = "NODE", requires = "rebuild")]
    pub lost: Vec<String>,
    /// A node whose word counts where nodes contradict each other; may be given several times.
    #[arg(long, value_name = "NODE", requires = "rebuild")]
    pub trust: Vec<String>,
    /// A keyspace that goes on though nobody knows who has each of its slots.
    #[arg(long, value_name = "KEYSPACE", requires = "rebuild")]
    pub unowned_slots: Vec<String>,
}

impl RebuildArgs {
    fn decided(&self) -> Decided {
        Decided {
            lost: self.lost.iter().map(NodeId::new).collect(),
            trusted: self.trust.iter().map(NodeId::new).collect(),
            unowned: self.unowned_slots.iter().cloned().collect(),
        }
    }
}

/// A snapshot that is to be sent.
struct Snapshot {
    path: PathBuf,
    read: Read,
    _file: Option<Temporary>,
}

/// Shows what the directory would be, and makes it so if the person accepts the loss.
pub async fn rebuild(
    place: &Place,
    group: &str,
    decision: &Decision,
    args: &RebuildArgs,
) -> Result<()> {
    ensure!(group == GroupId::global().as_str(), "--rebuild is for the global plane: `global`");
    let (roster, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let decided = args.decided();
    let node = blank(&plane, &view, &decided, decision.node.as_deref())?;
    let snapshot = snapshot(&plane, &roster, args).await?;
    let found = found(&plane, &roster, &view, snapshot.as_ref()).await;
    check_lost(&found, &view, &decided)?;
    let rebuilt = match rebuild::rebuild(&found, &decided) {
        Ok(rebuilt) => rebuilt,
        Err(wrong) => {
            let wrong: Vec<String> = wrong.iter().map(|problem| format!("\n  {problem}")).collect();
            bail!("only a person can know this; nothing was done:{}", wrong.concat());
        }
    };
    say(&plane, &found, &rebuilt, snapshot.as_ref(), node);
    if !decision.accept_loss {
        print::line("Nothing was done. To go on, say the same with --accept-loss.");
        return Ok(());
    }
    confirm(group, decision)?;
    let lines = plane.rebuild(node, parts(&rebuilt, snapshot.as_ref())?).await?;
    lines.iter().for_each(|line| print::line(format_args!("{}: {line}", node.id)));
    loaded(&plane, node, rebuilt.at).await?;
    let view = View::take(None, &plane).await;
    let (wish, _) = of_plane(&plane, &view, Some(node.id.as_str()))?;
    let answer = ask(&plane, &wish).await?;
    answer.iter().for_each(|line| print::line(format_args!("{line}")));
    wait(&plane, group, 0).await?;
    groups(&plane, &roster, &rebuilt).await;
    Ok(())
}

/// The global node that is to go on, if none has anything of the directory.
fn blank<'p>(
    plane: &'p Plane,
    view: &View,
    decided: &Decided,
    wanted: Option<&str>,
) -> Result<&'p LocalNode> {
    let mut blank = Vec::new();
    for node in plane.nodes().iter().filter(|node| node.role == NodeRole::Global) {
        let id = &node.id;
        if !view.nodes.contains_key(id) {
            ensure!(
                decided.lost.contains(id),
                "{id} does not answer, and may have the directory; bring it back, or stop it for \
                 good and say --lost {id}"
            );
            continue;
        }
        let log = view.log(id, GroupId::global().as_str());
        let end = log.and_then(|log| log.last).unwrap_or_default();
        ensure!(
            log.is_none_or(|log| crate::view::masters(log).is_none()),
            "{id} is global master: the directory is not lost"
        );
        ensure!(
            end.offset == 0,
            "{id} has a log of the directory up to entry {}/{}: `cairn recover global \
             --accept-loss` goes on with it",
            end.epoch,
            end.offset
        );
        blank.push(node);
    }
    let chosen = blank.iter().find(|node| wanted.is_none_or(|id| node.id.as_str() == id));
    chosen.copied().with_context(|| match wanted {
        Some(id) => format!("{id} is no global node that answers"),
        None => "no global node answers; start them with empty folders first".to_owned(),
    })
}

/// The snapshot that was named, or none if there is none anywhere.
async fn snapshot(plane: &Plane, roster: &Roster, args: &RebuildArgs) -> Result<Option<Snapshot>> {
    let (path, file) = match (&args.from, &args.from_node) {
        (Some(path), _) => (path.clone(), None),
        (None, Some(node)) => {
            let file = fetched(plane, roster.node(node)?).await?;
            (file.path().to_owned(), Some(file))
        }
        (None, None) if args.without_snapshot => return Ok(None),
        (None, None) => return nobody_has_one(plane).await.map(|()| None),
    };
    let (from, uid) = (path.clone(), roster.uid.clone());
    let read = tokio::task::spawn_blocking(move || saved::read(&from, &uid)).await??;
    Ok(Some(Snapshot { path, read, _file: file }))
}

/// The newest of `node`, which writes one more if it can: what it knows is later than its files.
async fn fetched(plane: &Plane, node: &LocalNode) -> Result<Temporary> {
    let group = GroupId::global();
    let wish = pb::WriteSnapshot { group: group.to_string() };
    let wish = pb::wish_request::Body::WriteSnapshot(wish);
    if let Err(error) = plane.wish_within(node.id.as_str(), wish, checkpoint::ANSWER_MAX).await {
        print::line(format_args!("{}: writes no newer snapshot: {error:#}", node.id));
    }
    let newest = checkpoint::fetch_newest(plane, node, group.as_str()).await?;
    newest.with_context(|| format!("{} has no snapshot of the directory", node.id))
}

async fn nobody_has_one(plane: &Plane) -> Result<()> {
    for node in plane.nodes().iter().filter(|node| node.role == NodeRole::Checkpoint) {
        let id = &node.id;
        let offered = plane.snapshots(node, GroupId::global().as_str()).await;
        let offered = offered.with_context(|| {
            format!("{id} may have a snapshot; --without-snapshot goes on without users' keys")
        })?;
        ensure!(
            offered.is_empty(),
            "{id} has a snapshot of the directory: --from-node {id} takes it, --without-snapshot \
             goes on without users' keys"
        );
    }
    Ok(())
}

/// Asks all data nodes at once.
async fn found(
    plane: &Arc<Plane>,
    roster: &Roster,
    view: &View,
    snapshot: Option<&Snapshot>,
) -> Found {
    let data = plane.nodes().iter().filter(|node| node.role == NodeRole::Data);
    let known = data.map(|node| async move { (node, plane.known(node).await) });
    let mut reports = Vec::new();
    for (node, known) in futures::future::join_all(known).await {
        match known {
            Ok(known) => reports.extend(report(&node.id, &known)),
            Err(error) => print::line(format_args!("{}: does not answer: {error:#}", node.id)),
        }
    }
    let mut greatest = pb::Recover::default();
    let mut offset = 0;
    for log in view.nodes.values().flat_map(|node| &node.logs) {
        if log.group == GroupId::global().as_str() {
            note(&mut greatest, log);
            offset = offset.max(log.last.unwrap_or_default().offset);
        }
    }
    let epoch = greatest.epoch.max(greatest.attempt);
    Found {
        uid: roster.uid.clone(),
        reports,
        saved: snapshot.map(|snapshot| snapshot.read.saved.clone()),
        plane: EntryId::new(Epoch(epoch), Offset(offset)),
    }
}

fn report(id: &NodeId, known: &pb::KnownReply) -> Option<Report> {
    let status = known.status.as_ref()?;
    let own = |log: &pb::LogStatus| OwnLog {
        group: GroupId::new(&log.group),
        record: decode_group(&log.record).ok(),
        sealed: Epoch(log.sealed),
        last: EntryId::new(Epoch(end(log).0), Offset(end(log).1)),
    };
    Some(Report {
        node: id.clone(),
        incarnation: Incarnation(status.incarnation),
        info: NodeInfo::decode(&known.info).ok(),
        log: status.logs.first().map(own),
        view: cairn_global::View::restore(&known.view),
    })
}

fn check_lost(found: &Found, view: &View, decided: &Decided) -> Result<()> {
    let answers = |id: &&NodeId| {
        view.nodes.contains_key(*id) && found.reports.iter().any(|report| report.node == **id)
    };
    match decided.lost.iter().find(answers) {
        Some(id) => bail!("{id} answers, so it is not lost"),
        None => Ok(()),
    }
}

/// What would be done.
fn say(
    plane: &Plane,
    found: &Found,
    rebuilt: &Rebuilt,
    snapshot: Option<&Snapshot>,
    node: &LocalNode,
) {
    rebuilt.groups.iter().for_each(|group| print::line(group_line(group)));
    let counted: BTreeSet<&NodeId> =
        rebuilt.groups.iter().flat_map(|g| &g.record.members).map(|m| &m.id).collect();
    let data = plane.nodes().iter().filter(|node| node.role == NodeRole::Data);
    let silent = data.filter(|node| !found.reports.iter().any(|report| report.node == node.id));
    for node in silent.filter(|node| !counted.contains(&node.id)) {
        print::line(format_args!("{}: does not answer, and counts in no group", node.id));
    }
    print::line(format_args!(
        "keyspaces, slots and nodes: as {} has them; revisions go on above {}",
        rebuilt.base, rebuilt.above
    ));
    match snapshot {
        Some(Snapshot { read, .. }) => {
            let made = UNIX_EPOCH + Duration::from_millis(read.made_ms);
            let ago = SystemTime::now().duration_since(made).unwrap_or_default().as_secs();
            print::line(format_args!(
                "users' keys: as in a snapshot of revision {}, made {ago} s ago ({} versions). \
                 Lost is what users changed after it.",
                read.saved.view.revision, read.users
            ));
        }
        None => print::line(
            "users' keys: none. Lost is everything that users wrote to the directory, leases and \
             locks included.",
        ),
    }
    print::line(format_args!(
        "{} would go on. Whoever does not answer must be stopped for good.",
        node.id
    ));
}

fn group_line(group: &Group) -> String {
    let Group { id, record, sources, reopened, silent, short } = group;
    let names: Vec<&str> = record.members.iter().map(|member| member.id.as_str()).collect();
    let master = record.master.as_ref().map_or("nobody", NodeId::as_str);
    let mut line = format!(
        "{id}: epoch {}, master {master}, members {}, as {} has it",
        record.epoch,
        names.join(", "),
        sources.join(", ")
    );
    if *reopened {
        line += &format!("; numbers up to {} were sealed, so an attempt is open", record.attempt);
    }
    if !silent.is_empty() {
        let silent: Vec<&str> = silent.iter().map(NodeId::as_str).collect();
        line += &format!("; {} does not answer", silent.join(", "));
    }
    if *short {
        line += &format!("; too few are left for a takeover: `cairn recover {id}` afterwards");
    }
    line
}

/// The head, then the snapshot's bytes.
fn parts(
    rebuilt: &Rebuilt,
    snapshot: Option<&Snapshot>,
) -> Result<impl futures::Stream<Item = pb::RebuildPart> + Send + use<>> {
    let keys = rebuilt.keys.iter().map(|(key, value)| pb::RestoredKey {
        key: key.clone().into(),
        absent: value.is_none(),
        value: value.as_ref().map(|(value, _)| value.clone()).unwrap_or_default().into(),
        version: value.as_ref().map_or(0, |(_, version)| *version),
    });
    let head = pb::RebuildHead {
        snapshot_bytes: snapshot.map_or(0, |snapshot| snapshot.read.bytes),
        revision: rebuilt.revision.0,
        above: rebuilt.above.0,
        at: Some(rebuilt.at.into()),
        keys: keys.collect(),
    };
    let file = snapshot.map(|snapshot| open(&snapshot.path)).transpose()?;
    let head = pb::RebuildPart { body: Some(pb::rebuild_part::Body::Head(head)) };
    let bytes = stream::unfold(file, |file| async move {
        let mut file = file?;
        let mut part = vec![0; PART_BYTES];
        // A file that ends early or cannot be read ends the stream, and the node says what lacks.
        let count = file.read(&mut part).unwrap_or(0);
        part.truncate(count);
        let body = pb::rebuild_part::Body::Snapshot(part.into());
        (count > 0).then_some((pb::RebuildPart { body: Some(body) }, Some(file)))
    });
    Ok(futures::StreamExt::chain(stream::iter([head]), bytes))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {path:?}"))
}

/// Waits until `node` has loaded what it was sent.
async fn loaded(plane: &Plane, node: &LocalNode, at: EntryId) -> Result<()> {
    let until = Instant::now() + LOAD_MAX;
    loop {
        let status = plane.status(node).await;
        let logs = status.as_ref().map_or(&[][..], |status| &status.logs[..]);
        let global = GroupId::global();
        let is_there =
            |log: &pb::LogStatus| log.group == global.as_str() && log.applied >= at.offset.0;
        if logs.iter().any(|log| is_there(log) && log.loaded_percent.is_none()) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{} has not loaded the directory after {} s; once it has, `cairn recover global \
             --accept-loss` goes on with it",
            node.id,
            LOAD_MAX.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until every slot is served to the judge's knowledge, and says what is not.
async fn groups(plane: &Arc<Plane>, roster: &Roster, rebuilt: &Rebuilt) {
    let until = Instant::now() + GROUPS_MAX;
    let waits = rebuilt.groups.iter().any(|group| group.short);
    loop {
        let missing = View::take(None, plane).await.missing(roster);
        if missing.is_empty() {
            return print::line("every slot is served");
        }
        if waits || Instant::now() >= until {
            missing.iter().for_each(|line| print::line(format_args!("still missing: {line}")));
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
