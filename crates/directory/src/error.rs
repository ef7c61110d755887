//! Why a request is refused; the texts are those etcd clients compare against.

/// A refusal that leaves the directory as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A request names no key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More than [`crate::op::TXN_OPS_MAX`] operations or [`crate::op::TXN_DEPTH_MAX`] levels.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A transaction would write one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// A comparison with a relation or target that does not exist.
    #[error("etcdserver: invalid compare in txn request")]
    InvalidCompare,
    /// The revision asked for is below the compaction.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for is not reached.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// No lease has this id.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease of this id exists.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// More seconds than [`crate::leases::TTL_SECS_MAX`].
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The directory holds more bytes than its quota, or its disk has too little room.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// The request is larger than [`crate::op::REQUEST_BYTES_MAX`].
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The answer would be larger than [`crate::answer::ANSWER_BYTES_MAX`].
    #[error("etcdserver: response is too large, set a limit or ask for a narrower range")]
    AnswerTooLarge,
    /// The request would change keys that only the system writes.
    #[error("etcdserver: permission denied: keys under /cairn/ are written by the system alone")]
    PermissionDenied,
}
