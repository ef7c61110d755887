//! `cmsgpack`: values as MessagePack and back, in the forms that the library of Redis chooses.

use crate::convert::number;
use crate::library::problem;
use mlua::{Error, Lua, MultiValue, Result, Table, Value};
use rmp::encode;
use rmpv::decode::read_value_with_max_depth;

/// Tables in tables; deeper ones are written as nil.
const DEPTH_MAX: usize = 16;
/// No value begins with this byte.
const RESERVED: u8 = 0xc1;
/// Deeper values are not read.
const READ_DEPTH_MAX: usize = 100;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let cmsgpack = lua.create_table()?;
    cmsgpack.raw_set(
        "pack",
        lua.create_function(|lua, values: MultiValue| {
            if values.is_empty() {
                return Err(problem(
                    lua,
                    "bad argument #0 to 'pack' (MessagePack pack needs input.)",
                ));
            }
            let mut out = Vec::new();
            values.iter().try_for_each(|value| write(value, &mut out, 0))?;
            lua.create_string(out)
        })?,
    )?;
    cmsgpack.raw_set(
        "unpack",
        lua.create_function(|lua, text: mlua::String| {
            Ok(MultiValue::from_vec(read(lua, &text.as_bytes(), 0, usize::MAX)?.0))
        })?,
    )?;
    cmsgpack.raw_set(
        "unpack_one",
        lua.create_function(|lua, (text, from): (mlua::String, Option<i64>)| {
            some(lua, &text, 1, from)
        })?,
    )?;
    cmsgpack.raw_set(
        "unpack_limit",
        lua.create_function(|lua, (text, limit, from): (mlua::String, i64, Option<i64>)| {
            let limit = usize::try_from(limit);
            some(lua, &text, limit.map_err(|_| problem(lua, "Invalid request to unpack"))?, from)
        })?,
    )?;
    cmsgpack.raw_set("_NAME", "cmsgpack")?;
    Ok(cmsgpack)
}

fn write(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    match value {
        Value::Boolean(flag) => encode::write_bool(out, *flag).map_err(Error::external)?,
        Value::String(text) => {
            let text = text.as_bytes();
            let len = u32::try_from(text.len()).map_err(Error::external)?;
            encode::write_str_len(out, len).map_err(Error::external)?;
            out.extend_from_slice(&text);
        }
        Value::Table(table) if depth < DEPTH_MAX => write_table(table, out, depth)?,
        _ => match number(value) {
            Some(number) => write_number(number, out)?,
            None => encode::write_nil(out).map_err(Error::external)?,
        },
    }
    Ok(())
}

/// The shortest form without loss, whole numbers as such.
fn write_number(number: f64, out: &mut Vec<u8>) -> Result<()> {
    const WHOLE_MAX: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() == number && (-WHOLE_MAX..WHOLE_MAX).contains(&number) {
        encode::write_sint(out, number as i64).map_err(Error::external)?;
    } else if f64::from(number as f32) == number {
        encode::write_f32(out, number as f32).map_err(Error::external)?;
    } else {
        encode::write_f64(out, number).map_err(Error::external)?;
    }
    Ok(())
}

fn write_table(table: &Table, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    // Looked at twice rather than kept: Lua lets only some thousands of values be held at once.
    let (mut count, mut most, mut listed) = (0_u32, 0_i64, true);
    for pair in table.pairs::<Value, Value>() {
        let place = pair?.0.as_i64().filter(|at| *at >= 1);
        listed &= place.is_some();
        most = most.max(place.unwrap_or(0));
        count = count.checked_add(1).ok_or_else(|| Error::runtime("table is too large"))?;
    }
    if listed && most <= i64::from(count) {
        encode::write_array_len(out, count).map_err(Error::external)?;
        return (1..=count).try_for_each(|at| write(&table.raw_get(at)?, out, depth + 1));
    }
    encode::write_map_len(out, count).map_err(Error::external)?;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(&key, out, depth + 1)?;
        write(&value, out, depth + 1)?;
    }
    Ok(())
}

/// Up to `limit` values from byte `from` on, and where the next one begins.
fn read(lua: &Lua, text: &[u8], from: usize, limit: usize) -> Result<(Vec<Value>, usize)> {
    let mut rest = text.get(from..).unwrap_or_default();
    let mut values = Vec::new();
    while !rest.is_empty() && values.len() < limit {
        if rest[0] == RESERVED {
            return Err(problem(lua, "Bad data format in input."));
        }
        let value = read_value_with_max_depth(&mut rest, READ_DEPTH_MAX).map_err(|error| {
            let ended = error.kind() == std::io::ErrorKind::UnexpectedEof;
            problem(
                lua,
                if ended { "Missing bytes in input." } else { "Bad data format in input." },
            )
        })?;
        values.push(to_lua(lua, value)?);
    }
    Ok((values, text.len() - rest.len()))
}

/// Where the next value begins (-1 if there is none), and the values.
fn some(lua: &Lua, text: &mlua::String, limit: usize, from: Option<i64>) -> Result<MultiValue> {
    let text = text.as_bytes();
    let asked = from.unwrap_or(0);
    let Some(from) = usize::try_from(asked).ok() else {
        return Err(problem(lua, &format!("Invalid request to unpack with offset of {asked}.")));
    };
    if from > text.len() {
        let len = text.len();
        let text = format!("Start offset {from} greater than input length {len}.");
        return Err(problem(lua, &text));
    }
    let (values, next) = read(lua, &text, from, limit)?;
    let next = if next == text.len() { -1.0 } else { next as f64 };
    let mut all = MultiValue::from_vec(values);
    all.push_front(Value::Number(next));
    Ok(all)
}

fn to_lua(lua: &Lua, value: rmpv::Value) -> Result<Value> {
    Ok(match value {
        rmpv::Value::Boolean(flag) => Value::Boolean(flag),
        rmpv::Value::Integer(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        rmpv::Value::F32(number) => Value::Number(f64::from(number)),
        rmpv::Value::F64(number) => Value::Number(number),
        rmpv::Value::String(text) => Value::String(lua.create_string(text.as_bytes())?),
        rmpv::Value::Binary(bytes) => Value::String(lua.create_string(bytes)?),
        rmpv::Value::Array(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.into_iter().enumerate() {
                list.raw_set(at + 1, to_lua(lua, item)?)?;
            }
            Value::Table(list)
        }
        rmpv::Value::Map(pairs) => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                let key = to_lua(lua, key)?;
                if key.is_nil() || number(&key).is_some_and(f64::is_nan) {
                    return Err(problem(lua, "Bad data format in input."));
                }
                map.raw_set(key, to_lua(lua, value)?)?;
            }
            Value::Table(map)
        }
        rmpv::Value::Nil | rmpv::Value::Ext(..) => Value::Nil,
    })
}
