//! Which of our crates may use which: read from the code map in ARCHITECTURE.md.
//!
//! The map is the rule: a crate may depend on what its row names and on what those may use in
//! turn. Tests (`dev-dependencies`) may also use the harness. What comes from outside has a row in
//! docs/dependencies.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Problem;

/// Crates that decide, and therefore may use nothing that waits, draws lots or owns a socket.
pub const PURE: [&str; 6] = ["logic", "directory", "global", "resp", "keyspace", "acl"];

const WORLDLY: [&str; 9] =
    ["tokio", "tonic", "prost", "mio", "kube", "rand", "rustix", "libc", "tokio-stream"];

/// Programs around clients of others, which nothing of ours is built with.
const FOREIGN: &str = "xtask/clients/";

/// For each folder of the code map, the folders it may use; `None` stands for anything.
type Arrows = BTreeMap<String, Option<BTreeSet<String>>>;

/// Holds each member's Cargo.toml against the code map.
pub fn check(root: &Path, manifests: &[String]) -> Vec<Problem> {
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let arrows = closed(read_map(&map));
    if arrows.is_empty() {
        return vec![Problem::new("ARCHITECTURE.md", 1, "has no code map")];
    }
    let listed = std::fs::read_to_string(root.join("docs/dependencies.md")).unwrap_or_default();
    let mut problems = Vec::new();
    for path in manifests.iter().filter(|path| !path.starts_with(FOREIGN)) {
        let Some(folder) = path.strip_suffix("/Cargo.toml") else { continue };
        let name = folder.strip_prefix("crates/").unwrap_or(folder);
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        match arrows.get(name) {
            Some(allowed) => check_manifest(path, name, &text, allowed.as_ref(), &mut problems),
            None => problems.push(Problem::new(path, 1, "is not in ARCHITECTURE.md's code map")),
        }
        for (line, _, dependency) in dependencies(&text) {
            if !dependency.starts_with("cairn-") && !listed.contains(&format!("| `{dependency}` |"))
            {
                let what = format!("{dependency} has no row in docs/dependencies.md");
                problems.push(Problem::new(path, line, what));
            }
        }
    }
    problems
}

fn check_manifest(
    path: &str,
    name: &str,
    text: &str,
    allowed: Option<&BTreeSet<String>>,
    problems: &mut Vec<Problem>,
) {
    if !text.contains("[lints]\nworkspace = true") {
        problems.push(Problem::new(path, 1, "does not take the workspace's lints"));
    }
    for (line, for_tests, dependency) in dependencies(text) {
        if PURE.contains(&name) && !for_tests && WORLDLY.contains(&dependency.as_str()) {
            let what = format!("{name} is pure and may not use {dependency}");
            problems.push(Problem::new(path, line, what));
        }
        let Some(ours) = dependency.strip_prefix("cairn-") else { continue };
        let in_tests = for_tests && ours == "harness";
        if !in_tests && !allowed.is_none_or(|allowed| allowed.contains(ours)) {
            let what = format!("{name} may not use {ours}: see ARCHITECTURE.md's code map");
            problems.push(Problem::new(path, line, what));
        }
    }
}

/// Each dependency of a manifest: line, whether only tests use it, name.
fn dependencies(text: &str) -> Vec<(usize, bool, String)> {
    let mut found = Vec::new();
    let mut section = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            section = header.ends_with("dependencies").then(|| header.contains("dev-"));
            continue;
        }
        let Some(for_tests) = section else { continue };
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if !name.is_empty() && !name.starts_with('#') {
            found.push((at + 1, for_tests, name.to_owned()));
        }
    }
    found
}

/// Reads the rows ``| `folder` | what it is | depends on |``.
fn read_map(text: &str) -> Arrows {
    let mut arrows = Arrows::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [folder, _, uses] = cells[..] else { continue };
        let folder = folder.trim_matches('`').trim_start_matches("crates/").to_owned();
        let uses = match uses {
            "anything" => None,
            "nothing of ours" => Some(BTreeSet::new()),
            list => Some(list.split(',').map(|name| name.trim().to_owned()).collect()),
        };
        arrows.insert(folder, uses);
    }
    arrows
}

/// Adds to each row what the crates it names may use themselves.
fn closed(mut arrows: Arrows) -> Arrows {
    for _ in 0..arrows.len() {
        let before = arrows.clone();
        for uses in arrows.values_mut().flatten() {
            for name in uses.clone() {
                uses.extend(before.get(&name).cloned().flatten().unwrap_or_default());
            }
        }
    }
    arrows
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "| `crates/a` | x | nothing of ours |\n| `crates/b` | x | a |\n\
                       | `node` | x | b |\n| `xtask` | x | anything |\n";

    fn problems(name: &str, manifest: &str) -> Vec<String> {
        let text = format!("[lints]\nworkspace = true\n{manifest}");
        let arrows = closed(read_map(MAP));
        let mut problems = Vec::new();
        check_manifest("Cargo.toml", name, &text, arrows[name].as_ref(), &mut problems);
        problems.into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_crate_may_use_what_its_row_names_and_what_that_uses() {
        let both = "[dependencies]\ncairn-a.workspace = true\ncairn-b = { workspace = true }\n";
        assert_eq!(problems("node", both), [""; 0]);
        assert_eq!(problems("xtask", both), [""; 0]);
        assert_eq!(problems("a", both).len(), 2);
    }

    #[test]
    fn only_tests_may_use_the_harness() {
        let text = "[dev-dependencies]\ncairn-harness.workspace = true\n";
        assert_eq!(problems("node", text), [""; 0]);
        assert_eq!(problems("node", &text.replace("dev-", "")).len(), 1);
    }
}
