//! One client at work: what it does next, and what it writes down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::client::{Client, Taken, Trouble};
use super::history::{Deed, Holding, Life, Operation, Outcome, Sign, Told};
use crate::dice::Dice;

/// How long leases live by themselves, in seconds.
const LEASE_SECS: i64 = 3;
/// How long locks do.
const LOCK_SECS: i64 = 2;
/// Between two keep-alives of a lease.
const KEEP_EVERY: Duration = Duration::from_millis(700);
/// Between two looks at a key whose lease is to end.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how long a key whose lease is to end is watched when nothing disturbs.
const CALM_WATCH_US: u64 = 12_000_000;
/// For how long each key is asked for at the end.
const READ_LIMIT_US: u64 = 30_000_000;

/// One client.
pub struct Worker {
    number: usize,
    shared: Arc<Shared>,
    client: Client,
    dice: Dice,
    written: u64,
}

fn us(secs: u64) -> u64 {
    secs.saturating_mul(1_000_000)
}

async fn rest(time: Duration) {
    tokio::time::sleep(time).await;
}

impl Worker {
    /// Client `number`.
    pub fn new(number: usize, shared: &Arc<Shared>) -> Self {
        let client = Client::new(&shared.plan.endpoints, number);
        let dice = Dice::new(shared.plan.seed ^ ((number as u64) << 24));
        Self { number, shared: Arc::clone(shared), client, dice, written: 0 }
    }

    /// A value that is written only once.
    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.number, self.written)
    }

    fn key(&self, kind: &str, at: u64) -> String {
        format!("{}:{kind}:{at}", self.shared.plan.prefix)
    }

    fn one_of(&mut self, bound: u64) -> u64 {
        self.dice.below(bound)
    }

    /// Reads and writes registers until it is stopped.
    pub async fn registers(mut self) {
        let time = self.shared.plan.rest;
        while !self.shared.is_stopped() {
            let at = self.one_of(self.shared.plan.keys);
            let key = self.key("register", at);
            let done = match self.one_of(10) {
                0..=3 => {
                    let value = self.value();
                    self.ask(&key, Deed::Put { value }).await.is_some()
                }
                4..=6 => match self.ask(&key, Deed::Get { stale: false }).await {
                    Some(found) => {
                        let seen = found.state.map_or(0, |state| state.changed);
                        let value = self.value();
                        self.ask(&key, Deed::Swap { seen, value }).await.is_some()
                    }
                    None => false,
                },
                7 | 8 => self.ask(&key, Deed::Get { stale: false }).await.is_some(),
                _ => self.ask(&key, Deed::Get { stale: true }).await.is_some(),
            };
            rest(if done { time } else { time * 5 }).await;
        }
    }

    /// Reads every register and every guarded key once more.
    pub async fn read_back(mut self) {
        let (keys, locks) = (self.shared.plan.keys, self.shared.plan.locks);
        let registers = (0..keys).map(|at| self.key("register", at));
        let guarded = (0..locks).map(|at| self.key("guarded", at));
        let all: Vec<String> = registers.chain(guarded).collect();
        let deadline_us = self.shared.now_us() + READ_LIMIT_US;
        for key in all {
            while self.ask(&key, Deed::Get { stale: false }).await.is_none() {
                if self.shared.now_us() > deadline_us {
                    self.shared.note(|history| history.unread += 1);
                    break;
                }
                rest(LOOK_EVERY).await;
            }
        }
    }

    /// Asks something about a key and writes it down; the answer, if there was one.
    async fn ask(&mut self, key: &str, deed: Deed) -> Option<Told> {
        let called_us = self.shared.now_us();
        let answer = match &deed {
            Deed::Put { value } => self.client.put(key, value, 0).await,
            Deed::Swap { seen, value } => self.client.swap(key, *seen, value).await,
            Deed::Guarded { lock, token, value } => {
                self.client.guarded(key, value, lock, *token).await
            }
            Deed::Get { stale } => self.client.get(key, *stale).await,
        };
        let returned_us = self.shared.now_us();
        let told = answer.as_ref().ok().cloned();
        let outcome = answer.map_or_else(Outcome::from, Outcome::Done);
        let (client, key) = (self.number, key.to_owned());
        let operation = Operation { client, key, deed, called_us, returned_us, outcome };
        self.shared.note(|history| history.operations.push(operation));
        told
    }

    /// Begins a lease; its number and its life so far.
    async fn begin(&mut self, key: &str, ttl_secs: i64) -> Option<(i64, Life)> {
        let asked_us = self.shared.now_us();
        let (id, secs) = self.client.grant(ttl_secs).await.ok()?;
        let (answered_us, ttl_us) = (self.shared.now_us(), us(secs));
        let signs = vec![Sign::Promised { asked_us, answered_us, ttl_us }];
        Some((id, Life { client: self.number, key: key.to_owned(), ttl_us, signs }))
    }

    /// Keeps a lease alive; whether it is not known to be gone.
    async fn keep(&mut self, id: i64, life: &mut Life) -> bool {
        let asked_us = self.shared.now_us();
        let answer = self.client.keep_alive(id).await;
        let answered_us = self.shared.now_us();
        let (sign, goes_on) = match answer {
            // A lease that is gone has no key any more; no matter who says so.
            Ok(0) => {
                let (called_us, returned_us) = (asked_us, answered_us);
                (Sign::Seen { called_us, returned_us, term: 0, there: false }, false)
            }
            Ok(secs) => (Sign::Promised { asked_us, answered_us, ttl_us: us(secs) }, true),
            Err(_) => (Sign::Touched { returned_us: answered_us }, true),
        };
        life.signs.push(sign);
        goes_on
    }

    /// Looks whether a lease's key is there; none if there is no answer.
    async fn look(&mut self, life: &mut Life) -> Option<bool> {
        let called_us = self.shared.now_us();
        let told = self.client.get(&life.key, false).await.ok()?;
        let (returned_us, there) = (self.shared.now_us(), told.state.is_some());
        life.signs.push(Sign::Seen { called_us, returned_us, term: told.term, there });
        Some(there)
    }

    /// Keeps leases alive, one after the other, and watches how each ends.
    pub async fn leases(mut self) {
        while !self.shared.is_stopped() {
            let number = self.value();
            let key = format!("{}:{number}", self.key("lease", 0));
            if let Some(life) = self.one_lease(&key).await {
                self.shared.note(|history| history.lives.push(life));
            }
            rest(self.shared.plan.rest * 5).await;
        }
    }

    async fn one_lease(&mut self, key: &str) -> Option<Life> {
        let (id, mut life) = self.begin(key, LEASE_SECS).await?;
        // Without an answer nobody knows whether there is a key to watch.
        self.client.put(key, "here", id).await.ok()?;
        for _ in 0..2 + self.one_of(8) {
            if self.shared.is_stopped() {
                break;
            }
            rest(KEEP_EVERY).await;
            if !self.keep(id, &mut life).await || self.look(&mut life).await == Some(false) {
                return Some(life);
            }
        }
        loop {
            let calm_us = self.shared.calm_us.load(Ordering::Relaxed);
            let over = self.shared.now_us() > calm_us.saturating_add(CALM_WATCH_US);
            let given_up = self.shared.is_stopped() && calm_us == u64::MAX;
            if self.look(&mut life).await == Some(false) || over || given_up {
                return Some(life);
            }
            rest(LOOK_EVERY).await;
        }
    }

    /// Takes locks, writes under them, and leaves them, with and without a word.
    pub async fn locks(mut self) {
        while !self.shared.is_stopped() {
            let at = self.one_of(self.shared.plan.locks);
            let lock = self.key("lock", at);
            match self.client.get(&lock, false).await {
                Ok(told) if told.state.is_none() => {
                    if let Some((id, holding)) = self.take(&lock).await {
                        self.hold(at, id, holding).await;
                    }
                }
                _ => {}
            }
            let pause_ms = 30 + self.one_of(100);
            rest(Duration::from_millis(pause_ms)).await;
        }
    }

    async fn take(&mut self, lock: &str) -> Option<(i64, Holding)> {
        let (id, life) = self.begin(lock, LOCK_SECS).await?;
        let value = self.value();
        let taken = self.client.take(lock, &value, id).await;
        let token = match taken {
            Ok(Taken::Ours(revision)) => Some(revision),
            Ok(Taken::Others) | Err(Trouble::Failed(_)) => None,
            // It may be ours: what it holds tells.
            Err(Trouble::Unknown(_)) => {
                let state = self.client.get(lock, false).await.ok().and_then(|told| told.state);
                state.filter(|state| state.value == value).map(|state| state.created)
            }
        };
        let from_us = self.shared.now_us();
        token.map(|token| (id, Holding { lock: lock.to_owned(), token, from_us, life }))
    }

    async fn hold(&mut self, at: u64, id: i64, mut holding: Holding) {
        let (lock, token, key) = (holding.lock.clone(), holding.token, self.key("guarded", at));
        let rounds = 2 + self.one_of(6);
        for round in 0..rounds {
            if self.shared.is_stopped() {
                break;
            }
            if round % 2 == 0 && !self.keep(id, &mut holding.life).await {
                break;
            }
            let (value, called_us) = (self.value(), self.shared.now_us());
            let deed = Deed::Guarded { lock: lock.clone(), token, value };
            if let Some(told) = self.ask(&key, deed).await {
                let (returned_us, there, term) = (self.shared.now_us(), told.applied, told.term);
                holding.life.signs.push(Sign::Seen { called_us, returned_us, term, there });
                if !there {
                    break;
                }
            }
            let pause_ms = 50 + self.one_of(200);
            rest(Duration::from_millis(pause_ms)).await;
        }
        // Every other holder says nothing and is only silent.
        if self.one_of(2) == 0 {
            let called_us = self.shared.now_us();
            holding.life.signs.push(Sign::Ended { called_us });
            // Without an answer the lease runs out.
            drop(self.client.revoke(id).await);
        }
        self.shared.note(|history| history.holdings.push(holding));
    }
}
