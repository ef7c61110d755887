//! The form of operations in the log: a tag, then fields; numbers of variable length, byte strings
//! with their length before them. Decoding takes slices of the buffer and refuses what it does not
//! know.

use crate::item::push_varint;
use crate::leases::LeaseId;
use crate::op::{
    Compare, DeleteRange, Op, Put, RangeQuery, Relation, SortOrder, SortTarget, TXN_DEPTH_MAX,
    TXN_OPS_MAX, Target, Txn, TxnOp,
};
use crate::range::{End, KeyRange};
use bytes::{Buf, Bytes};
use cairn_logic::ids::{Epoch, Revision};

/// Bytes that are no operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within a field.
    #[error("operation ends early")]
    Short,
    /// A number has more than 64 bits.
    #[error("number is longer than 64 bits")]
    Number,
    /// A tag or flag that this version does not know.
    #[error("unknown tag {tag}")]
    Tag {
        /// What was read.
        tag: u64,
    },
    /// More operations or levels than a transaction may have.
    #[error("transaction is too large")]
    TooLarge,
    /// Bytes follow the operation.
    #[error("{bytes} bytes follow the operation")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The most bytes that a number takes.
pub(crate) const NUMBER_BYTES_MAX: usize = 10;

type Read<T> = Result<T, Malformed>;

/// Appends `op` to `out`.
pub fn encode(op: &Op, out: &mut Vec<u8>) {
    match op {
        Op::Noop => out.push(0),
        Op::Put(put) => {
            out.push(1);
            write_put(put, out);
        }
        Op::DeleteRange(delete) => {
            out.push(2);
            write_delete(delete, out);
        }
        Op::Txn(txn) => {
            out.push(3);
            write_txn(txn, out);
        }
        Op::Compact { revision } => {
            out.push(4);
            push_varint(out, revision.0);
        }
        Op::LeaseGrant { id, ttl_secs } => {
            out.push(5);
            write_signed(id.0, out);
            push_varint(out, *ttl_secs);
        }
        Op::LeaseRevoke { id, expired_in } => {
            out.push(6);
            write_signed(id.0, out);
            out.push(u8::from(expired_in.is_some()));
            if let Some(epoch) = expired_in {
                push_varint(out, epoch.0);
            }
        }
        Op::Jump { to } => {
            out.push(7);
            push_varint(out, to.0);
        }
    }
}

/// Reads one operation that fills `bytes`.
///
/// # Errors
/// [`Malformed`].
pub fn decode(bytes: Bytes) -> Result<Op, Malformed> {
    let mut reader = Reader(bytes);
    let op = match reader.byte()? {
        0 => Op::Noop,
        1 => Op::Put(reader.put()?),
        2 => Op::DeleteRange(reader.delete()?),
        3 => Op::Txn(reader.txn(1)?),
        4 => Op::Compact { revision: Revision(reader.varint()?) },
        5 => Op::LeaseGrant { id: LeaseId(reader.signed()?), ttl_secs: reader.varint()? },
        6 => {
            let id = LeaseId(reader.signed()?);
            let expired_in = match reader.byte()? {
                0 => None,
                1 => Some(Epoch(reader.varint()?)),
                tag => return Err(Malformed::Tag { tag: tag.into() }),
            };
            Op::LeaseRevoke { id, expired_in }
        }
        7 => Op::Jump { to: Revision(reader.varint()?) },
        tag => return Err(Malformed::Tag { tag: tag.into() }),
    };
    match reader.0.len() {
        0 => Ok(op),
        bytes => Err(Malformed::Trailing { bytes }),
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_signed(number: i64, out: &mut Vec<u8>) {
    push_varint(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn write_flags(flags: &[bool], out: &mut Vec<u8>) {
    out.push(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
}

fn write_range(range: &KeyRange, out: &mut Vec<u8>) {
    match &range.end {
        End::Single => out.push(0),
        End::Infinite => out.push(1),
        End::Before(end) => {
            out.push(2);
            write_bytes(end, out);
        }
    }
    write_bytes(&range.start, out);
}

fn write_put(put: &Put, out: &mut Vec<u8>) {
    let leased = put.lease != LeaseId::NONE;
    write_flags(&[put.prev_kv, put.ignore_value, put.ignore_lease, leased], out);
    write_bytes(&put.key, out);
    write_bytes(&put.value, out);
    if leased {
        write_signed(put.lease.0, out);
    }
}

fn write_delete(delete: &DeleteRange, out: &mut Vec<u8>) {
    write_flags(&[delete.prev_kv], out);
    write_range(&delete.range, out);
}

fn write_query(query: &RangeQuery, out: &mut Vec<u8>) {
    write_flags(&[query.keys_only, query.count_only, query.at.is_some(), query.filters()], out);
    write_range(&query.range, out);
    if let Some(at) = query.at {
        push_varint(out, at.0);
    }
    push_varint(out, query.limit);
    out.push(match query.order {
        SortOrder::None => 0,
        SortOrder::Ascending => 1,
        SortOrder::Descending => 2,
    });
    out.push(match query.sort_by {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Created => 2,
        SortTarget::Modified => 3,
        SortTarget::Value => 4,
    });
    if query.filters() {
        push_varint(out, query.modified_min);
        push_varint(out, query.modified_max);
        push_varint(out, query.created_min);
        push_varint(out, query.created_max);
    }
}

fn write_compare(compare: &Compare, out: &mut Vec<u8>) {
    out.push(match compare.relation {
        Relation::Equal => 0,
        Relation::Greater => 1,
        Relation::Less => 2,
        Relation::NotEqual => 3,
    });
    let (tag, number) = match &compare.target {
        Target::Version(number) => (0, *number),
        Target::Created(number) => (1, *number),
        Target::Modified(number) => (2, *number),
        Target::Lease(number) => (3, *number),
        Target::Value(_) => (4, 0),
    };
    out.push(tag);
    match &compare.target {
        Target::Value(value) => write_bytes(value, out),
        Target::Version(_) | Target::Created(_) | Target::Modified(_) | Target::Lease(_) => {
            write_signed(number, out);
        }
    }
    write_range(&compare.range, out);
}

fn write_txn(txn: &Txn, out: &mut Vec<u8>) {
    push_varint(out, txn.compare.len() as u64);
    txn.compare.iter().for_each(|compare| write_compare(compare, out));
    for branch in [&txn.success, &txn.failure] {
        push_varint(out, branch.len() as u64);
        for op in branch {
            match op {
                TxnOp::Range(query) => {
                    out.push(0);
                    write_query(query, out);
                }
                TxnOp::Put(put) => {
                    out.push(1);
                    write_put(put, out);
                }
                TxnOp::DeleteRange(delete) => {
                    out.push(2);
                    write_delete(delete, out);
                }
                TxnOp::Txn(nested) => {
                    out.push(3);
                    write_txn(nested, out);
                }
            }
        }
    }
}

/// A buffer whose front can be taken off.
pub(crate) trait Front: std::ops::Deref<Target = [u8]> {
    /// Takes so many bytes, of which there are as many.
    fn take(&mut self, bytes: usize) -> Self;

    /// Drops so many, of which there are as many.
    fn skip(&mut self, bytes: usize);
}

impl Front for Bytes {
    fn take(&mut self, bytes: usize) -> Self {
        self.split_to(bytes)
    }

    fn skip(&mut self, bytes: usize) {
        self.advance(bytes);
    }
}

impl Front for &[u8] {
    fn take(&mut self, bytes: usize) -> Self {
        let (front, rest) = self.split_at(bytes);
        *self = rest;
        front
    }

    fn skip(&mut self, bytes: usize) {
        *self = &self[bytes..];
    }
}

/// Takes fields off the front of a buffer.
pub(crate) struct Reader<B>(pub B);

impl<B: Front> Reader<B> {
    pub(crate) fn byte(&mut self) -> Read<u8> {
        let byte = self.0.first().copied().ok_or(Malformed::Short)?;
        self.0.skip(1);
        Ok(byte)
    }

    pub(crate) fn varint(&mut self) -> Read<u64> {
        let mut number = 0_u64;
        for (place, byte) in self.0.iter().take(NUMBER_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if place == NUMBER_BYTES_MAX - 1 && bits > 1 {
                return Err(Malformed::Number);
            }
            number |= bits << (7 * place);
            if *byte < 0x80 {
                self.0.skip(place + 1);
                return Ok(number);
            }
        }
        Err(if self.0.len() < NUMBER_BYTES_MAX { Malformed::Short } else { Malformed::Number })
    }

    pub(crate) fn bytes(&mut self) -> Read<B> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
        if len > self.0.len() { Err(Malformed::Short) } else { Ok(self.0.take(len)) }
    }

    pub(crate) fn flags<const N: usize>(&mut self) -> Read<[bool; N]> {
        let byte = self.byte()?;
        if byte >> N != 0 {
            return Err(Malformed::Tag { tag: byte.into() });
        }
        Ok(std::array::from_fn(|place| byte >> place & 1 == 1))
    }
}

impl Reader<Bytes> {
    fn signed(&mut self) -> Read<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn range(&mut self) -> Read<KeyRange> {
        let end = match self.byte()? {
            0 => End::Single,
            1 => End::Infinite,
            2 => End::Before(self.bytes()?),
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        Ok(KeyRange { start: self.bytes()?, end })
    }

    fn put(&mut self) -> Read<Put> {
        let [prev_kv, ignore_value, ignore_lease, leased] = self.flags()?;
        let (key, value) = (self.bytes()?, self.bytes()?);
        let lease = if leased { LeaseId(self.signed()?) } else { LeaseId::NONE };
        Ok(Put { key, value, lease, prev_kv, ignore_value, ignore_lease })
    }

    fn delete(&mut self) -> Read<DeleteRange> {
        let [prev_kv] = self.flags()?;
        Ok(DeleteRange { range: self.range()?, prev_kv })
    }

    fn query(&mut self) -> Read<RangeQuery> {
        let [keys_only, count_only, dated, filtered] = self.flags()?;
        let mut query = RangeQuery::all(self.range()?);
        (query.keys_only, query.count_only) = (keys_only, count_only);
        query.at = if dated { Some(Revision(self.varint()?)) } else { None };
        query.limit = self.varint()?;
        query.order = match self.byte()? {
            0 => SortOrder::None,
            1 => SortOrder::Ascending,
            2 => SortOrder::Descending,
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        query.sort_by = match self.byte()? {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::Created,
            3 => SortTarget::Modified,
            4 => SortTarget::Value,
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        if filtered {
            query.modified_min = self.varint()?;
            query.modified_max = self.varint()?;
            query.created_min = self.varint()?;
            query.created_max = self.varint()?;
        }
        Ok(query)
    }

    fn compare(&mut self) -> Read<Compare> {
        let relation = match self.byte()? {
            0 => Relation::Equal,
            1 => Relation::Greater,
            2 => Relation::Less,
            3 => Relation::NotEqual,
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        let target = match self.byte()? {
            0 => Target::Version(self.signed()?),
            1 => Target::Created(self.signed()?),
            2 => Target::Modified(self.signed()?),
            3 => Target::Lease(self.signed()?),
            4 => Target::Value(self.bytes()?),
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        Ok(Compare { range: self.range()?, relation, target })
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed::TooLarge)?;
        if len > TXN_OPS_MAX {
            return Err(Malformed::TooLarge);
        }
        (0..len).map(|_| one(self)).collect()
    }

    fn txn(&mut self, depth: usize) -> Read<Txn> {
        if depth > TXN_DEPTH_MAX {
            return Err(Malformed::TooLarge);
        }
        let compare = self.many(Self::compare)?;
        let success = self.many(|reader| reader.txn_op(depth))?;
        let failure = self.many(|reader| reader.txn_op(depth))?;
        Ok(Txn { compare, success, failure })
    }

    fn txn_op(&mut self, depth: usize) -> Read<TxnOp> {
        match self.byte()? {
            0 => Ok(TxnOp::Range(self.query()?)),
            1 => Ok(TxnOp::Put(self.put()?)),
            2 => Ok(TxnOp::DeleteRange(self.delete()?)),
            3 => Ok(TxnOp::Txn(self.txn(depth + 1)?)),
            tag => Err(Malformed::Tag { tag: tag.into() }),
        }
    }
}
