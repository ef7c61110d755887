//! `cairn logs`: the last lines of a log, and those that follow.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// At most so much of a log's end is looked at for its last lines, in bytes.
const END_BYTES_MAX: u64 = 4 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The last `count` lines of the log at `path`; what went wrong instead, if it cannot be read.
pub fn last_lines(path: &Path, count: usize) -> String {
    match end(path, count) {
        Ok((lines, _)) if lines.trim().is_empty() => "(empty)".to_owned(),
        Ok((lines, _)) => lines,
        Err(error) => format!("({path:?}: {error})"),
    }
}

/// The last lines, and where the log ends.
fn end(path: &Path, count: usize) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(END_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines[lines.len().saturating_sub(count)..].join("\n");
    Ok((shown, length))
}

/// Prints the last `count` lines, then what is added if `follow`, until interrupted.
pub async fn print(path: &Path, count: usize, follow: bool) -> Result<()> {
    let (lines, mut at) = end(path, count).with_context(|| format!("cannot read log {path:?}"))?;
    let mut out = std::io::stdout();
    if !lines.is_empty() {
        crate::print::line(lines);
    }
    if !follow {
        return Ok(());
    }
    let stop = crate::signals::stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        at = print_new(path, at, &mut out).with_context(|| format!("cannot read log {path:?}"))?;
    }
}

/// Prints what was added after `at`; begins anew if the log was emptied.
fn print_new(path: &Path, at: u64, out: &mut impl Write) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = if length < at { 0 } else { at };
    file.seek(SeekFrom::Start(from))?;
    let copied = std::io::copy(&mut file.take(length - from), out)?;
    out.flush()?;
    Ok(from + copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert!(last_lines(&path, 2).contains("No such file"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(last_lines(&path, 2), "(empty)");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(last_lines(&path, 2), "two\nthree");
        assert_eq!(last_lines(&path, 9), "one\ntwo\nthree");
    }

    #[test]
    fn a_follower_sees_what_is_added_and_survives_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "one\n").unwrap();
        let mut out = Vec::new();
        let at = print_new(&path, 4, &mut out).unwrap();
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let at = print_new(&path, at, &mut out).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        print_new(&path, at, &mut out).unwrap();
        assert_eq!(out, b"two\nnew\n");
    }
}
