//! The pod template of a node.

use super::overlay;
use crate::controller::certificates::{MADE, THEIRS};
use crate::names;
use cairn_crd::pods::{Pods, Spread};
use cairn_settings::{LogSettings, NodeRole, NodeSettings, Port, TlsSettings};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort,
    EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, SeccompProfile, SecretProjection, SecretVolumeSource, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a node's volume is mounted.
pub const VOLUME: &str = "/var/lib/cairn";
/// A node's folder: below the mount, which may hold a `lost+found`.
pub const FOLDER: &str = "/var/lib/cairn/node";
/// Where settings are mounted, one file per pod.
pub const SETTINGS: &str = "/etc/cairn/settings";
/// Where the cluster's identity is mounted.
pub const IDENTITY: &str = "/etc/cairn/identity";
/// The user that nodes run as; nobody else's.
pub const USER: i64 = 10_001;
/// A stopping node hands its mastership over (3 s at most), flushes and ends; the rest is reserve
/// for a slow disk. No preStop hook: the node does all of it when it is asked to stop.
const GRACE_SEC: i64 = 30;

const MACHINE: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What tells the pods of one StatefulSet from others.
pub struct Template<'a> {
    /// What its nodes are for.
    pub role: NodeRole,
    /// All labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// Pods with this label must not share a machine with each other, nor a zone if there are more.
    pub apart: (&'a str, &'a str),
    /// What people said of the pods.
    pub pods: &'a Pods,
    /// The ConfigMap with the nodes' settings.
    pub settings: &'a str,
    /// The Secret with the cluster's identity.
    pub identity: &'a str,
    /// The ServiceAccount.
    pub account: &'a str,
    /// The Secret with the certificate that is made for its nodes, and the ConfigMap with whom to
    /// trust.
    pub certificate: Option<(String, String)>,
    /// The Secret that people made for the door of its clients.
    pub client_certificate: Option<&'a str>,
    /// Changes when running nodes must be replaced to follow their settings.
    pub digest: String,
}

/// The template, overrides laid over it, marked with its hash.
///
/// # Panics
/// Never: a template is plain data.
#[must_use]
pub fn template_of(template: &Template<'_>) -> Value {
    let annotations = BTreeMap::from([("cairn.dev/settings".to_owned(), template.digest.clone())]);
    let spec = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(template.labels.clone()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(template)),
    };
    let mut value = serde_json::to_value(spec).expect("a template is plain data");
    if let Some(over) = &template.pods.template {
        overlay::lay_over(&mut value, over);
    }
    let hash = crate::object::digest(&value);
    value["metadata"]["annotations"][names::TEMPLATE] = json!(hash);
    value
}

/// A digest of what a running node must be replaced to follow: what people wrote and nodes read at
/// their start alone. Limits they learn from the directory; where the global plane is they know,
/// its own nodes apart. Other defaults of this operator replace no pod.
#[must_use]
pub fn settings_digest(settings: &NodeSettings) -> String {
    let mut shared = json!({ "uid": settings.cluster_uid, "timing": settings.timing });
    if settings.tls != TlsSettings::default() {
        // Which files there are; what is in them they read anew.
        shared["tls"] = json!(settings.tls);
    }
    if let Some(log) = log_as_written(settings) {
        shared["log"] = log;
    }
    if settings.role == NodeRole::Checkpoint {
        // Whom it follows; the others it need not know.
        let global = settings.seeds.iter().filter(|(_, seed)| seed.role == NodeRole::Global);
        shared["seeds"] = json!(global.collect::<BTreeMap<_, _>>());
    }
    if settings.role == NodeRole::Global {
        shared["seeds"] = json!(settings.seeds);
        shared["durability"] = json!(settings.durability);
        shared["reads"] = json!(settings.reads);
    }
    crate::object::digest(&shared)
}

/// What people wrote of logs and snapshots, if anything.
fn log_as_written(settings: &NodeSettings) -> Option<Value> {
    let of = |log: &LogSettings| {
        let interval_ms = log.snapshot_interval.as_millis();
        (interval_ms, log.bytes_kept, log.bytes_max, log.fetch_bytes_per_sec)
    };
    let (written, absent) = (settings.log, LogSettings::default());
    // Apart, so that pods whose keyspace says nothing of it keep their digest.
    let check_ms = (written.check_interval != absent.check_interval)
        .then(|| json!([of(&written), written.check_interval.as_millis()]));
    check_ms.or_else(|| (of(&written) != of(&absent)).then(|| json!(of(&written))))
}

fn spec(template: &Template<'_>) -> PodSpec {
    let pods = template.pods;
    let secrets =
        pods.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    PodSpec {
        service_account_name: Some(template.account.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SEC),
        priority_class_name: pods.priority_class_name.clone(),
        image_pull_secrets: Some(secrets.collect()),
        affinity: affinity(template),
        topology_spread_constraints: Some(spread(template)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(template)],
        volumes: Some(volumes(template)),
        ..PodSpec::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

fn container(template: &Template<'_>) -> Container {
    let pods = template.pods;
    let text = |text: &str| text.to_owned();
    Container {
        name: "node".to_owned(),
        image: pods.image.clone(),
        image_pull_policy: pods.image_pull_policy.map(|p| p.as_str().to_owned()),
        command: Some(vec![text("cairn-node")]),
        args: Some(vec![
            text(template.role.as_str()),
            text("--settings"),
            format!("{SETTINGS}/$(POD_NAME).json"),
        ]),
        env: Some(vec![pod_name()]),
        ports: Some(ports(template.role)),
        resources: pods.resources.clone(),
        startup_probe: Some(probe("/startupz", 1, 900)),
        liveness_probe: Some(probe("/livez", 5, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { add: None, drop: Some(vec![text("ALL")]) }),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(template)),
        ..Container::default()
    }
}

fn mounts(template: &Template<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only).filter(|only| *only),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("data", VOLUME, false),
        mount("settings", SETTINGS, true),
        mount("identity", IDENTITY, true),
    ];
    mounts.extend(template.certificate.as_ref().map(|_| mount("tls", MADE, true)));
    mounts.extend(template.client_certificate.map(|_| mount("client-tls", THEIRS, true)));
    mounts
}

fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: "metadata.name".to_owned(),
    };
    let from = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: "POD_NAME".to_owned(), value_from: Some(from), ..EnvVar::default() }
}

/// The doors that nodes of a role open.
pub fn doors(role: NodeRole) -> &'static [Port] {
    match role {
        NodeRole::Global => &[Port::Etcd, Port::Peer, Port::Heartbeat, Port::Metrics],
        NodeRole::Data => &[Port::Client, Port::Peer, Port::Heartbeat, Port::Metrics],
        NodeRole::Acceptor => &[Port::Peer, Port::Metrics],
        NodeRole::Checkpoint => &[Port::Peer, Port::Heartbeat, Port::Metrics],
    }
}

fn ports(role: NodeRole) -> Vec<ContainerPort> {
    let port = |port: &Port| ContainerPort {
        name: Some(port.key().to_owned()),
        container_port: i32::from(port.number()),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    doors(role).iter().map(port).collect()
}

fn probe(path: &str, period_sec: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(Port::Metrics.key().to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_sec),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn volumes(template: &Template<'_>) -> Vec<Volume> {
    let settings = ConfigMapVolumeSource {
        name: template.settings.to_owned(),
        default_mode: Some(0o444),
        ..ConfigMapVolumeSource::default()
    };
    let identity = SecretVolumeSource {
        secret_name: Some(template.identity.to_owned()),
        default_mode: Some(0o440),
        ..SecretVolumeSource::default()
    };
    let mut volumes = vec![
        Volume { name: "settings".to_owned(), config_map: Some(settings), ..Volume::default() },
        Volume { name: "identity".to_owned(), secret: Some(identity), ..Volume::default() },
    ];
    if let Some((secret, trusted)) = &template.certificate {
        volumes.push(certificate(secret, trusted));
    }
    if let Some(secret) = template.client_certificate {
        let secret = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        };
        let name = "client-tls".to_owned();
        volumes.push(Volume { name, secret: Some(secret), ..Volume::default() });
    }
    volumes
}

/// A certificate with its key, and whom to trust, in one folder that changes at once.
pub fn certificate(secret: &str, trusted: &str) -> Volume {
    let items = |keys: &[&str]| {
        let item = |key: &&str| KeyToPath { key: (*key).into(), path: (*key).into(), mode: None };
        Some(keys.iter().map(item).collect())
    };
    let secret = SecretProjection {
        name: secret.to_owned(),
        items: items(&["tls.crt", "tls.key"]),
        optional: None,
    };
    let trusted =
        ConfigMapProjection { name: trusted.to_owned(), items: items(&["ca.crt"]), optional: None };
    let sources = vec![
        VolumeProjection { secret: Some(secret), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(trusted), ..VolumeProjection::default() },
    ];
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o440) };
    Volume { name: "tls".to_owned(), projected: Some(projected), ..Volume::default() }
}

fn selector(label: (&str, &str)) -> LabelSelector {
    let labels = BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]);
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The nodes of the global plane are few and must not share machines; groups may have more members
/// than there are machines, so they are spread evenly instead.
fn affinity(template: &Template<'_>) -> Option<Affinity> {
    if template.role == NodeRole::Data {
        return None;
    }
    let term = PodAffinityTerm {
        label_selector: Some(selector(template.apart)),
        topology_key: MACHINE.to_owned(),
        ..PodAffinityTerm::default()
    };
    let anti = match template.pods.spread_in_force() {
        Spread::Strict => PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        },
        Spread::Relaxed => {
            let term = WeightedPodAffinityTerm { pod_affinity_term: term, weight: 100 };
            PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
                ..PodAntiAffinity::default()
            }
        }
    };
    Some(Affinity { pod_anti_affinity: Some(anti), ..Affinity::default() })
}

fn spread(template: &Template<'_>) -> Vec<TopologySpreadConstraint> {
    let strict = template.pods.spread_in_force() == Spread::Strict;
    let constraint = |key: &str, strict: bool| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: if strict { "DoNotSchedule" } else { "ScheduleAnyway" }.to_owned(),
        label_selector: Some(selector(template.apart)),
        // A machine that takes nobody must not keep the others empty.
        node_taints_policy: Some("Honor".to_owned()),
        ..TopologySpreadConstraint::default()
    };
    let zones = constraint(ZONE, false);
    match template.role {
        NodeRole::Data => vec![constraint(MACHINE, strict), zones],
        NodeRole::Global | NodeRole::Acceptor | NodeRole::Checkpoint => vec![zones],
    }
}
