//! Bounds the logs of local nodes.
//!
//! Nodes write to their logs directly, in append mode, so that they never wait for the supervisor.
//! A log that has grown over the bound is copied and emptied; lines written in the instant between
//! are lost from the copy, which a log for people can bear.

use crate::folder::{ClusterState, Folder};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A log is rotated when it is longer, in bytes.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How many older ones are kept: `.1` and `.2`.
const KEPT: u32 = 2;
const EVERY: Duration = Duration::from_secs(2);

/// Opens a log for a process to write to.
pub fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Looks after all logs, for ever.
pub async fn watch(folder: Folder, state: &ClusterState) {
    let mut logs: Vec<PathBuf> = state.nodes.iter().map(|n| folder.log(n.id.as_str())).collect();
    logs.push(folder.log("supervisor"));
    loop {
        tokio::time::sleep(EVERY).await;
        for log in &logs {
            if let Err(error) = rotate(log, LOG_BYTES_MAX) {
                eprintln!("cairn supervisor: cannot rotate {log:?}: {error}");
            }
        }
    }
}

/// Rotates `log` if it is longer than `bytes_max`; returns whether it was.
fn rotate(log: &Path, bytes_max: u64) -> std::io::Result<bool> {
    match fs::metadata(log) {
        Ok(meta) if meta.len() > bytes_max => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    for age in (1..KEPT).rev() {
        let older = numbered(log, age);
        if older.exists() {
            fs::rename(older, numbered(log, age + 1))?;
        }
    }
    fs::copy(log, numbered(log, 1))?;
    OpenOptions::new().write(true).open(log)?.set_len(0)?;
    Ok(true)
}

fn numbered(log: &Path, age: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_long_log_is_copied_and_emptied_while_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        assert!(!rotate(&log, 10).unwrap());
        let mut writer = open(&log).unwrap();
        for turn in 0..4 {
            writer.write_all(format!("turn {turn} is long\n").as_bytes()).unwrap();
            assert!(rotate(&log, 10).unwrap());
        }
        writer.write_all(b"short").unwrap();
        assert!(!rotate(&log, 10).unwrap());
        assert_eq!(fs::read(&log).unwrap(), b"short");
        assert_eq!(fs::read(numbered(&log, 1)).unwrap(), b"turn 3 is long\n");
        assert_eq!(fs::read(numbered(&log, 2)).unwrap(), b"turn 2 is long\n");
        assert!(!numbered(&log, 3).exists());
    }
}
