//! Scripts on a few commands; the replies are those of redis-server 7.0.15.

use cairn_logic::time::{Duration, Instant};
use cairn_resp::number::parse_i64;
use cairn_resp::{Args, ArgsBuf, ReplyBuf, Version};
use cairn_script::{Engine, Host, Level, Limits, Run};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::OnceLock;

fn now() -> Instant {
    static BEGAN: OnceLock<std::time::Instant> = OnceLock::new();
    let began = BEGAN.get_or_init(std::time::Instant::now);
    Instant::from_nanos(1 + began.elapsed().as_nanos() as u64)
}

/// Texts by key, and what a script has said.
#[derive(Default)]
struct Data {
    texts: HashMap<Vec<u8>, Vec<u8>>,
    lines: Vec<(Level, String)>,
}

impl Host for Data {
    fn call(&mut self, args: Args<'_>, out: &mut ReplyBuf) {
        match (args.name(), args.len()) {
            (b"SET", 3) => {
                self.texts.insert(args.get(1).to_vec(), args.get(2).to_vec());
                out.ok();
            }
            (b"GET", 2) => match self.texts.get(args.get(1)) {
                Some(text) => out.bulk(text),
                None => out.null(),
            },
            (b"INCR", 2) => {
                let text = self.texts.entry(args.get(1).to_vec()).or_default();
                let number = parse_i64(text).unwrap_or(0) + 1;
                *text = number.to_string().into_bytes();
                out.integer(number);
            }
            (b"PING", 1) => out.simple("PONG"),
            (b"HSET", 6) => out.integer(2),
            (b"LPUSH", 3) => {
                out.error("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            _ => out.error("ERR Unknown Redis command called from script"),
        }
    }

    fn may(&mut self, args: Args<'_>) -> Result<bool, String> {
        match args.name() {
            b"GET" => Ok(true),
            b"SET" => Ok(false),
            _ => Err("ERR Invalid command passed to redis.acl_check_cmd()".to_owned()),
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        self.lines.push((level, text.to_owned()));
    }
}

struct World {
    engine: Engine,
    data: Data,
}

impl World {
    /// Where nothing takes too long.
    fn new() -> Self {
        Self::within(Duration::from_secs(60))
    }

    fn within(time: Duration) -> Self {
        let limits =
            Limits { time, memory_bytes: 8 << 20, scripts_max: 100, scripts_bytes_max: 1 << 20 };
        let data = Data::default();
        Self { engine: Engine::new(limits, now).expect("an engine"), data }
    }

    fn eval(&mut self, text: &[u8]) -> String {
        let sha = match self.engine.load(text) {
            Ok(sha) => sha,
            Err(text) => return format!("-{text}\r\n"),
        };
        let (keys, arguments): (ArgsBuf, ArgsBuf) =
            (["k"].into_iter().collect(), ["a", "b"].into_iter().collect());
        let run = Run { keys: keys.as_args(), arguments: arguments.as_args() };
        let mut out = ReplyBuf::new(Version::Resp2);
        self.engine.run(&sha, run, &mut self.data, &mut out);
        String::from_utf8_lossy(out.as_bytes()).replace(&format!(" script: {}", sha.as_str()), "")
    }
}

#[test]
fn scripts_answer_as_those_of_redis() {
    let mut world = World::new();
    for (number, case) in include_str!("scripts.txt").split("\n\n").enumerate() {
        let (text, reply) = case.trim().rsplit_once('\n').expect("a script and its reply");
        let said = world.eval(text.as_bytes());
        assert_eq!(said.trim_end().replace("\r\n", " "), reply, "case {number}: {text}");
    }
}

#[test]
fn what_cannot_be_written_to_says_so() {
    let mut world = World::new();
    for script in [
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = {}",
        "rawset(redis, 'call', 1)",
        "redis = function() return 1 end",
        "_G = {}",
        "x = 1",
    ] {
        let said = world.eval(script.as_bytes());
        let want = "-ERR user_script:1: Attempt to modify a readonly table, on @user_script:1.\r\n";
        assert_eq!(said, want, "{script}");
    }
}

#[test]
fn libraries_can_be_looked_through_and_tell_the_time_that_passes() {
    let mut world = World::new();
    let names = b"local all = {} for name in pairs(os) do all[#all+1] = name end return all";
    assert_eq!(world.eval(names), "*1\r\n$5\r\nclock\r\n");
    let waits = b"local t = os.clock() while os.clock() - t < 0.01 do end return 1";
    assert_eq!(world.eval(waits), ":1\r\n");
    let binary = b"return loadstring(string.dump(function() return 1 end))()";
    assert!(world.eval(binary).contains("attempt to call a nil value"));
}

#[test]
fn what_a_script_sets_in_cjson_ends_with_it() {
    let mut world = World::new();
    let deep = "return cjson.encode({{1}})";
    let script = format!("cjson.encode_max_depth(1) {deep}");
    assert!(world.eval(script.as_bytes()).contains("excessive depth (2)"));
    assert_eq!(world.eval(deep.as_bytes()), "$5\r\n[[1]]\r\n");
    for (script, want) in [
        ("cjson.decode_max_depth(1) return cjson.decode('[[1]]')[1]", "too many nested"),
        ("return cjson.encode({0/0})", "must not be NaN or Inf"),
        ("cjson.encode_invalid_numbers('null') return cjson.encode({0/0})", "[null]"),
        ("cjson.encode_invalid_numbers(true) return cjson.encode({-1/0})", "[-Infinity]"),
        ("cjson.encode_number_precision(3) return cjson.encode({1/3})", "[0.333]"),
        ("return cjson.encode({[100]=1})", "excessively sparse array"),
        ("cjson.encode_sparse_array(true) return cjson.encode({[100]=1})", "{\"100\":1}"),
        ("cjson.encode_max_depth('deep')", "expected integer between 1 and 2147483647"),
    ] {
        let said = world.eval(script.as_bytes());
        assert!(said.contains(want), "{script}: {said}");
    }
}

#[test]
fn tables_of_many_texts_are_packed() {
    let mut world = World::new();
    let script = b"local all = {} for n = 1, 10000 do all['key' .. n] = n end \
        local back = cmsgpack.unpack(cmsgpack.pack(all)) return back.key10000";
    assert_eq!(world.eval(script), ":10000\r\n");
    let script = b"redis.setresp(3) local all = {} for n = 1, 10000 do all['key' .. n] = n end \
        return {map=all}";
    assert_eq!(world.eval(script).matches("key").count(), 10_000);
}

#[test]
fn a_number_of_any_size_breaks_no_line() {
    let mut world = World::new();
    let said = world.eval(b"return {big_number='123\\r\\n123'}");
    assert_eq!(said, "$8\r\n123  123\r\n");
}

#[test]
fn nothing_that_a_script_does_to_its_world_is_left_for_the_next_one() {
    let mut world = World::new();
    for spoilt in [
        "rawset(string, 'format', 1) return 1",
        "rawset(_G, 'tostring', 1) return 1",
        "rawset(redis, 'call', 1) return 1",
        "redis.x = 1",
        "getmetatable('').__index = {} return 1",
        "setmetatable(string, {}) return 1",
        "setmetatable(_G, {}) return 1",
        "getmetatable(_G).__index = {} return 1",
        "rawset(getmetatable(_G), 'x', 1) return 1",
        "redis = function() return 1 end",
        "_G = {}",
        "KEYS[1] = 'other' return 1",
        "local f = loadstring('x = 1') f()",
    ] {
        world.eval(spoilt.as_bytes());
        let said = world.eval(
            b"return {string.format('%d', 7), tostring(7), redis.call('PING'), ('x'):rep(2), \
              KEYS[1]}",
        );
        let same = "*5\r\n$1\r\n7\r\n$1\r\n7\r\n+PONG\r\n$2\r\nxx\r\n$1\r\nk\r\n";
        assert_eq!(said, same, "{spoilt}");
    }
}

#[test]
fn what_takes_too_long_is_stopped_and_what_it_wrote_stays() {
    let mut world = World::within(Duration::from_millis(300));
    for endless in [
        "redis.call('SET', 'k', 'v') while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return pcall(f) end while true do f() end",
        "while true do redis.call('GET', 'k') end",
    ] {
        assert!(world.eval(endless.as_bytes()).contains("took too long"), "{endless}");
    }
    assert_eq!(world.data.texts[&b"k"[..]], b"v");
}

#[test]
fn what_takes_too_much_is_stopped() {
    let mut world = World::new();
    for greedy in [
        "return string.rep('x', 100000000)",
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
    ] {
        let said = world.eval(greedy.as_bytes());
        assert!(said.starts_with("-ERR") && said.contains("memory"), "{greedy}: {said}");
    }
    let deep = world.eval(b"local function f() return 1 + f() end return f()");
    assert!(deep.contains("stack overflow"), "{deep}");
    assert_eq!(world.eval(b"local t = {} t[1] = t return t").matches("*1").count(), 33);
    assert_eq!(world.eval(b"return 1"), ":1\r\n");
}

#[test]
fn bytecode_is_no_script() {
    let mut world = World::new();
    assert!(world.eval(b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0").starts_with("-ERR Error compiling"));
    let said = world.eval(b"return {loadstring('\\27LuaQ')}");
    assert_eq!(said, "*0\r\n");
}

#[test]
fn scripts_are_found_by_their_sums_and_the_first_go_when_there_are_too_many() {
    let mut world = World::new();
    let first = world.engine.load(b"return 0").unwrap();
    for number in 1..=100 {
        world.engine.load(format!("return {number}").as_bytes()).unwrap();
    }
    assert_eq!(world.engine.scripts().0, 100);
    assert!(world.engine.declared(&first).is_none());
    let mut out = ReplyBuf::new(Version::Resp2);
    let none = ArgsBuf::new();
    let run = Run { keys: none.as_args(), arguments: none.as_args() };
    world.engine.run(&first, run, &mut world.data, &mut out);
    assert!(out.as_bytes().starts_with(b"-NOSCRIPT"));
}

#[test]
fn lines_of_the_log_arrive() {
    let mut world = World::new();
    let said = world.eval(b"redis.log(redis.LOG_WARNING, 'a', 1) redis.log(redis.LOG_DEBUG, 'b')");
    assert_eq!(said, "$-1\r\n");
    let lines = [(Level::Warning, "a 1".to_owned()), (Level::Debug, "b".to_owned())];
    assert_eq!(world.data.lines, lines);
}

/// Reads MessagePack, writes what was read, and reads that: `:1` if nothing is another then, `:2`
/// if something is, `:0` if there was nothing. Tables are compared by what they hold, for the order
/// of a table of Lua, which is that of its pack, depends on the order in which it was filled.
fn read_and_written(pack: &[u8]) -> String {
    let text: String = pack.iter().map(|byte| format!("\\{byte:03}")).collect();
    let script = format!(
        "local same \
         local function holds(table, key, value) \
           for k, v in pairs(table) do \
             if same(k, key) and same(v, value) then return true end \
           end \
           return false \
         end \
         local function within(a, b) \
           for k, v in pairs(a) do if not holds(b, k, v) then return false end end \
           return true \
         end \
         same = function(a, b) \
           if type(a) == 'table' and type(b) == 'table' then \
             return within(a, b) and within(b, a) \
           end \
           return a == b or (a ~= a and b ~= b) \
         end \
         local read = {{cmsgpack.unpack('{text}')}} if #read == 0 then return 0 end \
         local once = {{cmsgpack.unpack(cmsgpack.pack(unpack(read)))}} \
         local twice = {{cmsgpack.unpack(cmsgpack.pack(unpack(once)))}} \
         return same(once, twice) and 1 or 2"
    );
    World::new().eval(script.as_bytes())
}

#[test]
fn a_pack_whose_table_has_another_order_after_it_was_written_is_the_same() {
    let mut pack = vec![0x87, 34, 0xca, 0, 0, 0, 0];
    pack.extend([0; 6]);
    pack.extend([0xca, 20, 31, 87, 116, 0, 19, 0xd3]);
    pack.extend([0; 12]);
    assert_eq!(read_and_written(&pack), ":1\r\n");
    assert_eq!(read_and_written(&[0x92, 1, 2]), ":1\r\n");
    assert_eq!(read_and_written(&[]), ":0\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is sent as a script is answered by one whole reply.
    #[test]
    fn arbitrary_scripts_get_one_reply(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new();
        let said = world.eval(&text);
        prop_assert!(said.ends_with("\r\n"));
    }

    /// Whatever is read as MessagePack either is that or is refused, and is written as it was read.
    #[test]
    fn arbitrary_packs_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let said = read_and_written(&bytes);
        prop_assert!(said.starts_with(':') && said != ":2\r\n" || said.starts_with('-'), "{said}");
    }

    /// Whatever is read as JSON either is JSON or is refused.
    #[test]
    fn arbitrary_json_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-z\\\\ .-]{0,60}") {
        let mut world = World::new();
        let script = format!("return cjson.encode(cjson.decode({text:?}))");
        let said = world.eval(script.as_bytes());
        prop_assert!(said.starts_with('$') || said.starts_with('-'), "{said}");
    }
}
