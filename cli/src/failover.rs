//! `cairn failover` and `cairn why`: wishes to the global master.

use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::view::View;
use anyhow::{Result, bail};
use cairn_logic::ids::GroupId;
use cairn_wire::peer::pb::{Switchover, Why, wish_request::Body};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Who is master already and stays it for so long is not being handed over.
const HANDOVER: Duration = Duration::from_millis(500);
/// Within that a group that changes its master has another one.
const TAKEOVER: Duration = Duration::from_secs(3);
/// Longer than a judge waits for a target to catch up.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Wishes for a switchover and waits until `to`, or another member, masters the group.
pub async fn failover(
    place: &Place,
    group: &str,
    to: Option<&str>,
    timeout_sec: u64,
) -> Result<()> {
    let (roster, plane) = place.open().await?;
    if let Some(to) = to {
        roster.node(to)?;
    }
    let began = Instant::now();
    let before = loop {
        if let Some(found) = mastership(&plane, group).await? {
            break found;
        }
        // The planner, or another person, may just be handing it over.
        if began.elapsed() >= TAKEOVER {
            bail!("group {group} has no master to hand over from; see `cairn why {group}`");
        }
        sleep(LOOK_EVERY).await;
    };
    let wish = Switchover { group: group.to_owned(), target: to.unwrap_or_default().to_owned() };
    let began = Instant::now();
    for line in plane.wish(Body::Switchover(wish.clone())).await? {
        print::line(format_args!("{line}"));
    }
    let mut asked = Instant::now();
    let until = began + Duration::from_secs(timeout_sec);
    loop {
        // Another one than was asked for: somebody else's wish was under way, this one comes next.
        if let Ok(Some((epoch, master))) = mastership(&plane, group).await
            && to.map_or(master != before.1, |to| to == master)
            && (epoch > before.0 || (master == before.1 && began.elapsed() >= HANDOVER))
        {
            print::line(format_args!("{}", changed(group, &before, (epoch, &master), began)));
            return Ok(());
        }
        if Instant::now() >= until {
            let wanted = to.unwrap_or("another member");
            bail!("{wanted} does not master {group} yet; see `cairn why {group}`");
        }
        if asked.elapsed() >= ASK_AGAIN {
            // The judge drops a wish whose target is not ready; it may be by now.
            asked = Instant::now();
            plane.wish(Body::Switchover(wish.clone())).await.ok();
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Who masters `group`, and what it took.
fn changed(group: &str, before: &(u64, String), now: (u64, &str), began: Instant) -> String {
    let ((was, former), (epoch, master)) = (before, now);
    if epoch == *was {
        return format!("{group}: {master} is master already (epoch {epoch})");
    }
    let ms = began.elapsed().as_millis();
    format!("{group}: {former} → {master}, epoch {was} → {epoch}, {ms} ms")
}

/// The epoch of `group` and who says that it masters it.
async fn mastership(plane: &Arc<Plane>, group: &str) -> Result<Option<(u64, String)>> {
    let view = View::take(None, plane).await;
    let id = GroupId::new(group);
    if let Ok(topology) = &view.topology
        && id != GroupId::global()
    {
        topology.group(&id)?;
    }
    Ok(view.master_of(group))
}

/// What the judge and the members say of a group.
pub async fn why(place: &Place, group: &str) -> Result<String> {
    let (roster, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let mut lines = vec![match view.master_of(group) {
        Some((epoch, master)) => format!("{group}: {master} is master in epoch {epoch}"),
        None => format!("{group}: no master says that it serves"),
    }];
    match plane.wish(Body::Why(Why { group: group.to_owned() })).await {
        Ok(said) => lines.extend(said.iter().map(|line| format!("judge: {line}"))),
        Err(error) => lines.push(format!("judge: not reached: {error:#}")),
    }
    for node in &roster.nodes {
        let Some(log) = view.log(&node.id, group) else {
            if !view.nodes.contains_key(&node.id) && view.belongs(&node.id, group) {
                lines.push(format!("{}: does not answer", node.id));
            }
            continue;
        };
        let (last, sealed) = (log.last.unwrap_or_default(), log.sealed);
        lines.push(format!(
            "{}: {}, last {}/{}, committed {}, sealed {sealed}{}, silence {} ms",
            node.id,
            crate::status::position(log),
            last.epoch,
            last.offset,
            log.committed,
            if log.intact { "" } else { ", not intact" },
            log.master_silence_ms,
        ));
        lines.extend(log.waiting.iter().map(|line| format!("{}: waits: {line}", node.id)));
    }
    Ok(lines.join("\n") + "\n")
}
