//! What processes say to each other, as messages and as the types that decide.
//!
//! Inwards everything is checked ([`Malformed`]); outwards nothing can fail.

pub mod control;
pub mod frame;
pub mod stream;

/// The generated messages and services.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
pub mod pb {
    tonic::include_proto!("cairn.peer.v1");
}

/// The wire version this build speaks; it talks to this one and the one before.
pub const WIRE_VERSION: u32 = 1;

/// A message that a correct peer would not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed peer message: {what}")]
pub struct Malformed {
    /// Which field is wrong, and how.
    pub what: &'static str,
}

pub(crate) fn malformed(what: &'static str) -> Malformed {
    Malformed { what }
}

impl pb::WishReply {
    /// Facts for people, the newest last.
    #[must_use]
    pub fn said(lines: Vec<String>) -> Self {
        Self { lines, ..Self::default() }
    }
}
