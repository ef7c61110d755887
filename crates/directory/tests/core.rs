//! What clients are told, and when, while entries are appended, committed and lost.

#[path = "core/snapshots.rs"]
mod snapshots;

use bytes::Bytes;
use cairn_directory::core::{Core, Limits, Outbox, Refusal, Reply, Request, Response};
use cairn_directory::op::{Op, Put, RangeQuery};
use cairn_directory::watch::{Notice, Sink, StreamId, Wish};
use cairn_directory::{Answer, Error, KeyRange, LeaseId};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset, Revision};
use cairn_logic::time::{Duration, Instant};
use std::collections::BTreeMap;

#[derive(Default)]
struct Told {
    replies: BTreeMap<u32, Result<Reply, Refusal>>,
    notices: Vec<Notice>,
}

impl Sink for Told {
    fn is_ready(&self, _stream: StreamId) -> bool {
        true
    }

    fn notify(&mut self, _stream: StreamId, notice: Notice) -> bool {
        self.notices.push(notice);
        true
    }
}

impl Outbox for Told {
    type Token = u32;

    fn reply(&mut self, token: u32, reply: Result<Reply, Refusal>) {
        assert!(self.replies.insert(token, reply).is_none(), "request {token} has two replies");
    }
}

/// A node with its log; `tokens` counts requests.
struct Node {
    core: Core<u32>,
    told: Told,
    log: Vec<Batch>,
    epoch: Epoch,
    tokens: u32,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        let limits = Limits { history_revisions: 10, ..Limits::default() };
        let mut node = Self {
            core: Core::new(limits),
            told: Told::default(),
            log: Vec::new(),
            epoch: Epoch::ZERO,
            tokens: 0,
            now: Instant::from_nanos(1_000_000_000),
        };
        node.core.loaded(&mut node.told);
        node
    }

    fn master(epoch: u64) -> Self {
        let mut node = Self::new();
        node.promote(epoch);
        node
    }

    fn promote(&mut self, epoch: u64) {
        self.epoch = Epoch(epoch);
        let last = self.end();
        self.core.became_master(self.now, self.epoch, last);
    }

    fn end(&self) -> Offset {
        self.log.last().map_or(Offset::ZERO, |batch| batch.head.last_offset())
    }

    fn ask(&mut self, request: Request) -> u32 {
        self.tokens += 1;
        self.core.request(self.now, self.tokens, request, &mut self.told);
        self.tokens
    }

    fn propose(&mut self, op: Op) -> u32 {
        self.ask(Request::Propose { op, system: false })
    }

    fn put(&mut self, key: &str) -> u32 {
        self.propose(Op::Put(Put::new(key.to_owned(), "v")))
    }

    fn append(&mut self) {
        loop {
            let first = self.end().next();
            let Some(proposed) = self.core.take_batch(first) else { return };
            let head = BatchHead {
                epoch: self.epoch,
                first,
                count: proposed.count,
                time_ms: 0,
                authority: proposed.authority,
                opens_epoch: false,
            };
            self.log.push(Batch { head, body: proposed.body });
        }
    }

    fn commit(&mut self) {
        self.append();
        self.core.committed(self.end(), &mut self.told);
    }

    fn prove(&mut self) {
        if let Some(reads) = self.core.take_unproven() {
            reads.release(&mut self.told);
        }
    }

    /// Applies what another node has logged above what this one has.
    fn follow(&mut self, other: &Self) {
        let from = self.log.len();
        for batch in &other.log[from..] {
            self.core.apply_batch(batch, &mut self.told).expect("a copy follows");
            self.log.push(batch.clone());
        }
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.now = self.now + Duration::from_millis(100);
            self.core.tick(self.now, &mut self.told);
            self.commit();
        }
    }

    fn result(&self, token: u32) -> Option<Result<&Response, Refusal>> {
        let reply = self.told.replies.get(&token)?;
        Some(reply.as_ref().map(|reply| &reply.response).map_err(|refusal| *refusal))
    }

    fn count(&mut self, serializable: bool) -> u64 {
        let query = RangeQuery::all(KeyRange::prefix(""));
        let token = self.ask(Request::Range { query, serializable });
        self.prove();
        match self.result(token) {
            Some(Ok(Response::Range(range))) => range.count,
            other => panic!("{other:?}"),
        }
    }

    fn count_while_loading(&mut self) -> Option<u64> {
        let query = RangeQuery::all(KeyRange::prefix(""));
        let token = self.ask(Request::Range { query, serializable: true });
        match self.result(token) {
            Some(Err(Refusal::NotReady)) => None,
            Some(Ok(Response::Range(range))) => Some(range.count),
            other => panic!("{other:?}"),
        }
    }

    fn grant(&mut self, ttl_secs: u64) -> LeaseId {
        let token = self.ask(Request::Grant { id: None, ttl_secs, system: false });
        self.commit();
        match self.result(token) {
            Some(Ok(Response::Answer(Answer::Lease { id, .. }))) => *id,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_change_is_answered_and_shown_only_when_committed() {
    let mut node = Node::master(1);
    let put = node.put("a");
    node.append();
    assert_eq!(node.result(put), None);
    assert_eq!(node.count(false), 0);
    node.commit();
    assert_eq!(node.result(put), Some(Ok(&Response::Answer(Answer::Put(None)))));
    assert_eq!(node.count(false), 1);
}

#[test]
fn a_commit_in_the_middle_of_a_batch_answers_what_lies_before_it() {
    let mut node = Node::master(1);
    let puts = [node.put("a"), node.put("b"), node.put("c")];
    node.append();
    node.core.committed(Offset(2), &mut node.told);
    let answered = puts.map(|put| node.result(put).is_some());
    assert_eq!(answered, [true, true, false]);
    assert_eq!(node.count(false), 2);
}

#[test]
fn a_read_waits_for_the_proof_of_mastership() {
    let mut node = Node::master(1);
    let query = RangeQuery::all(KeyRange::prefix(""));
    let read = node.ask(Request::Range { query, serializable: false });
    assert_eq!(node.result(read), None);
    let unproven = node.core.take_unproven().unwrap();
    unproven.refuse(Refusal::MasterChanged, &mut node.told);
    assert_eq!(node.result(read), Some(Err(Refusal::MasterChanged)));
}

#[test]
fn a_read_whose_proof_is_not_found_waits_no_longer_than_any_request() {
    let mut node = Node::master(1);
    let query = RangeQuery::all(KeyRange::prefix(""));
    let read = node.ask(Request::Range { query, serializable: false });
    for _ in 0..60 {
        node.pass(100);
        if let Some(unproven) = node.core.take_unproven() {
            node.core.keep_unproven(unproven);
        }
    }
    assert_eq!(node.result(read), Some(Err(Refusal::TimedOut)));
}

#[test]
fn a_refusal_that_rests_on_an_uncommitted_change_waits_for_it() {
    let mut node = Node::master(1);
    let lease = node.grant(60);
    node.propose(Op::LeaseRevoke { id: lease, expired_in: None });
    let again = node.propose(Op::LeaseRevoke { id: lease, expired_in: None });
    node.append();
    node.prove();
    assert_eq!(node.result(again), None);
    node.commit();
    node.prove();
    assert_eq!(node.result(again), Some(Err(Error::LeaseNotFound.into())));
}

#[test]
fn a_deposed_master_answers_no_pending_request_with_ok_and_reads_its_log_again() {
    let mut node = Node::master(1);
    node.put("kept");
    node.commit();
    let watch =
        Wish { range: KeyRange::prefix(""), no_put: false, no_delete: false, prev_kv: false };
    let (stream, id, start, progress) = (StreamId(1), 0, None, false);
    node.ask(Request::Watch { stream, id, wish: watch, start, progress });
    let lost = node.put("lost");
    let read = node.ask(Request::Leases);
    node.append();
    let kept = node.log[..1].to_vec();
    assert!(node.core.lost_mastership(&mut node.told), "an uncommitted change was applied");
    assert_eq!(node.result(lost), Some(Err(Refusal::MasterChanged)));
    assert_eq!(node.result(read), Some(Err(Refusal::MasterChanged)));
    let early = node.put("x");
    assert_eq!(node.result(early), Some(Err(Refusal::NotReady)));
    for batch in &kept {
        node.core.apply_batch(batch, &mut node.told).unwrap();
    }
    node.core.loaded(&mut node.told);
    assert_eq!(node.count(true), 1);
    let late = node.put("x");
    assert_eq!(node.result(late), Some(Err(Refusal::NotMaster)));
    // The watch goes on with what the next master commits, and never saw what was lost.
    let mut next = Node::master(2);
    next.put("kept");
    next.put("other");
    next.commit();
    let mut batch = next.log[0].clone();
    batch.body = {
        let mut body = Vec::new();
        cairn_directory::body::push(&Op::Put(Put::new("other", "v")), &mut body);
        body.into()
    };
    batch.head.first = Offset(2);
    batch.head.count = 1;
    node.core.apply_batch(&batch, &mut node.told).unwrap();
    let keys: Vec<Bytes> = node
        .told
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Events { events, .. } => Some(events.iter().map(|e| e.kv.key.clone())),
            Notice::Progress { .. } | Notice::Cancelled { .. } => None,
        })
        .flatten()
        .collect();
    assert_eq!(keys, [Bytes::from_static(b"other")]);
}

#[test]
fn a_replica_holds_what_the_master_holds() {
    let mut node = Node::master(1);
    let lease = node.grant(30);
    for key in ["a", "b", "c"] {
        node.propose(Op::Put(Put { lease, ..Put::new(key, "v") }));
    }
    node.propose(Op::Compact { revision: Revision(1) });
    node.commit();
    let mut replica = Node::new();
    for batch in &node.log {
        replica.core.apply_batch(batch, &mut replica.told).unwrap();
    }
    let (ours, theirs) = (replica.core.directory(), node.core.directory());
    assert_eq!(ours.state_hash(), theirs.state_hash());
    assert_eq!(replica.count(true), 3);
}

#[test]
fn entries_before_one_with_authority_need_no_flush() {
    let mut node = Node::master(1);
    node.put("a");
    node.put("b");
    let op = Op::Put(Put::new("/cairn/x", "v"));
    node.ask(Request::Propose { op, system: true });
    node.put("c");
    node.append();
    let batches: Vec<_> = node.log.iter().map(|b| (b.head.count, b.head.authority)).collect();
    assert_eq!(batches, [(2, false), (2, true)]);
}

#[test]
fn clients_cannot_touch_what_belongs_to_the_system() {
    let mut node = Node::master(1);
    let lease = node.grant(30);
    let op = Op::Put(Put { lease, ..Put::new("/cairn/nodes/a", "v") });
    let system = node.ask(Request::Propose { op: op.clone(), system: true });
    node.commit();
    assert!(matches!(node.result(system), Some(Ok(_))));
    let all = Op::DeleteRange(cairn_directory::op::DeleteRange {
        range: KeyRange::prefix(""),
        prev_kv: false,
    });
    for op in [op, all, Op::LeaseRevoke { id: lease, expired_in: None }] {
        let refused = node.propose(op);
        assert_eq!(node.result(refused), Some(Err(Error::PermissionDenied.into())));
    }
    assert_eq!(node.count(false), 1);
}

#[test]
fn a_lease_that_runs_out_is_revoked_through_the_log() {
    let mut node = Node::master(3);
    let lease = node.grant(2);
    node.propose(Op::Put(Put { lease, ..Put::new("k", "v") }));
    node.pass(1500);
    let alive = node.ask(Request::KeepAlive { id: lease });
    node.prove();
    assert_eq!(node.result(alive), Some(Ok(&Response::KeptAlive { ttl_secs: 2 })));
    node.pass(1800);
    assert_eq!(node.count(false), 1);
    let entries = node.log.len();
    node.pass(500);
    assert_eq!((node.count(false), node.log.len()), (0, entries + 1));
    let gone = node.ask(Request::KeepAlive { id: lease });
    node.prove();
    assert_eq!(node.result(gone), Some(Ok(&Response::KeptAlive { ttl_secs: 0 })));
}

#[test]
fn a_new_master_gives_every_lease_its_whole_time_and_new_ids() {
    let mut node = Node::master(1);
    let lease = node.grant(2);
    node.pass(1900);
    assert!(!node.core.lost_mastership(&mut node.told));
    node.pass(5000);
    node.promote(2);
    node.pass(1900);
    let left = node.ask(Request::TimeToLive { id: lease, keys: false });
    node.prove();
    assert!(matches!(node.result(left), Some(Ok(Response::TimeToLive(Some(_))))));
    assert_ne!(node.grant(2), lease);
}

#[test]
fn a_request_that_is_not_committed_in_time_is_answered_with_an_error() {
    let mut node = Node::master(1);
    let put = node.put("a");
    node.now = node.now + Duration::from_secs(6);
    node.core.tick(node.now, &mut node.told);
    assert_eq!(node.result(put), Some(Err(Refusal::TimedOut)));
    node.commit();
    assert_eq!(node.count(false), 1);
}

#[test]
fn history_is_compacted_when_it_has_grown_to_twice_its_bound() {
    let mut node = Node::master(1);
    for _ in 0..30 {
        node.put("a");
    }
    node.commit();
    node.pass(20_000);
    assert_eq!(node.core.directory().compacted(), Revision(21));
}

#[test]
fn revisions_that_may_have_been_lost_are_never_given_out_again() {
    let mut node = Node::master(1);
    node.core.jump_revision(node.now, Revision(500));
    let put = node.put("a");
    node.commit();
    assert_eq!(node.told.replies[&put].as_ref().unwrap().revision, Revision(501));
    let query = RangeQuery { at: Some(Revision(400)), ..RangeQuery::all(KeyRange::prefix("")) };
    let old = node.ask(Request::Range { query, serializable: true });
    assert_eq!(node.result(old), Some(Err(Error::Compacted.into())));
}

#[test]
fn what_is_committed_can_be_read_and_watched_before_a_jump_is() {
    let mut node = Node::master(1);
    node.put("a");
    node.commit();
    node.core.jump_revision(node.now, Revision(500));
    assert_eq!(node.count(false), 1);
    let wish =
        Wish { range: KeyRange::prefix(""), no_put: false, no_delete: false, prev_kv: false };
    let (stream, id, start, progress) = (StreamId(1), 0, Some(Revision(3)), false);
    let watch = node.ask(Request::Watch { stream, id, wish, start, progress });
    assert_eq!(node.result(watch), Some(Ok(&Response::Watching)));
    node.commit();
    node.pass(100);
    let compacted = Revision(500);
    assert_eq!(node.told.notices, [Notice::Cancelled { watch: 0, compacted }]);
}

#[test]
fn a_full_directory_refuses_what_makes_it_larger_but_not_the_system() {
    let mut node = Node::new();
    node.core = Core::new(Limits { quota_bytes: 50_000, ..Limits::default() });
    node.core.loaded(&mut node.told);
    node.promote(1);
    let value = vec![0; 60_000];
    assert_eq!(node.core.status().quota_bytes, 50_000);
    node.propose(Op::Put(Put::new("large", value)));
    let refused = node.put("a");
    assert_eq!(node.result(refused), Some(Err(Error::NoSpace.into())));
    let op = Op::Put(Put::new("/cairn/x", "v"));
    let system = node.ask(Request::Propose { op, system: true });
    let range = KeyRange::single("large");
    node.propose(Op::DeleteRange(cairn_directory::op::DeleteRange { range, prev_kv: false }));
    node.commit();
    assert!(matches!(node.result(system), Some(Ok(_))));
    let now = node.core.committed_revision();
    node.propose(Op::Compact { revision: now });
    node.pass(200);
    let accepted = node.put("b");
    node.commit();
    assert!(matches!(node.result(accepted), Some(Ok(_))), "{:?}", node.result(accepted));
}

#[test]
fn a_long_read_is_of_one_revision_and_lets_others_pass() {
    let mut node = Node::master(1);
    for n in 0..30_000 {
        node.put(&format!("k{n:05}"));
    }
    node.commit();
    let began = node.core.committed_revision();
    node.propose(Op::Compact { revision: began });
    node.pass(2000);
    let query = RangeQuery::all(KeyRange::prefix("k"));
    let long = node.ask(Request::Range { query, serializable: true });
    let hash = node.ask(Request::HashKeys { at: None });
    assert_eq!(node.result(long), None);
    // Meanwhile keys change and come, history is compacted and swept.
    let other = node.put("k29999");
    node.put("k99999");
    node.commit();
    assert!(node.result(other).is_some());
    let now = node.core.committed_revision();
    node.propose(Op::Compact { revision: now });
    node.pass(1000);
    let reply = node.told.replies[&long].as_ref().unwrap();
    let Response::Range(range) = &reply.response else { panic!("{reply:?}") };
    assert_eq!((reply.revision, range.count), (began, 30_000));
    assert!(range.kvs.iter().all(|kv| kv.modified <= began));
    assert!(matches!(node.result(hash), Some(Ok(Response::Hash { .. }))));
    node.pass(1000);
    assert!(!node.core.is_busy(), "what was kept for the read is swept after it");
}

#[test]
fn a_body_that_does_not_match_stops_the_copy() {
    let mut node = Node::master(1);
    node.put("a");
    node.commit();
    let mut torn = node.log[0].clone();
    torn.body.truncate(torn.body.len() - 1);
    let mut short = node.log[0].clone();
    short.head.count = 2;
    for batch in [torn, short] {
        let mut replica = Node::new();
        assert!(replica.core.apply_batch(&batch, &mut replica.told).is_err());
    }
}

#[test]
fn with_a_low_disk_the_system_alone_writes_and_reads_go_on() {
    let mut node = Node::master(1);
    let before = node.put("a");
    node.commit();
    assert!(node.result(before).is_some_and(|result| result.is_ok()));
    node.core.set_disk_low(true);
    let put = node.put("b");
    let grant = node.ask(Request::Grant { id: None, ttl_secs: 9, system: false });
    let delete = Op::DeleteRange(cairn_directory::op::DeleteRange {
        range: KeyRange::prefix("a"),
        prev_kv: false,
    });
    let delete = node.ask(Request::Propose { op: delete, system: false });
    for refused in [put, grant, delete] {
        let refusal = Refusal::Invalid(Error::NoSpace);
        assert_eq!(node.result(refused), Some(Err(refusal)));
    }
    assert_eq!(node.count(false), 1);
    let system = node.ask(Request::Grant { id: None, ttl_secs: 9, system: true });
    node.commit();
    assert!(node.result(system).is_some_and(|result| result.is_ok()));
    node.core.set_disk_low(false);
    let put = node.put("b");
    node.commit();
    assert!(node.result(put).is_some_and(|result| result.is_ok()));
    assert_eq!(node.count(false), 2);
}
