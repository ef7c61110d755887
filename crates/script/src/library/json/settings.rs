//! How `cjson` encodes and decodes: what a script may set for itself, until it ends.

use crate::convert;
use crate::library::problem;
use mlua::{Lua, MultiValue, Result, Table, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// What is done with numbers that JSON has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    Refused,
    Written,
    Null,
}

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Tables in tables that are encoded.
    pub encode_depth_max: usize,
    /// Lists and objects in each other that are decoded.
    pub decode_depth_max: usize,
    /// Digits of a number.
    pub digits: usize,
    /// Numbers that are none, or infinite.
    pub odd: Odd,
    /// Whether a list with many holes is an object.
    pub sparse_is_object: bool,
    /// A list has many holes if it is so many times as long as it has values; 0 is never.
    pub sparse_ratio: usize,
    /// A list as long as this has never many.
    pub sparse_from: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            digits: 14,
            odd: Odd::Refused,
            sparse_is_object: false,
            sparse_ratio: 2,
            sparse_from: 10,
        }
    }
}

/// The settings of the script that is being run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Json(Arc<Mutex<Settings>>);

impl Json {
    /// As they are at the beginning: what a script sets holds for itself alone.
    pub fn reset(&self) {
        self.change(|settings| *settings = Settings::default());
    }

    pub(super) fn get(&self) -> Settings {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds the functions that set them; each says what is set.
    pub(super) fn functions(&self, lua: &Lua, cjson: &Table) -> Result<()> {
        type Part = fn(&mut Settings) -> &mut usize;
        let numbers: [(&str, i64, Part); 3] = [
            ("encode_max_depth", i64::from(i32::MAX), |it| &mut it.encode_depth_max),
            ("decode_max_depth", i64::from(i32::MAX), |it| &mut it.decode_depth_max),
            ("encode_number_precision", 14, |it| &mut it.digits),
        ];
        for (name, most, part) in numbers {
            let json = self.clone();
            let set = move |lua: &Lua, args: MultiValue| {
                if let Some(given) = args.front() {
                    let number = number(lua, given, 1, 1, most)?;
                    json.change(|settings| *part(settings) = number);
                }
                Ok(*part(&mut json.get()) as f64)
            };
            cjson.raw_set(name, lua.create_function(set)?)?;
        }
        let json = self.clone();
        let set = move |lua: &Lua, args: MultiValue| json.set_odd(lua, &args);
        cjson.raw_set("encode_invalid_numbers", lua.create_function(set)?)?;
        let json = self.clone();
        let set = move |lua: &Lua, args: MultiValue| json.set_sparse(lua, &args);
        cjson.raw_set("encode_sparse_array", lua.create_function(set)?)?;
        // There is no buffer that could be kept.
        let keep = |lua: &Lua, args: MultiValue| args.front().map_or(Ok(true), |it| flag(lua, it));
        cjson.raw_set("encode_keep_buffer", lua.create_function(keep)?)
    }

    fn set_odd(&self, lua: &Lua, args: &MultiValue) -> Result<Value> {
        if let Some(given) = args.front() {
            let odd = match given {
                Value::String(text) if *text.as_bytes() == *b"null" => Odd::Null,
                Value::String(text) if *text.as_bytes() == *b"on" => Odd::Written,
                Value::String(text) if *text.as_bytes() == *b"off" => Odd::Refused,
                _ if flag(lua, given)? => Odd::Written,
                _ => Odd::Refused,
            };
            self.change(|settings| settings.odd = odd);
        }
        Ok(match self.get().odd {
            Odd::Refused => Value::Boolean(false),
            Odd::Written => Value::Boolean(true),
            Odd::Null => Value::String(lua.create_string("null")?),
        })
    }

    fn set_sparse(&self, lua: &Lua, args: &MultiValue) -> Result<(bool, f64, f64)> {
        const MOST: i64 = i32::MAX as i64;
        if let Some(given) = args.front() {
            let flag = flag(lua, given)?;
            self.change(|settings| settings.sparse_is_object = flag);
        }
        if let Some(given) = args.get(1) {
            let ratio = number(lua, given, 2, 0, MOST)?;
            self.change(|settings| settings.sparse_ratio = ratio);
        }
        if let Some(given) = args.get(2) {
            let from = number(lua, given, 3, 0, MOST)?;
            self.change(|settings| settings.sparse_from = from);
        }
        let Settings { sparse_is_object, sparse_ratio, sparse_from, .. } = self.get();
        Ok((sparse_is_object, sparse_ratio as f64, sparse_from as f64))
    }
}

fn flag(lua: &Lua, given: &Value) -> Result<bool> {
    given.as_boolean().ok_or_else(|| problem(lua, "bad argument #1 (expected a boolean)"))
}

fn number(lua: &Lua, given: &Value, place: usize, least: i64, most: i64) -> Result<usize> {
    let number = convert::number(given).map(|number| number as i64);
    let number = number.filter(|number| (least..=most).contains(number));
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        let text = format!("bad argument #{place} (expected integer between {least} and {most})");
        problem(lua, &text)
    })
}
