//! A Keyspace as the directory holds it.

use crate::Resources;
use cairn_crd::Keyspace;
use cairn_crd::keyspace::ReadMode;
use cairn_crd::quantity::size_bytes;
use cairn_crd::shared::Ack;
use cairn_logic::record::{Durability, Rule};
use cairn_settings::Reads;
use cairn_settings::directory_keys::{KeyspaceConfig, KeyspaceLimits};
use sha2::{Digest, Sha256};

/// What the planner is to bring about for a keyspace that passed [`crate::check`].
#[must_use]
pub fn keyspace_config(keyspace: &Keyspace, resources: &Resources) -> KeyspaceConfig {
    let spec = &keyspace.spec;
    let limits = &spec.limits;
    let bytes = |text: &Option<String>| text.as_deref().and_then(size_bytes);
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
            maxclients: limits.maxclients.and_then(|n| u32::try_from(n).ok()),
            maxmemory_bytes: bytes(&limits.maxmemory),
            output_buffer_bytes_max: bytes(&limits.output_buffer),
            query_buffer_bytes_max: bytes(&limits.query_buffer),
            bulk_bytes_max: bytes(&limits.max_value),
        },
        password_sha256: password(keyspace, resources).map(|p| password_digest(&p)),
    }
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
