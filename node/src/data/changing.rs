//! Changes of users on their way: a client that makes one waits until the directory has it.

use crate::data::conn::Pause;
use crate::data::link::FromData;
use crate::data::server::Server;
use crate::data::watchers::Watcher;
use cairn_acl::Change;
use cairn_logic::time::Duration;

/// How long a client waits for an answer of the global plane.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Clients that may wait at once.
const CHANGES_MAX: usize = 256;

const LATE: &str = "ERR the global plane did not answer in time: look at ACL LIST, the change may \
    or may not be made";
const TOO_MANY: &str = "ERR too many changes of users are under way: try again";

/// Those that wait.
#[derive(Debug, Default)]
pub struct Changing {
    last: u64,
    waiting: Vec<(u64, Watcher)>,
}

impl Changing {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Server {
    /// Has users changed for a client, which waits for what becomes of it.
    pub(super) fn begin_change(&mut self, index: usize, change: Change) {
        let counts = matches!(change, Change::Delete { .. });
        if self.changing.waiting.len() >= CHANGES_MAX {
            return self.out(index).error(TOO_MANY);
        }
        self.changing.last += 1;
        let token = self.changing.last;
        let until = self.core.now + WAIT_MAX;
        let conn = self.conn(index);
        conn.pause = Pause::Users { token, until, counts };
        let who = (index, conn.id);
        self.changing.waiting.push((token, who));
        let fixed = self.core.config.fixed();
        self.core.outgoing.send(FromData::ChangeUsers { token, fixed, change });
    }

    /// Tells a client what became of its change: the number of users that were deleted, for who has
    /// deleted some.
    pub(super) fn end_change(&mut self, token: u64, outcome: Result<usize, String>) {
        let Some(place) = self.changing.waiting.iter().position(|(other, _)| *other == token)
        else {
            return;
        };
        let (_, (index, id)) = self.changing.waiting.swap_remove(place);
        let Some(conn) = self.net.conn(index).filter(|conn| conn.id == id) else { return };
        let Pause::Users { counts, .. } = conn.pause else { return };
        let from = conn.replies.buf.len();
        match outcome {
            Ok(count) if counts => conn.replies.buf.count(count),
            Ok(_) => conn.replies.buf.ok(),
            Err(text) => conn.replies.buf.error(&text),
        }
        conn.replies.free(from);
        conn.pause = if conn.session.expelled { Pause::Closing } else { Pause::None };
        self.net.list_flush(index);
        self.net.list_ready(index);
    }

    /// Gives up on answers that do not come.
    pub(super) fn changes_too_late(&mut self) {
        let now = self.core.now;
        let late = |(token, (index, id)): &(u64, Watcher)| {
            let conn = self.net.get(*index).filter(|conn| conn.id == *id);
            let waits = conn.map_or(Pause::None, |conn| conn.pause);
            let is_over = match waits {
                Pause::Users { until, .. } => until <= now,
                // It is gone.
                _ => true,
            };
            is_over.then_some(*token)
        };
        let late: Vec<u64> = self.changing.waiting.iter().filter_map(late).collect();
        late.into_iter().for_each(|token| self.end_change(token, Err(LATE.to_owned())));
    }
}
