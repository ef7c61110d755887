//! `cargo xtask image`: the image of our three programs, made without a daemon or a registry.
//!
//! The image holds the programs, the libraries they load and a few small files: no shell, no
//! package manager, no root user to become. `Dockerfile` makes the same image by calling this.

pub mod archive;
pub mod closure;
mod scan;
pub mod tarball;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::product::target_folder;
use crate::run::{check, command};
use archive::Image;
use tarball::Tree;

/// Where the image would be published; the version is that of the workspace.
const REPOSITORY: &str = "ghcr.io/cairn-db/cairn";
/// Who runs the programs; pods say the same.
const USER: &str = "10001:10001";
const PROGRAMS: [&str; 3] = ["cairn-node", "cairn", "cairn-operator"];
const PACKAGES: [&str; 3] = ["cairn-node", "cairn-cli", "cairn-operator"];

/// Arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub struct Args {
    /// How to build the programs: `release`, or `fast` for tests
    #[arg(long, default_value = "release")]
    profile: String,
    /// Write the image's files into this folder, and no image
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
    /// Ask the registries whether what is in the image was mended or withdrawn since
    #[arg(long)]
    scan: bool,
}

/// Builds the programs and writes the image; says how big it is.
///
/// # Errors
/// If they do not compile, or a library they need is not here.
pub fn run(args: &Args) -> Result<bool> {
    if let Some(folder) = &args.files {
        let tree = tree(&args.profile)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        unpack(&tree, folder)?;
        println!("image: programs={} folder={}", PROGRAMS.len(), folder.display());
        return Ok(true);
    }
    if args.scan {
        let built = built(&args.profile)?;
        return scan::scan(&PROGRAMS.map(|program| built.join(program)));
    }
    let archive = make(&args.profile)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let size = mib(fs::metadata(&archive)?.len());
    println!("image: name={} programs={} mib={size:.1}", name(), PROGRAMS.len());
    println!("image: file={}", archive.display());
    Ok(true)
}

/// The image's name and tag.
pub fn name() -> String {
    format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"))
}

/// Builds the programs and writes the image, as `docker load` takes it; its file.
///
/// # Errors
/// As [`run`].
pub fn make(profile: &str) -> Result<PathBuf> {
    let tree = tree(profile)?;
    let place = target_folder().join("image/cairn.tar");
    let image = Image {
        names: vec![name()],
        user: USER.to_owned(),
        labels: vec![
            ("org.opencontainers.image.title", "cairn".to_owned()),
            ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("org.opencontainers.image.licenses", "Apache-2.0".to_owned()),
        ],
        ..Image::default()
    };
    archive::save(&image, &tree, &place)?;
    prove(&tree)?;
    Ok(place)
}

/// Files that a C library asks for before it resolves a name or a user.
pub fn system_files(tree: &mut Tree) {
    tree.text(
        "etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\ncairn:x:10001:10001:cairn:/:/sbin/nologin\n",
        0o644,
    );
    tree.text("etc/group", "root:x:0:\ncairn:x:10001:\n", 0o644);
    tree.text("etc/nsswitch.conf", "hosts: files dns\n", 0o644);
    // Whom everybody trusts, for archives in storage that others run.
    let authorities = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if authorities.is_file() {
        tree.file("etc/ssl/certs/ca-certificates.crt", authorities, 0o644);
    }
}

fn tree(profile: &str) -> Result<Tree> {
    let built = built(profile)?;
    let stripped = target_folder().join("image/programs");
    fs::create_dir_all(&stripped).with_context(|| format!("cannot make {stripped:?}"))?;
    let mut tree = Tree::default();
    system_files(&mut tree);
    for program in PROGRAMS {
        let from = built.join(program);
        ensure!(from.is_file(), "{program} was built, but is not in {built:?}");
        let to = stripped.join(program);
        closure::strip(&from, &to)?;
        closure::add(&mut tree, &format!("usr/local/bin/{program}"), &to)?;
    }
    Ok(tree)
}

/// Builds the programs; the folder they are in.
///
/// `CAIRN_PROGRAMS` names a folder with programs that are built already.
fn built(profile: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CAIRN_PROGRAMS") {
        return Ok(PathBuf::from(folder));
    }
    let mut cargo = command("cargo", ["build", "--quiet", "--profile", profile]);
    PACKAGES.iter().for_each(|package| {
        cargo.args(["-p", package]);
    });
    check(&mut cargo)?;
    Ok(target_folder().join(folder_of(profile)))
}

/// Where below the target folder cargo puts what it builds with a profile.
pub fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// Runs each program inside the image's own files, where this machine lets us.
fn prove(tree: &Tree) -> Result<()> {
    let folder = target_folder().join("image/root");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {folder:?}"))?;
    }
    fs::create_dir_all(&folder)?;
    unpack(tree, &folder)?;
    for program in PROGRAMS {
        let mut inside = command("chroot", ["--userspec", USER]);
        inside.arg(&folder).arg(format!("/usr/local/bin/{program}")).arg("--version");
        let Ok(output) = inside.output() else { return Ok(()) };
        let complaint = String::from_utf8_lossy(&output.stderr);
        if complaint.contains("Operation not permitted") {
            println!("image: not run here, for only root may change its root");
            return Ok(());
        }
        let why = format!("{program} does not run in the image: {}", complaint.trim());
        ensure!(output.status.success(), why);
    }
    Ok(())
}

fn unpack(tree: &Tree, folder: &Path) -> Result<()> {
    let mut tar = command("tar", ["-xf", "-", "-C"]);
    let tar = tar.arg(folder).stdin(std::process::Stdio::piped());
    let mut tar = tar.spawn().context("cannot run tar")?;
    let mut pipe = tar.stdin.take().context("standard input is a pipe")?;
    tree.write(&mut pipe)?;
    pipe.flush()?;
    drop(pipe);
    ensure!(tar.wait()?.success(), "tar cannot unpack into {folder:?}");
    Ok(())
}
