//! `Keyspace`: the data of one business.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::log::LogSpec;
use crate::pods::Pods;
use crate::problem::Problem;
use crate::rules;
use crate::shared::{Condition, Durability, Storage};
use crate::tls::{CertificateStatus, ClientTls};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a keyspace.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "Keyspace",
    plural = "keyspaces",
    namespaced,
    status = "KeyspaceStatus",
    derive = "PartialEq",
    shortname = "ks",
    category = "cairn",
    doc = "A keyspace: the data of one business, spread over groups.",
    scale(
        spec_replicas_path = ".spec.groups",
        status_replicas_path = ".status.groups",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Groups", type_ = "integer", json_path = ".status.groups"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.autoscale.min", priority = 1),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.autoscale.max", priority = 1),
    printcolumn(name = "Ack", type_ = "string", json_path = ".spec.durability.ack"),
    printcolumn(name = "Slots", type_ = "integer", json_path = ".status.slotsServed"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyspaceSpec {
    /// The name of its Cluster, in the same namespace. Cannot change.
    #[schemars(length(max = 63))]
    pub cluster: String,
    /// How many groups share its 16384 slots, 1 to 1024. With `autoscale` the number to begin with;
    /// then the operator writes it.
    #[serde(default = "one")]
    pub groups: i32,
    /// Groups as many as its load needs; absent: as many as `groups` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// Replicas per group: they serve reads to clients that ask with READONLY.
    #[serde(default = "one")]
    pub replicas: i32,
    /// Backups per group: they serve nobody and step in for a promoted replica.
    #[serde(default = "one")]
    pub backups: i32,
    /// What an acknowledged write survives.
    #[serde(default)]
    pub durability: Durability,
    /// Bounds on memory and clients.
    #[serde(default)]
    pub limits: KeyspaceLimits,
    /// What keys undergo that those who listen are told of: letters of Redis's
    /// `notify-keyspace-events`, for example `Ex`; absent means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub notify_keyspace_events: Option<String>,
    /// Who may connect; absent means everybody who reaches the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// TLS for its clients; absent means what `tls.clients` of the Cluster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// What a linearizable read waits for.
    #[serde(default)]
    pub reads: ReadMode,
    /// The class of its nodes' machines and volumes: spares of SparePools with the same one may
    /// join its groups. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub size_class: Option<String>,
    /// Where its nodes keep their folders.
    #[serde(default)]
    pub storage: Storage,
    /// Between two snapshots of a node that is not master (5m), 1s to 168h: at a start it loads the
    /// newest and replays the log after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub snapshot_interval: Option<String>,
    /// How long a master takes to compare all of its data with its members' (1h), 1s to 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub check_interval: Option<String>,
    /// How often at most the planner hands a group over so that a preferred node masters it again
    /// (1m), 1s to 168h; masters that share a machine are spread within this time of quiet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub masters_interval: Option<String>,
    /// Bounds on the logs of its nodes.
    #[serde(default)]
    pub log: LogSpec,
    /// The pods of its nodes; what is absent is as the Cluster says.
    #[serde(default)]
    pub pods: Pods,
}

/// How many groups there are by what they carry: `operationsPerSecond`, `memory` or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// The fewest groups, 1 to max (1).
    #[serde(default = "one")]
    pub min: i32,
    /// The most groups, min to 1024.
    pub max: i32,
    /// Commands per second that one group should serve, 1 to 100000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations_per_second: Option<i32>,
    /// Memory that the keys of one group should take, 1Mi to 999999Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub memory: Option<String>,
    /// For how long fewer groups must have been enough before there are fewer (5m), 1s to 24h; more
    /// come after a tenth of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stabilization: Option<String>,
}

/// Which keys go when memory is at its limit, by Redis's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvictionPolicy {
    /// None: writes are refused.
    #[serde(rename = "noeviction")]
    NoEviction,
    /// Those that were not used for longest.
    #[serde(rename = "allkeys-lru")]
    AllKeysLru,
    /// Those that are used least often.
    #[serde(rename = "allkeys-lfu")]
    AllKeysLfu,
    /// Any.
    #[serde(rename = "allkeys-random")]
    AllKeysRandom,
    /// Of those that expire, those that were not used for longest.
    #[serde(rename = "volatile-lru")]
    VolatileLru,
    /// Of those that expire, those that are used least often.
    #[serde(rename = "volatile-lfu")]
    VolatileLfu,
    /// Any that expire.
    #[serde(rename = "volatile-random")]
    VolatileRandom,
    /// Those that expire soonest.
    #[serde(rename = "volatile-ttl")]
    VolatileTtl,
}

/// Bounds per node; what is absent has the node's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KeyspaceLimits {
    /// Memory of the keys of one node, for example `2Gi`; at it keys go by `maxmemoryPolicy`, or
    /// writes are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub maxmemory: Option<String>,
    /// Which keys go when `maxmemory` is reached (noeviction: none).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_policy: Option<EvictionPolicy>,
    /// How many keys are drawn for each that goes (5), 1 to 64: the more, the better it is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_samples: Option<i32>,
    /// Clients connected to one node (10000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxclients: Option<i32>,
    /// Answers waiting for one client that does not read (64Mi).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub output_buffer: Option<String>,
    /// Commands of one client not yet executed (64Mi).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub query_buffer: Option<String>,
    /// The longest key or value (32Mi, which is also the most).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub max_value: Option<String>,
    /// Commands of one client that a node executes in a second, 1 to 10000000; more wait (no
    /// limit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_commands_per_second: Option<i32>,
    /// Commands of all clients of one user that a node executes in a second, 1 to 10000000; more
    /// wait (no limit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_commands_per_second: Option<i32>,
}

/// What clients must give: the password of the user `default`, by one of two ways or not at all,
/// and those of users. Every user may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Auth {
    /// A key of a Secret in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKey>,
    /// The password itself: for local clusters, where the file is the only copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub password: Option<String>,
    /// Users that come in by name and password. One may be there several times, with a password
    /// each: so one replaces another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub users: Vec<User>,
}

/// A user and a password that is good for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Its name.
    #[schemars(length(max = 64))]
    pub name: String,
    /// A key of a Secret in the same namespace.
    pub password_secret_ref: SecretKey,
}

impl Auth {
    /// Every Secret that is referred to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKey> {
        let users = self.users.iter().map(|user| &user.password_secret_ref);
        self.password_secret_ref.iter().chain(users)
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default = "password_key")]
    #[schemars(length(max = 253))]
    pub key: String,
}

/// What a linearizable read waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// Live promises of the members: fast, relies on clock rates.
    #[default]
    Lease,
    /// A round of acknowledgements per batch of reads: relies on no clock.
    Confirm,
}

/// What is seen of a keyspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyspaceStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Groups that exist.
    #[serde(default)]
    pub groups: i32,
    /// Groups that serve reads and writes.
    #[serde(default)]
    pub ready_groups: i32,
    /// Slots that a master serves, of 16384.
    #[serde(default)]
    pub slots_served: i32,
    /// Which passwords its nodes follow: 12 digits of a digest of their digests; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The certificates that its nodes show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateStatus>,
    /// The label selector of its pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

fn one() -> i32 {
    1
}

fn password_key() -> String {
    "password".to_owned()
}

impl KeyspaceSpec {
    /// A keyspace of `cluster` with every default.
    #[must_use]
    pub fn of(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            groups: one(),
            autoscale: None,
            replicas: one(),
            backups: one(),
            durability: Durability::default(),
            limits: KeyspaceLimits::default(),
            notify_keyspace_events: None,
            auth: None,
            tls: None,
            reads: ReadMode::default(),
            size_class: None,
            storage: Storage::default(),
            snapshot_interval: None,
            check_interval: None,
            masters_interval: None,
            log: LogSpec::default(),
            pods: Pods::default(),
        }
    }

    /// Members wanted per group: the master, replicas and backups.
    #[must_use]
    pub fn members(&self) -> i64 {
        1 + i64::from(self.replicas) + i64::from(self.backups)
    }
}

impl Keyspace {
    /// Everything that is wrong with a new keyspace.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::keyspace(), self, None)
    }

    /// Everything that is wrong with this keyspace as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::keyspace(), self, Some(old))
    }
}
