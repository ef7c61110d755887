//! Requests that every client of the system's keys makes alike.

use super::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use super::etcdserverpb::request_op::Request;
use super::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

/// Puts `value` if the key was last changed at revision `seen` (0: if it does not exist).
#[must_use]
pub fn put_if_unchanged(key: &str, value: &[u8], seen: i64) -> TxnRequest {
    let put = PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.to_vec().into(),
        ..PutRequest::default()
    };
    let put = RequestOp { request: Some(Request::RequestPut(put)) };
    TxnRequest { compare: vec![unchanged(key, seen)], success: vec![put], failure: Vec::new() }
}

/// Deletes all `keys` if each was last changed at the revision beside it.
#[must_use]
pub fn delete_if_unchanged(keys: &[(String, i64)]) -> TxnRequest {
    let delete = |key: &str| {
        let key = key.as_bytes().to_vec().into();
        let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
    };
    TxnRequest {
        compare: keys.iter().map(|(key, seen)| unchanged(key, *seen)).collect(),
        success: keys.iter().map(|(key, _)| delete(key)).collect(),
        failure: Vec::new(),
    }
}

fn unchanged(key: &str, seen: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.as_bytes().to_vec().into(),
        target_union: Some(TargetUnion::ModRevision(seen)),
        ..Compare::default()
    }
}
