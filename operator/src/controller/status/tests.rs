//! Every condition and every reason, each produced by what is seen.

mod archives;
mod pools;

use super::{Statuses, statuses, without_cluster};
use crate::controller::steps;
use crate::testing::{NOW_SEC, Seen};
use cairn_crd::shared::Condition;
use cairn_crd::{ConditionType, Reason};
use cairn_logic::ids::{GroupId, NodeId};
use std::collections::BTreeSet;

fn of(seen: &Seen) -> Statuses {
    taken(seen, &[])
}

fn taken(seen: &Seen, taken: &[String]) -> Statuses {
    let (desired, objects) = (seen.desired(), seen.objects());
    let steps = steps::next(&desired, &seen.observed, &objects);
    statuses(&desired, &seen.observed, &steps, taken)
}

fn find(conditions: &[Condition], about: ConditionType) -> (&str, &str) {
    let found = conditions.iter().find(|c| c.type_ == about.as_str()).unwrap();
    (&found.status, &found.reason)
}

fn cluster(seen: &Seen, about: ConditionType) -> (String, String) {
    let (status, reason) = (
        find(&of(seen).cluster.conditions, about).0.to_owned(),
        find(&of(seen).cluster.conditions, about).1.to_owned(),
    );
    (status, reason)
}

fn keyspace(seen: &Seen, about: ConditionType) -> (String, String) {
    let statuses = of(seen);
    let (status, reason) = find(&statuses.keyspaces["tweets"].conditions, about);
    (status.to_owned(), reason.to_owned())
}

fn group(seen: &Seen, about: ConditionType) -> (String, String) {
    let statuses = of(seen);
    let (status, reason) = find(&statuses.groups["tweets-0"].conditions, about);
    (status.to_owned(), reason.to_owned())
}

fn pair(status: &str, reason: Reason) -> (String, String) {
    (status.to_owned(), reason.as_str().to_owned())
}

type Look = fn(&Seen, ConditionType) -> (String, String);

/// A row: what is seen, of whom, which condition, its status and reason.
struct Row(&'static str, Seen, Look, ConditionType, &'static str, Reason);

fn rows() -> Vec<Row> {
    let mut rows = beginnings();
    rows.extend(lacks());
    rows.extend(logs());
    rows.extend(changes());
    rows.extend(scalings());
    rows.extend(archives::rows());
    rows.extend(pools::rows());
    rows
}

fn beginnings() -> Vec<Row> {
    use ConditionType::{NeedsPerson, Progressing, Ready, WritesRefused};
    let whole = || Seen::new().whole();
    let unformed = || {
        let mut seen = whole();
        let directory = seen.observed.plane.directory.as_mut().unwrap();
        directory.groups.clear();
        directory.slots.clear();
        seen
    };
    let issuer = || {
        let mut seen = Seen::new();
        seen.observed.identity.as_mut().unwrap().tls = true;
        let issuer = serde_json::from_value(serde_json::json!({ "name": "ca" })).unwrap();
        seen.cluster(|c| c.spec.tls.issuer_ref = Some(issuer))
    };
    let late = || Seen::new().grouped().tls().whole().loaded().days_later(80);
    let named = || {
        let tls = serde_json::from_value(serde_json::json!({ "secretName": "web" })).unwrap();
        Seen::new().keyspace(|k| k.spec.tls = Some(tls))
    };
    vec![
        Row("whole", whole(), cluster, Ready, "True", Reason::AllServing),
        Row("whole", whole(), keyspace, Ready, "True", Reason::AllServing),
        Row("whole", whole(), group, Ready, "True", Reason::AllServing),
        Row("whole", whole(), cluster, Progressing, "False", Reason::Settled),
        Row("whole", whole(), keyspace, NeedsPerson, "False", Reason::Settled),
        Row("new", Seen::new(), cluster, Ready, "False", Reason::Founding),
        Row("new", Seen::new().grouped(), group, Ready, "False", Reason::Founding),
        Row("unformed", unformed(), group, Ready, "False", Reason::WaitingForNodes),
        Row("not renewed", late(), cluster, NeedsPerson, "True", Reason::CertificateEnds),
        Row("not renewed", late(), keyspace, NeedsPerson, "True", Reason::CertificateEnds),
        Row("no issuer", issuer(), cluster, Progressing, "True", Reason::CertificatesPending),
        Row("no Secret", named(), keyspace, Progressing, "True", Reason::CertificatesPending),
        Row("unformed", unformed(), keyspace, Ready, "False", Reason::WaitingForNodes),
        Row("pending", pending(), cluster, Progressing, "True", Reason::PodsPending),
        Row("drain", drained(), group, Progressing, "True", Reason::Draining),
        Row("deaf", whole().deaf(), cluster, Ready, "Unknown", Reason::PlaneUnreachable),
        Row("deaf", whole().deaf(), group, Ready, "Unknown", Reason::PlaneUnreachable),
        Row("open", opened(), group, Ready, "False", Reason::WaitingForMaster),
        Row("open", opened(), keyspace, WritesRefused, "True", Reason::WaitingForMaster),
        Row("unplaced", unplaced(), keyspace, Ready, "False", Reason::SlotsUnserved),
    ]
}

fn pending() -> Seen {
    Seen::new().applied().pod("demo-global-0", |pod| {
        pod.running = false;
        pod.waits = "ImagePullBackOff: no such image".to_owned();
    })
}

fn drained() -> Seen {
    Seen::new().whole().told_drained("tweets-0-1")
}

fn opened() -> Seen {
    Seen::new().whole().record("tweets-0", |record| record.open = true)
}

fn unplaced() -> Seen {
    let mut seen = Seen::new().whole();
    seen.observed.plane.directory.as_mut().unwrap().slots.clear();
    seen
}

fn without(seen: Seen, group: &str, keep: usize) -> Seen {
    seen.record(group, |record| record.members.truncate(keep))
}

/// Its members are in one of two zones.
fn narrow() -> Seen {
    Seen::new().whole().record("tweets-0", |record| record.durability.zones = 2)
}

/// Two zones are asked for, which its members are not in yet.
fn unspread() -> Seen {
    Seen::new().keyspace(|k| k.spec.durability.zones = 2).whole()
}

fn lacks() -> Vec<Row> {
    use ConditionType::{Degraded, NeedsPerson, Ready, WritesRefused};
    let whole = || Seen::new().whole();
    let silent = || whole().silent("tweets-0-1");
    let alone = || without(whole(), "tweets-0", 1);
    let global_alone = || without(whole(), "global", 1);
    let memory = || {
        let seen = Seen::new().keyspace(|k| k.spec.limits.maxmemory = Some("1Gi".to_owned()));
        seen.whole().master("tweets-0", |status| {
            status.load =
                Some(cairn_wire::peer::pb::Load { used_bytes: 1 << 30, ..Default::default() });
        })
    };
    vec![
        Row("silent", silent(), group, Degraded, "True", Reason::MemberMissing),
        Row("silent", silent(), keyspace, Ready, "True", Reason::ServingWithLess),
        Row("alone", alone(), group, Degraded, "True", Reason::SingleCopy),
        Row("alone", alone(), group, WritesRefused, "True", Reason::TooFewMembers),
        Row("zones", narrow(), group, WritesRefused, "True", Reason::TooFewZones),
        Row("zones", unspread(), group, Degraded, "True", Reason::TooFewZones),
        Row("global alone", global_alone(), cluster, Degraded, "True", Reason::SingleCopy),
        Row(
            "acceptor",
            whole().silent("demo-acceptor-0"),
            cluster,
            Degraded,
            "True",
            Reason::AcceptorMissing,
        ),
        Row("tails", says("CutTailsFull"), group, NeedsPerson, "True", Reason::CutTailsFull),
        Row("disk", says("DiskLow"), group, WritesRefused, "True", Reason::DiskNearlyFull),
        Row("memory", memory(), group, WritesRefused, "True", Reason::MemoryFull),
        Row(
            "loss",
            alarmed("DataLossPossible in attempt 4"),
            group,
            NeedsPerson,
            "True",
            Reason::DataLossPossible,
        ),
        Row(
            "behind",
            alarmed("DirectoryBehind: tweets-0-1 sealed 9"),
            keyspace,
            NeedsPerson,
            "True",
            Reason::DirectoryBehind,
        ),
        Row("no record", forgotten(), cluster, NeedsPerson, "True", Reason::RecordMissing),
    ]
}

/// The global master says something of itself.
fn plane(reason: &str) -> Seen {
    checkpointed().master("global", |status| {
        status.conditions.push(cairn_wire::peer::pb::Condition {
            reason: reason.to_owned(),
            ..Default::default()
        });
    })
}

/// Two checkpoint nodes, the first in the acceptor's seat.
fn checkpointed() -> Seen {
    Seen::new().checkpoints(2).whole()
}

fn unfollowed() -> Seen {
    checkpointed().pod("demo-checkpoint-1", |pod| pod.ready = false)
}

/// What a member of the group says of itself.
fn says(reason: &str) -> Seen {
    Seen::new().whole().master("tweets-0", |status| {
        status.conditions.push(cairn_wire::peer::pb::Condition {
            reason: reason.to_owned(),
            ..Default::default()
        });
    })
}

/// Logs that become too long, and checkpoint nodes that do not follow.
fn logs() -> Vec<Row> {
    use ConditionType::{Degraded, NeedsPerson, WritesRefused};
    vec![
        Row("far", says("LogNearBound"), group, Degraded, "True", Reason::LogNearBound),
        Row("far", says("LogNearBound"), keyspace, Degraded, "True", Reason::LogNearBound),
        Row("full", says("LogFull"), group, WritesRefused, "True", Reason::LogFull),
        Row("copy", says("CopiesDiffer"), group, Degraded, "True", Reason::CopiesDiffer),
        Row("copy", says("CopiesDiffer"), keyspace, Degraded, "True", Reason::CopiesDiffer),
        Row("differ", plane("CopiesDiffer"), cluster, NeedsPerson, "True", Reason::CopiesDiffer),
        Row("plane full", plane("LogFull"), cluster, WritesRefused, "True", Reason::LogFull),
        Row("low", plane("DiskLow"), cluster, WritesRefused, "True", Reason::DiskNearlyFull),
        Row("plane far", plane("LogNearBound"), cluster, Degraded, "True", Reason::LogNearBound),
        Row("no checkpoint", unfollowed(), cluster, Degraded, "True", Reason::CheckpointMissing),
        Row("checkpoint", checkpointed(), cluster, Degraded, "False", Reason::AllServing),
        Row(
            "the acceptor",
            checkpointed().silent("demo-checkpoint-0"),
            cluster,
            Degraded,
            "True",
            Reason::AcceptorMissing,
        ),
    ]
}

/// A keyspace that is scaled by its load; the global master may say that it may not have enough.
fn scaled(limited: Option<&str>) -> Seen {
    let policy = serde_json::json!({ "max": 4, "memory": "2Gi" });
    let policy = serde_json::from_value(policy).unwrap();
    let mut seen = Seen::new().keyspace(|k| k.spec.autoscale = Some(policy)).whole();
    let master = seen.observed.plane.nodes.get_mut(&NodeId::new("demo-global-0")).unwrap();
    master.conditions.extend(limited.map(|group| cairn_wire::peer::pb::Condition {
        reason: "AutoscaleLimited".to_owned(),
        group: group.to_owned(),
        message: "it needs more".to_owned(),
    }));
    seen
}

fn scalings() -> Vec<Row> {
    use ConditionType::AutoscaleLimited as Limited;
    let (more, others) = (scaled(Some("tweets-3")), scaled(Some("likes-3")));
    let unknown = scaled(None).deaf();
    vec![
        Row("enough", scaled(None), keyspace, Limited, "False", Reason::LoadWithinMax),
        Row("another's", others, keyspace, Limited, "False", Reason::LoadWithinMax),
        Row("more", more, keyspace, Limited, "True", Reason::LoadAboveMax),
        Row("deaf", unknown, keyspace, Limited, "Unknown", Reason::PlaneUnreachable),
    ]
}

fn alarmed(line: &str) -> Seen {
    let mut seen = Seen::new().whole();
    seen.observed.plane.alarms.insert(GroupId::new("tweets-0"), vec![line.to_owned()]);
    seen
}

/// Everybody answers and nobody knows the global record.
fn forgotten() -> Seen {
    let mut seen = Seen::new().whole();
    for node in ["demo-global-0", "demo-global-1"] {
        let status = seen.observed.plane.nodes.get_mut(&NodeId::new(node)).unwrap();
        status.logs[0].record = Vec::new().into();
        status.logs[0].position = None;
    }
    seen.observed.plane.directory = None;
    seen
}

fn changes() -> Vec<Row> {
    use ConditionType::{Progressing, Ready};
    let whole = || Seen::new().whole();
    let rolled = || whole().keyspace(|k| k.spec.pods.image = Some("cairn:2".to_owned()));
    let stuck = || {
        rolled().pod("tweets-0-2", |pod| {
            pod.template = "new".to_owned();
            pod.ready = false;
        })
    };
    let fewer = || {
        let three = whole();
        three.keyspace(|k| (k.spec.replicas, k.spec.backups) = (1, 0))
    };
    let growing = || {
        let mut seen = whole().keyspace(|k| k.spec.storage.size = "20Gi".to_owned());
        let claim = crate::controller::observed::ClaimSeen {
            wanted: "20Gi".to_owned(),
            there: "10Gi".to_owned(),
            cluster_uid: None,
        };
        seen.observed.claims.insert("data-tweets-0-0".to_owned(), claim);
        seen
    };
    vec![
        Row("rolling", rolled(), keyspace, Progressing, "True", Reason::RollingOut),
        Row("stuck", with_new_template(stuck()), group, Progressing, "False", Reason::RolloutStuck),
        Row("fewer", fewer(), keyspace, Progressing, "True", Reason::Scaling),
        Row("growing", growing(), keyspace, Progressing, "True", Reason::VolumesGrowing),
        Row(
            "invalid",
            whole().keyspace(|k| k.spec.groups = 0),
            keyspace,
            Ready,
            "False",
            Reason::SpecInvalid,
        ),
    ]
}

/// The set has taken the new template, and `tweets-0-2` was made from it.
fn with_new_template(mut seen: Seen) -> Seen {
    let objects = seen.objects();
    let set = objects.iter().find(|o| o.name == "tweets-0" && o.kind.as_str() == "StatefulSet");
    let set = set.unwrap();
    let template = set.value["spec"]["template"].clone();
    let live = seen.observed.live.get_mut(&set.id()).unwrap();
    std::sync::Arc::make_mut(live).data["spec"]["template"] = template.clone();
    let hash = template["metadata"]["annotations"][crate::names::TEMPLATE].clone();
    let pod = seen.observed.pods.get_mut("tweets-0-2").unwrap();
    pod.template = hash.as_str().unwrap().to_owned();
    seen
}

#[test]
fn each_thing_that_is_seen_has_its_condition_and_reason() {
    for Row(what, seen, look, about, status, reason) in rows() {
        let found = look(&seen, about);
        assert_eq!(found, pair(status, reason), "{what}: {about}");
    }
}

#[test]
fn certificates_are_shown_with_who_has_loaded_them() {
    let seen = Seen::new().grouped().tls().whole();
    let figures = |seen: &Seen| {
        let statuses = of(seen);
        let all = statuses.cluster.certificates.into_iter();
        let all = all.chain(statuses.keyspaces["tweets"].certificates.clone());
        all.map(|c| (c.secret, c.loaded, c.nodes)).collect::<Vec<_>>()
    };
    let each = |loaded: [i32; 3]| {
        let names = ["demo-acceptor-tls", "demo-global-tls", "tweets-nodes-tls"];
        let nodes = [1, 2, 3];
        [0, 1, 2].map(|at| (names[at].to_owned(), loaded[at], nodes[at])).to_vec()
    };
    assert_eq!(figures(&seen), each([0, 0, 0]));
    let seen = seen.loaded();
    assert_eq!(figures(&seen), each([1, 2, 3]));
    let later = seen.clone().applied().days_later(70).certified();
    assert_eq!(figures(&later), each([0, 0, 0]));
    assert_eq!(figures(&seen.silent("demo-global-1")), each([1, 1, 3]));
    let certificate = &of(&later).keyspaces["tweets"].certificates[0];
    assert_eq!(certificate.digest.len(), 12);
    assert_eq!(certificate.not_after.as_deref(), Some("1970-06-21T13:46:40Z"));
}

#[test]
fn autoscalers_find_the_pods_of_a_keyspace_by_its_status() {
    let seen = Seen::new().whole();
    let status = of(&seen).keyspaces["tweets"].clone();
    assert_eq!(status.groups, 1);
    let selector = status.selector.unwrap();
    let (label, value) = selector.split_once('=').unwrap();
    let objects = seen.objects();
    let set = objects.iter().find(|o| o.name == "tweets-0" && o.kind.as_str() == "StatefulSet");
    assert_eq!(set.unwrap().value["spec"]["template"]["metadata"]["labels"][label], value);
}

#[test]
fn names_that_are_taken_need_a_person() {
    let statuses = taken(&Seen::new().whole(), &["Service tweets".to_owned()]);
    let found = find(&statuses.cluster.conditions, ConditionType::NeedsPerson);
    assert_eq!(found, ("True", Reason::NameTaken.as_str()));
}

#[test]
fn a_keyspace_without_its_cluster_says_so() {
    let seen = Seen::new();
    let status = without_cluster(&seen.observed.keyspaces[0], NOW_SEC);
    let found = find(&status.conditions, ConditionType::Ready);
    assert_eq!(found, ("False", Reason::ClusterMissing.as_str()));
}

#[test]
fn every_reason_is_produced_by_a_test() {
    let mut produced: BTreeSet<Reason> = rows().into_iter().map(|row| row.5).collect();
    // By the two tests above.
    produced.extend([Reason::NameTaken, Reason::ClusterMissing]);
    for reason in Reason::ALL {
        assert!(produced.contains(reason), "no test produces {reason}");
    }
}

#[test]
fn a_condition_that_stays_keeps_its_moment_and_follows_the_generation() {
    let mut seen = Seen::new().whole();
    let first = of(&seen).cluster;
    seen.observed.now_sec += 60;
    let seen = seen.cluster(|c| {
        c.status = Some(first.clone());
        c.metadata.generation = Some(2);
    });
    let second = of(&seen).cluster;
    let ready = |status: &cairn_crd::ClusterStatus| status.conditions[0].clone();
    assert_eq!(ready(&first).last_transition_time, ready(&second).last_transition_time);
    assert_eq!(ready(&second).observed_generation, Some(2));
    assert_eq!(second.observed_generation, Some(2));
}

#[test]
fn a_whole_cluster_says_what_it_is() {
    let statuses = of(&Seen::new().whole());
    let cluster = &statuses.cluster;
    assert_eq!(cluster.master.as_deref(), Some("demo-global-0"));
    assert_eq!((cluster.epoch, cluster.ready_nodes, cluster.founded), (Some(1), 2, true));
    let followed = |seen: &Seen| of(seen).cluster.ready_checkpoints;
    assert_eq!((followed(&checkpointed()), followed(&unfollowed())), (2, 1));
    let keyspace = &statuses.keyspaces["tweets"];
    assert_eq!((keyspace.groups, keyspace.ready_groups, keyspace.slots_served), (1, 1, 16384));
    let group = &statuses.groups["tweets-0"];
    let roles: Vec<&str> = group.members.iter().map(|m| m.role.as_str()).collect();
    assert_eq!(roles, ["master", "replica", "backup"]);
    assert!(group.members.iter().all(|m| m.zone.is_some() && m.machine.is_some()));
}

#[test]
fn what_was_seen_last_stays_while_nobody_answers() {
    let seen = Seen::new().whole();
    let before = of(&seen).groups["tweets-0"].clone();
    let mut deaf = seen.deaf();
    let group = deaf.observed.groups.get_mut("tweets-0").unwrap();
    std::sync::Arc::make_mut(group).status = Some(before.clone());
    let after = of(&deaf).groups["tweets-0"].clone();
    assert_eq!((after.master, after.members), (before.master, before.members));
}
