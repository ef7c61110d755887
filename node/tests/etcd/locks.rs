//! Locks and elections, as clients see them.

use super::etcd::server::Server;
use cairn_wire::etcd::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, RangeRequest};
use cairn_wire::etcd::etcdserverpb::{kv_client::KvClient, lease_client::LeaseClient};
use cairn_wire::etcd::{v3electionpb as election, v3lockpb as lock};
use election::election_client::ElectionClient;
use lock::lock_client::LockClient;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Long enough for whatever is to happen, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

struct Clients {
    locks: LockClient<Channel>,
    elections: ElectionClient<Channel>,
    leases: LeaseClient<Channel>,
    kv: KvClient<Channel>,
}

async fn clients(server: &Server) -> Clients {
    let channel = server.channel().await;
    Clients {
        locks: LockClient::new(channel.clone()),
        elections: ElectionClient::new(channel.clone()),
        leases: LeaseClient::new(channel.clone()),
        kv: KvClient::new(channel),
    }
}

type Locking = JoinHandle<Result<lock::LockResponse, Status>>;

impl Clients {
    async fn lease(&mut self) -> i64 {
        let grant = LeaseGrantRequest { ttl: 60, id: 0 };
        self.leases.lease_grant(grant).await.unwrap().into_inner().id
    }

    async fn revoke(&mut self, id: i64) {
        self.leases.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    }

    fn lock(&self, lease: i64) -> Locking {
        let mut locks = self.locks.clone();
        let request = lock::LockRequest { name: "job".into(), lease };
        tokio::spawn(async move { locks.lock(request).await.map(tonic::Response::into_inner) })
    }

    /// Locks that can be had or waited for.
    async fn waiting(&mut self) -> i64 {
        let (key, range_end) = ("job/".into(), "job0".into());
        let all = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
        self.kv.range(all).await.unwrap().into_inner().count
    }

    async fn wait_waiting(&mut self, count: i64) {
        timeout(SOON, async {
            while self.waiting().await != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    fn campaign(&self, lease: i64, value: &'static str) -> JoinHandle<election::LeaderKey> {
        let mut elections = self.elections.clone();
        let request = election::CampaignRequest { name: "boss".into(), lease, value: value.into() };
        tokio::spawn(async move {
            elections.campaign(request).await.unwrap().into_inner().leader.unwrap()
        })
    }

    async fn leader(&mut self) -> Result<String, Status> {
        let request = election::LeaderRequest { name: "boss".into() };
        let kv = self.elections.leader(request).await?.into_inner().kv.unwrap();
        Ok(String::from_utf8(kv.value.to_vec()).unwrap())
    }
}

async fn soon<T>(task: JoinHandle<T>) -> T {
    timeout(SOON, task).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_lock_is_had_by_one_after_the_other_in_the_order_of_asking() {
    let master = Server::start().await;
    let behind = Server::behind(&master).await;
    let (mut at, through) = (clients(&master).await, clients(&behind).await);
    let (first, second) = (at.lease().await, at.lease().await);
    let held = soon(at.lock(first)).await.unwrap();
    assert_eq!(held.key, format!("job/{first:x}"));
    assert!(held.header.is_some());
    let waits = through.lock(second);
    at.wait_waiting(2).await;
    // Who has it has it: the same lease does not wait for itself.
    assert_eq!(soon(at.lock(first)).await.unwrap().key, held.key);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished());
    at.locks.unlock(lock::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(soon(waits).await.unwrap().key, format!("job/{second:x}"));
}

#[tokio::test]
async fn a_lock_ends_with_its_lease_and_so_does_waiting_for_it() {
    let server = Server::start().await;
    let mut at = clients(&server).await;
    let (first, second, third) = (at.lease().await, at.lease().await, at.lease().await);
    soon(at.lock(first)).await.unwrap();
    let waits = at.lock(second);
    at.wait_waiting(2).await;
    let waits_behind = at.lock(third);
    at.wait_waiting(3).await;
    at.revoke(second).await;
    let expired = soon(waits).await.unwrap_err();
    let told = (expired.code(), expired.message());
    assert_eq!(told, (Code::Unknown, "mutex: session is expired"));
    assert!(!waits_behind.is_finished());
    at.revoke(first).await;
    soon(waits_behind).await.unwrap();
    let unknown = soon(at.lock(4711)).await.unwrap_err();
    assert_eq!(unknown.message(), "etcdserver: requested lease not found");
    // Without a lease of one's own there is one for a minute.
    let waits = at.lock(0);
    at.wait_waiting(2).await;
    at.revoke(third).await;
    let key = soon(waits).await.unwrap().key;
    assert!(key.starts_with(b"job/"));
}

#[tokio::test]
async fn who_goes_away_while_waiting_stands_in_nobodys_way() {
    let server = Server::start().await;
    let mut at = clients(&server).await;
    let (first, second, third) = (at.lease().await, at.lease().await, at.lease().await);
    let held = soon(at.lock(first)).await.unwrap();
    let gives_up = at.lock(second);
    at.wait_waiting(2).await;
    let waits = at.lock(third);
    at.wait_waiting(3).await;
    gives_up.abort();
    at.wait_waiting(2).await;
    at.locks.unlock(lock::UnlockRequest { key: held.key }).await.unwrap();
    assert_eq!(soon(waits).await.unwrap().key, format!("job/{third:x}"));
}

#[tokio::test]
async fn a_leader_is_elected_proclaims_resigns_and_is_observed() {
    let server = Server::start().await;
    let mut at = clients(&server).await;
    let observe = election::LeaderRequest { name: "boss".into() };
    let mut seen = at.elections.observe(observe).await.unwrap().into_inner();
    let nobody = at.leader().await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::Unknown, "election: no leader"));
    let (first, second) = (at.lease().await, at.lease().await);
    let leader = soon(at.campaign(first, "a")).await;
    assert_eq!((leader.lease, &leader.name[..]), (first, &b"boss"[..]));
    let mut next = async || {
        let told = timeout(SOON, seen.message()).await.unwrap().unwrap().unwrap();
        String::from_utf8(told.kv.unwrap().value.to_vec()).unwrap()
    };
    assert_eq!((next().await, at.leader().await.unwrap()), ("a".into(), "a".into()));
    let waits = at.campaign(second, "b");
    let proclaim = |leader: &election::LeaderKey| election::ProclaimRequest {
        leader: Some(leader.clone()),
        value: "a2".into(),
    };
    at.elections.proclaim(proclaim(&leader)).await.unwrap();
    assert_eq!(next().await, "a2");
    // Campaigning again with another value proclaims it.
    assert_eq!(soon(at.campaign(first, "a3")).await, leader);
    assert_eq!(next().await, "a3");
    assert!(!waits.is_finished());
    let resign = election::ResignRequest { leader: Some(leader.clone()) };
    assert!(at.elections.resign(resign.clone()).await.unwrap().into_inner().header.is_some());
    let other = soon(waits).await;
    assert!(other.rev > leader.rev, "fencing tokens grow");
    assert_eq!((next().await, at.leader().await.unwrap()), ("b".into(), "b".into()));
    let late = at.elections.proclaim(proclaim(&leader)).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::Unknown, "election: not leader"));
    at.elections.resign(resign).await.unwrap();
    assert_eq!(at.leader().await.unwrap(), "b", "who is not the leader resigns nobody");
    let nameless = election::ProclaimRequest { leader: None, value: "x".into() };
    let refused = at.elections.proclaim(nameless).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
