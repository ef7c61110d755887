//! Places on the earth as numbers of 52 bits: near ones are mostly near in number.
//!
//! Latitude and longitude are each cut into 2^26 steps, and the bits of both are interleaved, the
//! latitude's below the longitude's. A *cell* is the same with fewer steps. All numbers and
//! distances are those of Redis, to the last bit.

/// The mean radius of the earth, in meters.
const EARTH_METERS: f64 = 6_372_797.560_856;
/// Half of the length of the equator on the Mercator map, in meters.
const MERCATOR_METERS: f64 = 20_037_726.37;
/// The northernmost latitude of that map, in degrees.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// The easternmost longitude, in degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// How often a whole number's range is halved.
const STEPS_MAX: u8 = 26;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Point {
    /// Whether there is a number for it.
    pub fn is_on_map(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The number of 52 bits.
    pub fn encode(self) -> u64 {
        Cell::around(self, STEPS_MAX, LATITUDE_MAX).bits()
    }

    /// The middle of what a number means.
    pub fn decode(bits: u64) -> Self {
        let area = Cell::of_bits(bits, STEPS_MAX).area();
        let middle = |(min, max): (f64, f64), most: f64| ((min + max) / 2.0).clamp(-most, most);
        Point {
            longitude: middle(area.longitude, LONGITUDE_MAX),
            latitude: middle(area.latitude, LATITUDE_MAX),
        }
    }

    /// What a score means, as Redis reads one that no command on places has made.
    pub fn of_score(score: f64) -> Self {
        const HALF: f64 = 9_223_372_036_854_775_808.0;
        let bits = if score < HALF { score as i64 as u64 } else { score as u64 };
        Self::decode(bits)
    }

    /// The distance along a great circle, in meters.
    pub fn distance(self, other: Point) -> f64 {
        let half = ((other.longitude.to_radians() - self.longitude.to_radians()) / 2.0).sin();
        if half == 0.0 {
            return self.latitude_distance(other);
        }
        let (lat, other_lat) = (self.latitude.to_radians(), other.latitude.to_radians());
        let rise = ((other_lat - lat) / 2.0).sin();
        let chord = rise * rise + lat.cos() * other_lat.cos() * half * half;
        2.0 * EARTH_METERS * chord.sqrt().asin()
    }

    /// The distance of two circles of latitude, in meters.
    fn latitude_distance(self, other: Point) -> f64 {
        EARTH_METERS * (other.latitude.to_radians() - self.latitude.to_radians()).abs()
    }

    /// The eleven letters of the usual geohash, whose latitudes reach to the poles.
    pub fn letters(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::around(self, STEPS_MAX, 90.0).bits();
        // Ten letters take fifty bits, and two are not enough for an eleventh.
        std::array::from_fn(|at| match at {
            10 => ALPHABET[0],
            _ => ALPHABET[(bits >> (47 - at * 5) & 31) as usize],
        })
    }
}

/// A rectangle of the map, in degrees: least and most of each.
#[derive(Clone, Copy)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

/// One of the equal cells of the map.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell {
    /// Which one from the west.
    x: u32,
    /// Which one from the south.
    y: u32,
    /// How often each range was halved.
    steps: u8,
}

/// Radians in degrees; the standard function rounds in another way.
fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

fn spread(bits: u32) -> u64 {
    (0..32).fold(0, |sum, at| sum | u64::from(bits >> at & 1) << (2 * at))
}

fn gather(bits: u64) -> u32 {
    (0..32).fold(0, |sum, at| sum | ((bits >> (2 * at) & 1) as u32) << at)
}

impl Cell {
    fn around(point: Point, steps: u8, latitude_max: f64) -> Self {
        let cells = (1_u64 << steps) as f64;
        let share = |value: f64, most: f64| (value - -most) / (most - -most);
        Self {
            x: (share(point.longitude, LONGITUDE_MAX) * cells) as u32,
            y: (share(point.latitude, latitude_max) * cells) as u32,
            steps,
        }
    }

    fn of_bits(bits: u64, steps: u8) -> Self {
        Self { x: gather(bits >> 1), y: gather(bits), steps }
    }

    fn bits(self) -> u64 {
        spread(self.y) | spread(self.x) << 1
    }

    fn area(self) -> Area {
        let cells = (1_u64 << self.steps) as f64;
        let edge = |at: u32, most: f64| -most + (f64::from(at) / cells) * (most - -most);
        let edges = |at: u32, most: f64| (edge(at, most), edge(at.wrapping_add(1), most));
        Area { longitude: edges(self.x, LONGITUDE_MAX), latitude: edges(self.y, LATITUDE_MAX) }
    }

    /// The cell so many further to the east and north; the map goes round.
    fn moved(self, east: i32, north: i32) -> Self {
        let mask = ((1_u64 << self.steps) - 1) as u32;
        let add = |at: u32, by: i32| match by {
            0 => at,
            _ => at.wrapping_add_signed(by) & mask,
        };
        Self { x: add(self.x, east), y: add(self.y, north), ..self }
    }

    /// The numbers of the places in it, the last one excluded.
    fn numbers(self) -> (u64, u64) {
        let unit = 52 - 2 * u32::from(self.steps);
        (self.bits() << unit, (self.bits() + 1) << unit)
    }
}

/// What is searched: in meters.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// All within a radius.
    Circle(f64),
    /// All within a box of this width and height.
    Box(f64, f64),
}

impl Shape {
    /// How far a place is from the middle, if it is inside.
    pub fn distance(self, middle: Point, place: Point) -> Option<f64> {
        match self {
            Shape::Circle(radius) => Some(middle.distance(place)).filter(|far| *far <= radius),
            Shape::Box(width, height) => {
                let level = Point { longitude: middle.longitude, latitude: place.latitude };
                let inside = place.latitude_distance(middle) <= height / 2.0
                    && place.distance(level) <= width / 2.0;
                inside.then(|| middle.distance(place))
            }
        }
    }

    /// The rectangle of the map that holds it.
    fn area(self, middle: Point) -> Area {
        let (width, height) = match self {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let up = degrees(height / EARTH_METERS);
        // The circle of latitude nearer to a pole is the shorter one: more degrees are needed.
        let narrow =
            if middle.latitude < 0.0 { middle.latitude - up } else { middle.latitude + up };
        let aside = degrees(width / EARTH_METERS / narrow.to_radians().cos());
        Area {
            longitude: (middle.longitude - aside, middle.longitude + aside),
            latitude: (middle.latitude - up, middle.latitude + up),
        }
    }

    /// How far the furthest place may be.
    fn reach(self) -> f64 {
        match self {
            Shape::Circle(radius) => radius,
            Shape::Box(width, height) => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        }
    }

    /// Ranges of numbers that hold all places inside, and others, in the order in which Redis looks
    /// at them; each ends before its second number.
    pub fn ranges(self, middle: Point) -> Vec<(u64, u64)> {
        let wanted = self.area(middle);
        let mut steps = steps_for(self.reach(), middle.latitude);
        let mut cell = Cell::around(middle, steps, LATITUDE_MAX);
        if steps > 1 && !neighbours_hold(cell, &wanted) {
            steps -= 1;
            cell = Cell::around(middle, steps, LATITUDE_MAX);
        }
        let held = cell.area();
        // With few cells the neighbours of one side are those of the other, too.
        let many = steps >= 2;
        let west = !(many && held.longitude.0 < wanted.longitude.0);
        let east = !(many && held.longitude.1 > wanted.longitude.1);
        let south = !(many && held.latitude.0 < wanted.latitude.0);
        let north = !(many && held.latitude.1 > wanted.latitude.1);
        let cells = [
            (true, 0, 0),
            (north, 0, 1),
            (south, 0, -1),
            (east, 1, 0),
            (west, -1, 0),
            (north && east, 1, 1),
            (north && west, -1, 1),
            (south && east, 1, -1),
            (south && west, -1, -1),
        ];
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(cells.len());
        for (needed, east, north) in cells {
            let range = cell.moved(east, north).numbers();
            // Where cells are so few that two are the same, they follow each other.
            if needed && (ranges.len() < 2 || ranges.last() != Some(&range)) {
                ranges.push(range);
            }
        }
        ranges
    }
}

/// Whether the neighbours on all sides reach as far as what is wanted.
fn neighbours_hold(cell: Cell, wanted: &Area) -> bool {
    cell.moved(0, 1).area().latitude.1 >= wanted.latitude.1
        && cell.moved(0, -1).area().latitude.0 <= wanted.latitude.0
        && cell.moved(1, 0).area().longitude.1 >= wanted.longitude.1
        && cell.moved(-1, 0).area().longitude.0 <= wanted.longitude.0
}

/// How often to halve the map so that nine cells hold a circle of this radius.
fn steps_for(meters: f64, latitude: f64) -> u8 {
    if meters == 0.0 {
        return STEPS_MAX;
    }
    let (mut reach, mut steps) = (meters, 1_i32);
    while reach < MERCATOR_METERS {
        reach *= 2.0;
        steps += 1;
    }
    // Two fewer for the base case, and wider ones towards the poles.
    steps -= 2 + i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, i32::from(STEPS_MAX)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Point = Point { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Point = Point { longitude: 15.087_269, latitude: 37.502_669 };

    #[test]
    fn numbers_letters_and_distances_are_the_known_ones() {
        assert_eq!(PALERMO.encode(), 3_479_099_956_230_698);
        assert_eq!(CATANIA.encode(), 3_479_447_370_796_909);
        let (palermo, catania) = (Point::decode(PALERMO.encode()), Point::decode(CATANIA.encode()));
        assert_eq!(&palermo.letters(), b"sqc8b49rny0");
        assert_eq!(&catania.letters(), b"sqdtr74hyu0");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    }

    #[test]
    fn ranges_hold_all_that_is_inside() {
        let mut dice = 5_u64;
        let mut draw = |most: f64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            ((dice >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0) * most
        };
        let mut inside = 0;
        for _ in 0..20_000 {
            let middle = Point { longitude: draw(170.0), latitude: draw(70.0) };
            let place = Point {
                longitude: middle.longitude + draw(3.0),
                latitude: middle.latitude + draw(3.0),
            };
            let shape = Shape::Circle(draw(150_000.0) + 150_000.0);
            if shape.distance(middle, place).is_some() {
                inside += 1;
                let number = place.encode();
                let held = |(from, to): &(u64, u64)| (*from..*to).contains(&number);
                assert!(shape.ranges(middle).iter().any(held), "{place:?} near {middle:?}");
            }
        }
        assert!(inside > 3000, "{inside}");
    }
}
