//! Seen clusters for tests: a whole one, to be made worse step by step.

#![allow(clippy::unwrap_used, reason = "tests")]

use crate::controller::build;
use crate::controller::certificates::{self, Certificates};
use crate::controller::desired::Desired;
use crate::controller::observed::{
    Directory, Identity, Machine, Observed, PlaneSeen, PodSeen, WorkerSeen,
};
use crate::controller::validate::{Defaults, validate};
use crate::object::{Kind, Object};
use cairn_crd::KeyspaceStatus;
use cairn_crd::pods::Pods;
use cairn_crd::{
    ArchivePlace, Backup, BackupSpec, Cluster, ClusterSpec, Group, GroupSpec, Keyspace,
    KeyspaceSpec, Restore, RestoreSource, RestoreSpec, SparePool, SparePoolSpec,
};
use cairn_logic::ids::{Epoch, GroupId, Incarnation, Life, NodeId, Version};
use cairn_logic::record::{Durability, Member, Record, Role, Rule};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::{
    Claim, Drain, Drained, Make, NodeInfo, SlotOwners, SlotRange,
};
use cairn_settings::report::BackupReport;
use cairn_wire::peer::pb::{LogStatus, MemberStatus, Position, PositionKind, StatusReply};
use kube::core::DynamicObject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The moment at which all tests look.
pub const NOW_SEC: i64 = 1_000_000;

/// Chains like adjectives: `Seen::new().founded().whole()`.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was made of it so far.
    pub observed: Observed,
}

/// What the operator is told in tests.
#[must_use]
pub fn defaults() -> Defaults {
    Defaults { image: "cairn:1".to_owned(), domain: "cluster.local".to_owned() }
}

impl Default for Seen {
    fn default() -> Self {
        Self::new()
    }
}

impl Seen {
    /// A Cluster `demo` with a Keyspace `tweets` of one group, just written.
    #[must_use]
    pub fn new() -> Self {
        let mut cluster = Cluster::new("demo", ClusterSpec::default());
        cluster.metadata.namespace = Some("ns".to_owned());
        cluster.metadata.uid = Some("u-cluster".to_owned());
        cluster.metadata.generation = Some(1);
        let mut keyspace = Keyspace::new("tweets", KeyspaceSpec::of("demo"));
        keyspace.metadata.namespace = Some("ns".to_owned());
        keyspace.metadata.uid = Some("u-keyspace".to_owned());
        keyspace.metadata.generation = Some(1);
        let identity = Identity {
            uid: "0123456789abcdef0123456789abcdef".to_owned(),
            secret: "a secret of sixteen bytes".to_owned(),
            tls: false,
            founded: false,
        };
        let observed = Observed {
            cluster: Arc::new(cluster),
            keyspaces: vec![Arc::new(keyspace)],
            groups: BTreeMap::new(),
            backups: Vec::new(),
            restores: Vec::new(),
            pools: Vec::new(),
            workers: BTreeMap::new(),
            reports: BTreeMap::new(),
            lacking: BTreeMap::new(),
            live: BTreeMap::new(),
            pods: BTreeMap::new(),
            machines: BTreeMap::new(),
            claims: BTreeMap::new(),
            passwords: BTreeMap::new(),
            certificates: Certificates::default(),
            identity: Some(identity),
            plane: PlaneSeen { error: "no answer".to_owned(), ..PlaneSeen::default() },
            now_sec: NOW_SEC,
        };
        Self { observed }
    }

    /// Changes the Cluster.
    #[must_use]
    pub fn cluster(mut self, change: impl FnOnce(&mut Cluster)) -> Self {
        change(Arc::make_mut(&mut self.observed.cluster));
        self
    }

    /// The Cluster has checkpoint nodes, the first in the acceptor's seat.
    #[must_use]
    pub fn checkpoints(self, count: i32) -> Self {
        self.cluster(|c| {
            c.spec.acceptor = false;
            c.spec.checkpoint.replicas = count;
        })
    }

    /// Changes the Keyspace.
    #[must_use]
    pub fn keyspace(mut self, change: impl FnOnce(&mut Keyspace)) -> Self {
        change(Arc::make_mut(&mut self.observed.keyspaces[0]));
        self
    }

    /// A SparePool `warm` of two nodes, or a change of it.
    #[must_use]
    pub fn pool(mut self, change: impl FnOnce(&mut SparePool)) -> Self {
        if self.observed.pools.is_empty() {
            let spec = SparePoolSpec { size: 2, ..SparePoolSpec::of("demo") };
            let mut pool = SparePool::new("warm", spec);
            pool.metadata.namespace = Some("ns".to_owned());
            pool.metadata.uid = Some("u-pool".to_owned());
            pool.metadata.resource_version = Some("5".to_owned());
            pool.metadata.generation = Some(1);
            self.observed.pools.push(Arc::new(pool));
        }
        change(Arc::make_mut(&mut self.observed.pools[0]));
        self
    }

    /// The pool is being deleted.
    #[must_use]
    pub fn pool_deleted(self) -> Self {
        self.pool(|pool| {
            let metadata = &mut pool.metadata;
            metadata.deletion_timestamp =
                Some(serde_json::from_str("\"2026-11-28T20:15:00Z\"").unwrap());
            metadata.finalizers = Some(vec!["theirs".to_owned(), "cairn.dev/spares".to_owned()]);
        })
    }

    /// Changes whose a spare is.
    #[must_use]
    pub fn claim(mut self, node: &str, claim: Claim) -> Self {
        let directory = self.observed.plane.directory.as_mut().unwrap();
        directory.nodes.get_mut(&NodeId::new(node)).unwrap().claim = claim;
        self
    }

    /// A spare is claimed by a group.
    #[must_use]
    pub fn claimed(self, node: &str, group: &str) -> Self {
        self.claim(node, Claim::Claimed { group: GroupId::new(group), claim: 9 })
    }

    /// A Backup `nightly` of the Keyspace to a claim.
    #[must_use]
    pub fn backup(mut self, change: impl FnOnce(&mut Backup)) -> Self {
        let mut backup = Backup::new("nightly", BackupSpec::of("tweets", archive()));
        backup.metadata.namespace = Some("ns".to_owned());
        backup.metadata.uid = Some("u-backup".to_owned());
        backup.metadata.generation = Some(1);
        change(&mut backup);
        self.observed.backups = vec![Arc::new(backup)];
        self
    }

    /// A Restore `back` into the Keyspace, which is ready.
    #[must_use]
    pub fn restore(mut self, change: impl FnOnce(&mut Restore)) -> Self {
        let source =
            RestoreSource { from: archive(), keyspace: "old".to_owned(), cluster_uid: None };
        let (into, pods) = ("tweets".to_owned(), Pods::default());
        let mut restore = Restore::new("back", RestoreSpec { source, at: None, into, pods });
        restore.metadata.namespace = Some("ns".to_owned());
        restore.metadata.uid = Some("u-restore".to_owned());
        restore.metadata.generation = Some(1);
        change(&mut restore);
        self.observed.restores = vec![Arc::new(restore)];
        self.keyspace(|k| {
            let ready = serde_json::json!({
                "type": "Ready", "status": "True", "reason": "AllServing", "message": "",
                "lastTransitionTime": "2026-11-28T20:15:00Z",
            });
            let status = KeyspaceStatus {
                conditions: vec![serde_json::from_value(ready).unwrap()],
                ..KeyspaceStatus::default()
            };
            k.status = Some(status);
        })
    }

    /// The pod of the Backup or Restore is seen.
    #[must_use]
    pub fn worker(mut self, role: &str, of: &str, change: impl FnOnce(&mut WorkerSeen)) -> Self {
        let pod = PodSeen { running: true, ready: true, ..PodSeen::default() };
        let (role, of) = (role.to_owned(), of.to_owned());
        let address = Some("10.0.0.7".to_owned());
        let mut worker = WorkerSeen { role, of, pod, address, message: None };
        change(&mut worker);
        self.observed.workers.insert(format!("{}-pod", worker.of), worker);
        self
    }

    /// The Backup's pod says where it is.
    #[must_use]
    pub fn reports(mut self, report: BackupReport) -> Self {
        self.observed.reports.insert("nightly".to_owned(), report);
        self
    }

    /// What the Backup or Restore refers to is not there.
    #[must_use]
    pub fn lacking(mut self, kind: Kind, name: &str) -> Self {
        self.observed.lacking.insert((kind, name.to_owned()), "there is no Secret s".to_owned());
        self
    }

    /// The Restore's Job was made, and has this condition if any.
    #[must_use]
    pub fn job(mut self, condition: Option<&str>) -> Self {
        let objects = self.objects();
        let job = objects.iter().find(|object| object.kind == Kind::Job).unwrap();
        let mut live = live(job);
        let conditions = condition.map(|type_| {
            serde_json::json!([{
                "type": type_, "status": "True",
            }])
        });
        live.data["status"] = serde_json::json!({ "conditions": conditions });
        self.observed.live.insert(job.id(), Arc::new(live));
        self
    }

    /// Its processes speak TLS; what the first look makes of that is there.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.observed.identity.as_mut().unwrap().tls = true;
        self.certified()
    }

    /// What a look does about certificates is done.
    #[must_use]
    pub fn certified(mut self) -> Self {
        let desired = self.desired();
        if let Some(authorities) = certificates::changed(&desired, &self.observed).unwrap() {
            let object = certificates::secret(&desired, &authorities);
            self.observed.live.insert(object.id(), Arc::new(live(&object)));
            self.observed.certificates.authorities = authorities;
        }
        certificates::renew(&desired, &mut self.observed).unwrap();
        self
    }

    /// Nodes have loaded the certificates they are given.
    #[must_use]
    pub fn loaded(mut self) -> Self {
        let desired = self.desired();
        for (node, says) in &mut self.observed.plane.nodes {
            let settings = &desired.settings[node];
            let secret = crate::names::certificate(&desired.service_of(settings));
            let digest = desired.tls.digest(&secret).unwrap_or_default();
            let shows = |files: &Option<_>| files.as_ref().map(|_| digest.clone());
            says.peer_tls_digest = shows(&settings.tls.peers).unwrap_or_default();
            says.client_tls_digest = shows(&settings.tls.clients).unwrap_or_default();
        }
        self
    }

    /// The next look, so many days later: all it knows is what was written.
    #[must_use]
    pub fn days_later(mut self, days: i64) -> Self {
        self.observed.now_sec += days * 86_400;
        let observed = &mut self.observed;
        observed.certificates = Certificates::of(&observed.cluster, &observed.live);
        self
    }

    /// The Group resources exist.
    #[must_use]
    pub fn grouped(mut self) -> Self {
        for object in self.objects().iter().filter(|object| object.kind == Kind::Group) {
            let spec: GroupSpec = serde_json::from_value(object.value["spec"].clone()).unwrap();
            let mut group = Group::new(&object.name, spec);
            group.metadata.namespace = Some("ns".to_owned());
            group.metadata.uid = Some(format!("u-{}", object.name));
            group.metadata.generation = Some(1);
            self.observed.groups.insert(object.name.clone(), Arc::new(group));
        }
        self
    }

    /// The founding call was answered.
    #[must_use]
    pub fn founded(mut self) -> Self {
        self.observed.identity.as_mut().unwrap().founded = true;
        self
    }

    /// What is wanted of what is seen.
    #[must_use]
    pub fn desired(&self) -> Desired {
        let identity = self.observed.identity.clone().unwrap();
        validate(&self.observed, &identity, &defaults()).unwrap()
    }

    /// What is built of it.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        build::build(&self.desired())
    }

    /// Everything that is built is there, and every pod runs on a machine of its own.
    #[must_use]
    pub fn applied(mut self) -> Self {
        let objects = self.objects();
        for object in &objects {
            let mut live = live(object);
            if object.kind == Kind::StatefulSet {
                live.data["status"] = serde_json::json!({ "observedGeneration": 1 });
                self.pods_of(object);
            }
            self.observed.live.insert(object.id(), Arc::new(live));
        }
        self
    }

    fn pods_of(&mut self, set: &Object) {
        let annotations = &set.value["spec"]["template"]["metadata"]["annotations"];
        let template = annotations[crate::names::TEMPLATE].as_str().unwrap().to_owned();
        for ordinal in 0..set.value["spec"]["replicas"].as_i64().unwrap() {
            let name = format!("{}-{ordinal}", set.name);
            let machine = format!("m{}", self.observed.machines.len());
            let zone = Some(format!("z{}", self.observed.machines.len() % 3));
            let pod = PodSeen {
                uid: format!("u-{name}"),
                template: template.clone(),
                machine: Some(machine.clone()),
                running: true,
                ready: true,
                created_sec: NOW_SEC - 3600,
                ..PodSeen::default()
            };
            self.observed.machines.insert(machine, Machine { zone, ready: true, cordoned: false });
            self.observed.pods.entry(name).or_insert(pod);
        }
    }

    /// Every node answers and counts; ordinal 0 masters each log; all slots are served.
    #[must_use]
    pub fn whole(self) -> Self {
        let mut seen = self.founded().grouped().applied();
        let desired = seen.desired();
        let mut directory = Directory::default();
        let globals = (0..desired.globals).map(|n| NodeId::new(format!("demo-global-{n}")));
        let record = record(globals.collect(), Rule::All);
        seen.speak(&GroupId::global(), &record);
        for settings in desired.settings.values() {
            if matches!(settings.role, NodeRole::Acceptor | NodeRole::Checkpoint) {
                let node = settings.node.to_string();
                let says = StatusReply { node, ..StatusReply::default() };
                seen.observed.plane.nodes.insert(settings.node.clone(), says);
            }
        }
        for keyspace in &desired.keyspaces {
            directory.keyspaces.insert(keyspace.name.clone(), keyspace.config.clone());
            let owners = cairn_logic::slots::spread_evenly(
                &keyspace.groups.iter().map(|g| GroupId::new(&g.name)).collect::<Vec<_>>(),
            );
            let ranges = owners.into_iter().map(SlotRange::from).collect();
            directory.slots.insert(keyspace.name.clone(), SlotOwners::new(ranges).unwrap());
            for group in &keyspace.groups {
                let id = GroupId::new(&group.name);
                let nodes = (0..group.members).map(|n| NodeId::new(format!("{}-{n}", group.name)));
                let record = self::record(nodes.collect(), keyspace.config.ack);
                seen.speak(&id, &record);
                directory.groups.insert(id, record);
            }
        }
        register_spares(&desired, &mut directory);
        seen.observed.plane.directory = Some(directory);
        seen.observed.plane.error.clear();
        seen
    }

    /// The members of `record` say what members in sync say.
    pub fn speak(&mut self, group: &GroupId, record: &Record) {
        for member in &record.members {
            let masters = record.master.as_ref() == Some(&member.id);
            let kind = if masters { PositionKind::Master } else { PositionKind::Follower };
            let others = record.members.iter().filter(|m| masters && m.id != member.id);
            let progress = |m: &Member| MemberStatus {
                node: m.id.to_string(),
                heard_ms: 10,
                ..MemberStatus::default()
            };
            let log = LogStatus {
                group: group.to_string(),
                position: Some(Position { kind: kind.into(), epoch: record.epoch.0 }),
                intact: true,
                record: serde_json::to_vec(record).unwrap().into(),
                members: others.map(progress).collect(),
                ..LogStatus::default()
            };
            let status = StatusReply {
                node: member.id.to_string(),
                logs: vec![log],
                disk_free_bytes: 1 << 40,
                ..StatusReply::default()
            };
            self.observed.plane.nodes.insert(member.id.clone(), status);
        }
    }

    /// Changes a group's record and lets its members say so.
    #[must_use]
    pub fn record(mut self, group: &str, change: impl FnOnce(&mut Record)) -> Self {
        let id = GroupId::new(group);
        let mut record = self.observed.plane.record(&id).unwrap();
        change(&mut record);
        record.version = Version(record.version.0 + 1);
        self.speak(&id, &record);
        if id != GroupId::global() {
            let directory = self.observed.plane.directory.as_mut().unwrap();
            directory.groups.insert(id, record);
        }
        self
    }

    /// Changes what the master of `group` says of itself and its members.
    #[must_use]
    pub fn master(mut self, group: &str, change: impl FnOnce(&mut StatusReply)) -> Self {
        let record = self.observed.plane.record(&GroupId::new(group)).unwrap();
        let master = record.master.unwrap();
        change(self.observed.plane.nodes.get_mut(&master).unwrap());
        self
    }

    /// A node does not answer, and its master hears nothing of it.
    #[must_use]
    pub fn silent(mut self, node: &str) -> Self {
        self.observed.plane.nodes.remove(&NodeId::new(node));
        let logs = self.observed.plane.nodes.values_mut().flat_map(|status| &mut status.logs);
        for member in logs.flat_map(|log| &mut log.members).filter(|m| m.node == node) {
            member.heard_ms = 60_000;
        }
        self
    }

    /// Changes a pod.
    #[must_use]
    pub fn pod(mut self, name: &str, change: impl FnOnce(&mut PodSeen)) -> Self {
        change(self.observed.pods.get_mut(name).unwrap());
        self
    }

    /// The machine of a pod takes no more pods.
    #[must_use]
    pub fn drained(mut self, pod: &str) -> Self {
        let machine = self.observed.pods[pod].machine.clone().unwrap();
        self.observed.machines.get_mut(&machine).unwrap().cordoned = true;
        self
    }

    /// The directory says that a node is to be empty.
    #[must_use]
    pub fn told_drained(mut self, node: &str) -> Self {
        let drained = Drained::Node(NodeId::new(node));
        let directory = self.observed.plane.directory.as_mut().unwrap();
        directory.drains.insert(drained, Drain::default());
        self
    }

    /// The global plane does not answer.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.observed.plane =
            PlaneSeen { error: "no answer in time".to_owned(), ..PlaneSeen::default() };
        self
    }
}

/// Every spare has registered and is idle.
fn register_spares(desired: &Desired, directory: &mut Directory) {
    for pool in &desired.pools {
        directory.pools.extend(pool.config.clone().map(|config| (pool.name.clone(), config)));
    }
    for settings in desired.settings.values().filter(|settings| settings.pool.is_some()) {
        let info = NodeInfo {
            incarnation: Incarnation(7),
            life: Life(1),
            role: settings.role,
            addresses: settings.advertise.clone(),
            zone: settings.zone.clone(),
            machine: settings.machine.clone(),
            preferred_keyspace: None,
            preferred_group: None,
            pool: settings.pool.clone(),
            priority: 0,
            make: Make::default(),
            claim: Claim::Idle,
        };
        directory.nodes.insert(settings.node.clone(), info);
        directory.alive.insert(settings.node.clone());
    }
}

/// A folder on a volume.
fn archive() -> ArchivePlace {
    let (claim, folder) = (Some("archive".to_owned()), Some("cairn".to_owned()));
    ArchivePlace { claim, folder, ..ArchivePlace::default() }
}

/// An object as the API server would show it.
fn live(object: &Object) -> DynamicObject {
    let mut live: DynamicObject = serde_json::from_value(object.value.clone()).unwrap();
    live.metadata.uid = Some(format!("u-{}-{}", object.kind.as_str(), object.name));
    live.metadata.generation = Some(1);
    live
}

/// A settled record of epoch 1; the first of `nodes` is master, the last a backup if there are
/// three.
#[must_use]
pub fn record(nodes: Vec<NodeId>, rule: Rule) -> Record {
    let backup = nodes.len() >= 3 && rule != Rule::All;
    let last = nodes.len() - 1;
    let role = |at: usize| match at {
        0 => Role::Master,
        at if at == last && backup => Role::Backup,
        _ => Role::Replica,
    };
    let member = |(at, id): (usize, &NodeId)| Member {
        id: id.clone(),
        incarnation: Incarnation(7),
        role: role(at),
        zone: None,
    };
    Record {
        version: Version(3),
        epoch: Epoch(1),
        master: nodes.first().cloned(),
        members: nodes.iter().enumerate().map(member).collect(),
        rule,
        wanted: u8::try_from(nodes.len()).unwrap(),
        durability: Durability { flushed: false, zones: 1 },
        attempt: Epoch(1),
        open: false,
    }
}
