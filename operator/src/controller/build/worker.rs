//! Pods that are no nodes: a Deployment that sends a keyspace to its archive, a Job that restores.
//!
//! Both run the image's own `cairn` with a file that says whom to call, and show what the
//! keyspace's nodes show. Why it is so: docs/decisions/0019.

use super::overlay;
use super::pods::{IDENTITY, USER, certificate};
use crate::controller::certificates::{ClientDoor, MADE, THEIRS};
use crate::controller::desired::{Desired, WantedKeyspace, WantedWorker, Work};
use crate::controller::observe::CONTAINER;
use crate::names;
use crate::object::{Kind, Object, Owner};
use cairn_crd::archive::ArchivePlace;
use cairn_crd::keyspace::{Auth, SecretKey};
use cairn_crd::quantity::span_ms;
use cairn_crd::{Backup, Restore};
use cairn_settings::{FORMAT, NodeRole, NodeSettings, Port, Roster, RosterNode, TlsFiles};
use k8s_openapi::api::core::v1::Volume;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where the file is that says whom to call.
const ROSTER: &str = "/etc/cairn/roster/roster.json";
/// Where a claim's volume is mounted.
const VOLUME: &str = "/var/lib/cairn/archive";
/// Where Secrets are mounted.
const KEY: &str = "/etc/cairn/archive-key";
const AUTHORITY: &str = "/etc/cairn/archive-authority";
const PASSWORD: &str = "/etc/cairn/password";
/// What Kubernetes shows of a container that has ended.
const RESULT: &str = "/dev/termination-log";
/// A pod that is stopped ends the round that it is in, or drops it: both are well.
const GRACE_SEC: i64 = 30;

/// Adds the objects.
pub fn build(desired: &Desired, worker: &WantedWorker, objects: &mut Vec<Object>) {
    let Some(keyspace) = desired.keyspace(&worker.keyspace) else { return };
    let whole = Whole { desired, keyspace, worker };
    let (common, kind, body) = match &worker.work {
        Work::Backup(backup) => {
            let own = backup.metadata.name.clone().unwrap_or_default();
            let labels = (names::ARCHIVE, names::BACKUP);
            let owner = Owner::of(Kind::Backup, &**backup);
            let common = Common::new(desired, names::archive(&own), own, labels, owner);
            let body = deployment(whole, &common, backup);
            (common, Kind::Deployment, body)
        }
        Work::Restore(restore) => {
            let own = restore.metadata.name.clone().unwrap_or_default();
            let labels = (names::RESTORES, names::RESTORE);
            let owner = Owner::of(Kind::Restore, &**restore);
            let common = Common::new(desired, names::restore(&own), own, labels, owner);
            let body = job(whole, &common, restore);
            (common, Kind::Job, body)
        }
    };
    objects.push(roster(desired, keyspace, &common.metadata, &common.owner));
    let body = json!({ "metadata": common.metadata, "spec": body });
    objects.push(Object::new(kind, &common.owner, &body));
}

/// What is to be built, of which keyspace, within what.
#[derive(Clone, Copy)]
struct Whole<'a> {
    desired: &'a Desired,
    keyspace: &'a WantedKeyspace,
    worker: &'a WantedWorker,
}

/// What all objects of one resource have.
struct Common {
    /// The resource's own name.
    own: String,
    name: String,
    labels: BTreeMap<String, String>,
    metadata: Value,
    owner: Owner,
}

impl Common {
    /// With the labels of the kind of pod, and of the resource.
    fn new(
        desired: &Desired,
        name: String,
        own: String,
        (part, of): (&str, &str),
        owner: Owner,
    ) -> Self {
        let labels = names::with(names::labels(&desired.name, part), of, &own);
        let metadata = json!({ "name": name, "namespace": desired.namespace, "labels": labels });
        Self { own, name, labels, metadata, owner }
    }
}

/// What a Deployment says whose pod sends a keyspace to its archive.
fn deployment(whole: Whole<'_>, common: &Common, backup: &Backup) -> Value {
    let Whole { desired, keyspace, worker } = whole;
    let spec = &backup.spec;
    let seconds = |span: &str| span_ms(span).unwrap_or(1000).div_ceil(1000).to_string();
    let mut arguments = words(&["backup", "create", "--follow", "--roster", ROSTER]);
    arguments.extend(words(&["--keyspace", &keyspace.name]));
    arguments.extend(words(&["--every", &seconds(&spec.every)]));
    arguments.extend(words(&["--snapshot-every", &seconds(&spec.snapshot_every)]));
    let port = Port::Metrics.number();
    arguments.extend(words(&["--serve", &format!("0.0.0.0:{port}")]));
    let retention = spec.retention.unwrap_or_default();
    for (flag, count) in
        [("--keep-last", retention.keep_last), ("--keep-days", retention.keep_days)]
    {
        if let Some(count) = count {
            arguments.extend(words(&[flag, &count.to_string()]));
        }
    }
    let mut pod = Pod::new(desired, keyspace, &common.name, arguments);
    pod.archive("--to", &spec.to, false);
    let mut template = pod.template(worker, &common.labels, "Always");
    let container = &mut template["spec"]["containers"][0];
    container["ports"] = json!([{
        "name": Port::Metrics.key(), "containerPort": port, "protocol": "TCP",
    }]);
    container["livenessProbe"] = probe("/livez", 6);
    container["readinessProbe"] = probe("/readyz", 3);
    json!({
        "replicas": i32::from(!spec.suspend),
        "strategy": { "type": "Recreate" },
        "revisionHistoryLimit": 2,
        "selector": {
            "matchLabels": { names::CLUSTER: desired.name, names::BACKUP: common.own },
        },
        "template": over(template, worker),
    })
}

/// What a Job says whose pod restores into a keyspace.
fn job(whole: Whole<'_>, common: &Common, restore: &Restore) -> Value {
    let Whole { desired, keyspace, worker } = whole;
    let spec = &restore.spec;
    let mut arguments = words(&["restore", "--roster", ROSTER, "--into", &keyspace.name]);
    arguments.extend(words(&["--keyspace", &spec.source.keyspace, "--result", RESULT]));
    for (flag, text) in [("--of", &spec.source.cluster_uid), ("--at", &spec.at)] {
        if let Some(text) = text {
            arguments.extend(words(&[flag, text]));
        }
    }
    let mut pod = Pod::new(desired, keyspace, &common.name, arguments);
    pod.archive("--from", &spec.source.from, true);
    pod.client_tls(keyspace);
    if let Some((user, password)) = keyspace.resource.spec.auth.as_ref().and_then(login) {
        pod.password(user, password);
    }
    let template = pod.template(worker, &common.labels, "Never");
    // Once: a second pod would find what the first one wrote, and refuse.
    json!({ "backoffLimit": 0, "template": over(template, worker) })
}

/// Who may write into a keyspace, and the Secret with the password: the user `default` if it has
/// one, else the first user.
fn login(auth: &Auth) -> Option<(Option<&str>, &SecretKey)> {
    let default = auth.password_secret_ref.as_ref().map(|password| (None, password));
    let first = || {
        let user = auth.users.first()?;
        Some((Some(user.name.as_str()), &user.password_secret_ref))
    };
    default.or_else(first)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn probe(path: &str, failures: i32) -> Value {
    json!({
        "httpGet": { "path": path, "port": Port::Metrics.key() },
        "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": failures,
    })
}

/// What people say of the pod laid over it, marked with its hash.
fn over(mut template: Value, worker: &WantedWorker) -> Value {
    if let Some(over) = &worker.pods.template {
        overlay::lay_over(&mut template, over);
    }
    let hash = crate::object::digest(&template);
    template["metadata"]["annotations"][names::TEMPLATE] = json!(hash);
    template
}

/// The ConfigMap with the global nodes and those of the keyspace. Pods follow it as it changes.
fn roster(desired: &Desired, keyspace: &WantedKeyspace, metadata: &Value, owner: &Owner) -> Object {
    let ours = |settings: &&NodeSettings| match settings.role {
        NodeRole::Global => true,
        NodeRole::Data => settings.preferred_keyspace.as_ref() == Some(&keyspace.name),
        NodeRole::Acceptor | NodeRole::Checkpoint => false,
    };
    let node = |settings: &NodeSettings| RosterNode {
        id: settings.node.clone(),
        role: settings.role,
        host: host(&settings.advertise.peer).to_owned(),
        ports: Port::ALL.map(Port::number),
    };
    let files = |folder: &str| TlsFiles {
        certificate: format!("{folder}/tls.crt").into(),
        key: format!("{folder}/tls.key").into(),
        authority: format!("{folder}/ca.crt").into(),
    };
    let roster = Roster {
        format: FORMAT,
        uid: desired.uid.clone(),
        name: desired.name.clone(),
        nodes: desired.settings.values().filter(ours).map(node).collect(),
        keyspaces: vec![keyspace.name.clone()],
        secret_file: format!("{IDENTITY}/secret").into(),
        tls: desired.tls.peers.then(|| files(MADE)),
    };
    let body = json!({ "metadata": metadata, "data": { "roster.json": roster.to_json() } });
    Object::new(Kind::ConfigMap, owner, &body)
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// A pod under construction.
struct Pod {
    account: String,
    arguments: Vec<String>,
    env: Vec<Value>,
    mounts: Vec<Value>,
    volumes: Vec<Value>,
    claim: Option<String>,
}

impl Pod {
    /// With what every one has: whom to call, the cluster's secret, certificates, room for files on
    /// their way.
    fn new(
        desired: &Desired,
        keyspace: &WantedKeyspace,
        name: &str,
        arguments: Vec<String>,
    ) -> Self {
        let account = names::account(&keyspace.name);
        let (env, mounts, volumes, claim) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut pod = Self { account, arguments, env, mounts, volumes, claim };
        let roster = json!({ "configMap": { "name": name, "defaultMode": 0o444 } });
        pod.mount("roster", "/etc/cairn/roster", roster, true);
        pod.secret("identity", IDENTITY, &names::identity(&desired.name), &[("secret", "secret")]);
        let nodes = names::nodes(&keyspace.name);
        if let Some((secret, trusted)) = super::certificates::mounted(desired, &nodes) {
            pod.volume("tls", MADE, certificate(&secret, &trusted));
        }
        pod.mount("work", "/tmp", json!({ "emptyDir": {} }), false);
        pod
    }

    fn mount(&mut self, name: &str, path: &str, mut source: Value, read_only: bool) {
        source["name"] = json!(name);
        self.volumes.push(source);
        let mut mount = json!({ "name": name, "mountPath": path });
        if read_only {
            mount["readOnly"] = json!(true);
        }
        self.mounts.push(mount);
    }

    fn volume(&mut self, name: &str, path: &str, volume: Volume) {
        let source = serde_json::to_value(volume).expect("a volume is plain data");
        self.mount(name, path, source, true);
    }

    /// Mounts keys of a Secret as files.
    fn secret(&mut self, name: &str, path: &str, secret: &str, files: &[(&str, &str)]) {
        let item = |(key, file): &(&str, &str)| json!({ "key": key, "path": file });
        let items: Vec<Value> = files.iter().map(item).collect();
        let secret = json!({ "secretName": secret, "defaultMode": 0o440, "items": items });
        self.mount(name, path, json!({ "secret": secret }), true);
    }

    fn say(&mut self, words: &[&str]) {
        self.arguments.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// The archive, and how to get at it.
    fn archive(&mut self, flag: &str, place: &ArchivePlace, read_only: bool) {
        if let Some(s3) = &place.s3 {
            self.say(&[flag, s3]);
        }
        if let Some(endpoint) = &place.endpoint {
            self.say(&["--endpoint", endpoint]);
        }
        if let Some(claim) = &place.claim {
            let folder = place.folder.as_ref().map(|folder| format!("{VOLUME}/{folder}"));
            self.say(&[flag, folder.as_deref().unwrap_or(VOLUME)]);
            let source = json!({ "claimName": claim });
            self.mount("archive", VOLUME, json!({ "persistentVolumeClaim": source }), read_only);
            self.claim = Some(claim.clone());
        }
        if let Some(secret) = &place.credentials_secret {
            let variables = [
                ("AWS_ACCESS_KEY_ID", false),
                ("AWS_SECRET_ACCESS_KEY", false),
                ("AWS_SESSION_TOKEN", true),
                ("AWS_REGION", true),
            ];
            let variable = |(name, optional): (&str, bool)| {
                let key = json!({ "name": secret, "key": name, "optional": optional });
                json!({ "name": name, "valueFrom": { "secretKeyRef": key } })
            };
            self.env.extend(variables.map(variable));
        }
        if let Some(secret) = &place.authority_secret {
            self.secret("archive-authority", AUTHORITY, secret, &[("ca.crt", "ca.crt")]);
            let file = format!("{AUTHORITY}/ca.crt");
            self.env.push(json!({ "name": "SSL_CERT_FILE", "value": file }));
        }
        if let Some(secret) = &place.encryption_key_secret {
            self.secret("archive-key", KEY, secret, &[("key", "key")]);
            self.say(&["--key-file", &format!("{KEY}/key")]);
        }
    }

    /// How the keyspace's clients speak.
    fn client_tls(&mut self, keyspace: &WantedKeyspace) {
        let (folder, verify) = match &keyspace.clients {
            ClientDoor::Plain => return,
            ClientDoor::Made { verify } => (MADE, *verify),
            ClientDoor::Theirs { secret, verify } => {
                let files = ["ca.crt", "tls.crt", "tls.key"].map(|file| (file, file));
                self.secret("client-tls", THEIRS, secret, &files);
                (THEIRS, *verify)
            }
        };
        let file = |name: &str| format!("{folder}/{name}");
        self.say(&["--tls-ca", &file("ca.crt")]);
        if verify {
            self.say(&["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key")]);
        }
    }

    fn password(&mut self, user: Option<&str>, password: &SecretKey) {
        self.secret("password", PASSWORD, &password.name, &[(&password.key, "password")]);
        self.say(&["--password-file", &format!("{PASSWORD}/password")]);
        if let Some(user) = user {
            self.say(&["--user", user]);
        }
    }

    fn template(
        self,
        worker: &WantedWorker,
        labels: &BTreeMap<String, String>,
        restart: &str,
    ) -> Value {
        let pods = &worker.pods;
        let secrets = pods.image_pull_secrets.iter().map(|name| json!({ "name": name }));
        let resources = pods.resources.as_ref().map_or_else(
            || json!({ "requests": { "cpu": "50m", "memory": "128Mi" } }),
            |resources| json!(resources),
        );
        let mut labels = labels.clone();
        labels.extend(self.claim.clone().map(|claim| (names::CLAIM.to_owned(), claim)));
        let mut template = json!({
            "metadata": { "labels": labels, "annotations": {} },
            "spec": {
                "serviceAccountName": self.account,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": GRACE_SEC,
                "restartPolicy": restart,
                "imagePullSecrets": secrets.collect::<Vec<Value>>(),
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                    "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": CONTAINER,
                    "image": pods.image,
                    "command": ["cairn"],
                    "args": self.arguments,
                    "env": self.env,
                    "resources": resources,
                    "terminationMessagePath": RESULT,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "runAsNonRoot": true, "capabilities": { "drop": ["ALL"] },
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "volumeMounts": self.mounts,
                }],
                "volumes": self.volumes,
            },
        });
        let spec = &mut template["spec"];
        if let Some(policy) = pods.image_pull_policy {
            spec["containers"][0]["imagePullPolicy"] = json!(policy.as_str());
        }
        if let Some(class) = &pods.priority_class_name {
            spec["priorityClassName"] = json!(class);
        }
        if let Some(claim) = &self.claim {
            spec["affinity"] = beside_the_claim(claim);
        }
        template
    }
}

/// A volume that one machine at a time can have is where another pod has it already.
fn beside_the_claim(claim: &str) -> Value {
    json!({ "podAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": { "matchLabels": { names::CLAIM: claim } },
            "topologyKey": "kubernetes.io/hostname",
        },
    }] } })
}
