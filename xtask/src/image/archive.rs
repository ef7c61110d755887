//! Container images as `docker save` writes them: made here, without a daemon or a registry.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tarball::Tree;

/// What an image says beside its one layer.
#[derive(Default)]
pub struct Image {
    /// `name:tag`; several names may mean the same image.
    pub names: Vec<String>,
    /// The program, when a pod names none.
    pub entrypoint: Vec<String>,
    /// Arguments of the program, when a pod names none.
    pub arguments: Vec<String>,
    /// `NAME=value` beside PATH.
    pub environment: Vec<String>,
    /// `uid:gid`; empty stands for root.
    pub user: String,
    /// What asks the first process to stop; empty stands for SIGTERM.
    pub stop_signal: String,
    /// What people and scanners ask first.
    pub labels: Vec<(&'static str, String)>,
}

/// Writes an image of one layer to `to`; the layer's size in bytes.
///
/// # Errors
/// If a file of the layer cannot be read, or the disk is full.
pub fn save(image: &Image, layer: &Tree, to: &Path) -> Result<u64> {
    let draft = to.with_added_extension("layer");
    let file = File::create(&draft).with_context(|| format!("cannot make {draft:?}"))?;
    let mut file = BufWriter::new(file);
    layer.write(&mut file)?;
    file.flush()?;
    drop(file);
    let size = save_layer(image, &draft, to)?;
    std::fs::remove_file(&draft)?;
    Ok(size)
}

/// Writes an image whose layer is a tar file already; the layer's size in bytes.
///
/// # Errors
/// As [`save`].
pub fn save_layer(image: &Image, layer: &Path, to: &Path) -> Result<u64> {
    let digest = digest_of(layer)?;
    let config = serde_json::to_vec(&config(image, &digest))?;
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let layer_name = format!("{digest}/layer.tar");
    let manifest = json!([{
        "Config": config_name, "RepoTags": image.names, "Layers": [layer_name],
    }]);
    let mut tree = Tree::default();
    tree.text(&config_name, config, 0o644);
    tree.file(&layer_name, layer, 0o644);
    tree.text("manifest.json", serde_json::to_vec(&manifest)?, 0o644);
    let draft = to.with_added_extension("part");
    let file = File::create(&draft).with_context(|| format!("cannot make {draft:?}"))?;
    let mut file = BufWriter::new(file);
    tree.write(&mut file)?;
    file.flush()?;
    std::fs::rename(&draft, to).with_context(|| format!("cannot name {to:?}"))?;
    Ok(std::fs::metadata(layer)?.len())
}

fn config(image: &Image, layer: &str) -> Value {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let environment: Vec<String> =
        std::iter::once(path).chain(image.environment.iter().cloned()).collect();
    let mut inner = json!({ "Env": environment, "WorkingDir": "/" });
    let mut set = |key: &str, value: Value, given: bool| {
        if given {
            inner[key] = value;
        }
    };
    set("Entrypoint", json!(image.entrypoint), !image.entrypoint.is_empty());
    set("Cmd", json!(image.arguments), !image.arguments.is_empty());
    set("User", json!(image.user), !image.user.is_empty());
    set("StopSignal", json!(image.stop_signal), !image.stop_signal.is_empty());
    let labels = image.labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    let labels: serde_json::Map<String, Value> = labels.collect();
    set("Labels", Value::Object(labels.clone()), !labels.is_empty());
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": inner,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image" }],
    })
}

/// This machine's architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("no {path:?}"))?;
    let mut hasher = Hasher(Sha256::new());
    io::copy(&mut file, &mut hasher)?;
    Ok(hex(&hasher.0.finalize()))
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_what_was_asked_and_nothing_else() {
        let image = Image { user: "65532:65532".into(), ..Image::default() };
        let config = config(&image, "abc");
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["rootfs"]["diff_ids"][0], "sha256:abc");
        assert!(config["config"].get("StopSignal").is_none());
        assert!(config["config"].get("Labels").is_none());
    }
}
