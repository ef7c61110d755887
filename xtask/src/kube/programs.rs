//! Programs of a real Kubernetes, built from Go modules and kept by version.
//!
//! No release archive and no registry is asked: the Go module proxy is enough. A program is built
//! beside its place and then named, so that what is in the cache is whole.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::run::{check, command, read};
use crate::setup;

/// The Kubernetes that everything is tested on; pinned in `e2e/kind/kubernetes/go.mod`.
pub const KUBERNETES: &str = "1.34.4";
/// The tool that makes clusters of containers.
pub const KIND: &str = "0.30.0";
const HELM: &str = "3.22.0";
const COREDNS: &str = "1.12.4";
const CERT_MANAGER: &str = "1.21.2";
const LOCAL_PATH: &str = "0.0.30";

/// What the API server needs, and nothing else does.
pub const FOR_API: [&str; 3] = ["kube-apiserver", "kubectl", "cert-manager"];
/// What drives a cluster of containers, wherever its node image comes from.
pub const FOR_KIND: [&str; 3] = ["kubectl", "kind", "helm"];
/// What a node image is made of.
pub const FOR_NODE_IMAGE: [&str; 9] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubeadm",
    "kubectl",
    "coredns",
    "local-path-provisioner",
];

/// Where a program comes from.
enum Source {
    /// A module's own package, by module, version and package.
    Module(&'static str, &'static str, &'static str),
    /// A package of Kubernetes, pinned in `e2e/kind/kubernetes`.
    Kubernetes,
    /// The program of our own in `e2e/kind/NAME`, by the version of what it links.
    Own(&'static str),
}

fn source(name: &str) -> Source {
    match name {
        "kind" => Source::Module("sigs.k8s.io/kind", KIND, ""),
        "helm" => Source::Module("helm.sh/helm/v3", HELM, "/cmd/helm"),
        "local-path-provisioner" => {
            Source::Module("github.com/rancher/local-path-provisioner", LOCAL_PATH, "")
        }
        "coredns" => Source::Own(COREDNS),
        "cert-manager" => Source::Own(CERT_MANAGER),
        _ => Source::Kubernetes,
    }
}

/// Where a program is, or will be.
///
/// # Errors
/// If there is no cache.
pub fn path(name: &str) -> Result<PathBuf> {
    let folder = match source(name) {
        Source::Module(_, version, _) | Source::Own(version) => format!("{name}-{version}"),
        Source::Kubernetes => format!("kubernetes-{KUBERNETES}"),
    };
    Ok(setup::cache()?.join(folder).join(name))
}

/// Which of these are not in the cache.
///
/// # Errors
/// If there is no cache.
pub fn missing(names: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for name in names {
        if !path(name)?.is_file() {
            missing.push(*name);
        }
    }
    Ok(missing)
}

/// Builds what is missing; minutes on a machine that never built it.
///
/// # Errors
/// If there is no Go, no module proxy, or something does not compile.
pub fn need(names: &[&'static str]) -> Result<()> {
    let missing = missing(names)?;
    if missing.is_empty() {
        return Ok(());
    }
    setup::go()?;
    for name in missing {
        let started = Instant::now();
        println!("kube: building {name}");
        build(name)?;
        println!("kube: built {name} in {} s", started.elapsed().as_secs());
    }
    Ok(())
}

fn build(name: &str) -> Result<()> {
    let place = path(name)?;
    let folder = place.parent().context("the path has a folder")?;
    let draft = folder.join(".draft");
    std::fs::create_dir_all(&draft).with_context(|| format!("cannot make {draft:?}"))?;
    let common = ["-trimpath", "-buildvcs=false"];
    let mut go = match source(name) {
        Source::Module(module, version, package) => {
            let flags = if name == "helm" { helm_flags() } else { "-s -w".to_owned() };
            let mut go = command("go", ["install", "-ldflags", &flags]);
            go.args(common).arg(format!("{module}{package}@v{version}"));
            go
        }
        Source::Own(_) => {
            let mut go = command("go", ["build", "-mod=readonly", "-ldflags", "-s -w", "-o"]);
            go.arg(draft.join(name)).args(common).arg(".");
            go.current_dir(crate::root().join("e2e/kind").join(name));
            go
        }
        Source::Kubernetes => {
            let mut go = command("go", ["build", "-mod=readonly"]);
            go.args(common).args(["-ldflags", &kubernetes_flags()]);
            go.arg("-o").arg(draft.join(name)).arg(format!("k8s.io/kubernetes/cmd/{name}"));
            go.current_dir(crate::root().join("e2e/kind/kubernetes"));
            go
        }
    };
    go.env("CGO_ENABLED", "0").env("GOBIN", &draft).env_remove("GOFLAGS");
    check(&mut go)?;
    if name == "cert-manager" {
        keep_kinds_of_cert_manager(folder)?;
    }
    std::fs::rename(draft.join(name), &place).with_context(|| format!("cannot name {place:?}"))
}

/// The Kubernetes that helm takes for granted when it asks none: a chart names the oldest it takes.
fn helm_flags() -> String {
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    let package = "helm.sh/helm/v3/pkg/chartutil";
    format!("-s -w -X {package}.k8sVersionMajor=1 -X {package}.k8sVersionMinor={minor}")
}

/// What the programs are to say of themselves: kubeadm compares versions.
fn kubernetes_flags() -> String {
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    let facts = [
        ("gitVersion", format!("v{KUBERNETES}")),
        ("gitMajor", "1".to_owned()),
        ("gitMinor", minor.to_owned()),
        ("gitCommit", "0".repeat(40)),
        ("gitTreeState", "clean".to_owned()),
        ("buildDate", "2026-01-01T00:00:00Z".to_owned()),
    ];
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in &facts {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

/// Copies the definitions of cert-manager's kinds to `crds` beside the program.
fn keep_kinds_of_cert_manager(folder: &Path) -> Result<()> {
    let module = source_of("github.com/cert-manager/cert-manager", CERT_MANAGER)?;
    let kept = folder.join("crds");
    std::fs::create_dir_all(&kept).with_context(|| format!("cannot make {kept:?}"))?;
    for kind in ["certificates", "certificaterequests", "issuers", "clusterissuers"] {
        let file = format!("cert-manager.io_{kind}.yaml");
        let text = std::fs::read(module.join("deploy/crds").join(&file))
            .with_context(|| format!("cert-manager's module has no {file}"))?;
        std::fs::write(kept.join(&file), text).with_context(|| format!("cannot keep {file}"))?;
    }
    Ok(())
}

/// The folder with kind's own source, which has the files of its node image.
///
/// # Errors
/// If the module cannot be had.
pub fn kind_source() -> Result<PathBuf> {
    let folder = source_of("sigs.k8s.io/kind", KIND)?;
    ensure!(folder.join("images/base/files").is_dir(), "{folder:?} has no files of a node image");
    Ok(folder)
}

/// Where Go keeps the source of a module.
fn source_of(module: &str, version: &str) -> Result<PathBuf> {
    let module = format!("{module}@v{version}");
    let answer = read(command("go", ["mod", "download", "-json", &module]).env_remove("GOFLAGS"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let Some(folder) = answer["Dir"].as_str() else { bail!("go does not say where {module} is") };
    Ok(PathBuf::from(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_named_here_are_the_versions_pinned_for_go() {
        for (folder, line) in [
            ("kubernetes", format!("require k8s.io/kubernetes v{KUBERNETES}\n")),
            ("coredns", format!("require github.com/coredns/coredns v{COREDNS}\n")),
            (
                "cert-manager",
                format!("require github.com/cert-manager/cert-manager v{CERT_MANAGER}\n"),
            ),
        ] {
            let file = crate::root().join("e2e/kind").join(folder).join("go.mod");
            let pinned = std::fs::read_to_string(file).expect("the module is in the tree");
            assert!(pinned.contains(&line), "{folder}");
        }
    }

    #[test]
    fn a_program_is_kept_under_its_own_version() {
        let place = |name| path(name).unwrap().to_string_lossy().into_owned();
        assert!(place("kind").ends_with("/kind-0.30.0/kind"));
        assert!(place("kubectl").ends_with("/kubernetes-1.34.4/kubectl"));
    }
}
