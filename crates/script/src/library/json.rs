//! `cjson`: tables as JSON and back.

use crate::library::problem;
use crate::number::general;
use mlua::{Lua, Result, Table, Value};

/// Tables in tables.
const DEPTH_MAX: usize = 1000;
/// Digits of a number.
const SIGNIFICANT: usize = 14;
/// A list with more holes than this, and fewer values than a half, is refused.
const SPARSE_FROM: usize = 10;

/// A value, or why there is none.
type Outcome<T> = std::result::Result<T, String>;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let cjson = lua.create_table()?;
    cjson.raw_set(
        "encode",
        lua.create_function(|lua, value: Value| {
            let mut out = Vec::new();
            encode(&value, &mut out, 0).map_err(|error| problem(lua, &error))?;
            lua.create_string(out)
        })?,
    )?;
    cjson.raw_set(
        "decode",
        lua.create_function(|lua, text: mlua::String| {
            let parsed: serde_json::Value =
                serde_json::from_slice(&text.as_bytes()).map_err(|error| {
                    let at = error.column();
                    let text = format!("Expected value but found invalid token at character {at}");
                    problem(lua, &text)
                })?;
            decode(lua, parsed)
        })?,
    )?;
    cjson.raw_set("null", Value::NULL)?;
    cjson.raw_set("_NAME", "cjson")?;
    Ok(cjson)
}

fn encode(value: &Value, out: &mut Vec<u8>, depth: usize) -> Outcome<()> {
    match value {
        Value::Nil => out.extend(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend(b"null"),
        Value::Boolean(flag) => out.extend(flag.to_string().bytes()),
        Value::Integer(number) => out.extend(general(*number as f64, SIGNIFICANT).bytes()),
        Value::Number(number) if number.is_finite() => {
            out.extend(general(*number, SIGNIFICANT).bytes())
        }
        Value::Number(_) => return Err(wrong("number: must not be NaN or Inf")),
        Value::String(text) => quote(&text.as_bytes(), out),
        Value::Table(table) => {
            if depth >= DEPTH_MAX {
                return Err(format!("Cannot serialise, excessive depth ({})", depth + 1));
            }
            match list_len(table)? {
                Some(len) => list(table, len, out, depth)?,
                None => object(table, out, depth)?,
            }
        }
        other => return Err(wrong(&format!("{}: type not supported", other.type_name()))),
    }
    Ok(())
}

fn said(error: mlua::Error) -> String {
    error.to_string()
}

fn wrong(what: &str) -> String {
    format!("Cannot serialise {what}")
}

/// How long the list is that a table is; none if it has other keys, or nothing.
fn list_len(table: &Table) -> Outcome<Option<usize>> {
    let (mut most, mut count) = (0_usize, 0_usize);
    for pair in table.pairs::<Value, Value>() {
        let at = match pair.map_err(said)?.0 {
            Value::Integer(at) if at >= 1 => at as usize,
            _ => return Ok(None),
        };
        (most, count) = (most.max(at), count + 1);
    }
    if most > SPARSE_FROM && most > count * 2 {
        return Err(wrong("table: excessively sparse array"));
    }
    Ok((count > 0).then_some(most))
}

fn list(table: &Table, len: usize, out: &mut Vec<u8>, depth: usize) -> Outcome<()> {
    out.push(b'[');
    for at in 1..=len {
        if at > 1 {
            out.push(b',');
        }
        encode(&table.raw_get(at).map_err(said)?, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

fn object(table: &Table, out: &mut Vec<u8>, depth: usize) -> Outcome<()> {
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(said)?;
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        match key {
            Value::String(key) => quote(&key.as_bytes(), out),
            Value::Integer(key) => quote(key.to_string().as_bytes(), out),
            Value::Number(key) => quote(general(key, SIGNIFICANT).as_bytes(), out),
            _ => return Err(wrong("table: table key must be a number or string")),
        }
        out.push(b':');
        encode(&value, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

/// A text in quotes; bytes above 127 stay as they are.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend([b'\\', byte]),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 | 0x7f => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn decode(lua: &Lua, value: serde_json::Value) -> Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.into_iter().enumerate() {
                list.raw_set(at + 1, decode(lua, item)?)?;
            }
            Value::Table(list)
        }
        serde_json::Value::Object(pairs) => {
            let object = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                object.raw_set(key, decode(lua, value)?)?;
            }
            Value::Table(object)
        }
    })
}
