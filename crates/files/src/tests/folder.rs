//! A node's folder: whose it is, and that it is used by one process.

use crate::{Disk, DoubleWriteFile, Error, Folder, GroupFile, LogOptions, MemDisk, RealDisk};
use cairn_logic::ids::{GroupId, Incarnation, NodeId};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const HELD: &str = "CAIRN_TEST_HELD_FOLDER";

fn node() -> NodeId {
    NodeId::new("tweets-0-1")
}

fn open<D: Disk>(disk: &D, path: &Path) -> crate::Result<Folder<D>> {
    Folder::open_or_create(disk, path, 5, &node(), Incarnation(77))
}

#[test]
fn a_folder_keeps_its_incarnation_and_is_ours_alone() {
    let disk = MemDisk::new();
    let path = Path::new("/data/n1");
    let folder = open(&disk, path).unwrap();
    assert!(folder.is_new() && folder.incarnation() == Incarnation(77));
    assert!(matches!(open(&disk, path), Err(Error::Locked { .. })));
    drop(folder);
    let again = Folder::open_or_create(&disk, path, 5, &node(), Incarnation(78)).unwrap();
    assert!(!again.is_new() && again.incarnation() == Incarnation(77));
    let group = GroupId::new("tweets-0");
    assert_eq!(again.log(&group), Path::new("/data/n1/groups/tweets-0/log"));
    assert_eq!(again.tails(&group), Path::new("/data/n1/groups/tweets-0/log/tails"));
    let odd = again.vote(&GroupId::new("../a/b"));
    assert_eq!(odd, Path::new("/data/n1/groups/%2e.%2fa%2fb/vote"));
}

#[test]
fn a_folder_of_another_cluster_node_or_format_is_refused_and_left_alone() {
    let disk = MemDisk::new();
    let path = Path::new("/data/n1");
    drop(open(&disk, path).unwrap());
    let cluster = Folder::open_or_create(&disk, path, 6, &node(), Incarnation(1)).unwrap_err();
    assert!(matches!(cluster, Error::Foreign { what: "cluster", .. }), "{cluster}");
    let other = NodeId::new("tweets-0-2");
    let name = Folder::open_or_create(&disk, path, 5, &other, Incarnation(1)).unwrap_err();
    let text = name.to_string();
    assert!(text.contains("found tweets-0-1, expected tweets-0-2"), "{text}");
    let empty = Folder::open_or_create(&disk, path, 5, &NodeId::new(""), Incarnation(1));
    assert!(matches!(empty, Err(Error::Size { .. })));
    open(&disk, path).unwrap();
    let identity = path.join("identity");
    let mut file = DoubleWriteFile::open(&disk, &identity).unwrap().0;
    file.write(&[9; 40]).unwrap();
    assert!(matches!(open(&disk, path), Err(Error::Format { known: 1, .. })));
}

#[test]
fn data_without_identity_is_not_taken_for_a_blank_folder() {
    let disk = MemDisk::new();
    let path = Path::new("/data/n1");
    let folder = open(&disk, path).unwrap();
    disk.create_dir(&folder.log(&GroupId::global())).unwrap();
    drop(folder);
    disk.remove(&path.join("identity")).unwrap();
    assert!(matches!(open(&disk, path), Err(Error::Missing { .. })));
}

#[test]
fn a_member_without_vote_is_blank_only_without_a_log() {
    let disk = MemDisk::new();
    let folder = open(&disk, Path::new("/data/n1")).unwrap();
    let group = GroupId::new("tweets-0");
    assert!(folder.open_vote(&disk, &group).unwrap().is_none());
    DoubleWriteFile::create(&disk, &folder.vote(&group), b"life 1").unwrap();
    let options = LogOptions::new(5, folder.incarnation(), group.clone());
    GroupFile::open(&disk, &folder.log(&group), &options).unwrap();
    assert_eq!(folder.open_vote(&disk, &group).unwrap().unwrap().1, b"life 1");
    disk.remove(&folder.vote(&group)).unwrap();
    let forgotten = folder.open_vote(&disk, &group).unwrap_err();
    assert!(matches!(&forgotten, Error::Missing { .. }) && forgotten.is_fatal());
}

#[test]
fn a_folder_made_when_the_power_failed_is_blank_or_whole() {
    for seed in 0..250 {
        let disk = MemDisk::new();
        match seed % 2 {
            0 => disk.stop_after(seed / 2),
            _ => disk.stop_before(seed % 11),
        }
        let made = open(&disk, Path::new("/data/n1")).is_ok();
        disk.crash(&mut |limit| seed % limit);
        let again =
            Folder::open_or_create(&disk, Path::new("/data/n1"), 5, &node(), Incarnation(78));
        let again = again.unwrap();
        assert!(!made || !again.is_new());
        let expected = if again.is_new() { 78 } else { 77 };
        assert_eq!(again.incarnation(), Incarnation(expected));
    }
}

#[test]
fn the_real_disk_keeps_a_log_in_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("deep/n1");
    let folder = open(&RealDisk, &path).unwrap();
    let options = LogOptions::new(5, folder.incarnation(), GroupId::global());
    let options = options.with_segment_bytes(64 << 10);
    let dir = folder.log(&GroupId::global());
    let (mut writer, flusher, reader, _) = GroupFile::open(&RealDisk, &dir, &options).unwrap();
    let put: Vec<_> = (1..=700).map(|first| super::batch(1, first, 1, 150)).collect();
    writer.append(&put).unwrap();
    flusher.flush().unwrap();
    let tail = writer.cut(cairn_logic::ids::Offset(200)).unwrap().unwrap();
    assert!(tail.path.exists() && folder.tails(&GroupId::global()).join("cut-1-201").exists());
    assert_eq!(reader.read(cairn_logic::ids::Offset(1), usize::MAX >> 1).unwrap(), put[..200]);
    writer.write_clean_mark(writer.last()).unwrap();
    let (_, _, reader, found) = GroupFile::open(&RealDisk, &dir, &options).unwrap();
    assert!(found.stopped_cleanly() && writer.space().unwrap().disk_free_bytes > 0);
    assert_eq!(reader.read(cairn_logic::ids::Offset(199), 1 << 20).unwrap(), put[198..200]);
    assert_eq!(crate::boot_id().unwrap().len(), 36);
}

#[test]
fn a_second_process_cannot_use_the_folder_until_the_first_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::folder::holds_a_folder", "--ignored", "--nocapture"])
        .env(HELD, place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).find(|line| line.contains("held"));
    assert!(held.is_some());
    let error = open(&RealDisk, place.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }));
    assert!(error.to_string().ends_with("is in use by another process"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!open(&RealDisk, place.path()).unwrap().is_new());
}

#[test]
#[ignore = "the other process of the test above"]
fn holds_a_folder() {
    let Some(path) = std::env::var_os(HELD) else { return };
    let _folder = open(&RealDisk, Path::new(&path)).unwrap();
    println!("held");
    let _ = std::io::stdin().lines().next();
}
