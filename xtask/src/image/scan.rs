//! What the registries say of what is in the image: are there newer, mended versions of the Debian
//! packages whose files it holds, and was a crate withdrawn?
//!
//! It asks where the parts come from, apt's archives (the security archive among them) and Cargo's
//! registry. A database of advisories says more: `cargo deny check advisories`, where it can be
//! reached.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::closure;
use crate::product::target_folder;
use crate::run::{command, read};
use crate::verdict::Verdict;

/// Looks at the programs' libraries and at `Cargo.lock`; whether nothing is to be replaced.
///
/// # Errors
/// If apt or Cargo do not answer.
pub fn scan(programs: &[PathBuf]) -> Result<bool> {
    read(command("apt-get", ["update", "--quiet"]).env("LC_ALL", "C"))
        .context("apt's archives cannot be asked (only root may)")?;
    let mut packages = BTreeSet::new();
    for program in programs {
        for library in closure::libraries(program)? {
            packages.insert(package_of(&library.canonicalize()?)?);
        }
    }
    ensure!(!packages.is_empty(), "the programs load nothing: there is nothing to look at");
    let mut outdated = 0;
    for package in &packages {
        let policy = read(command("apt-cache", ["policy", package]).env("LC_ALL", "C"))?;
        let (installed, candidate) = versions(&policy).context("apt knows no version")?;
        let newer = installed != candidate;
        outdated += usize::from(newer);
        println!("{package} {installed}{}", if newer { ": outdated" } else { "" });
    }
    let (crates, withdrawn) = crates()?;
    withdrawn.iter().for_each(|name| println!("{name}: withdrawn"));
    Verdict::new("image-scan")
        .count("packages", packages.len())
        .count("outdated", outdated)
        .count("crates", crates)
        .count("withdrawn", withdrawn.len())
        .judge()
}

/// The Debian package a file belongs to.
fn package_of(file: &Path) -> Result<String> {
    // Folders of the root are links below /usr, and dpkg knows the names before that.
    let plain = file.strip_prefix("/usr").map(|path| Path::new("/").join(path));
    let names = [Some(file.to_owned()), plain.ok()];
    let found = names.into_iter().flatten().find_map(|path| {
        let said = read(command("dpkg", ["--search"]).arg(path)).ok()?;
        said.split_once(": ").map(|(package, _)| package.to_owned())
    });
    found.with_context(|| format!("{} belongs to no package", file.display()))
}

/// The installed version and the newest one, as `apt-cache policy` says.
fn versions(policy: &str) -> Option<(&str, &str)> {
    let after = |head: &str| policy.lines().find_map(|line| line.trim().strip_prefix(head));
    Some((after("Installed: ")?, after("Candidate: ")?))
}

/// How many crates of the registry are locked, and which of them nobody may choose any more: Cargo
/// is asked for exactly these versions, without a lock, and refuses one that was withdrawn.
fn crates() -> Result<(usize, Vec<String>)> {
    let lock = fs::read_to_string(crate::root().join("Cargo.lock"))?;
    let locked = locked(&lock);
    let folder = target_folder().join("image/scan");
    let mut manifest =
        "[workspace]\n[package]\nname = \"scan\"\nedition = \"2024\"\n[dependencies]\n".to_owned();
    for (at, (name, version)) in locked.iter().enumerate() {
        let exactly = format!("package = \"{name}\", version = \"={version}\"");
        manifest.push_str(&format!("d{at} = {{ {exactly}, default-features = false }}\n"));
    }
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    // What an earlier scan has locked would be taken although it was withdrawn since.
    let _ = fs::remove_file(folder.join("Cargo.lock"));
    let mut cargo = command("cargo", ["generate-lockfile"]);
    let output = cargo.current_dir(&folder).output().context("cannot run cargo")?;
    if output.status.success() {
        return Ok((locked.len(), Vec::new()));
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("yanked"), "Cargo's registry does not answer: {said}");
    Ok((locked.len(), vec![said]))
}

/// Names and versions of the crates that come from a registry.
fn locked(lock: &str) -> Vec<(&str, &str)> {
    let field = |block: &'_ str, key: &str| -> Option<(usize, usize)> {
        let head = format!("{key} = \"");
        let from = block.find(&head)? + head.len();
        Some((from, from + block[from..].find('"')?))
    };
    let blocks = lock.split("[[package]]").filter(|block| block.contains("source = \"registry"));
    let parts = blocks.filter_map(|block| {
        let (name, version) = (field(block, "name")?, field(block, "version")?);
        Some((&block[name.0..name.1], &block[version.0..version.1]))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_and_cargo_say_is_read() {
        let policy = "libc6:\n  Installed: 2.36-9\n  Candidate: 2.36-10\n  Version table:\n";
        assert_eq!(versions(policy), Some(("2.36-9", "2.36-10")));
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n\n\
                    [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        assert_eq!(locked(lock), [("a", "1.0.0")]);
    }
}
