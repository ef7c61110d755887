//! The hard limits of the code base, held by a test.
//!
//! Limits are on form (lengths, words, where `unsafe` may stand) and on structure (which crate may
//! use which). CONTRIBUTING.md lists them; this file and its parts are what they mean exactly.

mod arrows;
mod proofs;
mod rules;
mod source;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::commands;
use source::Source;

/// One place that breaks one limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path below the root of the repository.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Which limit, in words.
    pub what: String,
}

impl Problem {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// How many files were looked at, and what was found.
#[derive(Debug)]
pub struct Outcome {
    /// Files of the repository, generated ones included.
    pub files: usize,
    /// Sorted by file and line.
    pub problems: Vec<Problem>,
}

/// Looks at every file that is, or would be, under version control below `root`.
///
/// # Errors
/// If git cannot list the files.
pub fn tidy(root: &Path) -> Result<Outcome> {
    let files = tracked(root)?;
    let texts = read_all(root, &files);
    let test_files = test_files(&texts);
    let mut problems = Vec::new();
    for (path, text) in &texts {
        rules::check_words(path, text, &mut problems);
        if path.ends_with(".rs") && !is_generated(text) {
            let all_test = is_test_path(path) || is_below(path, &test_files);
            rules::check_rust(path, text, &Source::new(text, all_test), &mut problems);
        }
    }
    let manifests: Vec<String> =
        files.iter().filter(|path| path.ends_with("/Cargo.toml")).cloned().collect();
    proofs::check(&texts, &mut problems);
    check_commands(&texts, &mut problems);
    problems.extend(arrows::check(root, &manifests));
    problems.sort();
    Ok(Outcome { files: files.len(), problems })
}

/// The page of commands is what the table of commands makes.
fn check_commands(texts: &[(String, String)], problems: &mut Vec<Problem>) {
    let text = |wanted: &str| {
        let found = texts.iter().find(|(path, _)| path == wanted);
        found.map_or("", |(_, text)| text.as_str())
    };
    match commands::page(text(commands::SOURCES[0]), text(commands::SOURCES[1])) {
        Ok(page) if page == text(commands::PAGE) => {}
        Ok(_) => {
            let what = "not what the table of commands makes: run cargo xtask commands";
            problems.push(Problem::new(commands::PAGE, 1, what));
        }
        Err(error) => problems.push(Problem::new(commands::SOURCES[1], 1, format!("{error:#}"))),
    }
}

/// Prints what is wrong, then the verdict; whether nothing is.
///
/// # Errors
/// As [`tidy`].
pub fn run(root: &Path) -> Result<bool> {
    let outcome = tidy(root)?;
    outcome.problems.iter().for_each(|problem| println!("{problem}"));
    println!("tidy: files={} problems={}", outcome.files, outcome.problems.len());
    Ok(outcome.problems.is_empty())
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(root).output().context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files failed in {root:?}");
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let names: BTreeSet<String> =
        text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(names.into_iter().filter(|name| root.join(name).is_file()).collect())
}

/// Path and text of every file that is text.
fn read_all(root: &Path, files: &[String]) -> Vec<(String, String)> {
    let read = |path: &String| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some((path.clone(), text))
    };
    files.iter().filter_map(read).collect()
}

/// Files and folders of modules that are compiled for tests only.
fn test_files(texts: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        for module in Source::new(text, false).test_modules() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let stem = name.trim_end_matches(".rs");
            let parent = match stem {
                "lib" | "main" => folder.to_owned(),
                _ => format!("{folder}/{stem}"),
            };
            found.push(format!("{parent}/{module}"));
        }
    }
    found
}

fn is_below(path: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

fn is_test_path(path: &str) -> bool {
    ["/tests/", "/benches/", "/fuzz/"].iter().any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
}

fn is_generated(text: &str) -> bool {
    text.lines().take(5).any(|line| line.contains("@generated"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let outcome = tidy(&crate::root()).expect("git lists the files");
        let list: Vec<String> = outcome.problems.iter().map(Problem::to_string).collect();
        assert!(outcome.files > 10, "only {} files found", outcome.files);
        assert!(list.is_empty(), "{} problems:\n{}", list.len(), list.join("\n"));
    }
}
