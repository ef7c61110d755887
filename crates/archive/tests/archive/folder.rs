//! Archives in a folder: any moment comes back, what is damaged is found and named.

use crate::support::{BEGIN_MS, Group, backup, digest_at, files, names};
use cairn_archive::{Archive, Error, Keep, Key, Patience, Place, Store};
use std::path::Path;

fn archive(folder: &Path, key: Option<Key>) -> Archive {
    let place = Place::read(folder.to_str().expect("plain"), None).expect("a place");
    let store = Store::open(&place, key, &Patience::default()).expect("it is opened");
    Archive::new(store, names())
}

#[tokio::test]
async fn every_moment_after_the_snapshot_comes_back_with_or_without_a_key() {
    for key in [None, Some(Key::new([5; 32]))] {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), key);
        let mut group = Group::new("t-0");
        backup(&archive, &mut group).await;
        // The snapshot is of the fourth turn; the run that has it ends with the sixth.
        for turn in 5..10 {
            let at = BEGIN_MS + turn as u64 * 1000;
            assert_eq!(digest_at(&archive, Some(at)).await, group.digests[turn], "turn {turn}");
            assert_eq!(digest_at(&archive, Some(at + 999)).await, group.digests[turn]);
        }
        assert_eq!(digest_at(&archive, None).await, group.digests[9]);
        let backups = archive.backups().await.unwrap();
        assert_eq!(backups[0].since_ms(), Some(BEGIN_MS + 5000));
        let early = cairn_archive::plan(&backups, Some(BEGIN_MS + 2000));
        assert!(matches!(early, Err(Error::NotCovered { .. })));
    }
}

#[tokio::test]
async fn a_log_from_its_first_entry_needs_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), None);
    let mut group = Group::new("t-0");
    (0..7).for_each(|round| group.write(round));
    let log = group.put_log(&archive, 0).await;
    let backup = archive.begin("test", vec![group.part(None, log)], BEGIN_MS).unwrap();
    archive.put_backup(&backup).await.unwrap();
    for turn in 0..7 {
        let at = BEGIN_MS + turn as u64 * 1000;
        let reached = cairn_archive::plan(std::slice::from_ref(&backup), Some(at));
        assert!(reached.is_ok(), "turn {turn}");
        assert_eq!(digest_at(&archive, Some(at)).await, group.digests[turn], "turn {turn}");
    }
}

#[tokio::test]
async fn a_backup_grows_and_what_is_there_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), Some(Key::new([5; 32])));
    let mut group = Group::new("t-0");
    let mut backup = backup(&archive, &mut group).await;
    let content = |path: &Path| (path.to_owned(), std::fs::read(path).unwrap());
    let before: Vec<_> = files(folder.path()).iter().map(|path| content(path)).collect();
    // Once more: each object is random anew if it is written.
    group.put_snapshot(&archive).await;
    let log = group.put_log(&archive, 3).await;
    assert_eq!(backup.groups[0].log, log);
    let count = files(folder.path()).len();
    assert_eq!(count, before.len() + 1, "only the snapshot of the present state is new");
    for (path, content) in &before {
        assert_eq!(std::fs::read(path).unwrap(), *content, "{path:?}");
    }
    group.write(10);
    backup.groups[0].log.extend(group.put_log(&archive, 10).await);
    backup.groups[0].until_ms += 1000;
    archive.put_backup(&backup).await.unwrap();
    assert_eq!(archive.backups().await.unwrap(), [backup]);
    assert_eq!(digest_at(&archive, None).await, group.digests[10]);
}

#[tokio::test]
async fn half_an_upload_is_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), None);
    let mut group = Group::new("t-0");
    (0..4).for_each(|round| group.write(round));
    let snapshot = group.put_snapshot(&archive).await;
    let log = group.put_log(&archive, 0).await;
    assert!(archive.backups().await.unwrap().is_empty(), "nothing names the objects yet");
    // Nor can a backup be written that names what is not there.
    let gone = folder.path().join(&log[1].name);
    std::fs::remove_file(gone).unwrap();
    let backup = archive.begin("test", vec![group.part(Some(snapshot), log)], BEGIN_MS).unwrap();
    let refused = archive.put_backup(&backup).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
    assert!(archive.backups().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_changed_byte_in_any_object_is_found_and_the_object_named() {
    for key in [None, Some(Key::new([5; 32]))] {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path(), key);
        let mut group = Group::new("t-0");
        let backup = backup(&archive, &mut group).await;
        let work = tempfile::tempdir().unwrap();
        let good = archive.verify(&backup, work.path(), |_| ()).await.unwrap();
        assert_eq!((good.objects, good.problems.len()), (4, 0));
        for path in files(folder.path()) {
            let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let mut changed = bytes.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            std::fs::write(&path, changed).unwrap();
            if name.ends_with(".backup") {
                let error = archive.backups().await.unwrap_err().to_string();
                assert!(error.contains(name), "{error}");
            } else {
                let found = archive.verify(&backup, work.path(), |_| ()).await.unwrap();
                assert_eq!(found.problems.len(), 1, "{name}");
                assert!(found.problems[0].contains(name), "{:?}", found.problems);
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let run = folder.path().join(&backup.groups[0].log[0].name);
        std::fs::remove_file(run).unwrap();
        let found = archive.verify(&backup, work.path(), |_| ()).await.unwrap();
        assert!(found.problems[0].contains("is missing"), "{:?}", found.problems);
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_and_never_mixed_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let ours = archive(folder.path(), Some(Key::new([5; 32])));
    let mut group = Group::new("t-0");
    backup(&ours, &mut group).await;
    let other = archive(folder.path(), Some(Key::new([6; 32])));
    assert!(matches!(other.backups().await, Err(Error::OtherKey { .. })));
    let none = archive(folder.path(), None);
    assert!(matches!(none.backups().await, Err(Error::NeedsKey { .. })));
    let batches = &group.batches[3..6];
    assert!(matches!(other.put_run(&group.id, batches).await, Err(Error::OtherKey { .. })));
}

#[tokio::test]
async fn pruning_keeps_what_the_last_backup_needs() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), None);
    let mut group = Group::new("t-0");
    let first = backup(&archive, &mut group).await;
    let snapshot = group.put_snapshot(&archive).await;
    let part = first.groups[0].rebased(snapshot).expect("the log reaches it");
    let mut second = archive.begin("test", vec![part], BEGIN_MS + 20_000).unwrap();
    second.groups[0].until_ms += 1;
    archive.put_backup(&second).await.unwrap();
    let keep = Keep { last: Some(1), for_ms: None };
    let pruned = archive.prunable(&keep, BEGIN_MS + 30_000).await.unwrap();
    assert_eq!(pruned.backups, [first.id]);
    // The second rests on the last run alone: the first's snapshot and its other runs go.
    assert_eq!(pruned.objects.len(), 3 - second.groups[0].log.len() + 1);
    archive.remove(&pruned).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let whole = archive.verify(&second, work.path(), |_| ()).await.unwrap();
    assert!(whole.problems.is_empty(), "{:?}", whole.problems);
    assert_eq!(digest_at(&archive, None).await, group.digests[9]);
}

#[tokio::test]
async fn a_keyspace_is_found_by_name_and_several_of_that_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), None);
    let mut group = Group::new("t-0");
    backup(&archive, &mut group).await;
    let place = Place::Folder(folder.path().to_owned());
    let store = Store::open(&place, None, &Patience::default()).unwrap();
    let found = Archive::find(store.clone(), "t", None).await.unwrap();
    assert_eq!(found.names(), &names());
    let none = Archive::find(store.clone(), "u", None).await;
    assert!(matches!(none, Err(Error::NoBackup { .. })));
    std::fs::create_dir_all(folder.path().join("other/t")).unwrap();
    std::fs::write(folder.path().join("other/t/x"), "x").unwrap();
    let several = Archive::find(store.clone(), "t", None).await;
    assert!(matches!(several, Err(Error::WhichCluster { .. })));
    assert!(Archive::find(store, "t", Some("uid")).await.is_ok());
}
