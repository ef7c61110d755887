//! WAIT: how many other members have acknowledged the client's last write.

use crate::data::conn::Pause;
use crate::data::server::Server;
use cairn_logic::time::Duration;
use cairn_resp::{Args, number};

impl Server {
    /// `WAIT numreplicas timeout`; the answer counts members that hold a copy, the master apart.
    pub fn wait(&mut self, index: usize, args: Args<'_>) {
        let Some(wanted) = number::parse_i64(args.get(1)) else {
            return self.out(index).error("ERR value is not an integer or out of range");
        };
        let Some(timeout_ms) = number::parse_i64(args.get(2)) else {
            return self.out(index).error("ERR timeout is not an integer or out of range");
        };
        let Ok(timeout_ms) = u64::try_from(timeout_ms) else {
            return self.out(index).error("ERR timeout is negative");
        };
        if self.core.mastership.is_none() {
            let text = "ERR WAIT cannot be used with replica instances. Please also note that \
                        writes to replicas are just local and are not propagated.";
            return self.out(index).error(text);
        }
        let wanted = usize::try_from(wanted).unwrap_or(0);
        let offset = self.session(index).last_write;
        let have = self.core.shared.copies_of(self.core.term(), offset);
        if have >= wanted || self.in_unit {
            return self.out(index).count(have);
        }
        let until = (timeout_ms > 0).then(|| self.core.now + Duration::from_millis(timeout_ms));
        self.conn(index).pause = Pause::Copies { offset, wanted, until };
        self.waits.push(index);
    }

    /// Answers those WAITs that have what they wanted, or that have waited long enough; all of
    /// them once mastership is over.
    pub fn look_at_waits(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let (now, term) = (self.core.now, self.core.term());
        for index in std::mem::take(&mut self.waits) {
            let Some(conn) = self.net.conn(index) else { continue };
            let Pause::Copies { offset, wanted, until } = conn.pause else { continue };
            let have = self.core.shared.copies_of(term, offset);
            let over = until.is_some_and(|until| until <= now) || self.core.mastership.is_none();
            if have < wanted && !over {
                self.waits.push(index);
                continue;
            }
            conn.pause = Pause::None;
            let from = conn.replies.buf.len();
            if self.core.mastership.is_some() {
                conn.replies.buf.count(have);
            } else {
                conn.replies.buf.error(
                    "UNBLOCKED force unblock from blocking operation, \
                    instance state changed (master -> replica?)",
                );
            }
            conn.replies.free(from);
            self.net.flush.push(index);
            self.net.list_ready(index);
        }
    }

    /// Ends a WAIT early, as if its time were over or with an error.
    pub(in crate::data) fn end_copies(&mut self, index: usize, error: Option<&str>) {
        let now = self.core.now;
        let Some(conn) = self.net.conn(index) else { return };
        let Pause::Copies { until, .. } = &mut conn.pause else { return };
        *until = Some(now);
        let Some(error) = error else { return };
        conn.pause = Pause::None;
        let from = conn.replies.buf.len();
        conn.replies.buf.error(error);
        conn.replies.free(from);
        self.waits.retain(|other| *other != index);
        self.net.list_flush(index);
        self.net.list_ready(index);
    }

    /// Whether a WAIT has what it wanted.
    #[must_use]
    pub fn has_wait_done(&mut self) -> bool {
        let (term, shared) = (self.core.term(), &self.core.shared);
        self.waits.iter().any(|&index| match self.net.conn(index).map(|conn| conn.pause) {
            Some(Pause::Copies { offset, wanted, .. }) => shared.copies_of(term, offset) >= wanted,
            _ => false,
        })
    }
}
