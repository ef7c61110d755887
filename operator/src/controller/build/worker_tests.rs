//! What is built for Backups and Restores.

use crate::controller::apply::{Write, writes};
use crate::names;
use crate::object::{Kind, Object};
use crate::testing::Seen;
use cairn_crd::ArchivePlace;
use cairn_crd::pods::Pods;
use cairn_settings::{NodeRole, Roster};
use serde_json::{Value, json};
use std::sync::Arc;

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object.kind == kind && object.name == name);
    &found.unwrap_or_else(|| panic!("no {} {name}", kind.as_str())).value
}

fn pod<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    &find(objects, kind, name)["spec"]["template"]
}

fn arguments(pod: &Value) -> String {
    let words = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn volumes(pod: &Value) -> Vec<&str> {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    volumes.iter().map(|volume| volume["name"].as_str().unwrap()).collect()
}

fn s3() -> ArchivePlace {
    let text = |text: &str| Some(text.to_owned());
    ArchivePlace {
        s3: text("s3://backups/cairn"),
        endpoint: text("https://minio:9000"),
        credentials_secret: text("s3"),
        authority_secret: text("minio-ca"),
        encryption_key_secret: text("archive-key"),
        ..ArchivePlace::default()
    }
}

#[test]
fn a_backup_becomes_a_deployment_that_follows_into_the_claim() {
    let seen = Seen::new().grouped().tls().backup(|b| {
        b.spec.every = "1500ms".to_owned();
        let retention = json!({ "keepLast": 3, "keepDays": 14 });
        b.spec.retention = Some(serde_json::from_value(retention).unwrap());
    });
    let objects = seen.objects();
    let deployment = find(&objects, Kind::Deployment, "nightly-archive");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "u-backup");
    let pod = pod(&objects, Kind::Deployment, "nightly-archive");
    assert_eq!(
        arguments(pod),
        "backup create --follow --roster /etc/cairn/roster/roster.json --keyspace tweets \
         --every 2 --snapshot-every 3600 --serve 0.0.0.0:9400 --keep-last 3 --keep-days 14 \
         --to /var/lib/cairn/archive/cairn"
    );
    assert_eq!(volumes(pod), ["roster", "identity", "tls", "work", "archive"]);
    assert_eq!(pod["spec"]["volumes"][4]["persistentVolumeClaim"]["claimName"], "archive");
    assert_eq!(pod["spec"]["containers"][0]["image"], "cairn:1");
    let suspended = seen.backup(|b| b.spec.suspend = true).objects();
    assert_eq!(find(&suspended, Kind::Deployment, "nightly-archive")["spec"]["replicas"], 0);
}

#[test]
fn s3_is_reached_with_what_secrets_hold_and_nothing_of_them_is_in_an_object() {
    let objects = Seen::new().grouped().backup(|b| b.spec.to = s3()).objects();
    let pod = pod(&objects, Kind::Deployment, "nightly-archive");
    assert!(arguments(pod).ends_with(
        "--to s3://backups/cairn --endpoint https://minio:9000 --key-file \
         /etc/cairn/archive-key/key"
    ));
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let seen: Vec<_> = env
        .iter()
        .map(|e| (e["name"].as_str().unwrap(), e["valueFrom"]["secretKeyRef"]["optional"].clone()))
        .collect();
    let secret = |name, optional: bool| (name, json!(optional));
    assert_eq!(
        seen[..2],
        [secret("AWS_ACCESS_KEY_ID", false), secret("AWS_SECRET_ACCESS_KEY", false)]
    );
    assert_eq!(seen[2..4], [secret("AWS_SESSION_TOKEN", true), secret("AWS_REGION", true)]);
    assert_eq!(
        env[4],
        json!({
            "name": "SSL_CERT_FILE", "value": "/etc/cairn/archive-authority/ca.crt",
        })
    );
    assert_eq!(volumes(pod), ["roster", "identity", "work", "archive-authority", "archive-key"]);
}

#[test]
fn pods_that_are_no_nodes_have_no_rights_and_are_behind_no_service() {
    let objects = Seen::new().grouped().tls().backup(|_| ()).restore(|_| ()).objects();
    for (kind, name) in [(Kind::Deployment, "nightly-archive"), (Kind::Job, "back-restore")] {
        let pod = pod(&objects, kind, name);
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["serviceAccountName"], "tweets-node");
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        let container = &spec["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert!(container["resources"]["requests"]["memory"].is_string());
        // The policy of peer ports lets them in by this label; Services and budgets choose by
        // others, none of which may be there.
        let labels = pod["metadata"]["labels"].as_object().unwrap();
        assert_eq!(labels[names::CLUSTER], "demo");
        for object in &objects {
            let selector = match object.kind {
                Kind::Service => &object.value["spec"]["selector"],
                Kind::PodDisruptionBudget | Kind::NetworkPolicy => {
                    let spec = &object.value["spec"];
                    let field =
                        if spec["podSelector"].is_null() { "selector" } else { "podSelector" };
                    &spec[field]["matchLabels"]
                }
                _ => continue,
            };
            let chosen = selector.as_object().unwrap().iter();
            let chosen = chosen.clone().all(|(key, value)| labels.get(key) == Some(value));
            assert!(!chosen, "{} {} chooses {name}", object.kind.as_str(), object.name);
        }
    }
}

#[test]
fn the_roster_names_the_global_nodes_and_those_of_the_keyspace() {
    let seen = Seen::new().grouped().tls().backup(|_| ());
    let objects = seen.objects();
    let map = find(&objects, Kind::ConfigMap, "nightly-archive");
    let roster = Roster::from_json(map["data"]["roster.json"].as_str().unwrap()).unwrap();
    let ids: Vec<&str> = roster.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["demo-global-0", "demo-global-1", "tweets-0-0", "tweets-0-1", "tweets-0-2"]);
    let last = &roster.nodes[4];
    assert_eq!(last.role, NodeRole::Data);
    assert_eq!(last.host, "tweets-0-2.tweets-nodes.ns.svc.cluster.local");
    assert_eq!(last.ports, [6379, 2379, 7400, 7401, 9400]);
    assert_eq!(roster.secret_file.to_str(), Some("/etc/cairn/identity/secret"));
    assert_eq!(roster.tls.unwrap().key.to_str(), Some("/etc/cairn/tls/tls.key"));
    assert!(Seen::new().grouped().backup(|_| ()).objects().iter().any(|object| {
        object.name == "nightly-archive" && !object.value.to_string().contains("tls.key")
    }));
}

#[test]
fn a_restore_becomes_a_job_that_comes_in_as_the_keyspaces_clients_do() {
    let seen = Seen::new().grouped().tls().restore(|r| {
        r.spec.at = Some("2026-11-28T20:15:00Z".to_owned());
        r.spec.source.cluster_uid = Some("0f".repeat(16));
    });
    let seen = seen.keyspace(|k| {
        let auth = json!({ "users": [{ "name": "app", "passwordSecretRef": { "name": "p" } }] });
        k.spec.auth = Some(serde_json::from_value(auth).unwrap());
        let tls = json!({ "secretName": "web", "verify": true });
        k.spec.tls = Some(serde_json::from_value(tls).unwrap());
    });
    let mut seen = seen;
    seen.observed.passwords.insert(("p".to_owned(), "password".to_owned()), "s".to_owned());
    let objects = seen.objects();
    let job = find(&objects, Kind::Job, "back-restore");
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let pod = pod(&objects, Kind::Job, "back-restore");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(
        arguments(pod),
        format!(
            "restore --roster /etc/cairn/roster/roster.json --into tweets --keyspace old \
             --result /dev/termination-log --of {} --at 2026-11-28T20:15:00Z \
             --from /var/lib/cairn/archive/cairn --tls-ca /etc/cairn/client-tls/ca.crt \
             --tls-cert /etc/cairn/client-tls/tls.crt --tls-key /etc/cairn/client-tls/tls.key \
             --password-file /etc/cairn/password/password --user app",
            "0f".repeat(16)
        )
    );
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
    let archive = mounts.iter().find(|mount| mount["name"] == "archive").unwrap();
    assert_eq!(archive["readOnly"], true);
    let plain = Seen::new().grouped().tls().restore(|_| ()).objects();
    let plain = arguments(self::pod(&plain, Kind::Job, "back-restore"));
    assert!(!plain.contains("--tls-ca") && !plain.contains("--password-file"), "{plain}");
    let made = Seen::new().grouped().restore(|_| ()).keyspace(|k| {
        k.spec.tls = Some(serde_json::from_value(json!({})).unwrap());
    });
    let made = arguments(self::pod(&made.tls().objects(), Kind::Job, "back-restore"));
    assert!(made.ends_with("--tls-ca /etc/cairn/tls/ca.crt"), "{made}");
}

#[test]
fn what_people_say_of_pods_is_laid_over_and_nodes_overrides_are_not_theirs() {
    let seen = Seen::new().grouped().backup(|b| {
        let pods = json!({
            "image": "cairn:2",
            "resources": { "limits": { "memory": "1Gi" } },
            "template": { "spec": { "tolerations": [{ "key": "k" }] } },
        });
        b.spec.pods = serde_json::from_value(pods).unwrap();
    });
    let seen = seen.keyspace(|k| {
        let template = Some(json!({ "spec": { "hostNetwork": true } }));
        k.spec.pods = Pods { template, ..Pods::default() };
    });
    let objects = seen.objects();
    let pod = pod(&objects, Kind::Deployment, "nightly-archive");
    assert_eq!(pod["spec"]["containers"][0]["image"], "cairn:2");
    assert_eq!(pod["spec"]["containers"][0]["resources"], json!({ "limits": { "memory": "1Gi" } }));
    assert_eq!(pod["spec"]["tolerations"][0]["key"], "k");
    assert!(pod["spec"]["hostNetwork"].is_null());
}

/// What a look would write, in words.
fn written(seen: &Seen) -> Vec<String> {
    let (desired, objects) = (seen.desired(), seen.objects());
    let writes = writes(&desired, &seen.observed, &objects);
    let said = writes.iter().map(|write| match write {
        Write::New(object) => format!("new {} {}", object.kind.as_str(), object.name),
        Write::Changed(object) => format!("changed {} {}", object.kind.as_str(), object.name),
        Write::Orphan((kind, name), _) => format!("orphan {} {name}", kind.as_str()),
    });
    said.collect()
}

#[test]
fn a_second_look_at_backups_and_restores_writes_nothing() {
    let seen = Seen::new().whole().applied().backup(|_| ()).restore(|_| ());
    let expected = [
        "new ConfigMap back-restore",
        "new ConfigMap nightly-archive",
        "new Deployment nightly-archive",
        "new Job back-restore",
    ];
    let mut first = written(&seen);
    first.sort();
    assert_eq!(first, expected);
    let seen = seen.applied();
    assert_eq!(written(&seen), [""; 0]);
    // A Job cannot change: another image makes another Deployment and no other Job.
    let seen = seen.cluster(|c| c.spec.pods.image = Some("cairn:9".to_owned()));
    let changed = written(&seen);
    assert!(changed.contains(&"changed Deployment nightly-archive".to_owned()), "{changed:?}");
    assert!(!changed.iter().any(|write| write.contains("back-restore")), "{changed:?}");
}

#[test]
fn a_backup_without_its_keyspace_sends_nothing_and_one_of_a_refused_keyspace_goes_on() {
    let seen = Seen::new().whole().applied().backup(|_| ()).restore(|_| ()).applied();
    let mut homeless = seen.clone();
    Arc::make_mut(&mut homeless.observed.backups[0]).spec.keyspace = "other".to_owned();
    assert_eq!(
        written(&homeless),
        ["orphan ConfigMap nightly-archive", "orphan Deployment nightly-archive"]
    );
    let refused = seen.keyspace(|k| k.spec.groups = 0);
    assert_eq!(written(&refused), [""; 0]);
}
