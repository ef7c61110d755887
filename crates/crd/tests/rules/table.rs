//! Resources and changes that the rules accept or refuse: the rows that every judge is held to.
//!
//! Included by the tests of this crate and by those that ask a real API server.

mod limits;
mod scaling;

use serde_json::{Value, json};

/// A valid resource with fields set, and what is said of it.
pub struct Case {
    /// The plural of the kind.
    pub kind: &'static str,
    /// Changes: what the resource was before, as fields to set in a valid one; its name, too.
    pub old: Vec<(&'static str, Value)>,
    /// Fields to set in a valid resource, as (JSON pointer, value).
    pub set: Vec<(&'static str, Value)>,
    /// The path and a part of the message that must be told; none = accepted.
    pub refused: Option<(&'static str, &'static str)>,
}

fn case(
    kind: &'static str,
    set: &[(&'static str, Value)],
    refused: Option<(&'static str, &'static str)>,
) -> Case {
    Case { kind, old: Vec::new(), set: set.to_vec(), refused }
}

impl Case {
    /// What the resource was before.
    pub fn base(&self) -> Value {
        with(valid(self.kind), &self.old)
    }

    /// What is judged.
    pub fn object(&self) -> Value {
        with(self.base(), &self.set)
    }
}

/// The resource that a row changes.
pub fn valid(kind: &str) -> Value {
    let (name, spec) = match kind {
        "clusters" => ("demo", json!({})),
        "keyspaces" => ("tweets", json!({"cluster": "demo"})),
        "sparepools" => ("warm", json!({"cluster": "demo", "size": 3})),
        "groups" => ("tweets-0", json!({"keyspace": "tweets", "index": 0, "members": 3})),
        "backups" => ("nightly", json!({"keyspace": "tweets", "to": {"claim": "archive"}})),
        "restores" => {
            let source = json!({"from": {"claim": "archive"}, "keyspace": "tweets"});
            ("back", json!({"source": source, "into": "tweets2"}))
        }
        _ => panic!("no kind {kind}"),
    };
    json!({"metadata": {"name": name}, "spec": spec})
}

/// `object` with the fields set.
pub fn with(mut object: Value, set: &[(&'static str, Value)]) -> Value {
    for (pointer, value) in set {
        let mut node = &mut object;
        for part in pointer.split('/').skip(1) {
            node = &mut node[part];
        }
        *node = value.clone();
    }
    object
}

fn name(text: &str) -> [(&'static str, Value); 1] {
    [("/metadata/name", json!(text))]
}

/// Every resource by itself.
pub fn all_cases() -> impl Iterator<Item = Case> {
    let kinds =
        [cluster_cases, keyspace_cases, group_cases, backup_cases, restore_cases, pool_cases];
    kinds.into_iter().flat_map(|cases: fn() -> Vec<Case>| cases())
}

/// Clusters.
pub fn cluster_cases() -> Vec<Case> {
    let c = |set: &[(&'static str, Value)], refused| case("clusters", set, refused);
    let name_rule = Some(("metadata.name", "must be 1 to 40 of"));
    let mut cases = vec![
        c(&[], None),
        c(&[("/spec/timing/preset", json!("noisy"))], None),
        c(&name(&"a".repeat(40)), None),
        c(&name(&"a".repeat(41)), name_rule),
        c(&name("0a"), name_rule),
        c(&name("a-"), name_rule),
        c(&[("/spec/globalReplicas", json!(4))], None),
        c(&[("/spec/globalReplicas", json!(0))], Some(("spec.globalReplicas", "1 to 4"))),
        c(&[("/spec/globalReplicas", json!(5))], Some(("spec.globalReplicas", "1 to 4"))),
        c(&[("/spec/acceptor", json!(false))], Some(("spec.acceptor", "three acceptors"))),
        c(&[("/spec/acceptor", json!(false))], Some(("spec.acceptor", "checkpoint.replicas: 1"))),
        c(&[("/spec/acceptor", json!(false)), ("/spec/globalReplicas", json!(2))], None),
        c(&[("/spec/storage/size", json!("10GiB"))], Some(("spec.storage.size", "10Gi"))),
        c(&[("/spec/storage/size", json!("1Mi"))], Some(("spec.storage.size", "at least 1Gi"))),
        c(&[("/spec/timing/silenceMax", json!("500ms"))], None),
        c(&[("/spec/pods/image", json!("registry/cairn:2"))], None),
        c(&[("/spec/pods/image", json!(""))], Some(("spec.pods.image", "must not be empty"))),
        c(&[("/spec/pods/imagePullSecrets", json!(["pull"]))], None),
        c(
            &[("/spec/pods/imagePullSecrets", json!(["pull", ""]))],
            Some(("spec.pods.imagePullSecrets", "must not hold empty names")),
        ),
        c(&[("/spec/pods/template", json!({"spec": {"tolerations": [{"key": "k"}]}}))], None),
        c(&[("/spec/storage/onDelete", json!("delete"))], None),
    ];
    cases.extend(tls_cases());
    cases.extend(checkpoint_cases());
    cases.extend(log_cases("clusters"));
    for (key, text, words) in [
        ("heartbeat", "1.5s", "whole number"),
        ("heartbeat", "5ms", "10ms to 10s"),
        ("heartbeat", "11s", "10ms to 10s"),
        ("readLease", "299ms", "three heartbeats"),
        ("readLease", "90s", "30ms to 1m"),
        ("silenceMax", "499ms", "timing.readLease"),
        ("silenceMax", "fast", "whole number"),
        ("sealWait", "1h", "0s to 10s"),
        ("stuckMax", "1100ms", "twice timing.silenceMax"),
        ("ackTimeout", "10ms", "50ms to 1m"),
        ("nodeLease", "1s", "twice timing.silenceMax"),
        ("nodeLease", "100h", "1s to 10m"),
    ] {
        let pointer: &'static str = format!("/spec/timing/{key}").leak();
        let path: &'static str = format!("spec.timing.{key}").leak();
        cases.push(c(&[(pointer, json!(text))], Some((path, words))));
    }
    // 1 s would do beside the default preset, not beside the noisy one's read lease of 1.5 s.
    let noisy = ("/spec/timing/preset", json!("noisy"));
    cases.push(c(
        &[noisy, ("/spec/timing/silenceMax", json!("1s"))],
        Some(("spec.timing.silenceMax", "timing.readLease")),
    ));
    cases
}

/// Clusters, as for their checkpoint nodes.
fn checkpoint_cases() -> Vec<Case> {
    let c = |set: &[(&'static str, Value)], refused| case("clusters", set, refused);
    let replicas = |n: i32| ("/spec/checkpoint/replicas", json!(n));
    let interval = |text: &str| ("/spec/checkpoint/interval", json!(text));
    let size = |text: &str| ("/spec/checkpoint/storage", json!({"size": text}));
    let image = |text: &str| ("/spec/checkpoint/pods", json!({"image": text}));
    let secrets = ("/spec/checkpoint/pods", json!({"imagePullSecrets": ["a", ""]}));
    vec![
        c(&[replicas(1)], None),
        c(&[replicas(1), ("/spec/acceptor", json!(false))], None),
        c(&[replicas(3), size("20Gi"), interval("30s"), image("cairn:2")], None),
        c(&[replicas(-1)], Some(("spec.checkpoint.replicas", "0 to 3"))),
        c(&[replicas(4)], Some(("spec.checkpoint.replicas", "0 to 3"))),
        c(&[interval("10ms")], Some(("spec.checkpoint.interval", "1s to"))),
        c(&[interval("5")], Some(("spec.checkpoint.interval", "a unit"))),
        c(&[size("ten")], Some(("spec.checkpoint.storage.size", "10Gi"))),
        c(&[size("1Mi")], Some(("spec.checkpoint.storage.size", "at least 1Gi"))),
        c(&[image("")], Some(("spec.checkpoint.pods.image", "must not be empty"))),
        c(&[secrets], Some(("spec.checkpoint.pods.imagePullSecrets", "empty names"))),
    ]
}

/// Clusters or keyspaces, as for the bounds on logs.
fn log_cases(kind: &'static str) -> Vec<Case> {
    let kept = |text: &str| ("/spec/log/bytesKept", json!(text));
    let most = |text: &str| ("/spec/log/bytesMax", json!(text));
    let speed = |text: &str| ("/spec/log/fetchBytesPerSecond", json!(text));
    let half = Some(("spec.log.bytesKept", "less than half"));
    vec![
        case(kind, &[kept("1Mi"), most("4Mi"), speed("64Ki")], None),
        case(kind, &[kept("2047Mi")], None),
        case(kind, &[kept("2048Mi")], half),
        case(kind, &[kept("64Mi"), most("128Mi")], half),
        case(kind, &[most("4Mi")], None),
        case(kind, &[kept("1Ki")], Some(("spec.log.bytesKept", "1Mi to 1Ti"))),
        case(kind, &[kept("1MB")], Some(("spec.log.bytesKept", "64Mi"))),
        case(kind, &[most("17Ti")], Some(("spec.log.bytesMax", "4Mi to 16Ti"))),
        case(kind, &[speed("1Ki")], Some(("spec.log.fetchBytesPerSecond", "64Ki to 64Gi"))),
    ]
}

/// Clusters, as for their TLS.
fn tls_cases() -> Vec<Case> {
    let c = |set: &[(&'static str, Value)], refused| case("clusters", set, refused);
    vec![
        c(&[("/spec/tls/peers", json!(false))], None),
        c(&[("/spec/tls/clients", json!({}))], None),
        c(&[("/spec/tls/clients", json!({"secretName": "web", "verify": true}))], None),
        c(
            &[("/spec/tls/clients", json!({"secretName": ""}))],
            Some(("spec.tls.clients.secretName", "must not be empty")),
        ),
        c(
            &[("/spec/tls/clients", json!({"verify": true}))],
            Some(("spec.tls.clients.verify", "somebody who signs")),
        ),
        c(
            &[
                ("/spec/tls/clients", json!({"verify": true})),
                ("/spec/tls/issuerRef", json!({"name": "ca", "kind": "ClusterIssuer"})),
            ],
            None,
        ),
        c(
            &[("/spec/tls/issuerRef", json!({"name": ""}))],
            Some(("spec.tls.issuerRef.name", "name of an Issuer")),
        ),
        c(&[("/spec/tls/clients", json!({"altNames": ["*.a.example", "b"]}))], None),
        c(
            &[("/spec/tls/clients", json!({"altNames": ["a.example", "A b"]}))],
            Some(("spec.tls.clients.altNames", "DNS names")),
        ),
        c(
            &[("/spec/tls/clients", json!({"secretName": "web", "altNames": ["a"]}))],
            Some(("spec.tls.clients.altNames", "left out with secretName")),
        ),
    ]
}

/// Keyspaces.
pub fn keyspace_cases() -> Vec<Case> {
    let k = |set: &[(&'static str, Value)], refused| case("keyspaces", set, refused);
    let ack = |ack: &str| ("/spec/durability/ack", json!(ack));
    let zones = |n: i32| ("/spec/durability/zones", json!(n));
    let replicas = |n: i32| ("/spec/replicas", json!(n));
    let backups = |n: i32| ("/spec/backups", json!(n));
    let events = |text: &str| ("/spec/notifyKeyspaceEvents", json!(text));
    let mut cases = vec![
        k(&[], None),
        k(&name("t1"), None),
        k(&name("Tweets"), Some(("metadata.name", "must be 1 to 40 of"))),
        k(&name("global"), Some(("metadata.name", "must not be acceptor"))),
        k(&name("tweets-1"), Some(("metadata.name", "must not end in"))),
        k(&[("/spec/cluster", json!("A"))], Some(("spec.cluster", "name of a Cluster"))),
        k(&[replicas(-1)], Some(("spec.replicas", "0 to 6"))),
        k(&[backups(3)], Some(("spec.backups", "0 to 2"))),
        k(&[backups(0)], None),
        k(&[replicas(0), backups(0)], Some(("spec.durability.ack", "`one` needs 2 or 3"))),
        k(&[replicas(2)], Some(("spec.durability.ack", "`one` needs 2 or 3"))),
        k(&[replicas(2), ack("quorum")], None),
        k(&[replicas(0), backups(0), ack("async")], None),
        k(&[replicas(0), backups(0), ack("quorum")], Some(("spec.durability.ack", "at least 2"))),
        k(&[replicas(0), backups(0), ack("all")], Some(("spec.durability.ack", "at least 2"))),
        k(&[replicas(6), ack("quorum")], Some(("spec.replicas", "at most 7 members"))),
        k(&[zones(3)], None),
        k(&[zones(4)], Some(("spec.durability.zones", "1 to 3"))),
        k(&[zones(3), backups(0)], Some(("spec.durability.zones", "not be more than"))),
        k(&[zones(2), ack("quorum")], None),
        k(&[zones(2), ack("async")], Some(("spec.durability.zones", "must be 1 with ack: async"))),
        k(&[("/spec/snapshotInterval", json!("90s"))], None),
        k(&[("/spec/snapshotInterval", json!("10ms"))], Some(("spec.snapshotInterval", "1s to"))),
        k(&[("/spec/snapshotInterval", json!("7d"))], Some(("spec.snapshotInterval", "a unit"))),
        k(&[("/spec/checkInterval", json!("6h"))], None),
        k(&[("/spec/checkInterval", json!("0s"))], Some(("spec.checkInterval", "1s to"))),
        k(&[("/spec/mastersInterval", json!("0s"))], Some(("spec.mastersInterval", "1s to"))),
        k(&[events("KE x")], Some(("spec.notifyKeyspaceEvents", "must be letters"))),
    ];
    cases.extend(scaling::cases().into_iter().chain(limits::cases()).chain(door_cases()));
    cases.extend(log_cases("keyspaces"));
    cases
}

/// Keyspaces, as for who comes in and how.
fn door_cases() -> Vec<Case> {
    let k = |set: &[(&'static str, Value)], refused| case("keyspaces", set, refused);
    let secret = ("/spec/auth/passwordSecretRef", json!({"name": "s"}));
    let user = |name: &str| json!([{"name": name, "passwordSecretRef": {"name": "s"}}]);
    vec![
        k(&[("/spec/auth/password", json!("p"))], None),
        k(std::slice::from_ref(&secret), None),
        k(&[("/spec/auth", json!({}))], Some(("spec.auth", "exactly one"))),
        k(&[secret, ("/spec/auth/password", json!("p"))], Some(("spec.auth", "exactly one"))),
        k(&[("/spec/auth/password", json!(""))], Some(("spec.auth.password", "must not be empty"))),
        k(&[("/spec/auth/users", user("app"))], None),
        k(&[("/spec/auth/users", user("a b"))], Some(("spec.auth.users", "must have names"))),
        k(&[("/spec/auth/users", user("app")), ("/spec/auth/password", json!("p"))], None),
        k(
            &[
                ("/spec/auth", json!({"password": "p", "passwordSecretRef": {"name": "s"}})),
                ("/spec/auth/users", user("app")),
            ],
            Some(("spec.auth", "exactly one")),
        ),
        k(&[("/spec/storage/size", json!("ten"))], Some(("spec.storage.size", "10Gi"))),
        k(&[("/spec/tls", json!({}))], None),
        k(&[("/spec/tls", json!({"altNames": ["redis.example.org"]}))], None),
        k(&[("/spec/tls", json!({"secretName": "web", "verify": true}))], None),
        k(
            &[("/spec/tls", json!({"secretName": ""}))],
            Some(("spec.tls.secretName", "must not be empty")),
        ),
        k(&[("/spec/tls", json!({"verify": true}))], Some(("spec.tls.verify", "who signs"))),
        k(&[("/spec/tls", json!({"altNames": ["-a"]}))], Some(("spec.tls.altNames", "DNS names"))),
        k(
            &[("/spec/tls", json!({"secretName": "web", "altNames": ["a"]}))],
            Some(("spec.tls.altNames", "left out with secretName")),
        ),
    ]
}

/// Groups.
pub fn group_cases() -> Vec<Case> {
    let g = |set: &[(&'static str, Value)], refused| case("groups", set, refused);
    vec![
        g(&[], None),
        g(&name("tweets-1"), Some(("metadata.name", "<spec.keyspace>-<spec.index>"))),
        g(&[("/spec/index", json!(-1))], Some(("spec.index", "0 to 1023"))),
        g(&[("/spec/members", json!(8))], Some(("spec.members", "1 to 7"))),
        g(&[("/spec/keyspace", json!("T"))], Some(("spec.keyspace", "name of a Keyspace"))),
    ]
}

/// Backups.
pub fn backup_cases() -> Vec<Case> {
    let b = |set: &[(&'static str, Value)], refused| case("backups", set, refused);
    let span = |field: &'static str, text: &str| (field, json!(text));
    let (every, snapshots) = ("/spec/every", "/spec/snapshotEvery");
    let keep = |retention: Value| ("/spec/retention", retention);
    let mut cases = vec![
        b(&[], None),
        b(&name("Nightly"), Some(("metadata.name", "must be 1 to 40 of"))),
        b(&[("/spec/keyspace", json!("T"))], Some(("spec.keyspace", "name of a Keyspace"))),
        b(&[span(every, "1h")], None),
        b(&[span(every, "10ms")], Some(("spec.every", "1s to 1h"))),
        b(&[span(every, "often")], Some(("spec.every", "whole number"))),
        b(&[span(snapshots, "9s")], Some(("spec.snapshotEvery", "10s to 168h"))),
        b(
            &[span(every, "1m"), span(snapshots, "59s")],
            Some(("spec.snapshotEvery", "shorter than every")),
        ),
        b(&[keep(json!({"keepLast": 3, "keepDays": 14}))], None),
        b(&[keep(json!({}))], Some(("spec.retention", "keepLast or keepDays"))),
        b(&[keep(json!({"keepLast": 0}))], Some(("spec.retention.keepLast", "1 to 100000"))),
        b(&[keep(json!({"keepDays": -1}))], Some(("spec.retention.keepDays", "1 to 36500"))),
        b(&[("/spec/suspend", json!(true))], None),
        b(&[("/spec/pods/image", json!(""))], Some(("spec.pods.image", "must not be empty"))),
        b(
            &[("/spec/pods/imagePullSecrets", json!([""]))],
            Some(("spec.pods.imagePullSecrets", "must not hold empty names")),
        ),
    ];
    cases.extend(place_cases("backups", "/spec/to", "spec.to"));
    cases
}

/// Restores.
pub fn restore_cases() -> Vec<Case> {
    let r = |set: &[(&'static str, Value)], refused| case("restores", set, refused);
    let at = |text: &str| [("/spec/at", json!(text))];
    let moment = Some(("spec.at", "a moment in UTC"));
    let uid = |text: &str| [("/spec/source/clusterUid", json!(text))];
    let mut cases = vec![
        r(&[], None),
        r(&name("Back"), Some(("metadata.name", "must be 1 to 40 of"))),
        r(&[("/spec/into", json!("T"))], Some(("spec.into", "name of a Keyspace"))),
        r(
            &[("/spec/source/keyspace", json!("-"))],
            Some(("spec.source.keyspace", "that was backed up")),
        ),
        r(&uid(&"0f".repeat(16)), None),
        r(&uid("0F"), Some(("spec.source.clusterUid", "32 hexadecimal digits"))),
        r(&at("2026-11-28T20:15:00Z"), None),
        r(&at("2026-11-28T20:15:00.123Z"), None),
        r(&[("/spec/pods/image", json!(""))], Some(("spec.pods.image", "must not be empty"))),
        r(
            &[("/spec/pods/imagePullSecrets", json!([""]))],
            Some(("spec.pods.imagePullSecrets", "must not hold empty names")),
        ),
    ];
    for text in [
        "yesterday",
        "2026-11-28",
        "2026-11-28T20:15:00",
        "2026-11-28T20:15:00+01:00",
        "2026-13-28T20:15:00Z",
        "2026-00-28T20:15:00Z",
        "2026-11-32T20:15:00Z",
        "2026-11-28T24:00:00Z",
        "2026-11-28T20:60:00Z",
        "2026-11-28 20:15:00Z",
        "2026-11-28T20:15:00.Z",
        "+026-11-28T20:15:00Z",
    ] {
        cases.push(r(&at(text), moment));
    }
    cases.extend(place_cases("restores", "/spec/source/from", "spec.source.from"));
    cases
}

/// Pools of spares, and the size class that Keyspaces have, too.
fn pool_cases() -> Vec<Case> {
    let p = |set: &[(&'static str, Value)], refused| case("sparepools", set, refused);
    let class = |text: &str| [("/spec/sizeClass", json!(text))];
    let after = |text: &str| [("/spec/replaceAfter", json!(text))];
    vec![
        p(&[], None),
        p(&name("Warm"), Some(("metadata.name", "must be 1 to 40 of"))),
        p(&[("/spec/cluster", json!("-"))], Some(("spec.cluster", "name of a Cluster"))),
        p(&[("/spec/size", json!(64)), ("/spec/replaceAfter", json!("1h"))], None),
        p(&[("/spec/size", json!(65))], Some(("spec.size", "1 to 64"))),
        p(&[("/spec/size", json!(0))], Some(("spec.size", "1 to 64"))),
        p(&[("/spec/idleMin", json!(3)), ("/spec/minIdlePerZone", json!(3))], None),
        p(&[("/spec/idleMin", json!(0))], None),
        p(&[("/spec/idleMin", json!(4))], Some(("spec.idleMin", "must be 0 to size"))),
        p(&[("/spec/idleMin", json!(-1))], Some(("spec.idleMin", "must be 0 to size"))),
        p(&[("/spec/minIdlePerZone", json!(4))], Some(("spec.minIdlePerZone", "0 to size"))),
        p(&[("/spec/minIdlePerZone", json!(-1))], Some(("spec.minIdlePerZone", "0 to size"))),
        p(&[("/spec/sizeClass", json!("large")), ("/spec/replaceAfter", json!("2s"))], None),
        p(&class("Large"), Some(("spec.sizeClass", "must be 1 to 40 of"))),
        p(&class(""), Some(("spec.sizeClass", "must be 1 to 40 of"))),
        p(&after("1999ms"), Some(("spec.replaceAfter", "must be 2s to 1h"))),
        p(&after("61m"), Some(("spec.replaceAfter", "must be 2s to 1h"))),
        p(&after("soon"), Some(("spec.replaceAfter", "whole number of at most 6 digits"))),
        p(&[("/spec/storage/size", json!("1Mi"))], Some(("spec.storage.size", "at least 1Gi"))),
        p(&[("/spec/pods/image", json!(""))], Some(("spec.pods.image", "must not be empty"))),
        case("keyspaces", &class("large"), None),
        case("keyspaces", &class("-"), Some(("spec.sizeClass", "must be 1 to 40 of"))),
    ]
}

/// Changes of pools of spares.
fn pool_change_cases() -> Vec<Case> {
    let fixed = "cannot change";
    let class = [("/spec/sizeClass", json!("large"))];
    vec![
        case("sparepools", &[("/spec/size", json!(5))], None),
        case("sparepools", &[("/spec/cluster", json!("other"))], Some(("spec.cluster", fixed))),
        case("sparepools", &class, Some(("spec.sizeClass", fixed))),
        case("keyspaces", &class, Some(("spec.sizeClass", fixed))),
    ]
}

/// Backups or restores, as for where their archive is.
fn place_cases(kind: &'static str, at: &'static str, path: &'static str) -> Vec<Case> {
    let below = |field: &str| -> &'static str { format!("{path}.{field}").leak() };
    let p = |place: Value, refused: Option<(&str, &'static str)>| {
        let refused = refused.map(|(field, words)| match field {
            "" => (path, words),
            field => (below(field), words),
        });
        case(kind, &[(at, place)], refused)
    };
    let claim = |folder: &str| json!({"claim": "archive", "folder": folder});
    let s3 = |text: &str| json!({"s3": text});
    let with = |field: &str, text: &str| json!({"s3": "s3://backups/cairn", field: text});
    let all = json!({
        "s3": "s3://backups/cairn", "endpoint": "https://minio.storage:9000",
        "credentialsSecret": "s3", "authoritySecret": "ca", "encryptionKeySecret": "key",
    });
    let mut cases = vec![
        p(all, None),
        p(claim("a/b-c/d.e"), None),
        p(json!({}), Some(("", "exactly one of s3 and claim"))),
        p(json!({"s3": "s3://b2", "claim": "a"}), Some(("", "exactly one of s3 and claim"))),
        p(s3("s3://backups"), None),
        p(with("endpoint", "http://127.0.0.1:9000"), None),
    ];
    for text in ["backups", "s3://", "s3://B/a", "s3://a b/c", "S3://backups", "s3://b-/c"] {
        cases.push(p(s3(text), Some(("s3", "s3://bucket/prefix"))));
    }
    for text in ["minio:9000", "https://", "https://a/b", "ftp://a"] {
        cases.push(p(with("endpoint", text), Some(("endpoint", "without a path"))));
    }
    for text in ["/a", "a/", "../a", "a/../b", ".a", "a b", ""] {
        cases.push(p(claim(text), Some(("folder", "below the volume's root"))));
    }
    cases.push(p(with("folder", "a"), Some(("folder", "needs a claim"))));
    for field in ["endpoint", "credentialsSecret", "authoritySecret"] {
        let text = if field == "endpoint" { "https://a" } else { "a" };
        cases.push(p(json!({"claim": "a", field: text}), Some((field, "needs s3"))));
    }
    for field in ["credentialsSecret", "authoritySecret", "encryptionKeySecret"] {
        cases.push(p(with(field, ""), Some((field, "must not be empty"))));
    }
    cases.push(p(json!({"claim": ""}), Some(("claim", "must not be empty"))));
    cases
}

/// Changes of backups and restores.
fn archive_change_cases() -> Vec<Case> {
    let fixed = "cannot change";
    let at = ("/spec/at", json!("2026-11-28T20:15:00Z"));
    let of = |old: Vec<(&'static str, Value)>, set, refused| Case {
        old,
        ..case("restores", set, refused)
    };
    let named = || ("/metadata/name", json!("dated"));
    vec![
        case("backups", &[("/spec/keyspace", json!("other"))], Some(("spec.keyspace", fixed))),
        case("backups", &[("/spec/to", json!({"claim": "b"})), ("/spec/every", json!("2s"))], None),
        case("restores", &[("/spec/into", json!("other"))], Some(("spec.into", fixed))),
        case(
            "restores",
            &[("/spec/source/keyspace", json!("other"))],
            Some(("spec.source", fixed)),
        ),
        case("restores", std::slice::from_ref(&at), Some(("spec.at", fixed))),
        of(vec![named(), at.clone()], &[], None),
        of(
            vec![named(), at],
            &[("/spec/at", json!("2026-11-28T20:15:01Z"))],
            Some(("spec.at", fixed)),
        ),
        case("restores", &[("/spec/pods/image", json!("cairn:2"))], None),
    ]
}

/// Changes of a valid resource.
pub fn change_cases() -> Vec<Case> {
    let fixed = "cannot change";
    let mut cases = checkpoint_change_cases();
    cases.extend(archive_change_cases());
    cases.extend(pool_change_cases());
    cases.extend([
        case("clusters", &[("/spec/globalReplicas", json!(2))], None),
        case("clusters", &[("/spec/storage/size", json!("20Gi"))], None),
        case(
            "clusters",
            &[("/spec/storage/size", json!("9Gi"))],
            Some(("spec.storage.size", "cannot shrink")),
        ),
        case(
            "clusters",
            &[("/spec/storage/className", json!("fast"))],
            Some(("spec.storage.className", fixed)),
        ),
        case(
            "clusters",
            &[("/spec/acceptor", json!(false)), ("/spec/globalReplicas", json!(2))],
            Some(("spec.acceptor", fixed)),
        ),
        case("clusters", &[("/spec/tls/peers", json!(false))], Some(("spec.tls.peers", fixed))),
        case("clusters", &[("/spec/tls/clients", json!({}))], None),
        case(
            "clusters",
            &[("/spec/tls/issuerRef", json!({"name": "ca"}))],
            Some(("spec.tls.issuerRef", "cannot be added")),
        ),
        case("keyspaces", &[("/spec/groups", json!(5))], None),
        case("keyspaces", &[("/spec/cluster", json!("other"))], Some(("spec.cluster", fixed))),
        case(
            "keyspaces",
            &[("/spec/storage/size", json!("1Gi"))],
            Some(("spec.storage.size", "cannot shrink")),
        ),
        case("groups", &[("/spec/members", json!(2))], None),
        case("groups", &[("/spec/keyspace", json!("other"))], Some(("spec.keyspace", fixed))),
        case("groups", &[("/spec/index", json!(3))], Some(("spec.index", fixed))),
    ]);
    cases
}

/// Changes of clusters with or without checkpoint nodes.
fn checkpoint_change_cases() -> Vec<Case> {
    let replicas = |n: i32| ("/spec/checkpoint/replicas", json!(n));
    let size = |text: &str| ("/spec/checkpoint/storage/size", json!(text));
    let class = |text: &str| ("/spec/checkpoint/storage/className", json!(text));
    let acceptor = || ("/spec/acceptor", json!(false));
    let beside = || vec![("/metadata/name", json!("beside")), replicas(1)];
    let seat = || vec![("/metadata/name", json!("seat")), replicas(1), acceptor()];
    let three = ("/spec/globalReplicas", json!(2));
    let globals = || vec![("/metadata/name", json!("globals")), three.clone(), acceptor()];
    let c = |old: Vec<(&'static str, Value)>, set: &[(&'static str, Value)], refused| Case {
        old,
        ..case("clusters", set, refused)
    };
    let kept = Some(("spec.checkpoint.replicas", "keeps the arbiter's value"));
    let shrink = Some(("spec.checkpoint.storage.size", "cannot shrink"));
    let fixed = Some(("spec.checkpoint.storage.className", "cannot change"));
    vec![
        c(Vec::new(), &[replicas(2), size("1Gi"), class("fast")], None),
        c(beside(), &[replicas(0)], None),
        c(beside(), &[size("10Gi")], None),
        c(beside(), &[size("9Gi")], shrink),
        c(beside(), &[class("fast")], fixed),
        c(seat(), &[replicas(3)], None),
        c(seat(), &[replicas(0), three.clone()], kept),
        c(globals(), &[replicas(1)], kept),
    ]
}
