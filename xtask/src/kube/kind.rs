//! A Kubernetes of containers: one control plane and three workers, made and removed by kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::docker::{self, Docker};
use super::{node_image, programs};
use crate::product::target_folder;
use crate::run::{check, command};

/// The cluster's name; its nodes' names begin with it.
pub const NAME: &str = "cairn";
/// The node image that kind publishes with this version.
const PUBLISHED: &str = "kindest/node:v1.34.0";

/// A running cluster.
pub struct Kind {
    docker: Docker,
    kubeconfig: PathBuf,
}

impl Kind {
    /// Makes the cluster anew; one that is left over is deleted first.
    ///
    /// # Errors
    /// If there is no docker, no node image, or the cluster does not get ready.
    pub fn create() -> Result<Self> {
        programs::need(&programs::FOR_KIND)?;
        let kind = Self::attach()?;
        kind.delete_cluster()?;
        let image = node_image(&kind.docker)?;
        let began = Instant::now();
        if let Err(error) = kind.try_create(&image) {
            // A starved machine may not bring up a control plane in time; once more, then.
            println!("kube: {error:#}; trying once more");
            kind.delete_cluster()?;
            kind.try_create(&image)?;
        }
        let ready = ["wait", "--for=condition=Ready", "node", "--all", "--timeout=180s"];
        check(kind.kubectl()?.args(ready))?;
        println!("kube: a cluster of four nodes is ready after {} s", began.elapsed().as_secs());
        Ok(kind)
    }

    /// One try; of one that fails, what its nodes said last is printed.
    fn try_create(&self, image: &str) -> Result<()> {
        let mut create = self.command()?;
        create.args(["create", "cluster", "--name", NAME, "--image", image, "--wait", "180s"]);
        create.args(["--retain", "--config", "e2e/kind/cluster.yaml", "--kubeconfig"]);
        let created = check(create.arg(&self.kubeconfig));
        if created.is_err() {
            let node = format!("{NAME}-control-plane");
            for words in [["ps", "--all", "--no-trunc"], ["logs", "--tail=40", node.as_str()]] {
                // Only for whoever reads the output; the first failure is what counts.
                check(&mut command("docker", words)).ok();
            }
        }
        created
    }

    /// A handle on a cluster that may exist already.
    ///
    /// # Errors
    /// If there is no docker.
    pub fn attach() -> Result<Self> {
        let folder = target_folder().join("e2e");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        Ok(Self { docker: Docker::start()?, kubeconfig: folder.join("kubeconfig") })
    }

    /// Whether all of it is there.
    pub fn exists(&self) -> bool {
        let nodes = ["get", "nodes", "--request-timeout=5s"];
        let answer = self.kubectl().and_then(|mut kubectl| Ok(kubectl.args(nodes).output()?));
        self.kubeconfig.exists() && answer.is_ok_and(|output| output.status.success())
    }

    /// Loads an image archive into every node.
    ///
    /// # Errors
    /// If kind refuses it.
    pub fn load(&self, archive: &Path) -> Result<()> {
        check(self.command()?.args(["load", "image-archive", "--name", NAME]).arg(archive))
    }

    /// A kubeconfig whose user may do anything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl of the cluster's version, talking to it.
    ///
    /// # Errors
    /// If there is no cache.
    pub fn kubectl(&self) -> Result<Command> {
        let kubectl = programs::path("kubectl")?;
        let mut kubectl = command(&kubectl.to_string_lossy(), ["--kubeconfig"]);
        kubectl.arg(&self.kubeconfig);
        Ok(kubectl)
    }

    /// Leaves nothing running: the cluster goes, and docker if we started it.
    ///
    /// # Errors
    /// If something stays.
    pub fn delete(self) -> Result<()> {
        self.delete_cluster()?;
        self.docker.stop()
    }

    /// Leaves everything running, for a person to look at.
    pub fn keep(self) {
        println!("kube: the cluster is left running; `cargo xtask kube down` removes it");
        println!("kube: export KUBECONFIG={}", self.kubeconfig.display());
    }

    fn delete_cluster(&self) -> Result<()> {
        let mut delete = self.command()?;
        delete.args(["delete", "cluster", "--quiet", "--name", NAME, "--kubeconfig"]);
        check(delete.arg(&self.kubeconfig))
    }

    fn command(&self) -> Result<Command> {
        let mut kind = command(&programs::path("kind")?.to_string_lossy(), [""; 0]);
        kind.env("KIND_EXPERIMENTAL_PROVIDER", "docker");
        Ok(kind)
    }
}

/// Whether a cluster can be made without building or pulling a node image.
///
/// # Errors
/// If there is no cache.
pub fn has_node_image() -> Result<bool> {
    Ok(node_image::path()?.is_file() || docker::has_image(PUBLISHED))
}

/// The name of a node image that docker has: ours if it was made, else the published one, else
/// ours made now.
fn node_image(docker: &Docker) -> Result<String> {
    let ours = node_image::name();
    if docker::has_image(&ours) {
        return Ok(ours);
    }
    if node_image::path()?.is_file() {
        docker.load(&node_image::path()?)?;
        return Ok(ours);
    }
    if docker::has_image(PUBLISHED) || pull(PUBLISHED) {
        return Ok(PUBLISHED.to_owned());
    }
    println!("kube: no registry can be reached; the node image is built here");
    docker.load(&node_image::need()?)?;
    Ok(ours)
}

fn pull(image: &str) -> bool {
    let pulled = command("timeout", ["300", "docker", "pull", "--quiet", image]).output();
    pulled.is_ok_and(|output| output.status.success())
}
