//! Keys that go when memory is at its limit: which, and what copies make of it.

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Event, Evicted, Eviction, Keyspace, Policy};
use cairn_logic::ids::Offset;
use cairn_resp::{ArgsBuf, ReplyBuf};

struct World {
    keyspace: Keyspace,
    log: EffectLog,
    now_ms: u64,
}

impl World {
    fn new(policy: Policy) -> Self {
        let mut keyspace = Keyspace::new(3);
        keyspace.set_eviction(Eviction { policy, ..Eviction::default() });
        let mut world = Self { keyspace, log: EffectLog::new(Offset(1)), now_ms: 0 };
        world.wait(1_700_000_000_000);
        world
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.keyspace.set_time(self.now_ms);
    }

    fn say(&mut self, words: &str) -> String {
        let args: ArgsBuf = words.split(' ').collect();
        let ctx = Ctx { now_ms: self.now_ms, may_write: true, value_bytes_max: 1 << 20 };
        let mut reply = ReplyBuf::default();
        let command = lookup(args.as_args().name()).expect("a command");
        self.keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, &mut self.log);
        String::from_utf8_lossy(reply.as_bytes()).trim_end().to_owned()
    }

    /// Lets `count` keys go.
    fn evict(&mut self, count: usize) {
        for _ in 0..count {
            while match self.keyspace.evict_one(&mut self.log) {
                Evicted::One => false,
                Evicted::NotYet => true,
                Evicted::Nothing => panic!("no key may go"),
            } {}
        }
    }

    /// How many of the keys `{name}0` to `{name}{count - 1}` are there.
    fn left(&mut self, name: &str, count: usize) -> usize {
        (0..count).filter(|n| self.say(&format!("EXISTS {name}{n}")) == ":1").count()
    }
}

#[test]
fn keys_that_were_used_stay_and_idle_ones_go() {
    let mut world = World::new(Policy::AllKeysLru);
    for n in 0..400 {
        world.say(&format!("SET key{n} x"));
    }
    world.wait(60_000);
    for n in 0..200 {
        world.say(&format!("GET key{n}"));
    }
    world.wait(1000);
    world.evict(200);
    let used = world.left("key", 200);
    assert!(used > 170, "{used} of the 200 keys that were used are left");
    assert_eq!(world.keyspace.len(), 200);
}

#[test]
fn keys_that_are_used_often_stay() {
    let mut world = World::new(Policy::AllKeysLfu);
    for n in 0..400 {
        world.say(&format!("SET key{n} x"));
    }
    for _ in 0..50 {
        for n in 0..200 {
            world.say(&format!("GET key{n}"));
        }
    }
    world.evict(200);
    let used = world.left("key", 200);
    assert!(used > 170, "{used} of the 200 keys that were used are left");
}

#[test]
fn those_that_expire_soonest_go_first_and_others_never() {
    let mut world = World::new(Policy::VolatileTtl);
    for n in 0..200 {
        world.say(&format!("SET soon{n} x EX 100"));
        world.say(&format!("SET late{n} x EX 100000"));
        world.say(&format!("SET kept{n} x"));
    }
    world.evict(200);
    let late = world.left("late", 200);
    assert!(late > 170, "{late} of the 200 keys that expire later are left");
    world.evict(200);
    assert_eq!(world.left("kept", 200), 200);
    assert_eq!(world.keyspace.evict_one(&mut world.log), Evicted::Nothing);
}

#[test]
fn every_policy_takes_all_it_may_and_no_more() {
    for (name, policy) in Policy::ALL {
        let mut world = World::new(policy);
        for n in 0..50 {
            world.say(&format!("SET a{n} x"));
            world.say(&format!("RPUSH {{t}}b{n} x"));
            world.say(&format!("EXPIRE {{t}}b{n} 1000"));
        }
        let mut count = 0;
        while world.keyspace.evict_one(&mut world.log) == Evicted::One {
            count += 1;
        }
        let want = match name {
            "noeviction" => 0,
            _ if name.starts_with("volatile") => 50,
            _ => 100,
        };
        assert_eq!((count, world.keyspace.len()), (want, 100 - want), "{name}");
    }
}

#[test]
fn the_one_key_that_expires_among_many_is_found() {
    let mut world = World::new(Policy::VolatileLru);
    for n in 0..50_000 {
        world.say(&format!("SET {{t}}{n} x"));
    }
    world.say("EXPIRE {t}777 1000");
    world.evict(1);
    assert_eq!(world.say("EXISTS {t}777"), ":0");
    assert_eq!(world.keyspace.evict_one(&mut world.log), Evicted::Nothing);
}

#[test]
fn copies_follow_and_who_listens_is_told() {
    let mut world = World::new(Policy::AllKeysRandom);
    for n in 0..100 {
        world.say(&format!("SADD key{n} x"));
    }
    world.keyspace.want_events(cairn_keyspace::Classes::parse(b"KEe").unwrap());
    world.evict(1);
    let told = world.keyspace.take_events();
    assert!(matches!(&told[..], [Event { name: "evicted", .. }]));
    let gone = String::from_utf8(told[0].key.clone()).unwrap();
    assert_eq!(world.say(&format!("EXISTS {gone}")), ":0");
    let entries = world.log.take().unwrap();
    assert_eq!(entries.count, 101);
    let mut copy = Keyspace::new(9);
    copy.apply(&entries.body, entries.first).unwrap();
    assert_eq!(copy.digest(), world.keyspace.digest());
}

#[test]
fn idle_times_and_counters_are_told_where_they_are_noted() {
    let mut world = World::new(Policy::NoEviction);
    world.say("SET k x");
    world.wait(5000);
    let often = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
        Please note that when switching between policies at runtime LRU and LFU data will take \
        some time to adjust.";
    assert_eq!(world.say("OBJECT FREQ k"), often);
    assert_eq!(world.say("OBJECT IDLETIME k"), ":5");
    // Somebody asks: from now on reads are noted, but not looks.
    world.wait(5000);
    world.say("TTL k");
    world.say("TYPE k");
    world.say("EXISTS k");
    assert_eq!(world.say("OBJECT IDLETIME k"), ":10");
    world.say("TOUCH k");
    assert_eq!(world.say("OBJECT IDLETIME k"), ":0");
    world.wait(2000);
    world.say("RENAME k {k}2");
    assert_eq!(world.say("OBJECT IDLETIME {k}2"), ":0");
    assert_eq!(world.say("OBJECT IDLETIME none"), "$-1");
    let how = Eviction { policy: Policy::AllKeysLfu, ..Eviction::default() };
    world.keyspace.set_eviction(how);
    world.say("SET n x");
    assert_eq!(world.say("OBJECT FREQ n"), ":5");
    let idle = "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
        when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    assert_eq!(world.say("OBJECT IDLETIME n"), idle);
}

#[test]
fn what_is_noted_of_an_entry_survives_its_changes() {
    let mut world = World::new(Policy::AllKeysLfu);
    world.say("SET k x");
    for _ in 0..10_000 {
        world.say("GET k");
    }
    let count = world.say("OBJECT FREQ k");
    assert_ne!(count, ":5");
    let longer = format!("APPEND k {}", "0123456789".repeat(4));
    for change in ["EXPIRE k 1000", &longer, "PERSIST k"] {
        world.say(change);
        let now: u32 = world.say("OBJECT FREQ k")[1..].parse().unwrap();
        assert!(now >= count[1..].parse().unwrap(), "{change}: {now}");
    }
}

#[test]
fn a_key_that_may_go_is_found_at_once_where_none_might_before() {
    for tries in 0..20 {
        let mut world = World::new(Policy::VolatileTtl);
        world.say("SET stays x");
        for _ in 0..tries {
            assert_eq!(world.keyspace.evict_one(&mut world.log), Evicted::Nothing);
        }
        world.say("SET goes x EX 100");
        assert_eq!(world.keyspace.evict_one(&mut world.log), Evicted::One, "after {tries}");
    }
}
