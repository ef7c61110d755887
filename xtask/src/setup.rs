//! `cargo xtask setup`: installs what tests and benchmarks need, and only what is missing.
//!
//! System packages come from apt (root, or sudo). Everything else lives below `~/.cache/cairn`
//! (`CAIRN_CACHE` names another place), in folders whose names carry the version: a virtual
//! environment with Python clients, and etcd built from its pinned Go module.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::clients;
use crate::run::{check, command, read, which};

/// The Redis client whose cluster mode tests use unmodified.
const REDIS_PY: &str = "6.4.0";
/// The version pinned in xtask/peers/etcd/go.mod.
const ETCD: &str = "3.6.6";
/// The oldest Go that can start to build etcd; it fetches the one its go.mod names.
const GO_MINOR_MIN: u32 = 21;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// What to prepare for; without it, for tests and benchmarks
    #[arg(long = "for", value_enum)]
    purpose: Option<Purpose>,
}

impl Args {
    /// What `cargo xtask test` needs.
    pub fn for_test() -> Self {
        Self { purpose: Some(Purpose::Test) }
    }

    /// What `cargo xtask bench` needs.
    pub fn for_bench() -> Self {
        Self { purpose: Some(Purpose::Bench) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// Stock clients of Redis and etcd
    Test,
    /// The servers that ours is compared with
    Bench,
    /// Redis clients of other languages, for `cargo xtask clients`
    Clients,
}

/// A program and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// Whether the package is in the backports archive only.
    backports: bool,
}

const fn tool(program: &'static str, package: &'static str, backports: bool) -> Tool {
    Tool { program, package, backports }
}

const FOR_TEST: [Tool; 4] = [
    tool("redis-cli", "redis-tools", false),
    tool("redis-server", "redis-server", false),
    tool("etcdctl", "etcd-client", false),
    tool("valkey-benchmark", "valkey-tools", true),
];
const FOR_BENCH: [Tool; 2] =
    [tool("valkey-server", "valkey-server", true), tool("valkey-cli", "valkey-tools", true)];

/// Installs what is missing and says so; does nothing the second time.
///
/// # Errors
/// If something cannot be installed; the message says what to install by hand.
pub fn run(args: &Args) -> Result<()> {
    let (test, bench) = match args.purpose {
        Some(purpose) => (purpose == Purpose::Test, purpose == Purpose::Bench),
        None => (true, true),
    };
    let mut tools: Vec<&Tool> = Vec::new();
    if test {
        tools.extend(&FOR_TEST);
    }
    if bench {
        tools.extend(&FOR_BENCH);
    }
    install(&tools)?;
    if test {
        python()?;
    }
    if bench {
        etcd()?;
    }
    if args.purpose == Some(Purpose::Clients) {
        clients::install_all()?;
    }
    println!("setup: complete=1");
    Ok(())
}

/// Where things that are not system packages are kept.
///
/// # Errors
/// If neither `CAIRN_CACHE` nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CAIRN_CACHE") {
        return Ok(PathBuf::from(named));
    }
    let home = std::env::var_os("HOME").context("HOME is not set; set CAIRN_CACHE")?;
    Ok(PathBuf::from(home).join(".cache/cairn"))
}

/// The Python that can import `redis`; present after a set-up for tests.
///
/// # Errors
/// As [`cache`].
pub fn python_program() -> Result<PathBuf> {
    Ok(cache()?.join(format!("python-redis-{REDIS_PY}/bin/python3")))
}

/// The folder with `etcd`, `etcdctl` and `benchmark`; present after a set-up for benchmarks.
///
/// # Errors
/// As [`cache`].
pub fn etcd_folder() -> Result<PathBuf> {
    Ok(cache()?.join(format!("etcd-{ETCD}")))
}

/// Installs programs that are missing: each one's name, and the Debian package that has it.
///
/// # Errors
/// If one cannot be installed.
pub fn tools(wanted: &[(&'static str, &'static str)]) -> Result<()> {
    let tools: Vec<Tool> =
        wanted.iter().map(|(name, package)| tool(name, package, false)).collect();
    install(&tools.iter().collect::<Vec<_>>())
}

fn install(tools: &[&Tool]) -> Result<()> {
    let missing: Vec<&&Tool> = tools.iter().filter(|tool| which(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    if which("apt-get").is_none() {
        bail!("no apt-get here: install {} by your own means and run again", names.join(", "));
    }
    println!("setup: installing {} with apt", names.join(", "));
    let backports = missing.iter().any(|tool| tool.backports);
    if backports {
        add_backports()?;
    }
    apt(&["update", "-qq"])?;
    for from_backports in [false, true] {
        let wanted = missing.iter().filter(|tool| tool.backports == from_backports);
        let packages: Vec<&str> = wanted.map(|tool| tool.package).collect();
        if packages.is_empty() {
            continue;
        }
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        if from_backports {
            arguments.extend(["-t", "bookworm-backports"]);
        }
        arguments.extend(packages);
        apt(&arguments)?;
    }
    // The packages start servers of their own, on the port a cluster's clients would use.
    for server in ["redis-server", "valkey-server"] {
        if names.contains(&server) && Path::new("/run/systemd/system").exists() {
            check(&mut command("systemctl", ["disable", "--now", server]))?;
        }
    }
    for tool in missing {
        ensure!(which(tool.program).is_some(), "{} has no {}", tool.package, tool.program);
    }
    Ok(())
}

/// Names Debian's backports archive to apt, unless a file does already.
fn add_backports() -> Result<()> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.contains("VERSION_CODENAME=bookworm") {
        println!("setup: not Debian 12; expecting its own archive to have valkey");
        return Ok(());
    }
    if read(&mut command("apt-cache", ["policy"]))?.contains("bookworm-backports") {
        return Ok(());
    }
    let path = "/etc/apt/sources.list.d/bookworm-backports.sources";
    println!("setup: adding {path}");
    let text = "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm-backports\n\
                Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    let draft = std::env::temp_dir().join("bookworm-backports.sources");
    std::fs::write(&draft, text).with_context(|| format!("cannot write {draft:?}"))?;
    let draft = draft.to_string_lossy().into_owned();
    as_root(&["install", "-m", "644", &draft, path])
}

/// Runs apt-get as root.
///
/// # Errors
/// If we are not root and there is no sudo, or apt-get fails.
pub fn apt(arguments: &[&str]) -> Result<()> {
    let mut line = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    line.extend(arguments);
    as_root(&line)
}

fn as_root(line: &[&str]) -> Result<()> {
    let is_root = read(&mut command("id", ["-u"]))?.trim() == "0";
    let outcome = if is_root {
        check(&mut command(line[0], &line[1..]))
    } else {
        ensure!(which("sudo").is_some(), "root is needed for: {}", line.join(" "));
        check(&mut command("sudo", line))
    };
    outcome.with_context(|| "system packages cannot be installed".to_owned())
}

/// A virtual environment outside the tree with the Redis client.
///
/// # Errors
/// If it cannot be made, or pip finds no package.
pub fn python() -> Result<()> {
    let program = python_program()?;
    if program.exists() {
        return Ok(());
    }
    let folder = program.parent().and_then(Path::parent).context("the path has a folder")?;
    println!("setup: making {folder:?} with redis-py {REDIS_PY}");
    let draft = folder.with_added_extension("part");
    remove(&draft)?;
    let has_venv = command("python3", ["-c", "import ensurepip, venv"]).output();
    if !has_venv.is_ok_and(|output| output.status.success()) {
        let venv = tool("python3-venv is asked for by package", "python3-venv", false);
        println!("setup: installing {}", venv.package);
        apt(&["install", "-y", "-qq", "--no-install-recommends", venv.package])?;
    }
    check(command("python3", ["-m", "venv", "--copies"]).arg(&draft))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let draft_python = draft.join("bin/python3").to_string_lossy().into_owned();
    check(command(&draft_python, pip).arg(format!("redis=={REDIS_PY}")))?;
    std::fs::rename(&draft, folder).with_context(|| format!("cannot name {folder:?}"))
}

/// etcd, etcdctl and its load generator, built from the pinned module.
///
/// # Errors
/// If there is no Go, no module proxy, or something does not compile.
pub fn etcd() -> Result<()> {
    let folder = etcd_folder()?;
    if folder.join("benchmark").exists() {
        return Ok(());
    }
    go()?;
    println!("setup: building etcd {ETCD} into {folder:?} (about three minutes)");
    let draft = folder.with_added_extension("part");
    remove(&draft)?;
    std::fs::create_dir_all(&draft).with_context(|| format!("cannot make {draft:?}"))?;
    let programs = [
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
        ("benchmark", "go.etcd.io/etcd/v3/tools/benchmark"),
    ];
    for (name, package) in programs {
        go_build(&draft.join(name), package)?;
    }
    std::fs::rename(&draft, &folder).with_context(|| format!("cannot name {folder:?}"))
}

/// A client that puts keys through etcd's own library, built anew where its source has changed;
/// where it is.
///
/// # Errors
/// As [`etcd`].
pub fn etcd_writer() -> Result<PathBuf> {
    let program = crate::product::target_folder().join("etcd-writer");
    go()?;
    // Go itself sees whether there is anything to do.
    go_build(&program, "./writer")?;
    Ok(program)
}

fn go_build(program: &Path, package: &str) -> Result<()> {
    let mut go = command("go", ["build", "-trimpath", "-buildvcs=false", "-mod=readonly"]);
    go.args(["-ldflags", "-s -w"]).arg("-o").arg(program).arg(package);
    go.env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    check(go.current_dir(crate::root().join("xtask/peers/etcd")))
}

/// Go, from apt where it is missing; it fetches the version that a module names.
///
/// # Errors
/// If it cannot be installed.
pub fn go() -> Result<()> {
    let version = read(&mut command("go", ["env", "GOVERSION"])).unwrap_or_default();
    let minor = version.trim().split('.').nth(1).and_then(|minor| minor.parse().ok());
    if minor.is_some_and(|minor: u32| minor >= GO_MINOR_MIN) {
        return Ok(());
    }
    if which("apt-get").is_none() {
        bail!("no apt-get here: install Go 1.{GO_MINOR_MIN} or newer and run again");
    }
    println!("setup: installing Go with apt");
    add_backports()?;
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "-t", "bookworm-backports", "golang-go"])
}

/// Removes a folder, if it is there.
///
/// # Errors
/// If something of it cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {folder:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_named_here_is_the_version_pinned_for_go() {
        let pinned = std::fs::read_to_string(crate::root().join("xtask/peers/etcd/go.mod"))
            .expect("the module is in the tree");
        assert!(pinned.contains(&format!("go.etcd.io/etcd/server/v3 v{ETCD}\n")));
    }
}
