//! Certificates and their authority are replaced under load.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{NOISE_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::scene::{Scene, Specs};

/// All of them.
pub const STORY: Story = Story {
    name: "certificates-rotated",
    about: "certificates, then their authority, are made anew; no pod goes, nobody is cut off",
    tell,
};

/// How long nodes may take to load another certificate: kubelets look once a minute.
const LOADED_LIMIT: Duration = Duration::from_secs(240);
/// How long it may take until the former authority is trusted no more.
const AUTHORITY_LIMIT: Duration = Duration::from_secs(480);
/// The directory's client gives up an attempt after a second, so one of them may come to nothing.
const DIRECTORY_MS_MAX: u64 = 2_000;
/// A keyspace whose clients speak TLS.
const SECURE: &str = "secure";

fn tell(stage: &Stage) -> Result<Told> {
    let bounds = Bounds { keyspace_ms: NOISE_MS_MAX, directory_ms: Some(DIRECTORY_MS_MAX) };
    let mut act = Act::begin(stage, "certs", &Specs::default(), bounds)?;
    let secure = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace",
        "metadata": { "name": SECURE },
        "spec": { "cluster": act.scene.cluster(), "backups": 0, "tls": {} },
    });
    act.scene.kubectl().apply(&secure.to_string())?;
    let ready = format!("keyspace/{SECURE}");
    act.scene.kubectl().run(["wait", "--for=condition=Ready", &ready, "--timeout=180s"])?;
    act.scene.start_stock(SECURE, Some(&authority(&act.scene)?))?;
    let (pods, held) = (act.scene.pods()?, act.scene.stock_connections()?);
    ensure!(held.len() == 1, "redis-cli holds {held:?}");
    let took = act.during(certificates)?;
    act.told.fact("certificates_s", took.as_secs());
    let took = act.during(another_authority)?;
    act.told.fact("authority_s", took.as_secs());
    act.scene.wait_settled(SETTLED_LIMIT)?;
    let now = act.scene.stock_connections()?;
    ensure!(now == held, "the connection {held:?} of redis-cli became {now:?}");
    let after = act.scene.pods()?;
    ensure!(pods == after, "pods were replaced or restarted: {pods:?}, {after:?}");
    let answered = act.scene.stop_stock()?;
    act.told.fact("tls_answers", answered);
    act.end()
}

/// Deletes the certificates; until every node has loaded new ones.
fn certificates(scene: &Scene) -> Result<Duration> {
    let began = std::time::Instant::now();
    let before = shown(scene)?;
    ensure!(before.len() >= 3, "certificates are shown of {before:?} alone");
    for secret in before.keys() {
        scene.kubectl().run(["delete", "secret", secret])?;
    }
    let mut now = BTreeMap::new();
    let loaded = scene.wait_for("new certificates are loaded", LOADED_LIMIT, || {
        now = shown(scene).unwrap_or_default();
        let new = |(secret, state): (&String, &State)| {
            state.loaded && now.len() >= before.len() && before[secret].digest != state.digest
        };
        now.iter().all(new) && !now.is_empty()
    });
    ensure!(loaded.is_ok(), "{before:?} became {now:?}");
    Ok(began.elapsed())
}

/// Deletes the authority; until the former one is trusted no more.
fn another_authority(scene: &Scene) -> Result<Duration> {
    let began = std::time::Instant::now();
    let before = authority(scene)?;
    scene.kubectl().run(["delete", "secret", &format!("{}-ca", scene.cluster())])?;
    let mut now = BTreeMap::new();
    let done = scene.wait_for("another authority", AUTHORITY_LIMIT, || {
        now = shown(scene).unwrap_or_default();
        let trusted = authority(scene).unwrap_or_else(|_| before.clone());
        !trusted.contains(before.trim()) && !now.is_empty() && now.values().all(|s| s.loaded)
    });
    ensure!(done.is_ok(), "the former authority stays: {now:?}");
    Ok(began.elapsed())
}

fn authority(scene: &Scene) -> Result<String> {
    let map = scene.kubectl().get(&[&format!("configmap/{}-ca", scene.cluster())])?;
    Ok(map["data"]["ca.crt"].as_str().context("there is no ca.crt")?.to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    digest: String,
    loaded: bool,
}

/// What the resources say of certificates, by Secret.
fn shown(scene: &Scene) -> Result<BTreeMap<String, State>> {
    let secure = format!("keyspace/{SECURE}");
    let mut all = BTreeMap::new();
    for object in [scene.cluster_object(), scene.keyspace_object(), secure] {
        let object = scene.kubectl().get(&[&object])?;
        let list = object["status"]["certificates"].as_array().cloned().unwrap_or_default();
        for one in list {
            let secret = one["secret"].as_str().context("a certificate has a Secret")?;
            let loaded = one["nodes"] != 0 && one["loaded"] == one["nodes"];
            let digest = one["digest"].as_str().unwrap_or_default().to_owned();
            all.insert(secret.to_owned(), State { digest, loaded });
        }
    }
    Ok(all)
}
