//! Replies as Lua's values, and back.

use crate::number::general;
use cairn_resp::{Reply, ReplyBuf, Version};
use mlua::{Lua, Result, Table, Value};

/// Tables in tables that a script may answer with.
const DEPTH_MAX: usize = 32;

/// A reply to a command, as a script sees it.
pub(crate) fn to_lua(lua: &Lua, reply: Reply, version: Version) -> Result<Value> {
    Ok(match reply {
        Reply::Integer(number) => Value::Number(number as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Simple(text) => one(lua, "ok", lua.create_string(text)?)?,
        Reply::Error(text) => error(lua, &text)?,
        Reply::Null if version == Version::Resp2 => Value::Boolean(false),
        Reply::Null => Value::Nil,
        Reply::Boolean(flag) => Value::Boolean(flag),
        Reply::Double(number) => one(lua, "double", number)?,
        Reply::BigNumber(digits) => one(lua, "big_number", lua.create_string(digits)?)?,
        Reply::Verbatim(format, text) => {
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", format)?;
            verbatim.raw_set("string", lua.create_string(text)?)?;
            one(lua, "verbatim_string", verbatim)?
        }
        Reply::Array(items) | Reply::Push(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.into_iter().enumerate() {
                list.raw_set(at + 1, to_lua(lua, item, version)?)?;
            }
            Value::Table(list)
        }
        Reply::Set(items) => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, version)?, true)?;
            }
            one(lua, "set", set)?
        }
        Reply::Map(pairs) => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                map.raw_set(to_lua(lua, key, version)?, to_lua(lua, value, version)?)?;
            }
            one(lua, "map", map)?
        }
    })
}

/// A table with an error: what `redis.pcall` gives, and what `redis.call` raises.
pub(crate) fn error(lua: &Lua, text: &str) -> Result<Value> {
    one(lua, "err", lua.create_string(text)?)
}

fn one(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

/// A number of either kind.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// An argument of `redis.call`; none if it is neither a text nor a number.
pub(crate) fn argument(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Number(number) => Some(general(*number, 17).into_bytes()),
        _ => None,
    }
}

/// What a script returned, as a reply. `version`: what the script wants to speak.
///
/// # Errors
/// If a table cannot be read.
pub(crate) fn to_reply(value: &Value, version: Version, out: &mut ReplyBuf) -> Result<()> {
    written(value, version, out, 0)
}

fn written(value: &Value, version: Version, out: &mut ReplyBuf, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        out.error("ERR reached lua stack limit");
        return Ok(());
    }
    match value {
        Value::String(text) => out.bulk(&text.as_bytes()),
        Value::Integer(number) => out.integer(*number),
        // As C turns a double into an integer, but for what has no meaning there.
        Value::Number(number) => out.integer(*number as i64),
        Value::Boolean(flag) if version == Version::Resp3 => out.boolean(*flag),
        Value::Boolean(true) => out.integer(1),
        Value::Table(table) => return table_written(table, version, out, depth),
        _ => out.null(),
    }
    Ok(())
}

/// How many pairs a table has. They are not kept: Lua lets only some thousands of values be held.
fn count(table: &Table) -> Result<usize> {
    table.pairs::<Value, Value>().try_fold(0, |count, pair| pair.map(|_| count + 1))
}

fn table_written(table: &Table, version: Version, out: &mut ReplyBuf, depth: usize) -> Result<()> {
    if let Value::String(text) = table.raw_get("err")? {
        out.error(&String::from_utf8_lossy(&text.as_bytes()));
        return Ok(());
    }
    if let Value::String(text) = table.raw_get("ok")? {
        out.simple(&String::from_utf8_lossy(&text.as_bytes()));
        return Ok(());
    }
    if let Some(number) = number(&table.raw_get("double")?) {
        out.double(number);
        return Ok(());
    }
    if let Value::Table(map) = table.raw_get("map")? {
        out.map(count(&map)?);
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            written(&key, version, out, depth + 1)?;
            written(&value, version, out, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get("set")? {
        out.set(count(&set)?);
        for pair in set.pairs::<Value, Value>() {
            written(&pair?.0, version, out, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        let digits = String::from_utf8_lossy(&digits.as_bytes()).replace(['\r', '\n'], " ");
        out.big_number(&digits);
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")? {
        let (format, text) = (verbatim.raw_get("format")?, verbatim.raw_get("string")?);
        if let (Value::String(format), Value::String(text)) = (format, text)
            && let Ok(format) = <[u8; 3]>::try_from(&*format.as_bytes())
        {
            out.verbatim(format, &text.as_bytes());
            return Ok(());
        }
    }
    let (mark, mut count) = (out.begin_array(), 0);
    loop {
        match table.raw_get(count + 1)? {
            Value::Nil => break,
            item => written(&item, version, out, depth + 1)?,
        }
        count += 1;
    }
    out.end_array(mark, count);
    Ok(())
}
