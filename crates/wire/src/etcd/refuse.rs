//! Errors as etcd's clients know them: the code and the text.

use cairn_directory::Error;
use cairn_directory::core::Refusal;
use tonic::{Code, Status};

/// The status for a request that cannot be done.
#[must_use]
pub fn error(error: Error) -> Status {
    let code = match error {
        Error::EmptyKey
        | Error::KeyNotFound
        | Error::ValueProvided
        | Error::LeaseProvided
        | Error::TooManyOps
        | Error::DuplicateKey
        | Error::InvalidSortOption
        | Error::InvalidCompare
        | Error::RequestTooLarge => Code::InvalidArgument,
        Error::Compacted | Error::FutureRevision | Error::LeaseTtlTooLarge => Code::OutOfRange,
        Error::LeaseNotFound => Code::NotFound,
        Error::LeaseExists => Code::FailedPrecondition,
        Error::NoSpace | Error::AnswerTooLarge => Code::ResourceExhausted,
        Error::PermissionDenied => Code::PermissionDenied,
    };
    Status::new(code, error.to_string())
}

/// The status for a request that got no response.
#[must_use]
pub fn refusal(refusal: Refusal) -> Status {
    let code = match refusal {
        Refusal::Invalid(invalid) => return error(invalid),
        Refusal::NotMaster => Code::FailedPrecondition,
        Refusal::MasterChanged | Refusal::NotReady | Refusal::TimedOut => Code::Unavailable,
        Refusal::TooManyRequests => Code::ResourceExhausted,
    };
    Status::new(code, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_are_those_that_clients_compare() {
        let compacted = error(Error::Compacted);
        assert_eq!(compacted.code(), Code::OutOfRange);
        assert_eq!(compacted.message(), "etcdserver: mvcc: required revision has been compacted");
        let changed = refusal(Refusal::MasterChanged);
        assert_eq!(
            (changed.code(), changed.message()),
            (Code::Unavailable, "etcdserver: leader changed")
        );
        let twice = refusal(Error::DuplicateKey.into());
        assert_eq!(
            (twice.code(), twice.message()),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
        );
    }
}
