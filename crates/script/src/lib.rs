//! Lua scripts of clients: a sandbox with bounds, and the way between Lua's values and replies.
//!
//! In reading order:
//! * [`Engine`] keeps compiled scripts and runs one at a time; [`Host`] is what a script may reach.
//! * `prelude.lua` builds the world of a run: what a script finds, and that nothing it does there
//!   is left for the next one.
//! * `convert` turns replies into Lua's values and back, as Redis 7 does.
//! * `functions` loads libraries, whose functions are called by name.
//! * `library` has what Redis gives to scripts beside Lua's own: `cjson`, `bit`, `redis.sha1hex`.
//!
//! Neither clock nor socket: the clock is given, commands go through [`Host`].

mod convert;
mod engine;
mod functions;
mod library;
mod number;
mod random;
mod shebang;
mod store;

pub use engine::{Engine, Host, Level, Limits, Run};
pub use functions::{Flag, Function, Library, Options};
pub use shebang::Declared;
pub use store::Sha;
