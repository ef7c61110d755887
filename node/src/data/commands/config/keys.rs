//! Parameters about keys: how much memory they may take, which go where there is no more, and who
//! is told what becomes of them.

use super::{bytes, failed};
use crate::data::link::Config;
use cairn_keyspace::{Classes, Eviction, Policy};
use cairn_resp::number::parse_i64;

/// Those that can be changed, with their values.
pub(super) fn shown(config: &Config) -> [(&'static str, String); 6] {
    let Eviction { policy, samples, log_factor, decay_minutes } = config.eviction;
    [
        ("maxmemory", config.memory_max_bytes.to_string()),
        ("maxmemory-policy", policy.name().to_owned()),
        ("maxmemory-samples", samples.to_string()),
        ("lfu-log-factor", log_factor.to_string()),
        ("lfu-decay-time", decay_minutes.to_string()),
        ("notify-keyspace-events", config.events.text()),
    ]
}

/// Sets one of them; none if it is not among them.
pub(super) fn set(config: &mut Config, name: &str, value: &[u8]) -> Option<Result<(), String>> {
    let eviction = &mut config.eviction;
    let done = match name {
        "maxmemory" => put(&mut config.memory_max_bytes, memory(value)),
        "maxmemory-policy" => put(&mut eviction.policy, policy(value)),
        "maxmemory-samples" => put(&mut eviction.samples, number(value, 1)),
        "lfu-log-factor" => put(&mut eviction.log_factor, number(value, 0)),
        "lfu-decay-time" => put(&mut eviction.decay_minutes, number(value, 0)),
        "notify-keyspace-events" => put(&mut config.events, classes(value)),
        _ => return None,
    };
    Some(done.map_err(|why| failed(name, &why)))
}

fn put<T>(to: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *to = value)
}

fn memory(value: &[u8]) -> Result<u64, String> {
    bytes(value).ok_or_else(|| "argument must be a memory value".to_owned())
}

fn policy(value: &[u8]) -> Result<Policy, String> {
    let names: Vec<&str> = Policy::ALL.iter().map(|(name, _)| *name).collect();
    let refused = || format!("argument(s) must be one of the following: {}", names.join(", "));
    Policy::parse(value).ok_or_else(refused)
}

fn classes(value: &[u8]) -> Result<Classes, String> {
    let refused = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
    Classes::parse(value).ok_or_else(|| refused.to_owned())
}

/// A number of at least `least`.
fn number(value: &[u8], least: i64) -> Result<u32, String> {
    let given = parse_i64(value).ok_or("argument couldn't be parsed into an integer")?;
    let most = i64::from(i32::MAX);
    match u32::try_from(given) {
        Ok(number) if (least..=most).contains(&given) => Ok(number),
        _ => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}
