//! Memory at its limit, where a policy says which keys go.

use super::{Client, Committing};
use crate::data::link::Config;
use cairn_keyspace::{Eviction, Policy, slot_of};

fn rig(policy: Policy) -> Committing {
    let eviction = Eviction { policy, ..Eviction::default() };
    Committing::with(Config { memory_max_bytes: 1 << 20, eviction, ..Config::default() })
}

/// Sets `count` keys of this group, in rows; how many were refused.
fn fill(client: &mut Client, count: usize, more: &str) -> usize {
    let keys = (0..).map(|n| format!("key{n}")).filter(|key| slot_of(key.as_bytes()).get() < 9000);
    let keys: Vec<String> = keys.take(count).collect();
    let value = "v".repeat(300);
    let mut refused = 0;
    for row in keys.chunks(100) {
        row.iter().for_each(|key| client.send(&format!("SET {key} {value}{more}")));
        refused += row.iter().filter(|_| super::show(&client.reply()) != "OK").count();
    }
    refused
}

fn figure(client: &mut Client, name: &str) -> u64 {
    let info = client.say("INFO");
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {info}"))
}

#[test]
fn keys_go_and_no_write_is_refused() {
    let rig = rig(Policy::AllKeysLru);
    let mut client = rig.client();
    assert_eq!(fill(&mut client, 5000, ""), 0);
    let (used, evicted) = (figure(&mut client, "used_memory"), figure(&mut client, "evicted_keys"));
    assert!(used <= (1 << 20) + (64 << 10), "{used}");
    assert!(evicted > 1000, "{evicted}");
    let keys: u64 = client.say("DBSIZE").parse().unwrap();
    assert_eq!(keys + evicted, 5000);
    // A transaction makes room before it begins, and a script does.
    client.say("MULTI");
    let large = "x".repeat(200_000);
    assert_eq!(client.say(&format!("SET b {large}")), "QUEUED");
    assert_eq!(client.say("STRLEN b"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[OK 200000]");
    let script = "redis.call('SET',KEYS[1],string.rep('x',200000)) \
        redis.call('SET','{b}2',1) return redis.call('STRLEN',KEYS[1])";
    assert_eq!(client.say(&format!("EVAL {} 1 b", script.replace(' ', "\t"))), "200000");
}

#[test]
fn without_keys_that_may_go_growth_is_refused() {
    let rig = rig(Policy::VolatileTtl);
    let mut client = rig.client();
    let refused = fill(&mut client, 5000, "");
    assert!((1000..5000).contains(&refused), "{refused}");
    assert_eq!(figure(&mut client, "evicted_keys"), 0);
    assert_eq!(client.say("FLUSHALL"), "OK");
    assert_eq!(fill(&mut client, 5000, " EX 1000"), 0);
    assert!(figure(&mut client, "evicted_keys") > 1000);
}

#[test]
fn who_watches_or_listens_to_a_key_that_goes_is_told() {
    let rig = rig(Policy::AllKeysRandom);
    let (mut client, mut watching, mut listening) = (rig.client(), rig.client(), rig.client());
    client.say("CONFIG SET notify-keyspace-events Ee");
    watching.say("SET b 1");
    watching.say("WATCH b");
    listening.say("SUBSCRIBE __keyevent@0__:evicted");
    fill(&mut client, 4000, "");
    assert!(super::show(&listening.reply()).starts_with("[message __keyevent@0__:evicted "));
    while watching.say("EXISTS b") == "1" {
        client.say("DEL b");
    }
    watching.say("MULTI");
    watching.say("PING");
    assert_eq!(watching.say("EXEC"), "(nil)");
}

#[test]
fn the_policy_is_a_parameter_like_any_other() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("CONFIG GET maxmemory-policy"), "[maxmemory-policy noeviction]");
    assert_eq!(client.say("CONFIG SET maxmemory-policy ALLKEYS-LFU maxmemory-samples 10"), "OK");
    assert_eq!(client.say("CONFIG GET maxmemory-policy"), "[maxmemory-policy allkeys-lfu]");
    assert_eq!(client.say("CONFIG GET lfu-*"), "[lfu-decay-time 1 lfu-log-factor 10]");
    let failed = "-ERR CONFIG SET failed (possibly related to argument";
    for (set, want) in [
        (
            "maxmemory-policy lru",
            "'maxmemory-policy') - argument(s) must be one of the following: \
            volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, \
            allkeys-random, noeviction",
        ),
        (
            "maxmemory-samples 0",
            "'maxmemory-samples') - argument must be between 1 and 2147483647 \
            inclusive",
        ),
        ("lfu-log-factor x", "'lfu-log-factor') - argument couldn't be parsed into an integer"),
    ] {
        assert_eq!(client.say(&format!("CONFIG SET {set}")), format!("{failed} {want}"));
    }
    client.say("SET b 1");
    assert_eq!(client.say("OBJECT FREQ b"), "5");
    assert!(client.say("INFO memory").contains("maxmemory_policy:allkeys-lfu\r\n"));
}
