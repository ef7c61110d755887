//! `cairn tails`: what was cut from logs and kept aside until a person removes it.

use crate::folder::Folder;
use crate::print;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Lists every kept tail of every node, with its size and its file.
pub fn tails(folder: &Folder) -> Result<()> {
    let state = folder.state()?;
    let mut found = Vec::new();
    for node in &state.nodes {
        let groups = folder.data(&node.id).join("groups");
        for group in names(&groups)? {
            let kept = groups.join(&group).join("log").join("tails");
            for file in names(&kept)? {
                let path = kept.join(&file);
                let bytes = fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
                found.push([node.id.to_string(), group.clone(), bytes.to_string(), file]);
            }
        }
    }
    if found.is_empty() {
        print::line(format_args!("no tails: nothing was cut from any log"));
        return Ok(());
    }
    print::text(&crate::status::table(&["NODE", "GROUP", "BYTES", "FILE"], &found));
    print::line(format_args!(
        "under {:?}; remove a file when you need it no more",
        folder.path().join("data")
    ));
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {folder:?}"))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {folder:?}"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
