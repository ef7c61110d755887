//! Replies of one connection, in order; each waits for what it depends on.
//!
//! Bytes lie in one buffer: `[..sent]` are on the wire, `[sent..free]` may be written now, and the
//! rest is covered by one [`Mark`] per reply, which says what it waits for and, should that never
//! come, which error takes its place (docs/replication.md §5, §11).

use crate::data::link::Released;
use cairn_logic::ids::Offset;
use cairn_logic::time::Instant;
use cairn_resp::ReplyBuf;
use std::collections::VecDeque;

/// What a held reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that can be taken back: it only keeps its place in the order.
    Free,
    /// A command that appended.
    Write,
    /// A command that showed state: mastership must be proved as well.
    Read,
    /// A read whose mastership ended before it was released: a redirect takes its place.
    Limbo,
}

/// One reply that is not released yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The offset that must be committed; zero for none.
    pub need: Offset,
    /// Its length in bytes.
    pub len: u32,
    /// When it was made, in milliseconds on the thread's own count.
    pub made_ms: u32,
    /// The confirmation it waits for (`reads: confirm`), or 0.
    pub token: u32,
    /// The slot it spoke of, for a redirect.
    pub slot: u16,
    /// What it answers.
    pub kind: Kind,
}

/// What may be released at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// What is committed.
    pub committed: Offset,
    /// Whether a fresh clock was below the read deadline.
    pub leased: bool,
    /// The newest confirmation, in the count of [`Mark::token`].
    pub confirmed: u32,
}

impl Gate {
    /// The gate at `now`, a clock that was read after `released`.
    pub(super) fn new(released: Released, now: Instant, confirmed: u32) -> Self {
        let leased = now < released.read_until;
        Self { committed: released.committed, leased, confirmed }
    }

    #[inline]
    fn lets(&self, mark: &Mark) -> bool {
        match mark.kind {
            Kind::Free => true,
            Kind::Limbo => false,
            Kind::Write => mark.need <= self.committed,
            Kind::Read if mark.token == 0 => mark.need <= self.committed && self.leased,
            Kind::Read => {
                // Tokens wrap; the newest confirmation is never half the circle behind.
                let behind = self.confirmed.wrapping_sub(mark.token) < 1 << 31;
                mark.need <= self.committed && behind && self.confirmed != 0
            }
        }
    }
}

/// The reply queue of one connection.
#[derive(Debug, Default)]
pub struct Replies {
    /// Where replies are written; every reply is followed by [`Replies::held`] or
    /// [`Replies::free`].
    pub buf: ReplyBuf,
    sent: usize,
    free: usize,
    /// Up to here replies are free or have a mark.
    end: usize,
    marks: VecDeque<Mark>,
}

/// A point that [`Replies::take_back`] can return to.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    len: usize,
    free: usize,
    marks: usize,
}

impl Replies {
    /// Marks what was written since the last mark as one reply that waits.
    #[inline]
    pub fn held(&mut self, from: usize, mut mark: Mark) {
        let len = self.buf.len() - from;
        if len == 0 {
            return;
        }
        // A connection with so much unread is closed long before.
        mark.len = u32::try_from(len).unwrap_or(u32::MAX);
        self.marks.push_back(mark);
        self.end = self.buf.len();
    }

    /// Marks what was written since `from` as released as soon as what lies before it is.
    #[inline]
    pub fn free(&mut self, from: usize) {
        if self.marks.is_empty() {
            self.free = self.buf.len();
            self.end = self.free;
            return;
        }
        let free =
            Mark { need: Offset::ZERO, len: 0, made_ms: 0, token: 0, slot: 0, kind: Kind::Free };
        self.held(from, free);
    }

    /// Marks what was written since the last mark, if anything was, as [`Replies::free`] does.
    pub fn free_rest(&mut self) {
        if self.end < self.buf.len() {
            self.free(self.end);
        }
    }

    /// The end of what was written so far.
    #[must_use]
    pub fn point(&self) -> Point {
        Point { len: self.buf.len(), free: self.free, marks: self.marks.len() }
    }

    /// Forgets what was written since `point`; nothing may have been released in between.
    pub fn take_back(&mut self, point: Point) {
        self.buf.truncate(point.len);
        self.marks.truncate(point.marks);
        (self.free, self.end) = (point.free, point.len);
    }

    /// Releases what `gate` lets through, in order.
    #[inline]
    pub fn release(&mut self, gate: &Gate) {
        while let Some(mark) = self.marks.front() {
            if !gate.lets(mark) {
                return;
            }
            self.free += mark.len as usize;
            self.marks.pop_front();
        }
    }

    /// Whether a reply waits.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The oldest reply that waits.
    #[must_use]
    pub fn oldest(&self) -> Option<&Mark> {
        self.marks.front()
    }

    /// Bytes that wait for anything.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buf.len() - self.sent
    }

    /// What may be written to the socket now.
    #[must_use]
    pub fn sendable(&self) -> &[u8] {
        &self.buf.as_bytes()[self.sent..self.free]
    }

    /// `count` bytes of [`Replies::sendable`] were written.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.free);
        if self.sent == self.buf.len() {
            self.buf.clear();
            (self.sent, self.free, self.end) = (0, 0, 0);
        } else if self.sent > 1 << 20 && self.sent > self.buf.len() / 2 {
            self.buf.buffer_mut().drain(..self.sent);
            self.free -= self.sent;
            self.end -= self.sent;
            self.sent = 0;
        }
    }

    /// Replaces the replies for which `instead` gives an error; the others keep waiting.
    pub fn replace(&mut self, mut instead: impl FnMut(&Mark) -> Option<String>) {
        let mut old = std::mem::take(self.buf.buffer_mut());
        let tail = old.split_off(self.free);
        *self.buf.buffer_mut() = old;
        self.end = self.free;
        let mut at = 0;
        for mark in std::mem::take(&mut self.marks) {
            let from = self.buf.len();
            let reply = &tail[at..at + mark.len as usize];
            at += mark.len as usize;
            match instead(&mark) {
                None => {
                    self.buf.raw(reply);
                    if mark.kind == Kind::Free {
                        self.free(from);
                    } else {
                        self.held(from, mark);
                    }
                }
                Some(error) => {
                    self.buf.error(&error);
                    self.free(from);
                }
            }
        }
    }

    /// Mastership ended: reads that wait are in limbo from now on.
    pub fn reads_to_limbo(&mut self) {
        for mark in self.marks.iter_mut().filter(|mark| mark.kind == Kind::Read) {
            mark.kind = Kind::Limbo;
        }
    }

    /// Whether nothing is in it: its room can be lent to another connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Gives back the room of a burst once nothing is in it.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.buf.buffer_mut().capacity() > 0 {
            *self.buf.buffer_mut() = Vec::new();
            self.marks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: Kind, need: u64, token: u32) -> Mark {
        Mark { need: Offset(need), len: 0, made_ms: 0, token, slot: 0, kind }
    }

    fn gate(committed: u64, leased: bool, confirmed: u32) -> Gate {
        Gate { committed: Offset(committed), leased, confirmed }
    }

    fn put(replies: &mut Replies, text: &str, mark: Option<Mark>) {
        let from = replies.buf.len();
        replies.buf.simple(text);
        match mark {
            Some(mark) => replies.held(from, mark),
            None => replies.free(from),
        }
    }

    #[test]
    fn a_free_reply_does_not_overtake_a_held_one() {
        let mut replies = Replies::default();
        put(&mut replies, "first", None);
        put(&mut replies, "write", Some(mark(Kind::Write, 7, 0)));
        put(&mut replies, "pong", None);
        assert_eq!(replies.sendable(), b"+first\r\n");
        replies.release(&gate(6, true, 0));
        assert_eq!(replies.sendable(), b"+first\r\n");
        replies.release(&gate(7, false, 0));
        assert_eq!(replies.sendable(), b"+first\r\n+write\r\n+pong\r\n");
    }

    #[test]
    fn a_read_needs_both_the_commit_it_saw_and_the_lease() {
        let mut replies = Replies::default();
        put(&mut replies, "v", Some(mark(Kind::Read, 3, 0)));
        replies.release(&gate(2, true, 0));
        replies.release(&gate(3, false, 0));
        assert_eq!(replies.sendable(), b"");
        replies.release(&gate(3, true, 0));
        assert_eq!(replies.sendable(), b"+v\r\n");
    }

    #[test]
    fn a_confirmed_read_needs_its_own_or_a_later_token() {
        let mut replies = Replies::default();
        put(&mut replies, "v", Some(mark(Kind::Read, 0, u32::MAX)));
        replies.release(&gate(9, true, u32::MAX - 1));
        assert_eq!(replies.sendable(), b"");
        replies.release(&gate(9, false, 2));
        assert_eq!(replies.sendable(), b"+v\r\n");
    }

    #[test]
    fn replaced_replies_keep_their_place() {
        let mut replies = Replies::default();
        put(&mut replies, "a", Some(mark(Kind::Write, 1, 0)));
        put(&mut replies, "pong", None);
        put(&mut replies, "b", Some(mark(Kind::Write, 2, 0)));
        replies.replace(|mark| (mark.need == Offset(1)).then(|| "NOACK late".into()));
        assert_eq!(replies.sendable(), b"-NOACK late\r\n+pong\r\n");
        replies.release(&gate(2, true, 0));
        assert_eq!(replies.sendable(), b"-NOACK late\r\n+pong\r\n+b\r\n");
        let count = replies.sendable().len();
        replies.sent(count);
        assert!(replies.is_empty());
    }
}
