//! Random operations over few keys, so that they meet.

use bytes::Bytes;
use cairn_directory::op::{
    Compare, DeleteRange, Op, Put, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn, TxnOp,
};
use cairn_directory::range::End;
use cairn_directory::{KeyRange, LeaseId};
use cairn_logic::ids::{Epoch, Revision};
use proptest::prelude::*;

fn key() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(b'a'..b'd', 1..3).prop_map(Bytes::from)
}

pub fn range() -> impl Strategy<Value = KeyRange> {
    (key(), key(), 0..4).prop_map(|(start, end, kind)| KeyRange {
        start,
        end: match kind {
            0 | 1 => End::Single,
            2 => End::Before(end),
            _ => End::Infinite,
        },
    })
}

fn lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![5 => Just(0), 2 => 1_i64..4].prop_map(LeaseId)
}

fn put() -> impl Strategy<Value = Put> {
    let value = proptest::collection::vec(any::<u8>(), 0..4);
    let ignore = prop_oneof![8 => Just((false, false)), 1 => any::<(bool, bool)>()];
    (key(), value, lease(), any::<bool>(), ignore).prop_map(
        |(key, value, lease, prev_kv, (ignore_value, ignore_lease))| Put {
            key,
            value: if ignore_value { Bytes::new() } else { value.into() },
            lease: if ignore_lease { LeaseId::NONE } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRange> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRange { range, prev_kv })
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop_oneof![
        Just(Relation::Equal),
        Just(Relation::Greater),
        Just(Relation::Less),
        Just(Relation::NotEqual),
    ];
    let target = prop_oneof![
        (0_i64..4).prop_map(Target::Version),
        (0_i64..12).prop_map(Target::Created),
        (0_i64..12).prop_map(Target::Modified),
        (-1_i64..4).prop_map(Target::Lease),
        proptest::collection::vec(any::<u8>(), 0..2).prop_map(|v| Target::Value(v.into())),
    ];
    (range(), relation, target).prop_map(|(range, relation, target)| Compare {
        range,
        relation,
        target,
    })
}

pub fn query() -> impl Strategy<Value = RangeQuery> {
    let order = prop_oneof![
        Just(SortOrder::None),
        Just(SortOrder::Ascending),
        Just(SortOrder::Descending),
    ];
    let sort_by = prop_oneof![
        Just(SortTarget::Key),
        Just(SortTarget::Version),
        Just(SortTarget::Created),
        Just(SortTarget::Modified),
        Just(SortTarget::Value),
    ];
    let at = proptest::option::weighted(0.3, (1_u64..15).prop_map(Revision));
    let bound = || prop_oneof![3 => Just(0), 1 => 0_u64..12];
    let bounds = (bound(), bound(), bound(), bound());
    (range(), at, 0_u64..4, order, sort_by, any::<(bool, bool)>(), bounds).prop_map(
        |(range, at, limit, order, sort_by, (keys_only, count_only), bounds)| RangeQuery {
            range,
            at,
            limit,
            order,
            sort_by,
            keys_only,
            count_only,
            modified_min: bounds.0,
            modified_max: bounds.1,
            created_min: bounds.2,
            created_max: bounds.3,
        },
    )
}

fn txn() -> impl Strategy<Value = Txn> {
    let leaf = prop_oneof![
        query().prop_map(TxnOp::Range),
        put().prop_map(TxnOp::Put),
        delete().prop_map(TxnOp::DeleteRange),
    ];
    let of = |ops: BoxedStrategy<TxnOp>| {
        let branch = || proptest::collection::vec(ops.clone(), 0..3);
        (proptest::collection::vec(compare(), 0..3), branch(), branch())
            .prop_map(|(compare, success, failure)| Txn { compare, success, failure })
    };
    let op = leaf.prop_recursive(2, 12, 3, move |inner| of(inner).prop_map(TxnOp::Txn).boxed());
    of(op.boxed())
}

/// A compaction's revision is meant as "so far below the newest"; see `Naive::resolve`.
pub fn op() -> impl Strategy<Value = Op> {
    let epoch = proptest::option::of((0_u64..9).prop_map(Epoch));
    prop_oneof![
        8 => put().prop_map(Op::Put),
        3 => delete().prop_map(Op::DeleteRange),
        4 => txn().prop_map(Op::Txn),
        1 => (0_u64..6).prop_map(|back| Op::Compact { revision: Revision(back) }),
        2 => (0_i64..4, 1_u64..100)
            .prop_map(|(id, ttl_secs)| Op::LeaseGrant { id: LeaseId(id), ttl_secs }),
        1 => (1_i64..4, epoch)
            .prop_map(|(id, expired_in)| Op::LeaseRevoke { id: LeaseId(id), expired_in }),
        1 => (0_u64..12).prop_map(|to| Op::Jump { to: Revision(to) }),
        1 => Just(Op::Noop),
    ]
}
