//! A folder that its group has given back is set aside whole, and the node goes on with a new one.
//!
//! Nothing is deleted: what was in the folder is moved to `aside/<incarnation>/` within it and
//! stays there until a person removes it. First a mark is written and flushed; the files are moved
//! at the next start, before anything is opened, and a start that a crash cut short is gone on with
//! by the next one. The mark goes last, so the identity is made anew only when nothing old is left.

use anyhow::{Context, Result, bail};
use cairn_files::{Disk, DoubleWriteFile, RealDisk};
use cairn_logic::ids::Incarnation;
use cairn_settings::NodeCondition;
use cairn_wire::peer::pb;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The mark that a folder is to be set aside.
const MARK: &str = "released";
/// Where the files of former folders are.
const ASIDE: &str = "aside";
/// So many are worth a person's look.
const KEPT_MANY: usize = 8;
/// What stays in place: it is of the node, not of the folder's past.
const STAYS: [&str; 3] = ["lock", MARK, ASIDE];

/// Says, durably, that the files of this incarnation are to be set aside at the next start.
///
/// # Errors
/// The disk is full or failing.
pub fn mark(folder: &Path, incarnation: Incarnation) -> Result<()> {
    let path = folder.join(MARK);
    let made = DoubleWriteFile::open_if_made(&RealDisk, &path)?;
    if made.is_none() {
        DoubleWriteFile::create(&RealDisk, &path, &incarnation.0.to_le_bytes())?;
    }
    Ok(())
}

/// Sets the files aside if the folder is marked, and says whether it was.
///
/// # Errors
/// Another process has the folder, the mark is damaged, or a file cannot be moved; it is gone on
/// with at the next start.
pub fn finish(folder: &Path) -> Result<bool> {
    let path = folder.join(MARK);
    let Some((_, payload)) = DoubleWriteFile::open_if_made(&RealDisk, &path)? else {
        return Ok(false);
    };
    let Ok(incarnation) = <[u8; 8]>::try_from(&payload[..]).map(u64::from_le_bytes) else {
        bail!("the mark {path:?} has {} bytes, not 8", payload.len());
    };
    let lock = folder.join("lock");
    let _lock = RealDisk.lock(&lock).with_context(|| format!("cannot lock {lock:?}"))?;
    let aside = folder.join(ASIDE).join(format!("{incarnation:016x}"));
    RealDisk.create_dir(&aside).with_context(|| format!("cannot make {aside:?}"))?;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))? {
        let name = entry.with_context(|| format!("cannot list {folder:?}"))?.file_name();
        if STAYS.iter().any(|stays| name == *stays) {
            continue;
        }
        let (from, to) = (folder.join(&name), aside.join(&name));
        fs::rename(&from, &to).with_context(|| format!("cannot move {from:?} to {to:?}"))?;
    }
    let flushed = |path: &Path| {
        RealDisk.sync_dir(path).with_context(|| format!("cannot flush the names in {path:?}"))
    };
    flushed(&aside)?;
    flushed(folder)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {path:?}"));
        }
        _ => {}
    }
    flushed(folder)?;
    tracing::info!(?aside, "the files of the former group are set aside");
    Ok(true)
}

/// How many former folders are kept aside.
#[must_use]
pub fn kept(folder: &Path) -> usize {
    fs::read_dir(folder.join(ASIDE)).map_or(0, |entries| entries.flatten().count())
}

/// What a person should know of them, once there are many.
#[must_use]
pub fn condition(folder: &Path) -> Option<pb::Condition> {
    let kept = kept(folder);
    (kept >= KEPT_MANY).then(|| pb::Condition {
        reason: NodeCondition::FoldersAside.as_str().to_owned(),
        group: String::new(),
        message: format!(
            "{kept} folders of former groups are kept in {ASIDE}/ of the node's folder and take \
             room: remove those that you need no more"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_files::Folder;
    use cairn_logic::ids::NodeId;

    const OLD: Incarnation = Incarnation(0xa);

    fn open(path: &Path, blank: u64) -> Folder<RealDisk> {
        let node = NodeId::new("p-spare-0");
        Folder::open_or_create(&RealDisk, path, 7, &node, Incarnation(blank)).expect("a folder")
    }

    /// A folder of incarnation `OLD` with a file of a group.
    fn used(path: &Path) {
        let folder = open(path, OLD.0);
        let group = folder.path().join("groups").join("t-0");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("vote"), "sealed").unwrap();
        fs::write(folder.path().join("claim"), "t-0").unwrap();
    }

    fn all_is_aside(path: &Path) {
        let aside = path.join("aside").join("000000000000000a");
        assert_eq!(fs::read(aside.join("groups/t-0/vote")).unwrap(), b"sealed");
        assert!(aside.join("identity").is_file() && aside.join("claim").is_file());
        assert!(!path.join(MARK).exists() && !path.join("claim").exists());
        assert_eq!((open(path, 9).incarnation(), kept(path)), (Incarnation(9), 1));
    }

    #[test]
    fn a_marked_folder_is_set_aside_whole_and_the_next_one_is_blank() {
        let place = tempfile::tempdir().unwrap();
        used(place.path());
        assert!(!finish(place.path()).unwrap(), "no mark, no move");
        assert_eq!(open(place.path(), 9).incarnation(), OLD);
        mark(place.path(), OLD).unwrap();
        mark(place.path(), OLD).unwrap();
        assert!(finish(place.path()).unwrap());
        all_is_aside(place.path());
    }

    #[test]
    fn what_a_crash_cut_short_is_gone_on_with() {
        for moved in [&["groups"][..], &["identity"], &["identity", "groups", "claim"]] {
            let place = tempfile::tempdir().unwrap();
            used(place.path());
            mark(place.path(), OLD).unwrap();
            let aside = place.path().join("aside").join("000000000000000a");
            fs::create_dir_all(&aside).unwrap();
            for name in moved {
                fs::rename(place.path().join(name), aside.join(name)).unwrap();
            }
            assert!(finish(place.path()).unwrap());
            all_is_aside(place.path());
        }
    }

    #[test]
    fn many_folders_aside_are_said() {
        let place = tempfile::tempdir().unwrap();
        for number in 0..KEPT_MANY {
            assert_eq!(condition(place.path()), None);
            fs::create_dir_all(place.path().join(ASIDE).join(number.to_string())).unwrap();
        }
        let said = condition(place.path()).expect("a condition");
        assert_eq!(said.reason, "FoldersAside");
        assert!(said.message.starts_with("8 folders"), "{}", said.message);
    }

    #[test]
    fn a_folder_that_runs_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        used(place.path());
        mark(place.path(), OLD).unwrap();
        let _runs = open(place.path(), 9);
        assert!(finish(place.path()).is_err());
        assert!(place.path().join("claim").is_file());
    }
}
