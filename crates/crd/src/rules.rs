//! Every rule once: as CEL for the API server and as Rust for `cairn up`, with one message.
//!
//! A rule's message says what to write instead. Defaults are filled in before a rule is looked at,
//! by the API server as by serde. What the schema's types and enums refuse is not repeated here.

use crate::problem::Problem;
use crate::quantity::{SPAN_PATTERN, span_ms, span_text};

mod archive;
mod checkpoint;
mod cluster;
mod group;
mod keyspace;
mod log;
mod spare_pool;
mod tls;

pub use archive::{backup, restore};
pub use cluster::cluster;
pub use group::group;
pub use keyspace::keyspace;
pub use spare_pool::spare_pool;

/// Judges a resource by itself.
type Alone<T> = Box<dyn Fn(&T) -> bool>;
/// Judges a resource (first) as a change of an old one.
type Change<T> = Box<dyn Fn(&T, &T) -> bool>;

/// What must hold of a resource.
pub enum Check<T> {
    /// Of each one by itself.
    Alone(Alone<T>),
    /// Of the new one (first) as a change of the old one.
    Change(Change<T>),
}

/// One rule, in both languages.
pub struct Rule<T> {
    /// The field it is about, from the root: `spec.durability.ack`.
    pub path: String,
    /// The schema node that `self` is in `cel`: the root (empty) or `spec`.
    pub at: &'static str,
    /// The rule for the API server.
    pub cel: String,
    /// What to write instead.
    pub message: String,
    /// The same rule for everybody else.
    pub check: Check<T>,
}

impl<T> Rule<T> {
    /// A rule about a field of the spec; `self` in `cel` is the spec.
    fn spec(
        field: &str,
        cel: impl Into<String>,
        message: impl Into<String>,
        holds: impl Fn(&T) -> bool + 'static,
    ) -> Self {
        Self {
            path: format!("spec.{field}"),
            at: "spec",
            cel: cel.into(),
            message: message.into(),
            check: Check::Alone(Box::new(holds)),
        }
    }

    /// A rule about a change of the spec; `self` and `oldSelf` in `cel` are specs.
    fn change(
        field: &str,
        cel: impl Into<String>,
        message: impl Into<String>,
        holds: impl Fn(&T, &T) -> bool + 'static,
    ) -> Self {
        Self {
            path: format!("spec.{field}"),
            at: "spec",
            cel: cel.into(),
            message: message.into(),
            check: Check::Change(Box::new(holds)),
        }
    }

    /// A rule about the resource's name; `self` in `cel` is the whole resource.
    fn name(
        cel: impl Into<String>,
        message: impl Into<String>,
        holds: impl Fn(&T) -> bool + 'static,
    ) -> Self {
        Self {
            path: "metadata.name".to_owned(),
            at: "",
            cel: cel.into(),
            message: message.into(),
            check: Check::Alone(Box::new(holds)),
        }
    }

    /// The same where `condition` holds, which its Rust sees for itself.
    fn when(mut self, condition: &str) -> Self {
        self.cel = format!("!({condition}) || ({})", self.cel);
        self
    }

    /// A field of the spec between two numbers.
    fn range(
        field: &'static str,
        least: i32,
        most: i32,
        get: impl Fn(&T) -> i32 + 'static,
    ) -> Self {
        Self::spec(
            field,
            format!("self.{field} >= {least} && self.{field} <= {most}"),
            format!("must be {least} to {most}"),
            move |t| (least..=most).contains(&get(t)),
        )
    }

    /// A field of the spec that cannot change.
    fn fixed<V: PartialEq>(field: &'static str, get: impl Fn(&T) -> V + 'static) -> Self {
        Self::change(
            field,
            format!("self.{field} == oldSelf.{field}"),
            FIXED_MESSAGE,
            move |new, old| get(new) == get(old),
        )
    }

    /// The message for the API server, which tells the field only where it knows a schema: not of
    /// metadata.
    #[must_use]
    pub fn cel_message(&self) -> String {
        match self.at.is_empty() {
            true => format!("{} {}", self.path, self.message),
            false => self.message.clone(),
        }
    }

    fn holds(&self, new: &T, old: Option<&T>) -> bool {
        match (&self.check, old) {
            (Check::Alone(holds), _) => holds(new),
            (Check::Change(holds), Some(old)) => holds(new, old),
            (Check::Change(_), None) => true,
        }
    }
}

/// Every rule that `new` breaks, by itself and as a change of `old`, in the order of the rules.
pub fn problems<T>(rules: &[Rule<T>], new: &T, old: Option<&T>) -> Vec<Problem> {
    rules
        .iter()
        .filter(|rule| !rule.holds(new, old))
        .map(|rule| Problem { path: rule.path.clone(), message: rule.message.clone() })
        .collect()
}

/// A DNS label that begins with a letter, as names of Services must.
const NAME_PATTERN: &str = "^[a-z]([a-z0-9-]*[a-z0-9])?$";
/// Room for `-<group>-<ordinal>` and for what Kubernetes appends to names of pods.
const NAME_MAX: usize = 40;
const NAME_MESSAGE: &str = "must be 1 to 40 of a-z, 0-9 and -, beginning with a letter and ending \
                            with a letter or digit: the names of pods are made from it";

fn name_cel(value: &str) -> String {
    format!("{value}.size() <= {NAME_MAX} && {value}.matches('{NAME_PATTERN}')")
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(inner)
        && !name.ends_with('-')
}

/// Rules of a `pods` field, for any kind that has one.
fn pods<T: 'static>(at: &str, get: fn(&T) -> &crate::pods::Pods) -> Vec<Rule<T>> {
    let filled = |list: &[String]| list.iter().all(|name| !name.is_empty());
    vec![
        Rule::spec(
            &format!("{at}.image"),
            format!("!has(self.{at}.image) || self.{at}.image.size() >= 1"),
            "must not be empty: write an image, or leave it out",
            move |t| get(t).image.as_ref().is_none_or(|image| !image.is_empty()),
        ),
        Rule::spec(
            &format!("{at}.imagePullSecrets"),
            format!(
                "!has(self.{at}.imagePullSecrets) || \
                 self.{at}.imagePullSecrets.all(name, name.size() >= 1)"
            ),
            "must not hold empty names: write names of Secrets in the same namespace",
            move |t| filled(&get(t).image_pull_secrets),
        ),
    ]
}

const SIZE_MESSAGE: &str =
    "must be a whole number of at most 6 digits with a unit, for example 10Gi";
const FIXED_MESSAGE: &str = "cannot change; write the old value, or make a new resource";

/// Rules of a `storage` field, for any kind that has one.
fn storage<T: 'static>(get: fn(&T) -> &crate::shared::Storage) -> Vec<Rule<T>> {
    use crate::quantity::{SIZE_PATTERN, size_bytes};
    let class = "storage.className";
    let least = 1 << 30;
    vec![
        Rule::spec(
            "storage.size",
            format!("self.storage.size.matches('{SIZE_PATTERN}')"),
            SIZE_MESSAGE,
            move |t| size_bytes(&get(t).size).is_some(),
        ),
        Rule::spec(
            "storage.size",
            "quantity(self.storage.size).compareTo(quantity('1Gi')) >= 0",
            "must be at least 1Gi",
            move |t| size_bytes(&get(t).size).is_none_or(|bytes| bytes >= least),
        ),
        Rule::change(
            "storage.size",
            "quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0",
            "cannot shrink; write the old size or a greater one",
            move |new, old| {
                size_bytes(&get(new).size).is_none_or(|n| Some(n) >= size_bytes(&get(old).size))
            },
        ),
        Rule::change(
            class,
            format!(
                "has(self.{class}) == has(oldSelf.{class}) && \
                 (!has(self.{class}) || self.{class} == oldSelf.{class})"
            ),
            FIXED_MESSAGE,
            move |new, old| get(new).class_name == get(old).class_name,
        ),
    ]
}

/// A span that may be absent is written as one, for example `example`, and lies in its range of
/// milliseconds.
fn span<R: 'static>(
    field: &str,
    example: &str,
    (least_ms, most_ms): (u64, u64),
    written: impl Fn(&R) -> Option<&str> + Copy + 'static,
) -> [Rule<R>; 2] {
    let (least, most) = (span_text(least_ms), span_text(most_ms));
    [
        Rule::spec(
            field,
            format!("!has(self.{field}) || self.{field}.matches('{SPAN_PATTERN}')"),
            format!(
                "must be a whole number of at most 6 digits with a unit (ms, s, m, h), \
                 for example {example}"
            ),
            move |r: &R| written(r).is_none_or(|text| span_ms(text).is_some()),
        ),
        Rule::spec(
            field,
            format!(
                "!has(self.{field}) || (duration(self.{field}) >= duration('{least}') && \
                 duration(self.{field}) <= duration('{most}'))"
            ),
            format!("must be {least} to {most}"),
            move |r: &R| {
                let ms = written(r).and_then(span_ms);
                ms.is_none_or(|ms| (least_ms..=most_ms).contains(&ms))
            },
        ),
    ]
}

/// A size that may be absent is written as one and lies between two others.
fn size<R: 'static>(
    field: &str,
    (least, most): (&str, &str),
    written: impl Fn(&R) -> Option<&str> + Copy + 'static,
) -> [Rule<R>; 2] {
    use crate::quantity::{SIZE_PATTERN, size_bytes};
    let (low, high) = (size_bytes(least), size_bytes(most));
    [
        Rule::spec(
            field,
            format!("!has(self.{field}) || self.{field}.matches('{SIZE_PATTERN}')"),
            "must be a whole number of at most 6 digits with a unit, for example 64Mi",
            move |r: &R| written(r).is_none_or(|text| size_bytes(text).is_some()),
        ),
        Rule::spec(
            field,
            format!(
                "!has(self.{field}) || \
                 (quantity(self.{field}).compareTo(quantity('{least}')) >= 0 && \
                 quantity(self.{field}).compareTo(quantity('{most}')) <= 0)"
            ),
            format!("must be {least} to {most}"),
            move |r: &R| {
                let bytes = written(r).and_then(size_bytes);
                bytes.is_none() || (bytes >= low && bytes <= high)
            },
        ),
    ]
}
