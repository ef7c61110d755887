//! People that wait for a snapshot to be durable.

use crate::clock;
use crate::peer::Reply;
use cairn_logic::time::{Duration, Instant};
use cairn_wire::peer::pb;
use tonic::Status;

/// How long one waits; the snapshot is written all the same.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Those of whom it is known that they wait.
const ASKS_MAX: usize = 16;

/// Who waits, and until when.
#[derive(Default)]
pub(super) struct Asks(Vec<(Instant, Reply<pb::WishReply>)>);

impl Asks {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more waits, if not too many do.
    pub fn add(&mut self, reply: Reply<pb::WishReply>) {
        if self.0.len() < ASKS_MAX {
            self.0.push((clock::now() + WAIT_MAX, reply));
        } else {
            let text = "too many wait for a snapshot already";
            reply.send(Err(Status::resource_exhausted(text))).ok();
        }
    }

    /// Answers all.
    pub fn answer(&mut self, answer: &Result<pb::WishReply, Status>) {
        for (_, reply) in self.0.drain(..) {
            reply.send(answer.clone()).ok();
        }
    }

    /// Answers those that have waited long enough.
    pub fn time_out(&mut self) {
        let now = clock::now();
        while let Some(place) = self.0.iter().position(|(until, _)| now >= *until) {
            let (_, reply) = self.0.swap_remove(place);
            reply.send(Ok(said("it is not durable yet, and goes on".to_owned()))).ok();
        }
    }
}

/// A line for people.
pub(super) fn said(line: String) -> pb::WishReply {
    pb::WishReply::said(vec![line])
}
