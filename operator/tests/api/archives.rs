//! Backups and Restores on a real API server: what kubelets and controllers would do is written by
//! the test.

use super::{World, until};
use cairn_crd::{ArchivePlace, Backup, BackupSpec, Keyspace, KeyspaceSpec, Restore};
use cairn_settings::report::{BackupReport, RestoreReport};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

/// Where the pod that archives seems to be.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 94, 7, 19);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Says over HTTP what the pod of a Backup says.
async fn speaks(report: Arc<Mutex<BackupReport>>) {
    let listener = tokio::net::TcpListener::bind((ADDRESS, 9400)).await.expect("it is ours");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.unwrap_or(0) == 0 {
                continue;
            }
            let body = serde_json::to_string(&*report.lock().unwrap()).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
}

/// Makes the pod that a template asks for, and says what a kubelet would say of it.
async fn pod(world: &World, name: &str, template: &Value, status: Value) {
    let pods: Api<Pod> = world.api();
    let body = json!({
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    });
    let body: Pod = serde_json::from_value(body).unwrap();
    pods.create(&PostParams::default(), &body).await.expect("the API server takes the pod");
    let patch = json!({ "status": status });
    let patched = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.expect("its status is written");
}

fn container(state: Value) -> Value {
    json!([{
        "name": "cairn", "image": "cairn:test", "imageID": "", "ready": true, "restartCount": 0,
        "state": state,
    }])
}

async fn claim(world: &World) {
    let body = json!({
        "metadata": { "name": "archive" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    });
    let body: PersistentVolumeClaim = serde_json::from_value(body).unwrap();
    world.api().create(&PostParams::default(), &body).await.expect("a claim");
}

fn to_claim() -> ArchivePlace {
    ArchivePlace { claim: Some("archive".to_owned()), ..ArchivePlace::default() }
}

async fn says(world: &World, reason: &str) {
    until(reason, async || {
        let status = world.api::<Backup>().get("nightly").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|c| c.type_ == "Ready" && c.reason == reason)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn a_backup_becomes_a_deployment_and_says_what_its_pod_says() {
    let world = World::new("op-backup").await;
    let backups = world.api::<Backup>();
    let backup = Backup::new("nightly", BackupSpec::of("tweets", to_claim()));
    backups.create(&PostParams::default(), &backup).await.unwrap();
    let operator = world.operate();
    says(&world, "KeyspaceMissing").await;
    world.write(KeyspaceSpec::of("demo")).await;
    says(&world, "ReferenceMissing").await;
    claim(&world).await;
    says(&world, "PodsPending").await;
    let deployments = world.api::<Deployment>();
    let deployment = deployments.get("nightly-archive").await.expect("a Deployment");
    let owner = backups.get("nightly").await.unwrap().uid().unwrap();
    assert_eq!(deployment.owner_references()[0].uid, owner);
    let maps = world.api::<ConfigMap>();
    let roster = maps.get("nightly-archive").await.expect("a roster").data.unwrap();
    assert!(roster["roster.json"].contains("tweets-0-2.tweets-nodes"));
    world.all_sets().await;
    let written = operator.at_rest().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(operator.metrics.writes(), written, "a look at nothing new wrote something");

    follow_its_pod(&world, &serde_json::to_value(&deployment).unwrap()).await;
    let patch = json!({ "spec": { "suspend": true } });
    backups.patch("nightly", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    says(&world, "Suspended").await;
    let deployment = deployments.get("nightly-archive").await.unwrap();
    assert_eq!(deployment.spec.unwrap().replicas, Some(0));
    world.api::<Keyspace>().delete("tweets", &DeleteParams::default()).await.unwrap();
    says(&world, "KeyspaceMissing").await;
    until("its pod goes with the keyspace", async || {
        deployments.get_opt("nightly-archive").await.unwrap().is_none()
    })
    .await;
}

/// The Deployment's pod runs, says where it is, and the Backup says the same.
async fn follow_its_pod(world: &World, deployment: &Value) {
    let backups = world.api::<Backup>();
    let report = Arc::new(Mutex::new(BackupReport::default()));
    speaks(report.clone()).await;
    let template = &deployment["spec"]["template"];
    let running = json!({
        "phase": "Running", "podIP": ADDRESS, "podIPs": [{ "ip": ADDRESS }],
        "containerStatuses": container(json!({ "running": {} })),
    });
    pod(world, "nightly-archive-pod", template, running).await;
    says(world, "Beginning").await;
    *report.lock().unwrap() = BackupReport {
        since_ms: Some(now_ms() - 60_000),
        until_ms: Some(now_ms()),
        ..BackupReport::default()
    };
    says(world, "Archiving").await;
    let status = backups.get("nightly").await.unwrap().status.unwrap();
    assert!(status.restorable_since < status.restorable_until);
    report.lock().unwrap().error = Some("there is no bucket of that name".to_owned());
    says(world, "ArchivingFails").await;
    let status = backups.get("nightly").await.unwrap().status.unwrap();
    assert!(status.conditions[0].message.contains("there is no bucket of that name"));
    assert_eq!(status.last_error.as_deref(), Some("there is no bucket of that name"));
}

/// The Keyspace says for a moment that it is ready; nobody is there to make it so.
async fn ready(world: &World) {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "AllServing", "message": "m",
        "lastTransitionTime": "2026-11-28T20:15:00Z",
    });
    let body = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace", "metadata": { "name": "tweets" },
        "status": { "conditions": [condition] },
    });
    let params = PatchParams::apply("tests").force();
    let api = world.api::<Keyspace>();
    api.patch_status("tweets", &params, &Patch::Apply(&body)).await.expect("it is written");
}

async fn complete(world: &World) -> (String, String) {
    let restore = world.api::<Restore>().get("back").await.unwrap();
    let conditions = restore.status.unwrap_or_default().conditions;
    let found = conditions.into_iter().find(|c| c.type_ == "Complete");
    found.map(|c| (c.status, c.reason)).unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn a_restore_becomes_one_job_and_keeps_its_result_for_good() {
    let world = World::new("op-restore").await;
    world.write(KeyspaceSpec::of("demo")).await;
    claim(&world).await;
    let body = json!({
        "apiVersion": "cairn.dev/v1alpha1", "kind": "Restore", "metadata": { "name": "back" },
        "spec": {
            "source": { "from": { "claim": "archive" }, "keyspace": "old" }, "into": "tweets",
            "at": "2026-11-28T20:15:00Z",
        },
    });
    let restores = world.api::<Restore>();
    let body: Restore = serde_json::from_value(body).unwrap();
    restores.create(&PostParams::default(), &body).await.unwrap();
    let operator = world.operate();
    let wants = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    until("it waits for its keyspace", async || {
        complete(&world).await == wants("False", "WaitingForKeyspace")
    })
    .await;
    let jobs = world.api::<Job>();
    assert!(jobs.get_opt("back-restore").await.unwrap().is_none());
    until("a Job is made", async || {
        ready(&world).await;
        sleep(Duration::from_millis(300)).await;
        jobs.get_opt("back-restore").await.unwrap().is_some()
    })
    .await;
    until("it says so", async || complete(&world).await == wants("False", "Restoring")).await;
    end_well(&world).await;
    until("it is complete", async || complete(&world).await == wants("True", "Restored")).await;
    let status = restores.get("back").await.unwrap().status.unwrap();
    assert_eq!((status.keys, status.backup.as_deref()), (Some(7), Some("0001-ab")));
    assert_eq!(status.digest.as_deref(), Some("0123456789abcdef"));
    assert!(status.started_at.is_some() && status.finished_at.is_some());
    // Whatever becomes of the Job: it is not made again, and the result stays.
    jobs.delete("back-restore", &DeleteParams::background()).await.unwrap();
    operator.at_rest().await;
    ready(&world).await;
    sleep(Duration::from_secs(6)).await;
    assert!(jobs.get_opt("back-restore").await.unwrap().is_none(), "it is run again");
    assert_eq!(restores.get("back").await.unwrap().status.unwrap(), status);
}

/// The Job's pod ends well and leaves its result behind, and so does the Job.
async fn end_well(world: &World) {
    let jobs = world.api::<Job>();
    let job = jobs.get("back-restore").await.unwrap();
    let template = serde_json::to_value(&job).unwrap()["spec"]["template"].clone();
    let result = RestoreReport {
        backup: "0001-ab".to_owned(),
        moment_ms: 1_796_000_000_000,
        keys: 7,
        digest: "0123456789abcdef".to_owned(),
        error: None,
    };
    let ended = json!({ "terminated": {
        "exitCode": 0, "reason": "Completed", "message": result.to_json(),
    } });
    let status = json!({ "phase": "Succeeded", "containerStatuses": container(ended) });
    pod(world, "back-restore-pod", &template, status).await;
    let now = "2026-11-28T20:16:00Z";
    let condition = |type_: &str| {
        let mut condition = json!({ "type": type_, "status": "True", "reason": "Done" });
        condition["lastTransitionTime"] = json!(now);
        condition
    };
    let patch = json!({ "status": {
        "startTime": "2026-11-28T20:15:30Z", "completionTime": now, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    jobs.patch_status("back-restore", &params, &patch).await.expect("the Job is over");
}
