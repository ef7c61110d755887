//! Tar files that come out the same every time: sorted, no owner, no time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const BLOCK: usize = 512;
const NAME_MAX: usize = 100;

/// What stands at one path.
enum Entry {
    Folder { mode: u32 },
    Text { mode: u32, bytes: Vec<u8> },
    File { mode: u32, from: PathBuf },
    Link { target: String },
}

/// A tree of files to be written as one tar file.
#[derive(Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// A folder and those above it.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.0.insert(trimmed(path), Entry::Folder { mode });
    }

    /// A file with this content.
    pub fn text(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        self.parents(path);
        self.0.insert(trimmed(path), Entry::Text { mode, bytes: bytes.into() });
    }

    /// A copy of a file of this machine.
    pub fn file(&mut self, path: &str, from: &Path, mode: u32) {
        self.parents(path);
        self.0.insert(trimmed(path), Entry::File { mode, from: from.to_owned() });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.0.insert(trimmed(path), Entry::Link { target: target.to_owned() });
    }

    fn parents(&mut self, path: &str) {
        let path = trimmed(path);
        for (at, _) in path.match_indices('/') {
            let above = path[..at].to_owned();
            self.0.entry(above).or_insert(Entry::Folder { mode: 0o755 });
        }
    }

    /// Writes everything, and the end of the file.
    ///
    /// # Errors
    /// If a file cannot be read, or a path is too long for the plain format.
    pub fn write(&self, to: &mut impl Write) -> Result<()> {
        for (path, entry) in &self.0 {
            match entry {
                Entry::Folder { mode } => header(to, &format!("{path}/"), *mode, 0, b'5', "")?,
                Entry::Link { target } => header(to, path, 0o777, 0, b'2', target)?,
                Entry::Text { mode, bytes } => {
                    header(to, path, *mode, bytes.len() as u64, b'0', "")?;
                    copy(&mut bytes.as_slice(), bytes.len() as u64, to)?;
                }
                Entry::File { mode, from } => {
                    let mut file = File::open(from).with_context(|| format!("no {from:?}"))?;
                    let size = file.metadata()?.len();
                    header(to, path, *mode, size, b'0', "")?;
                    copy(&mut file, size, to).with_context(|| format!("cannot copy {from:?}"))?;
                }
            }
        }
        to.write_all(&[0; 2 * BLOCK])?;
        Ok(())
    }
}

fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

fn copy(from: &mut impl Read, size: u64, to: &mut impl Write) -> Result<()> {
    let copied = io::copy(&mut from.take(size), to)?;
    ensure!(copied == size, "the file shrank while it was read");
    let over = usize::try_from(size % BLOCK as u64)?;
    if over > 0 {
        to.write_all(&vec![0; BLOCK - over])?;
    }
    Ok(())
}

/// One header of the POSIX ustar format.
fn header(
    to: &mut impl Write,
    path: &str,
    mode: u32,
    size: u64,
    kind: u8,
    target: &str,
) -> Result<()> {
    let fits = path.len() <= NAME_MAX && target.len() <= NAME_MAX;
    ensure!(fits, "{path} or its target is longer than {NAME_MAX} bytes");
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    to.write_all(&block)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_reads_what_is_written() {
        let mut tree = Tree::default();
        tree.text("/etc/motd", "hello\n", 0o644);
        tree.link("bin/sh", "busybox");
        tree.folder("tmp", 0o1777);
        let mut bytes = Vec::new();
        tree.write(&mut bytes).unwrap();
        let mut tar = Command::new("tar");
        let mut tar = tar
            .args(["-tvf", "-", "--numeric-owner"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        let listed = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.len(), 5, "{listed}");
        assert!(lines[1].starts_with("lrwxrwxrwx 0/0") && lines[1].ends_with("bin/sh -> busybox"));
        assert!(lines[3].starts_with("-rw-r--r-- 0/0") && lines[3].contains(" 6 1970-01-01"));
        assert!(lines[4].starts_with("drwxrwxrwt"));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let mut tree = Tree::default();
        tree.text(&"a".repeat(101), "", 0o644);
        assert!(tree.write(&mut Vec::new()).is_err());
    }
}
