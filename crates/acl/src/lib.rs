//! Users of a keyspace and what each may do, by the rules of Redis 7.
//!
//! Pure: rules, passwords and requests come in, a decision comes out. In reading order:
//! * `table` lists the commands that rules can name, with their [`Category`]s; `names` finds them.
//! * `commands`, `pattern` and `selector` are what a set of rules allows; [`User`] has one or more,
//!   its passwords, and takes rules one by one.
//! * [`User::check`] holds a request against them; `access` says what a command does to its keys.
//! * [`Users`] are all users of a keyspace: those of its resource ([`Fixed`]) and those of its
//!   clients ([`Stored`]), which [`Stored::change`] changes.

mod access;
mod category;
mod check;
mod commands;
mod names;
mod pattern;
mod rule;
mod selector;
mod stored;
mod table;
mod text;
mod user;
mod users;

pub use category::{CATEGORIES, Category};
pub use check::{Denied, Reason};
pub use names::{Name, full_name};
pub use pattern::Access;
pub use rule::{Invalid, Problem, rules_of};
pub use selector::Selector;
pub use stored::{Change, Refused, Stored};
pub use user::User;
pub use users::{DEFAULT, Fixed, Users};
