//! The snapshots in folders of nodes, and whether each is whole.
//!
//! Nothing is changed and no lock is needed, so the nodes may be running; a file that a node
//! removes meanwhile is left out.

use super::age;
use crate::print;
use crate::status::table;
use anyhow::{Context, Result, bail, ensure};
use cairn_files::{Error, RealDisk, Snapshot};
use std::path::{Path, PathBuf};

/// How deep below a given folder nodes' folders are looked for: a cluster's has `data/<node>`.
const DEPTH_MAX: usize = 3;

/// A snapshot's place.
struct At {
    node: PathBuf,
    group: String,
    file: PathBuf,
}

/// Every snapshot below `folder` as a table, newest first in each group; with `verify` all of each
/// is read, and one that is not whole is an error.
pub fn show(folder: &Path, verify: bool) -> Result<()> {
    let found = snapshots(folder)?;
    let node = |at: &At| match at.node.strip_prefix(folder) {
        Ok(node) if node != Path::new("") => node.display().to_string(),
        _ => at.node.display().to_string(),
    };
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for at in &found {
        let name = at.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match look(&at.file, verify) {
            Ok([group, from, upto, records, bytes, age]) => {
                let state = if verify { "whole" } else { "not read" };
                rows.push([node(at), group, from, upto, records, bytes, age, state.into(), name]);
            }
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let [from, upto, records, bytes, age] = [(); 5].map(|()| "-".to_owned());
                let (group, state) = (at.group.clone(), "bad".to_owned());
                rows.push([node(at), group, from, upto, records, bytes, age, state, name]);
                bad.push(anyhow::Error::from(error));
            }
        }
    }
    if rows.is_empty() {
        print::line("no snapshots: the nodes here start from their logs alone");
        return Ok(());
    }
    let headings = ["NODE", "GROUP", "FROM", "UPTO", "RECORDS", "BYTES", "AGE", "CHECKED", "FILE"];
    print::text(&table(&headings, &rows));
    for error in &bad {
        print::line(format_args!("{error:#}"));
    }
    if !bad.is_empty() {
        bail!("{} of {} snapshots cannot be used", bad.len(), rows.len());
    }
    Ok(())
}

/// Group, entries, records, bytes and age of one.
fn look(file: &Path, verify: bool) -> cairn_files::Result<[String; 6]> {
    let snapshot = Snapshot::open(&RealDisk, file)?;
    if verify {
        snapshot.verify()?;
    }
    let (head, end) = (snapshot.head(), snapshot.end());
    Ok([
        head.group.to_string(),
        end.from.to_string(),
        end.upto.to_string(),
        end.records.to_string(),
        snapshot.bytes().to_string(),
        age(head.made_ms),
    ])
}

/// All finished snapshots below `folder`: of one node, or of each node below.
fn snapshots(folder: &Path) -> Result<Vec<At>> {
    if folder.is_file() {
        return Ok(vec![alone(folder)]);
    }
    ensure!(folder.is_dir(), "there is no folder {folder:?}");
    let mut nodes = Vec::new();
    nodes_below(folder, DEPTH_MAX, &mut nodes)?;
    ensure!(!nodes.is_empty(), "{folder:?} is no node's folder, and none is below it");
    let mut found = Vec::new();
    for node in nodes {
        for group in entries(&node.join("groups"))? {
            let folder = group.join("snapshots");
            if !folder.is_dir() {
                continue;
            }
            let mut files = entries(&folder)?;
            files.retain(|file| {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(|first: char| first.is_ascii_digit()) && name.ends_with(".snap")
            });
            let name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.extend(files.into_iter().rev().map(|file| {
                let (node, group) = (node.clone(), name.clone());
                At { node, group, file }
            }));
        }
    }
    Ok(found)
}

/// A file by itself: whose it is says its head.
fn alone(file: &Path) -> At {
    At { node: PathBuf::from("-"), group: "-".to_owned(), file: file.to_owned() }
}

/// Folders that have an identity and groups, as a node's has.
fn nodes_below(folder: &Path, depth: usize, nodes: &mut Vec<PathBuf>) -> Result<()> {
    if folder.join("identity").is_file() && folder.join("groups").is_dir() {
        nodes.push(folder.to_owned());
    } else if depth > 0 {
        for below in entries(folder)?.iter().filter(|below| below.is_dir()) {
            nodes_below(below, depth - 1, nodes)?;
        }
    }
    Ok(())
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> =
        paths.collect::<Result<_, _>>().with_context(|| format!("cannot list {folder:?}"))?;
    paths.sort();
    Ok(paths)
}
