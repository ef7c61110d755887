//! Real data: the Debian package index of this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cairn_harness::client::{Answer, Client, Frame, Patience};
use cairn_harness::clock::wait_until;

use crate::run::{command, read, which};

/// Fewer packages than this are no real data.
const PACKAGES_MIN: usize = 200;
/// How long one write may be tried again and again.
const WRITE_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Name and fields of each package.
pub type Packages = BTreeMap<String, BTreeMap<String, String>>;

/// Writes the package index to `file`: what apt knows, or at least what is installed.
///
/// # Errors
/// If this machine has neither.
pub fn write_index(file: &Path) -> Result<()> {
    let known = match which("apt-cache") {
        Some(_) => read(&mut command("apt-cache", ["dumpavail"])).unwrap_or_default(),
        None => String::new(),
    };
    let installed = PathBuf::from("/var/lib/dpkg/status");
    let text = if known.matches("\nPackage: ").count() >= PACKAGES_MIN {
        known
    } else {
        std::fs::read_to_string(&installed)
            .with_context(|| format!("no apt lists and no {installed:?}: run on Debian"))?
    };
    std::fs::write(file, text).with_context(|| format!("cannot write {file:?}"))
}

/// Reads at most `most` packages of an index.
///
/// # Errors
/// If there are too few to mean anything.
pub fn read_index(file: &Path, most: usize) -> Result<Packages> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {file:?}"))?;
    let packages = parse(&String::from_utf8_lossy(&bytes), most);
    ensure!(packages.len() >= PACKAGES_MIN, "only {} packages in {file:?}", packages.len());
    Ok(packages)
}

fn parse(text: &str, most: usize) -> Packages {
    let mut packages = Packages::new();
    for paragraph in text.split("\n\n") {
        let mut fields: BTreeMap<String, String> = paragraph
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let name = fields.remove("Package").filter(|_| !fields.is_empty());
        if let Some(name) = name
            && packages.len() < most
        {
            packages.insert(name, fields);
        }
    }
    packages
}

/// Writes every package as a hash, each until it is acknowledged; how many could not be written.
pub fn load(packages: &Packages, seeds: &[String]) -> usize {
    let mut client = Client::new(seeds, Patience::default());
    let write = |(name, fields): (&String, &BTreeMap<String, String>)| {
        let key = format!("package:{name}");
        let mut parts: Vec<&[u8]> = vec![b"HSET", key.as_bytes()];
        fields.iter().for_each(|(field, value)| parts.extend([field.as_bytes(), value.as_bytes()]));
        // Writing the same fields twice is writing them once.
        wait_until(WRITE_LIMIT, std::time::Duration::from_millis(20), || {
            matches!(client.call(&key, &parts), Answer::Reply(Frame::Integer(_)))
        })
    };
    packages.iter().map(write).filter(|written| !written).count()
}

/// How many packages are not kept exactly as they were written.
pub fn different(packages: &Packages, seeds: &[String]) -> usize {
    let mut client = Client::new(seeds, Patience::default());
    let differs = |(name, fields): &(&String, &BTreeMap<String, String>)| {
        let key = format!("package:{name}");
        let mut kept = None;
        wait_until(WRITE_LIMIT, std::time::Duration::from_millis(20), || {
            kept = match client.call(&key, &[b"HGETALL", key.as_bytes()]) {
                Answer::Reply(frame) => Some(pairs(&frame)),
                _ => None,
            };
            kept.is_some()
        });
        kept.is_none_or(|kept| kept != **fields)
    };
    packages.iter().filter(differs).count()
}

fn pairs(frame: &Frame) -> BTreeMap<String, String> {
    let parts: Vec<String> =
        frame.elements().unwrap_or_default().iter().filter_map(Frame::text).collect();
    parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read() {
        let text = "Package: a\nVersion: 1\nDescription: x\n more: y\n\nPackage: b\n\nVersion: 3\n";
        let packages = parse(text, 10);
        assert_eq!(packages.len(), 1);
        assert_eq!(packages["a"].len(), 2);
    }
}
