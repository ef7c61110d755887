//! What is kept of a story that failed, and how the next one finds everything as it should be.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::kubectl::Kubectl;
use crate::machines;
use crate::operator;
use crate::scene::NAMESPACE;
use crate::stories::Stage;

/// Lines of each log that are kept.
const LINES: &str = "--tail=4000";

/// Writes down what is known of a story that failed, takes its namespaces away, and puts machines,
/// API server and operator back.
pub fn settle(stage: &Stage, story: &str) {
    let folder = stage.logs.join(story);
    let machines = machines::restore(&stage.kubectl);
    for (what, outcome) in [
        ("the cluster cannot be put back", machines),
        ("its logs are not complete", keep(stage, &folder)),
        ("the operator cannot be put back", operator::install(&stage.kubectl, &[])),
        ("the operator does not run", operator::scale(&stage.kubectl, 2)),
        ("its namespaces stay", if stage.keep { Ok(()) } else { remove(&stage.kubectl) }),
    ] {
        if let Err(error) = outcome {
            println!("after the story {story}: {what}: {error:#}");
        }
    }
    println!("what is known of it is in {}", folder.display());
}

fn namespaces(kubectl: &Kubectl) -> Result<Vec<String>> {
    let names = kubectl.run(["get", "namespaces", "--output=name"])?;
    let names = names.lines().filter_map(|line| line.strip_prefix("namespace/"));
    Ok(names.filter(|name| name.starts_with(NAMESPACE)).map(str::to_owned).collect())
}

fn keep(stage: &Stage, folder: &Path) -> Result<()> {
    let mut spaces = namespaces(&stage.kubectl)?;
    spaces.push(operator::NAMESPACE.to_owned());
    for space in spaces {
        let kubectl = stage.kubectl.within(&space);
        let folder = folder.join(&space);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        let write = |name: &str, arguments: &[&str]| -> Result<()> {
            let answer = kubectl.ask(arguments, "")?;
            let path = folder.join(name);
            let text = format!("{}{}", answer.output, answer.complaint);
            fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))
        };
        write("pods.txt", &["get", "pods", "--output=wide"])?;
        write("objects.yaml", &["get", "cairn,statefulsets,pods,leases", "--output=yaml"])?;
        write("events.txt", &["get", "events", "--sort-by=.lastTimestamp"])?;
        let pods = kubectl.run(["get", "pods", "--output=name"])?;
        for pod in pods.lines() {
            let name = pod.trim_start_matches("pod/");
            write(&format!("{name}.log"), &["logs", pod, LINES])?;
            write(&format!("{name}.before.log"), &["logs", pod, LINES, "--previous"])?;
        }
    }
    Ok(())
}

fn remove(kubectl: &Kubectl) -> Result<()> {
    for space in namespaces(kubectl)? {
        let object = format!("namespace/{space}");
        kubectl.run(["delete", &object, "--timeout=120s"])?;
    }
    Ok(())
}
