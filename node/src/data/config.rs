//! What a data thread is told of its limits, and of the passwords of the keyspace's resource.

use crate::data::rates::Bounds;
use cairn_acl::Fixed;
use cairn_keyspace::{Classes, Eviction};
use cairn_logic::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Limits and who may come in; all of it can change while the thread runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The SHA-256 of the default user's password, in hexadecimal.
    pub password_sha256: Option<String>,
    /// Other users, each with the SHA-256 of every password that is good for it.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// The zone of this node's machine, for clients that prefer their own.
    pub zone: Option<String>,
    /// How long a write may wait for its copies before NOACK.
    pub ack_timeout: Duration,
    /// Connections served at once.
    pub clients_max: usize,
    /// The largest half-received request of one client, in bytes.
    pub query_buffer_max_bytes: usize,
    /// The longest argument of a command, and the longest text that can be built, in bytes.
    pub value_max_bytes: usize,
    /// Replies a client may leave unread before it is closed, in bytes.
    pub output_buffer_max_bytes: usize,
    /// How many commands a second are executed, of each client and of each user.
    pub rates: Bounds,
    /// How long a request may stay half-received without a byte more.
    pub half_request_max: Duration,
    /// Close clients that ask nothing for so long; zero: never.
    pub idle_max: Duration,
    /// Appended and not yet committed bytes above which no request is read.
    pub uncommitted_max_bytes: u64,
    /// Memory above which keys go or commands that need more are refused, in bytes; 0: no limit.
    pub memory_max_bytes: u64,
    /// How long a master takes to check every part of its data against its members'; zero: it does
    /// not.
    pub check_interval: Duration,
    /// Which keys go where memory is at its limit.
    pub eviction: Eviction,
    /// What keys undergo that those who listen are told of.
    pub events: Classes,
}

impl Config {
    /// The users whose passwords are the resource's.
    #[must_use]
    pub fn fixed(&self) -> Fixed {
        Fixed { default: self.password_sha256.clone(), users: self.users.clone() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            password_sha256: None,
            users: BTreeMap::new(),
            zone: None,
            ack_timeout: Duration::from_secs(1),
            clients_max: 10_000,
            query_buffer_max_bytes: 1 << 30,
            value_max_bytes: 32 << 20,
            output_buffer_max_bytes: 256 << 20,
            rates: Bounds::default(),
            half_request_max: Duration::from_secs(60),
            idle_max: Duration::ZERO,
            uncommitted_max_bytes: 64 << 20,
            memory_max_bytes: 0,
            check_interval: Duration::ZERO,
            eviction: Eviction::default(),
            events: Classes::NONE,
        }
    }
}
