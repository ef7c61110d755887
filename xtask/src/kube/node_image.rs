//! A kind node image where no registry can be reached: Debian packages and Go programs alone.
//!
//! `e2e/kind/node-image.sh` makes the root file system; this makes the images preloaded in it and
//! wraps it up. Everything is kept in the cache under the version of Kubernetes and of the recipe.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{docker, programs};
use crate::image::archive::{Image, save, save_layer};
use crate::image::closure;
use crate::image::tarball::Tree;
use crate::run::{check, command, read};
use crate::setup;

/// Grows with each change of what is in the image.
const RECIPE: u32 = 1;
/// Where Debian's static busybox is.
const BUSYBOX: &str = "/bin/busybox";

/// The name under which docker knows the image.
pub fn name() -> String {
    format!("kindest/node:v{}-cairn{RECIPE}", programs::KUBERNETES)
}

/// The image's file in the cache.
///
/// # Errors
/// If there is no cache.
pub fn path() -> Result<PathBuf> {
    let file = format!("kind-node-{}-{RECIPE}.tar", programs::KUBERNETES);
    Ok(setup::cache()?.join(file))
}

/// Makes the image if it is not in the cache; its file.
///
/// # Errors
/// If a package, a module or root is missing.
pub fn need() -> Result<PathBuf> {
    let place = path()?;
    if place.is_file() {
        return Ok(place);
    }
    docker::install()?;
    programs::need(&programs::FOR_NODE_IMAGE)?;
    setup::etcd()?;
    println!("kube: making {} (three minutes)", place.display());
    let work = setup::cache()?.join("kind-node.draft");
    let images = work.join("images");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot empty {work:?}"))?;
    }
    fs::create_dir_all(&images).with_context(|| format!("cannot make {images:?}"))?;
    preloaded(&images)?;
    let layer = work.join("root.tar");
    let base = setup::cache()?.join("debian-bookworm-node-1.tar");
    let folder = programs::path("kubeadm")?;
    let folder = folder.parent().context("the path has a folder")?;
    let mut script = command("bash", ["e2e/kind/node-image.sh"]);
    script.arg(base).arg(programs::kind_source()?).arg(folder).arg(&images);
    check(script.arg(format!("v{}", programs::KUBERNETES)).arg(&layer))?;
    let image = Image {
        names: vec![name()],
        entrypoint: vec!["/usr/local/bin/entrypoint".into(), "/sbin/init".into()],
        environment: vec!["container=docker".into()],
        stop_signal: "SIGRTMIN+3".into(),
        ..Image::default()
    };
    save_layer(&image, &layer, &place)?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {work:?}"))?;
    Ok(place)
}

/// Writes the images that a cluster needs before it could pull any.
fn preloaded(folder: &Path) -> Result<()> {
    let kubeadm = programs::path("kubeadm")?.to_string_lossy().into_owned();
    let version = format!("v{}", programs::KUBERNETES);
    let list = ["config", "images", "list", "--kubernetes-version", &version];
    let wanted = read(&mut command(&kubeadm, list))?;
    for name in wanted.lines() {
        let short = name.rsplit('/').next().unwrap_or_default();
        let short = short.split(':').next().unwrap_or_default();
        let mut tree = Tree::default();
        let mut image = Image { names: vec![name.to_owned()], ..Image::default() };
        match short {
            "pause" => {
                // Also the name in kind's own configuration of containerd.
                image.names.push("registry.k8s.io/pause:3.10".into());
                let program = folder.join("pause");
                let source = crate::root().join("e2e/kind/pause.c");
                check(command("cc", ["-Os", "-static", "-s", "-o"]).arg(&program).arg(source))?;
                tree.file("pause", &program, 0o755);
                image.entrypoint = vec!["/pause".into()];
            }
            "etcd" => {
                busybox(&mut tree)?;
                for program in ["etcd", "etcdctl"] {
                    let from = setup::etcd_folder()?.join(program);
                    tree.file(&format!("usr/local/bin/{program}"), &from, 0o755);
                }
            }
            "coredns" => {
                tree.file("coredns", &programs::path("coredns")?, 0o755);
                image.entrypoint = vec!["/coredns".into()];
            }
            "kube-proxy" => {
                busybox(&mut tree)?;
                proxy(&mut tree)?;
                tree.file("usr/local/bin/kube-proxy", &programs::path(short)?, 0o755);
            }
            _ => tree.file(&format!("usr/local/bin/{short}"), &programs::path(short)?, 0o755),
        }
        write(image, tree, &folder.join(format!("{short}.tar")))?;
    }
    let tools = [
        ("docker.io/library/busybox:1.35", "busybox", None),
        ("docker.io/cairn/kind-network:v1", "network", Some("kubectl")),
        (
            "docker.io/rancher/local-path-provisioner:v0.0.30",
            "local-path",
            Some("local-path-provisioner"),
        ),
    ];
    for (name, file, program) in tools {
        let mut tree = Tree::default();
        busybox(&mut tree)?;
        if let Some(program) = program {
            tree.file(&format!("usr/bin/{program}"), &programs::path(program)?, 0o755);
        }
        let arguments = vec!["sh".to_owned()];
        let image = Image { names: vec![name.to_owned()], arguments, ..Image::default() };
        write(image, tree, &folder.join(format!("{file}.tar")))?;
    }
    Ok(())
}

fn write(image: Image, mut tree: Tree, to: &Path) -> Result<()> {
    crate::image::system_files(&mut tree);
    tree.folder("tmp", 0o1777);
    save(&image, &tree, to).map(|_| ())
}

/// Busybox with all its applets.
///
/// # Errors
/// If it is not on this machine.
pub fn busybox(tree: &mut Tree) -> Result<()> {
    tree.file("bin/busybox", Path::new(BUSYBOX), 0o755);
    let applets = read(&mut command(BUSYBOX, ["--list"]))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        tree.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(())
}

/// What kube-proxy calls to change the rules of its host.
fn proxy(tree: &mut Tree) -> Result<()> {
    let tables = "/usr/sbin/xtables-nft-multi";
    for program in [tables, "/usr/sbin/nft", "/usr/sbin/conntrack", "/usr/bin/kmod"] {
        closure::add(tree, program, Path::new(program))?;
    }
    for name in ["iptables", "iptables-save", "iptables-restore"] {
        tree.link(&format!("usr/sbin/{name}"), "xtables-nft-multi");
        tree.link(&format!("usr/sbin/{}", name.replacen("ip", "ip6", 1)), "xtables-nft-multi");
    }
    tree.link("usr/sbin/modprobe", "/usr/bin/kmod");
    let folder = format!("/usr/lib/{}-linux-gnu/xtables", std::env::consts::ARCH);
    for plugin in fs::read_dir(&folder).with_context(|| format!("no {folder}"))? {
        let plugin = plugin?.path();
        closure::add(tree, &plugin.to_string_lossy(), &plugin)?;
    }
    Ok(())
}
