//! Client libraries, in the versions that `xtask/clients` pins, and the programs that use them.
//!
//! Each is made once, in a folder of the cache whose name is made from the client's files here, so
//! that what is changed is made anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::run::{check, command};
use crate::setup;

/// The clients, as their folders in `xtask/clients` are called.
pub const NAMES: [&str; 5] = ["redis-py", "ioredis", "go-redis", "jedis", "redis-rs"];

/// Installs all of them.
///
/// # Errors
/// If one cannot be installed; the message says which and why.
pub fn install_all() -> Result<()> {
    NAMES.into_iter().try_for_each(|name| install(name).map(drop))
}

/// Installs a client, if it is not there; the command that tells its story, without addresses.
///
/// # Errors
/// If its tools or packages cannot be installed, or its program does not compile.
pub fn install(name: &str) -> Result<Command> {
    let source = crate::root().join("xtask/clients").join(name);
    if name == "redis-py" {
        setup::python()?;
        let python = setup::python_program()?;
        return Ok(command(&python.to_string_lossy(), [source.join("story.py")]));
    }
    let folder = setup::cache()?.join(format!("client-{name}-{}", hash_of(&source)?));
    if !folder.exists() {
        println!("setup: installing {name} into {folder:?}");
        let draft = folder.with_added_extension("part");
        setup::remove(&draft)?;
        std::fs::create_dir_all(&draft).with_context(|| format!("cannot make {draft:?}"))?;
        make(name, &source, &draft).with_context(|| format!("cannot install {name}"))?;
        std::fs::rename(&draft, &folder).with_context(|| format!("cannot name {folder:?}"))?;
    }
    let program = folder.join("story").to_string_lossy().into_owned();
    Ok(match name {
        "ioredis" => command("node", [folder.join("story.js")]),
        "jedis" => {
            let path = format!("{0}:{0}/*", folder.display());
            command("java", ["-XX:TieredStopAtLevel=1", "-cp", &path, "Story"])
        }
        _ => command(&program, [""; 0]),
    })
}

fn make(name: &str, source: &Path, draft: &Path) -> Result<()> {
    match name {
        "ioredis" => {
            setup::tools(&[("node", "nodejs"), ("npm", "npm")])?;
            copy(source, draft)?;
            let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
            check(command("npm", npm).current_dir(draft))
        }
        "go-redis" => {
            setup::go()?;
            let mut go = command("go", ["build", "-buildvcs=false", "-mod=readonly", "-o"]);
            go.arg(draft.join("story")).arg(".").env_remove("GOFLAGS");
            check(go.env("CGO_ENABLED", "0").current_dir(source))
        }
        "jedis" => {
            setup::tools(&[("mvn", "maven"), ("javac", "default-jdk-headless")])?;
            let output = format!("-DoutputDirectory={}", draft.display());
            let maven = ["-q", "-B", "dependency:copy-dependencies", &output];
            check(command("mvn", maven).current_dir(source))?;
            let path = format!("{}/*", draft.display());
            let mut javac = command("javac", ["-cp", &path, "-d"]);
            check(javac.arg(draft).arg(source.join("Story.java")))
        }
        "redis-rs" => {
            let target = draft.join("target");
            let mut cargo = command("cargo", ["build", "--quiet", "--locked", "--target-dir"]);
            check(cargo.arg(&target).current_dir(source))?;
            let program = target.join("debug/redis-rs-story");
            std::fs::rename(&program, draft.join("story"))
                .with_context(|| format!("{program:?} was not built"))?;
            setup::remove(&target)
        }
        _ => bail!("there is no client {name}"),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for path in files(from)? {
        let name = path.file_name().context("a file has a name")?;
        std::fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {path:?}"))?;
    }
    Ok(())
}

/// A word that changes with any of a client's files.
fn hash_of(source: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut paths = files(source)?;
    let more = source.join("src");
    if more.is_dir() {
        paths.extend(files(&more)?);
    }
    for path in paths {
        hash.update(path.file_name().context("a file has a name")?.as_encoded_bytes());
        hash.update(std::fs::read(&path).with_context(|| format!("cannot read {path:?}"))?);
    }
    Ok(hash.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect())
}

/// The files of a folder, in order; folders in it are left out.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {folder:?}"))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.is_file());
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_files_and_pins_one_version() {
        let text = |path: &str| {
            let path = crate::root().join("xtask/clients").join(path);
            std::fs::read_to_string(path).expect("the file is in the tree")
        };
        for name in NAMES {
            assert_eq!(hash_of(&crate::root().join("xtask/clients").join(name)).unwrap().len(), 10);
        }
        assert!(text("ioredis/package-lock.json").contains("\"integrity\": \"sha512-"));
        assert!(text("redis-rs/Cargo.toml").contains("redis = { version = \"="));
        assert!(text("go-redis/go.sum").contains("github.com/redis/go-redis/v9 v9."));
        assert!(!text("jedis/pom.xml").contains("<version>["));
    }
}
