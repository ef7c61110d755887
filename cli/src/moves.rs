//! `cairn slots`, `cairn move` and `cairn cancel-move`: who owns which slots, and what is on its
//! way.

use crate::args::Output;
use crate::place::Place;
use crate::plane::Plane;
use crate::print;
use crate::status::table;
use crate::view::{Topology, View};
use anyhow::{Context, Result, bail, ensure};
use cairn_logic::ids::{GroupId, SLOTS};
use cairn_logic::moves::{Move, Phase};
use cairn_settings::directory_keys::keyspace_of;
use cairn_wire::peer::pb::rebalance::Action;
use cairn_wire::peer::pb::{CancelMove, MoveSlots, MoveStatus, Rebalance, wish_request::Body};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What `-o json` prints; keys are only ever added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Slots {
    ranges: Vec<Range>,
    moves: Vec<Moving>,
    planner: Vec<Planner>,
}

/// What the planner does next with a keyspace, or waits for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planner {
    keyspace: String,
    next: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    keyspace: String,
    first: u16,
    last: u16,
    group: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Moving {
    keyspace: String,
    id: u64,
    first: u16,
    last: u16,
    source: String,
    target: String,
    phase: Phase,
    /// What its source's master is at.
    step: Option<String>,
    bytes: u64,
}

/// The map of slots, and the moves that have not ended.
pub async fn slots(place: &Place, output: Output) -> Result<String> {
    let (_, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let topology = view.topology.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let planner = planner(&plane, topology).await;
    let slots = Slots { ranges: ranges(topology), moves: moves(topology, &view), planner };
    match output {
        Output::Json => Ok(serde_json::to_string_pretty(&slots).context("cannot encode")? + "\n"),
        Output::Table => Ok(tables(&slots)),
    }
}

/// Keyspaces of one group have nothing to plan.
async fn planner(plane: &Plane, topology: &Topology) -> Vec<Planner> {
    let mut all = Vec::new();
    for keyspace in topology.keyspaces.keys() {
        let groups = topology.groups.keys().filter(|id| keyspace_of(id) == Some(keyspace));
        if groups.count() < 2 {
            continue;
        }
        let wish = Rebalance { keyspace: keyspace.clone(), action: Action::Plan.into() };
        let lines = plane.wish(Body::Rebalance(wish)).await;
        let next = match lines {
            Ok(lines) => lines.into_iter().next().unwrap_or_default(),
            Err(error) => format!("not known: {error:#}"),
        };
        all.push(Planner { keyspace: keyspace.clone(), next });
    }
    all
}

fn ranges(topology: &Topology) -> Vec<Range> {
    let all = topology.slots.iter().flat_map(|(keyspace, owners)| {
        owners.ranges().iter().map(move |range| Range {
            keyspace: keyspace.clone(),
            first: range.first.get(),
            last: range.last.get(),
            group: range.group.to_string(),
        })
    });
    all.collect()
}

fn moves(topology: &Topology, view: &View) -> Vec<Moving> {
    let said: Vec<&MoveStatus> =
        view.nodes.values().flat_map(|node| &node.logs).flat_map(|log| &log.moves).collect();
    let all = topology.moves.iter().flat_map(|(keyspace, moves)| {
        let said = &said;
        moves.all().iter().map(move |it| {
            let said = said.iter().find(|said| said.r#move == it.id.0);
            moving(keyspace, it, said.copied())
        })
    });
    all.collect()
}

fn moving(keyspace: &str, it: &Move, said: Option<&MoveStatus>) -> Moving {
    Moving {
        keyspace: keyspace.to_owned(),
        id: it.id.0,
        first: it.first.get(),
        last: it.last.get(),
        source: it.source.to_string(),
        target: it.target.to_string(),
        phase: it.phase,
        step: said.map(|said| said.step.clone()),
        bytes: said.map_or(0, |said| said.bytes),
    }
}

fn tables(slots: &Slots) -> String {
    let range = |first: u16, last: u16| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let row = |it: &Range| {
        let count = it.last - it.first + 1;
        [it.keyspace.clone(), range(it.first, it.last), count.to_string(), it.group.clone()]
    };
    let rows: Vec<[String; 4]> = slots.ranges.iter().map(row).collect();
    let map = table(&["KEYSPACE", "SLOTS", "COUNT", "GROUP"], &rows);
    let row = |it: &Planner| [it.keyspace.clone(), it.next.clone()];
    let rows: Vec<[String; 2]> = slots.planner.iter().map(row).collect();
    let map = match rows.is_empty() {
        true => map,
        false => map + "\n" + &table(&["KEYSPACE", "PLANNER"], &rows),
    };
    if slots.moves.is_empty() {
        return map;
    }
    let row = |it: &Moving| {
        let phase = match (it.phase, &it.step) {
            (Phase::Copy, Some(step)) => step.clone(),
            (Phase::Copy, None) => "waits".to_owned(),
            (Phase::Done, _) => "done, the source deletes".to_owned(),
            (Phase::Aborted, _) => "cancelled, the target deletes".to_owned(),
        };
        let (keyspace, slots) = (it.keyspace.clone(), range(it.first, it.last));
        let (from, to) = (it.source.clone(), it.target.clone());
        [it.id.to_string(), keyspace, slots, from, to, phase, it.bytes.to_string()]
    };
    let rows: Vec<[String; 7]> = slots.moves.iter().map(row).collect();
    let head = ["MOVE", "KEYSPACE", "SLOTS", "FROM", "TO", "STATE", "CARRIED BYTES"];
    map + "\n" + &table(&head, &rows)
}

/// The first and the last slot of `5` or `0-99`.
pub fn range(text: &str) -> Result<(u16, u16)> {
    let slot = |text: &str| {
        let number = text.trim().parse::<u16>().ok().filter(|number| *number < SLOTS);
        number.with_context(|| format!("{text:?} is no slot: a number from 0 to 16383"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (slot(first)?, slot(last)?);
    ensure!(first <= last, "the slots {text} end before they begin");
    Ok((first, last))
}

/// Moves slots to a group and waits until it owns them.
pub async fn move_slots(place: &Place, slots: &str, group: &str, timeout_sec: u64) -> Result<()> {
    let (first, last) = range(slots)?;
    let (_, plane) = place.open().await?;
    let id = GroupId::new(group);
    Topology::read(&plane).await?.group(&id)?;
    let keyspace = keyspace_of(&id).with_context(|| format!("{group} is of no keyspace"))?;
    let began = Instant::now();
    let (keyspace, target) = (keyspace.to_owned(), group.to_owned());
    let (first32, last32) = (u32::from(first), u32::from(last));
    let wish = MoveSlots { keyspace: keyspace.clone(), first: first32, last: last32, target };
    for line in plane.wish(Body::MoveSlots(wish)).await? {
        print::line(format_args!("{line}"));
    }
    if timeout_sec == 0 {
        return Ok(());
    }
    let until = began + Duration::from_secs(timeout_sec);
    while !owns(&plane, &keyspace, (first, last), &id).await {
        if Instant::now() >= until {
            bail!("the moves go on; see `cairn slots`");
        }
        if !copies(&plane, &keyspace, (first, last)).await {
            // It may have ended well meanwhile.
            sleep(LOOK_EVERY).await;
            if owns(&plane, &keyspace, (first, last), &id).await {
                break;
            }
            bail!("the moves of these slots were cancelled; see `cairn slots`");
        }
        sleep(LOOK_EVERY).await;
    }
    let ms = began.elapsed().as_millis();
    print::line(format_args!("slots {slots} are in {group}, {ms} ms"));
    Ok(())
}

/// Whether the group owns all of them; false, too, while nobody can say.
async fn owns(plane: &Arc<Plane>, keyspace: &str, (first, last): (u16, u16), id: &GroupId) -> bool {
    let Ok(topology) = Topology::read(plane).await else { return false };
    let Some(owners) = topology.slots.get(keyspace) else { return false };
    let mine = owners.ranges().iter().filter(|range| range.group == *id);
    let mut within = mine.map(|range| (range.first.get(), range.last.get()));
    within.any(|(from, to)| from <= first && last <= to)
}

/// Whether moves of some of them are under way; true, too, while nobody can say.
async fn copies(plane: &Arc<Plane>, keyspace: &str, (first, last): (u16, u16)) -> bool {
    let Ok(topology) = Topology::read(plane).await else { return true };
    let moves = topology.moves.get(keyspace).into_iter().flat_map(|moves| moves.all());
    let mut meets = moves.filter(|it| it.first.get() <= last && first <= it.last.get());
    meets.any(|it| it.phase == Phase::Copy)
}

/// Gives up a move, or all of a keyspace.
pub async fn cancel(place: &Place, keyspace: &str, id: Option<u64>) -> Result<()> {
    let (_, plane) = place.open().await?;
    let wish = CancelMove { keyspace: keyspace.to_owned(), r#move: id.unwrap_or(0) };
    for line in plane.wish(Body::CancelMove(wish)).await? {
        print::line(format_args!("{line}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::Slot;
    use cairn_logic::moves::Moves;

    #[test]
    fn slots_are_one_number_or_two() {
        assert_eq!(range("7").unwrap(), (7, 7));
        assert_eq!(range("0-16383").unwrap(), (0, 16383));
        for bad in ["", "-", "7-", "9-3", "16384", "a-b", "1-2-3"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moves_are_listed_below_the_map_with_what_their_masters_say() {
        let slot = |number| Slot::try_from(number).unwrap();
        let mut moves = Moves::default();
        let (from, to) = (GroupId::new("t-0"), GroupId::new("t-1"));
        moves.begin((slot(5), slot(9)), &from, &to).unwrap();
        let said = MoveStatus { r#move: 1, step: "copies".into(), bytes: 4096, since_ms: 3 };
        let moves = vec![moving("t", &moves.all()[0], Some(&said))];
        let all = Range { keyspace: "t".into(), first: 0, last: 16383, group: "t-0".into() };
        let planner = vec![Planner { keyspace: "t".into(), next: "now: waits".into() }];
        let text = tables(&Slots { ranges: vec![all], moves, planner });
        assert!(text.contains("t         now: waits\n"), "{text}");
        assert!(text.contains("t         0-16383  16384  t-0\n"), "{text}");
        assert!(text.contains("1     t         5-9    t-0   t-1  copies  4096\n"), "{text}");
    }
}
