//! An archive of keyspaces in object storage or a folder, and the way back to any moment of it.
//!
//! In reading order:
//! * [`Backup`] is what a restore rests on: for each group a snapshot and the log after it.
//! * [`plan()`] chooses what to read for a moment, [`prune()`] what may go; both are pure.
//! * [`seal`](mod@seal) is how every object is written: in checked chunks, encrypted under a
//!   [`Key`] if there is one, bound to its name.
//! * [`run`](mod@run) is a stretch of a group's log as an object.
//! * [`Store`] reads and writes objects ([`Place`]), with bounds on tries and time.
//! * [`Archive`] is one keyspace's part of a store; [`State`] builds a group's data from it.
//!
//! Names of objects, below the place that a person gives:
//!
//! ```text
//! <cluster uid>/<keyspace>/backups/<begun, ms>-<random>.backup     written last, names the others
//! <cluster uid>/<keyspace>/groups/<group>/snapshots/<from>-<epoch>-<made, ms>-<bytes>.snap
//! <cluster uid>/<keyspace>/groups/<group>/log/<first>-<last>-<epoch>.run
//! ```
//!
//! An object is never changed, but for a backup, which grows with the log. What no backup names
//! is nothing: half an upload, or one that is going on.

mod archive;
mod backup;
mod error;
pub mod moment;
mod names;
mod plan;
mod prune;
pub mod run;
pub mod seal;
mod state;
mod store;

pub use archive::{Archive, Keyspaces, Verified};
pub use backup::{Backup, FORMAT, LogRun, Part, SnapshotObject};
pub use error::{Error, Result};
pub use names::Names;
pub use plan::{GroupPlan, Plan, covered, plan};
pub use prune::{Keep, Pruned, prune};
pub use seal::Key;
pub use state::State;
pub use store::{Credentials, Patience, Place, Store, Stored};
