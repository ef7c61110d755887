//! etcd's messages as the directory's operations, and the directory's answers as etcd's messages.

use super::etcdserverpb as pb;
use super::mvccpb;
use cairn_directory::op::{
    Compare, DeleteRange, Put, RangeQuery, Relation, SortOrder, SortTarget, TXN_DEPTH_MAX, Target,
    Txn, TxnOp,
};
use cairn_directory::watch::Wish;
use cairn_directory::{Answer, Error, Event, EventKind, KeyRange, KeyValue, LeaseId, RangeAnswer};
use cairn_logic::ids::Revision;

/// etcd counts in signed numbers; what is not positive means "none".
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number as etcd counts.
#[must_use]
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A revision that was given, or `None`.
#[must_use]
pub fn revision(number: i64) -> Option<Revision> {
    (number > 0).then(|| Revision(unsigned(number)))
}

/// A range request.
///
/// # Errors
/// [`Error::InvalidSortOption`].
pub fn range(request: pb::RangeRequest) -> Result<RangeQuery, Error> {
    use pb::range_request::{SortOrder as Order, SortTarget as By};
    let order = Order::try_from(request.sort_order).map_err(|_| Error::InvalidSortOption)?;
    let by = By::try_from(request.sort_target).map_err(|_| Error::InvalidSortOption)?;
    Ok(RangeQuery {
        range: KeyRange::from_etcd(request.key, request.range_end),
        at: revision(request.revision),
        limit: unsigned(request.limit),
        order: match order {
            Order::None => SortOrder::None,
            Order::Ascend => SortOrder::Ascending,
            Order::Descend => SortOrder::Descending,
        },
        sort_by: match by {
            By::Key => SortTarget::Key,
            By::Version => SortTarget::Version,
            By::Create => SortTarget::Created,
            By::Mod => SortTarget::Modified,
            By::Value => SortTarget::Value,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
        modified_min: unsigned(request.min_mod_revision),
        modified_max: unsigned(request.max_mod_revision),
        created_min: unsigned(request.min_create_revision),
        created_max: unsigned(request.max_create_revision),
    })
}

/// A put.
#[must_use]
pub fn put(request: pb::PutRequest) -> Put {
    Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A deletion.
#[must_use]
pub fn delete(request: pb::DeleteRangeRequest) -> DeleteRange {
    let range = KeyRange::from_etcd(request.key, request.range_end);
    DeleteRange { range, prev_kv: request.prev_kv }
}

/// A transaction.
///
/// # Errors
/// [`Error::TooManyOps`] if it nests too deep, [`Error::InvalidCompare`],
/// [`Error::InvalidSortOption`]; [`Error::KeyNotFound`] for an operation that is none.
pub fn txn(request: pb::TxnRequest) -> Result<Txn, Error> {
    txn_at(request, 1)
}

fn txn_at(request: pb::TxnRequest, depth: usize) -> Result<Txn, Error> {
    if depth > TXN_DEPTH_MAX {
        return Err(Error::TooManyOps);
    }
    let branch = |ops: Vec<pb::RequestOp>| {
        ops.into_iter().map(|op| txn_op(op, depth)).collect::<Result<Vec<TxnOp>, Error>>()
    };
    Ok(Txn {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

fn txn_op(op: pb::RequestOp, depth: usize) -> Result<TxnOp, Error> {
    use pb::request_op::Request;
    Ok(match op.request.ok_or(Error::KeyNotFound)? {
        Request::RequestRange(request) => TxnOp::Range(range(request)?),
        Request::RequestPut(request) => TxnOp::Put(put(request)),
        Request::RequestDeleteRange(request) => TxnOp::DeleteRange(delete(request)),
        Request::RequestTxn(request) => TxnOp::Txn(txn_at(request, depth + 1)?),
    })
}

fn compare(compare: pb::Compare) -> Result<Compare, Error> {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion as Union};
    let invalid = |_| Error::InvalidCompare;
    let relation = match CompareResult::try_from(compare.result).map_err(invalid)? {
        CompareResult::Equal => Relation::Equal,
        CompareResult::Greater => Relation::Greater,
        CompareResult::Less => Relation::Less,
        CompareResult::NotEqual => Relation::NotEqual,
    };
    // The target says what is compared; an operand of another kind counts as missing, so zero.
    let target = CompareTarget::try_from(compare.target).map_err(invalid)?;
    let target = match (target, compare.target_union) {
        (CompareTarget::Version, Some(Union::Version(n))) => Target::Version(n),
        (CompareTarget::Create, Some(Union::CreateRevision(n))) => Target::Created(n),
        (CompareTarget::Mod, Some(Union::ModRevision(n))) => Target::Modified(n),
        (CompareTarget::Lease, Some(Union::Lease(n))) => Target::Lease(n),
        (CompareTarget::Value, Some(Union::Value(value))) => Target::Value(value),
        (CompareTarget::Version, _) => Target::Version(0),
        (CompareTarget::Create, _) => Target::Created(0),
        (CompareTarget::Mod, _) => Target::Modified(0),
        (CompareTarget::Lease, _) => Target::Lease(0),
        (CompareTarget::Value, _) => Target::Value(bytes::Bytes::new()),
    };
    Ok(Compare { range: KeyRange::from_etcd(compare.key, compare.range_end), relation, target })
}

/// What a watch wants. No key means all keys, as in etcd.
#[must_use]
pub fn wish(request: &pb::WatchCreateRequest) -> Wish {
    use pb::watch_create_request::FilterType;
    let filters = |filter: FilterType| request.filters.contains(&i32::from(filter));
    let key = if request.key.is_empty() { vec![0].into() } else { request.key.clone() };
    Wish {
        range: KeyRange::from_etcd(key, request.range_end.clone()),
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        prev_kv: request.prev_kv,
    }
}

/// One version of a key.
#[must_use]
pub fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: signed(kv.created.0),
        mod_revision: signed(kv.modified.0),
        version: signed(kv.version),
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// One change.
#[must_use]
pub fn event(event: &Event) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv.clone())),
        prev_kv: event.prev.clone().map(key_value),
    }
}

/// The answer to a range request.
#[must_use]
pub fn range_response(
    answer: RangeAnswer,
    header: Option<pb::ResponseHeader>,
) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        more: answer.more,
        count: signed(answer.count),
    }
}

/// The answer to one operation of a transaction; the header of a nested answer has the revision
/// alone.
#[must_use]
pub fn response_op(answer: Answer, revision: Revision) -> pb::ResponseOp {
    use pb::response_op::Response;
    let header = Some(pb::ResponseHeader { revision: signed(revision.0), ..Default::default() });
    let response = match answer {
        Answer::Done | Answer::Lease { .. } => None,
        Answer::Range(range) => Some(Response::ResponseRange(range_response(range, header))),
        Answer::Put(prev) => {
            let prev_kv = prev.map(key_value);
            Some(Response::ResponsePut(pb::PutResponse { header, prev_kv }))
        }
        Answer::DeleteRange { deleted, prev } => {
            let response = delete_response(deleted, prev, header);
            Some(Response::ResponseDeleteRange(response))
        }
        Answer::Txn { succeeded, answers } => {
            let response = txn_response(succeeded, answers, revision, header);
            Some(Response::ResponseTxn(response))
        }
    };
    pb::ResponseOp { response }
}

/// The answer to a deletion.
#[must_use]
pub fn delete_response(
    deleted: u64,
    prev: Vec<KeyValue>,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    let prev_kvs = prev.into_iter().map(key_value).collect();
    pb::DeleteRangeResponse { header, deleted: signed(deleted), prev_kvs }
}

/// The answer to a transaction.
#[must_use]
pub fn txn_response(
    succeeded: bool,
    answers: Vec<Answer>,
    revision: Revision,
    header: Option<pb::ResponseHeader>,
) -> pb::TxnResponse {
    let responses = answers.into_iter().map(|answer| response_op(answer, revision)).collect();
    pb::TxnResponse { header, succeeded, responses }
}

/// A header; `revision` is what the response shows.
#[must_use]
pub fn header(
    cluster_id: u64,
    member_id: u64,
    revision: Revision,
    raft_term: u64,
) -> pb::ResponseHeader {
    pb::ResponseHeader { cluster_id, member_id, revision: signed(revision.0), raft_term }
}
