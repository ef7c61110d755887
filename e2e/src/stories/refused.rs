//! Specs that cannot be, and what people are told of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{NOISE_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::scene::{Scene, Specs};

/// Refused by the API server, or by the operator.
pub const STORY: Story = Story {
    name: "bad-spec",
    about: "specs that break a rule are refused with words that help; a running cluster goes on",
    tell,
};

/// What people write: the object, the fields, what they must be told.
const BY_API_SERVER: [(&str, &str, &str); 5] = [
    ("cluster", r#"{"globalReplicas": 9}"#, "must be 1 to 4"),
    ("cluster", r#"{"timing": {"heartbeat": "1s"}}"#, "must be at least three heartbeats"),
    ("cluster", r#"{"storage": {"size": "ten"}}"#, "must be"),
    ("keyspace", r#"{"replicas": 4}"#, "`one` needs 2 or 3 members"),
    ("keyspace", r#"{"cluster": "another"}"#, "cannot change"),
];

fn tell(stage: &Stage) -> Result<Told> {
    let bounds = Bounds::keyspace(NOISE_MS_MAX);
    let mut act = Act::begin(stage, "badspec", &Specs::default(), bounds)?;
    let refused = act.during(|scene| {
        let before = scene.pods()?;
        by_api_server(scene)?;
        by_operator(scene)?;
        scene.wait_settled(SETTLED_LIMIT)?;
        ensure!(before == scene.pods()?, "a spec that was refused has touched pods");
        Ok(BY_API_SERVER.len() + 2)
    })?;
    act.told.fact("refused", refused);
    act.end()
}

fn by_api_server(scene: &Scene) -> Result<()> {
    for (kind, spec, words) in BY_API_SERVER {
        let object = match kind {
            "cluster" => scene.cluster_object(),
            _ => scene.keyspace_object(),
        };
        let patch = format!(r#"{{"spec": {spec}}}"#);
        let answer =
            scene.kubectl().ask(["patch", &object, "--type=merge", "--patch", &patch], "")?;
        let told = format!("{}{}", answer.output, answer.complaint);
        ensure!(!answer.succeeded, "{spec} was taken");
        ensure!(told.contains(words), "of {spec} people are told {told:?}, not {words:?}");
    }
    Ok(())
}

/// What only the operator can see: other objects that are not there.
fn by_operator(scene: &Scene) -> Result<()> {
    let lonely = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace",
        "metadata": { "name": "lonely" }, "spec": { "cluster": "nowhere" },
    });
    let locked = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace",
        "metadata": { "name": "locked" },
        "spec": {
            "cluster": scene.cluster(),
            "auth": { "passwordSecretRef": { "name": "nothing" } },
        },
    });
    for (object, name, reason, words) in [
        (lonely, "keyspace/lonely", "ClusterMissing", "there is no Cluster nowhere"),
        (locked, "keyspace/locked", "SpecInvalid", "nothing"),
    ] {
        scene.kubectl().apply(&object.to_string())?;
        let mut said = String::new();
        let told = scene.wait_for("the reason", Duration::from_secs(60), || {
            let ready = scene.condition(name, "Ready").map(|words| words.join(" "));
            said = ready.unwrap_or_default();
            said.starts_with("False") && said.contains(reason) && said.contains(words)
        });
        ensure!(told.is_ok(), "{name} says {said:?}, not {reason} and {words:?}");
        scene.kubectl().run(["delete", name, "--timeout=60s"])?;
    }
    Ok(())
}
