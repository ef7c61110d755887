//! `cairn status`: nodes, roles, epochs, lag, slots; for people or for programs.

mod conditions;
mod tree;

use crate::args::Output;
use crate::folder::{LocalNode, Roster};
use crate::place::Place;
use crate::supervise::Run;
use crate::view::View;
use anyhow::{Context, Result};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::Port;
use cairn_settings::directory_keys as keys;
use cairn_wire::peer::pb;
use conditions::{ConditionReport, conditions};
use serde::Serialize;

/// What is seen now.
pub async fn status(place: &Place, output: Output, digests: bool) -> Result<String> {
    let (roster, plane) = place.open().await?;
    let view = View::look(place.processes().await?, &plane, digests).await;
    let report = Report::of(&roster, &view);
    Ok(match (output, place) {
        (Output::Json, _) => serde_json::to_string_pretty(&report).context("cannot encode")? + "\n",
        (Output::Table, Place::Here(_) | Place::Roster(_)) => report.summary() + &report.tables(),
        (Output::Table, Place::Kubernetes(cluster)) => {
            report.summary() + "\n" + &tree::tree(&report, &cluster.pods_seen().await?)
        }
    })
}

/// What `-o json` prints; keys are only ever added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    cluster: String,
    uid: String,
    up: bool,
    ready: bool,
    missing: Vec<String>,
    global_master: Option<String>,
    global: Option<GlobalReport>,
    conditions: Vec<ConditionReport>,
    nodes: Vec<NodeReport>,
    groups: Vec<GroupReport>,
    keyspaces: Vec<KeyspaceReport>,
}

/// The global plane's record, as its master last read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GlobalReport {
    epoch: u64,
    attempt: u64,
    open: bool,
    members: Vec<MemberReport>,
    wanted: u8,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeReport {
    id: String,
    role: String,
    process: &'static str,
    pid: Option<i32>,
    restarts: u32,
    last_exit: Option<String>,
    answers: bool,
    incarnation: Option<String>,
    life: Option<u64>,
    rss_bytes: Option<u64>,
    disk_free_bytes: Option<u64>,
    /// Of the certificates in use; empty: plain text.
    peer_tls_digest: Option<String>,
    client_tls_digest: Option<String>,
    client: String,
    etcd: String,
    peer: String,
    metrics: String,
    logs: Vec<LogReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogReport {
    group: String,
    position: &'static str,
    epoch: u64,
    last_epoch: u64,
    last_offset: u64,
    committed: u64,
    applied: u64,
    sealed: u64,
    intact: bool,
    lag_entries: Option<u64>,
    /// Where it was asked for.
    digest: Option<u64>,
    waiting: Vec<String>,
    /// While its state is not whole, which clients wait for.
    loaded_percent: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupReport {
    id: String,
    epoch: u64,
    attempt: u64,
    open: bool,
    master: Option<String>,
    serving: bool,
    members: Vec<MemberReport>,
    wanted: u8,
    slots: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberReport {
    id: String,
    role: String,
    lag_entries: Option<u64>,
    /// The zone that it counts in.
    zone: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyspaceReport {
    name: String,
    groups: u16,
    slots_served: usize,
    endpoints: Vec<String>,
}

impl Report {
    fn of(state: &Roster, view: &View) -> Self {
        let missing = view.missing(state);
        let nodes = state.nodes.iter().map(|node| NodeReport::of(node, view)).collect();
        Self {
            cluster: state.name.clone(),
            uid: state.uid.clone(),
            up: view.processes.is_some(),
            ready: missing.is_empty(),
            missing,
            global_master: view.master_of(GroupId::global().as_str()).map(|(_, id)| id),
            global: view.global_record().map(|record| GlobalReport::of(&record, view)),
            conditions: conditions(view),
            nodes,
            groups: group_reports(view),
            keyspaces: keyspace_reports(state, view),
        }
    }

    /// What a person should know first.
    fn summary(&self) -> String {
        let ready = match (self.up, self.ready) {
            (false, _) => "not up",
            (true, true) => "ready",
            (true, false) => "not ready",
        };
        let master = self.global_master.as_deref().unwrap_or("none");
        let mut text = format!("cluster {}: {ready}, global master {master}", self.cluster);
        if let Some(global) = &self.global {
            let (epoch, count) = (global.epoch, global.members.len());
            text += &format!(" (epoch {epoch}, {count} of {} members)", global.wanted);
        }
        text.push('\n');
        for line in self.missing.iter().filter(|_| self.up) {
            text += &format!("  {line}\n");
        }
        for condition in &self.conditions {
            text += &format!("  {}\n", condition.line());
        }
        text
    }

    fn tables(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().flat_map(NodeReport::rows).collect();
        let mut text = "\n".to_owned();
        text += &table(
            &["NODE", "ROLE", "PROCESS", "GROUP", "POSITION", "EPOCH", "LAST", "COMMITTED", "LAG"],
            &nodes,
        );
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().map(GroupReport::row).collect();
            text += "\n";
            let head = ["GROUP", "MASTER", "EPOCH", "MEMBERS", "ZONES", "SLOTS", "STATE"];
            text += &table(&head, &groups);
        }
        if !self.keyspaces.is_empty() {
            let rows: Vec<_> = self.keyspaces.iter().map(KeyspaceReport::row).collect();
            text += "\n";
            text += &table(&["KEYSPACE", "GROUPS", "SLOTS", "ENDPOINTS"], &rows);
        }
        text
    }
}

impl GlobalReport {
    fn of(record: &Record, view: &View) -> Self {
        Self {
            epoch: record.epoch.0,
            attempt: record.attempt.0,
            open: record.open,
            members: member_reports(GroupId::global().as_str(), record, view),
            wanted: record.wanted,
        }
    }
}

impl NodeReport {
    fn of(node: &LocalNode, view: &View) -> Self {
        let process = view.process(&node.id);
        let said = view.nodes.get(&node.id);
        let logs = said.map_or(&[][..], |s| &s.logs);
        Self {
            id: node.id.to_string(),
            role: node.role.to_string(),
            process: process.map_or("down", |p| match p.run {
                Run::Running => "running",
                Run::Waiting => "restarting",
                Run::Stopped => "stopped",
            }),
            pid: process.and_then(|p| p.identity.as_ref()).map(|i| i.pid),
            restarts: process.map_or(0, |p| p.restarts),
            last_exit: process.and_then(|p| p.last_exit.clone()),
            answers: said.is_some(),
            incarnation: said.map(|s| format!("{:016x}", s.incarnation)),
            life: said.map(|s| s.life),
            rss_bytes: said.map(|s| s.rss_bytes),
            disk_free_bytes: said.map(|s| s.disk_free_bytes).filter(|free| *free > 0),
            peer_tls_digest: said.map(|s| s.peer_tls_digest.clone()),
            client_tls_digest: said.map(|s| s.client_tls_digest.clone()),
            client: node.address(Port::Client),
            etcd: node.address(Port::Etcd),
            peer: node.address(Port::Peer),
            metrics: node.address(Port::Metrics),
            logs: logs.iter().map(|log| LogReport::of(log, &node.id, view)).collect(),
        }
    }

    fn rows(&self) -> Vec<[String; 9]> {
        let process = match self.pid {
            Some(pid) if self.answers => format!("{} {pid}", self.process),
            Some(pid) => format!("{} {pid}, silent", self.process),
            None => self.process.to_owned(),
        };
        let head = |group: String, rest: [String; 5]| {
            let [position, epoch, last, committed, lag] = rest;
            let (id, role) = (self.id.clone(), self.role.clone());
            [id, role, process.clone(), group, position, epoch, last, committed, lag]
        };
        if self.logs.is_empty() {
            return vec![head("-".to_owned(), [const { String::new() }; 5])];
        }
        let row = |log: &LogReport| {
            let lag = log.lag_entries.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
            let last = format!("{}/{}", log.last_epoch, log.last_offset);
            let numbers =
                [log.position(), log.epoch.to_string(), last, log.committed.to_string(), lag];
            head(log.group.clone(), numbers)
        };
        self.logs.iter().map(row).collect()
    }
}

impl LogReport {
    fn of(log: &pb::LogStatus, node: &NodeId, view: &View) -> Self {
        let last = log.last.unwrap_or_default();
        Self {
            group: log.group.clone(),
            position: position_of(log, node),
            epoch: epoch(log),
            last_epoch: last.epoch,
            last_offset: last.offset,
            committed: log.committed,
            applied: log.applied,
            sealed: log.sealed,
            intact: log.intact,
            lag_entries: lag(view, &log.group, node.as_str()),
            digest: log.digest,
            waiting: log.waiting.clone(),
            loaded_percent: log.loaded_percent,
        }
    }

    /// Its position, and how far it is with a state that it does not have yet.
    fn position(&self) -> String {
        match self.loaded_percent {
            Some(percent) => format!("{}, loading {percent} %", self.position),
            None => self.position.to_owned(),
        }
    }
}

/// How far the master of `group` says that `node` is behind.
fn lag(view: &View, group: &str, node: &str) -> Option<u64> {
    let (_, master) = view.master_of(group)?;
    let log = view.log(&NodeId::new(&master), group)?;
    log.members.iter().find(|m| m.node == node).map(|m| m.lag_entries)
}

fn member_reports(group: &str, record: &Record, view: &View) -> Vec<MemberReport> {
    let member = |m: &cairn_logic::record::Member| MemberReport {
        id: m.id.to_string(),
        role: format!("{:?}", m.role).to_lowercase(),
        lag_entries: lag(view, group, m.id.as_str()),
        zone: m.zone.clone(),
    };
    record.members.iter().map(member).collect()
}

fn group_reports(view: &View) -> Vec<GroupReport> {
    let Ok(topology) = &view.topology else { return Vec::new() };
    let report = |(id, record): (&GroupId, &Record)| GroupReport {
        id: id.to_string(),
        epoch: record.epoch.0,
        attempt: record.attempt.0,
        open: record.open,
        master: record.master.as_ref().map(ToString::to_string),
        serving: view.serves(id, record),
        members: member_reports(id.as_str(), record, view),
        wanted: record.wanted,
        slots: topology.slots_of(id),
    };
    topology.groups.iter().map(report).collect()
}

impl GroupReport {
    fn state(&self) -> &'static str {
        match (self.serving, self.open) {
            (_, true) => "failing over",
            (true, false) => "serving",
            (false, false) => "not serving",
        }
    }

    /// The zones of its members, each once for each of them.
    fn zones(&self) -> String {
        let mut zones: Vec<&str> = self.members.iter().filter_map(|m| m.zone.as_deref()).collect();
        zones.sort_unstable();
        if zones.is_empty() { "-".to_owned() } else { zones.join(" ") }
    }

    fn row(&self) -> [String; 7] {
        [
            self.id.clone(),
            self.master.clone().unwrap_or_else(|| "-".to_owned()),
            self.epoch.to_string(),
            format!("{}/{}", self.members.len(), self.wanted),
            self.zones(),
            self.slots.to_string(),
            self.state().to_owned(),
        ]
    }
}

fn keyspace_reports(state: &Roster, view: &View) -> Vec<KeyspaceReport> {
    let Ok(topology) = &view.topology else { return Vec::new() };
    let mut reports = Vec::new();
    for (name, config) in &topology.keyspaces {
        let ranges = topology.slots.get(name).map_or(&[][..], |owners| owners.ranges());
        let serving = ranges.iter().filter(|range| {
            topology.groups.get(&range.group).is_some_and(|r| view.serves(&range.group, r))
        });
        let mut endpoints: Vec<String> = ranges
            .iter()
            .filter_map(|range| topology.groups.get(&range.group)?.master.as_ref())
            .filter_map(|id| Some(state.node(id.as_str()).ok()?.address(Port::Client)))
            .collect();
        endpoints.sort();
        endpoints.dedup();
        reports.push(KeyspaceReport {
            name: name.clone(),
            groups: config.groups,
            slots_served: serving.map(|range| range.len()).sum(),
            endpoints,
        });
    }
    reports
}

impl KeyspaceReport {
    fn row(&self) -> [String; 4] {
        [
            self.name.clone(),
            self.groups.to_string(),
            self.slots_served.to_string(),
            self.endpoints.join(","),
        ]
    }
}

/// A node's position in a log, in a word; a node that has not read the record yet since it started
/// does not know whether it counts, and one that the record does not name only learns.
fn position_of(log: &pb::LogStatus, node: &NodeId) -> &'static str {
    let said = position(log);
    match keys::decode_group(&log.record) {
        _ if said != "follower" => said,
        Err(_) => "starting",
        Ok(record) if record.member(node).is_none() => "learner",
        Ok(_) => said,
    }
}

/// A node's position in a log, in a word.
pub fn position(log: &pb::LogStatus) -> &'static str {
    match log.position.unwrap_or_default().kind() {
        pb::PositionKind::Follower => "follower",
        pb::PositionKind::Learner => "learner",
        pb::PositionKind::Elect => "elect",
        pb::PositionKind::Master => "master",
    }
}

/// The epoch a node is in: its own as master or elect, else that of the last entry it follows.
fn epoch(log: &pb::LogStatus) -> u64 {
    let own = log.position.unwrap_or_default();
    match own.kind() {
        pb::PositionKind::Master | pb::PositionKind::Elect => own.epoch,
        _ => log.last.unwrap_or_default().epoch,
    }
}

/// Rows under headings, columns aligned.
pub fn table<const N: usize>(headings: &[&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let headings = headings.map(str::to_owned);
    for row in std::iter::once(&headings).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "12345".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(table(&["X", "NUM"], &rows), "X    NUM\na    12345\nbcd\n");
    }
}
