//! CONFIG: the few parameters that tools ask for; what can be changed lasts until the keyspace's
//! resource says otherwise.

mod kept;
mod keys;
mod rates;

use crate::boot::clients_room;
use crate::data::commands::{help, word, wrong_arity};
use crate::data::conn::LISTENER_BYTES_MAX;
use crate::data::figures::Figures;
use crate::data::server::Server;
use crate::data::slow::LEN_MAX;
use crate::data::tracking::KEYS_MAX;
use cairn_keyspace::fits;
use cairn_logic::time::Duration;
use cairn_resp::{Args, number};

pub use kept::Kept;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <parameter> <value> [<parameter> <value> ...]",
    "    Set the configuration <parameter> to <value> on this node until it restarts.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "HELP",
    "    Print this help.",
];

/// Parameters that are what they are, for tools that insist on asking.
const FIXED: &[(&str, &str)] = &[
    ("acl-pubsub-default", "resetchannels"),
    ("aclfile", ""),
    ("appendfsync", "everysec"),
    ("appendonly", "no"),
    ("bind", ""),
    ("cluster-enabled", "yes"),
    ("cluster-require-full-coverage", "no"),
    ("daemonize", "no"),
    ("databases", "1"),
    ("maxmemory-clients", "0"),
    ("maxmemory-eviction-tenacity", "10"),
    ("replicaof", ""),
    ("save", ""),
    ("slaveof", ""),
    ("lua-time-limit", "5000"),
    ("latency-tracking", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("tcp-keepalive", "0"),
];

const NOT_INTEGER: &str = "argument couldn't be parsed into an integer";

impl Server {
    /// `CONFIG subcommand …`
    pub fn config(&mut self, index: usize, args: Args<'_>) {
        match word(args.get(1)).as_str() {
            "get" => self.config_get(index, args),
            "set" if args.len().is_multiple_of(2) => self.config_set(index, args),
            "set" => wrong_arity(self, index, "config|set"),
            "resetstat" => {
                self.core.stats = crate::data::core::Stats::default();
                self.figures = Figures::default();
                self.turns.forget();
                self.dropper.forget();
                self.out(index).ok();
            }
            "rewrite" => self.out(index).error("ERR The server is running without a config file"),
            // Unknown ones were refused before.
            _ => help(self, index, HELP),
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let config = &self.core.config;
        let pass = if config.password_sha256.is_some() { "(set)" } else { "" };
        let threshold = self.latency.threshold.unwrap_or_default();
        let mut all: Vec<_> = FIXED.iter().map(|(name, value)| (*name, (*value).into())).collect();
        all.extend([
            ("maxclients", config.clients_max.to_string()),
            ("requirepass", pass.to_owned()),
            ("availability-zone", config.zone.clone().unwrap_or_default()),
            ("acllog-max-len", self.denials.len_max().to_string()),
            ("slowlog-log-slower-than", micros(self.slow.slower_than)),
            ("slowlog-max-len", self.slow.len_max.to_string()),
            ("latency-monitor-threshold", threshold.as_millis().to_string()),
            ("tracking-table-max-keys", self.tracking.keys_max().to_string()),
            ("timeout", config.idle_max.as_secs().to_string()),
            ("proto-max-bulk-len", config.value_max_bytes.to_string()),
            ("client-query-buffer-limit", config.query_buffer_max_bytes.to_string()),
            (
                "client-output-buffer-limit",
                format!(
                    "normal {} 0 0 slave 0 0 0 pubsub {LISTENER_BYTES_MAX} 0 0",
                    config.output_buffer_max_bytes
                ),
            ),
        ]);
        all.extend(self.kept.each().map(|(name, value)| (name, value.to_owned())));
        all.extend(keys::shown(config));
        all.extend(rates::shown(config));
        all.sort_unstable();
        all
    }

    fn config_get(&mut self, index: usize, args: Args<'_>) {
        let patterns: Vec<String> = args.from(2).iter().map(word).collect();
        let mut found = self.parameters();
        found.retain(|(name, _)| {
            patterns.iter().any(|pattern| fits(pattern.as_bytes(), name.as_bytes()))
        });
        let out = self.out(index);
        out.map(found.len());
        for (name, value) in found {
            out.bulk(name.as_bytes());
            out.bulk(value.as_bytes());
        }
    }

    fn config_set(&mut self, index: usize, args: Args<'_>) {
        let (before, kept) = (self.core.config.clone(), self.kept.clone());
        let tracked = self.tracking.keys_max();
        let watched = (self.slow.slower_than, self.slow.len_max, self.latency.threshold);
        let mut names = Vec::new();
        let refusals = self.denials.len_max();
        for at in (2..args.len()).step_by(2) {
            let name = word(args.get(at));
            let set = match names.contains(&name) {
                true => Err(failed(&name, "duplicate parameter")),
                false => self.set_parameter(&name, args.get(at + 1)),
            };
            names.push(name);
            if let Err(text) = set {
                (self.core.config, self.kept) = (before, kept);
                self.tracking.limit(tracked);
                (self.slow.slower_than, self.slow.len_max, self.latency.threshold) = watched;
                self.denials.set_len_max(refusals);
                return self.out(index).error(&text);
            }
        }
        self.core.config_changed();
        self.out(index).ok();
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), String> {
        if let Some(set) = self.kept.set(name, value) {
            return set.map_err(|why| failed(name, &why));
        }
        // What is as it was is no change, whoever may make one.
        let is = |(known, is): &(&str, String)| *known == name && is.as_bytes() == value;
        if name != "requirepass" && self.parameters().iter().any(is) {
            return Ok(());
        }
        let count = |least, most| between(value, least, most).map_err(|why| failed(name, &why));
        let failed = |why: &str| Err(failed(name, why));
        let config = &mut self.core.config;
        let set = keys::set(config, name, value);
        if let Some(done) = set.or_else(|| rates::set(config, name, value)) {
            return done;
        }
        match name {
            "maxclients" => match clients_max(value) {
                Ok(count) => config.clients_max = count,
                Err(text) => return failed(&text),
            },
            "timeout" => match number::parse_i64(value).and_then(|n| u64::try_from(n).ok()) {
                Some(seconds) if seconds < 1 << 31 => {
                    config.idle_max = Duration::from_secs(seconds)
                }
                _ => return failed("argument must be between 0 and 2147483647 inclusive"),
            },
            "slowlog-log-slower-than" => match number::parse_i64(value) {
                Some(-1) => self.slow.slower_than = None,
                Some(micros @ 0..) => {
                    self.slow.slower_than = Some(Duration::from_micros(micros as u64));
                }
                _ => return failed(NOT_INTEGER),
            },
            "slowlog-max-len" => self.slow.len_max = count(0, LEN_MAX)?,
            "latency-monitor-threshold" => match number::parse_i64(value).map(u64::try_from) {
                Some(Ok(0)) => self.latency.threshold = None,
                Some(Ok(ms)) => self.latency.threshold = Some(Duration::from_millis(ms)),
                _ => return failed(NOT_INTEGER),
            },
            "tracking-table-max-keys" => self.tracking.limit(count(1, KEYS_MAX)?),
            "acllog-max-len" => self.denials.set_len_max(count(0, LEN_MAX)?),
            "requirepass" => {
                return failed(
                    "the password is the Keyspace resource's, for all nodes alike; without one \
                     there, ACL SETUSER default gives it one",
                );
            }
            _ if FIXED.iter().any(|(known, _)| *known == name) => {
                return failed("can't set immutable config");
            }
            "proto-max-bulk-len" | "client-query-buffer-limit" | "client-output-buffer-limit" => {
                return failed("can't set immutable config");
            }
            _ => {
                return Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                ));
            }
        }
        Ok(())
    }
}

/// A whole number from `least` to `most`, or why it is none.
fn between(value: &[u8], least: usize, most: usize) -> Result<usize, String> {
    let number = number::parse_i64(value).and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("argument must be between {least} and {most} inclusive"))
}

/// How many clients a node may have, or why not so many.
fn clients_max(value: &[u8]) -> Result<usize, String> {
    let room = clients_room();
    match number::parse_i64(value).and_then(|n| u32::try_from(n).ok()) {
        Some(count) if count > room => Err(format!(
            "The operating system is not able to handle the specified number of clients, try with \
             {room}"
        )),
        Some(count) if count > 0 => Ok(count as usize),
        _ => Err("argument must be between 1 and 4294967295 inclusive".to_owned()),
    }
}

/// The error reply to a parameter that cannot be set.
fn failed(name: &str, why: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
}

/// A span as CONFIG shows it: -1 for none.
fn micros(span: Option<Duration>) -> String {
    span.map_or("-1".to_owned(), |span| span.as_micros().to_string())
}

/// A number of bytes, perhaps with a unit: `100`, `64mb`, `1g`.
fn bytes(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (amount, unit) = text.split_at(digits);
    let amount = u64::try_from(number::parse_i64(amount)?).ok()?;
    let factor = match word(unit).as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    amount.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(b"100"), Some(100));
        assert_eq!(bytes(b"2kb"), Some(2048));
        assert_eq!(bytes(b"1G"), Some(1_000_000_000));
        assert_eq!(bytes(b"-1"), None);
        assert_eq!(bytes(b"1x"), None);
        assert_eq!(bytes(b"9999999999999999gb"), None);
    }
}
