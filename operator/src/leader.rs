//! Which of the operator's replicas writes: one holds a Lease, the others wait.
//!
//! The right to write ends before the Lease does, by this process's own clock, so that two never
//! write at once; every write is shorter than the difference.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long a Lease that is not renewed keeps others out.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long after the last renewal its holder may still begin a write.
pub const WRITE_UNTIL: Duration = Duration::from_secs(10);
/// The longest that a write may take.
pub const WRITE_MAX: Duration = Duration::from_secs(4);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(3);
const CALL_MAX: Duration = Duration::from_secs(3);

/// The right to write, shared by all that write.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Leadership {
    /// Whether a write may begin now.
    #[must_use]
    pub fn may_write(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// The right to write for `span` from the moment `began`.
    pub fn extend(&self, began: Instant, span: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(began + span);
    }

    /// No write begins any more.
    pub fn end(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is ours, or free: write this one.
    Take {
        /// How often the holder changed, this time included.
        transitions: i32,
    },
    /// Somebody else holds it.
    Wait,
}

/// What `me` does about `lease`, which has not changed for `unchanged` by our own clock.
///
/// The times in a Lease are its holder's: they are never compared with our clock.
#[must_use]
pub fn verdict(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> Verdict {
    let Some(lease) = lease else { return Verdict::Take { transitions: 0 } };
    let transitions = lease.lease_transitions.unwrap_or(0);
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let span = lease.lease_duration_seconds.and_then(|sec| u64::try_from(sec).ok());
    let span = span.map_or(LEASE, Duration::from_secs);
    if holder == me {
        Verdict::Take { transitions }
    } else if holder.is_empty() || unchanged >= span {
        Verdict::Take { transitions: transitions.saturating_add(1) }
    } else {
        Verdict::Wait
    }
}

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    leadership: Leadership,
    /// The version that was seen last, and since when.
    seen: (Option<String>, Instant),
}

impl Election {
    /// Stands for the Lease `name` in `namespace` as `me`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: me.to_owned(),
            leadership: Leadership::default(),
            seen: (None, Instant::now()),
        }
    }

    /// The right that this election gives and takes.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until this replica leads.
    pub async fn win(&mut self) {
        while !self.try_once().await {
            sleep(RENEW).await;
        }
        tracing::info!(lease = %self.name, me = %self.me, "leading");
    }

    /// Renews; returns when the right to write has ended.
    pub async fn hold(&mut self) {
        loop {
            sleep(RENEW).await;
            if !self.try_once().await && !self.leadership.may_write() {
                self.leadership.end();
                tracing::warn!(lease = %self.name, "not leading any more");
                return;
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    pub async fn release(&mut self) {
        let held = self.leadership.may_write();
        self.leadership.end();
        let Ok(Ok(mut lease)) = timeout(CALL_MAX, self.api.get(&self.name)).await else { return };
        let spec = lease.spec.get_or_insert_default();
        if held && spec.holder_identity.as_deref() == Some(&self.me) {
            spec.holder_identity = Some(String::new());
            let params = PostParams::default();
            let replace = self.api.replace(&self.name, &params, &lease);
            timeout(CALL_MAX, replace).await.ok();
        }
    }

    async fn try_once(&mut self) -> bool {
        let began = Instant::now();
        match timeout(CALL_MAX, self.step()).await {
            Ok(Ok(true)) => {
                self.leadership.extend(began, WRITE_UNTIL);
                true
            }
            Ok(Ok(false)) => {
                // Somebody else holds it, whatever our own clock says.
                self.leadership.end();
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease could not be renewed");
                false
            }
            Err(_) => false,
        }
    }

    async fn step(&mut self) -> Result<bool, kube::Error> {
        let found = self.api.get_opt(&self.name).await?;
        let version = found.as_ref().and_then(ResourceExt::resource_version);
        if self.seen.0 != version {
            self.seen = (version, Instant::now());
        }
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let Verdict::Take { transitions } = verdict(spec, &self.me, self.seen.1.elapsed()) else {
            return Ok(false);
        };
        let spec = self.spec(transitions, spec);
        // Both writes are compare-and-swaps: a new object, or one of the version that was read.
        let written = match found {
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                self.api.replace(&self.name, &PostParams::default(), &lease).await
            }
            None => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.api.create(&PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = (lease.resource_version(), Instant::now());
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, transitions: i32, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = old.filter(|old| old.holder_identity.as_deref() == Some(&self.me));
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: ours.and_then(|old| old.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }
    }

    fn after_sec(lease: Option<&LeaseSpec>, sec: u64) -> Verdict {
        verdict(lease, "a", Duration::from_secs(sec))
    }

    #[test]
    fn a_lease_of_somebody_else_is_waited_for_until_it_ran_out_by_our_own_clock() {
        assert_eq!(after_sec(Some(&held_by("b")), 14), Verdict::Wait);
        assert_eq!(after_sec(Some(&held_by("b")), 15), Verdict::Take { transitions: 5 });
    }

    #[test]
    fn ours_a_free_one_and_none_are_taken() {
        assert_eq!(after_sec(Some(&held_by("a")), 0), Verdict::Take { transitions: 4 });
        assert_eq!(after_sec(Some(&held_by("")), 0), Verdict::Take { transitions: 5 });
        assert_eq!(after_sec(None, 0), Verdict::Take { transitions: 0 });
    }

    #[test]
    fn the_right_to_write_ends_by_itself_and_before_the_lease() {
        assert!(WRITE_UNTIL + WRITE_MAX < LEASE);
        let leadership = Leadership::default();
        assert!(!leadership.may_write());
        leadership.extend(Instant::now(), Duration::from_secs(60));
        assert!(leadership.may_write());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
        leadership.extend(long_ago, WRITE_UNTIL);
        assert!(!leadership.may_write());
    }

    #[test]
    fn loss_stops_writing_at_once() {
        let leadership = Leadership::default();
        leadership.extend(Instant::now(), Duration::from_secs(60));
        leadership.clone().end();
        assert!(!leadership.may_write());
    }
}
