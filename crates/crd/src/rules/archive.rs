//! Rules of Backups and Restores, and of the places of archives that both have.

use super::{NAME_MESSAGE, Rule, is_name, name_cel, pods, span};
use crate::archive::ArchivePlace;
use crate::backup::{Backup, Retention};
use crate::quantity::span_ms;
use crate::restore::Restore;

const S3_PATTERN: &str = "^s3://[a-z0-9][a-z0-9.-]*[a-z0-9](/[A-Za-z0-9._/-]*)?$";
const ENDPOINT_PATTERN: &str = "^https?://[A-Za-z0-9.:-]+$";
const FOLDER_PATTERN: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$";
const UID_PATTERN: &str = "^[0-9a-f]{32}$";
/// A moment in UTC.
const MOMENT_PATTERN: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
                              T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$";

/// Those of a Backup, in the order of the fields.
#[must_use]
pub fn backup() -> Vec<Rule<Backup>> {
    let name = |b: &Backup| b.metadata.name.clone().unwrap_or_default();
    let mut rules = vec![
        Rule::name(name_cel("self.metadata.name"), NAME_MESSAGE, move |b| is_name(&name(b))),
        keyspace("keyspace", |b: &Backup| &b.spec.keyspace),
        Rule::fixed("keyspace", |b: &Backup| b.spec.keyspace.clone()),
    ];
    rules.extend(place("to", |b: &Backup| &b.spec.to));
    let spans = [
        span("every", "10s", (1_000, 3_600_000), |b: &Backup| Some(&b.spec.every)),
        span("snapshotEvery", "1h", (10_000, 168 * 3_600_000), |b: &Backup| {
            Some(&b.spec.snapshot_every)
        }),
    ];
    rules.extend(spans.into_iter().flatten());
    rules.push(Rule::spec(
        "snapshotEvery",
        "duration(self.snapshotEvery) >= duration(self.every)",
        "must not be shorter than every",
        |b: &Backup| {
            let spans = span_ms(&b.spec.snapshot_every).zip(span_ms(&b.spec.every));
            spans.is_none_or(|(snapshots, log)| snapshots >= log)
        },
    ));
    rules.extend(retention());
    rules.extend(pods("pods", |b: &Backup| &b.spec.pods));
    rules
}

fn retention() -> Vec<Rule<Backup>> {
    type Get = fn(&Retention) -> Option<i32>;
    let counts: [(&str, i32, Get); 2] =
        [("keepLast", 100_000, |r| r.keep_last), ("keepDays", 36_500, |r| r.keep_days)];
    let mut rules = vec![Rule::spec(
        "retention",
        "!has(self.retention) || has(self.retention.keepLast) || has(self.retention.keepDays)",
        "must say keepLast or keepDays; leave it out to keep everything",
        |b: &Backup| b.spec.retention.is_none_or(|r| r.keep_last.or(r.keep_days).is_some()),
    )];
    for (field, most, get) in counts {
        let field = format!("retention.{field}");
        rules.push(Rule::spec(
            &field,
            format!(
                "!has(self.retention) || !has(self.{field}) || \
                 (self.{field} >= 1 && self.{field} <= {most})"
            ),
            format!("must be 1 to {most}"),
            move |b: &Backup| {
                let count = b.spec.retention.as_ref().and_then(get);
                count.is_none_or(|count| (1..=most).contains(&count))
            },
        ));
    }
    rules
}

/// Those of a Restore, in the order of the fields.
#[must_use]
pub fn restore() -> Vec<Rule<Restore>> {
    let name = |r: &Restore| r.metadata.name.clone().unwrap_or_default();
    let mut rules =
        vec![Rule::name(name_cel("self.metadata.name"), NAME_MESSAGE, move |r| is_name(&name(r)))];
    rules.extend(place("source.from", |r: &Restore| &r.spec.source.from));
    rules.extend([
        Rule::spec(
            "source.keyspace",
            name_cel("self.source.keyspace"),
            "must be the name of the keyspace that was backed up",
            |r: &Restore| is_name(&r.spec.source.keyspace),
        ),
        Rule::spec(
            "source.clusterUid",
            format!(
                "!has(self.source.clusterUid) || self.source.clusterUid.matches('{UID_PATTERN}')"
            ),
            "must be 32 hexadecimal digits, as status.uid of the Cluster has them",
            |r: &Restore| r.spec.source.cluster_uid.as_deref().is_none_or(is_uid),
        ),
        Rule::spec(
            "at",
            format!("!has(self.at) || self.at.matches('{MOMENT_PATTERN}')"),
            "must be a moment in UTC, for example 2026-11-28T20:15:00Z",
            |r: &Restore| r.spec.at.as_deref().is_none_or(is_moment),
        ),
        keyspace("into", |r: &Restore| &r.spec.into),
        Rule::fixed("source", |r: &Restore| r.spec.source.clone()),
        Rule::change(
            "at",
            "has(self.at) == has(oldSelf.at) && (!has(self.at) || self.at == oldSelf.at)",
            super::FIXED_MESSAGE,
            |new: &Restore, old: &Restore| new.spec.at == old.spec.at,
        ),
        Rule::fixed("into", |r: &Restore| r.spec.into.clone()),
    ]);
    rules.extend(pods("pods", |r: &Restore| &r.spec.pods));
    rules
}

fn keyspace<T: 'static>(field: &'static str, get: fn(&T) -> &String) -> Rule<T> {
    Rule::spec(
        field,
        name_cel(&format!("self.{field}")),
        "must be the name of a Keyspace in the same namespace",
        move |t| is_name(get(t)),
    )
}

/// Rules of an [`ArchivePlace`] at `field`.
fn place<T: 'static>(field: &str, get: fn(&T) -> &ArchivePlace) -> Vec<Rule<T>> {
    let own = |part: &str| format!("{field}.{part}");
    let has = |part: &str| format!("has(self.{field}.{part})");
    let matches = |part: &str, pattern: &str| {
        format!("!{} || self.{field}.{part}.matches('{pattern}')", has(part))
    };
    let mut rules = vec![
        Rule::spec(
            field,
            format!("{} != {}", has("s3"), has("claim")),
            "must have exactly one of s3 and claim",
            move |t| get(t).s3.is_some() != get(t).claim.is_some(),
        ),
        Rule::spec(
            &own("s3"),
            matches("s3", S3_PATTERN),
            "must be s3://bucket or s3://bucket/prefix",
            move |t| get(t).s3.as_deref().is_none_or(is_s3),
        ),
        Rule::spec(
            &own("endpoint"),
            matches("endpoint", ENDPOINT_PATTERN),
            "must be an address without a path, for example https://minio:9000",
            move |t| get(t).endpoint.as_deref().is_none_or(is_endpoint),
        ),
        Rule::spec(
            &own("folder"),
            matches("folder", FOLDER_PATTERN),
            "must be a path below the volume's root, for example backups/cairn",
            move |t| get(t).folder.as_deref().is_none_or(is_folder),
        ),
        Rule::spec(
            &own("folder"),
            format!("!{} || {}", has("folder"), has("claim")),
            "needs a claim: a prefix in S3-compatible storage is a part of s3",
            move |t| get(t).folder.is_none() || get(t).claim.is_some(),
        ),
    ];
    type Get = fn(&ArchivePlace) -> Option<&String>;
    let of_s3: [(&str, Get); 3] = [
        ("endpoint", |p| p.endpoint.as_ref()),
        ("credentialsSecret", |p| p.credentials_secret.as_ref()),
        ("authoritySecret", |p| p.authority_secret.as_ref()),
    ];
    for (part, text) in of_s3 {
        rules.push(Rule::spec(
            &own(part),
            format!("!{} || {}", has(part), has("s3")),
            "needs s3: a claim's volume has none",
            move |t| text(get(t)).is_none() || get(t).s3.is_some(),
        ));
    }
    let names: [(&str, Get); 4] = [
        ("claim", |p| p.claim.as_ref()),
        of_s3[1],
        of_s3[2],
        ("encryptionKeySecret", |p| p.encryption_key_secret.as_ref()),
    ];
    for (part, text) in names {
        rules.push(Rule::spec(
            &own(part),
            format!("!{} || self.{field}.{part}.size() >= 1", has(part)),
            "must not be empty: write a name, or leave it out",
            move |t| text(get(t)).is_none_or(|name| !name.is_empty()),
        ));
    }
    rules
}

fn is_s3(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("s3://") else { return false };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = bucket.as_bytes();
    let ends = bytes.len() >= 2 && end(bytes[0]) && end(bytes[bytes.len() - 1]);
    ends && bytes.iter().all(|b| end(*b) || b".-".contains(b))
        && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let inner = |b: u8| b.is_ascii_alphanumeric() || b".:-".contains(&b);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(inner))
}

fn is_folder(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(inner);
    text.split('/').all(part)
}

fn is_uid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_moment(text: &str) -> bool {
    let number = |from: usize, most: u32| {
        let part = text.get(from..from + 2).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse::<u32>().ok()).filter(|n| *n <= most)
    };
    let signs = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let digits = text.get(..4).is_some_and(|year| year.bytes().all(|b| b.is_ascii_digit()));
    let shaped =
        signs.iter().all(|(at, sign)| text.get(*at..).is_some_and(|t| t.starts_with(*sign)));
    let day = number(5, 12).is_some_and(|n| n > 0) && number(8, 31).is_some_and(|n| n > 0);
    let time = [(11, 23), (14, 59), (17, 59)].iter().all(|(at, most)| number(*at, *most).is_some());
    let rest = text.get(19..).and_then(|rest| rest.strip_suffix('Z'));
    let fraction = rest.is_some_and(|rest| {
        let digits = rest.strip_prefix('.').unwrap_or("");
        rest.is_empty()
            || ((1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
    });
    digits && shaped && day && time && fraction
}
