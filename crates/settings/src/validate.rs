//! What must hold for settings, alone and together; every problem by its full key.

use crate::duration_text::format;
use crate::limits::{COMMANDS_PER_SEC_MAX, KEPT_BYTES_MAX};
use crate::{
    LagBounds, Limits, LogSettings, NodeRole, NodeSettings, Port, Problem, Problems, Timing,
};
use cairn_logic::batch::BODY_BYTES_MAX;
use std::time::Duration;

const MIB: u64 = 1 << 20;

impl NodeSettings {
    /// Checks all values and their relations.
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        self.names(&mut problems);
        self.seeds(&mut problems);
        self.addresses(&mut problems);
        self.tls.problems("tls", &mut problems);
        self.timing.problems("timing", &mut problems);
        self.lag.problems("lag", &mut problems);
        self.log.problems("log", &mut problems);
        self.limits.problems("limits", &mut problems);
        if self.priority > 100 {
            problems.push(Problem::new("priority", "must be 0 to 100"));
        }
        if !(1..=5).contains(&self.durability.zones) {
            problems.push(Problem::new("durability.zones", "must be 1 to 5"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    fn names(&self, problems: &mut Vec<Problem>) {
        let uid = &self.cluster_uid;
        let ok = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if uid.len() != 32 || !uid.bytes().all(ok) {
            problems.push(Problem::new("clusterUid", "must be 32 of 0-9 and a-f"));
        }
        if !is_dns_label(self.node.as_str()) {
            problems.push(Problem::new("node", DNS_LABEL));
        }
        for (key, path) in [("folder", &self.folder), ("secretFile", &self.secret_file)] {
            if !path.is_absolute() {
                problems.push(Problem::new(key, "must be an absolute path"));
            }
        }
        let preferred = [
            ("preferredKeyspace", self.preferred_keyspace.as_deref()),
            ("preferredGroup", self.preferred_group.as_ref().map(|g| g.as_str())),
        ];
        for (key, name) in preferred {
            let Some(name) = name else { continue };
            if self.role != NodeRole::Data {
                problems.push(Problem::new(key, "is for data nodes; leave it out"));
            } else if !is_dns_label(name) {
                problems.push(Problem::new(key, DNS_LABEL));
            }
        }
    }

    fn seeds(&self, problems: &mut Vec<Problem>) {
        if !(1..=16).contains(&self.seeds.len()) {
            problems.push(Problem::new("seeds", "must name 1 to 16 nodes, none of role data"));
        }
        if !self.seeds.values().any(|s| s.role == NodeRole::Global) {
            problems.push(Problem::new("seeds", "must name a node of role global"));
        }
        for (id, seed) in &self.seeds {
            let key = format!("seeds.{id}");
            if !is_dns_label(id.as_str()) {
                problems.push(Problem::new(&key, DNS_LABEL));
            }
            if seed.role == NodeRole::Data {
                let message = "must be global, acceptor or checkpoint";
                problems.push(Problem::new(format!("{key}.role"), message));
            }
            for (part, address) in [("peer", &seed.peer), ("heartbeat", &seed.heartbeat)] {
                if !is_host_port(address) {
                    problems.push(Problem::new(format!("{key}.{part}"), HOST_PORT));
                }
            }
        }
        let listed = self.seeds.get(&self.node).map(|s| s.role);
        match (self.role, listed) {
            (NodeRole::Data, None) => {}
            (NodeRole::Data, Some(_)) => {
                problems.push(Problem::new("seeds", "must not name this data node"));
            }
            (role, Some(listed)) if role == listed => {}
            (role, _) => problems
                .push(Problem::new("seeds", format!("must name this node with role {role}"))),
        }
    }

    fn addresses(&self, problems: &mut Vec<Problem>) {
        for (at, port) in Port::ALL.into_iter().enumerate() {
            let listen = self.listen.get(port);
            if listen.port() == 0 {
                let key = format!("listen.{}", port.key());
                problems.push(Problem::new(key, "must have a port of 1 to 65535"));
            }
            for earlier in &Port::ALL[..at] {
                if self.listen.get(*earlier) == listen {
                    let key = format!("listen.{}", port.key());
                    let message = format!("must differ from listen.{}", earlier.key());
                    problems.push(Problem::new(key, message));
                }
            }
            if !is_host_port(self.advertise.get(port)) {
                problems.push(Problem::new(format!("advertise.{}", port.key()), HOST_PORT));
            }
        }
        if let Some(seed) = self.seeds.get(&self.node)
            && seed.peer != self.advertise.peer
        {
            problems.push(Problem::new(
                "advertise.peer",
                format!("must be seeds.{}.peer, {}", self.node, seed.peer),
            ));
        }
    }
}

impl Timing {
    /// Adds what is wrong with the spans, alone and together, with keys under `at`.
    pub fn problems(&self, at: &str, problems: &mut Vec<Problem>) {
        let ms = Duration::from_millis;
        let ranges = [
            ("heartbeat", self.heartbeat, ms(10), ms(10_000)),
            ("readLease", self.read_lease, ms(30), ms(60_000)),
            ("silenceMax", self.silence_max, ms(30), ms(60_000)),
            ("sealWait", self.seal_wait, ms(0), ms(10_000)),
            ("stuckMax", self.stuck_max, ms(1_000), ms(600_000)),
            ("ackTimeout", self.ack_timeout, ms(50), ms(60_000)),
            ("nodeLease", self.node_lease, ms(1_000), ms(600_000)),
        ];
        for (key, span, least, most) in ranges {
            span_between(&format!("{at}.{key}"), span, least, most, problems);
        }
        let mut relation = |holds: bool, key: &str, message: String| {
            if !holds {
                problems.push(Problem::new(format!("{at}.{key}"), message));
            }
        };
        relation(
            self.read_lease >= self.heartbeat * 3,
            "readLease",
            format!(
                "must be at least three heartbeats ({}), else reads stop at every lost one",
                format(self.heartbeat * 3)
            ),
        );
        relation(
            self.silence_max >= self.read_lease,
            "silenceMax",
            format!(
                "must be at least readLease ({}): a promise outlives no silence",
                format(self.read_lease)
            ),
        );
        relation(
            self.stuck_max >= self.silence_max * 2,
            "stuckMax",
            format!("must be at least twice silenceMax ({})", format(self.silence_max * 2)),
        );
        relation(
            self.node_lease >= self.silence_max * 2,
            "nodeLease",
            format!("must be at least twice silenceMax ({})", format(self.silence_max * 2)),
        );
    }
}

impl LagBounds {
    fn problems(&self, at: &str, problems: &mut Vec<Problem>) {
        bytes_between(&format!("{at}.bytesMax"), self.bytes_max, 4096, 1 << 30, problems);
        let (least, most) = (Duration::from_millis(50), Duration::from_secs(60));
        span_between(&format!("{at}.ageMax"), self.age_max, least, most, problems);
        span_between(&format!("{at}.steadyFor"), self.steady_for, least, most, problems);
    }
}

impl LogSettings {
    fn problems(&self, at: &str, problems: &mut Vec<Problem>) {
        bytes_between(&format!("{at}.segmentBytes"), self.segment_bytes, MIB, 1 << 30, problems);
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(10));
        span_between(&format!("{at}.flushInterval"), self.flush_interval, least, most, problems);
        let key = format!("{at}.diskReserveBytes");
        bytes_between(&key, self.disk_reserve_bytes, MIB, 1 << 40, problems);
        if !(1..=65_536).contains(&self.cut_tails_max) {
            problems.push(Problem::new(format!("{at}.cutTailsMax"), "must be 1 to 65536"));
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));
        let key = format!("{at}.snapshotInterval");
        span_between(&key, self.snapshot_interval, least, most, problems);
        let key = format!("{at}.checkInterval");
        span_between(&key, self.check_interval, least, most, problems);
        self.bounds(at, problems);
    }

    /// What is kept, what is allowed, what is sent.
    fn bounds(&self, at: &str, problems: &mut Vec<Problem>) {
        let ranges = [
            ("bytesKept", self.bytes_kept, MIB, KEPT_BYTES_MAX),
            ("bytesMax", self.bytes_max, 4 * MIB, 16 << 40),
            ("fetchBytesPerSec", self.fetch_bytes_per_sec, 64 << 10, 64 << 30),
        ];
        for (key, bytes, least, most) in ranges {
            bytes_between(&format!("{at}.{key}"), bytes, least, most, problems);
        }
        if self.bytes_max <= self.bytes_kept.saturating_mul(2) {
            let message = format!("must be less than half of bytesMax ({})", self.bytes_max);
            problems.push(Problem::new(format!("{at}.bytesKept"), message));
        }
        if self.bytes_max < self.segment_bytes.saturating_mul(4) {
            // A log is cut by whole segments: with fewer it would be at the bound all the time.
            let least = self.segment_bytes.saturating_mul(4);
            let message = format!("must be at least four times segmentBytes ({least})");
            problems.push(Problem::new(format!("{at}.bytesMax"), message));
        }
    }
}

impl Limits {
    /// Adds what is wrong with the bounds, alone and together, with keys under `at`.
    pub fn problems(&self, at: &str, problems: &mut Vec<Problem>) {
        if !(1..=1_000_000).contains(&self.maxclients) {
            problems.push(Problem::new(format!("{at}.maxclients"), "must be 1 to 1000000"));
        }
        if self.maxmemory_bytes != 0 && self.maxmemory_bytes < MIB {
            let message = "must be 0 (no limit) or at least 1048576 bytes (1 MiB)";
            problems.push(Problem::new(format!("{at}.maxmemoryBytes"), message));
        }
        if !(1..=64).contains(&self.maxmemory_samples) {
            problems.push(Problem::new(format!("{at}.maxmemorySamples"), "must be 1 to 64"));
        }
        let rates = [
            ("clientCommandsPerSec", self.client_commands_per_sec),
            ("userCommandsPerSec", self.user_commands_per_sec),
        ];
        for (key, _) in rates.into_iter().filter(|(_, rate)| *rate > COMMANDS_PER_SEC_MAX) {
            let message = format!("must be 0 (no limit) to {COMMANDS_PER_SEC_MAX}");
            problems.push(Problem::new(format!("{at}.{key}"), message));
        }
        let sizes = [
            ("outputBufferBytesMax", self.output_buffer_bytes_max, 64 << 10, 4 << 30),
            ("queryBufferBytesMax", self.query_buffer_bytes_max, 64 << 10, 4 << 30),
            ("bulkBytesMax", self.bulk_bytes_max, 1024, BODY_BYTES_MAX as u64 / 2),
        ];
        for (key, bytes, least, most) in sizes {
            bytes_between(&format!("{at}.{key}"), bytes, least, most, problems);
        }
        for (key, bytes) in [
            ("outputBufferBytesMax", self.output_buffer_bytes_max),
            ("queryBufferBytesMax", self.query_buffer_bytes_max),
        ] {
            if bytes <= self.bulk_bytes_max {
                let message = format!("must be more than bulkBytesMax ({})", self.bulk_bytes_max);
                problems.push(Problem::new(format!("{at}.{key}"), message));
            }
        }
    }
}

fn span_between(
    key: &str,
    span: Duration,
    least: Duration,
    most: Duration,
    problems: &mut Vec<Problem>,
) {
    if span < least || span > most {
        let message = format!("must be {} to {}", format(least), format(most));
        problems.push(Problem::new(key, message));
    }
}

fn bytes_between(key: &str, bytes: u64, least: u64, most: u64, problems: &mut Vec<Problem>) {
    if bytes < least || bytes > most {
        problems.push(Problem::new(key, format!("must be {least} to {most} bytes")));
    }
}

const DNS_LABEL: &str =
    "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
const HOST_PORT: &str = "must be host:port, for example 127.0.0.1:7400";

fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_ok = !host.is_empty()
        && host.len() <= 253
        && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    host_ok && port.parse::<u16>().is_ok_and(|p| p != 0)
}
