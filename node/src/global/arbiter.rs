//! The shell of the arbiter's proposer: sends its requests, brings back the answers.

use crate::acceptor::AcceptorHandle;
use crate::clock;
use crate::peer::{Identity, client};
use bytes::Bytes;
use cairn_logic::arbiter::{
    Operation, Outcome, Patience, Proposer, ProposerEffect, Reply, Request, Roster, Seat, Token,
};
use cairn_logic::ids::{Incarnation, Life, NodeId};
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long one call to an acceptor may take.
const CALL_MAX: Duration = Duration::from_millis(800);

/// Asks the acceptors for one process.
pub struct Arbiter {
    proposer: Proposer,
    identity: Identity,
    local: Option<AcceptorHandle>,
    addresses: BTreeMap<NodeId, String>,
    channels: BTreeMap<NodeId, tonic::transport::Channel>,
    replies: mpsc::Sender<Replied>,
    /// The folder behind each acceptor's name, as it last proved itself.
    seen: BTreeMap<NodeId, Incarnation>,
    next: Token,
    effects: Vec<ProposerEffect>,
}

/// An acceptor's answer.
#[derive(Debug)]
pub struct Replied {
    from: Seat,
    reply: Reply,
    channel: Option<tonic::transport::Channel>,
}

impl Arbiter {
    /// A proposer of the process `identity`; `addresses` has the peer port of each acceptor,
    /// `local` the one in this process. Answers arrive on `replies`, for [`Arbiter::replied`].
    pub fn new(
        identity: Identity,
        life: Life,
        addresses: BTreeMap<NodeId, String>,
        local: Option<AcceptorHandle>,
        replies: mpsc::Sender<Replied>,
    ) -> Self {
        let seeds = addresses.keys().cloned().collect();
        let me = identity.me.id.clone();
        let proposer = Proposer::new(me, life, seeds, Patience::default());
        let (channels, seen, effects) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { proposer, identity, local, addresses, channels, replies, seen, next: 0, effects }
    }

    /// Begins an operation; its outcome comes from one of the next calls under the number given.
    pub fn ask(&mut self, operation: Operation) -> (Token, Vec<(Token, Outcome)>) {
        self.next += 1;
        self.proposer.ask(clock::now(), self.next, operation, &mut self.effects);
        (self.next, self.perform())
    }

    /// Lets time pass.
    pub fn tick(&mut self) -> Vec<(Token, Outcome)> {
        self.proposer.tick(clock::now(), &mut self.effects);
        self.perform()
    }

    /// Takes an acceptor's answer.
    pub fn replied(&mut self, replied: Replied) -> Vec<(Token, Outcome)> {
        if let Some(channel) = replied.channel {
            self.channels.insert(replied.from.id.clone(), channel);
        }
        self.seen.insert(replied.from.id.clone(), replied.from.incarnation);
        let now = clock::now();
        self.proposer.reply(now, &replied.from, replied.reply, &mut self.effects);
        self.perform()
    }

    /// An acceptor that answers with another folder than the one that counts: it lost its own and
    /// is to be replaced by the new one. Nothing while another replacement is unsettled.
    pub fn lost_seat(&self) -> Option<(NodeId, Seat)> {
        let roster = self.proposer.roster().filter(|roster| roster.former.is_none())?;
        roster.seats.iter().find_map(|seat| {
            let incarnation = *self.seen.get(&seat.id)?;
            let new = Seat { id: seat.id.clone(), incarnation };
            (incarnation != seat.incarnation).then(|| (seat.id.clone(), new))
        })
    }

    /// The acceptors that lost their folders and whose new ones do not count yet. `heard` has the
    /// folder of a node as it said hello with it, which may be known before the acceptor is asked.
    pub fn unseated(&self, heard: impl Fn(&NodeId) -> Option<Incarnation>) -> BTreeSet<NodeId> {
        let seats = self.proposer.roster().map(Roster::all).unwrap_or_default();
        let other = |seat: &Seat| {
            let known = heard(&seat.id).or(self.seen.get(&seat.id).copied());
            known.is_some_and(|incarnation| incarnation != seat.incarnation)
        };
        seats.into_iter().filter(other).map(|seat| seat.id).collect()
    }

    /// The acceptors whose folders are known to be gone, if no majority can be left without them.
    pub fn lost(&self) -> Option<Vec<NodeId>> {
        let roster = self.proposer.roster()?;
        let gone = |seat: &&Seat| self.seen.get(&seat.id).is_some_and(|at| *at != seat.incarnation);
        let gone: Vec<NodeId> = roster.seats.iter().filter(gone).map(|s| s.id.clone()).collect();
        (roster.seats.len() - gone.len() <= roster.seats.len() / 2).then_some(gone)
    }

    fn perform(&mut self) -> Vec<(Token, Outcome)> {
        let mut done = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                ProposerEffect::Send { to, body } => self.send(to, &body),
                ProposerEffect::Done { token, outcome } => done.push((token, outcome)),
            }
        }
        done
    }

    fn send(&mut self, to: NodeId, request: &Request) {
        let request = serde_json::to_vec(request).expect("a request is plain data").into();
        let replies = self.replies.clone();
        if to == self.identity.me.id {
            let Some(local) = self.local.clone() else { return };
            let me = self.identity.me.clone();
            let seat = Seat { id: me.id, incarnation: me.incarnation };
            tokio::spawn(ask_local(local, seat, request, replies));
            return;
        }
        let Some(address) = self.addresses.get(&to).cloned() else { return };
        // A channel is used until a call on it fails; then the next one connects anew.
        let channel = self.channels.remove(&to);
        let call = call(self.identity.clone(), to, address, channel, request);
        tokio::spawn(async move {
            if let Ok(Some(replied)) = timeout(CALL_MAX, call).await {
                replies.send(replied).await.ok();
            }
        });
    }
}

async fn ask_local(
    local: AcceptorHandle,
    seat: Seat,
    request: Bytes,
    replies: mpsc::Sender<Replied>,
) {
    let (reply, answer) = oneshot::channel();
    local.call(request, reply);
    if let Ok(Ok(answer)) = answer.await
        && let Ok(reply) = serde_json::from_slice(&answer)
    {
        replies.send(Replied { from: seat, reply, channel: None }).await.ok();
    }
}

async fn call(
    identity: Identity,
    to: NodeId,
    address: String,
    channel: Option<tonic::transport::Channel>,
    message: Bytes,
) -> Option<Replied> {
    let channel = match channel {
        Some(channel) => channel,
        None => client::channel(&identity, &address).await.ok()?,
    };
    let mut peer = client::client(&identity, to.as_str(), channel.clone());
    let answer = peer.accept(pb::AcceptorCall { message }).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(status) => {
            tracing::debug!(%to, %status, "an acceptor did not answer");
            return None;
        }
    };
    // Answers count by folder: only one that proves itself is believed.
    let caller = identity.secret.check(answer.metadata(), &identity.me.id).ok()?;
    if caller.sender.id != to {
        return None;
    }
    let reply = serde_json::from_slice(&answer.get_ref().message).ok()?;
    let from = Seat { id: to, incarnation: caller.sender.incarnation };
    Some(Replied { from, reply, channel: Some(channel) })
}
