//! A Keyspace as the directory holds it.

use crate::Resources;
use cairn_crd::Keyspace;
use cairn_crd::keyspace::{Autoscale, EvictionPolicy as Wanted, ReadMode, SecretKey};
use cairn_crd::quantity::{size_bytes, span_ms};
use cairn_crd::shared::Ack;
use cairn_logic::autoscale::Policy;
use cairn_logic::record::{Durability, Rule};
use cairn_settings::directory_keys::{KeyspaceConfig, KeyspaceLimits, masters_interval_ms};
use cairn_settings::{EvictionPolicy, Reads};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What the planner is to bring about for a keyspace that passed [`crate::check`].
#[must_use]
pub fn keyspace_config(keyspace: &Keyspace, resources: &Resources) -> KeyspaceConfig {
    let spec = &keyspace.spec;
    let limits = &spec.limits;
    let interval = spec.masters_interval.as_deref().and_then(span_ms);
    let bytes = |text: &Option<String>| text.as_deref().and_then(size_bytes);
    let count = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok());
    KeyspaceConfig {
        groups: u16::try_from(spec.groups).unwrap_or(u16::MAX),
        replicas: u8::try_from(spec.replicas).unwrap_or(u8::MAX),
        backups: u8::try_from(spec.backups).unwrap_or(u8::MAX),
        ack: match spec.durability.ack {
            Ack::Async => Rule::Async,
            Ack::One => Rule::One,
            Ack::Quorum => Rule::Quorum,
            Ack::All => Rule::All,
        },
        durability: Durability {
            flushed: spec.durability.flushed,
            zones: u8::try_from(spec.durability.zones).unwrap_or(1),
        },
        reads: match spec.reads {
            ReadMode::Lease => Reads::Lease,
            ReadMode::Confirm => Reads::Confirm,
        },
        limits: KeyspaceLimits {
            maxclients: count(limits.maxclients),
            maxmemory_bytes: bytes(&limits.maxmemory),
            maxmemory_policy: limits.maxmemory_policy.map(policy),
            maxmemory_samples: count(limits.maxmemory_samples),
            output_buffer_bytes_max: bytes(&limits.output_buffer),
            query_buffer_bytes_max: bytes(&limits.query_buffer),
            bulk_bytes_max: bytes(&limits.max_value),
            client_commands_per_sec: count(limits.client_commands_per_second),
            user_commands_per_sec: count(limits.user_commands_per_second),
        },
        notify_keyspace_events: spec.notify_keyspace_events.clone().unwrap_or_default(),
        password_sha256: default_password(keyspace, resources),
        users: users(keyspace, resources),
        masters_interval_ms: interval.unwrap_or(masters_interval_ms()),
        autoscale: spec.autoscale.as_ref().map(autoscale),
    }
}

/// How long fewer groups must be enough where nobody says it, in milliseconds.
const STABILIZATION_MS: u64 = 300_000;

fn autoscale(asked: &Autoscale) -> Policy {
    let number = |n: i32| u16::try_from(n).unwrap_or(u16::MAX);
    Policy {
        min: number(asked.min),
        max: number(asked.max),
        commands: asked.operations_per_second.and_then(|n| u64::try_from(n).ok()),
        bytes: asked.memory.as_deref().and_then(size_bytes),
        window_ms: asked.stabilization.as_deref().and_then(span_ms).unwrap_or(STABILIZATION_MS),
    }
}

fn policy(wanted: Wanted) -> EvictionPolicy {
    match wanted {
        Wanted::NoEviction => EvictionPolicy::NoEviction,
        Wanted::AllKeysLru => EvictionPolicy::AllKeysLru,
        Wanted::AllKeysLfu => EvictionPolicy::AllKeysLfu,
        Wanted::AllKeysRandom => EvictionPolicy::AllKeysRandom,
        Wanted::VolatileLru => EvictionPolicy::VolatileLru,
        Wanted::VolatileLfu => EvictionPolicy::VolatileLfu,
        Wanted::VolatileRandom => EvictionPolicy::VolatileRandom,
        Wanted::VolatileTtl => EvictionPolicy::VolatileTtl,
    }
}

/// What no password's digest is: nobody comes in by it, also at a node that knows no users.
const NOBODY: &str = "*";

fn default_password(keyspace: &Keyspace, resources: &Resources) -> Option<String> {
    let users = keyspace.spec.auth.as_ref().is_some_and(|auth| !auth.users.is_empty());
    let own = password(keyspace, resources).map(|password| password_digest(&password));
    own.or_else(|| users.then(|| NOBODY.to_owned()))
}

fn users(keyspace: &Keyspace, resources: &Resources) -> BTreeMap<String, BTreeSet<String>> {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for user in keyspace.spec.auth.iter().flat_map(|auth| &auth.users) {
        let SecretKey { name, key } = &user.password_secret_ref;
        let password = resources.secrets.get(&(name.clone(), key.clone()));
        let good = users.entry(user.name.clone()).or_default();
        good.extend(password.map(|password| password_digest(password)));
    }
    users
}

fn password(keyspace: &Keyspace, resources: &Resources) -> Option<String> {
    let auth = keyspace.spec.auth.as_ref()?;
    match &auth.password_secret_ref {
        Some(secret) => resources.secrets.get(&(secret.name.clone(), secret.key.clone())).cloned(),
        None => auth.password.clone(),
    }
}

/// SHA-256 of a password in 64 hexadecimal digits, as the directory keeps it.
#[must_use]
pub fn password_digest(password: &str) -> String {
    Sha256::digest(password.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
