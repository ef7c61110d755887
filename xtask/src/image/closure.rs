//! Programs with the libraries that they load, for images that hold nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tarball::Tree;
use crate::run::{command, read};

/// What `program` loads, the loader included; nothing for a program that is linked statically.
///
/// # Errors
/// If a library is not on this machine.
pub fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = command("ldd", [program]).output().context("cannot run ldd")?;
    if !output.status.success() {
        return Ok(BTreeSet::new());
    }
    parse(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} cannot be loaded here", program.display()))
}

/// Puts a program at `path`, and each of its libraries where the loader looks for it.
///
/// # Errors
/// As [`libraries`].
pub fn add(tree: &mut Tree, path: &str, program: &Path) -> Result<()> {
    tree.file(path, program, 0o755);
    for library in libraries(program)? {
        tree.file(&library.to_string_lossy(), &library, 0o755);
    }
    Ok(())
}

/// Removes what only debuggers read, into `to`.
///
/// # Errors
/// If there is no `strip` (it comes with every compiler), or it fails.
pub fn strip(program: &Path, to: &Path) -> Result<()> {
    read(command("strip", ["--strip-all", "-o"]).arg(to).arg(program)).map(|_| ())
}

/// Reads lines like `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn parse(text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim();
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        anyhow::ensure!(!target.starts_with("not found"), "{line}");
        if target.starts_with('/') {
            let path = target.split(" (").next().unwrap_or(target);
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_ldd_is_read() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = parse(text).unwrap().into_iter().collect();
        assert_eq!(found, ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(parse("\tlibx.so => not found\n").is_err());
        assert!(parse("\tstatically linked\n").unwrap().is_empty());
    }
}
