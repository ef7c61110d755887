//! The spans that failover is made of, as a preset or as numbers.

use crate::quantity::span_ms;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A set of spans that go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimingPreset {
    /// For machines of one's own: failover within 2 s.
    #[default]
    Default,
    /// For noisy machines: all spans thrice as long.
    Noisy,
}

/// A preset, and spans that differ from it; valid only as a set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TimingSpec {
    /// `default`, or `noisy` for spans thrice as long.
    pub preset: TimingPreset,
    /// Between two heartbeats (100ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub heartbeat: Option<String>,
    /// How long a member promises not to take part in a failover (500ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub read_lease: Option<String>,
    /// The silence after which a master may be replaced (600ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub silence_max: Option<String>,
    /// How long a failover waits for members it does not need (200ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub seal_wait: Option<String>,
    /// How long commits may be stuck before the master asks for relief (15s).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stuck_max: Option<String>,
    /// After this a client whose write is not committed gets NOACK (1s).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub ack_timeout: Option<String>,
    /// The TTL of a node's lease in the directory (5s).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub node_lease: Option<String>,
}

/// One span of a [`TimingSpec`]: its key, the default preset and the allowed range, in ms.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The field's name as written.
    pub key: &'static str,
    /// In the preset `default`; `noisy` is thrice that.
    pub default_ms: u64,
    /// The least allowed.
    pub min_ms: u64,
    /// The most allowed.
    pub max_ms: u64,
    /// What was written.
    pub written: fn(&TimingSpec) -> Option<&str>,
}

macro_rules! span {
    ($key:literal, $field:ident, $default:literal, $min:literal, $max:literal) => {
        Span {
            key: $key,
            default_ms: $default,
            min_ms: $min,
            max_ms: $max,
            written: |t| t.$field.as_deref(),
        }
    };
}

/// Between two heartbeats.
pub const HEARTBEAT: Span = span!("heartbeat", heartbeat, 100, 10, 10_000);
/// How long a member promises not to seal.
pub const READ_LEASE: Span = span!("readLease", read_lease, 500, 30, 60_000);
/// The silence after which a master may be replaced.
pub const SILENCE_MAX: Span = span!("silenceMax", silence_max, 600, 30, 60_000);
/// How long a takeover waits for members it does not need.
pub const SEAL_WAIT: Span = span!("sealWait", seal_wait, 200, 0, 10_000);
/// How long commits may be stuck before the master asks for relief.
pub const STUCK_MAX: Span = span!("stuckMax", stuck_max, 15_000, 1_000, 600_000);
/// After this a client whose write is not committed gets `NOACK`.
pub const ACK_TIMEOUT: Span = span!("ackTimeout", ack_timeout, 1_000, 50, 60_000);
/// The TTL of a node's lease in the directory.
pub const NODE_LEASE: Span = span!("nodeLease", node_lease, 5_000, 1_000, 600_000);

/// All spans, in the order of the fields.
pub const SPANS: [Span; 7] =
    [HEARTBEAT, READ_LEASE, SILENCE_MAX, SEAL_WAIT, STUCK_MAX, ACK_TIMEOUT, NODE_LEASE];

impl Span {
    /// The value in force in milliseconds: what was written, else the preset's; `None` if what was
    /// written is no span.
    #[must_use]
    pub fn in_force_ms(&self, spec: &TimingSpec) -> Option<u64> {
        match (self.written)(spec) {
            Some(text) => span_ms(text),
            None => Some(self.preset_ms(spec.preset)),
        }
    }

    /// The preset's value in milliseconds.
    #[must_use]
    pub const fn preset_ms(&self, preset: TimingPreset) -> u64 {
        match preset {
            TimingPreset::Default => self.default_ms,
            TimingPreset::Noisy => self.default_ms * 3,
        }
    }
}
