//! Whether the disk has room: looked at by the storage threads, read by control.

use cairn_files::{CutTail, Error, LogSpace};
use cairn_settings::{LogSettings, NodeCondition};
use cairn_wire::peer::pb;
use std::sync::{Arc, Mutex, PoisonError};

/// The room of a log's disk, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the file system still has; 0 before it was first seen.
    pub free_bytes: u64,
    /// What the log uses.
    pub log_bytes: u64,
    /// What is to be kept free.
    pub reserve_bytes: u64,
    /// Whether clients' writes are to be refused.
    pub low: bool,
    /// The bound on the log; at it clients' writes are refused, too.
    pub log_bytes_max: u64,
    /// Whether the log has reached its bound.
    pub log_full: bool,
    /// What keeps the front of the log, in words; empty as long as nobody said it.
    pub front: String,
    /// What was cut from the log and is kept aside.
    pub tails: Arc<[CutTail]>,
    /// What the log writer waits for, while it waits.
    pub waits: Option<(NodeCondition, String)>,
}

impl Room {
    /// Whether clients' writes are to be refused from now on, if that is not what `was` says; says
    /// so in the log.
    pub fn turned(&self, was: &mut bool) -> Option<bool> {
        let refused = self.low || self.log_full;
        if refused == *was {
            return None;
        }
        *was = refused;
        let (free_bytes, reserve_bytes) = (self.free_bytes, self.reserve_bytes);
        let (log_bytes, log_bytes_max) = (self.log_bytes, self.log_bytes_max);
        match (self.low, self.log_full) {
            (true, _) => tracing::error!(free_bytes, reserve_bytes, "disk is low, no writes"),
            (false, true) => {
                let front = &self.front;
                tracing::error!(log_bytes, log_bytes_max, front, "log is full, no writes");
            }
            (false, false) => {
                tracing::info!(free_bytes, log_bytes, "disk and log have room, writes go on");
            }
        }
        Some(refused)
    }

    /// Whether the log has used three quarters of its bound.
    #[must_use]
    pub fn log_is_near_bound(&self) -> bool {
        self.log_bytes > self.log_bytes_max / 4 * 3 || self.log_full
    }

    /// What a person should know of it.
    #[must_use]
    pub fn conditions(&self, group: &str) -> Vec<pb::Condition> {
        let condition = |reason: NodeCondition, message: String| pb::Condition {
            reason: reason.as_str().to_owned(),
            group: group.to_owned(),
            message,
        };
        let waits = self.waits.clone().map(|(reason, text)| condition(reason, text));
        let low = self.low.then(|| {
            let (free, reserve) = (self.free_bytes >> 20, self.reserve_bytes >> 20);
            let text = format!(
                "{free} MiB of disk are free, {reserve} MiB are to be kept free: as master this \
                 node refuses writes until there is room"
            );
            condition(NodeCondition::DiskLow, text)
        });
        let near = self.log_is_near_bound().then(|| {
            let (has, max) = (self.log_bytes >> 20, self.log_bytes_max >> 20);
            let then = match self.log_full {
                true => "as master this node refuses writes until it is shorter",
                false => "at that bound this node refuses writes as master",
            };
            let front = &self.front;
            let text = format!(
                "the log has {has} MiB, its bound (log.bytesMax) is {max} MiB: {then}. It becomes \
                 shorter behind this node's newest snapshot only; {front}. This node's log says \
                 why there is no newer one; room on the disk or a greater bound helps"
            );
            condition(NodeCondition::LogNearBound, text)
        });
        let full = self.log_full.then(|| {
            let text = "the log is at its bound: as master this node refuses writes until it is \
                        shorter";
            condition(NodeCondition::LogFull, text.to_owned())
        });
        waits.into_iter().chain(low).chain(near).chain(full).collect()
    }
}

/// The shared place of a [`Room`].
#[derive(Debug)]
pub(super) struct Watch {
    settings: LogSettings,
    room: Mutex<Room>,
}

impl Watch {
    pub(super) fn new(settings: LogSettings) -> Self {
        Self { settings, room: Mutex::default() }
    }

    pub(super) fn now(&self) -> Room {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Room)) {
        change(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes note of a look at the disk. Once low, it takes an eighth more than the reserve to be
    /// admitted again, so that admission does not flap.
    pub(super) fn look(&self, space: Option<LogSpace>) {
        let Some(space) = space else { return };
        let reserve = self.settings.reserve_of(space.disk_bytes);
        let free = space.disk_free_bytes;
        // The writer takes the spare segment first and another is made a moment later; it is
        // missed only when there is no room for one.
        let no_spare = !space.spare_ready && free < self.settings.segment_bytes;
        self.change(|room| {
            let floor = if room.low { reserve + reserve / 8 } else { reserve };
            room.low = no_spare || free < floor;
            (room.free_bytes, room.reserve_bytes) = (free, reserve);
            (room.log_bytes, room.tails) = (space.log_bytes, space.tails.into());
            let max = self.settings.bytes_max;
            let floor = if room.log_full { max - max / 8 } else { max };
            (room.log_bytes_max, room.log_full) = (max, room.log_bytes >= floor);
        });
    }

    /// Takes note of what keeps the front of the log.
    pub(super) fn front(&self, front: String) {
        self.change(|room| room.front = front);
    }

    /// The writer waits because of `error`; `None`: it goes on.
    pub(super) fn waits(&self, error: Option<&Error>) {
        let waits = error.map(|error| {
            let reason = match error {
                Error::TailsFull { .. } => NodeCondition::CutTailsFull,
                _ => NodeCondition::DiskFull,
            };
            (reason, format!("the log waits: {error}"))
        });
        self.change(|room| room.waits = waits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_at_its_bound_says_so_beside_being_near_it() {
        let reasons = |room: &Room| {
            let all = room.conditions("t-0").into_iter();
            all.map(|condition| condition.reason).collect::<Vec<_>>()
        };
        let mut room = Room { log_bytes: 76, log_bytes_max: 100, ..Room::default() };
        assert_eq!(reasons(&room), ["LogNearBound"]);
        room.log_full = true;
        assert_eq!(reasons(&room), ["LogNearBound", "LogFull"]);
    }
}
