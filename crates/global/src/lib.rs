//! What a global master does with its directory: the judges of all groups, and the planner.
//!
//! Pure: no clock, socket or thread. It acts on committed revisions only; whoever runs it performs
//! its [`Act`]s. The node runs it over real sockets, the simulator in its seeded world. Read
//! [`View`] for what it knows, [`GlobalMaster`] for what it does.

pub mod courts;
mod master;
pub mod moving;
pub mod planning;
mod pools;
pub mod rebuild;
mod view;

pub use courts::{Court, Courts};
pub use master::{Act, Asked, GlobalMaster, Told, Why, members_wish};
pub use planning::{Drain, Plan, Planning};
pub use pools::Pool;
pub use view::{Changed, View};
