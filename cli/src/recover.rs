//! `cairn recover`: what needs a person, what may be lost, and the decision to go on.
//!
//! Where no global node has anything of the directory, [`rebuild()`] makes it again first.

mod rebuild;
mod saved;

pub use rebuild::{RebuildArgs, rebuild};

use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::view::{View, masters};
use anyhow::{Context, Result, ensure};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::NodeRole;
use cairn_wire::peer::pb::{LogStatus, Recover, wish_request::Body};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a recovery may take until a master is seen.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the person said on the command line.
pub struct Decision {
    /// Go on, though acknowledged writes may be lost.
    pub accept_loss: bool,
    /// The global node that is to go on; absent: the one with the greatest log.
    pub node: Option<String>,
    /// Do not ask again.
    pub yes: bool,
}

/// Shows how `group` stands and, if the person accepts the loss, has it go on with what is left.
pub async fn recover(place: &Place, group: &str, decision: &Decision) -> Result<()> {
    let (_, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let before = view.master_of(group);
    let is_global = GroupId::new(group) == GroupId::global();
    let (wish, said) = match is_global {
        true => of_plane(&plane, &view, decision.node.as_deref())?,
        false => of_group(&view, group)?,
    };
    said.iter().for_each(|line| print::line(format_args!("{line}")));
    if !decision.accept_loss {
        print::line(format_args!(
            "Nothing was done. Bring back what does not answer, if that can be; else stop it for \
             good and run `cairn recover {group} --accept-loss`."
        ));
        return Ok(());
    }
    confirm(group, decision)?;
    let answer = ask(&plane, &wish).await?;
    answer.iter().for_each(|line| print::line(format_args!("{line}")));
    wait(&plane, group, before.map_or(0, |(epoch, _)| epoch)).await
}

/// Asks the person once more, unless they said that they want no question.
fn confirm(group: &str, decision: &Decision) -> Result<()> {
    if decision.yes {
        return Ok(());
    }
    print::confirm(
        "what is lost by this cannot be brought back",
        &format!("What is lost by this cannot be brought back. Type {group} to go on: "),
        group,
        "nothing was done",
    )
}

/// A sitting global master looks at the acceptors every five seconds: until then it may not know
/// yet what others say.
async fn ask(plane: &Plane, wish: &Wish) -> Result<Vec<String>> {
    let until = Instant::now() + Duration::from_secs(8);
    loop {
        let answer = match &wish.node {
            Some(node) => plane.wish_at(node, Body::Recover(wish.body.clone())).await,
            None => plane.wish(Body::Recover(wish.body.clone())).await,
        };
        if answer.is_ok() || !wish.is_said || Instant::now() >= until {
            return answer;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What to ask, and of whom; none: of the global master.
struct Wish {
    node: Option<String>,
    body: Recover,
    /// Some node says already that a person is needed.
    is_said: bool,
}

fn of_group(view: &View, group: &str) -> Result<(Wish, Vec<String>)> {
    let topology = view.topology.as_ref().map_err(|error| {
        anyhow::anyhow!("the directory does not answer, `cairn recover global` first: {error:#}")
    })?;
    let record = topology.group(&GroupId::new(group))?;
    let (mut said, mut left, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for member in &record.members {
        match view.log(&member.id, group) {
            Some(log) => {
                said.push(format!("{}: is left, {}", member.id, ends(log)));
                left.push(member.id.to_string());
            }
            None => {
                said.push(format!("{}: does not answer", member.id));
                silent.push(member.id.to_string());
            }
        }
    }
    ensure!(!left.is_empty(), "no member of {group} answers: there is nothing to go on with");
    said.push(if silent.is_empty() {
        "May be lost: acknowledged writes that none of these logs has.".to_owned()
    } else {
        format!(
            "May be lost: acknowledged writes that only {} may have. They must be stopped: a \
             member that goes on acknowledging elsewhere loses that, too.",
            silent.join(", ")
        )
    });
    let body = Recover { group: group.to_owned(), left, ..Recover::default() };
    Ok((Wish { node: None, body, is_said: false }, said))
}

fn of_plane(plane: &Plane, view: &View, node: Option<&str>) -> Result<(Wish, Vec<String>)> {
    let global = GroupId::global();
    let mut body = Recover { group: global.as_str().to_owned(), ..Recover::default() };
    let (mut said, mut best, mut is_said) = (Vec::new(), None, false);
    for known in plane.nodes().iter().filter(|node| node.role != NodeRole::Data) {
        let Some(status) = view.nodes.get(&known.id) else {
            said.push(format!("{}: does not answer", known.id));
            continue;
        };
        body.acceptors.push(known.id.to_string());
        let Some(log) = status.logs.iter().find(|log| log.group == global.as_str()) else {
            said.push(format!("{}: is left, an acceptor", known.id));
            continue;
        };
        said.push(format!("{}: is left, {}", known.id, ends(log)));
        note(&mut body, log);
        is_said |= is_stuck(log);
        // A checkpoint node never masters, whatever it has.
        let may = known.role == NodeRole::Global;
        let wanted = may && node.is_none_or(|node| node == known.id.as_str());
        let rank = (masters(log).is_some(), log.intact, end(log));
        if wanted && best.as_ref().is_none_or(|(than, _)| rank > *than) {
            best = Some((rank, known.id.to_string()));
        }
    }
    let ((masters, _, end), best) = best.context("no global node answers that could go on")?;
    ensure!(
        masters || end > (0, 0),
        "no global node that answers has anything of the directory; if none that is silent has \
         it either, `cairn recover global --rebuild` makes it again from what the groups know"
    );
    said.push(format!(
        "{best} would go on. May be lost: changes of the directory that its log does not have. \
         Whoever does not answer must be stopped."
    ));
    Ok((Wish { node: Some(best), body, is_said }, said))
}

/// Keeps the greatest numbers that any node knows.
fn note(body: &mut Recover, log: &LogStatus) {
    let record: Option<Record> = serde_json::from_slice(&log.record).ok();
    let (version, epoch, attempt) =
        record.map_or((0, 0, 0), |r| (r.version.0, r.epoch.0, r.attempt.0));
    body.version = body.version.max(version);
    body.epoch = body.epoch.max(epoch).max(end(log).0);
    body.attempt = body.attempt.max(attempt).max(log.sealed);
}

fn end(log: &LogStatus) -> (u64, u64) {
    let last = log.last.unwrap_or_default();
    (last.epoch, last.offset)
}

fn ends(log: &LogStatus) -> String {
    let (epoch, offset) = end(log);
    let whole = if log.intact { "" } else { ", not intact: its tail may be missing" };
    let master = if masters(log).is_some() { ", says that it masters" } else { "" };
    format!("its log ends at {epoch}/{offset}{whole}{master}")
}

/// Waits until somebody masters the group again, in a later epoch or undisturbed.
async fn wait(plane: &Arc<Plane>, group: &str, before: u64) -> Result<()> {
    let until = Instant::now() + LIMIT;
    loop {
        let view = View::take(None, plane).await;
        if let Some((epoch, master)) = view.master_of(group)
            && view.topology.is_ok()
            && epoch >= before
            && !view.log(&NodeId::new(&master), group).is_some_and(is_stuck)
        {
            print::line(format_args!("{group}: {master} is master in epoch {epoch}"));
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{group} has no master after {} s; see `cairn why {group}`",
            LIMIT.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
}

fn is_stuck(log: &LogStatus) -> bool {
    log.waiting.iter().any(|line| line.starts_with("RecordMissing"))
}
