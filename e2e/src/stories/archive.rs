//! A keyspace goes to an archive on a volume while clients write, and a moment of it comes back in
//! another one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::{Value, json};

use super::{SETTLED_LIMIT, Stage, Story};
use crate::act::Told;
use crate::kubectl::succeed;
use crate::scene::{Scene, Specs};

/// Backup and Restore resources.
pub const STORY: Story = Story {
    name: "backup-and-restore",
    about: "a Backup to a volume under load; a Restore of a moment, with equal digests",
    tell,
};

/// How long the archive may take to reach a moment: its status is written once a minute.
const REACHED_LIMIT: Duration = Duration::from_secs(150);
const BACKUP: &str = "kept";
const RESTORE: &str = "then";

fn tell(stage: &Stage) -> Result<Told> {
    let keyspace = json!({ "snapshotInterval": "5s" });
    let specs = Specs { keyspace, ..Specs::default() };
    let scene = Scene::open(stage, "archive", &specs)?;
    scene.wait_settled(SETTLED_LIMIT)?;
    scene.wait_tools()?;
    keep(&scene)?;
    scene.start_clients(1)?;
    scene.wait_for("the archive grows under load", REACHED_LIMIT, || {
        scene.condition(&backup(), "Ready").is_ok_and(|c| c[1] == "Archiving")
    })?;
    wait(Duration::from_secs(20));
    let report = scene.judge()?;
    wait(Duration::from_secs(2));
    let wanted = digest(&scene, &scene.keyspace())?;
    let moment = scene.tool(&["date", "-u", "+%Y-%m-%dT%H:%M:%SZ"])?.trim().to_owned();
    wait(Duration::from_secs(2));
    // What comes after the moment must not come back.
    scene.tool(&["redis-cli", "-c", "-h", &scene.redis(), "SET", "later", "1"])?;
    ensure!(digest(&scene, &scene.keyspace())? != wanted, "a later key changed nothing");
    scene.wait_for("the archive reaches the moment", REACHED_LIMIT, || {
        let seen = scene.kubectl().get(&[&backup()]);
        seen.is_ok_and(|b| b["status"]["restorableUntil"].as_str() > Some(&*moment))
    })?;
    let restored = restore(&scene, &moment)?;
    let found = restored["status"]["digest"].as_str().unwrap_or_default();
    ensure!(found == format!("{wanted:016x}"), "restored is {found}, wanted {wanted:016x}");
    ensure!(digest(&scene, &into(&scene))? == wanted, "the masters hold something else");
    let job = scene.kubectl().get(&[&format!("job/{RESTORE}-restore")])?;
    ensure!(job["status"]["succeeded"] == 1, "the Job says {}", job["status"]);
    let mut told = Told::default();
    told.fact("acked", report.acked);
    told.fact("lost", report.lost);
    told.fact("keys", &restored["status"]["keys"]);
    scene.close()?;
    Ok(told)
}

fn backup() -> String {
    format!("backup/{BACKUP}")
}

/// The keyspace that is written into.
fn into(scene: &Scene) -> String {
    format!("{}then", scene.keyspace())
}

/// A volume, a key, and the Backup.
fn keep(scene: &Scene) -> Result<()> {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "archive" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    let key = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "archive-key" },
        "stringData": { "key": "0123456789abcdef0123456789abcdef" },
    });
    let backup = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Backup", "metadata": { "name": BACKUP },
        "spec": {
            "keyspace": scene.keyspace(), "to": place(),
            "every": "1s", "snapshotEvery": "10s", "retention": { "keepDays": 1 },
        },
    });
    for object in [claim, key, backup] {
        scene.kubectl().apply(&object.to_string())?;
    }
    Ok(())
}

fn place() -> Value {
    json!({ "claim": "archive", "folder": "cairn", "encryptionKeySecret": "archive-key" })
}

/// Restores the moment into a keyspace of its own; the Restore as it is then.
fn restore(scene: &Scene, moment: &str) -> Result<Value> {
    let into = into(scene);
    let keyspace = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace", "metadata": { "name": into },
        "spec": {
            "cluster": scene.cluster(), "groups": 2, "backups": 0, "storage": { "size": "1Gi" },
        },
    });
    let restore = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Restore", "metadata": { "name": RESTORE },
        "spec": {
            "source": { "from": place(), "keyspace": scene.keyspace() },
            "at": moment, "into": into,
        },
    });
    for object in [keyspace, restore] {
        scene.kubectl().apply(&object.to_string())?;
    }
    let name = format!("restore/{RESTORE}");
    let done = ["wait", "--for=condition=Complete", &name, "--timeout=300s"];
    let waited = scene.kubectl().run(done);
    let found = scene.kubectl().get(&[&name])?;
    waited.with_context(|| format!("it says {}", found["status"]))?;
    Ok(found)
}

/// The sum of the digests of a keyspace's masters.
fn digest(scene: &Scene, keyspace: &str) -> Result<u64> {
    let mut command = scene.kubectl().plugin("cairn");
    let said = succeed(command.args(["status", "-o", "json", "--digests"]), "")
        .context("kubectl cairn")?;
    let status: Value = serde_json::from_str(&said).context("the status is no JSON")?;
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().flat_map(|node| node["logs"].as_array().cloned().unwrap_or_default());
    let ours = |log: &Value| {
        let group = log["group"].as_str().and_then(|group| group.rsplit_once('-'));
        group.is_some_and(|(name, _)| name == keyspace) && log["position"] == "master"
    };
    let digests: Vec<u64> = logs.filter(ours).filter_map(|log| log["digest"].as_u64()).collect();
    ensure!(!digests.is_empty(), "no master of {keyspace} says what it holds");
    Ok(digests.into_iter().fold(0, u64::wrapping_add))
}
