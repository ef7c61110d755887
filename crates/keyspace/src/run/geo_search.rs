//! Commands that search places near another: they look at all members in up to nine cells of the
//! map, O(n) in those, and sort what they find.

use super::geo::{point, reply_distance, reply_point, unit};
use super::sorted_unions::store_sorted;
use crate::exec::Call;
use crate::geohash::{Point, Shape};
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::snapshot::Touch;
use crate::table::Place;
use crate::value::sorted::Sorted;
use cairn_resp::number::parse_f64;

type Outcome = Result<(), Refusal>;

/// Which of the commands it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Around given degrees.
    Radius {
        stores: bool,
    },
    /// Around a member.
    RadiusByMember {
        stores: bool,
    },
    Search,
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn may_store(self) -> bool {
        matches!(self, Form::Radius { stores: true } | Form::RadiusByMember { stores: true })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Any,
    Nearest,
    Furthest,
}

/// What a command asks for.
struct Query<'a> {
    middle: Option<Point>,
    /// Whether it was said where the middle is, by a member or by degrees.
    by_member: bool,
    by_degrees: bool,
    shape: Option<Shape>,
    /// How many meters the command's unit is.
    unit: f64,
    distances: bool,
    numbers: bool,
    points: bool,
    order: Order,
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    store_distances: bool,
}

/// A member that was found.
struct Found {
    member: Vec<u8>,
    score: f64,
    point: Point,
    /// From the middle, in meters.
    distance: f64,
}

/// A distance in meters and the unit it was given in; argument `at` and the one behind.
fn radius(call: &Call<'_>, at: usize) -> Result<(Shape, f64), Refusal> {
    let radius = parse_f64(call.arg(at)).ok_or(Refusal::text("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(Refusal::text("ERR radius cannot be negative"));
    }
    let unit = unit(call.arg(at + 1))?;
    Ok((Shape::Circle(radius * unit), unit))
}

fn rectangle(call: &Call<'_>, at: usize) -> Result<(Shape, f64), Refusal> {
    let width = parse_f64(call.arg(at)).ok_or(Refusal::text("ERR need numeric width"))?;
    let height = parse_f64(call.arg(at + 1)).ok_or(Refusal::text("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(Refusal::text("ERR height or width cannot be negative"));
    }
    let unit = unit(call.arg(at + 2))?;
    Ok((Shape::Box(width * unit, height * unit), unit))
}

/// Where a sorted set is, if it is there.
type Source = Option<(At, Place)>;

fn member_point(call: &Call<'_>, source: Source, member: &[u8]) -> Result<Option<Point>, Refusal> {
    let Some((at, place)) = source else { return Ok(None) };
    let sorted = call.ks.collection::<Sorted>(at, place);
    let score = sorted.and_then(|sorted| sorted.score(call.ks.hasher(), member));
    let refused = Refusal::text("ERR could not decode requested zset member");
    score.map(|score| Some(Point::of_score(score))).ok_or(refused)
}

impl<'a> Query<'a> {
    fn new() -> Self {
        Self {
            middle: None,
            by_member: false,
            by_degrees: false,
            shape: None,
            unit: 1.0,
            distances: false,
            numbers: false,
            points: false,
            order: Order::Any,
            count: 0,
            any: false,
            store: None,
            store_distances: false,
        }
    }

    /// Reads the arguments that have fixed places; gives the first of the others.
    fn read_begin(
        &mut self,
        call: &Call<'a>,
        form: Form,
        source: Source,
    ) -> Result<usize, Refusal> {
        let first = match form {
            Form::Search => return Ok(2),
            Form::SearchStore => {
                self.store = Some(call.arg(1));
                return Ok(3);
            }
            Form::Radius { .. } => {
                self.middle = Some(point(call, 2)?);
                4
            }
            Form::RadiusByMember { .. } => {
                self.middle = member_point(call, source, call.arg(2))?;
                3
            }
        };
        // Without places nothing is measured, and a member's radius is not looked at.
        if self.middle.is_some() {
            self.set_shape(radius(call, first)?);
        }
        Ok(first + 2)
    }

    fn set_shape(&mut self, (shape, unit): (Shape, f64)) {
        (self.shape, self.unit) = (Some(shape), unit);
    }

    fn read_options(
        &mut self,
        call: &Call<'a>,
        form: Form,
        source: Source,
        mut at: usize,
    ) -> Outcome {
        while at < call.argc() {
            let left = call.argc() - at - 1;
            let word = call.arg(at).to_ascii_uppercase();
            let taken = match word.as_slice() {
                b"WITHDIST" => set(&mut self.distances, true),
                b"WITHHASH" => set(&mut self.numbers, true),
                b"WITHCOORD" => set(&mut self.points, true),
                b"ANY" => set(&mut self.any, true),
                b"ASC" => set(&mut self.order, Order::Nearest),
                b"DESC" => set(&mut self.order, Order::Furthest),
                b"COUNT" if left >= 1 => {
                    let count = usize::try_from(call.integer(at + 1)?).unwrap_or(0);
                    if count == 0 {
                        return Err(Refusal::text("ERR COUNT must be > 0"));
                    }
                    self.count = count;
                    2
                }
                b"STORE" | b"STOREDIST" if form.may_store() && left >= 1 => {
                    self.store = Some(call.arg(at + 1));
                    self.store_distances = word == b"STOREDIST";
                    2
                }
                b"STOREDIST" if form == Form::SearchStore => set(&mut self.store_distances, true),
                _ if form.is_search() => self.read_place(call, source, &word, at, left)?,
                _ => return Err(Refusal::Syntax),
            };
            at += taken;
        }
        Ok(())
    }

    /// Reads an option of GEOSEARCH that says where; how many arguments it has, its name included.
    fn read_place(
        &mut self,
        call: &Call<'a>,
        source: Source,
        word: &[u8],
        at: usize,
        left: usize,
    ) -> Result<usize, Refusal> {
        let circle = matches!(self.shape, None | Some(Shape::Circle(_)));
        let boxed = matches!(self.shape, None | Some(Shape::Box(..)));
        match word {
            b"FROMMEMBER" if left >= 1 && !self.by_degrees => {
                self.middle = member_point(call, source, call.arg(at + 1))?;
                self.by_member = true;
                Ok(2)
            }
            b"FROMLONLAT" if left >= 2 && !self.by_member => {
                self.middle = Some(point(call, at + 1)?);
                self.by_degrees = true;
                Ok(3)
            }
            b"BYRADIUS" if left >= 2 && circle => {
                self.set_shape(radius(call, at + 1)?);
                Ok(3)
            }
            b"BYBOX" if left >= 3 && boxed => {
                self.set_shape(rectangle(call, at + 1)?);
                Ok(4)
            }
            _ => Err(Refusal::Syntax),
        }
    }

    /// Whether what was said goes together.
    fn check(&self, call: &Call<'_>, form: Form) -> Outcome {
        if self.store.is_some() && (self.distances || self.numbers || self.points) {
            let name = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            let rest = "is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
            return Err(Refusal::Text(format!("ERR {name} {rest}").into()));
        }
        let name = String::from_utf8_lossy(call.arg(0));
        let missing = |what: &str| {
            Err(Refusal::Text(
                format!("ERR exactly one of {what} can be specified for {name}").into(),
            ))
        };
        if form.is_search() && !self.by_member && !self.by_degrees {
            return missing("FROMMEMBER or FROMLONLAT");
        }
        if form.is_search() && self.shape.is_none() {
            return missing("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(Refusal::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members inside, in the order that was asked for.
    fn found(&self, sorted: &Sorted) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let (Some(middle), Some(shape)) = (self.middle, self.shape) else { return found };
        let most = if self.any { self.count } else { usize::MAX };
        for (from, to) in shape.ranges(middle) {
            let first = sorted.rank(|score, _| score < from as f64);
            let end = sorted.rank(|score, _| score < to as f64);
            sorted.for_each(first, end - first, |score, member| {
                if found.len() >= most {
                    return;
                }
                let point = Point::of_score(score);
                if let Some(distance) = shape.distance(middle, point) {
                    found.push(Found { member: member.to_vec(), score, point, distance });
                }
            });
        }
        match self.order {
            Order::Any if self.count == 0 || self.any => {}
            Order::Any | Order::Nearest => {
                found.sort_by(|one, other| one.distance.total_cmp(&other.distance));
            }
            Order::Furthest => {
                found.sort_by(|one, other| other.distance.total_cmp(&one.distance));
            }
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, call: &mut Call<'_>, found: &[Found]) {
        let parts = [self.distances, self.numbers, self.points];
        let parts = parts.into_iter().filter(|wanted| *wanted).count();
        call.reply.array(found.len());
        for one in found {
            if parts > 0 {
                call.reply.array(parts + 1);
            }
            call.reply.bulk(&one.member);
            if self.distances {
                reply_distance(call, one.distance / self.unit);
            }
            if self.numbers {
                call.reply.integer(one.score as i64);
            }
            if self.points {
                reply_point(call, one.point);
            }
        }
    }

    fn as_sorted(&self, call: &Call<'_>, found: &[Found]) -> Sorted {
        let (mut sorted, mut touch) = (Sorted::default(), Touch::nobody(call.ks.hasher()));
        for one in found {
            let distance = one.distance / self.unit;
            let score = if self.store_distances { distance } else { one.score };
            sorted.set(&mut touch, &one.member, score);
        }
        sorted
    }
}

/// Sets a flag, which takes one argument.
fn set<T>(flag: &mut T, value: T) -> usize {
    *flag = value;
    1
}

fn search(call: &mut Call<'_>, form: Form) -> Outcome {
    let key = call.arg(if form == Form::SearchStore { 2 } else { 1 });
    let at = call.ks.locate(key);
    call.reads = true;
    let source = call.find_as::<Sorted>(at, key)?.map(|place| (at, place));
    let mut query = Query::new();
    let first = query.read_begin(call, form, source)?;
    query.read_options(call, form, source, first)?;
    query.check(call, form)?;
    let sorted = source.and_then(|(at, place)| call.ks.collection::<Sorted>(at, place));
    let found = sorted.map_or_else(Vec::new, |sorted| query.found(sorted));
    match query.store {
        Some(to) => {
            let search = form == Form::SearchStore;
            let event = if search { "geosearchstore" } else { "georadiusstore" };
            store_sorted(call, to, query.as_sorted(call, &found), event)
        }
        None => {
            query.reply(call, &found);
            Ok(())
        }
    }
}

/// GEORADIUS key longitude latitude radius unit [options, STORE key | STOREDIST key]
pub(crate) fn georadius(call: &mut Call<'_>) -> Outcome {
    search(call, Form::Radius { stores: true })
}

/// GEORADIUS_RO key longitude latitude radius unit [options]
pub(crate) fn georadius_ro(call: &mut Call<'_>) -> Outcome {
    search(call, Form::Radius { stores: false })
}

/// GEORADIUSBYMEMBER key member radius unit [options, STORE key | STOREDIST key]
pub(crate) fn georadiusbymember(call: &mut Call<'_>) -> Outcome {
    search(call, Form::RadiusByMember { stores: true })
}

/// GEORADIUSBYMEMBER_RO key member radius unit [options]
pub(crate) fn georadiusbymember_ro(call: &mut Call<'_>) -> Outcome {
    search(call, Form::RadiusByMember { stores: false })
}

/// GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit |
/// BYBOX width height unit [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
pub(crate) fn geosearch(call: &mut Call<'_>) -> Outcome {
    search(call, Form::Search)
}

/// GEOSEARCHSTORE to from … [ASC | DESC] [COUNT count [ANY]] [STOREDIST]
pub(crate) fn geosearchstore(call: &mut Call<'_>) -> Outcome {
    search(call, Form::SearchStore)
}
