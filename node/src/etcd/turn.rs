//! Whose turn it is: keys below one name, each on a lease, in the order in which they were made.
//!
//! Locks and elections are both this, as in etcd: the key that was made first has the turn, and its
//! revision is the fencing token. Everything is in the directory, so a turn outlives the node that
//! waited for it. The protocol is that of etcd's package `concurrency`.

use super::handle::{Handle, unexpected};
use bytes::Bytes;
use cairn_directory::core::{Reply, Request as Ask, Response as Told};
use cairn_directory::op::{
    Compare, DeleteRange, Op, Put, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn, TxnOp,
};
use cairn_directory::range::KeyRange;
use cairn_directory::watch::{Notice, StreamId, Wish};
use cairn_directory::{Answer, KeyValue, LeaseId};
use cairn_logic::ids::Revision;
use cairn_wire::etcd::convert::signed;
use cairn_wire::etcd::etcdserverpb as pb;
use tokio::sync::mpsc;
use tonic::Status;

/// How long the lease lives that is made for who brings none, in seconds, as in etcd.
const LEASE_SECS: u64 = 60;
/// Notices that may wait for one that waits: the first one is enough.
const NOTICES: usize = 4;

type Header = Option<pb::ResponseHeader>;

/// A key among those that wait for their turn.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What they wait for, with `/` behind it.
    pub prefix: Bytes,
    pub key: Bytes,
    /// The revision that made it: the fencing token.
    pub created: Revision,
    pub lease: LeaseId,
}

/// The place is gone: its lease has ended, or somebody deleted it.
fn lost() -> Status {
    Status::unknown("mutex: session is expired")
}

/// What begins all keys below `name`.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

impl Place {
    /// That the key is still the one that was made.
    fn is_mine(&self) -> Compare {
        Compare {
            range: KeyRange::single(self.key.clone()),
            relation: Relation::Equal,
            target: Target::Created(signed(self.created.0)),
        }
    }

    /// It and the one before it, in this order.
    fn and_before(&self) -> RangeQuery {
        RangeQuery {
            limit: 2,
            order: SortOrder::Descending,
            sort_by: SortTarget::Created,
            keys_only: true,
            created_max: self.created.0,
            ..RangeQuery::all(KeyRange::prefix(self.prefix.clone()))
        }
    }
}

impl Handle {
    async fn transact(&self, txn: Txn) -> Result<(Reply, bool, Vec<Answer>), Status> {
        match self.propose(Op::Txn(txn)).await? {
            (reply, Answer::Txn { succeeded, answers }) => Ok((reply, succeeded, answers)),
            (_, other) => Err(unexpected(&Told::Answer(other))),
        }
    }

    /// Takes a place below `name`; who has one with this lease already keeps it, and the value it
    /// has is given back.
    pub(super) async fn take_place(
        &self,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<(Place, Option<Bytes>), Status> {
        let lease = if lease == 0 { self.new_lease().await? } else { LeaseId(lease) };
        let prefix = prefix(name);
        let key: Bytes = [&prefix[..], format!("{:x}", lease.0).as_bytes()].concat().into();
        let own = KeyRange::single(key.clone());
        let absent =
            Compare { range: own.clone(), relation: Relation::Equal, target: Target::Created(0) };
        let put = Put { key: key.clone(), value, lease, ..Put::default() };
        let txn = Txn {
            compare: vec![absent],
            success: vec![TxnOp::Put(put)],
            failure: vec![TxnOp::Range(RangeQuery::all(own))],
        };
        let (reply, made, answers) = self.transact(txn).await?;
        let found = answers.into_iter().find_map(|answer| match answer {
            Answer::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        let created = match (&found, made) {
            (_, true) => reply.revision,
            (Some(kv), false) => kv.created,
            (None, false) => return Err(lost()),
        };
        Ok((Place { prefix, key, created, lease }, found.map(|kv| kv.value)))
    }

    async fn new_lease(&self) -> Result<LeaseId, Status> {
        let (ttl_secs, system) = (LEASE_SECS, self.is_system());
        match self.ask(Ask::Grant { id: None, ttl_secs, system }).await?.response {
            Told::Answer(Answer::Lease { id, .. }) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until `place` has the turn. Who is not waited for any more loses the place; who gets
    /// an error keeps it, and may ask again with the same lease.
    pub(super) async fn wait_turn(&self, place: &Place) -> Result<Header, Status> {
        let mut left = Left { handle: self, place: Some(place) };
        let turn = self.turn(place).await;
        left.place = None;
        turn
    }

    async fn turn(&self, place: &Place) -> Result<Header, Status> {
        let _counted = self.admit_stream()?;
        loop {
            let (reply, kvs) = self.read(place.and_before()).await?;
            let mut kvs = kvs.into_iter();
            let own = kvs.next().filter(|kv| kv.key == place.key && kv.created == place.created);
            if own.is_none() {
                return Err(lost());
            }
            let Some(before) = kvs.next() else { return Ok(self.header(&reply)) };
            let wish = |key: Bytes| Wish {
                range: KeyRange::single(key),
                no_put: true,
                no_delete: false,
                prev_kv: false,
            };
            let wishes = [wish(before.key), wish(place.key.clone())];
            self.wait_change(wishes, reply.revision).await?;
        }
    }

    /// All keys of a query as they are now.
    async fn read(&self, query: RangeQuery) -> Result<(Reply, Vec<KeyValue>), Status> {
        let mut reply = self.ask(Ask::Range { query, serializable: false }).await?;
        match std::mem::replace(&mut reply.response, Told::Done(true)) {
            Told::Range(range) => Ok((reply, range.kvs)),
            other => Err(unexpected(&other)),
        }
    }

    /// Who has the turn, if anybody.
    pub(super) async fn first(&self, prefix: Bytes) -> Result<(Reply, Option<KeyValue>), Status> {
        let query = RangeQuery {
            limit: 1,
            order: SortOrder::Ascending,
            sort_by: SortTarget::Created,
            ..RangeQuery::all(KeyRange::prefix(prefix))
        };
        let (reply, kvs) = self.read(query).await?;
        Ok((reply, kvs.into_iter().next()))
    }

    /// Waits until something that is wished for happens after `seen`, or may have happened.
    pub(super) async fn wait_change(
        &self,
        wishes: impl IntoIterator<Item = Wish>,
        seen: Revision,
    ) -> Result<(), Status> {
        let (notify, mut notices) = mpsc::channel(NOTICES);
        let stream = Opened { handle: self, stream: self.open_stream(notify).await? };
        for (id, wish) in (0..).zip(wishes) {
            let start = Some(Revision(seen.0 + 1));
            let ask = Ask::Watch { stream: stream.stream, id, wish, start, progress: false };
            match self.ask(ask).await?.response {
                Told::Watching => {}
                // Compacted meanwhile, so much happened; or too many, which must not spin.
                Told::NotWatching(cairn_directory::watch::Refused::Compacted(_)) => return Ok(()),
                Told::NotWatching(_) => {
                    return Err(Status::resource_exhausted("etcdserver: too many watches"));
                }
                other => return Err(unexpected(&other)),
            }
        }
        loop {
            match notices.recv().await {
                Some(Notice::Progress { .. }) => {}
                Some(_) => return Ok(()),
                None => return Err(Status::unavailable("etcdserver: server stopped")),
            }
        }
    }

    /// Sets the value of a key; nothing if it is no longer the one that was made.
    pub(super) async fn set_mine(&self, place: &Place, value: Bytes) -> Result<Header, Status> {
        let (key, lease) = (place.key.clone(), place.lease);
        let put = TxnOp::Put(Put { key, value, lease, ..Put::default() });
        self.if_mine(place, put).await
    }

    /// Deletes a key; nothing if it is no longer the one that was made.
    pub(super) async fn leave(&self, place: &Place) -> Result<Header, Status> {
        let range = KeyRange::single(place.key.clone());
        self.if_mine(place, TxnOp::DeleteRange(DeleteRange { range, prev_kv: false })).await
    }

    async fn if_mine(&self, place: &Place, op: TxnOp) -> Result<Header, Status> {
        let txn = Txn { compare: vec![place.is_mine()], success: vec![op], failure: Vec::new() };
        let (reply, succeeded, _) = self.transact(txn).await?;
        Ok(self.header(&reply).filter(|_| succeeded))
    }
}

/// Gives the place up when whoever waited is gone.
struct Left<'a> {
    handle: &'a Handle,
    place: Option<&'a Place>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take().cloned() {
            let handle = self.handle.clone();
            // If that fails, the lease's end does it.
            tokio::spawn(async move { handle.leave(&place).await.map(drop) });
        }
    }
}

/// A stream of watches that is closed when nobody waits any more.
struct Opened<'a> {
    handle: &'a Handle,
    stream: StreamId,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let (handle, stream) = (self.handle.clone(), self.stream);
        tokio::spawn(async move { handle.ask(Ask::CloseStream { stream }).await.map(drop) });
    }
}
