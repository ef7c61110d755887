//! `cairn report`: a tar file of what support may want to know, without secrets.

use crate::args::Output;
use crate::folder::{Folder, Roster};
use crate::kubernetes::Kubernetes;
use crate::place::Place;
use crate::view::View;
use crate::{failover, logs, print, status, tails, top};
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes the report; what cannot be had is named in it and on the terminal, and does not stop it.
pub async fn report(place: &Place, output: Option<PathBuf>, lines: usize) -> Result<()> {
    let (roster, plane) = place.open().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = format!("cairn-{}-{now}", roster.name);
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    let mut archive = Archive::create(&path, name, now)?;
    archive.text("version.txt", &format!("cairn {}\n", env!("CARGO_PKG_VERSION")))?;
    archive.add("status.json", status::status(place, Output::Json, false).await)?;
    archive.add("status.txt", status::status(place, Output::Table, false).await)?;
    archive.add("top.txt", top::top(place).await)?;
    archive.add("tails.txt", tails::tails(place).await)?;
    let view = View::take(None, &plane).await;
    let mut groups = vec!["global".to_owned()];
    if let Ok(topology) = &view.topology {
        groups.extend(topology.groups.keys().map(ToString::to_string));
    }
    for group in groups {
        archive.add(&format!("why/{group}.txt"), failover::why(place, &group).await)?;
    }
    match place {
        Place::Here(folder) => local(&mut archive, folder, &roster, lines)?,
        Place::Kubernetes(cluster) => kubernetes(&mut archive, cluster, &roster, lines).await?,
        // What nodes say of themselves is in it; their logs are not here.
        Place::Roster(_) => {}
    }
    let problems = archive.close()?;
    problems.iter().for_each(|problem| eprintln!("cairn: left out: {problem}"));
    print::line(format_args!("{}", path.display()));
    Ok(())
}

fn local(archive: &mut Archive, folder: &Folder, roster: &Roster, lines: usize) -> Result<()> {
    let nodes = roster.nodes.iter().map(|node| node.id.as_str());
    for node in nodes.chain(["supervisor"]) {
        let log = logs::last_lines(&folder.log(node), lines);
        archive.text(&format!("logs/{node}.log"), &log)?;
    }
    Ok(())
}

async fn kubernetes(
    archive: &mut Archive,
    cluster: &Kubernetes,
    roster: &Roster,
    lines: usize,
) -> Result<()> {
    archive.add("events.txt", cluster.events().await)?;
    for (kind, objects) in cluster.objects().await {
        archive.add(&format!("resources/{kind}.yaml"), objects)?;
    }
    let processes = cluster.processes().await.unwrap_or_default();
    for node in &roster.nodes {
        let pod = node.id.as_str();
        archive.add(&format!("logs/{pod}.log"), cluster.log(pod, lines, false).await)?;
        if processes.get(&node.id).is_some_and(|process| process.restarts > 0) {
            let log = cluster.log(pod, lines, true).await;
            archive.add(&format!("logs/{pod}.previous.log"), log)?;
        }
    }
    Ok(())
}

/// The file as it grows, and what could not be put into it.
struct Archive {
    tar: tar::Builder<GzEncoder<File>>,
    path: PathBuf,
    folder: String,
    made: u64,
    problems: Vec<String>,
}

impl Archive {
    fn create(path: &Path, folder: String, made: u64) -> Result<Self> {
        let file = File::create_new(path).with_context(|| format!("cannot create {path:?}"))?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self { tar, path: path.to_owned(), folder, made, problems: Vec::new() })
    }

    /// Adds a text, or notes why there is none.
    fn add(&mut self, name: &str, text: Result<String>) -> Result<()> {
        match text {
            Ok(text) => self.text(name, &text),
            Err(error) => {
                self.problems.push(format!("{name}: {error:#}"));
                Ok(())
            }
        }
    }

    fn text(&mut self, name: &str, text: &str) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.made);
        let name = format!("{}/{name}", self.folder);
        let added = self.tar.append_data(&mut header, name, text.as_bytes());
        added.with_context(|| format!("cannot write {:?}", self.path))
    }

    /// Ends the file; what is missing in it.
    fn close(mut self) -> Result<Vec<String>> {
        if !self.problems.is_empty() {
            self.text("left-out.txt", &(self.problems.join("\n") + "\n"))?;
        }
        let done = self.tar.into_inner().and_then(GzEncoder::finish);
        let file = done.with_context(|| format!("cannot write {:?}", self.path))?;
        file.sync_all().with_context(|| format!("cannot write {:?}", self.path))?;
        Ok(self.problems)
    }
}
