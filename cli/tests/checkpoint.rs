//! `cairn checkpoint` on folders as nodes make them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use cairn_files::{Folder, RealDisk, Snapshots};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, NodeId, Offset};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What it prints, and whether it succeeded.
fn checkpoint(what: &str, folder: &Path) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    let output = command.args(["checkpoint", what]).arg(folder).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    (String::from_utf8(both).unwrap(), output.status.success())
}

/// A node's folder with snapshots after these entries; theirs paths.
fn node(path: &Path, group: &str, entries: &[u64]) -> Vec<PathBuf> {
    let (name, group) = (NodeId::new("tweets-0-0"), GroupId::new(group));
    let folder = Folder::open_or_create(&RealDisk, path, 7, &name, Incarnation(8)).unwrap();
    let at = folder.snapshots(&group);
    let store = Snapshots::open(&RealDisk, &at, 7, group).unwrap();
    let write = |entry: &u64| {
        let at = EntryId::new(Epoch(2), Offset(*entry));
        let mut draft = store.begin(1, 0, "a test").unwrap();
        draft.section(b"slot", at, 3, b"three records").unwrap();
        store.finish(draft, at, 0).unwrap().0.path
    };
    entries.iter().map(write).collect()
}

#[test]
fn each_nodes_snapshots_are_listed_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let one = folder.path().join("data/tweets-0-0");
    let files = node(&one, "tweets-0", &[9, 10]);
    node(&folder.path().join("data/tweets-1-0"), "tweets-1", &[5]);
    std::fs::write(files[0].with_file_name("draft"), "half of one").unwrap();
    let (text, good) = checkpoint("list", folder.path());
    let lines: Vec<&str> = text.lines().collect();
    assert!(good && lines.len() == 4, "{text}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(cells[..5], ["data/tweets-0-0", "tweets-0", "2/10", "2/10", "3"], "{text}");
    assert!(lines[2].contains("2/9") && lines[3].contains("data/tweets-1-0"), "{text}");
    let (text, good) = checkpoint("verify", folder.path());
    assert!(good && text.matches("whole").count() == 3, "{text}");
    // One node's folder alone.
    assert_eq!(checkpoint("list", &one).0.lines().count(), 3);
    // A byte of a section is seen when it is read, one of the index at once.
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let section = bytes.windows(13).position(|found| found == b"three records").unwrap();
    bytes[section] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    assert!(checkpoint("list", folder.path()).1);
    let (text, good) = checkpoint("verify", folder.path());
    assert!(!good && text.contains("a section was changed"), "{text}");
    assert!(text.contains("1 of 3 snapshots cannot be used"), "{text}");
    std::fs::write(&files[0], &bytes[..bytes.len() - 1]).unwrap();
    let (text, good) = checkpoint("list", folder.path());
    assert!(!good && text.contains("its end is missing"), "{text}");
}

#[test]
fn a_folder_without_any_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (text, good) = checkpoint("list", folder.path());
    assert!(!good && text.contains("is no node's folder, and none is below it"), "{text}");
    node(folder.path(), "tweets-0", &[]);
    let (text, good) = checkpoint("verify", folder.path());
    assert!(good && text.contains("no snapshots"), "{text}");
    let (text, good) = checkpoint("list", &folder.path().join("nothing"));
    assert!(!good && text.contains("there is no folder"), "{text}");
}
