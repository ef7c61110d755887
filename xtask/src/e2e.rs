//! `cargo xtask e2e`: stories on a real Kubernetes, with clients at work and a checked history.
//!
//! Makes a cluster of four nodes, loads our image, installs the chart as a user would, tells the
//! stories, and leaves nothing running.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::api_tier::path_with_programs;
use crate::image::archive::{Image, save};
use crate::image::tarball::Tree;
use crate::image::{self, closure};
use crate::kube::kind::Kind;
use crate::kube::{node_image, programs};
use crate::product::target_folder;
use crate::run::{check, command, watch, which};
use crate::setup;

/// Where the chart is installed.
const NAMESPACE: &str = "cairn-system";
/// The image of the pods that clients of stories run in; the stories know it by this name.
const TOOLS: &str = "cairn.dev/e2e-tools:test";

/// Begins the line that says that this machine could not carry a cluster; `.ci/run` looks for it.
const NO_CLUSTER: &str = "e2e: no cluster could be made";

/// Arguments of `cargo xtask e2e`.
#[derive(clap::Args)]
pub struct Args {
    /// Tell this story; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    story: Vec<String>,
    /// Tell all stories, as without any argument
    #[arg(long)]
    all: bool,
    /// Leave the cluster and the stories' namespaces for a person to look at
    #[arg(long)]
    keep: bool,
    /// Use the cluster that `--keep` left, with images loaded anew
    #[arg(long)]
    again: bool,
    /// How often each fault is repeated
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Begin no story after this many minutes
    #[arg(long, default_value_t = 240)]
    minutes: u64,
    /// How the programs are built
    #[arg(long, default_value = "fast")]
    profile: String,
    /// Name the stories and stop
    #[arg(long)]
    list: bool,
}

/// Tells the stories; whether all of them went well.
///
/// # Errors
/// If there can be no cluster, or it cannot be removed.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        let list = ["run", "--quiet", "-p", "cairn-e2e", "--", "stories", "--list"];
        return watch(&mut command("cargo", list), |_| {});
    }
    if args.story.is_empty() && !args.all {
        println!("telling all stories; --story NAME tells one, --list names them");
    }
    let images = [image::make(&args.profile)?, tools(&args.profile)?];
    let kind = cluster(args.again).or_else(|error| {
        // Whatever there is of it must not run on.
        Kind::attach().and_then(Kind::delete)?;
        println!("{NO_CLUSTER}: {error:#}");
        Err(error)
    })?;
    let outcome = tell(&kind, &images, args);
    if args.keep {
        kind.keep();
    } else {
        kind.delete()?;
    }
    outcome
}

fn cluster(again: bool) -> Result<Kind> {
    if again {
        let kind = Kind::attach()?;
        if kind.exists() {
            return Ok(kind);
        }
    }
    Kind::create()
}

fn tell(kind: &Kind, images: &[PathBuf], args: &Args) -> Result<bool> {
    for image in images {
        kind.load(image)?;
    }
    install(kind)?;
    let profile = ["run", "--quiet", "--profile", &args.profile, "-p", "cairn-e2e", "--"];
    let mut stories = command("cargo", profile);
    stories.args(["stories", "--rounds", &args.rounds.to_string()]);
    stories.args(["--minutes", &args.minutes.to_string(), "--kubeconfig"]).arg(kind.kubeconfig());
    stories.arg("--logs").arg(target_folder().join("e2e/logs"));
    args.story.iter().for_each(|name| {
        stories.args(["--story", name]);
    });
    if args.keep {
        stories.arg("--keep");
    }
    // Clients outside the cluster are stock ones, too.
    let mut path = setup::etcd_folder()?.into_os_string();
    path.push(":");
    path.push(plugin(&args.profile)?);
    path.push(":");
    path.push(path_with_programs()?);
    watch(stories.env("PATH", path), |_| {})
}

/// What a new user types, with the words of the chart's notes: the chart as it is published.
fn install(kind: &Kind) -> Result<()> {
    let place = target_folder().join("e2e/chart");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot empty {place:?}"))?;
    }
    let mut package = helm(kind.kubeconfig())?;
    check(package.args(["package", "charts/cairn", "--destination"]).arg(&place))?;
    let mut made = fs::read_dir(&place).with_context(|| format!("cannot read {place:?}"))?;
    let chart = made.next().context("helm made no package")??.path();
    let mut helm = helm(kind.kubeconfig())?;
    helm.args(["upgrade", "--install", "cairn"]).arg(chart).arg("--create-namespace");
    check(helm.args(["--namespace", NAMESPACE, "--wait", "--timeout", "180s"]))
}

/// A folder with the plugin of kubectl, which comes with the image's programs.
fn plugin(profile: &str) -> Result<PathBuf> {
    let place = target_folder().join("e2e/plugin");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {place:?}"))?;
    let program = target_folder().join(image::folder_of(profile)).join("cairn");
    fs::copy(&program, place.join("kubectl-cairn"))
        .with_context(|| format!("cannot copy {program:?}"))?;
    Ok(place)
}

fn helm(kubeconfig: &Path) -> Result<Command> {
    let helm = programs::path("helm")?.to_string_lossy().into_owned();
    let mut helm = command(&helm, ["--kubeconfig"]);
    helm.arg(kubeconfig);
    Ok(helm)
}

/// Stock clients, our own recording ones and a shell, in one image.
fn tools(profile: &str) -> Result<PathBuf> {
    setup::run(&setup::Args::for_test())?;
    setup::etcd()?;
    let build = ["build", "--quiet", "--profile", profile, "-p", "cairn-e2e"];
    check(&mut command("cargo", build))?;
    let mut tree = Tree::default();
    image::system_files(&mut tree);
    tree.folder("tmp", 0o1777);
    node_image::busybox(&mut tree)?;
    let redis_cli = which("redis-cli").context("no redis-cli after a set-up for tests")?;
    closure::add(&mut tree, "usr/local/bin/redis-cli", &redis_cli.canonicalize()?)?;
    let etcdctl = setup::etcd_folder()?.join("etcdctl");
    tree.file("usr/local/bin/etcdctl", &etcdctl, 0o755);
    let ours = target_folder().join(image::folder_of(profile)).join("cairn-e2e");
    closure::add(&mut tree, "usr/local/bin/cairn-e2e", &ours)?;
    let place = target_folder().join("image/e2e-tools.tar");
    save(&Image { names: vec![TOOLS.to_owned()], ..Image::default() }, &tree, &place)?;
    Ok(place)
}
