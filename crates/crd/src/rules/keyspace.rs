//! Rules of a Keyspace.

use super::spare_pool::size_class;
use super::{NAME_MESSAGE, Rule, is_name, log, name_cel, pods, size, span, storage, tls};
use crate::keyspace::{Keyspace, KeyspaceLimits};
use crate::quantity::size_bytes;
use crate::shared::Ack;

/// Names whose groups and nodes would be mistaken for those of the global plane.
const RESERVED: [&str; 4] = ["acceptor", "checkpoint", "global", "spare"];
/// The letters of `notify-keyspace-events`.
const EVENTS: &str = "Ag$lshzxeKEtmdn";
/// The most members a group has.
const MEMBERS_MAX: i64 = 7;

/// All of them, in the order of the fields.
#[must_use]
pub fn keyspace() -> Vec<Rule<Keyspace>> {
    let mut rules = names();
    rules.extend([
        Rule::range("groups", 1, 1024, |k: &Keyspace| k.spec.groups),
        Rule::range("replicas", 0, 6, |k: &Keyspace| k.spec.replicas),
        Rule::range("backups", 0, 2, |k: &Keyspace| k.spec.backups),
    ]);
    rules.extend(autoscale());
    rules.extend(members());
    rules.extend(limits());
    rules.extend(auth());
    rules.extend(tls::of_keyspace());
    rules.extend(size_class(|k: &Keyspace| k.spec.size_class.as_deref()));
    rules.extend(storage(|k: &Keyspace| &k.spec.storage));
    rules.extend(span("snapshotInterval", "30s or 5m", (1000, 168 * 3_600_000), |k: &Keyspace| {
        k.spec.snapshot_interval.as_deref()
    }));
    rules.extend(span("checkInterval", "30m or 1h", (1000, 168 * 3_600_000), |k: &Keyspace| {
        k.spec.check_interval.as_deref()
    }));
    rules.extend(span("mastersInterval", "30s or 1m", (1000, 168 * 3_600_000), |k: &Keyspace| {
        k.spec.masters_interval.as_deref()
    }));
    rules.extend(log::rules(|k: &Keyspace| &k.spec.log));
    rules.extend(pods("pods", |k: &Keyspace| &k.spec.pods));
    rules
}

fn names() -> Vec<Rule<Keyspace>> {
    let name = |k: &Keyspace| k.metadata.name.clone().unwrap_or_default();
    let reserved = RESERVED.map(|n| format!("'{n}'")).join(", ");
    vec![
        Rule::name(name_cel("self.metadata.name"), NAME_MESSAGE, move |k| is_name(&name(k))),
        Rule::name(
            format!("!(self.metadata.name in [{reserved}])"),
            "must not be acceptor, checkpoint, global or spare: choose another name",
            move |k| !RESERVED.contains(&name(k).as_str()),
        ),
        Rule::name(
            "!self.metadata.name.matches('-[0-9]+$')",
            "must not end in - and digits, as the names of groups do: choose another name",
            move |k| !ends_like_a_group(&name(k)),
        ),
        Rule::spec(
            "cluster",
            name_cel("self.cluster"),
            "must be the name of a Cluster in the same namespace",
            |k: &Keyspace| is_name(&k.spec.cluster),
        ),
        Rule::fixed("cluster", |k: &Keyspace| k.spec.cluster.clone()),
    ]
}

fn autoscale() -> Vec<Rule<Keyspace>> {
    let of = |k: &Keyspace| k.spec.autoscale.clone();
    let mut rules = vec![
        Rule::spec(
            "autoscale.min",
            "!has(self.autoscale) || (self.autoscale.min >= 1 && \
             self.autoscale.min <= self.autoscale.max)",
            "must be 1 to autoscale.max",
            move |k: &Keyspace| of(k).is_none_or(|a| (1..=a.max).contains(&a.min)),
        ),
        Rule::spec(
            "autoscale.max",
            "!has(self.autoscale) || self.autoscale.max <= 1024",
            "must be at most 1024",
            move |k: &Keyspace| of(k).is_none_or(|a| a.max <= 1024),
        ),
        Rule::spec(
            "autoscale",
            "!has(self.autoscale) || has(self.autoscale.operationsPerSecond) || \
             has(self.autoscale.memory)",
            "must have operationsPerSecond, memory or both: what one group should carry",
            move |k: &Keyspace| {
                of(k).is_none_or(|a| a.operations_per_second.is_some() || a.memory.is_some())
            },
        ),
        Rule::spec(
            "autoscale.operationsPerSecond",
            "!has(self.autoscale) || !has(self.autoscale.operationsPerSecond) || \
             (self.autoscale.operationsPerSecond >= 1 && \
             self.autoscale.operationsPerSecond <= 100000000)",
            "must be 1 to 100000000",
            move |k: &Keyspace| {
                let asked = of(k).and_then(|a| a.operations_per_second);
                asked.is_none_or(|n| (1..=100_000_000).contains(&n))
            },
        ),
    ];
    rules.extend(within(
        "autoscale",
        size("autoscale.memory", ("1Mi", "999999Gi"), |k: &Keyspace| {
            k.spec.autoscale.as_ref()?.memory.as_deref()
        }),
    ));
    let window = (1_000, 24 * 3_600_000);
    rules.extend(within(
        "autoscale",
        span("autoscale.stabilization", "1m or 5m", window, |k: &Keyspace| {
            k.spec.autoscale.as_ref()?.stabilization.as_deref()
        }),
    ));
    rules
}

/// Rules about fields of an object that may be absent itself.
fn within(object: &str, rules: [Rule<Keyspace>; 2]) -> [Rule<Keyspace>; 2] {
    rules.map(|rule| rule.when(&format!("has(self.{object})")))
}

fn ends_like_a_group(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.len() < name.len() && stem.ends_with('-')
}

fn members() -> Vec<Rule<Keyspace>> {
    let count = "1 + self.replicas + self.backups";
    vec![
        Rule::spec(
            "replicas",
            format!("{count} <= {MEMBERS_MAX}"),
            "must leave a group at most 7 members (1 + replicas + backups)",
            |k: &Keyspace| k.spec.members() <= MEMBERS_MAX,
        ),
        Rule::spec(
            "durability.ack",
            format!("self.durability.ack != 'one' || ({count} >= 2 && {count} <= 3)"),
            "`one` needs 2 or 3 members (1 + replicas + backups): write replicas and backups \
             that sum to 1 or 2, or ack: quorum",
            |k: &Keyspace| k.spec.durability.ack != Ack::One || (2..=3).contains(&k.spec.members()),
        ),
        Rule::spec(
            "durability.ack",
            format!("!(self.durability.ack in ['quorum', 'all']) || {count} >= 2"),
            "`quorum` and `all` need at least 2 members (1 + replicas + backups): write more \
             replicas or backups, or ack: async",
            |k: &Keyspace| {
                !matches!(k.spec.durability.ack, Ack::Quorum | Ack::All) || k.spec.members() >= 2
            },
        ),
        Rule::range("durability.zones", 1, 3, |k: &Keyspace| k.spec.durability.zones),
        Rule::spec(
            "durability.zones",
            format!("self.durability.zones <= {count}"),
            "must not be more than a group has members (1 + replicas + backups)",
            |k: &Keyspace| i64::from(k.spec.durability.zones) <= k.spec.members(),
        ),
        Rule::spec(
            "durability.zones",
            "self.durability.ack != 'async' || self.durability.zones == 1",
            "must be 1 with ack: async, which answers before anybody has a copy",
            |k: &Keyspace| k.spec.durability.ack != Ack::Async || k.spec.durability.zones == 1,
        ),
    ]
}

type Size = fn(&KeyspaceLimits) -> Option<&str>;
type Count = fn(&KeyspaceLimits) -> Option<i32>;

/// Whole numbers, each from 1 to something.
const COUNTS: [(&str, i32, Count); 4] = [
    ("maxclients", 1_000_000, |l| l.maxclients),
    ("maxmemorySamples", 64, |l| l.maxmemory_samples),
    ("clientCommandsPerSecond", 10_000_000, |l| l.client_commands_per_second),
    ("userCommandsPerSecond", 10_000_000, |l| l.user_commands_per_second),
];

fn count((field, most, get): (&str, i32, Count)) -> Rule<Keyspace> {
    let field = format!("limits.{field}");
    Rule::spec(
        &field,
        format!("!has(self.{field}) || (self.{field} >= 1 && self.{field} <= {most})"),
        format!("must be 1 to {most}"),
        move |k: &Keyspace| get(&k.spec.limits).is_none_or(|n| (1..=most).contains(&n)),
    )
}

fn limits() -> Vec<Rule<Keyspace>> {
    let sizes: [(&str, &str, &str, Size); 4] = [
        ("maxmemory", "1Mi", "999999Ti", |l| l.maxmemory.as_deref()),
        ("outputBuffer", "64Ki", "4Gi", |l| l.output_buffer.as_deref()),
        ("queryBuffer", "64Ki", "4Gi", |l| l.query_buffer.as_deref()),
        ("maxValue", "1Ki", "32Mi", |l| l.max_value.as_deref()),
    ];
    let mut rules: Vec<_> = COUNTS.into_iter().map(count).collect();
    rules.push(Rule::spec(
        "notifyKeyspaceEvents",
        format!(
            "!has(self.notifyKeyspaceEvents) || self.notifyKeyspaceEvents.matches('^[{EVENTS}]*$')"
        ),
        format!("must be letters out of {EVENTS}"),
        |k: &Keyspace| {
            let given = k.spec.notify_keyspace_events.as_deref().unwrap_or_default();
            given.chars().all(|letter| EVENTS.contains(letter))
        },
    ));
    for (field, least, most, get) in sizes {
        let field = format!("limits.{field}");
        rules.extend(size(&field, (least, most), move |k: &Keyspace| get(&k.spec.limits)));
    }
    for (field, get) in [("outputBuffer", sizes[1].3), ("queryBuffer", sizes[2].3)] {
        rules.push(larger_than_a_value(field, get));
    }
    rules
}

/// A buffer must hold more than one value.
fn larger_than_a_value(field: &str, get: Size) -> Rule<Keyspace> {
    let in_force = |field: &str, default: &str| {
        let field = format!("self.limits.{field}");
        format!("quantity(has({field}) ? {field} : '{default}')")
    };
    Rule::spec(
        &format!("limits.{field}"),
        format!("{}.isGreaterThan({})", in_force(field, "64Mi"), in_force("maxValue", "32Mi")),
        "must be more than limits.maxValue (32Mi if absent): write more, or a smaller maxValue",
        move |k: &Keyspace| {
            let limits = &k.spec.limits;
            let buffer = size_bytes(get(limits).unwrap_or("64Mi"));
            let value = size_bytes(limits.max_value.as_deref().unwrap_or("32Mi"));
            buffer.is_none() || value.is_none() || buffer > value
        },
    )
}

fn auth() -> Vec<Rule<Keyspace>> {
    let of = |k: &Keyspace| k.spec.auth.clone().unwrap_or_default();
    vec![
        Rule::spec(
            "auth",
            "!has(self.auth) || has(self.auth.password) != has(self.auth.passwordSecretRef) || \
             (!has(self.auth.password) && has(self.auth.users) && self.auth.users.size() >= 1)",
            "must have exactly one of passwordSecretRef and password; or users, and at most \
             passwordSecretRef or password beside them",
            |k: &Keyspace| {
                k.spec.auth.as_ref().is_none_or(|a| {
                    let neither = a.password.is_none() && !a.users.is_empty();
                    a.password.is_some() != a.password_secret_ref.is_some() || neither
                })
            },
        ),
        Rule::spec(
            "auth.password",
            "!has(self.auth) || !has(self.auth.password) || self.auth.password.size() >= 1",
            "must not be empty: write a password, or leave auth out",
            move |k: &Keyspace| of(k).password.is_none_or(|p| !p.is_empty()),
        ),
        Rule::spec(
            "auth.users",
            format!(
                "!has(self.auth) || !has(self.auth.users) || \
                 self.auth.users.all(u, u.name.matches('{USER_PATTERN}'))"
            ),
            "must have names of letters, digits, -, _ and .",
            move |k: &Keyspace| of(k).users.iter().all(|user| is_user(&user.name)),
        ),
    ]
}

const USER_PATTERN: &str = "^[A-Za-z0-9._-]+$";

fn is_user(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty() && name.bytes().all(ok)
}
