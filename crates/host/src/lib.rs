//! The shell around one replica: feeds `cairn-logic`, performs its effects on a [`World`].
//!
//! The node runs a [`Host`] on real sockets and files, the simulator on seeded ones. A host may
//! wait (for a flush, for a read of the log) but it may not decide: what it does follows from the
//! order of effects alone. Effects are performed strictly in order; those after a *barrier* begin
//! only when the barrier is flushed.

pub mod event;
pub mod host;
pub mod tail;
pub mod world;

pub use event::{Event, ReadFor};
pub use host::Host;
pub use world::World;
