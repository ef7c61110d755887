//! Commands on places: members of sorted sets whose scores are numbers of [`crate::geohash`].

use super::sorted_sets::{AddOptions, add_scores};
use crate::exec::Call;
use crate::geohash::Point;
use crate::refusal::Refusal;
use crate::value::sorted::Sorted;
use cairn_resp::Version;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

/// Reads a longitude and a latitude, arguments `at` and the one behind.
pub(super) fn point(call: &Call<'_>, at: usize) -> Result<Point, Refusal> {
    let number = |at: usize| parse_f64(call.arg(at)).ok_or(Refusal::NotFloat);
    let point = Point { longitude: number(at)?, latitude: number(at + 1)? };
    if point.is_on_map() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
    Err(Refusal::Text(text.into()))
}

/// How many meters a unit is.
pub(super) fn unit(word: &[u8]) -> Result<f64, Refusal> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(Refusal::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// Replies with a distance: always four places, always a text.
pub(super) fn reply_distance(call: &mut Call<'_>, distance: f64) {
    call.reply.bulk(format!("{distance:.4}").as_bytes());
}

/// Replies with a place.
pub(super) fn reply_point(call: &mut Call<'_>, point: Point) {
    call.reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match call.reply.version() {
            Version::Resp2 => call.reply.bulk(text.as_bytes()),
            Version::Resp3 => call.reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]
pub(crate) fn geoadd(call: &mut Call<'_>) -> Outcome {
    let (mut options, mut at) = (AddOptions::default(), 2);
    while at < call.argc() {
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"NX" => options.absent = true,
            b"XX" => options.present = true,
            b"CH" => options.changed = true,
            _ => break,
        }
        at += 1;
    }
    let left = call.argc() - at;
    if !left.is_multiple_of(3) || (options.absent && options.present) {
        return Err(Refusal::Syntax);
    }
    if left == 0 {
        return Err(Refusal::Syntax);
    }
    let mut pairs = Vec::with_capacity(left / 3);
    for at in (at..call.argc()).step_by(3) {
        pairs.push((point(call, at)?.encode() as f64, call.arg(at + 2)));
    }
    add_scores(call, &options, pairs.into_iter())
}

/// The places of the members from argument 2 on; none for each that is not there.
fn places(call: &mut Call<'_>) -> Result<Vec<Option<Point>>, Refusal> {
    let at = call.at_first();
    let place = call.find_as::<Sorted>(at, call.arg(1))?;
    let sorted = place.and_then(|place| call.ks.collection::<Sorted>(at, place));
    let score = |member| sorted.and_then(|sorted| sorted.score(call.ks.hasher(), member));
    Ok(call.args.from(2).iter().map(|member| score(member).map(Point::of_score)).collect())
}

/// GEOPOS key [member ...]
pub(crate) fn geopos(call: &mut Call<'_>) -> Outcome {
    let places = places(call)?;
    call.reply.array(places.len());
    for place in places {
        match place {
            Some(place) => reply_point(call, place),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

/// GEOHASH key [member ...]
pub(crate) fn geohash(call: &mut Call<'_>) -> Outcome {
    let places = places(call)?;
    call.reply.array(places.len());
    for place in places {
        match place {
            Some(place) => call.reply.bulk(&place.letters()),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// GEODIST key member member [M | KM | FT | MI]
pub(crate) fn geodist(call: &mut Call<'_>) -> Outcome {
    let meters = match call.argc() {
        4 => 1.0,
        5 => unit(call.arg(4))?,
        _ => return Err(Refusal::Syntax),
    };
    let places = places(call)?;
    match (places[0], places[1]) {
        (Some(one), Some(other)) => reply_distance(call, one.distance(other) / meters),
        _ => call.reply.null(),
    }
    Ok(())
}
