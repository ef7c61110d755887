//! `bit`: operations on 32 bits, as the library of that name (bitop.luajit.org) defines them.

use mlua::{Lua, Result, Table, Variadic};

/// A number's low 32 bits, whatever it is.
fn bits(number: f64) -> i32 {
    number.round_ties_even().rem_euclid(4_294_967_296.0) as u32 as i32
}

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let bit = lua.create_table()?;
    bit.raw_set("tobit", lua.create_function(|_, x: f64| Ok(bits(x)))?)?;
    bit.raw_set("bnot", lua.create_function(|_, x: f64| Ok(!bits(x)))?)?;
    bit.raw_set("bswap", lua.create_function(|_, x: f64| Ok(bits(x).swap_bytes()))?)?;
    bit.raw_set(
        "tohex",
        lua.create_function(|_, (x, digits): (f64, Option<f64>)| {
            let digits = digits.map_or(8, |digits| digits as i64);
            let text = format!("{:08x}", bits(x));
            let kept = text[8 - usize::try_from(digits.abs()).unwrap_or(8).min(8)..].to_owned();
            Ok(if digits < 0 { kept.to_ascii_uppercase() } else { kept })
        })?,
    )?;
    let folded = |fold: fn(i32, i32) -> i32| {
        lua.create_function(move |_, (first, rest): (f64, Variadic<f64>)| {
            Ok(rest.iter().fold(bits(first), |sum, number| fold(sum, bits(*number))))
        })
    };
    bit.raw_set("band", folded(|a, b| a & b)?)?;
    bit.raw_set("bor", folded(|a, b| a | b)?)?;
    bit.raw_set("bxor", folded(|a, b| a ^ b)?)?;
    let shifted = |shift: fn(i32, u32) -> i32| {
        lua.create_function(move |_, (x, by): (f64, f64)| Ok(shift(bits(x), bits(by) as u32 & 31)))
    };
    bit.raw_set("lshift", shifted(|x, by| ((x as u32) << by) as i32)?)?;
    bit.raw_set("rshift", shifted(|x, by| (x as u32 >> by) as i32)?)?;
    bit.raw_set("arshift", shifted(|x, by| x >> by)?)?;
    bit.raw_set("rol", shifted(|x, by| x.rotate_left(by))?)?;
    bit.raw_set("ror", shifted(|x, by| x.rotate_right(by))?)?;
    Ok(bit)
}
