//! `cjson`: tables as JSON and back.

mod settings;

use crate::library::problem;
use crate::number::general;
use mlua::{Lua, Result, Table, Value};
use settings::{Odd, Settings};

pub(crate) use settings::Json;

/// A value, or why there is none.
type Outcome<T> = std::result::Result<T, String>;

pub(super) fn library(lua: &Lua, json: &Json) -> Result<Table> {
    let cjson = lua.create_table()?;
    json.functions(lua, &cjson)?;
    let (encoding, decoding) = (json.clone(), json.clone());
    cjson.raw_set(
        "encode",
        lua.create_function(move |lua, value: Value| {
            let mut out = Vec::new();
            let how = encoding.get();
            encode(&value, &mut out, 0, &how).map_err(|error| problem(lua, &error))?;
            lua.create_string(out)
        })?,
    )?;
    cjson.raw_set(
        "decode",
        lua.create_function(move |lua, text: mlua::String| {
            let parsed: serde_json::Value =
                serde_json::from_slice(&text.as_bytes()).map_err(|error| {
                    let at = error.column();
                    let text = format!("Expected value but found invalid token at character {at}");
                    problem(lua, &text)
                })?;
            decode(lua, parsed, decoding.get().decode_depth_max, 1)
        })?,
    )?;
    cjson.raw_set("null", Value::NULL)?;
    cjson.raw_set("_NAME", "cjson")?;
    Ok(cjson)
}

fn encode(value: &Value, out: &mut Vec<u8>, depth: usize, how: &Settings) -> Outcome<()> {
    match value {
        Value::Nil => out.extend(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend(b"null"),
        Value::Boolean(flag) => out.extend(flag.to_string().bytes()),
        Value::Integer(number) => out.extend(general(*number as f64, how.digits).bytes()),
        Value::Number(number) if number.is_finite() => {
            out.extend(general(*number, how.digits).bytes())
        }
        Value::Number(_) if how.odd == Odd::Null => out.extend(b"null"),
        Value::Number(number) if how.odd == Odd::Written => {
            let word = if number.is_nan() { "NaN" } else { "Infinity" };
            let minus = if number.is_sign_negative() && !number.is_nan() { "-" } else { "" };
            out.extend(format!("{minus}{word}").bytes());
        }
        Value::Number(_) => return Err(wrong("number: must not be NaN or Inf")),
        Value::String(text) => quote(&text.as_bytes(), out),
        Value::Table(table) => {
            if depth >= how.encode_depth_max {
                return Err(format!("Cannot serialise, excessive depth ({})", depth + 1));
            }
            match list_len(table, how)? {
                Some(len) => list(table, len, out, depth, how)?,
                None => object(table, out, depth, how)?,
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
fn list_len(table: &Table, how: &Settings) -> Outcome<Option<usize>> {
    let (mut most, mut count) = (0_usize, 0_usize);
    for pair in table.pairs::<Value, Value>() {
        let at = match pair.map_err(said)?.0 {
            Value::Integer(at) if at >= 1 => at as usize,
            _ => return Ok(None),
        };
        (most, count) = (most.max(at), count + 1);
    }
    let sparse = how.sparse_ratio > 0 && most > count.saturating_mul(how.sparse_ratio);
    if sparse && most > how.sparse_from {
        if how.sparse_is_object {
            return Ok(None);
        }
        return Err(wrong("table: excessively sparse array"));
    }
    Ok((count > 0).then_some(most))
}

fn list(table: &Table, len: usize, out: &mut Vec<u8>, depth: usize, how: &Settings) -> Outcome<()> {
    out.push(b'[');
    for at in 1..=len {
        if at > 1 {
            out.push(b',');
        }
        encode(&table.raw_get(at).map_err(said)?, out, depth + 1, how)?;
    }
    out.push(b']');
    Ok(())
}

fn object(table: &Table, out: &mut Vec<u8>, depth: usize, how: &Settings) -> Outcome<()> {
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
            Value::Number(key) => quote(general(key, how.digits).as_bytes(), out),
            _ => return Err(wrong("table: table key must be a number or string")),
        }
        out.push(b':');
        encode(&value, out, depth + 1, how)?;
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

fn decode(lua: &Lua, value: serde_json::Value, depth_max: usize, depth: usize) -> Result<Value> {
    if depth > depth_max && (value.is_array() || value.is_object()) {
        return Err(problem(lua, &format!("Found too many nested data structures ({depth})")));
    }
    Ok(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(items) => {
            let list = lua.create_table_with_capacity(items.len(), 0)?;
            for (at, item) in items.into_iter().enumerate() {
                list.raw_set(at + 1, decode(lua, item, depth_max, depth + 1)?)?;
            }
            Value::Table(list)
        }
        serde_json::Value::Object(pairs) => {
            let object = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                object.raw_set(key, decode(lua, value, depth_max, depth + 1)?)?;
            }
            Value::Table(object)
        }
    })
}
