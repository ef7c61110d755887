//! What scripts find beside Lua's own libraries, which are those of Redis 7.

mod bits;
mod json;
mod msgpack;

use crate::convert;
use crate::engine::{Level, place_of_script};
use crate::random::Random;
use crate::store::Sha;
use cairn_logic::time::Instant;
use cairn_resp::Version;
pub(crate) use json::Json;
use mlua::{Error, Lua, MultiValue, Result, Table, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Of Lua's own functions, what cannot reach out of a run.
const BASE: [&str; 18] = [
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
];

/// The numbers of `math.random`.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Arc<Mutex<Random>>);

impl Dice {
    pub fn new(seed: i32) -> Self {
        Self(Arc::new(Mutex::new(Random::new(seed))))
    }

    fn seed(&self, seed: i32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Random::new(seed);
    }

    fn fraction(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fraction()
    }
}

/// Functions that are found by their names alone.
pub(crate) fn base(lua: &Lua) -> Result<Table> {
    let (all, base) = (lua.globals(), lua.create_table()?);
    for name in BASE {
        base.raw_set(name, all.raw_get::<Value>(name)?)?;
    }
    // All texts share one metatable: nobody gets at it.
    let text = Value::String(lua.create_string("")?);
    let getmetatable: mlua::Function = all.raw_get("getmetatable")?;
    if let Value::Table(of_texts) = getmetatable.call(text)? {
        of_texts.raw_set("__metatable", false)?;
    }
    Ok(base)
}

/// Libraries by name.
pub(crate) fn libraries(
    lua: &Lua,
    dice: &Dice,
    now: fn() -> Instant,
    json: &Json,
) -> Result<Table> {
    let (all, libraries) = (lua.globals(), lua.create_table()?);
    let os = lua.create_table()?;
    let clock = move |_: &Lua, _: MultiValue| Ok(now().as_nanos() as f64 / 1e9);
    os.raw_set("clock", lua.create_function(clock)?)?;
    libraries.raw_set("os", os)?;
    for name in ["string", "table", "math"] {
        libraries.raw_set(name, all.raw_get::<Value>(name)?)?;
    }
    let math: Table = libraries.raw_get("math")?;
    let thrown = dice.clone();
    math.raw_set(
        "random",
        lua.create_function(move |_, bounds: MultiValue| random(&thrown, &bounds))?,
    )?;
    let seeded = dice.clone();
    math.raw_set(
        "randomseed",
        lua.create_function(move |_, seed: f64| {
            seeded.seed(seed as i64 as i32);
            Ok(())
        })?,
    )?;
    libraries.raw_set("bit", bits::library(lua)?)?;
    libraries.raw_set("cjson", json::library(lua, json)?)?;
    libraries.raw_set("cmsgpack", msgpack::library(lua)?)?;
    Ok(libraries)
}

fn random(dice: &Dice, bounds: &MultiValue) -> Result<f64> {
    let bound = |at: usize| {
        let number = bounds.get(at).and_then(convert::number);
        number.ok_or_else(|| Error::runtime(format!("bad argument #{} to 'random'", at + 1)))
    };
    let fraction = dice.fraction();
    let (low, high) = match bounds.len() {
        0 => return Ok(fraction),
        1 => (1.0, bound(0)?.trunc()),
        2 => (bound(0)?.trunc(), bound(1)?.trunc()),
        _ => return Err(Error::runtime("wrong number of arguments")),
    };
    if low > high {
        return Err(Error::runtime(format!(
            "bad argument #{} to 'random' (interval is empty)",
            bounds.len()
        )));
    }
    Ok((fraction * (high - low + 1.0)).floor() + low)
}

/// What `redis` has beside its commands.
pub(crate) fn common(lua: &Lua) -> Result<Table> {
    let redis = lua.create_table()?;
    redis.raw_set(
        "sha1hex",
        lua.create_function(|lua, args: MultiValue| {
            let [text] = Vec::from(args).try_into().map_err(|_| wrong_number())?;
            let text = convert::argument(&text).ok_or_else(wrong_number)?;
            lua.create_string(Sha::of(&text).as_str())
        })?,
    )?;
    redis.raw_set(
        "error_reply",
        lua.create_function(|lua, args: MultiValue| {
            let text = only_text(args)?;
            let text = text.strip_prefix('-').unwrap_or(&text);
            convert::error(
                lua,
                &if text.contains(' ') { text.to_owned() } else { format!("ERR {text}") },
            )
        })?,
    )?;
    redis.raw_set(
        "status_reply",
        lua.create_function(|lua, args: MultiValue| {
            let status = lua.create_table()?;
            status.raw_set("ok", only_text(args)?)?;
            Ok(status)
        })?,
    )?;
    // Effects are what is logged, always.
    redis.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    redis.raw_set(
        "set_repl",
        lua.create_function(|_, which: f64| match which as i64 {
            3 => Ok(()),
            _ => Err(Error::runtime(
                "redis.set_repl: every write is replicated here, REPL_ALL is the only choice",
            )),
        })?,
    )?;
    redis.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
    redis.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    redis.raw_set("REDIS_VERSION", "7.0.15")?;
    redis.raw_set("REDIS_VERSION_NUM", 0x0007_000f)?;
    let numbers = [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ];
    numbers.into_iter().try_for_each(|(name, number)| redis.raw_set(name, number))?;
    Ok(redis)
}

/// An error of a library, which says where the script is.
fn problem(lua: &Lua, text: &str) -> Error {
    match place_of_script(lua) {
        Some((name, line)) => {
            Error::runtime(format!("{}:{line}: {text}", name.trim_start_matches('@')))
        }
        None => Error::runtime(text),
    }
}

fn wrong_number() -> Error {
    Error::runtime("wrong number of arguments")
}

fn only_text(args: MultiValue) -> Result<String> {
    let wrong = || Error::runtime("wrong number or type of arguments");
    let [text] = Vec::from(args).try_into().map_err(|_| wrong())?;
    match text {
        Value::String(text) => Ok(text.to_string_lossy()),
        _ => Err(wrong()),
    }
}

/// `redis.log(level, text, …)`
pub(crate) fn log(args: &MultiValue, take: impl FnOnce(Level, &str)) -> Result<()> {
    if args.len() < 2 {
        return Err(Error::runtime("redis.log() requires two arguments or more."));
    }
    let mut args = args.iter();
    let level = args.next().and_then(convert::number);
    let level = match level.map(|level| level as i64) {
        Some(0) => Level::Debug,
        Some(1) => Level::Verbose,
        Some(2) => Level::Notice,
        Some(3) => Level::Warning,
        Some(_) => return Err(Error::runtime("Invalid debug level.")),
        None => return Err(Error::runtime("First argument must be a number (log level).")),
    };
    let words: Vec<_> = args.filter_map(convert::argument).collect();
    let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    take(level, &words.join(" "));
    Ok(())
}

/// `redis.setresp(2)` or `redis.setresp(3)`
pub(crate) fn version(args: &MultiValue) -> Result<Version> {
    let (1, Some(version)) = (args.len(), args.front().and_then(convert::number)) else {
        return Err(Error::runtime("redis.setresp() requires one argument."));
    };
    match version as i64 {
        2 => Ok(Version::Resp2),
        3 => Ok(Version::Resp3),
        _ => Err(Error::runtime("RESP version must be 2 or 3.")),
    }
}
